"""Check, before training starts, that a potential is invariant and conservative."""

import copy
import logging
import math
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from lightning.pytorch import Callback, Trainer
from torch import Tensor, nn
from torch_geometric.data import Batch

from equinet.arguments import NotNegative, Positive, check_arguments
from equinet.errors import EquinetError
from equinet.lie import random_rotations

_log = logging.getLogger(__name__)


class ModelCheckError(EquinetError):
    """The energies of a model are not invariant, or its forces are not their gradient.

    Example:
        >>> FirstBatchCheck().judge(Measured(1.0, 0.0, 0.0, 1.0))  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        ...
        equinet.training.check.ModelCheckError: the model failed its check on the first batch: ...
    """


@dataclass(frozen=True)
class Measured:
    """Results of :func:`measure` on one structure, in float64.

    Attributes:
        rotation_energy: Largest change of the energy under a rotation, or a reflection if the model
            is meant to be symmetric under those, eV.
        rotation_forces: Largest difference between the forces of the rotated structure and the
            rotated forces, eV/Å.
        gradient: Largest difference between a force along a direction and the finite difference of
            the energy, eV/Å; None for a model whose ``conservative`` is false.
        force_scale: Root mean square of the force components, eV/Å, for comparison.
    """

    rotation_energy: float
    rotation_forces: float
    gradient: float | None
    force_scale: float


def rotated(graph: Any, rotation: Float[Tensor, "3 3"]) -> Any:
    """Copy a graph with rotated positions and lattice vectors; edges and shifts stay valid.

    Args:
        graph: Structure, or a batch of structures that are rotated alike.
        rotation: Rotation or reflection, an orthogonal matrix.
    """
    result = graph.clone()
    rotation = rotation.to(graph.pos)
    result.pos = graph.pos @ rotation.T
    result.cell = graph.cell @ rotation.T
    return result


def measure(
    model: nn.Module,
    graph: Any,
    *,
    directions: int = 3,
    step: float = 1e-3,
    seed: int = 0,
) -> Measured:
    r"""Rotate a structure, displace its atoms, and compare energies and forces.

    The structure is transformed by two random matrices, a proper rotation and an improper one, from
    the ``symmetry`` [G, 3, 3] of the model, or from all of O(3) where it has none. The improper one
    is left out for a model that is not ``mirror_symmetric``.

    The model is copied to float64. Derivatives are four-point central differences,
    :math:`(8[E(h) - E(-h)] - [E(2h) - E(-2h)]) / 12h`, whose error at :math:`h = 10^{-3}` Å is
    below :math:`10^{-10}` of a fifth derivative plus rounding: 1e-8 eV/Å at a total energy of
    -17 660 eV.

    Args:
        model: Potential, ``model(graph) -> {"energy", "forces"}``; it is not changed.
        graph: Structure, or a batch of one structure.
        directions: Number of random directions in the space of all positions.
        step: Length :math:`h` of the displacement of all atoms together, Å.
        seed: Seed of directions and rotations; the global generator is not used.

    Example:
        >>> import numpy as np
        >>> from equinet import zoo
        >>> from equinet.data import Frame, to_graph
        >>> model = zoo.load("mace-gaunt-3bpa")
        >>> places = np.array([[0, 0, 0], [0, 0, 0.8]])
        >>> frame = Frame(np.array([1, 1]), places, np.zeros((3, 3)), np.zeros(3, dtype=bool))
        >>> measure(model, to_graph(frame, model.neighborhood)).gradient < 1e-6
        True
    """
    generator = torch.Generator().manual_seed(seed)
    exact = copy.deepcopy(model).double().eval()
    energy, forces = _evaluate(exact, graph)
    energy_changes, force_changes, slopes = [], [], []
    has_mirrors = getattr(exact, "mirror_symmetric", True)
    is_conservative = getattr(exact, "conservative", True)
    for rotation in _operations(getattr(exact, "symmetry", None), has_mirrors, generator):
        rotation = rotation.to(forces)  # noqa: PLW2901 - the same rotation in another dtype
        other_energy, other_forces = _evaluate(exact, rotated(graph, rotation))
        energy_changes.append(other_energy - energy)
        force_changes.append(_largest(other_forces - forces @ rotation.T))
    for _ in range(directions if is_conservative else 0):
        direction = torch.randn(graph.pos.shape, generator=generator, dtype=torch.float64)
        direction = (direction / direction.norm()).to(forces)
        slope = _slope(exact, graph, direction, step)
        slopes.append(slope + float((forces * direction).sum()))
    return Measured(
        rotation_energy=_largest(torch.tensor(energy_changes)),
        rotation_forces=_largest(torch.tensor(force_changes)),
        gradient=_largest(torch.tensor(slopes)) if is_conservative else None,
        force_scale=float(forces.square().mean().sqrt()),
    )


