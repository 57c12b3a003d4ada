"""Checks of a trained potential on structures: derivatives, symmetries and smoothness."""

import copy
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from equinet.data import Frame, read_frames, to_graph
from equinet.data.atoms import ase_library
from equinet.elements import symbol
from equinet.errors import ConfigError, DataError
from equinet.lie import random_rotations

if TYPE_CHECKING:
    from equinet.models import Potential

_TOLERANCE = 1e-4  # fraction of the root mean square force, as in training's first-batch check
_FLOOR = 1e-6  # eV and eV/Å
_STEP = 1e-3  # Å, and relative strain
_SLOPE = ((1, 2 / 3), (2, -1 / 12))  # four-point central difference
_STRUCTURES = 3
_WIDTH = 1e-7  # Å, on both sides of the cutoff


@dataclass(frozen=True)
class Finding:
    """Result of one check.

    Attributes:
        name: Words for what is compared.
        error: Largest difference; None if the check does not apply.
        allowed: Largest difference that rounding explains.
        unit: Unit of the difference.
        reason: Reason why the check does not apply.
    """

    name: str
    error: float | None = None
    allowed: float = 0.0
    unit: str = ""
    reason: str = ""

    @property
    def is_good(self) -> bool:
        """Whether the difference is small; NaN is not."""
        return self.error is None or self.error <= self.allowed

    def __str__(self) -> str:
        if self.error is None:
            return f"{self.name:<44} not checked: {self.reason}"
        figure = f"{self.error:.0e} {self.unit}"
        verdict = "good" if self.is_good else f"FAILS, {self.allowed:.0e} is allowed"
        return f"{self.name:<44} {figure:<14} {verdict}"


def load_potential(name: str) -> "Potential":
    """Load the potential that a user names.

    Args:
        name: Name in the zoo, or path of a run, of a model folder or of a file in one.

    Raises:
        EquinetError: There is no such model, it is damaged, or it is not a potential.
    """
    from equinet import zoo
    from equinet.models import Potential

    path = Path(name).expanduser()
    if path.is_file() and (path.parent / "card.json").is_file():
        path = path.parent
    model = zoo.load(path if path.exists() else name)
    if not isinstance(model, Potential):
        raise ConfigError(
            f"--model {name} is no potential but a {type(model).__name__}; name a model that "
            "predicts energies and forces"
        )
    return model


def structures_for(model: "Potential", file: str | None) -> list[Frame]:
    """Return the structures of a file, or made-up ones of a model's elements.

    Args:
        model: Potential to check.
        file: Path of a file of structures; None makes a molecule, a crystal and a film.

    Raises:
        DataError: The file cannot be read, or has an element that the model does not know.
    """
    if file is None:
        return [
            _made_up(model.elements, pbc, seed)
            for seed, pbc in enumerate(((0, 0, 0), (1, 1, 1), (1, 1, 0)))
        ]
    frames = read_frames(file, labels_required=False)[:_STRUCTURES]
    for frame in frames:
        unknown = sorted(set(frame.numbers.tolist()) - set(model.elements))
        if unknown:
            raise DataError(
                f"{frame.source}: the model does not know {', '.join(map(symbol, unknown))}; give "
                f"structures of {', '.join(map(symbol, model.elements))}"
            )
    return frames


def check_model(model: "Potential", frames: Sequence[Frame]) -> Iterator[Finding]:
    """Check a potential in float64; the model is not changed.

    Args:
        model: Potential to check.
        frames: Structures that it is evaluated on.

    Yields:
        One finding after another.
    """
    model = copy.deepcopy(model).double().eval()
    checks = _Checks(model, frames)
    yield checks.backends()
    yield checks.forces()
    yield checks.stress()
    yield from checks.symmetries()
    yield checks.permutation()
    yield checks.batching()
    yield checks.smoothness()


