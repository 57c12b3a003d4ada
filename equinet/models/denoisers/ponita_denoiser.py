"""Denoiser of molecules: a Ponita with the preconditioning of diffusion models around it."""

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from equinet.arguments import Count, Positive, WholeNumber
from equinet.diffusion import Sizes, center, noise_input, precondition
from equinet.models.base import Model
from equinet.models.graphs import Bundle, Grid, Inputs, Ponita

_TYPE_SCALE = 0.25
_LENGTH = 2.0


class PonitaDenoiser(Model):
    r"""Expected positions and types of the atoms of molecules, given noisy ones.

    A molecule is a set of positions with their center at the origin, Å, and of types: one number
    for each element, 1/4 for the element of the atom and 0 for the others. The types are so small
    that noise hides them longer than the positions, so that sampling finds the geometry first.
    Positions and types have the same noise level σ. All atoms of a molecule are joined. The network
    is a :class:`equinet.models.Ponita` whose scalars are the noisy types and the noise level, and
    whose kernels depend on the noise level too; its output vector displaces the atoms.

    Rotating the noisy positions rotates the denoised ones: exactly in the mode ``lifted``, and in
    the mode ``bundle`` for the symmetries of the grid and approximately for other rotations.

    Args:
        elements: Atomic numbers that the model knows, in the order of the types.
        sizes: Fractions of molecules with 0, 1, 2, … atoms, from which sampling draws.
        position_deviation: Standard deviation of the coordinates of atoms about the center of their
            molecule, Å.
        channels: Number of channels.
        layers: Number of blocks.
        grid: Name of the grid of orientations, see :func:`equinet.o3.orientation_grid`.
        mode: Space of the features, ``bundle`` or ``lifted``, see :class:`equinet.models.Ponita`.
        kernel: Kernel of the mode ``bundle``, see :class:`equinet.models.Ponita`; None is ``zonal``
            in that mode and ``mlp``, the only choice, in the other.
        lmax: Highest degree of zonal kernels.

    Raises:
        ValueError: An option has a value that does not exist or that belongs to another mode.

    Source: Karras et al. (NeurIPS 2022) for the preconditioning; Hoogeboom et al. (ICML 2022) for
    the representation of molecules; Bekkers et al. (ICLR 2024), §5.3, for the network.

    Example:
        >>> model = PonitaDenoiser(elements=[1, 8], sizes=[0, 0, 1, 3], position_deviation=1.0,
        ...                        channels=8, layers=1)
        >>> model.elements, model.sizes.fractions.tolist()
        ((1, 8), [0.0, 0.0, 0.25, 0.75])
    """

    ops: ClassVar[tuple[str, ...]] = ("orientation_convolution",)

    def __init__(
        self,
        *,
        elements: Sequence[int],
        sizes: Sequence[float],
        position_deviation: Positive,
        channels: Count = 64,
        layers: Count = 6,
        grid: Grid = "icosahedron12",
        mode: Literal["bundle", "lifted"] = "bundle",
        kernel: Literal["mlp", "zonal", "full"] | None = None,
        lmax: WholeNumber = 2,
    ) -> None:
        super().__init__()
        self.elements = tuple(elements)
        self.sizes = Sizes(sizes)
        self.position_deviation = position_deviation
        self.type_deviation = _TYPE_SCALE * len(self.elements) ** -0.5
        self.network = Ponita(
            in_scalars=len(self.elements) + 1,
            in_edge_scalars=1,
            out_scalars=len(self.elements),
            out_vectors=1,
            channels=channels,
            layers=layers,
            grid=grid,
            mode=mode,
            kernel=kernel or ("zonal" if mode == "bundle" else "mlp"),
            lmax=lmax,
        )

    @property
    def symmetry(self) -> Float[Tensor, "operation 3 3"] | None:
        """Symmetries of the grid [G, 3, 3]; None, for all of O(3), where there is no grid."""
        space = self.network.space
        return space.grid.symmetry if isinstance(space, Bundle) else None

    def types(self, one_hot: Float[Tensor, "node element"]) -> Float[Tensor, "node element"]:
        """Return the types of atoms without noise, in the precision of the parameters.

        Args:
            one_hot: Elements of the atoms, one for the element and zero for others [N, elements].
        """
        return _TYPE_SCALE * one_hot.to(next(self.parameters()).dtype)

    def forward(self, graph: Any) -> dict[str, Tensor]:
        """Denoise molecules.

        Args:
            graph: Object with the fields ``pos`` [N, 3], noisy positions relative to the center of
                each molecule, Å; ``types`` [N, elements], noisy types; ``noise`` [G], the noise
                level of each molecule, Å; ``edge_index`` [2, E]; ``batch`` [N].

        Returns:
            Mapping of ``pos`` [N, 3] and ``types`` [N, elements], in the precision of the
            parameters.
        """
        inputs, (pos, types, noise) = self._inputs(graph)
        scalars, vectors = self.network.node_outputs(*inputs)
        of_positions = precondition(noise, self.position_deviation)
        of_types = precondition(noise, self.type_deviation)
        moved = center(vectors[:, 0], graph.batch, len(graph.noise))
        return {
            "pos": of_positions.skip * pos + of_positions.out * moved,
            "types": of_types.skip * types + of_types.out * scalars,
        }

    def calibrate(self, graph: Any) -> None:
        """Rescale all kernels on a batch, see :meth:`equinet.models.Ponita.calibrate`.

        Args:
            graph: Batch of noisy molecules, as in a call.
        """
        self.network.calibrate_on(self._inputs(graph)[0])

    def _inputs(self, graph: Any) -> tuple[Inputs, tuple[Tensor, Tensor, Tensor]]:
        """Return the inputs of the network, and positions, types and levels of the atoms."""
        dtype = next(self.parameters()).dtype
        pos, types = graph.pos.to(dtype), graph.types.to(dtype)
        noise = graph.noise.to(dtype).index_select(0, graph.batch).unsqueeze(1)
        sender, receiver = graph.edge_index
        level = noise_input(noise)
        scaled = _LENGTH * precondition(noise, self.position_deviation).into * pos
        inputs = Inputs(
            torch.cat([precondition(noise, self.type_deviation).into * types, level], dim=1),
            pos.new_empty(pos.shape[0], 0, 3),
            graph.edge_index,
            scaled.index_select(0, sender) - scaled.index_select(0, receiver),
            level.index_select(0, receiver),
        )
        return inputs, (pos, types, noise)
