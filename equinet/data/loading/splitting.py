"""Random divisions of frames into two parts."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int

from equinet.data.atoms import Frame
from equinet.errors import DataError


def split_frames(
    frames: Sequence[Frame],
    amount: float | int,
    seed: int,
) -> tuple[list[Frame], list[Frame]]:
    """Set a random part of the frames aside; both parts keep the order of the frames.

    Args:
        frames: Frames to divide.
        amount: Number of frames to set aside, or a fraction of the frames, if below 1.
        seed: Seed of the random choice.

    Returns:
        The remaining frames, and the frames set aside.

    Raises:
        DataError: The amount is neither a fraction nor an integer, or one of the parts is empty.

    Example:
        >>> from ase.build import molecule
        >>> from equinet.data import frame_from_atoms
        >>> frames = [frame_from_atoms(molecule(name)) for name in ("CH4", "H2O", "NH3", "CO")]
        >>> train, val = split_frames(frames, 0.25, seed=0)
        >>> len(train), len(val)
        (3, 1)
    """
    rest, aside = split_indices(len(frames), amount, seed)
    return [frames[index] for index in rest.tolist()], [frames[index] for index in aside.tolist()]


def split_indices(
    count: int,
    amount: float | int,
    seed: int,
) -> tuple[Int[np.ndarray, " rest"], Int[np.ndarray, " aside"]]:
    """Choose the indices of a random part of some frames.

    Args:
        count: Number of frames.
        amount: Number of frames to set aside, or a fraction of the frames, if below 1.
        seed: Seed of the random choice.

    Returns:
        Indices of the remaining frames, and of the frames set aside, both ascending.

    Raises:
        DataError: The amount is neither a fraction nor an integer, or one of the parts is empty.

    Example:
        >>> rest, aside = split_indices(10, 3, seed=0)
        >>> len(rest), len(aside), sorted([*rest, *aside]) == list(range(10))
        (7, 3, True)
    """
    share = 0 < amount < 1
    if not share and amount != int(amount):
        raise DataError(
            f"cannot set {amount} frames aside; give a fraction (below 1) or a whole number"
        )
    size = max(1, round(amount * count)) if share else int(amount)
    if not 0 < size < count:
        raise DataError(
            f"cannot set {amount} of {count} frames aside for validation; both parts need a frame"
        )
    order = np.random.default_rng(seed).permutation(count)
    return np.sort(order[size:]), np.sort(order[:size])
