"""Ponita: message passing on positions and orientations."""

from collections.abc import Iterable
from typing import Annotated, Any, ClassVar, Literal, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from equinet.arguments import AcceptedBy, Count, WholeNumber
from equinet.models.graphs.graph_model import GraphModel
from equinet.models.graphs.inputs import Inputs
from equinet.models.graphs.ponita_spaces import Bundle, Lifted, Positions, Space
from equinet.nn import ConvNeXtBlock
from equinet.o3 import orientation_grid

Grid = Annotated[str, AcceptedBy(orientation_grid)]
"""Name of a grid of orientations, see :func:`equinet.o3.orientation_grid`."""


class Ponita(GraphModel):
    """Depth-wise convolutions and channel mixing on positions and orientations.

    Scalars and vectors of the nodes are lifted to signals over orientations, pass through residual
    blocks, and are read out after every block; the read-outs are averaged.

    Translations, permutations and batching are exact in every mode. Rotations:

    - ``bundle``: a fixed grid of orientations at every node. Exact under the symmetries of the grid
      (60 rotations and the inversion for the icosahedron), approximate under others; the plane's
      grids are exact under their rotations and not under reflections.
    - ``lifted``: orientations are the directions of the edges. Exact under all rotations, and
      under reflections unless ``chiral``; three dimensions only. Outputs of a node without
      neighbors are zero.
    - ``position``: no orientations. Exact under all rotations and reflections; no vectors.

    Without ``chiral`` mirror images have the same scalars.

    Args:
        in_scalars: Number of scalars of each node.
        in_vectors: Number of vectors of each node.
        out_scalars: Number of scalars that are returned.
        out_vectors: Number of vectors that are returned.
        channels: Number of channels.
        layers: Number of blocks.
        grid: Name of the grid of orientations, see :func:`equinet.o3.orientation_grid`; ``circleN``
            for two dimensions.
        mode: Space of the features: ``bundle``, ``lifted`` or ``position``.
        kernel: Kernel of the bundle: ``mlp``, the published one; ``zonal``, of finite degree, which
            is closer to equivariant and faster, see :class:`equinet.nn.FiberBundleConv`; or
            ``full``, which does not factorize and whose cost grows by a factor of the number of
            orientations, see :class:`equinet.nn.FullBundleConv`.
        cutoff: Distance at which kernels vanish smoothly, in the unit of the positions; None for
            kernels of all distances. Polynomials take distances divided by the cutoff, with None in
            the unit of the positions.
        level: Level of the outputs: one for each ``node``, or their sums over each ``graph``.
        in_edge_scalars: Number of scalars of each edge, which the kernels depend on.
        lmax: Highest degree of zonal kernels, at most half of the degree of the grid.
        chiral: Whether kernels distinguish mirror images; lifted mode only.
        moving: Whether each block displaces the nodes by its contribution to their first output
            vector, so that the kernels of the next block depend on the new positions. This needs
            output vectors that are displacements, and the mode ``bundle``.

    Raises:
        ValueError: An option has a value that does not exist or that belongs to another mode.

    Source: Bekkers et al., Fast, expressive SE(n) equivariant networks through weight-sharing in
    position-orientation space (ICLR 2024).

    Example:
        >>> from torch_geometric.data import Data
        >>> model = Ponita(in_scalars=1, in_vectors=1, out_scalars=2, out_vectors=1,
        ...                channels=8, layers=1)
        >>> graph = Data(x=torch.ones(2, 1), vec=torch.randn(2, 1, 3), pos=torch.randn(2, 3),
        ...              edge_index=torch.tensor([[1, 0], [0, 1]]))
        >>> {name: list(value.shape) for name, value in model(graph).items()}
        {'scalars': [2, 2], 'vectors': [2, 1, 3]}
    """

    ops: ClassVar[tuple[str, ...]] = ("orientation_convolution",)

    def __init__(
        self,
        *,
        in_scalars: WholeNumber,
        in_vectors: WholeNumber = 0,
        out_scalars: WholeNumber,
        out_vectors: WholeNumber = 0,
        channels: Count,
        layers: Count,
        grid: Grid = "icosahedron12",
        mode: Literal["bundle", "lifted", "position"] = "bundle",
        kernel: Literal["mlp", "zonal", "full"] = "mlp",
        cutoff: float | None = None,
        level: Literal["node", "graph"] = "node",
        in_edge_scalars: WholeNumber = 0,
        lmax: WholeNumber = 2,
        chiral: bool = False,
        moving: bool = False,
    ) -> None:
        super().__init__(
            in_scalars=in_scalars,
            in_vectors=in_vectors,
            out_scalars=out_scalars,
            out_vectors=out_vectors,
            in_edge_scalars=in_edge_scalars,
            level=level,
        )
        if cutoff is not None and not cutoff > 0:
            raise ValueError(f"cutoff must be above 0, or None for no cutoff, found {cutoff}")
        if mode == "position" and (in_vectors or out_vectors):
            raise ValueError(
                "mode='position' has no vectors: in_vectors and out_vectors must be 0, found "
                f"{in_vectors} and {out_vectors}"
            )
        if moving and (mode != "bundle" or out_vectors == 0):
            raise ValueError(
                "moving=True needs mode='bundle' and an output vector to move by, found "
                f"mode={mode!r} and out_vectors={out_vectors}"
            )
        self.moving = moving
        self.space = _make_space(
            mode,
            grid=grid,
            kernel=kernel,
            lmax=lmax,
            chiral=chiral,
            basis=channels,
            cutoff=cutoff,
            edge_scalars=in_edge_scalars,
        )
        self.dimension = self.space.dimension
        self.embedding = nn.Linear(in_scalars + in_vectors, channels, bias=False)
        self.blocks = nn.ModuleList(
            ConvNeXtBlock(self.space.convolution(channels), channels) for _ in range(layers)
        )
        self.readouts = nn.ModuleList(
            nn.Linear(channels, out_scalars + out_vectors) for _ in range(layers)
        )

    def node_outputs(
        self,
        scalars: Float[Tensor, "node in_scalar"],
        vectors: Float[Tensor, "node in_vector xyz"],
        edge_index: Int[Tensor, "2 edge"],
        edge_vectors: Float[Tensor, "edge xyz"],
        edge_scalars: Float[Tensor, "edge in_edge_scalar"],
    ) -> tuple[Float[Tensor, "node out_scalar"], Float[Tensor, "node out_vector xyz"]]:
        """Apply the network to plain tensors, see :meth:`GraphModel.node_outputs`."""
        inputs = Inputs(scalars, vectors, edge_index, edge_vectors, edge_scalars)
        return self._run_blocks(inputs, calibrate=False)

    def calibrate(self, graph: Any) -> None:
        """Rescale all kernels so that convolutions keep the size of features, on this batch.

        Call it once, before training, with the same batch on all processes. The weights are
        rescaled in place; a second call on the same batch does not change them.

        Args:
            graph: Batch of the training data, as in :meth:`forward`.

        Raises:
            ValueError: A field is missing or the features do not vary.
        """
        self.calibrate_on(self._inputs(graph))

    @torch.no_grad()
    def calibrate_on(self, inputs: Inputs) -> None:
        """Rescale all kernels as :meth:`calibrate`, on plain tensors.

        Args:
            inputs: Inputs of :meth:`node_outputs` for a batch of the training data.
        """
        self._run_blocks(inputs, calibrate=True)

    def _run_blocks(self, inputs: Inputs, *, calibrate: bool) -> tuple[Tensor, Tensor]:
        """Average the read-outs of all blocks, each calibrated first if ``calibrate``."""
        field = self.space.place(inputs)
        x = self.embedding(field.inputs)
        values: list[Tensor] = []
        blocks = cast("Iterable[ConvNeXtBlock]", self.blocks)
        for block, readout in zip(blocks, self.readouts, strict=True):
            if self.moving and values:
                _, vectors = field.read(values[-1], self.out_scalars)
                inputs = inputs.moved(vectors[:, 0] / len(self.blocks))
                field = self.space.place(inputs)
            if calibrate:
                block.calibrate(x, *field.geometry)
            x = block(x, *field.geometry)
            values.append(readout(x))
        return field.read(torch.stack(values).mean(0), self.out_scalars)


def _make_space(
    mode: str,
    *,
    grid: str,
    kernel: Literal["mlp", "zonal", "full"],
    lmax: int,
    chiral: bool,
    basis: int,
    cutoff: float | None,
    edge_scalars: int,
) -> Space:
    """Return the space of a mode, and refuse options of other modes."""
    if chiral and mode != "lifted":
        raise ValueError(f"chiral=True needs mode='lifted', found mode={mode!r}")
    if kernel != "mlp" and mode != "bundle":
        raise ValueError(f"kernel={kernel!r} needs mode='bundle', found mode={mode!r}")
    if mode == "bundle":
        return Bundle(orientation_grid(grid), kernel, lmax, basis, cutoff, edge_scalars)
    if mode == "lifted":
        return Lifted(chiral=chiral, basis=basis, cutoff=cutoff, edge_scalars=edge_scalars)
    return Positions(cutoff, edge_scalars)
