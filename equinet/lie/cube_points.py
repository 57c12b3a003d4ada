"""Points that fill the unit cube: a rank-1 lattice, Sobol's sequence, random draws."""

import math
from typing import Protocol

import torch
from jaxtyping import Float
from torch import Tensor


class PointRule(Protocol):
    """Points of a rule, the same in every call without a generator."""

    def __call__(
        self, count: int, dim: int, generator: torch.Generator | None
    ) -> Float[Tensor, "count dim"]:
        """Return points in [0, 1), float64."""
        ...


def lattice_points(
    count: int, dim: int, generator: torch.Generator | None
) -> Float[Tensor, "count dim"]:
    """Return a good Korobov lattice, multiples of (1, a, a², …) / count.

    The multiplier a minimizes the worst error on the unit ball of periodic functions with mixed
    second derivatives.

    Args:
        count: Number of points.
        dim: Dimension of the cube.
        generator: Source of random numbers, from which one uniform vector is drawn that shifts all
            points. None centers them in their cells.

    Returns:
        Points in [0, 1), float64.

    Source: Sloan, Joe, Lattice Methods for Multiple Integration (1994), §4.2, the criterion P_2.

    Example:
        >>> lattice_points(5, 2, None)[:, 0]
        tensor([0.1000, 0.3000, 0.5000, 0.7000, 0.9000], dtype=torch.float64)
    """
    steps = torch.arange(count)
    # Multipliers a and count - a mirror one another; of very many, a few hundred are good enough.
    multipliers = range(1, count // 2 + 2, max(1, count // 512))
    best = min(multipliers, key=lambda a: _lattice_error(_lattice(steps, a, dim)))
    return _shift(_lattice(steps, best, dim), generator)


def sobol_points(
    count: int, dim: int, generator: torch.Generator | None
) -> Float[Tensor, "count dim"]:
    """Return the first points of Sobol's sequence; powers of two fill the cube most evenly.

    Args:
        count: Number of points.
        dim: Dimension of the cube.
        generator: Source of random numbers, from which one uniform vector is drawn that shifts all
            points. None centers them in their cells.

    Returns:
        Points in [0, 1), float64.

    Source: Joe, Kuo (SIAM J. Sci. Comput. 30, 2008), as in torch.quasirandom.

    Example:
        >>> sobol_points(2, 1, None)[:, 0]
        tensor([0.2500, 0.7500], dtype=torch.float64)
    """
    engine = torch.quasirandom.SobolEngine(dim)
    return _shift(engine.draw(count, dtype=torch.float64), generator)


def random_points(
    count: int, dim: int, generator: torch.Generator | None
) -> Float[Tensor, "count dim"]:
    """Return independent uniform points.

    Args:
        count: Number of points.
        dim: Dimension of the cube.
        generator: Source of random numbers. None gives the same numbers in every call.

    Returns:
        Points in [0, 1), float64.

    Example:
        >>> torch.equal(random_points(3, 2, None), random_points(3, 2, None))
        True
    """
    source = torch.Generator().manual_seed(0) if generator is None else generator
    return torch.rand(count, dim, dtype=torch.float64, generator=source)


def _lattice(steps: Tensor, multiplier: int, dim: int) -> Tensor:
    count = len(steps)
    vector = torch.tensor([pow(multiplier, power, count) for power in range(dim)])
    return (steps[:, None] * vector % count).double() / count


def _lattice_error(points: Tensor) -> float:
    """Return P_2, from the Bernoulli polynomial of degree two."""
    bernoulli = points.square() - points + 1 / 6
    return float((1 + 2 * math.pi**2 * bernoulli).prod(-1).mean())


def _shift(points: Tensor, generator: torch.Generator | None) -> Tensor:
    if generator is None:
        return (points + 0.5 / len(points)) % 1
    return (points + torch.rand(points.shape[1], dtype=torch.float64, generator=generator)) % 1
