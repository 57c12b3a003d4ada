"""The ops as tensor products of e3nn, with the Gaunt weights."""

import functools
from collections.abc import Callable

import torch
from e3nn import o3
from torch import Tensor

from equinet.bench.problems import Problem
from equinet.o3 import bracket_gain, gaunt_gain, to_e3nn


def build(problem: Problem) -> tuple[Callable[..., Tensor], tuple[Tensor, ...]]:
    """Set up a problem in e3nn's layout.

    Args:
        problem: Problem to run, with its precision and device.

    Returns:
        A function and the arguments to call it with: those of the problem with features in e3nn's
        layout. Its result is in e3nn's layout too; for ``gaunt_powers`` it is the highest power
        alone.
    """
    features, *others = problem.inputs
    channels = features.shape[-1]
    x = to_e3nn(features, str(natural(problem.lmax, channels)))
    lmax = problem.lmax, problem.lmax_y, problem.lmax_out
    if problem.op == "gaunt_powers":
        return _cube(problem.lmax, problem.lmax_out, features), (x,)
    if problem.op == "gaunt_convolution":
        product = tensor_product(lmax, (channels, channels), x.dtype, x.device)
        return _convolution(product, problem), (x, *others)
    odd = problem.op == "bracket_product"
    (y,) = others
    product = tensor_product(lmax, (channels, y.shape[-1]), x.dtype, x.device, odd=odd)
    return product, (x, to_e3nn(y, str(natural(problem.lmax_y, y.shape[-1]))))


def natural(lmax: int, channels: int) -> o3.Irreps:
    """Return the irreps of functions on the sphere.

    Args:
        lmax: Highest degree of the functions.
        channels: Number of functions.
    """
    return o3.Irreps([(channels, (degree, (-1) ** degree)) for degree in range(lmax + 1)])


@functools.cache
def tensor_product(
    lmax: tuple[int, int, int],
    channels: tuple[int, int],
    dtype: torch.dtype,
    device: torch.device,
    *,
    odd: bool = False,
) -> o3.TensorProduct:
    """Build the product of functions, channel by channel, as a sum over paths.

    Args:
        lmax: Highest degree of both operands and of the result.
        channels: Number of channels of the operands: equal ("uuu"), or one in the second ("uvu").
        dtype: Floating-point type of operands and result.
        device: Device of operands and result.
        odd: Whether to take the paths of the bracket instead of those of the Gaunt product.

    Source:
        e3nn multiplies by the square root of a path's weight; with its own normalizations off, the
        weight is the square of the path's gain.
    """
    gain = bracket_gain if odd else gaunt_gain
    sign = -1 if odd else 1
    out = o3.Irreps([(mul, (ir.l, sign * ir.p)) for mul, ir in natural(lmax[2], channels[0])])
    mode = "uuu" if channels[0] == channels[1] else "uvu"
    paths = [
        (l1, l2, l3, mode, False, gain(l1, l2, l3) ** 2)
        for l1 in range(lmax[0] + 1)
        for l2 in range(lmax[1] + 1)
        for l3 in range(abs(l1 - l2), min(l1 + l2, lmax[2]) + 1)
        if gain(l1, l2, l3) != 0
    ]
    return o3.TensorProduct(
        natural(lmax[0], channels[0]),
        natural(lmax[1], channels[1]),
        out,
        paths,
        irrep_normalization="none",
        path_normalization="none",
    ).to(device, dtype)


def _cube(lmax: int, lmax_out: int, like: Tensor) -> Callable[[Tensor], Tensor]:
    """Build the third power, whose square is kept to twice the degree before the projection."""
    channels = like.shape[-1], like.shape[-1]
    square = tensor_product((lmax, lmax, 2 * lmax), channels, like.dtype, like.device)
    times = tensor_product((2 * lmax, lmax, lmax_out), channels, like.dtype, like.device)
    return lambda x: times(square(x, x), x)


def _convolution(product: o3.TensorProduct, problem: Problem) -> Callable[..., Tensor]:
    sender, receiver = problem.edge_index
    nodes, degrees = len(problem.inputs[0]), range(problem.lmax_y + 1)

    def convolve(x: Tensor, directions: Tensor, radial: Tensor) -> Tensor:
        harmonics = [
            o3.spherical_harmonics(degree, directions, normalize=True, normalization="integral")
            for degree in degrees
        ]
        filters = torch.cat(
            [
                (radial[:, degree, :, None] * harmonics[degree][:, None]).flatten(1)
                for degree in degrees
            ],
            dim=1,
        )
        messages: Tensor = product(x.index_select(0, sender), filters)
        return messages.new_zeros(nodes, messages.shape[1]).index_add(0, receiver, messages)

    return convolve
