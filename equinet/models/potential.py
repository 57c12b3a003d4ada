"""Base class of interatomic potentials: species, edge vectors, energies, exact derivatives."""

import copy
import math
from abc import abstractmethod
from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from equinet.arguments import Count, Positive
from equinet.errors import BackendError, ConfigError, DataError
from equinet.models.base import Model
from equinet.models.reference_energies import ReferenceEnergies
from equinet.models.species import Species
from equinet.neighborhood import Neighborhood
from equinet.nn import edge_vectors, stress_of

Evaluation = Callable[..., dict[str, Tensor]]
"""Function of a graph and the keywords ``forces`` and ``stress``, as :meth:`Potential.forward`."""

# Two modes, four sets of derivatives, one or more structures, and numbers of atoms and edges that
# are zero, one or equal make at most this many variants of a call.
_COMPILED_VARIANTS = 128


class Potential(Model):
    r"""Energy that is a sum over atoms, with forces and stress as its exact derivatives.

    Subclasses implement :meth:`atomic_energies` in units of ``scale``. This class computes the
    energy :math:`E = \sum_i (\text{scale}\,\epsilon_i + \text{shift}) + \sum_i E^0_{z_i}`, with
    the sum of reference energies in float64, and its derivatives. A subclass whose network returns
    forces sets ``conservative`` to False and implements :meth:`atomic_energies_and_forces`.

    Args:
        elements: Atomic numbers that the model knows, in the order of its species.
        cutoff: Distance beyond which neighbors do not interact, Å.
        reference_energies: Reference energy of each element, eV per atom.
        scale: Unit of the network's output, eV.
        shift: Energy added for each atom, eV.
        max_neighbors: Highest number of edges that end at an atom in the graphs, which keep the
            shortest; None for all edges within the cutoff. The model does not check its graphs,
            which are built with its :attr:`neighborhood`.
        tie_tolerance: Difference of squared lengths, Å², up to which edges longer than the last one
            are kept as well, see :func:`equinet.data.neighbor_list`; None for none of them.

    Raises:
        ValueError: The numbers of reference energies and elements differ, ``max_neighbors`` is
            below 1, or ``tie_tolerance`` is negative or given without ``max_neighbors``.

    Example:
        >>> from equinet import zoo
        >>> model = zoo.load("mace-gaunt-3bpa")
        >>> isinstance(model, Potential), model.elements, model.cutoff
        (True, (1, 6, 7, 8), 5.0)
    """

    conservative: bool = True
    """Whether the forces are the gradient of the energy; only then is there a stress."""
    mirror_symmetric: bool = True
    """Whether energies are the same for a structure and its mirror image by construction."""
    quick_to_compile: ClassVar[bool] = False
    """Whether :meth:`compile` takes only a minute or two, at the model's default size."""
    _compiled: Callable[..., dict[str, Tensor]] | None = None

    def __init__(
        self,
        *,
        elements: Sequence[int],
        cutoff: Positive,
        reference_energies: Sequence[float],
        scale: float = 1.0,
        shift: float = 0.0,
        max_neighbors: Count | None = None,
        tie_tolerance: float | None = None,
    ) -> None:
        super().__init__()
        average = self.arguments.get("average_neighbors", 1.0)
        if not 0 < average < math.inf:
            raise ValueError(f"average_neighbors must be a finite number above 0, found {average}")
        if len(elements) != len(reference_energies):
            raise ValueError(
                f"reference_energies has {len(reference_energies)} values for "
                f"{len(elements)} elements; give one per element"
            )
        self.species = Species(elements)
        """Module that returns the species of atoms, given their atomic numbers [N]."""
        self.elements = self.species.elements
        self.neighborhood = Neighborhood(cutoff, max_neighbors, tie_tolerance)
        """Neighborhood with which graphs for this model are built."""
        self.cutoff = self.neighborhood.cutoff
        self.scale = float(scale)
        self.shift = float(shift)
        self.reference_energies = ReferenceEnergies(reference_energies)

    @abstractmethod
    def atomic_energies(
        self,
        species: Int[Tensor, " node"],
        vectors: Float[Tensor, "edge 3"],
        edge_index: Int[Tensor, "2 edge"],
    ) -> Float[Tensor, " node"]:
        """Return the energy of each atom in units of ``scale``.

        Args:
            species: Species of each atom [N], indices into ``elements``.
            vectors: Edge vectors from receiver to sender [E, 3], Å.
            edge_index: Senders and receivers [2, E].
        """

    def atomic_energies_and_forces(
        self,
        species: Int[Tensor, " node"],
        vectors: Float[Tensor, "edge 3"],
        edge_index: Int[Tensor, "2 edge"],
        batch: Int[Tensor, " node"],  # noqa: ARG002 - for subclasses with direct forces
        num_graphs: int,  # noqa: ARG002 - for subclasses with direct forces
    ) -> tuple[Float[Tensor, " node"], Float[Tensor, "node 3"] | None]:
        """Return atomic energies, and forces if the model is not conservative, both in ``scale``.

        Args:
            species: Species of each atom [N], indices into ``elements``.
            vectors: Edge vectors from receiver to sender [E, 3], Å.
            edge_index: Senders and receivers [2, E].
            batch: Index of the graph of each atom [N].
            num_graphs: Number of graphs in the batch.
        """
        return self.atomic_energies(species, vectors, edge_index), None

    @property
    def dtype(self) -> torch.dtype:
        """Floating-point type of the parameters, in which the network is evaluated."""
        return next(self.parameters()).dtype

    @property
    def is_compiled(self) -> bool:
        """Whether :meth:`compile` has been called."""
        return self._compiled is not None

    @property
    def symmetry(self) -> Float[Tensor, "operation 3 3"] | None:
        """Orthogonal matrices under which energies are exactly invariant; None for all of O(3).

        A model that is only approximately invariant under other matrices lists the exact ones here.
        """
        return None

    @property
    def message_passes(self) -> int | None:
        """Number of edges in a row along which an atom's energy or direct force reaches.

        The energy of an atom depends on atoms no farther away than this number times ``cutoff``.
        None where it is unknown, or where the results depend on the structure as a whole.
        """
        return None

    def calibrate(self, graph: Any) -> None:
        """Rescale layers on a batch before training, if a network needs it.

        Args:
            graph: Batch of the training data, as in :meth:`forward`.
        """

    def weight_decay_parameters(self) -> list[Tensor]:
        """Return the parameters on which weight decay acts: matrices, not gains and biases."""
        return [p for p in self.parameters() if p.ndim >= 2]

    def forward(
        self, graph: Any, *, forces: bool = True, stress: bool = False
    ) -> dict[str, Tensor]:
        """Evaluate energies and their derivatives.

        Args:
            graph: Graph or batch with ``atomic_numbers, pos, cell, batch, edge_index,
                edge_shift``, see the conventions page.
            forces: Whether to return forces, minus the gradient with respect to the positions.
            stress: Whether to return the stress, the derivative with respect to a symmetric strain
                divided by the volume.

        Returns:
            Mapping of ``energy`` [G], total energies in eV, float64; ``forces`` [N, 3] in eV/Å; and
            ``stress`` [G, 3, 3] in eV/Å³ with ASE's sign. Derivatives have the dtype of
            ``graph.pos`` and can be differentiated again while the model is in training mode.

        Raises:
            DataError: The graph has an element that the model does not know, or the stress is
                asked for of a cell without volume.
            ConfigError: The model was made inside ``torch.inference_mode()``.
            ValueError: The stress is asked for of a model that is not conservative, or a tensor of
                the graph has a wrong type.
        """
        if stress and not self.conservative:
            raise ValueError(
                f"stress=True, but the forces of this {type(self).__name__} are no gradient of its "
                "energy, and it has no stress; use one whose forces are"
            )
        if (forces or stress) and torch.is_inference_mode_enabled():
            # Derivatives need autograd, which inference mode disables and whose tensors it refuses.
            with torch.inference_mode(mode=False):
                return self(_recordable(graph), forces=forces, stress=stress)
        if next(self.parameters()).is_inference():
            raise ConfigError(
                f"this {type(self).__name__} was made or loaded inside torch.inference_mode(), "
                "where its weights cannot be differentiated; make or load it outside"
            )
        _check_types(graph)
        species = self.species(graph.atomic_numbers)
        batch = graph.batch
        if batch is None:
            batch = torch.zeros_like(species)
        cell = graph.cell.reshape(-1, 3, 3)
        if stress:
            _refuse_flat_cells(cell)
        pos = graph.pos
        if forces and self.conservative and not pos.requires_grad:
            pos = pos.detach().requires_grad_()
        strain = torch.zeros_like(cell).requires_grad_() if stress else None
        evaluate = self._compiled or self.evaluate
        return evaluate(
            species, pos, cell, batch, graph.edge_index, graph.edge_shift, strain, forces=forces
        )

    def evaluate(
        self,
        species: Int[Tensor, " node"],
        pos: Float[Tensor, "node 3"],
        cell: Float[Tensor, "graph 3 3"],
        batch: Int[Tensor, " node"],
        edge_index: Int[Tensor, "2 edge"],
        edge_shift: Float[Tensor, "edge 3"],
        strain: Float[Tensor, "graph 3 3"] | None = None,
        *,
        forces: bool = True,
    ) -> dict[str, Tensor]:
        """Evaluate the model on plain tensors, as :meth:`forward` does, in a form for compilers.

        The control flow does not depend on values of tensors, so :func:`torch.compile` can compile
        it as a whole.

        Args:
            species: Species of each atom [N], from :attr:`species`; they are not checked.
            pos: Positions [N, 3], Å; for forces they must require a gradient.
            cell: Lattice vectors in rows [G, 3, 3], Å; zeros where not periodic.
            batch: Index of the graph of each atom [N].
            edge_index: Senders and receivers [2, E].
            edge_shift: Shift of each edge [E, 3], in units of the lattice vectors.
            strain: Zeros [G, 3, 3] that require a gradient, for the stress; None for no stress.
            forces: Whether to return forces.

        Returns:
            Mapping of ``energy``, ``forces`` and ``stress`` as in :meth:`forward`.
        """
        num_graphs = cell.shape[0]
        wanted = [pos] if forces and self.conservative else []
        wanted += [] if strain is None else [strain]
        with torch.set_grad_enabled(bool(wanted) or torch.is_grad_enabled()):
            vectors = edge_vectors(pos, cell, batch, edge_index, edge_shift, strain)
            atomic, direct = self.atomic_energies_and_forces(
                species, vectors.to(self.dtype), edge_index, batch, num_graphs
            )
            # In float32, the sum over a thousand atoms would have errors of milli-electronvolts.
            atomic = atomic.double() * self.scale + self.shift
            interaction = atomic.new_zeros(num_graphs).index_add(0, batch, atomic)
            gradients = self._gradients(interaction, wanted)
        if gradients and not self.training:
            # The tensors that a further derivative would need are already freed.
            interaction = interaction.detach()
        results = {}
        if forces:
            results["forces"] = -gradients[0] if direct is None else self.scale * direct.to(pos)
        if strain is not None:
            results["stress"] = stress_of(gradients[-1], cell)
        reference = self.reference_energies(species, batch, num_graphs)
        return {"energy": interaction + reference, **results}

    def fixed(self) -> Evaluation | None:
        """Prepare a form of the trained potential that evaluates faster, without autograd.

        Weights are copied: later changes have no effect on the result.

        Returns:
            A function of a graph and the keywords ``forces`` and ``stress`` as :meth:`forward`,
            whose results cannot be differentiated; None where the potential has no such form, as is
            the default. :class:`equinet.models.MACEGaunt` has one on a CPU.

        Example:
            >>> from equinet import zoo
            >>> zoo.load("mace-gaunt-3bpa").fixed() is not None
            True
        """
        return None

    def evaluate_many(self, structures: Iterable[Any]) -> list[dict[str, Any]]:
        """Evaluate many structures, in batches that are packed by their numbers of edges.

        Structures may differ in size, elements and periodicity. All threads of torch are used, see
        :func:`torch.set_num_threads`. The model is left in evaluation mode.

        Args:
            structures: ASE atoms, or frames of :mod:`equinet.data`; their labels are ignored.

        Returns:
            Results of each structure, in the order given, by the names and in the units of ASE:
            ``energy`` and ``free_energy`` in eV, ``forces`` [N, 3] in eV/Å, and ``stress`` [6] in
            eV/Å³ (xx, yy, zz, yz, xz, xy) of structures that are periodic in all three directions,
            if the model is conservative. Potentials made of others add what their calculator has
            as attributes, such as ``energy_spread``.

        Raises:
            DataError: A structure has an element that the model does not know, two atoms at the
                same place, positions that are not finite, or a cell without volume, or its energy
                or a force is not finite; elements are checked before anything is evaluated.

        Example:
            >>> from ase.build import molecule
            >>> from equinet import zoo
            >>> model = zoo.load("mace-gaunt-3bpa")
            >>> found = model.evaluate_many([molecule("CH4"), molecule("H2O")])
            >>> [results["forces"].shape for results in found]
            [(5, 3), (3, 3)]
        """
        # Neighbor lists and graphs, which only some callers of a model need, are slow to import.
        from equinet.models.many import evaluate_many

        return evaluate_many(self.eval(), structures)

    def compile(
        self,
        *arguments: Any,
        on_failure: Callable[[Exception], None] | None = None,
        **options: Any,
    ) -> None:
        """Compile the evaluation; the first call afterwards takes one or two minutes.

        Calls check their graph as before and then run one compiled function for graphs of all
        sizes, which includes forces and stress. In training, losses on forces can be
        differentiated. Copies of the model are not compiled.

        Args:
            *arguments: Positional arguments of :func:`torch.compile`.
            on_failure: Function that is called with the error of a call that fails while it is
                compiled; unless it raises an error, the model is no longer compiled and this
                call and all others are evaluated as written. None to raise the error.
            **options: Keyword arguments of :func:`torch.compile`, such as ``backend``.

        Raises:
            BackendError: This version of torch cannot compile gradients.

        Example:
            >>> from equinet.models import MACEGaunt
            >>> model = MACEGaunt(
            ...     elements=[1], cutoff=4.0, reference_energies=[-13.6], average_neighbors=1.0
            ... ).eval()
            >>> model.compile()  # from now on model(graph) is compiled
        """
        from torch._dynamo import config

        if not hasattr(config, "trace_autograd_ops"):
            raise BackendError(
                f"torch {torch.__version__} does not compile gradients; torch 2.13 does"
            )
        # Every combination of derivatives, mode and special sizes is compiled separately, and by
        # default torch compiles at most eight functions for all models of a class together.
        options = {
            "fullgraph": True,
            "dynamic": True,
            "isolate_recompiles": True,
            "recompile_limit": _COMPILED_VARIANTS,
        } | options
        compiled = torch.compile(self.evaluate, *arguments, **options)
        compiled = config.patch(trace_autograd_ops=True)(compiled)
        if on_failure is None:
            self._compiled = compiled
            return

        def compiled_or_as_written(*tensors: Any, **wanted: Any) -> dict[str, Tensor]:
            try:
                return compiled(*tensors, **wanted)
            # Compilers fail with errors of many classes.
            except Exception as error:  # noqa: BLE001
                self.uncompile()
                on_failure(error)
            return self.evaluate(*tensors, **wanted)

        self._compiled = compiled_or_as_written

    def uncompile(self) -> None:
        """Evaluate the model as written again, whether or not it was compiled.

        Example:
            >>> from equinet.models import MACEGaunt
            >>> model = MACEGaunt(
            ...     elements=[1], cutoff=4.0, reference_energies=[-13.6], average_neighbors=1.0
            ... ).eval()
            >>> model.compile()
            >>> model.uncompile()
        """
        self._compiled = None

    def __getstate__(self) -> dict[str, Any]:
        # The compiled function holds this object, so a copy would evaluate the original.
        return {key: value for key, value in super().__getstate__().items() if key != "_compiled"}

    def _gradients(self, interaction: Tensor, wanted: list[Tensor]) -> list[Tensor]:
        """Return the gradients of the summed energy; zero where it does not depend on an input."""
        if not wanted:
            return []
        return list(
            torch.autograd.grad(
                interaction.sum(),
                wanted,
                create_graph=self.training,
                allow_unused=True,
                materialize_grads=True,
            )
        )


