"""Random problems for each op, for ``doctor`` and ``bench``."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from equinet import ops
from equinet.o3 import orientation_grid

ORDER = 3
"""Highest power in the problem of ``gaunt_powers``."""

NEIGHBORS = 16
"""Edges that end at each node in the problems of convolutions."""

GRID = "icosahedron12"
"""Orientations in the problem of ``orientation_convolution``, whatever its degree."""


@dataclass(frozen=True)
class Problem:
    """Op with arguments to run it on.

    Attributes:
        op: Name of the op, one of :data:`equinet.ops.OPS`.
        lmax: Highest degree of the first operand; not used for operands given at points.
        lmax_y: Highest degree of the second operand, the filter or the kernel.
        lmax_out: Highest degree of the result.
        inputs: Floating-point arguments, by which the op is differentiated.
        edge_index: Senders and receivers [2, E] of the convolutions; [2, 0] for products.
        points: Orientations [O / 2, 3], without their opposites; [0, 3] for functions that are
            given by coefficients.

    Example:
        >>> problem = make_problem("gaunt_product", 2, batch=5, channels=3)
        >>> problem.call(*problem.inputs, backend="grid").shape == problem.result_shape
        True
    """

    op: str
    lmax: int
    lmax_y: int
    lmax_out: int
    inputs: tuple[Tensor, ...]
    edge_index: Tensor
    points: Tensor

    @property
    def batch(self) -> int:
        """Number of functions to multiply, or of edges for the convolutions."""
        return self.edge_index.shape[1] or self.inputs[0].shape[0]

    @property
    def channels(self) -> int:
        """Number of channels of the first operand and of the result."""
        return self.inputs[0].shape[-1]

    @property
    def result_shape(self) -> tuple[int, ...]:
        """Shape of the op's result."""
        return FORMS[self.op].shape(self)

    def call(self, *inputs: Tensor, backend: str) -> Tensor:
        """Run the op on other inputs of the same shapes.

        Args:
            inputs: Floating-point arguments of the op, of the shapes of :attr:`inputs`.
            backend: Name of the backend.
        """
        op: Callable[..., Tensor] = getattr(ops, self.op)
        return op(*inputs, *FORMS[self.op].others(self), backend=backend)

    def to(self, device: torch.device | str, dtype: torch.dtype) -> "Problem":
        """Return the problem with its arguments on a device, in a precision.

        Args:
            device: Device to move the arguments to.
            dtype: Floating-point type of the arguments.
        """
        inputs = tuple(x.to(device=device, dtype=dtype) for x in self.inputs)
        points = self.points.to(device=device, dtype=dtype)
        return replace(self, inputs=inputs, edge_index=self.edge_index.to(device), points=points)


def make_problem(
    op: str,
    lmax: int,
    *,
    batch: int,
    channels: int,
    lmax_y: int | None = None,
    lmax_out: int | None = None,
    is_shared: bool = False,
    neighbors: int = NEIGHBORS,
    seed: int = 0,
    device: torch.device | str = "cpu",
) -> Problem:
    """Draw a problem in float64, so that all precisions see the same one.

    Args:
        op: Name of the op, one of :data:`equinet.ops.OPS`.
        lmax: Highest degree of the first operand.
        batch: Number of functions to multiply, or of edges for the convolutions.
        channels: Number of channels of all operands.
        lmax_y: Highest degree of the second operand, the filter or the kernel; None is ``lmax``.
        lmax_out: Highest degree of the result; None is ``lmax``.
        is_shared: Whether the second operand of a product has one channel for all of the first.
        neighbors: Number of edges that end at each node, for the convolutions.
        seed: Seed of the random numbers.
        device: Device on which numbers are drawn; they depend on it.

    Raises:
        ValueError: There is no form for such an op.

    Example:
        >>> make_problem("gaunt_product", 2, batch=5, channels=3).inputs[0].shape
        torch.Size([5, 9, 3])
    """
    if op not in FORMS:
        raise ValueError(f"op must be one of {', '.join(FORMS)}, found {op!r}")
    draw = _Draw(
        lmax=lmax,
        lmax_y=lmax if lmax_y is None else lmax_y,
        batch=batch,
        channels=channels,
        is_shared=is_shared,
        neighbors=neighbors,
        generator=torch.Generator(device).manual_seed(seed),
    )
    operands = FORMS[op].draw(draw)
    none = torch.zeros(2, 0, dtype=torch.int64, device=device)
    nowhere = torch.zeros(0, 3, dtype=torch.float64, device=device)
    return Problem(
        op,
        lmax,
        draw.lmax_y,
        lmax if lmax_out is None else lmax_out,
        operands.inputs,
        none if operands.edge_index is None else operands.edge_index,
        nowhere if operands.points is None else operands.points,
    )


