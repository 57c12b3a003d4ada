"""Energies, forces and stresses of many structures, evaluated in packed batches."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float
from torch_geometric.data import Batch, Data

from equinet.data import Frame, edges_at_once, frame_from_atoms, runs_within, to_graph
from equinet.elements import symbol
from equinet.errors import DataError

if TYPE_CHECKING:
    from equinet.models.potential import Evaluation, Potential

# To prepare the fixed form of a potential takes about as long as to evaluate this many molecules.
_FEW = 50

_OF_ATOMS = {"forces", "forces_spread"}
_VOIGT = ([0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1])  # xx, yy, zz, yz, xz, xy


def evaluate_many(model: "Potential", structures: Iterable[Any]) -> list[dict[str, Any]]:
    """Evaluate structures as :meth:`equinet.models.Potential.evaluate_many` says.

    Args:
        model: Potential in evaluation mode.
        structures: ASE atoms or frames.
    """
    frames = _frames(structures)
    _refuse_unknown(frames, model)
    device = next(model.parameters()).device
    graphs = (to_graph(frame, model.neighborhood) for frame in frames)
    results: list[dict[str, Any]] = []
    prepared = model.fixed() if len(frames) > _FEW and not model.is_compiled else None
    evaluate = model if prepared is None else prepared
    with _constant(model):
        for run in runs_within(graphs, lambda graph: graph.num_edges, edges_at_once(device)):
            results += _evaluate(model, evaluate, run, device)
    for frame, found in zip(frames, results, strict=True):
        _refuse_not_finite(found, frame.source)
    return results


@contextmanager
def _constant(model: "Potential") -> Iterator[None]:
    """Take the weights for constants, without which autograd does a fifth more work."""
    learned = [parameter for parameter in model.parameters() if parameter.requires_grad]
    for parameter in learned:
        parameter.requires_grad = False
    try:
        yield
    finally:
        for parameter in learned:
            parameter.requires_grad = True


def _frames(structures: Iterable[Any]) -> list[Frame]:
    """Convert structures into frames without labels, which batches need not agree on."""
    if hasattr(structures, "positions"):
        raise DataError(
            f"structures must be a list, found one {type(structures).__name__}; put it into a list"
        )
    frames = (
        each if isinstance(each, Frame) else frame_from_atoms(each, source=f"structure {index}")
        for index, each in enumerate(structures)
    )
    return [
        Frame(each.numbers, each.positions, each.cell, each.pbc, source=each.source)
        for each in frames
    ]


def _refuse_unknown(frames: Sequence[Frame], model: "Potential") -> None:
    known = set(model.elements)
    for frame in frames:
        unknown = sorted(set(frame.numbers.tolist()) - known)
        if unknown:
            names, others = (", ".join(map(symbol, some)) for some in (unknown, model.elements))
            raise DataError(
                f"{frame.source} holds {names}, which the model was not trained for ({others}); "
                "leave it out, or evaluate a model that knows it"
            )


def _refuse_not_finite(results: Mapping[str, Any], source: str) -> None:
    for name, values in results.items():
        if not np.isfinite(values).all():
            raise DataError(
                f"{source}: the model's {name} is not finite, as where two atoms are far too "
                "close; correct the positions, or leave the structure out"
            )


def _evaluate(
    model: "Potential", evaluate: "Evaluation", graphs: Sequence[Data], device: torch.device
) -> list[dict[str, Any]]:
    """Evaluate one batch; return the results of each structure."""
    is_bulk = [bool(graph.pbc.all()) and model.conservative for graph in graphs]
    with torch.no_grad():  # models that differentiate their energy enable gradients themselves
        found = evaluate(Batch.from_data_list(graphs).to(device), stress=any(is_bulk))
    arrays = {name: value.detach().cpu().numpy() for name, value in found.items()}
    ends = np.cumsum([graph.num_nodes for graph in graphs])[:-1]
    rows = {
        name: np.split(array, ends) if name in _OF_ATOMS else array
        for name, array in arrays.items()
    }
    return [
        _results({name: values[index] for name, values in rows.items()}, is_bulk=is_bulk[index])
        for index in range(len(graphs))
    ]


def _results(found: dict[str, Any], *, is_bulk: bool) -> dict[str, Any]:
    """Name and shape the results of a structure as ASE does."""
    results = {name: value if value.ndim else value.item() for name, value in found.items()}
    results["free_energy"] = results["energy"]
    stress: Float[np.ndarray, "3 3"] | None = results.pop("stress", None)
    return {**results, "stress": stress[_VOIGT]} if is_bulk and stress is not None else results