class _Checks:
    """Structures with what a model predicts for them."""

    def __init__(self, model: "Potential", frames: Sequence[Frame]) -> None:
        self.model, self.frames = model, frames
        self.graphs = [to_graph(frame, model.neighborhood) for frame in frames]
        self.found = [self._predict(graph) for graph in self.graphs]
        forces = torch.cat([found["forces"] for found in self.found])
        self.scale = float(forces.square().mean().sqrt())
        self.generator = torch.Generator().manual_seed(0)

    def backends(self) -> Finding:
        """Compare with the slow reference of all operations that have several backends."""
        name = "native engine against the reference"
        slow = copy.deepcopy(self.model)
        layers: list[Any] = [each for each in slow.modules() if hasattr(each, "backend")]
        if not layers:
            return Finding(name, reason="no layer of this model chooses a backend")
        for layer in layers:
            layer.backend = "reference"
        others = [self._predict(graph, slow) for graph in self.graphs]
        return self._judge(name, _differences(self.found, others))

    def forces(self) -> Finding:
        """Compare forces with differences of energies along random directions."""
        name = "forces against differences of energies"
        if not self.model.conservative:
            return Finding(name, reason="the model predicts forces directly")
        errors = []
        for graph, found in zip(self.graphs, self.found, strict=True):
            direction = torch.randn(graph.pos.shape, generator=self.generator).double()
            direction /= direction.norm()

            def energy(distance: float, graph: Any = graph, by: Tensor = direction) -> Tensor:
                moved = graph.clone()
                moved.pos = graph.pos + distance * by
                return self._predict(moved, forces=False)["energy"]

            errors.append(_slope(energy) + (found["forces"] * direction).sum())
        return self._judge(name, errors, "eV/Å")

    def stress(self) -> Finding:
        """Compare the stress with differences of energies under a random strain."""
        name = "stress against differences of energies"
        periodic = [graph for graph in self.graphs if bool(graph.pbc.all())]
        if not periodic or not self.model.conservative:
            why = "the model has none" if periodic else "no structure is periodic in all directions"
            return Finding(name, reason=why)
        errors = []
        for graph in periodic:
            strain = torch.randn(3, 3, generator=self.generator).double()
            strain = (strain + strain.T) / (strain + strain.T).norm()

            def energy(amount: float, graph: Any = graph, by: Tensor = strain) -> Tensor:
                matrix = torch.eye(3).double() + amount * by
                return self._predict(_mapped(graph, matrix), forces=False)["energy"]

            stress = self._predict(graph, stress=True)["stress"][0]
            volume = torch.linalg.det(graph.cell[0]).abs()
            # As an energy per length, which is comparable to a force.
            errors.append((_slope(energy) - volume * (stress * strain).sum()) / len(graph.pos))
        return self._judge(name, errors, "eV")

    def symmetries(self) -> Iterator[Finding]:
        """Rotate and reflect structures, as far as the model promises to follow."""
        grid = self.model.symmetry
        for name, sign in (("rotation", 1), ("reflection", -1)):
            if sign < 0 and not self.model.mirror_symmetric:
                yield Finding(name, reason="the model tells mirror images apart")
                continue
            if grid is None:
                matrices = sign * random_rotations(2, generator=self.generator)
            else:
                matrices = grid[torch.linalg.det(grid) * sign > 0][-2:]
                name = f"{name} of the grid of orientations"  # noqa: PLW2901 - more is not promised
            if not len(matrices):
                yield Finding(name, reason="the grid of orientations has none")
                continue
            errors: list[Tensor] = []
            for matrix in matrices.double():
                turned = [self._predict(_mapped(graph, matrix)) for graph in self.graphs]
                expected = [{**found, "forces": found["forces"] @ matrix.T} for found in self.found]
                errors += _differences(expected, turned)
            yield self._judge(name, errors)

    def permutation(self) -> Finding:
        """Compare with structures whose atoms are numbered in another order."""
        others = []
        for frame in self.frames:
            order = torch.randperm(len(frame), generator=self.generator).numpy()
            shuffled = Frame(frame.numbers[order], frame.positions[order], frame.cell, frame.pbc)
            found = self._predict(to_graph(shuffled, self.model.neighborhood))
            back = np.argsort(order)
            others.append({**found, "forces": found["forces"][back]})
        return self._judge("another order of the atoms", _differences(self.found, others))

    def batching(self) -> Finding:
        """Predict all structures in one batch."""
        from torch_geometric.data import Batch

        fields = ("atomic_numbers", "pos", "cell", "pbc", "edge_index", "edge_shift")
        found = self._predict(Batch.from_data_list([_only(graph, fields) for graph in self.graphs]))
        sizes = [len(frame) for frame in self.frames]
        split = found["forces"].split(sizes)
        others = [
            {"energy": found["energy"][i : i + 1], "forces": split[i]} for i in range(len(sizes))
        ]
        return self._judge("one batch against single structures", _differences(self.found, others))

    def smoothness(self) -> Finding:
        """Let an atom cross the cutoff of two others, for some pairs of elements."""
        cutoff, errors = self.model.cutoff, []
        pairs = itertools.islice(
            itertools.combinations_with_replacement(self.model.elements, 2), _STRUCTURES
        )
        for first, second in pairs:
            sides = []
            for distance in (cutoff - _WIDTH, cutoff + _WIDTH):
                # The second atom is a neighbor of both.
                places = np.array([[0, 0, 0], [0.45 * cutoff, 0.3, 0.2], [distance, 0, 0]])
                numbers = np.array([first, second, first])
                frame = Frame(numbers, places, np.zeros((3, 3)), np.zeros(3, dtype=bool))
                sides.append(self._predict(to_graph(frame, self.model.neighborhood)))
            errors += _differences(sides[:1], sides[1:])
        return self._judge("jump where an atom crosses the cutoff", errors)

    def _judge(self, name: str, errors: Sequence[Tensor], unit: str = "eV, eV/Å") -> Finding:
        largest = float(torch.stack([error.abs().max() for error in errors]).max())
        return Finding(name, largest, _TOLERANCE * self.scale + _FLOOR, unit)

    def _predict(
        self, graph: Any, model: Callable[..., dict[str, Tensor]] | None = None, **wanted: bool
    ) -> dict[str, Tensor]:
        found = (model or self.model)(graph, **wanted)
        return {name: value.detach().double() for name, value in found.items()}


