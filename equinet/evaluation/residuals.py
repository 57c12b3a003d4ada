"""Residuals of a potential and the loss made of them."""

import math
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from equinet.arguments import check_choice

Loss = Literal["squared", "absolute", "huber"]
"""Kind of the penalty of an error, see :class:`LossWeights`."""


@dataclass(frozen=True)
class Residuals:
    """Predicted minus true values of one batch, in float64.

    Energies are subtracted before any cast: float32 resolves only 2 meV at -17 660 eV.

    Attributes:
        energy: Errors of the total energies [G], eV; G is the number of structures with an energy.
        atoms: Number of atoms of each of these structures [G].
        forces: Errors of the forces [M, 3], eV/Å; M is the number of atoms with a force, or of free
            ones among them where the others are left out.
        stress: Errors of the stress tensors [G, 3, 3], eV/Å³; None where stress is not trained on.

    Example:
        >>> Residuals(torch.ones(1), torch.tensor([2.0]), torch.zeros(2, 3)).forces.shape
        torch.Size([2, 3])
    """

    energy: Float[Tensor, " graph"]
    atoms: Float[Tensor, " graph"]
    forces: Float[Tensor, "atom 3"]
    stress: Float[Tensor, "graph 3 3"] | None = None


def residuals(
    predicted: dict[str, Tensor], graph: Any, *, free_atoms_only: bool = False
) -> Residuals:
    """Compare a model's output with the labels of the batch it was computed from.

    Args:
        predicted: Results ``energy`` [G], eV, ``forces`` [N, 3], eV/Å, and where asked for
            ``stress`` [G, 3, 3], eV/Å³.
        graph: Batch with the same fields as labels. Energy and forces may be absent, or known of
            some structures only, see :func:`labeled_structures`.
        free_atoms_only: Whether the forces on atoms marked ``fixed`` are left out, as in OC20.

    Example:
        >>> from torch_geometric.data import Batch, Data
        >>> data = Data(atomic_numbers=torch.tensor([1]), energy=torch.tensor([-13.6]))
        >>> residuals({"energy": torch.tensor([-13.6])}, Batch.from_data_list([data])).energy
        tensor([0.], dtype=torch.float64)
    """
    batch = graph.batch
    if batch is None:
        batch = torch.zeros_like(graph.atomic_numbers)
    energy = predicted["energy"].double()
    atoms = torch.bincount(batch, minlength=energy.shape[0]).double()
    known = labeled_structures(graph, "energy")
    if known is not None:
        energy, atoms = energy[known], atoms[known]
    if getattr(graph, "energy", None) is None:
        energy, atoms = energy[:0], atoms[:0]
    else:
        energy = energy - (graph.energy if known is None else graph.energy[known]).double()
    if getattr(graph, "forces", None) is None:
        forces = energy.new_zeros(0, 3)
    else:
        forces = predicted["forces"].double() - graph.forces.double()
        is_partial = free_atoms_only and getattr(graph, "fixed", None) is not None
        if is_partial or labeled_structures(graph, "forces") is not None:
            forces = forces[counted_atoms(graph, free_atoms_only=free_atoms_only)]
    stress = None
    if "stress" in predicted:
        stress = predicted["stress"].double() - graph.stress.double().reshape(-1, 3, 3)
    return Residuals(energy, atoms, forces, stress)


def labeled_structures(graph: Any, label: str) -> Bool[Tensor, " graph"] | None:
    """Say which structures of a batch have a label, where only some of a data set have it.

    Args:
        graph: Batch, with the mask ``has_`` and the name of the label in such a data set.
        label: Name of the label, ``energy`` or ``forces``.

    Returns:
        Mask over the structures; None where all have the label or none has.

    Example:
        >>> from torch_geometric.data import Batch, Data
        >>> parts = [Data(has_energy=torch.tensor([there])) for there in (True, False)]
        >>> labeled_structures(Batch.from_data_list(parts), "energy")
        tensor([ True, False])
    """
    mask: Tensor | None = getattr(graph, f"has_{label}", None)
    return mask


def counted_atoms(graph: Any, *, free_atoms_only: bool) -> Bool[Tensor, " atom"]:
    """Say on which atoms forces count in the errors.

    Args:
        graph: Batch, with ``fixed`` if atoms are fixed; without ``forces`` no atom counts.
        free_atoms_only: Whether the forces on atoms marked ``fixed`` are ignored.

    Returns:
        Mask over the atoms.
    """
    if getattr(graph, "forces", None) is None:
        return torch.zeros_like(graph.atomic_numbers, dtype=torch.bool)
    counted = torch.ones_like(graph.atomic_numbers, dtype=torch.bool)
    known = labeled_structures(graph, "forces")
    if known is not None:
        counted = known.repeat(len(counted)) if graph.batch is None else known[graph.batch]
    fixed = getattr(graph, "fixed", None)
    return counted & ~fixed if free_atoms_only and fixed is not None else counted


