"""Errors by which OC20 ranks models, summed over batches and processes.

Source: Chanussot et al., ACS Catal. 11, 6059 (2021), doi 10.1021/acscatal.0c04525, and the Open
Catalyst Project's evaluator.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from equinet.evaluation.errors import Error, SummedErrors

_BOTH = ("train", "val")
_ENERGY_MAE = Error(
    "energy_mae",
    "E MAE",
    "meV",
    of="energy",
    measure="absolute",
    word="E",
    log=".1f",
    curve="energy MAE",
    splits=_BOTH,
)
_EWT = Error("ewt", "EwT", "%", of="within_energy", word="EwT", log=".2f", splits=_BOTH)

S2EF_ERRORS: tuple[Error, ...] = (
    _ENERGY_MAE,
    Error(
        "forces_mae",
        "F MAE",
        "meV/Å",
        of="forces",
        measure="absolute",
        word="F",
        log=".1f",
        curve="force MAE",
        splits=_BOTH,
    ),
    Error("forces_cosine", "F cosine", of="cosine", digits=3, word="cos", log=".3f"),
    Error("efwt", "EFwT", "%", of="within_both", word="EFwT", log=".2f"),
    replace(_EWT, label="", log="", splits=("val",)),
    Error("forces_magnitude_error", "", "meV/Å", of="magnitude", measure="absolute"),
)
"""Errors of the S2EF task, in the order of ``metrics.csv``; tables show those of publications."""

IS2RE_ERRORS: tuple[Error, ...] = (
    Error("loss", of="energy", measure="absolute", splits=_BOTH),
    _ENERGY_MAE,
    _EWT,
)
"""Errors of the energies of relaxed structures, in the order of ``metrics.csv``.

