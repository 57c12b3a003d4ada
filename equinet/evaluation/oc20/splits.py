"""Evaluate a potential on splits of OC20 kept as stores, and predict what the leaderboard asks."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from equinet.data import StoredDataset, evaluation_loader
from equinet.errors import DataError
from equinet.evaluation.oc20.errors import (
    S2EF_COLUMNS,
    RelaxedEnergyErrors,
    S2EFErrors,
    mean_of_splits,
)
from equinet.evaluation.oc20.is2re_submission import RelaxedPredictions
from equinet.evaluation.oc20.s2ef_submission import SplitPredictions, ids_of
from equinet.evaluation.tables import Column, lay_out

_IS2RE_COLUMNS = (
    Column("energy_mae", "E MAE", "meV"),
    Column("ewt", "EwT", "%"),
    Column("adwt", "ADwT", "%"),
)
# Trained on S2EF-2M; means of the four official validation splits, as the EquiformerV2 and Gaunt
# tensor product papers give them.
_PUBLISHED = tuple(
    dict(zip(("name", *(column.name for column in S2EF_COLUMNS)), row, strict=True))
    for row in (
        ("SchNet", 1400.0, 78.3, 0.109, 0.00),
        ("GemNet-OC", 286.0, 25.7, 0.598, 1.06),
        ("eSCN L6", 294.0, 21.3, 0.653, 1.45),
        ("EquiformerV2 L6", 285.0, 20.5, 0.663, 1.67),
        ("  with Gaunt Selfmix", 276.0, 20.1, 0.669, 1.95),
    )
)


# Trained on all of IS2RE; means over the four official validation splits of what the PhAST, the
# Equiformer and the EquiformerV2 papers give for each.
_PUBLISHED_DIRECT = (
    {"name": "SchNet", "energy_mae": 683.8},
    {"name": "DimeNet++", "energy_mae": 628.8},
    {"name": "EquiformerV2", "energy_mae": 595.3},
    {"name": "Equiformer", "energy_mae": 548.9},
    {"name": "  with noisy nodes", "energy_mae": 441.0},
    {"name": "EquiformerV2, noisy nodes", "energy_mae": 416.9},
)
# Relaxed with models trained on all of S2EF; means of the four official test splits, as the
# EquiformerV2 paper gives them.
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
    """Predict energies and forces of a split, and compare them where it is labeled.

    Args:
        model: ``model(graph) -> {"energy", "forces"}``; it is moved to ``device`` and left in
            evaluation mode.
        dataset: The split.
        batch_size: Structures at a time.
        device: Where to compute.
        num_workers: Loading processes.

    Returns:
        The predictions, and the errors of :class:`~equinet.evaluation.oc20.errors.S2EFErrors` by
        name, none where there are no labels.
    """
    model = model.to(device).eval()
    errors = S2EFErrors(shared=False).to(device)
    parts: dict[str, list[np.ndarray]] = {n: [] for n in ("energy", "atoms", "forces", "fixed")}
    labels = dataset.frames.labels
    labeled = {"energy", "forces"} <= set(labels)
    for graph in evaluation_loader(dataset, batch_size, num_workers=num_workers):
        moved = graph.to(device)
        results = {name: value.detach() for name, value in model(moved).items()}
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
        model: Trained by :class:`~equinet.training.RelaxedEnergyTask`; it is moved to ``device``
            and left in evaluation mode.
        dataset: The split, of frames with ``relaxed=True``.
        batch_size: Structures at a time.
        device: Where to compute.

    Returns:
        The predictions, and the errors of
        :class:`~equinet.evaluation.oc20.errors.RelaxedEnergyErrors` by name, none where there are
        no labels.
    """
    model = model.to(device).eval()
    errors = RelaxedEnergyErrors(shared=False).to(device)
    labeled = "energy" in dataset[0]
    parts = []
    with torch.no_grad():
        for graph in evaluation_loader(dataset, batch_size):
            moved = graph.to(device)
            energy = model(moved, forces=False)["energy"].double()
            if labeled:
                errors.update(energy, moved.energy)
            parts.append(energy.cpu().numpy())
    found = {name: float(value) for name, value in errors.compute().items()} if labeled else {}
    found.pop("loss", None)
    ids = list(map(str, dataset.frames.systems.tolist()))
    return RelaxedPredictions(ids, np.concatenate(parts)), found


def split_of(name: str) -> str:
    """The leaderboard's name of a split, from that of a folder.

    Args:
        name: Such as ``s2ef_val_ood_ads``.

    Returns:
        ``"id"``, ``"ood_ads"``, ``"ood_cat"`` or ``"ood_both"``.

    Raises:
        DataError: It is none of them.

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
        rows: Each with ``name``, ``structures`` and errors.
    """
    about = "published, trained on S2EF-2M, means of the four official validation splits:"
    return _table(rows, S2EF_COLUMNS, about, _PUBLISHED)


def is2re_table(rows: Sequence[Mapping[str, Any]], *, relaxed: bool) -> str:
    """Lay out errors of relaxed energies and structures, their mean, and published means below.

    Args:
        rows: Each with ``name``, ``structures`` and errors.
        relaxed: Whether structures were relaxed, or energies predicted from the initial ones.
    """
    if relaxed:
        about = "published, relaxed with models trained on all of S2EF, means of the test splits:"
        return _table(rows, _IS2RE_COLUMNS, about, _PUBLISHED_RELAXED)
    about = "published, trained on all of IS2RE, means of the four official validation splits:"
    return _table(rows, _IS2RE_COLUMNS[:2], about, _PUBLISHED_DIRECT)


def _table(
    rows: Sequence[Mapping[str, Any]],
    columns: Sequence[Column],
    about: str,
    published: Sequence[Mapping[str, Any]],
) -> str:
    mean: dict[str, Any] = {"name": "mean", "structures": "", **mean_of_splits(_errors(rows))}
    width = max(len(str(row["name"])) for row in (*rows, *published))
    below = [{"structures": "", **row} for row in published]
    return "\n".join(
        [
            lay_out([*rows, mean], columns, width),
            about,
            *lay_out(below, columns, width).splitlines()[2:],
        ]
    )


def _errors(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, float]]:
    return [{k: v for k, v in row.items() if k not in {"name", "structures"}} for row in rows]
