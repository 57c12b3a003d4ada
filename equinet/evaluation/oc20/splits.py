"""Evaluation of a potential on splits of OC20 kept as stores, and predictions to submit."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from equinet.data import StoredDataset, evaluation_loader
from equinet.errors import DataError
from equinet.evaluation.errors import Error, tabulated
from equinet.evaluation.finite import refuse_not_finite
from equinet.evaluation.oc20.errors import (
    ADWT,
    IS2RE_ERRORS,
    S2EF_ERRORS,
    RelaxedEnergyErrors,
    S2EFErrors,
    mean_of_splits,
)
from equinet.evaluation.oc20.is2re_submission import RelaxedPredictions
from equinet.evaluation.oc20.s2ef_submission import SplitPredictions, ids_of
from equinet.evaluation.tables import lay_out

_S2EF_TABLE = tabulated(S2EF_ERRORS, [])
_IS2RE_TABLE = tabulated(IS2RE_ERRORS, [])
# Models trained on S2EF-2M; means of the four official validation splits from the papers on
# EquiformerV2 and on Gaunt tensor products.
_PUBLISHED = tuple(
    dict(zip(("name", *(error.name for error in _S2EF_TABLE)), row, strict=True))
    for row in (
        ("SchNet", 1400.0, 78.3, 0.109, 0.00),
        ("GemNet-OC", 286.0, 25.7, 0.598, 1.06),
        ("eSCN L6", 294.0, 21.3, 0.653, 1.45),
        ("EquiformerV2 L6", 285.0, 20.5, 0.663, 1.67),
        ("  with Gaunt Selfmix", 276.0, 20.1, 0.669, 1.95),
    )
)


# Models trained on all of IS2RE; means over the four official validation splits of the errors in
# the papers on PhAST, Equiformer and EquiformerV2.
_PUBLISHED_DIRECT = (
    {"name": "SchNet", "energy_mae": 683.8},
    {"name": "DimeNet++", "energy_mae": 628.8},
    {"name": "EquiformerV2", "energy_mae": 595.3},
    {"name": "Equiformer", "energy_mae": 548.9},
    {"name": "  with noisy nodes", "energy_mae": 441.0},
    {"name": "EquiformerV2, noisy nodes", "energy_mae": 416.9},
)
# Relaxations with models trained on all of S2EF; means of the four official test splits from the
# paper on EquiformerV2.
_PUBLISHED_RELAXED = (
    {"name": "SchNet", "energy_mae": 749.0, "adwt": 14.4},
    {"name": "GemNet-OC", "energy_mae": 355.0, "adwt": 60.3},
    {"name": "eSCN L6", "energy_mae": 341.0, "adwt": 65.7},
    {"name": "EquiformerV2 (153M)", "energy_mae": 316.0, "adwt": 69.0},
)


def predict_split(
    model: nn.Module,
    dataset: StoredDataset,
    *,
    batch_size: int = 32,
    device: torch.device | str = "cpu",
    num_workers: int = 0,
) -> tuple[SplitPredictions, dict[str, float]]:
    """Predict energies and forces of a split, and compare them with its labels.

    Args:
        model: Potential, ``model(graph) -> {"energy", "forces"}``; it is moved to ``device`` and
            left in evaluation mode.
        dataset: Structures of the split.
        batch_size: Number of structures in a batch.
        device: Device on which to compute.
        num_workers: Number of loading processes.

    Returns:
        The predictions, and the errors of :class:`~equinet.evaluation.oc20.errors.S2EFErrors` by
        name, empty where there are no labels.

    Raises:
        EquinetError: A prediction is not finite.

    Example:
        >>> from equinet.data import FrameStore, StoredFrames
        >>> frames = StoredFrames(FrameStore("s2ef_val_id"))  # doctest: +SKIP
        >>> dataset = StoredDataset(frames, model.neighborhood)  # doctest: +SKIP
        >>> predictions, errors = predict_split(model, dataset)  # doctest: +SKIP
    """
    model = model.to(device).eval()
    errors = S2EFErrors(shared=False).to(device)
    parts: dict[str, list[np.ndarray]] = {n: [] for n in ("energy", "atoms", "forces", "fixed")}
    labels = dataset.frames.labels
    labeled = {"energy", "forces"} <= set(labels)
    loader, before = evaluation_loader(dataset, batch_size, num_workers=num_workers), 0
    for graph in loader:
        moved = graph.to(device)
        results = {name: value.detach() for name, value in model(moved).items()}
        checked = {name: results[name] for name in ("energy", "forces")}
        refuse_not_finite(checked, moved.batch, loader=loader, before=before)
        before += len(results["energy"])
        if labeled:
            errors.update(results, moved)
        parts["energy"].append(results["energy"].double().cpu().numpy())
        parts["forces"].append(results["forces"].double().cpu().numpy())
        parts["atoms"].append(torch.bincount(graph.batch).cpu().numpy())
        fixed = graph.get("fixed", torch.zeros(graph.num_nodes, dtype=torch.bool))
        parts["fixed"].append(fixed.cpu().numpy())
    ids = ids_of(dataset.frames.systems.tolist(), dataset.frames.steps.tolist())
    arrays = {name: np.concatenate(found) for name, found in parts.items()}
    found_errors = errors.compute() if labeled else {}
    return SplitPredictions(ids=ids, **arrays), {k: float(v) for k, v in found_errors.items()}


def predict_relaxed_energies(
    model: nn.Module,
    dataset: StoredDataset,
    *,
    batch_size: int = 32,
    device: torch.device | str = "cpu",
) -> tuple[RelaxedPredictions, dict[str, float]]:
    """Predict the energies of relaxed structures from the initial ones, and compare them.

    Args:
        model: Potential trained by :class:`~equinet.training.RelaxedEnergyTask`; it is moved to
            ``device`` and left in evaluation mode.
        dataset: Structures of the split, from frames with ``relaxed=True``.
        batch_size: Number of structures in a batch.
        device: Device on which to compute.

    Returns:
        The predictions, and the errors of
        :class:`~equinet.evaluation.oc20.errors.RelaxedEnergyErrors` by name, empty where there are
        no labels.

    Raises:
        EquinetError: A prediction is not finite.

    Example:
        >>> from equinet.data import FrameStore, StoredFrames
        >>> frames = StoredFrames(FrameStore("is2re_val_id"), relaxed=True)  # doctest: +SKIP
        >>> dataset = StoredDataset(frames, model.neighborhood)  # doctest: +SKIP
        >>> predictions, errors = predict_relaxed_energies(model, dataset)  # doctest: +SKIP
    """
    model = model.to(device).eval()
    errors = RelaxedEnergyErrors(shared=False).to(device)
    labeled = "energy" in dataset[0]
    parts: list[np.ndarray] = []
    loader, before = evaluation_loader(dataset, batch_size), 0
    with torch.no_grad():
        for graph in loader:
            moved = graph.to(device)
            energy = model(moved, forces=False)["energy"].double()
            refuse_not_finite({"energy": energy}, None, loader=loader, before=before)
            before += len(energy)
            if labeled:
                errors.update(energy, moved.energy)
            parts.append(energy.cpu().numpy())
    found = {name: float(value) for name, value in errors.compute().items()} if labeled else {}
    found.pop("loss", None)
    ids = list(map(str, dataset.frames.systems.tolist()))
    return RelaxedPredictions(ids, np.concatenate(parts)), found


def split_of(name: str) -> str:
    """Return the leaderboard's name of a split.

    Args:
        name: Name of a folder, such as ``s2ef_val_ood_ads``.

    Returns:
        ``"id"``, ``"ood_ads"``, ``"ood_cat"`` or ``"ood_both"``.

    Raises:
        DataError: The name does not end in the name of a split.

    Example:
        >>> split_of("s2ef_test_ood_both"), split_of("s2ef_val_id")
        ('ood_both', 'id')
    """
    for split in ("ood_ads", "ood_cat", "ood_both", "id"):
        if name == split or name.endswith(f"_{split}"):
            return split
    raise DataError(
        f"{name!r} does not end in id, ood_ads, ood_cat or ood_both, the splits of a submission; "
        "name others with --splits, or leave out --submission"
    )


def s2ef_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Lay out the errors of splits, their mean, and published means below.

    Args:
        rows: Splits, each with ``name``, ``structures`` and errors by name.

    Example:
        >>> text = s2ef_table([{"name": "val_id", "structures": 9, "energy_mae": 300.0}])
        >>> text.splitlines()[2].split()
        ['val_id', '9', '300.00']
    """
    about = "published, trained on S2EF-2M, means of the four official validation splits:"
    return _table(rows, _S2EF_TABLE, about, _PUBLISHED)


