"""Assert that a fast operation and its derivatives equal a slow float64 reference."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from equinet.testing.tolerances import OPERATION, Tolerance, check_close


def assert_matches_reference(
    op: Callable[..., Tensor],
    reference: Callable[..., Tensor],
    arguments: Sequence[Any],
    *,
    order: int = 2,
    tolerance: Tolerance = OPERATION,
    seed: int = 0,
) -> None:
    """Assert that ``op`` equals ``reference``, values and derivatives up to ``order``.

    The derivatives are contracted with random vectors: the gradient with respect to every
    floating-point argument, then the gradient of that, and so on.

    Args:
        op: Operation under test, called with the arguments as they are.
        reference: Function that is right, called with the floating-point arguments cast to float64.
        arguments: Positional arguments; tensors of floating point are differentiated.
        order: Highest derivative compared; 0 compares values only.
        tolerance: Error allowed at the precision of the operation's output.
        seed: Seed of the random vectors.

    Raises:
        AssertionError: If a value or derivative differs; the message names the derivative, the
            argument and the error.

    Example:
        >>> assert_matches_reference(torch.square, lambda x: x * x, (torch.randn(5),))
    """
    exact = [x.double() if _is_differentiable(x) else x for x in arguments]
    expected = _derivatives(reference, exact, order, seed)
    allowed = None
    for (name, value), (_, truth) in zip(
        _derivatives(op, arguments, order, seed), expected, strict=True
    ):
        # The first is the output itself, whose precision rules.
        allowed = tolerance.of(value.dtype) if allowed is None else allowed
        check_close(name, value, truth, allowed)


def _is_differentiable(x: Any) -> bool:
    return isinstance(x, Tensor) and x.is_floating_point()


def _derivatives(
    function: Callable[..., Tensor], arguments: Sequence[Any], order: int, seed: int
) -> list[tuple[str, Tensor]]:
    """Return the output and its contracted derivatives, each with a name."""
    generator = torch.Generator().manual_seed(seed)
    # Detached, not cloned: strides are part of what is tested.
    inputs = [x.detach().requires_grad_() if _is_differentiable(x) else x for x in arguments]
    places = [i for i, x in enumerate(inputs) if _is_differentiable(x)]
    leaves = [inputs[i] for i in places]
    output = function(*inputs)
    results = [("output", output)]
    current = [output]
    for derivative in range(1, order + 1):
        scalar = torch.stack(
            [(x * torch.randn(x.shape, generator=generator).to(x)).sum().double() for x in current]
        ).sum()
        if scalar.requires_grad:
            current = list(
                torch.autograd.grad(scalar, leaves, create_graph=True, materialize_grads=True)
            )
        else:
            current = [torch.zeros_like(leaf) for leaf in leaves]
        results += [
            (f"derivative {derivative} by argument {i}", x)
            for i, x in zip(places, current, strict=True)
        ]
    return results
