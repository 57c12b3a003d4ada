"""Relaxation of structures with a trained potential, many at a time."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch_geometric.data import Batch, Data

from equinet.data import Frame, to_graph
from equinet.errors import DataError
from equinet.evaluation.lbfgs import PackedLBFGS
from equinet.models import Evaluation, fastest
from equinet.neighborhood import Neighborhood

CONVERGED, UNFINISHED, DIVERGED = "converged", "unfinished", "diverged"


@dataclass(frozen=True)
class Relaxed:
    """Result of the relaxation of one structure.

    Attributes:
        index: Place of the structure among those that were given, from 0.
        outcome: ``converged``; ``unfinished`` after the allowed steps; or ``diverged``, with the
            last positions that the model could evaluate.
        positions: Final positions, Å.
        energy: Energy at these positions, eV; NaN where the model could not evaluate the initial
            ones.
        largest_force: Length of the largest force on a free atom at these positions, eV/Å.
        steps: Number of steps made.
        reason: Reason why it diverged, with the structure's name; empty for other outcomes.

    Example:
        >>> Relaxed(0, "converged", np.zeros((1, 3)), -13.6, 0.0, steps=12).outcome
        'converged'
    """

    index: int
    outcome: str
    positions: Float[np.ndarray, "atoms 3"]
    energy: float
    largest_force: float
    steps: int
    reason: str = ""


@dataclass
class _Active:
    """Structure that is being relaxed."""

    index: int
    frame: Frame
    last: Frame  # the structure at the last positions with finite energy and forces
    energy: float = float("nan")
    largest_force: float = float("nan")
    steps: int = 0
    free: Tensor = field(default_factory=lambda: torch.zeros(0))

    def ended(self, outcome: str, reason: str = "") -> Relaxed:
        return Relaxed(
            self.index,
            outcome,
            self.last.positions,
            self.energy,
            self.largest_force,
            self.steps,
            f"{self.frame.source}, step {self.steps}: {reason}" if reason else "",
        )


def relax(
    model: Any,
    frames: Sequence[Frame],
    *,
    fmax: float = 0.02,
    max_steps: int = 300,
    max_atoms: int = 2000,
    device: torch.device | str = "cpu",
) -> Iterator[Relaxed]:
    """Move the free atoms of structures until the forces on them vanish; cells are kept.

    Structures are relaxed side by side by :class:`~equinet.evaluation.lbfgs.PackedLBFGS`; when one
    ends, the next begins. Batching does not change any trajectory. Graphs are built anew
    at every step with the neighborhood of the model.

    Args:
        model: Potential, ``model(graph) -> {"energy", "forces"}`` with a ``neighborhood``; it is
            moved to ``device`` and left in evaluation mode.
        frames: Structures, each read when its relaxation begins; atoms marked ``fixed`` stay in
            place.
        fmax: Length below which every force on a free atom must fall for convergence, eV/Å.
        max_steps: Number of steps after which a relaxation ends as ``unfinished``.
        max_atoms: Number of atoms that are relaxed at once; a larger structure is relaxed alone.
        device: Device on which to evaluate.

    Yields:
        Results as relaxations end, in no particular order. A structure that the model cannot
        evaluate, because two atoms meet or the energy or a force is not finite, ends as
        ``diverged``, and the others go on.

    Raises:
        DataError: ``fmax``, ``max_steps`` or ``max_atoms`` is out of range.

    Source: Chanussot et al., ACS Catal. 11, 6059 (2021); defaults as in OC20's relaxations.

    Example:
        >>> from equinet import zoo
        >>> places = np.array([[0, 0, 0], [0, 0, 0.8]])
        >>> frame = Frame(np.array([1, 1]), places, np.zeros((3, 3)), np.zeros(3, dtype=bool))
        >>> [found] = relax(zoo.load("mace-gaunt-3bpa"), [frame], max_steps=2)
        >>> found.positions.shape
        (2, 3)
    """
    if not fmax > 0 or max_steps < 0 or max_atoms < 1:
        raise DataError(
            "fmax must be positive, max_steps not negative and max_atoms at least 1, found "
            f"{fmax}, {max_steps} and {max_atoms}"
        )
    model = model.to(device).eval()
    evaluate = fastest(model)
    optimizer = PackedLBFGS()
    waiting = enumerate(frames)
    upcoming = next(waiting, None)
    active: list[_Active] = []
    while active or upcoming is not None:
        admitted: list[_Active] = []
        room = max_atoms - sum(len(each.frame) for each in active)
        while upcoming is not None and (len(upcoming[1]) <= room or not (active or admitted)):
            index, frame = upcoming
            admitted.append(_Active(index, frame, frame, free=_free(frame)))
            room -= len(frame)
            upcoming = next(waiting, None)
        if admitted:
            optimizer.admit(torch.tensor([len(each.frame) for each in admitted]))
            active += admitted
        graphs, ended = _build(active, model.neighborhood)
        active = _without(active, ended, optimizer)
        yield from ended.values()
        if not active:
            continue
        forces = _evaluate(evaluate, active, graphs, device)
        ended = {
            place: result
            for place, each in enumerate(active)
            if (result := _end(each, fmax, max_steps)) is not None
        }
        going = [force for place, force in enumerate(forces) if place not in ended]
        active = _without(active, ended, optimizer)
        yield from ended.values()
        if active:
            _move(active, going, optimizer)


def _free(frame: Frame) -> Tensor:
    if frame.fixed is None:
        return torch.ones(len(frame), dtype=torch.bool)
    return torch.from_numpy(~frame.fixed)


def _build(
    active: Sequence[_Active], neighborhood: Neighborhood
) -> tuple[list[Data], dict[int, Relaxed]]:
    """Build the graphs of structures, and end the relaxations, by place, where that fails."""
    graphs, ended = [], {}
    for place, each in enumerate(active):
        try:
            graphs.append(to_graph(each.frame, neighborhood))
        except DataError as error:
            reason = str(error).removeprefix(f"{each.frame.source}: ")
            ended[place] = each.ended(DIVERGED, reason)
    return graphs, ended


def _evaluate(
    evaluate: Evaluation,
    active: Sequence[_Active],
    graphs: Sequence[Data],
    device: torch.device | str,
) -> list[Tensor]:
    """Evaluate all structures, record energies and largest forces, return forces on free atoms."""
    batch = Batch.from_data_list(_alike(graphs)).to(device)
    with torch.no_grad():  # models that differentiate their energy enable gradients themselves
        found = evaluate(batch)
    energies = found["energy"].detach().double().cpu()
    sizes = [len(each.frame) for each in active]
    forces = list(found["forces"].detach().double().cpu().split(sizes))
    for place, (each, energy) in enumerate(zip(active, energies.tolist(), strict=True)):
        forces[place] = torch.where(each.free[:, None], forces[place], 0.0)
        largest = float(torch.linalg.vector_norm(forces[place], dim=1).max())
        if np.isfinite(energy) and np.isfinite(largest):
            each.last, each.energy, each.largest_force = each.frame, energy, largest
    return forces


def _alike(graphs: Sequence[Data]) -> list[Data]:
    """Leave out the labels, since a batch cannot hold labels of only some structures."""
    wanted = ("atomic_numbers", "pos", "cell", "pbc", "edge_index", "edge_shift")
    return [Data(**{name: graph[name] for name in wanted}) for graph in graphs]


def _end(each: _Active, fmax: float, max_steps: int) -> Relaxed | None:
    if each.last is not each.frame or not np.isfinite(each.energy):
        return each.ended(DIVERGED, "the model's energy or a force is not finite")
    if each.largest_force < fmax:
        return each.ended(CONVERGED)
    if each.steps >= max_steps:
        return each.ended(UNFINISHED)
    return None


def _without(
    active: list[_Active], ended: dict[int, Relaxed], optimizer: PackedLBFGS
) -> list[_Active]:
    kept = torch.tensor([place not in ended for place in range(len(active))])
    optimizer.keep(kept)
    return [each for place, each in enumerate(active) if place not in ended]


def _move(active: Sequence[_Active], forces: Sequence[Tensor], optimizer: PackedLBFGS) -> None:
    positions = torch.cat([torch.from_numpy(each.frame.positions) for each in active])
    moves = optimizer.step(positions, torch.cat(list(forces)))
    sizes = [len(each.frame) for each in active]
    for each, places in zip(active, (positions + moves).split(sizes), strict=True):
        each.frame = replace(each.frame, positions=places.numpy())
        each.steps += 1
