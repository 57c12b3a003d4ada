"""Convolution of fields that hold a signal over orientations at every position."""

from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from equinet.nn.orientation.depthwise import (
    DepthwiseConv,
    balance,
    calibration_gain,
    scale_parameter,
)
from equinet.nn.orientation.invariants import angle_invariants
from equinet.nn.orientation.kernel_basis import KernelBasis
from equinet.nn.radial import RadialNetwork
from equinet.o3 import OrientationGrid, zonal_polynomials
from equinet.ops import fiber_convolution, orientation_convolution, segment_sum


class FiberBundleConv(DepthwiseConv):
    r"""Sum over neighbors at each orientation, then over orientations at each node.

    :math:`y_i(o) = \sum_{o'} w_{o'}\, k_2(o, o') \big( s\,x_i(o') +
    \sum_j k_1(r_{ij}, o')\, x_j(o') \big) + b` per channel: a kernel on positions and orientations
    that factorizes. The weight s stands for the kernel between a node and itself.

    Exactly equivariant under the symmetries of the grid, in the plane under its rotations; under
    other rotations up to the grid's resolution, see ``docs/orientation.md``.

    Args:
        grid: Grid of orientations, which is saved with the weights.
        channels: Number of channels.
        basis: Number of basis functions that are given in a call.
        kernel: Name of the kernel. ``mlp`` combines basis functions of edge and orientation; it is
            the published form. ``zonal`` has finite degree, :math:`k_1 = \sum_l R_l(|r|)
            P_l(o\cdot\hat r)`, aliases less, and makes no tensor of edges × orientations ×
            channels.
        lmax: Highest degree of zonal kernels.

    Raises:
        ValueError: If ``kernel`` is neither ``mlp`` nor ``zonal``.

    Source: Bekkers et al., Fast, expressive SE(n) equivariant networks through weight-sharing in
    position-orientation space (ICLR 2024), §4.

    Example:
        >>> from equinet.o3 import orientation_grid
        >>> layer = FiberBundleConv(orientation_grid("octahedron6"), 8, 4, kernel="zonal")
        >>> edge_index = torch.tensor([[1, 0], [0, 1]])
        >>> layer(torch.randn(2, 6, 8), torch.randn(2, 3), torch.randn(2, 4), edge_index).shape
        torch.Size([2, 6, 8])
    """

    points: Tensor
    weights: Tensor

    def __init__(
        self,
        grid: OrientationGrid,
        channels: int,
        basis: int,
        *,
        kernel: Literal["mlp", "zonal"] = "mlp",
        lmax: int = 2,
    ) -> None:
        super().__init__()
        self.kernel = kernel
        self.lmax = lmax
        self.antipodal = grid.antipodal
        count, dimension = grid.points.shape
        # Half of the points says which half is opposite: no other grid can be loaded by mistake.
        kept = grid.points[: count // 2] if grid.antipodal else grid.points
        self.register_buffer("points", kept.clone())
        self.register_buffer("weights", grid.weights.clone())
        self.own = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        if kernel == "zonal":
            zonal = zonal_polynomials(lmax, grid.points[0], grid.points[0]).shape[0]
            self.radial = RadialNetwork(basis, zonal - 1, channels, hidden=(64,))
            degrees = torch.arange(zonal) if dimension == 3 else (torch.arange(zonal) + 1) // 2
            # Signals that start smooth alias less.
            deviations = (2 * degrees + 1.0).rsqrt()
            self.fiber = nn.Parameter(deviations.unsqueeze(-1) * torch.randn(zonal, channels))
        elif kernel == "mlp":
            self.spatial = nn.Linear(basis, channels, bias=False)
            self.fiber_basis = KernelBasis(1 if dimension == 3 else 2, basis)
            self.fiber_map = nn.Linear(basis, channels, bias=False)
        else:
            raise ValueError(f"kernel must be 'mlp' or 'zonal', found {kernel!r}")

    def forward(
        self,
        x: Float[Tensor, "node orientation channel"],
        vectors: Float[Tensor, "edge xyz"],
        basis: Float[Tensor, "edge *orientation basis"],
        edge_index: Int[Tensor, "2 edge"],
    ) -> Float[Tensor, "node orientation channel"]:
        """Convolve.

        Args:
            x: Signals of the nodes [N, O, C].
            vectors: Vectors [E, n] from receiver to sender, shorter than about one; the kernel
                ``mlp`` ignores them.
            basis: Basis functions of edge and orientation [E, O, B] for ``mlp``, of the length of
                the edge [E, B] for ``zonal``.
            edge_index: Senders and receivers [2, E].
        """
        summed = self.own * x + self._over_edges(x, vectors, basis, edge_index)
        return self._over_fibers(summed) + self.bias

    def calibrate(self, x: Tensor, *geometry: Tensor) -> None:
        """See :meth:`equinet.nn.orientation.depthwise.DepthwiseConv.calibrate`."""
        fiber = self.fiber if self.kernel == "zonal" else self.fiber_map.weight
        with torch.no_grad():
            neighbors = self._over_edges(x, *geometry)
            summed = balance(x, self.own * x, neighbors, self.own, self.neighbor_weights)
            scale_parameter(calibration_gain(x, self._over_fibers(summed)), fiber)

    @property
    def neighbor_weights(self) -> Tensor:
        """See :attr:`equinet.nn.orientation.depthwise.DepthwiseConv.neighbor_weights`."""
        return self.radial.weights[-1] if self.kernel == "zonal" else self.spatial.weight

    def _over_edges(self, x: Tensor, vectors: Tensor, basis: Tensor, edge_index: Tensor) -> Tensor:
        if self.kernel == "zonal":
            radial = self.radial(basis)
            points = self.points.to(x.dtype)
            return orientation_convolution(x, vectors, radial, edge_index, points)
        sender, receiver = edge_index
        messages = self.spatial(basis) * x.index_select(0, sender)
        return segment_sum(messages, receiver, x.shape[0])

    def _over_fibers(self, x: Tensor) -> Tensor:
        points = torch.cat([self.points, -self.points]) if self.antipodal else self.points
        first, second = points.unsqueeze(1), points
        if self.kernel == "zonal":
            zonal = zonal_polynomials(self.lmax, second, first)
            kernel = zonal.to(x.dtype) @ self.fiber
        else:
            basis = self.fiber_basis(angle_invariants(first, second).to(x.dtype))
            kernel = self.fiber_map(basis)
        kernel = kernel * self.weights.to(x.dtype).unsqueeze(-1)
        return fiber_convolution(x, kernel)
