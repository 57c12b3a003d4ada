"""A fallback: one potential for compositions like those of training, another for all others."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from equinet.models.members import build_members, from_trained
from equinet.models.potential import Potential


class Fallback(Potential):
    """A potential where elements meet that met in its training, and a more careful one elsewhere.

    A network that has seen few systems is good at these and extrapolates wildly beyond; one that is
    trained to be careful beyond (see :func:`equinet.training.transmute`) is worse at these. So a
    structure is familiar if every two of its elements occur together in some training structure,
    and is given to the first potential; any other is given to the second. The choice depends on the
    elements of the structure alone: along a trajectory it never changes, and energies are as smooth
    as those of the potentials. But energies are to be compared among structures that one potential
    answered for, not between a slab and the same slab with an adsorbate that it never met. Besides
    energy, forces and stress a call returns ``familiar`` [G], true where the first one answered.

    :meth:`of` makes one from trained models, ``python -m equinet zoo fallback`` from runs.

    Args:
        members: Of the two potentials, the one for familiar structures first, the ``class``, by
            name, and the ``arguments``, as a model's card has them.
        pairs: Atomic numbers of two different elements that occur together in training, see
            :func:`equinet.data.pairs_that_meet`.

    Raises:
        ValueError: Not two members, members that do not go together or are made of others (see
            :class:`equinet.models.Committee`), or a pair of other elements than theirs.

    Source: this package; deferring what a model does not know is Chow, On optimum recognition error
    and reject tradeoff (IEEE Trans. Inf. Theory, 1970).

    Example:
        >>> from equinet.models import MACEGaunt
        >>> known, other = (
        ...     MACEGaunt(
        ...         elements=[1, 8, 29],
        ...         cutoff=4.0,
        ...         reference_energies=[0.0, 0.0, 0.0],
        ...         average_neighbors=4.0,
        ...     )
        ...     for _ in range(2)
        ... )
        >>> model = Fallback.of(known, other, pairs=[(1, 8), (8, 29)])
        >>> water, hydride = torch.tensor([0, 1]), torch.tensor([0, 2])
        >>> model.familiar(torch.cat([water, hydride]), torch.tensor([0, 0, 1, 1]), 2)
        tensor([ True, False])
    """

    met: Tensor

    def __init__(
        self, *, members: Sequence[Mapping[str, Any]], pairs: Sequence[Sequence[int]]
    ) -> None:
        if len(members) != 2:
            raise ValueError(f"members must be 2, found {len(members)}")
        models = build_members(members)
        first = models[0]
        super().__init__(
            elements=first.elements,
            reference_energies=first.reference_energies.energies.tolist(),
            **first.neighborhood.arguments(),
        )
        self.members = nn.ModuleList(models)
        self.conservative = first.conservative
        self.mirror_symmetric = all(model.mirror_symmetric for model in models)
        met = torch.eye(len(self.elements), dtype=torch.bool)
        for pair in pairs:
            if len(pair) != 2 or not set(pair) <= set(self.elements):
                raise ValueError(
                    f"pairs must be of two of the elements {list(self.elements)}, "
                    f"found {list(pair)}"
                )
            one, other = (self.elements.index(z) for z in pair)
            met[one, other] = met[other, one] = True
        self.register_buffer("met", met, persistent=False)

    @classmethod
    def of(cls, known: Potential, other: Potential, pairs: Sequence[Sequence[int]]) -> "Fallback":
        """Make one of copies of two trained models.

        Args:
            known: For familiar structures.
            other: For all others.
            pairs: Atomic numbers of elements that occur together in training.

        Raises:
            ValueError: They do not fit together, see the class, or differ in dtype.
        """
        return from_trained(cls, [known, other], pairs=[list(pair) for pair in pairs])

    @property
    def symmetry(self) -> Float[Tensor, "operation 3 3"] | None:
        """What both potentials share."""
        return self._potentials[0].symmetry

    def familiar(
        self, species: Int[Tensor, " node"], batch: Int[Tensor, " node"], num_graphs: int
    ) -> Bool[Tensor, " graph"]:
        """Say of each graph whether all its elements met in training.

        Args:
            species: Indices into ``elements``.
            batch: Graph of each atom.
            num_graphs: Number of graphs.
        """
        present = torch.zeros(num_graphs, len(self.elements), device=species.device)
        present = present.index_put((batch, species), present.new_ones(()))
        return ((present @ (~self.met).to(present)) * present).sum(1) == 0

    def forward(
        self, graph: Any, *, forces: bool = True, stress: bool = False
    ) -> dict[str, Tensor]:
        """Evaluate one potential where that is all the structures need, otherwise both.

        A compiled model always evaluates both; see :class:`equinet.models.Potential`.

        Args:
            graph: A graph or batch.
            forces: Also return the forces.
            stress: Also return the stress.

        Returns:
            ``energy``, ``forces`` and ``stress``, and ``familiar`` [G].
        """
        if self._compiled is not None:
            return super().forward(graph, forces=forces, stress=stress)
        species = self.species(graph.atomic_numbers)
        batch = torch.zeros_like(species) if graph.batch is None else graph.batch
        familiar = self.familiar(species, batch, graph.cell.reshape(-1, 3, 3).shape[0])
        if bool((familiar == familiar[:1]).all()):
            answering = self._potentials[0 if bool(familiar.all()) else 1]
            return {**answering(graph, forces=forces, stress=stress), "familiar": familiar}
        return super().forward(graph, forces=forces, stress=stress)

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
        """Evaluate both, and choose; see :meth:`equinet.models.Potential.evaluate`."""
        familiar = self.familiar(species, batch, cell.shape[0])
        known, other = (
            member.evaluate(
                species, pos, cell, batch, edge_index, edge_shift, strain, forces=forces
            )
            for member in self._potentials
        )
        results = {}
        for name, value in known.items():
            chosen = familiar[batch] if name == "forces" else familiar
            chosen = chosen.view(-1, *[1] * (value.ndim - 1))
            results[name] = torch.where(chosen, value, other[name])
        return {**results, "familiar": familiar}

    def atomic_energies(
        self,
        species: Int[Tensor, " node"],
        vectors: Float[Tensor, "edge 3"],
        edge_index: Int[Tensor, "2 edge"],
    ) -> Float[Tensor, " node"]:
        """Return those of one structure, in eV, with the reference energies of neither."""
        familiar = self.familiar(species, torch.zeros_like(species), 1)
        known, other = (
            member.scale * member.atomic_energies(species, vectors, edge_index) + member.shift
            for member in self._potentials
        )
        return torch.where(familiar, known, other)

    @property
    def _potentials(self) -> list[Potential]:
        return cast("list[Potential]", list(self.members))