The loss is the mean absolute error in eV.
"""

ADWT = Error("adwt", "ADwT", "%", of="success")
"""Agreement of relaxed structures with the true ones, see :class:`RelaxationErrors`."""

_ENERGY_THRESHOLD = 0.02  # eV
_FORCE_THRESHOLD = 0.03  # eV/Å, of a component
_DISTANCES = tuple(np.arange(0.01, 0.5, 0.001).tolist())  # Å


class S2EFErrors(SummedErrors):
    """Errors of energies and forces on free atoms.

    ``energy_mae`` is a mean over structures, ``forces_mae`` over the components of free atoms.
    ``forces_cosine`` and ``forces_magnitude_error`` are means over free atoms. ``efwt`` is the
    fraction of structures whose energy error is below 0.02 eV and whose force error is below
    0.03 eV/Å in every component on a free atom, both strictly; ``ewt`` is the fraction of
    structures whose energy error is below 0.02 eV.

    Args:
        shared: Whether sums are added up over processes; False where only one of them evaluates.

    Example:
        >>> from torch_geometric.data import Batch, Data
        >>> label = Data(
        ...     atomic_numbers=torch.tensor([1]), pos=torch.zeros(1, 3),
        ...     energy=torch.zeros(1), forces=torch.zeros(1, 3),
        ... )
        >>> errors = S2EFErrors()
        >>> predicted = {"energy": torch.tensor([0.01]), "forces": torch.zeros(1, 3)}
        >>> errors.update(predicted, Batch.from_data_list([label]))
        >>> float(errors.compute()["efwt"])
        100.0
    """

    declared: tuple[Error, ...] = S2EF_ERRORS

    def update(self, predicted: Mapping[str, Tensor], graph: Any) -> None:
        """Add one batch.

        Args:
            predicted: Predicted ``energy`` [G], eV, and ``forces`` [N, 3], eV/Å.
            graph: Batch with the labels ``energy`` and ``forces``, and optionally ``fixed``.
        """
        energy_error = predicted["energy"].detach().double() - graph.energy.double()
        free = _free(graph)
        found = predicted["forces"].detach().double()[free]
        true = graph.forces.double()[free]
        error = found - true
        off = (~(error.abs() < _FORCE_THRESHOLD)).any(dim=1).double()  # true also for NaN
        atoms_off = torch.zeros_like(energy_error).index_add(0, graph.batch[free], off)
        within_energy = energy_error.abs() < _ENERGY_THRESHOLD
        self.add(
            energy=energy_error,
            forces=error,
            # In float32, as OC20's evaluator computes it.
            cosine=torch.cosine_similarity(found.float(), true.float(), dim=1, eps=1e-8),
            within_both=within_energy & (atoms_off == 0),
            within_energy=within_energy,
            magnitude=found.norm(dim=1) - true.norm(dim=1),
        )


class RelaxedEnergyErrors(SummedErrors):
    """Errors of the energies of relaxed structures: ``energy_mae``, ``ewt`` and the loss.

    ``ewt`` is the fraction of structures whose energy error is below 0.02 eV, strictly.

    Args:
        shared: Whether sums are added up over processes; False where only one of them evaluates.

    Example:
        >>> errors = RelaxedEnergyErrors()
        >>> errors.update(torch.tensor([0.01, 0.5]), torch.zeros(2))
        >>> float(errors.compute()["ewt"])
        50.0
    """

    declared: tuple[Error, ...] = IS2RE_ERRORS

    def update(self, predicted: Float[Tensor, " graph"], true: Float[Tensor, " graph"]) -> None:
        """Add one batch.

        Args:
            predicted: Predicted energies of relaxed structures [G], eV.
            true: True energies of relaxed structures [G], eV.
        """
        error = predicted.detach().double() - true.double()
        self.add(energy=error, within_energy=error.abs() < _ENERGY_THRESHOLD)


class RelaxationErrors(SummedErrors):
    """Agreement of relaxed structures with the true ones: ``adwt``, %.

    The minimum-image distances of the free atoms of a structure to their true positions are
    averaged; ``adwt`` is the fraction of structures for which that mean is below a threshold,
    averaged over the thresholds 0.010, 0.011, ..., 0.499 Å.

    Args:
        shared: Whether sums are added up over processes; False where only one of them evaluates.
    """

    declared: tuple[Error, ...] = (ADWT,)

    def update(self, positions: Float[Tensor, "atom 3"], graph: Any) -> None:
        """Add one batch.

        Args:
            positions: Positions at the end of the relaxations [N, 3], Å.
            graph: Batch with the true positions as ``relaxed_positions``.
        """
        free = _free(graph)
        distances = minimum_image_distances(
            positions.detach().double(),
            graph.relaxed_positions.double(),
            graph.cell.double(),
            graph.pbc,
            graph.batch,
        )
        count = graph.cell.shape[0]
        atoms = torch.zeros(count, dtype=torch.float64, device=distances.device)
        sums = atoms.index_add(0, graph.batch[free], distances[free])
        atoms = atoms.index_add(0, graph.batch[free], torch.ones_like(distances[free]))
        thresholds = torch.tensor(_DISTANCES, dtype=torch.float64, device=distances.device)
        self.add(success=((sums / atoms)[:, None] < thresholds).double().mean(dim=1))


def minimum_image_distances(
    first: Float[Tensor, "atom 3"],
    second: Float[Tensor, "atom 3"],
    cell: Float[Tensor, "graph 3 3"],
    pbc: Bool[Tensor, "graph 3"],
    batch: Int[Tensor, " atom"],
) -> Float[Tensor, " atom"]:
    """Compute distances between positions, with fractional differences between -1/2 and 1/2.

    This is the distance to the nearest image if the difference is small compared to the cell, as in
    relaxations.

    Args:
        first: Positions of atoms [N, 3], Å.
        second: Other positions of the same atoms [N, 3], Å.
        cell: Lattice vectors in rows [G, 3, 3], Å.
        pbc: Whether each lattice vector is periodic [G, 3].
        batch: Index of the structure of each atom [N].

    Returns:
        Distances [N], Å.
    """
    own = cell[batch]
    fractional = torch.linalg.solve(own.transpose(1, 2), (first - second)[:, :, None])[:, :, 0]
    wrapped = fractional.remainder(1.0).remainder(
        1.0
    )  # the first turns tiny negative numbers into 1
    wrapped = torch.where(wrapped > 0.5, wrapped - 1, wrapped)
    fractional = torch.where(pbc[batch], wrapped, fractional)
    return (fractional[:, None, :] @ own)[:, 0].norm(dim=1)


def mean_of_splits(splits: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Average errors over splits, each with equal weight, as published tables do.

    Args:
        splits: Errors of each split by name; errors that a split lacks are left out.

    Example:
        >>> mean_of_splits([{"efwt": 1.0}, {"efwt": 2.0, "adwt": 5.0}])
        {'efwt': 1.5}
    """
    names = [name for name in splits[0] if all(name in split for split in splits)] if splits else []
    return {name: float(np.mean([split[name] for split in splits])) for name in names}


def _free(graph: Any) -> Bool[Tensor, " atom"]:
    fixed = getattr(graph, "fixed", None)
    return torch.ones_like(graph.atomic_numbers, dtype=torch.bool) if fixed is None else ~fixed