class FirstBatchCheck(Callback):
    """Measure invariance and conservativeness on the first batch; stop the run if they fail.

    Kernels whose derivative is wrong, compiled models whose forces are zero and layers that mix the
    order of spherical components give errors as large as the forces themselves. The errors of a
    correct model come from rounding: relative to the forces they are about 1e-12 for tables in
    float64, and 1e-6 for tables rounded to float32. The default tolerance lies far above these.

    Args:
        tolerance: Largest error relative to the root mean square force; for energies, times 1 Å.
        floor: Error that is allowed in addition whatever the forces, eV or eV/Å.
        conservative: Whether the forces must be the gradient of the energy; ignored for a model
            whose own ``conservative`` is false.

    Example:
        >>> FirstBatchCheck(tolerance=1e-3).judge(Measured(1e-9, 1e-9, 1e-9, force_scale=1.0))
    """

    def __init__(
        self, *, tolerance: Positive = 1e-4, floor: NotNegative = 1e-6, conservative: bool = True
    ) -> None:
        check_arguments(FirstBatchCheck, {"tolerance": tolerance, "floor": floor})
        self.tolerance = tolerance
        self.floor = floor
        self.conservative = conservative
        self.found: Measured | None = None
        self._done = False

    def on_train_batch_start(
        self,
        trainer: Trainer,
        pl_module: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Check the smallest structure of the first batch of this session.

        Raises:
            ModelCheckError: An error is above its tolerance; the message names it.
        """
        if self._done:
            return
        self._done = True
        graph = smallest(batch)
        found = self.found = measure(pl_module.model, graph)
        if trainer.is_global_zero:
            has_mirrors = getattr(pl_module.model, "mirror_symmetric", True)
            gradient = "forces are no gradient"
            if found.gradient is not None:
                gradient = f"forces against finite differences: {found.gradient:.1e} eV/Å"
            _log.info(
                "Checks   %s: energy %.1e eV, forces %.1e eV/Å; %s (float64, %d atoms, "
                "RMS force %.2g)",
                "rotation and reflection" if has_mirrors else "rotation",
                found.rotation_energy,
                found.rotation_forces,
                gradient,
                graph.pos.shape[0],
                found.force_scale,
            )
        self.judge(found)

    def limit(self, found: Measured) -> float:
        """Return the largest error that is allowed, eV or eV/Å.

        Args:
            found: Errors that :func:`measure` returned.
        """
        return self.floor + self.tolerance * found.force_scale

    def judge(self, found: Measured) -> None:
        """Raise a ModelCheckError if a measured error is above its tolerance.

        Args:
            found: Errors that :func:`measure` returned.
        """
        if not math.isfinite(found.force_scale):
            raise ModelCheckError(
                "the model failed its check on the first batch: its forces are not finite"
            )
        limit = self.limit(found)
        errors = {
            "the energy changes under a rotation or reflection by": (found.rotation_energy, "eV"),
            "the forces do not rotate with the structure; they are off by": (
                found.rotation_forces,
                "eV/Å",
            ),
        }
        if self.conservative and found.gradient is not None:
            errors["the forces differ from the gradient of the energy by"] = (
                found.gradient,
                "eV/Å",
            )
        for what, (value, unit) in errors.items():
            if not value <= limit:  # true also for NaN
                raise ModelCheckError(
                    f"the model failed its check on the first batch: {what} {value:.2e} {unit}, "
                    f"more than {limit:.1e} {unit}; correct the model before training it"
                )


def smallest(batch: Any) -> Any:
    """Return the structure with the fewest atoms, among those with edges, as a batch of one.

    Args:
        batch: Batch of structures; any other object is returned unchanged.
    """
    if not isinstance(batch, Batch):
        return batch
    graphs = batch.to_data_list()
    with_edges = [graph for graph in graphs if graph.edge_index.shape[1] > 0] or graphs
    return Batch.from_data_list([min(with_edges, key=lambda graph: graph.pos.shape[0])])


def _operations(
    symmetry: Tensor | None, has_mirrors: bool, generator: torch.Generator
) -> list[Tensor]:
    """Draw one proper and, if the symmetry has any, one improper operation."""
    signs = (1, -1) if has_mirrors else (1,)
    if symmetry is None:
        return [sign * random_rotations(1, generator=generator)[0] for sign in signs]
    halves = (symmetry[torch.linalg.det(symmetry) * sign > 0] for sign in signs)
    return [
        half[int(torch.randint(len(half), (), generator=generator))] for half in halves if len(half)
    ]


def _evaluate(model: nn.Module, graph: Any) -> tuple[float, Tensor]:
    results = model(graph)
    return float(results["energy"].detach().sum()), results["forces"].detach().double()


def _slope(model: nn.Module, graph: Any, direction: Tensor, step: float) -> float:
    def energy(distance: float) -> float:
        moved = graph.clone()
        moved.pos = graph.pos + distance * direction.to(graph.pos)
        return float(model(moved)["energy"].detach().sum())

    near = energy(step) - energy(-step)
    far = energy(2 * step) - energy(-2 * step)
    return (8 * near - far) / (12 * step)


def _largest(x: Tensor) -> float:
    """Return the largest absolute value; NaN if there is one, which Python's max would ignore."""
    return float(x.abs().max()) if x.numel() else 0.0