def _recordable(graph: Any) -> Any:
    """Copy a graph without tensors of inference mode, which autograd cannot save."""
    graph = copy.copy(graph)
    for name, value in graph.to_dict().items():
        if isinstance(value, Tensor) and value.is_inference():
            graph[name] = value.clone()
    return graph


def _check_types(graph: Any) -> None:
    """Refuse a graph whose tensors torch would misread: numbers of bytes or truths are masks."""
    for name, tensor in (("pos", graph.pos), ("cell", graph.cell)):
        if not tensor.is_floating_point():
            raise ValueError(f"{name} must be floating-point numbers, found {tensor.dtype}")
    for name, tensor in (("edge_index", graph.edge_index), ("batch", graph.batch)):
        if tensor is not None and tensor.dtype not in {torch.int32, torch.int64}:
            raise ValueError(f"{name} must be int32 or int64, found {tensor.dtype}")
    numbers = graph.atomic_numbers
    if numbers.is_floating_point() or numbers.dtype == torch.bool:
        raise ValueError(f"atomic_numbers must be integers, found {numbers.dtype}")


def _refuse_flat_cells(cell: Float[Tensor, "graph 3 3"]) -> None:
    """Refuse the stress of a periodic structure whose cell has no volume, such as a slab's."""
    a, b, c = cell.unbind(1)
    is_flat = torch.linalg.vecdot(a, torch.linalg.cross(b, c)) == 0
    flat = (is_flat & cell.any(2).any(1)).nonzero()
    if flat.numel():
        index = int(flat[0])
        raise DataError(
            f"the stress needs a cell with a volume, and that of structure {index} of the batch "
            f"has none: {cell[index].tolist()} Å; give it a third lattice vector"
        )


def fastest(model: Any) -> Evaluation:
    """Return the fixed form of a model where it has one, or else the model itself.

    Args:
        model: Model of any kind, in evaluation mode. One that is compiled is returned as it is.

    Example:
        >>> from equinet import zoo
        >>> type(fastest(zoo.load("mace-gaunt-3bpa"))).__name__
        'FixedPotential'
    """
    prepared = model.fixed() if isinstance(model, Potential) and not model.is_compiled else None
    found: Evaluation = model if prepared is None else prepared
    return found
