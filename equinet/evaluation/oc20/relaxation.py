"""Results of the relaxations of an OC20 split: energies, errors, and structures that failed."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import torch

from equinet.data import StoredFrames
from equinet.data.store import Record
from equinet.evaluation.oc20.errors import RelaxationErrors, RelaxedEnergyErrors
from equinet.evaluation.oc20.is2re_submission import RelaxedPredictions
from equinet.evaluation.relaxation import DIVERGED, Relaxed


@dataclass(frozen=True)
class SplitRelaxation:
    """Relaxed structures of one split, and their errors.

    Attributes:
        predictions: Energies and positions of all structures that the model could evaluate.
        errors: Errors ``energy_mae`` (meV), ``ewt`` and ``adwt`` (%) of these structures by name;
            errors without labels are missing.
        outcomes: Number of structures by outcome: converged, unfinished, diverged.
        steps: Mean number of steps over all structures.
        diverged: One sentence for each structure that diverged, with its system id and name.
        lost: System ids of the structures that the model could not evaluate.
    """

    predictions: RelaxedPredictions
    errors: dict[str, float]
    outcomes: dict[str, int]
    steps: float
    diverged: list[str]
    lost: list[str]


def gather(frames: StoredFrames, results: Iterable[Relaxed]) -> SplitRelaxation:
    """Put results in order, and compare them with the relaxed structures of the store.

    Args:
        frames: Structures that were relaxed.
        results: Result of each structure, in any order.

    Returns:
        Predictions, errors and outcomes of the split.

    Example:
        >>> from equinet.data import FrameStore
        >>> frames = StoredFrames(FrameStore("is2re_val_id"))  # doctest: +SKIP
        >>> gather(frames, relax(model, frames)).errors["adwt"]  # doctest: +SKIP
    """
    ordered = sorted(results, key=lambda result: result.index)
    ids = list(map(str, frames.systems.tolist()))
    kept = [result for result in ordered if np.isfinite(result.energy)]
    energies, structures = RelaxedEnergyErrors(shared=False), RelaxationErrors(shared=False)
    for result in kept:
        record = frames.record(result.index)
        if record.relaxed_energy is not None:
            pair = torch.tensor([[result.energy], [record.relaxed_energy]], dtype=torch.float64)
            energies.update(pair[0], pair[1])
        if record.relaxed_positions is not None:
            structures.update(torch.from_numpy(result.positions), _truth(record))
    errors: dict[str, float] = {}
    for metric in (energies, structures):
        if metric.update_called:
            errors |= {name: float(value) for name, value in metric.compute().items()}
    errors.pop("loss", None)
    predictions = RelaxedPredictions(
        ids=[ids[result.index] for result in kept],
        energy=np.array([result.energy for result in kept]),
        atoms=np.array([len(result.positions) for result in kept], dtype=np.int64),
        positions=np.concatenate([np.zeros((0, 3)), *(result.positions for result in kept)]),
    )
    return SplitRelaxation(
        predictions,
        errors,
        dict(Counter(result.outcome for result in ordered)),
        float(np.mean([result.steps for result in ordered])),
        [f"system {ids[r.index]}, {r.reason}" for r in ordered if r.outcome == DIVERGED],
        [ids[result.index] for result in ordered if not np.isfinite(result.energy)],
    )


def _truth(record: Record) -> SimpleNamespace:
    """Return the true relaxed structure as a batch of one."""
    frame = record.frame
    held = np.zeros(len(frame), dtype=bool) if frame.fixed is None else frame.fixed
    return SimpleNamespace(
        atomic_numbers=torch.from_numpy(frame.numbers),
        relaxed_positions=torch.from_numpy(record.relaxed_positions),
        cell=torch.from_numpy(frame.cell)[None],
        pbc=torch.from_numpy(frame.pbc)[None],
        batch=torch.zeros(len(frame), dtype=torch.int64),
        fixed=torch.from_numpy(held),
    )