@dataclass(frozen=True)
class _Draw:
    """Sizes of operands, and random numbers to fill them with.

    Attributes:
        lmax: Highest degree of the first operand.
        lmax_y: Highest degree of the second operand, the filter or the kernel.
        batch: Number of functions to multiply, or of edges.
        channels: Number of channels of all operands.
        is_shared: Whether the second operand of a product has one channel for all of the first.
        neighbors: Number of edges that end at each node.
        generator: Source of the random numbers, on the device on which they are drawn.
    """

    lmax: int
    lmax_y: int
    batch: int
    channels: int
    is_shared: bool
    neighbors: int
    generator: torch.Generator

    def normal(self, *shape: int) -> Tensor:
        device = self.generator.device
        return torch.randn(shape, generator=self.generator, dtype=torch.float64, device=device)

    def edges(self) -> Tensor:
        """Draw senders and receivers [2, E], sorted by receiver."""
        device = self.generator.device
        sender = torch.randint(self.nodes, (self.batch,), generator=self.generator, device=device)
        return torch.stack([sender, torch.arange(self.batch, device=device) // self.neighbors])

    @property
    def nodes(self) -> int:
        """Number of nodes at which the edges end."""
        return -(-self.batch // self.neighbors)


@dataclass(frozen=True)
class _Operands:
    """Operands of an op, see :class:`Problem`; None where it has none of this type."""

    inputs: tuple[Tensor, ...]
    edge_index: Tensor | None = None
    points: Tensor | None = None


def _product(draw: _Draw) -> _Operands:
    y = draw.normal(draw.batch, (draw.lmax_y + 1) ** 2, 1 if draw.is_shared else draw.channels)
    return _Operands((draw.normal(draw.batch, (draw.lmax + 1) ** 2, draw.channels), y))


def _function(draw: _Draw) -> _Operands:
    return _Operands((draw.normal(draw.batch, (draw.lmax + 1) ** 2, draw.channels),))


def _convolution(draw: _Draw) -> _Operands:
    edge_index = draw.edges()
    return _Operands(_filtered(draw, (draw.lmax + 1) ** 2), edge_index)


def _oriented(draw: _Draw) -> _Operands:
    edge_index = draw.edges()
    points = orientation_grid(GRID).points.to(edge_index.device)
    size = len(points)
    return _Operands(_filtered(draw, size), edge_index, points[: size // 2])


def _filtered(draw: _Draw, size: int) -> tuple[Tensor, ...]:
    """Draw features of nodes, vectors along the edges, and radial weights."""
    return (
        draw.normal(draw.nodes, size, draw.channels),
        draw.normal(draw.batch, 3),
        draw.normal(draw.batch, draw.lmax_y + 1, draw.channels),
    )


def _coefficients(problem: Problem) -> tuple[int, ...]:
    """Shape of a result that is a function on the sphere for each first operand."""
    return problem.inputs[0].shape[0], (problem.lmax_out + 1) ** 2, problem.channels


@dataclass(frozen=True)
class Form:
    """What benchmarks must know of an op.

    Attributes:
        draw: Function that draws the operands.
        others: Function that lists the arguments of a problem's op after its inputs.
        shape: Function that tells the shape of a problem's result.
        rivals: Names of implementations of the same result other than the op's backends:
            "aligned" for another op of equinet, "e3nn" and "cuequivariance" for other libraries.

    Example:
        >>> FORMS["orientation_convolution"].rivals
        ()
    """

    draw: Callable[[_Draw], _Operands]
    others: Callable[[Problem], tuple[Any, ...]]
    shape: Callable[[Problem], tuple[int, ...]] = _coefficients
    rivals: tuple[str, ...] = ()


_LIBRARIES = ("e3nn", "cuequivariance")

FORMS: Mapping[str, Form] = {
    "gaunt_product": Form(_product, lambda problem: (problem.lmax_out,), rivals=_LIBRARIES),
    "bracket_product": Form(_product, lambda problem: (problem.lmax_out,), rivals=_LIBRARIES),
    "gaunt_powers": Form(
        _function,
        lambda problem: (ORDER, problem.lmax_out),
        shape=lambda problem: (ORDER, *_coefficients(problem)),
        rivals=_LIBRARIES,
    ),
    "gaunt_convolution": Form(
        _convolution,
        lambda problem: (problem.edge_index, problem.lmax_out),
        rivals=("aligned", *_LIBRARIES),
    ),
    # Other libraries have no functions given at points.
    "orientation_convolution": Form(
        _oriented,
        lambda problem: (problem.edge_index, problem.points),
        shape=lambda problem: tuple(problem.inputs[0].shape),
    ),
}
"""Form of each op of :data:`equinet.ops.OPS`."""