@dataclass(frozen=True)
class LossWeights:
    r"""Weights of the errors: squared, absolute, or squared where they are small.

    Squared:

    .. math:: L = w_E \frac1G \sum_g \frac{(\Delta E_g)^2}{N_g}
              + w_F \frac1{3M} \sum_{ia} (\Delta F_{ia})^2
              + w_S \frac1{9G} \sum_{gab} (\Delta\sigma_{gab})^2

    in eV, eV/Å and eV/Å³. The energy error is divided by the root of the number of atoms, so that
    its expected size does not depend on the size of the structure.

    Absolute, which a few large errors do not dominate:

    .. math:: L = w_E \frac1G \sum_g |\Delta E_g| + w_F \frac1M \sum_i \lVert\Delta F_i\rVert
              + w_S \frac1{9G} \sum_{gab} |\Delta\sigma_{gab}|

    Huber's is the squared loss, but where :math:`|\Delta E_g| / \sqrt{N_g}`, the length of
    :math:`\Delta F_i` or a component of the stress error exceeds :math:`\delta`, its square
    :math:`u^2` is replaced by :math:`2 \delta u - \delta^2`, which continues with the slope at
    :math:`\delta`. Gradients of large errors are thereby bounded, as in the absolute loss, and
    those of small errors vanish smoothly, as in the squared loss.

    Attributes:
        energy: Weight :math:`w_E` of the energy errors.
        forces: Weight :math:`w_F` of the force errors.
        stress: Weight :math:`w_S` of the stress errors; zero leaves the stress out.
        kind: Kind of loss: ``squared``, ``absolute`` or ``huber``.
        delta: Threshold :math:`\delta` of Huber's loss, in eV, eV/Å and eV/Å³.

    Raises:
        ValueError: A weight is negative or not finite, or all are zero, or delta is not positive.

    Source: Huber, Robust estimation of a location parameter, Ann. Math. Stat. 35 (1964).

    Example:
        >>> errors = Residuals(torch.tensor([2.0]), torch.tensor([4.0]), torch.zeros(4, 3))
        >>> LossWeights(energy=1.0, forces=100.0).loss(errors)
        tensor(1.)
    """

    energy: float = 1.0
    forces: float = 100.0
    stress: float = 0.0
    kind: str = "squared"
    delta: float = 0.5

    def __post_init__(self) -> None:
        check_choice("loss", self.kind, get_args(Loss))
        weights = {name: getattr(self, name) for name in ("energy", "forces", "stress")}
        for name, weight in weights.items():
            if not (math.isfinite(weight) and weight >= 0):
                raise ValueError(f"{name}_weight must be finite and not negative, found {weight}")
        if not any(weights.values()):
            raise ValueError("energy_weight, forces_weight and stress_weight are all zero")
        if not (math.isfinite(self.delta) and self.delta > 0):
            raise ValueError(f"huber_delta must be finite and positive, found {self.delta}")

    def loss(
        self, errors: Residuals, *, graphs: float | None = None, components: float | None = None
    ) -> Float[Tensor, ""]:
        """Return the loss of one batch.

        Args:
            errors: Residuals of the batch.
            graphs: Number of structures to divide by; None for that of the batch.
            components: Number of force components to divide by; None for that of the batch.
        """
        graphs = graphs or max(errors.energy.numel(), 1)
        components = components or max(errors.forces.numel(), 1)
        energy, forces, stress = self.penalties(errors)
        total = self.energy * energy / graphs + self.forces * forces / components
        if errors.stress is not None:
            total = total + self.stress * stress / (9 * graphs)
        return total

    def penalties(self, errors: Residuals) -> tuple[Tensor, Tensor, Tensor]:
        """Return the sums over structures, force components and stress components in the loss.

        Args:
            errors: Residuals of the batch.
        """
        stresses = errors.energy.new_zeros(1) if errors.stress is None else errors.stress
        if self.kind == "absolute":
            energy, stress = errors.energy.abs(), stresses.abs()
            forces = 3 * _lengths(errors.forces)
        else:
            energy = self._square(errors.energy.square() / errors.atoms)
            forces = self._square(errors.forces.square().sum(-1))
            stress = self._square(stresses.square())
        return energy.sum(), forces.sum(), stress.sum()

    def _square(self, squares: Tensor) -> Tensor:
        if self.kind == "squared":
            return squares
        is_small = squares <= self.delta**2
        lengths = torch.where(is_small, self.delta, squares.clamp_min(self.delta**2).sqrt())
        return torch.where(is_small, squares, (2 * lengths - self.delta) * self.delta)


def _lengths(vectors: Tensor) -> Tensor:
    """Return the lengths of vectors, with zero gradient at zero vectors."""
    square = vectors.square().sum(-1)
    is_zero = square == 0
    return torch.where(is_zero, 0.0, torch.where(is_zero, 1.0, square).sqrt())
