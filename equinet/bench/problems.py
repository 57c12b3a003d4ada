"""Random problems for each op, and their derivatives, for ``doctor`` and ``bench``."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

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
        if self.op == "orientation_convolution":
            return tuple(self.inputs[0].shape)
        first = self.inputs[0].shape[0]
        shape = (first, (self.lmax_out + 1) ** 2, self.channels)
        return (ORDER, *shape) if self.op == "gaunt_powers" else shape

    def call(self, *inputs: Tensor, backend: str) -> Tensor:
        """Run the op on other inputs of the same shapes.

        Args:
            inputs: Floating-point arguments of the op, of the shapes of :attr:`inputs`.
            backend: Name of the backend.
        """
        if self.op == "gaunt_powers":
            return ops.gaunt_powers(inputs[0], ORDER, self.lmax_out, backend=backend)
        if self.op == "gaunt_convolution":
            x, directions, radial = inputs
            return ops.gaunt_convolution(
                x, directions, radial, self.edge_index, self.lmax_out, backend=backend
            )
        if self.op == "orientation_convolution":
            x, vectors, radial = inputs
            edge_index, points = self.edge_index, self.points
            return ops.orientation_convolution(
                x, vectors, radial, edge_index, points, backend=backend
            )
        x, y = inputs
        if self.op == "bracket_product":
            return ops.bracket_product(x, y, self.lmax_out, backend=backend)
        return ops.gaunt_product(x, y, self.lmax_out, backend=backend)

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

    Example:
        >>> make_problem("gaunt_product", 2, batch=5, channels=3).inputs[0].shape
        torch.Size([5, 9, 3])
    """
    generator = torch.Generator(device).manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64, device=device)

    lmax_y = lmax if lmax_y is None else lmax_y
    size, size_y = (lmax + 1) ** 2, (lmax_y + 1) ** 2
    edge_index = torch.zeros(2, 0, dtype=torch.int64, device=device)
    points = torch.zeros(0, 3, dtype=torch.float64, device=device)
    if op == "gaunt_powers":
        inputs: tuple[Tensor, ...] = (draw(batch, size, channels),)
    elif op.endswith("_convolution"):
        nodes = -(-batch // neighbors)
        sender = torch.randint(nodes, (batch,), generator=generator, device=device)
        edge_index = torch.stack([sender, torch.arange(batch, device=device) // neighbors])
        if op == "orientation_convolution":
            points = orientation_grid(GRID).points.to(device)
            size = len(points)
            points = points[: size // 2]
        inputs = (draw(nodes, size, channels), draw(batch, 3), draw(batch, lmax_y + 1, channels))
    else:
        y = draw(batch, size_y, 1 if is_shared else channels)
        inputs = (draw(batch, size, channels), y)
    lmax_out = lmax if lmax_out is None else lmax_out
    return Problem(op, lmax, lmax_y, lmax_out, inputs, edge_index, points)


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
