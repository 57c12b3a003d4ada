"""A random order of any number of things that needs no memory and can be entered anywhere."""

import numpy as np
from jaxtyping import Int

_ROUNDS = 8


class Permutation:
    """A bijection of ``0 .. count - 1`` onto itself that a seed determines.

    A balanced Feistel network permutes the smallest domain of ``4**k`` numbers that holds the
    count; numbers beyond the count are permuted again until they fall below it. Shuffling the 134
    million frames of OC20 would take half a gigabyte and ten seconds a process and epoch.

    Args:
        count: How many things.
        seed: Numbers that tell permutations apart, all non-negative.

    Source: Luby and Rackoff, SIAM J. Comput. 17, 373 (1988); Black and Rogaway, CT-RSA 2002.

    Example:
        >>> order = Permutation(10, seed=(0, 3))
        >>> sorted(order(np.arange(10)).tolist())
        [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]
    """

    def __init__(self, count: int, *, seed: tuple[int, ...]) -> None:
        self.count = count
        half = max(1, ((count - 1).bit_length() + 1) // 2)
        self._half = np.uint64(half)
        self._mask = np.uint64((1 << half) - 1)
        self._keys = np.random.SeedSequence(seed).generate_state(_ROUNDS, dtype=np.uint64)

    def __call__(self, places: Int[np.ndarray, " places"]) -> Int[np.ndarray, " places"]:
        """Say which things stand at some places of the order.

        Args:
            places: From 0 to ``count - 1``.

        Returns:
            The things.
        """
        things = self._permuted(places.astype(np.uint64))
        while (outside := things >= self.count).any():
            things[outside] = self._permuted(things[outside])
        return things.astype(np.int64)

    def _permuted(self, numbers: np.ndarray) -> np.ndarray:
        left, right = numbers >> self._half, numbers & self._mask
        for key in self._keys:
            left, right = right, left ^ (_mixed(right ^ key) & self._mask)
        return (left << self._half) | right


def _mixed(numbers: np.ndarray) -> np.ndarray:
    """SplitMix64's finalizer: every bit of the result depends on all bits (it wraps around)."""
    numbers = (numbers ^ (numbers >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    numbers = (numbers ^ (numbers >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return numbers ^ (numbers >> np.uint64(31))
