"""Assert that a function commutes with rotations and reflections."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from equinet.o3 import rotate
from equinet.testing.random import random_rotations
from equinet.testing.tolerances import OPERATION, Tolerance, check_close

Action = Callable[[Any, Tensor], Any]
"""Change of a quantity under an orthogonal matrix [3, 3], which is given in float64."""


def invariant(x: Any, _rotation: Tensor) -> Any:
    """Return ``x`` unchanged, as rotations leave scalars, species and indices.

    Example:
        >>> invariant(torch.tensor(2.0), -torch.eye(3))
        tensor(2.)
    """
    return x


def vector(x: Tensor, rotation: Tensor) -> Tensor:
    """Rotate vectors [..., 3] such as positions and forces.

    Example:
        >>> vector(torch.tensor([1.0, 2.0, 3.0]), -torch.eye(3))
        tensor([-1., -2., -3.])
    """
    return torch.matmul(x, rotation.T.to(x))


def pseudovector(x: Tensor, rotation: Tensor) -> Tensor:
    """Rotate pseudovectors [..., 3] such as cross products of vectors.

    Example:
        >>> pseudovector(torch.tensor([1.0, 2.0, 3.0]), -torch.eye(3))
        tensor([1., 2., 3.])
    """
    return torch.mul(vector(x, rotation), torch.linalg.det(rotation).to(x))


def matrix(x: Tensor, rotation: Tensor) -> Tensor:
    """Rotate second-rank tensors [..., 3, 3] such as stress.

    Example:
        >>> swap = torch.tensor([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, -1.0]])
        >>> matrix(torch.diag(torch.tensor([1.0, 2.0, 3.0])), swap).diagonal()
        tensor([2., 1., 3.])
    """
    return rotation.to(x) @ x @ rotation.to(x).T


def coefficients(x: Tensor, rotation: Tensor) -> Tensor:
    """Rotate coefficients [..., (lmax + 1)², channels] of true functions.

    Example:
        >>> inversion = -torch.eye(3, dtype=torch.float64)
        >>> coefficients(torch.ones(4, 1), inversion).flatten()
        tensor([ 1., -1., -1., -1.])
    """
    return rotate(x.double(), rotation, parity=1).to(x.dtype)


def pseudo_coefficients(x: Tensor, rotation: Tensor) -> Tensor:
    """Rotate coefficients of pseudo functions, which also change sign under reflections.

    Example:
        >>> inversion = -torch.eye(3, dtype=torch.float64)
        >>> pseudo_coefficients(torch.ones(4, 1), inversion).flatten()
        tensor([-1.,  1.,  1.,  1.])
    """
    return rotate(x.double(), rotation, parity=-1).to(x.dtype)


def geometry(graph: Any, rotation: Tensor) -> Any:
    """Rotate the positions and the cell of an atomistic graph.

    Example:
        >>> from torch_geometric.data import Data
        >>> geometry(Data(pos=torch.ones(1, 3)), -torch.eye(3)).pos
        tensor([[-1., -1., -1.]])
    """
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
    """Assert that rotating the arguments rotates the result: ``f(g x) = g f(x)``.

    Args:
        function: Function under test; it returns a tensor, a sequence of tensors, or a dict of
            them.
        arguments: Positional arguments of the function.
        actions: Changes of the arguments, one for each: :func:`invariant`, :func:`vector`,
            :func:`coefficients`, :func:`geometry` (atomistic graphs) and so on, or a function of
            your own.
        out: Change of the result: one action for a tensor, a sequence for a sequence, a dict for a
            dict, of which only the named entries are compared.
        improper: Whether reflections are tested as well as proper rotations.
        trials: Number of random rotations of each type.
        tolerance: Error allowed at the precision of each output.
        seed: Seed of the rotations.

    Raises:
        AssertionError: If the results differ; the message names the output, the type of rotation
            and the error.

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