def _differences(
    first: Sequence[dict[str, Tensor]], second: Sequence[dict[str, Tensor]]
) -> list[Tensor]:
    return [
        one[name] - other[name]
        for one, other in zip(first, second, strict=True)
        for name in ("energy", "forces")
    ]


def _slope(energy: Callable[[float], Tensor]) -> Tensor:
    return sum(
        (
            weight / _STEP * (energy(steps * _STEP) - energy(-steps * _STEP))
            for steps, weight in _SLOPE
        ),
        torch.zeros(1).double(),
    )


def _mapped(graph: Any, matrix: Tensor) -> Any:
    """Return a graph with positions and cell under a linear map; its edges stay."""
    mapped = graph.clone()
    mapped.pos, mapped.cell = graph.pos @ matrix.T, graph.cell @ matrix.T
    return mapped


def _only(graph: Any, fields: Sequence[str]) -> Any:
    """Return a graph without labels, which not all structures have."""
    result = graph.clone()
    for name in set(result.keys()) - set(fields):
        del result[name]
    return result


def _made_up(elements: Sequence[int], pbc: Sequence[int], seed: int) -> Frame:
    """Return a structure of up to eight atoms at about the distances of bonds."""
    draw = np.random.default_rng(seed)
    numbers = np.array([elements[i % len(elements)] for i in range(max(6, min(len(elements), 8)))])
    spacing = 2.2 * float(np.mean(ase_library().data.covalent_radii[numbers]))
    grid = np.array(list(itertools.product(range(2), repeat=3)))[: len(numbers)]
    positions = spacing * (grid + draw.uniform(-0.12, 0.12, grid.shape))
    cell = spacing * (2.2 * np.eye(3) + draw.uniform(-0.15, 0.15, (3, 3)))
    periodic = np.array(pbc, dtype=bool)
    return Frame(numbers, positions, np.where(periodic[:, None], cell, 0.0), periodic)
