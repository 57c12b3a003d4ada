"""Conversion to and from e3nn's ``Irreps`` tensors."""

from typing import TYPE_CHECKING, Union

import torch
from jaxtyping import Float
from torch import Tensor

if TYPE_CHECKING:
    from e3nn.o3 import Irreps


def from_e3nn(
    x: Float[Tensor, "*batch dim"], irreps: Union[str, "Irreps"]
) -> Float[Tensor, "*batch lm channel"]:
    """Bring an e3nn tensor into equinet's layout.

    e3nn keeps one degree after the other, each with its channels slow and its orders fast; equinet
    keeps ``[(lmax + 1)^2, channels]``. Order and sign of the components agree, so the numbers are
    only moved, not rescaled.

    Args:
        x: Features laid out as ``irreps`` describes.
        irreps: Multiplicity C of every degree 0 to lmax in rising order, each of natural parity,
            such as ``"64x0e + 64x1o + 64x2e"``.

    Returns:
        The coefficients, C channels wide.

    Raises:
        ValueError: If ``irreps`` is anything else, or ``x`` is not ``irreps.dim`` wide.

    Example:
        >>> from_e3nn(torch.arange(8.0), "2x0e + 2x1o")
        tensor([[0., 1.],
                [2., 5.],
                [3., 6.],
                [4., 7.]])
    """
    lmax, channels = _uniform(irreps)
    dim = channels * (lmax + 1) ** 2
    if x.ndim == 0 or x.shape[-1] != dim:
        raise ValueError(f"x must have shape [..., {dim}] for {irreps}, found {list(x.shape)}")
    blocks = x.split([channels * (2 * degree + 1) for degree in range(lmax + 1)], dim=-1)
    return torch.cat([each.unflatten(-1, (channels, -1)).mT for each in blocks], dim=-2)


def to_e3nn(
    x: Float[Tensor, "*batch lm channel"], irreps: Union[str, "Irreps"]
) -> Float[Tensor, "*batch dim"]:
    """Bring coefficients into e3nn's layout; the inverse of :func:`from_e3nn`.

    Args:
        x: Coefficients [..., (lmax + 1)², C] of all degrees up to lmax.
        irreps: Multiplicity C of every degree 0 to lmax in rising order, each of natural parity.

    Returns:
        The features laid out as ``irreps`` says.

    Raises:
        ValueError: If ``irreps`` is anything else, or does not fit the shape of ``x``.

    Example:
        >>> to_e3nn(torch.tensor([[0.0, 1.0], [2.0, 5.0], [3.0, 6.0], [4.0, 7.0]]), "2x0e + 2x1o")
        tensor([0., 1., 2., 3., 4., 5., 6., 7.])
    """
    lmax, channels = _uniform(irreps)
    if x.shape[-2:] != ((lmax + 1) ** 2, channels):
        raise ValueError(
            f"x must have shape [..., {(lmax + 1) ** 2}, {channels}] for {irreps}, "
            f"found {list(x.shape)}"
        )
    blocks = x.split([2 * degree + 1 for degree in range(lmax + 1)], dim=-2)
    return torch.cat([each.mT.flatten(-2) for each in blocks], dim=-1)


def _uniform(irreps: Union[str, "Irreps"]) -> tuple[int, int]:
    """Return lmax and the multiplicity of irreps that fit equinet's layout."""
    from e3nn.o3 import Irreps

    parsed = list(Irreps(irreps))
    natural = [(degree, (-1) ** degree) for degree in range(len(parsed))]
    multiplicities = {mul for mul, _ in parsed}
    if [(ir.l, ir.p) for _, ir in parsed] != natural or len(multiplicities) != 1:
        raise ValueError(
            "irreps must be one multiplicity of every degree 0 to lmax with parity (-1)^l, such as "
            f"'64x0e+64x1o+64x2e', found {str(irreps)!r}"
        )
    return len(parsed) - 1, multiplicities.pop()
