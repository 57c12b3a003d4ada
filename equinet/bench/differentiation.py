"""Derivatives of any function, contracted with random probes, for ``doctor`` and ``bench``."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor


def draw_probes(
    output: Tensor, inputs: Sequence[Tensor], seed: int = 1, device: torch.device | str = "cpu"
) -> tuple[Tensor, ...]:
    """Draw the vectors with which derivatives are contracted: one for the output and each input.

    Args:
        output: Value of the function at the inputs.
        inputs: Tensors by which the function is differentiated.
        seed: Seed of the random numbers.
        device: Device on which the numbers are drawn; they depend on it. The probes are moved to
            the devices of the tensors.

    Example:
        >>> x = torch.ones(2, 3)
        >>> [probe.shape for probe in draw_probes(x.sum(), [x])]
        [torch.Size([]), torch.Size([2, 3])]
    """
    generator = torch.Generator(device).manual_seed(seed)
    return tuple(
        torch.randn(x.shape, generator=generator, dtype=torch.float64, device=device).to(x)
        for x in (output, *inputs)
    )


def derivatives(
    function: Callable[..., Tensor],
    inputs: Sequence[Tensor],
    probes: Sequence[Tensor],
    order: int,
) -> list[tuple[Tensor, ...]]:
    """Evaluate a function and its contracted derivatives.

    Args:
        function: Differentiable function of the inputs.
        inputs: Floating-point tensors that the function takes.
        probes: Random tensors from :func:`draw_probes`.
        order: Number of derivatives: 0 for the value alone, without recording gradients; 1 adds
            the gradient by all inputs of the value times the first probe; 2 adds the gradient, by
            all inputs and by that probe, of the first gradient times the other probes.

    Returns:
        One tuple of tensors for each order from 0.

    Example:
        >>> x = torch.tensor(3.0)
        >>> value, first = derivatives(torch.square, [x], [torch.tensor(1.0)], order=1)
        >>> first
        (tensor(6.),)
    """
    if order == 0:
        with torch.no_grad():
            return [(function(*inputs),)]
    leaves = [x.detach().requires_grad_() for x in (*inputs, probes[0])]
    *variables, probe = leaves
    output = function(*variables)
    first = torch.autograd.grad(output, variables, probe, create_graph=order > 1)
    if order == 1:
        return [(output,), first]
    second = torch.autograd.grad(first, leaves, probes[1:], materialize_grads=True)
    return [(output,), first, second]
