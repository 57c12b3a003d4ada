"""Assert that a function commutes with rotations and reflections."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from equinet.o3 import rotate
from equinet.testing.random import random_rotations
from equinet.testing.tolerances import OPERATION, Tolerance, check_close

Action = Callable[[Any, Tensor], Any]
"""How a quantity changes under an orthogonal matrix [3, 3] given in float64."""


def invariant(x: Any, _rotation: Tensor) -> Any:
    """Leave ``x`` alone: scalars, species, indices."""
    return x


def vector(x: Tensor, rotation: Tensor) -> Tensor:
    """Turn vectors [..., 3]: positions, forces."""
    return torch.matmul(x, rotation.T.to(x))


def pseudovector(x: Tensor, rotation: Tensor) -> Tensor:
    """Turn pseudovectors [..., 3], such as cross products of vectors."""
    return torch.mul(vector(x, rotation), torch.linalg.det(rotation).to(x))


def matrix(x: Tensor, rotation: Tensor) -> Tensor:
    """Turn second-rank tensors [..., 3, 3], such as stress."""
    return rotation.to(x) @ x @ rotation.to(x).T


def coefficients(x: Tensor, rotation: Tensor) -> Tensor:
    """Turn coefficients [..., (lmax + 1)^2, channels] of true functions."""
    return rotate(x.double(), rotation, parity=1).to(x.dtype)


def pseudo_coefficients(x: Tensor, rotation: Tensor) -> Tensor:
    """Turn coefficients of pseudo functions, which change sign besides under reflection."""
    return rotate(x.double(), rotation, parity=-1).to(x.dtype)


def geometry(graph: Any, rotation: Tensor) -> Any:
    """Turn the positions and the cell of an atomistic graph."""
    turned = graph.clone()
    for name in ("pos", "cell"):
        if turned.get(name) is not None:
            turned[name] = vector(turned[name], rotation)
    return turned


def assert_equivariant(
    function: Callable[..., Any],
    arguments: Sequence[Any],
    actions: Sequence[Action],
    out: Action | Sequence[Action] | Mapping[str, Action],
    *,
    improper: bool = True,
    trials: int = 2,
    tolerance: Tolerance = OPERATION,
    seed: int = 0,
) -> None:
    """Assert that turning the arguments turns the result: ``f(g x) = g f(x)``.

    Args:
        function: What is tested; returns a tensor, a sequence of tensors, or a dict of them.
        arguments: Its positional arguments.
        actions: How each argument changes: :func:`invariant`, :func:`vector`, :func:`coefficients`,
            :func:`geometry` (atomistic graphs), ..., or a function of your own.
        out: How the result changes: one action for a tensor, a sequence for a sequence, a dict for
            a dict (of whose entries only the named are compared).
        improper: Test reflections too, not only proper rotations.
        trials: How many random rotations of each kind.
        tolerance: Error allowed at the precision of each output.
        seed: Of the rotations.

    Raises:
        AssertionError: Naming the output, the kind of rotation and the error.

    Example:
        >>> x = torch.randn(4, 3, dtype=torch.float64)
        >>> assert_equivariant(torch.linalg.cross, (x, x.flip(0)), (vector, vector), pseudovector)
    """
    expected = _named(function(*arguments), out)
    generator = torch.Generator().manual_seed(seed)
    for reflect in (False, True) if improper else (False,):
        kind = "an improper rotation" if reflect else "a rotation"
        for rotation in random_rotations(trials, improper=reflect, generator=generator):
            turned = [act(x, rotation) for act, x in zip(actions, arguments, strict=True)]
            found = _named(function(*turned), out)
            for name, (value, act) in expected.items():
                allowed = tolerance.of(value.dtype)
                check_close(f"{name} under {kind}", found[name][0], act(value, rotation), allowed)


def _named(
    result: Any, out: Action | Sequence[Action] | Mapping[str, Action]
) -> dict[str, tuple[Tensor, Action]]:
    """Pair each output with its action, under a name for messages."""
    if isinstance(out, Mapping):
        return {name: (result[name].detach(), act) for name, act in out.items()}
    if isinstance(out, Sequence):
        pairs = zip(result, out, strict=True)
        return {f"output {i}": (value.detach(), act) for i, (value, act) in enumerate(pairs)}
    return {"output": (result.detach(), out)}
