"""Random numbers of samples that do not depend on how samples are batched."""

import hashlib
from collections.abc import Sequence

import torch
from jaxtyping import Float64
from torch import Tensor


class Streams:
    """Streams of random numbers, one for each sample, from a seed and the number of the sample.

    A sample has the same random numbers whatever other samples are drawn with it.

    Args:
        seed: Seed of all samples.
        numbers: Numbers of the samples.

    Example:
        >>> together = Streams(0, [4, 7]).normal([2, 3], 1)
        >>> alone = Streams(0, [7]).normal([3], 1)
        >>> bool((together[2:] == alone).all())
        True
    """

    def __init__(self, seed: int, numbers: Sequence[int]) -> None:
        self._generators = [_generator(seed, number) for number in numbers]

    def uniform(self) -> Float64[Tensor, " sample"]:
        """Draw a number between 0 and 1 for each sample."""
        drawn = [torch.rand((), generator=g, dtype=torch.float64) for g in self._generators]
        return torch.stack(drawn)

    def normal(self, sizes: Sequence[int], width: int) -> Float64[Tensor, "node width"]:
        """Draw normal numbers of unit variance for the nodes of each sample.

        Args:
            sizes: Number of nodes of each sample.
            width: Number of numbers for each node.

        Returns:
            Numbers [N, width], those of the first sample first.
        """
        return torch.cat(
            [
                torch.randn(size, width, generator=generator, dtype=torch.float64)
                for size, generator in zip(sizes, self._generators, strict=True)
            ]
        )


def _generator(seed: int, number: int) -> torch.Generator:
    digest = hashlib.sha256(repr((seed, number)).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:7], "little"))
