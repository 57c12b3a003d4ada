"""Fallbacks: one potential for compositions like those of training, another for all others."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from equinet.models.members import build_members, from_trained
from equinet.models.potential import Potential


class Fallback(Potential):
    """Pair of potentials, one for compositions like those of training, one for all others.

    A network that is trained on few systems predicts these well and extrapolates badly. A network
    that is trained for small forces on unknown systems (see :func:`equinet.training.transmute`)
    predicts the known ones less well. A structure is familiar if any two of its elements occur
    together in a training structure; familiar structures are evaluated by the first potential, all
    others by the second. The choice depends on the elements of the structure alone, so it never
    changes along a trajectory, and energies are as smooth as those of the potentials. Compare
    energies only between structures that the same potential evaluates, not those of a slab and the
    slab with an unfamiliar adsorbate. A call also returns ``familiar`` [G], whether the first
    potential evaluated each structure.

    :meth:`of` makes a fallback from trained models, and ``python -m equinet zoo fallback`` from
    runs.

    Args:
        members: Description of the potential for familiar structures and of that for all others:
            the ``class``, by name, and the ``arguments``, as in the card of a model.
        pairs: Pairs of atomic numbers of different elements that occur together in training, see
            :func:`equinet.data.pairs_that_meet`.

    Raises:
        ValueError: There are not two members, members cannot be joined or are made of other models
            (see :class:`equinet.models.Committee`), or a pair has elements that they do not know.

    Source: Chow, On optimum recognition error and reject tradeoff (IEEE Trans. Inf. Theory, 1970),
    for rejection of unfamiliar inputs; the criterion is this package's own.

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
        """Make a fallback of copies of two trained models.

        Args:
            known: Potential for familiar structures.
            other: Potential for all other structures.
            pairs: Pairs of atomic numbers of elements that occur together in training.

        Raises:
            ValueError: The models cannot be joined, see the class, or differ in dtype.
        """
        return from_trained(cls, [known, other], pairs=[list(pair) for pair in pairs])

    @property
    def symmetry(self) -> Float[Tensor, "operation 3 3"] | None:
        """Symmetry of the potentials, which is the same for both."""
        return self._potentials[0].symmetry

    def familiar(
        self, species: Int[Tensor, " node"], batch: Int[Tensor, " node"], num_graphs: int
    ) -> Bool[Tensor, " graph"]:
        """Return whether any two elements of each graph occur together in training.

        Args:
            species: Species of each atom [N], indices into ``elements``.
            batch: Index of the graph of each atom [N].
            num_graphs: Number of graphs G.

        Returns:
            Mask [G] of the familiar graphs.
        """
        present = torch.zeros(num_graphs, len(self.elements), device=species.device)
        present = present.index_put((batch, species), present.new_ones(()))
        return ((present @ (~self.met).to(present)) * present).sum(1) == 0

    def forward(
        self, graph: Any, *, forces: bool = True, stress: bool = False
    ) -> dict[str, Tensor]:
        """Evaluate one potential if all structures need the same, otherwise both.

        A compiled model always evaluates both; see :class:`equinet.models.Potential`.

        Args:
            graph: Graph or batch, as in :meth:`equinet.models.Potential.forward`.
            forces: Whether to return forces.
            stress: Whether to return the stress.

        Returns:
            Mapping of ``energy``, ``forces`` and ``stress``, and ``familiar`` [G].
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
        """Evaluate both potentials and choose; see :meth:`equinet.models.Potential.evaluate`."""
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
        """Return the energies of the atoms of one structure, eV, without reference energies."""
        familiar = self.familiar(species, torch.zeros_like(species), 1)
        known, other = (
            member.scale * member.atomic_energies(species, vectors, edge_index) + member.shift
            for member in self._potentials
        )
        return torch.where(familiar, known, other)

    @property
    def _potentials(self) -> list[Potential]:
        return cast("list[Potential]", list(self.members))
