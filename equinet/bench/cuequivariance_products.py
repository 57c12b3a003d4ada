"""The ops as segmented polynomials of cuEquivariance, with the Gaunt weights."""

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

from equinet.bench.problems import Problem
from equinet.o3 import bracket_tensor, gaunt_tensor, spherical_harmonics


def is_available(device: str) -> bool:
    """Tell whether cuEquivariance is installed, for GPUs with its compiled kernels.

    Args:
        device: Type of the device, "cpu" or "cuda".
    """
    kernels = device != "cuda" or find_spec("cuequivariance_ops_torch") is not None
    return find_spec("cuequivariance_torch") is not None and kernels


def build(problem: Problem) -> tuple[Callable[..., Tensor], tuple[Tensor, ...]]:
    """Set up a problem; its layout, channels last, is equinet's own.

    Args:
        problem: Problem to run, with its precision and device.

    Returns:
        A function and the arguments to call it with: those of the problem with flattened features.
        Its result is flattened too; for ``gaunt_powers`` it is the highest power alone.
    """
    x, *others = problem.inputs
    channels, device = x.shape[-1], x.device
    lmax = problem.lmax, problem.lmax_y, problem.lmax_out
    if problem.op == "gaunt_powers":
        twice = 2 * problem.lmax
        square = _module(_product((problem.lmax, problem.lmax, twice), channels), device)
        times = _module(_product((twice, problem.lmax, problem.lmax_out), channels), device)
        return lambda x: times([square([x, x])[0], x])[0], (x.flatten(1),)
    if problem.op == "gaunt_convolution":
        return _convolution(_module(_filter(lmax, channels), device), problem), (
            x.flatten(1),
            others[0],
            others[1].flatten(1),
        )
    (y,) = others
    is_shared, odd = y.shape[-1] < channels, problem.op == "bracket_product"
    product = _module(_product(lmax, channels, is_shared=is_shared, odd=odd), device)
    return lambda x, y: product([x, y])[0], (x.flatten(1), y.flatten(1))


def _product(
    lmax: tuple[int, int, int], channels: int, *, is_shared: bool = False, odd: bool = False
) -> Any:
    """Build the product, channel by channel, with a path for each triple of coupled degrees."""
    import cuequivariance as cue

    product = cue.SegmentedTensorProduct.from_subscripts(
        "iu,j,ku+ijk" if is_shared else "iu,ju,ku+ijk"
    )
    for operand, largest in enumerate(lmax):
        for degree in range(largest + 1):
            size = 2 * degree + 1
            one_channel = is_shared and operand == 1
            product.add_segment(operand, (size,) if one_channel else (size, channels))
    for degrees, block in _blocks(lmax, odd=odd):
        product.add_path(*degrees, c=block)
    return product


def _filter(lmax: tuple[int, int, int], channels: int) -> Any:
    """Build the product of x, radial weights and harmonics, in this order of operands."""
    import cuequivariance as cue

    product = cue.SegmentedTensorProduct.from_subscripts("iu,u,j,ku+ijk")
    for degree in range(lmax[0] + 1):
        product.add_segment(0, (2 * degree + 1, channels))
    for degree in range(lmax[1] + 1):
        product.add_segment(1, (channels,))
        product.add_segment(2, (2 * degree + 1,))
    for degree in range(lmax[2] + 1):
        product.add_segment(3, (2 * degree + 1, channels))
    for (l1, l2, l3), block in _blocks(lmax, odd=False):
        product.add_path(l1, l2, l2, l3, c=block)
    return product


def _blocks(lmax: tuple[int, int, int], *, odd: bool) -> Any:
    """Yield the degrees of each path and its couplings [2 l1 + 1, 2 l2 + 1, 2 l3 + 1]."""
    couplings = (bracket_tensor if odd else gaunt_tensor)(*lmax).numpy()
    sizes = [[slice(degree**2, (degree + 1) ** 2) for degree in range(k + 1)] for k in lmax]
    for l1, first in enumerate(sizes[0]):
        for l2, second in enumerate(sizes[1]):
            for l3, third in enumerate(sizes[2]):
                block = couplings[first, second, third]
                if block.any():
                    yield (l1, l2, l3), block


def _module(product: Any, device: torch.device) -> Callable[..., list[Tensor]]:
    """Compile a product: CUDA kernels need single couplings, the CPU whole blocks of them."""
    import cuequivariance as cue
    import cuequivariance_torch

    if device.type == "cuda":
        product = product.flatten_coefficient_modes()
    polynomial = cue.SegmentedPolynomial.eval_last_operand(product)
    method = "uniform_1d" if device.type == "cuda" else "naive"
    module: Callable[..., list[Tensor]] = cuequivariance_torch.SegmentedPolynomial(
        polynomial, method=method
    ).to(device)
    return module


def _convolution(module: Callable[..., list[Tensor]], problem: Problem) -> Callable[..., Tensor]:
    """Gather and sum within the polynomial, as cuEquivariance does it for MACE."""
    sender, receiver = problem.edge_index
    nodes = problem.inputs[0].new_empty(len(problem.inputs[0]), 1)

    def convolve(x: Tensor, directions: Tensor, radial: Tensor) -> Tensor:
        harmonics = spherical_harmonics(problem.lmax_y, directions)
        return module(
            [x, radial, harmonics],
            input_indices={0: sender},
            output_shapes={0: nodes},
            output_indices={0: receiver},
        )[0]

    return convolve