def is2re_table(rows: Sequence[Mapping[str, Any]], *, relaxed: bool) -> str:
    """Lay out errors of relaxed energies and structures, their mean, and published means below.

    Args:
        rows: Splits, each with ``name``, ``structures`` and errors by name.
        relaxed: Whether structures were relaxed; False where energies were predicted from the
            initial structures.

    Example:
        >>> rows = [{"name": "val_id", "structures": 9, "energy_mae": 600.0}]
        >>> is2re_table(rows, relaxed=False).splitlines()[2].split()
        ['val_id', '9', '600.00']
    """
    if relaxed:
        about = "published, relaxed with models trained on all of S2EF, means of the test splits:"
        return _table(rows, [*_IS2RE_TABLE, ADWT], about, _PUBLISHED_RELAXED)
    about = "published, trained on all of IS2RE, means of the four official validation splits:"
    return _table(rows, _IS2RE_TABLE, about, _PUBLISHED_DIRECT)


def _table(
    rows: Sequence[Mapping[str, Any]],
    errors: Sequence[Error],
    about: str,
    published: Sequence[Mapping[str, Any]],
) -> str:
    mean: dict[str, Any] = {"name": "mean", "structures": "", **mean_of_splits(_errors(rows))}
    width = max(len(str(row["name"])) for row in (*rows, *published))
    below = [{"structures": "", **row} for row in published]
    return "\n".join(
        [
            lay_out([*rows, mean], errors, width),
            about,
            *lay_out(below, errors, width).splitlines()[2:],
        ]
    )


def _errors(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, float]]:
    return [{k: v for k, v in row.items() if k not in {"name", "structures"}} for row in rows]
