"""Committees: the mean of potentials that were trained separately, and their spread."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from equinet.models.members import build_members, describe_member, from_trained
from equinet.models.potential import Evaluation, Potential


class Committee(Potential):
    r"""Mean of several potentials, with the spread among them.

    Networks that are trained on the same data from different initial weights have different errors
    where data are scarce. The error of their mean is usually smaller than that of each, and a large
    spread marks predictions that are not reliable. Energy, forces and stress are means over the
    members. A call also returns the sample standard deviations among members: ``energy_spread`` [G]
    of the energies, eV, and, with forces, ``forces_spread`` [N],
    :math:`\sqrt{\operatorname{tr}\operatorname{Cov}(F_i)}` of the force on each atom, eV/Å.

    :meth:`of` makes a committee from trained models, and ``python -m equinet zoo committee`` from
    runs.

    Args:
        members: Description of each member: its ``class``, by name, and its ``arguments``, as in
            the card of a model.

    Raises:
        ValueError: There are fewer than two members, a class is not a potential of equinet.models,
            or members differ in elements, neighborhood or symmetry.

    Source: Lakshminarayanan, Pritzel, Blundell, Deep ensembles (NeurIPS 2017).

    Example:
        >>> from equinet.models import MACEGaunt
        >>> models = [
        ...     MACEGaunt(
        ...         elements=[1], cutoff=4.0, reference_energies=[-13.6], average_neighbors=1.0
        ...     )
        ...     for _ in range(3)
        ... ]
        >>> len(Committee.of(models).members)
        3
    """

    def __init__(self, *, members: Sequence[Mapping[str, Any]]) -> None:
        if len(members) < 2:
            raise ValueError(f"a committee has at least 2 members, found {len(members)}; give more")
        models = build_members(members)
        first = models[0]
        references = torch.stack([model.reference_energies.energies for model in models])
        super().__init__(
            elements=first.elements,
            reference_energies=references.mean(0).tolist(),
            **first.neighborhood.arguments(),
        )
        self.members = nn.ModuleList(models)
        self.conservative = first.conservative
        if hasattr(first, "ops"):
            self.ops = first.ops
        self.mirror_symmetric = all(model.mirror_symmetric for model in models)

    @classmethod
    def of(cls, models: Sequence[Potential]) -> "Committee":
        """Make a committee of copies of trained models.

        Args:
            models: Potentials to copy, at least two.

        Raises:
            ValueError: The models cannot be joined, see the class, or differ in dtype.
        """
        return from_trained(cls, models)

    @classmethod
    def like(cls, model: Potential, size: int) -> "Committee":
        """Make a committee of untrained potentials of the class and arguments of one.

        Args:
            model: Potential whose class and arguments are taken; its weights are ignored.
            size: Number of members.

        Raises:
            ValueError: ``size`` is below two, or the model is not a potential of equinet.models or
                is itself made of other models.
        """
        one = describe_member(model)
        parameter = next(model.parameters())
        return cls(members=[one] * size).to(parameter.device, parameter.dtype)

    @property
    def symmetry(self) -> Float[Tensor, "operation 3 3"] | None:
        """Symmetry of the members, which is the same for all."""
        return self.potentials[0].symmetry

    @property
    def message_passes(self) -> int | None:
        """Largest number of the members; None if that of one is unknown."""
        found = [member.message_passes for member in self.potentials]
        return None if None in found else max(each for each in found if each is not None)

    def calibrate(self, graph: Any) -> None:
        """Calibrate every member, see :meth:`equinet.models.Potential.calibrate`.

        Args:
            graph: Batch of the training data, as in a call.
        """
        for member in self.potentials:
            member.calibrate(graph)

    def weight_decay_parameters(self) -> list[Tensor]:
        """Return the parameters of all members on which weight decay acts."""
        return [p for member in self.potentials for p in member.weight_decay_parameters()]

    def fixed(self) -> Evaluation | None:
        """Return the fixed forms of all members, joined, if each has one."""
        members = [found for member in self.potentials if (found := member.fixed())]
        return _FixedMembers(members) if len(members) == len(self.potentials) else None

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
        """Evaluate all members on one graph; see :meth:`equinet.models.Potential.evaluate`."""
        found = [
            member.evaluate(
                species, pos, cell, batch, edge_index, edge_shift, strain, forces=forces
            )
            for member in self.potentials
        ]
        return self.combine(found)

    @staticmethod
    def combine(found: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
        """Return the means over the results of members, and their spread.

        Args:
            found: Results of each member for one graph, as of a call.
        """
        stacked = {name: torch.stack([each[name] for each in found]) for name in found[0]}
        results = {name: values.mean(0) for name, values in stacked.items()}
        results["energy_spread"] = stacked["energy"].std(0)
        if "forces" in stacked:
            # The derivative of the norm at zero is zero, so members may agree exactly.
            results["forces_spread"] = torch.linalg.vector_norm(stacked["forces"].std(0), dim=-1)
        return results

    def atomic_energies(
        self,
        species: Int[Tensor, " node"],
        vectors: Float[Tensor, "edge 3"],
        edge_index: Int[Tensor, "2 edge"],
    ) -> Float[Tensor, " node"]:
        """Return the mean over the members, in eV, without reference energies."""
        energies = [
            member.scale * member.atomic_energies(species, vectors, edge_index) + member.shift
            for member in self.potentials
        ]
        return torch.stack(energies).mean(0)

    @property
    def potentials(self) -> list[Potential]:
        """The members as potentials."""
        return cast("list[Potential]", list(self.members))


@dataclass(frozen=True)
class _FixedMembers:
    """Members of a committee at fixed weights; unlike a function it can be copied and pickled."""

    members: list[Evaluation]

    def __call__(self, graph: Any, **wanted: bool) -> dict[str, Tensor]:
        return Committee.combine([member(graph, **wanted) for member in self.members])
