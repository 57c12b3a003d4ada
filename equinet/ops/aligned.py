"""The Gaunt convolution in the frame of each edge, where the filter depends on one angle alone."""

import math

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from equinet.o3 import (
    constant_table,
    contract,
    degree_of,
    matmul,
    normalized_legendre,
    rotation_to_pole,
    wigner_d_blocks,
)
from equinet.ops.convolution import check_convolution
from equinet.ops.operands import common_dtype, working_dtype
from equinet.ops.segment import segment_sum


def aligned_convolution(
    x: Float[Tensor, "node lm1 channel"],
    directions: Float[Tensor, "edge xyz"],
    radial: Float[Tensor, "edge_radial degree channel_radial"],
    edge_index: Int[Tensor, "ends edge_ends"],
    lmax_out: int,
) -> Float[Tensor, "node lm_out channel"]:
    r"""Compute :func:`equinet.ops.gaunt_convolution` by rotating every edge to the polar axis.

    On the axis a filter :math:`\sum_l h_l Y_l` is the zonal function
    :math:`h(\beta) = \sum_l h_l \frac{2l+1}{4\pi} P_l(\cos\beta)`, so the product couples equal
    orders m only: samples in the polar angle suffice, and no azimuthal transform is made.

    Args:
        x: Features of the nodes [N, (L1 + 1)², C], coefficients of degrees 0 … L1.
        directions: Vectors [E, 3] from receiver to sender, of any length. For a zero vector only
            degree 0 of the filter acts.
        radial: Filter weights h_l [E, L + 1, C], one per degree and channel.
        edge_index: Senders and receivers [2, E].
        lmax_out: Highest degree of the result.

    Raises:
        ValueError: A shape or dtype does not fit; names the argument.

    Source: the alignment is that of Passaro and Zitnick, eSCN (ICML 2023); the one-dimensional
    product that of Luo, Chen, Krishnapriyan (ICLR 2024), §3.3.

    Example:
        >>> edge_index = torch.tensor([[1, 0], [0, 1]])
        >>> x, radial = torch.randn(2, 4, 8), torch.randn(2, 3, 8)
        >>> aligned_convolution(x, torch.randn(2, 3), radial, edge_index, 2).shape
        torch.Size([2, 9, 8])
    """
    check_convolution(x, directions, radial, edge_index, lmax_out)
    dtype = common_dtype(x=x, directions=directions, radial=radial)
    working = working_dtype(dtype)
    x, directions, radial = x.to(working), directions.to(working), radial.to(working)
    lmax1 = degree_of(x)
    lmax_filter = radial.shape[-2] - 1
    sender, receiver = edge_index
    directions, radial = _without_zeros(directions, radial)
    blocks = wigner_d_blocks(max(lmax1, lmax_out), rotation_to_pole(directions))
    sizes = (lmax1, lmax_filter, lmax_out)
    evaluate, zonal, project = (
        table(*sizes, dtype=x.dtype, device=x.device)
        for table in (_evaluation, _zonal, _projection)
    )
    aligned = torch.cat(
        [
            matmul(block, part)
            for block, part in zip(blocks, _split(x[sender], lmax1), strict=False)
        ],
        dim=-2,
    )
    samples = contract("bmd,edc->ebmc", evaluate, aligned)
    filters = contract("bl,elc->ebc", zonal, radial)
    product = contract("dbm,ebmc->edc", project, samples * filters.unsqueeze(2))
    parts = zip(blocks, _split(product, lmax_out), strict=False)
    messages = torch.cat([matmul(block.mT, part) for block, part in parts], dim=-2)
    return segment_sum(messages, receiver, x.shape[0]).to(dtype)


def _without_zeros(directions: Tensor, radial: Tensor) -> tuple[Tensor, Tensor]:
    """Give zero vectors some direction, and filters of degree 0 alone, which have none."""
    square = directions.detach().square().sum(1, keepdim=True)
    is_zero = square < torch.finfo(directions.dtype).tiny
    pole = directions.new_tensor([0.0, 1.0, 0.0])
    is_lost = is_zero & (torch.arange(radial.shape[1], device=radial.device) > 0)
    radial = torch.where(is_lost.unsqueeze(2), 0.0, radial)
    return torch.where(is_zero, pole, directions), radial


def _split(x: Tensor, lmax: int) -> tuple[Tensor, ...]:
    """Cut coefficients into degrees."""
    return x.split([2 * degree + 1 for degree in range(lmax + 1)], dim=-2)


def _polar_rule(lmax1: int, lmax_filter: int, lmax_out: int) -> tuple[np.ndarray, np.ndarray]:
    return np.polynomial.legendre.leggauss((lmax1 + lmax_filter + lmax_out) // 2 + 1)


def _orders(lmax: int, max_order: int, cos_beta: np.ndarray) -> np.ndarray:
    """Polar factors [beta, order, lm], non-zero where the component has that signed order."""
    polar = normalized_legendre(lmax, cos_beta)
    spread = np.zeros((len(cos_beta), 2 * max_order + 1, (lmax + 1) ** 2))
    for degree in range(lmax + 1):
        for order in range(-min(degree, max_order), min(degree, max_order) + 1):
            spread[:, order + max_order, degree * (degree + 1) + order] = polar[degree, abs(order)]
    return spread


@constant_table
def _evaluation(lmax1: int, lmax_filter: int, lmax_out: int) -> np.ndarray:
    """Return the matrices from aligned coefficients to samples [beta, order] of common orders."""
    cos_beta, _ = _polar_rule(lmax1, lmax_filter, lmax_out)
    return _orders(lmax1, min(lmax1, lmax_out), cos_beta)


@constant_table
def _zonal(lmax1: int, lmax_filter: int, lmax_out: int) -> np.ndarray:
    """Return the matrix from filter weights to samples of the filter, [beta, degree]."""
    cos_beta, _ = _polar_rule(lmax1, lmax_filter, lmax_out)
    polar = normalized_legendre(lmax_filter, cos_beta)[:, 0]
    degrees = np.arange(lmax_filter + 1)
    return (polar * np.sqrt((2 * degrees + 1) / (4 * math.pi))[:, None]).T


@constant_table
def _projection(lmax1: int, lmax_filter: int, lmax_out: int) -> np.ndarray:
    """Return the matrices from samples [beta, order] to coefficients, with 2 pi for the azimuth."""
    cos_beta, weights = _polar_rule(lmax1, lmax_filter, lmax_out)
    spread = _orders(lmax_out, min(lmax1, lmax_out), cos_beta)
    return 2 * math.pi * np.einsum("b,bmd->dbm", weights, spread)
