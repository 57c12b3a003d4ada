"""Interatomic potential of a Ponita whose scalars are the energies of atoms."""

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from equinet.arguments import Count, Positive, WholeNumber
from equinet.models.graphs import Bundle, Grid, Inputs, Ponita
from equinet.models.potential import Potential
from equinet.nn import DepthwiseConv, edge_vectors
from equinet.nn.orientation import scale_parameter


class PonitaPotential(Potential):
    r"""Message passing on positions and orientations as an interatomic potential.

    The one-hot species of atoms are the inputs of a :class:`equinet.models.Ponita`, whose one
    scalar per atom is the energy of the atom. Forces are its exact gradient. In the mode ``bundle``
    energies are exactly invariant under the symmetries of the grid, see ``symmetry``, and
    approximately under all other rotations; in the other modes they are exactly invariant under all
    rotations and reflections.

    Args:
        elements: Atomic numbers that the model knows, in the order of its species.
        cutoff: Distance beyond which neighbors do not interact, Å.
        reference_energies: Reference energy of each element, eV per atom.
        average_neighbors: Mean number of neighbors in the training set; initial weights of sums
            over neighbors are divided by its square root.
        scale: Unit of the network's output, eV.
        shift: Energy added for each atom, eV.
        max_neighbors: Highest number of edges that end at an atom in the graphs, see
            :class:`equinet.models.Potential`.
        tie_tolerance: Difference of squared lengths, Å², up to which further edges are kept, see
            :class:`equinet.models.Potential`.
        channels: Number of channels.
        layers: Number of blocks.
        grid: Name of the grid of orientations, see :func:`equinet.o3.orientation_grid`.
        mode: Space of the features, see :class:`equinet.models.Ponita`.
        kernel: Kernel of the mode ``bundle``, see :class:`equinet.models.Ponita`; None is ``zonal``
            in that mode and ``mlp``, the only choice, in the others.
        lmax: Highest degree of zonal kernels.

    Raises:
        ValueError: An option has a value that does not exist or that belongs to another mode.

    Source: Bekkers et al., Fast, expressive SE(n) equivariant networks through weight-sharing in
    position-orientation space (ICLR 2024), §5.1.

    Example:
        >>> model = PonitaPotential(elements=[1, 8], cutoff=5.0, average_neighbors=12.0,
        ...                         reference_energies=[-13.6, -2040.0], channels=8, layers=1)
        >>> model.symmetry.shape
        torch.Size([120, 3, 3])
    """

    ops: ClassVar[tuple[str, ...]] = ("orientation_convolution",)
    quick_to_compile: ClassVar[bool] = True

    def __init__(
        self,
        *,
        elements: Sequence[int],
        cutoff: Positive,
        reference_energies: Sequence[float],
        average_neighbors: Positive,
        scale: float = 1.0,
        shift: float = 0.0,
        max_neighbors: Count | None = None,
        tie_tolerance: float | None = None,
        channels: Count = 64,
        layers: Count = 4,
        grid: Grid = "icosahedron12",
        mode: Literal["bundle", "lifted", "position"] = "bundle",
        kernel: Literal["mlp", "zonal", "full"] | None = None,
        lmax: WholeNumber = 2,
    ) -> None:
        super().__init__(
            elements=elements,
            cutoff=cutoff,
            reference_energies=reference_energies,
            scale=scale,
            shift=shift,
            max_neighbors=max_neighbors,
            tie_tolerance=tie_tolerance,
        )
        self.mode = mode
        self.network = Ponita(
            in_scalars=len(self.elements),
            out_scalars=1,
            channels=channels,
            layers=layers,
            grid=grid,
            mode=mode,
            kernel=kernel or ("zonal" if mode == "bundle" else "mlp"),
            cutoff=cutoff,
            lmax=lmax,
        )
        for module in self.network.modules():
            if isinstance(module, DepthwiseConv):
                scale_parameter(average_neighbors**-0.5, module.neighbor_weights)

    @property
    def symmetry(self) -> Float[Tensor, "operation 3 3"] | None:
        """Symmetries of the grid [G, 3, 3]; None, for all of O(3), where there is no grid."""
        space = self.network.space
        return space.grid.symmetry if isinstance(space, Bundle) else None

    @property
    def message_passes(self) -> int | None:
        """Number of edges in a row: one for each block, and one more between orientations."""
        return len(self.network.blocks) + (self.mode == "lifted")

    def atomic_energies(
        self,
        species: Int[Tensor, " node"],
        vectors: Float[Tensor, "edge 3"],
        edge_index: Int[Tensor, "2 edge"],
    ) -> Float[Tensor, " node"]:
        """Return the scalar of every atom, see :class:`Potential`."""
        scalars, _ = self.network.node_outputs(*self._inputs(species, vectors, edge_index))
        return scalars.squeeze(-1)

    def calibrate(self, graph: Any) -> None:
        """Rescale all kernels on a batch, see :meth:`equinet.models.Ponita.calibrate`.

        Args:
            graph: Batch of the training data, as in a call.
        """
        vectors = edge_vectors(
            graph.pos, graph.cell.reshape(-1, 3, 3), graph.batch, graph.edge_index, graph.edge_shift
        )
        species = self.species(graph.atomic_numbers)
        self.network.calibrate_on(self._inputs(species, vectors.to(self.dtype), graph.edge_index))

    def _inputs(self, species: Tensor, vectors: Tensor, edge_index: Tensor) -> Inputs:
        one_hot = torch.eye(len(self.elements), dtype=vectors.dtype, device=vectors.device)
        return Inputs(
            one_hot[species],
            vectors.new_empty(species.shape[0], 0, 3),
            edge_index,
            vectors,
            vectors.new_empty(vectors.shape[0], 0),
        )
