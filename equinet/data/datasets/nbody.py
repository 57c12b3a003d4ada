"""Data module of the N-body benchmark: future positions of five charged particles.

Source: Satorras, Hoogeboom, Welling (ICML 2021), the small charged system.
"""

import itertools
import logging
from collections.abc import Mapping
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Float64
from torch_geometric.data import Data

from equinet.data.arrays import read_array, write_array
from equinet.data.cache import cache_place
from equinet.data.datasets.charged_particles import (
    FRAMES,
    PARTICLES,
    ParticleStates,
    draw_states,
    simulate,
)
from equinet.data.graph_dataset import GraphDataset
from equinet.data.loading import GraphDataModule, GraphSets
from equinet.errors import DataError
from equinet.files import reading

_log = logging.getLogger(__name__)

_SEED = 43
_NOW, _FUTURE = 30, 40  # frames, one unit of time apart
_DRAWN = {"train": 10_000, "val": 2_000, "test": 2_000}  # the order of the random numbers
_REFERENCE_NAMES = {"train": "train", "val": "valid", "test": "test"}
_PAIRS = sorted(itertools.permutations(range(PARTICLES), 2), key=lambda pair: pair[::-1])


@dataclass(frozen=True)
class Motions:
    """Inputs and targets for many systems, in float64 and in the units of the simulation.

    Attributes:
        charges: Charges of the particles, -1 or 1.
        positions: Positions at the time of the inputs.
        velocities: Velocities at the time of the inputs.
        future: Positions one unit of time later.
    """

    charges: Float64[np.ndarray, "system 5"]
    positions: Float64[np.ndarray, "system 5 3"]
    velocities: Float64[np.ndarray, "system 5 3"]
    future: Float64[np.ndarray, "system 5 3"]


class NBody(GraphDataModule[GraphSets]):
    """Data module of five charged particles, whose positions after one unit of time are predicted.

    The trajectories of the reference simulator are regenerated once and kept in the cache. Graphs
    are fully connected without loops: ``edge_index`` [2, 20] is sorted by receiver. They have
    ``pos`` [5, 3], ``x`` [5, 1 or 2] (charge, speed), ``vec`` [5, 1 or 2, 3] (velocity, position
    relative to the centroid), ``edge_scalars`` [20, 1] (charge products) and ``future_pos`` [5, 3];
    floats are float64. The published inputs are charge and velocity alone.

    Args:
        root: Folder of ``loc_…``, ``vel_…`` and ``charges_…charged5_initvel1small.npy``, written by
            the reference simulator; None regenerates the trajectories.
        speeds: Whether the length of the velocity is a second scalar input.
        positions: Whether the position relative to the centroid is a second vector input.
        charge_products: Whether the product of the charges of sender and receiver is an edge
            scalar.
        train_size: Number of training trajectories, 1 to 10 000; the published number is 3000.
        val_size: Number of validation trajectories, 1 to 2000.
        test_size: Number of test trajectories, 1 to 2000.
        batch_size: Number of graphs per training batch, at least 1.
        eval_batch_size: Number of graphs per validation or test batch, at least 1.
        seed: Seed of the order of training, at least 0.
        num_workers: Number of loading processes; 0 loads in the main process.
        cache: Folder for generated files; None takes the user's cache.

    Raises:
        DataError: A size is out of range, or, when the data are prepared, a file is missing or
            broken.

    Example:
        >>> NBody(speeds=False).model_arguments()["in_scalars"]
        1
    """

    tells: ClassVar[tuple[str, ...]] = (
        *("in_scalars", "in_vectors", "in_edge_scalars"),
        *("out_scalars", "out_vectors", "level"),
    )

    def __init__(
        self,
        *,
        root: str | Path | None = None,
        speeds: bool = True,
        positions: bool = True,
        charge_products: bool = True,
        train_size: int = 3000,
        val_size: int = 2000,
        test_size: int = 2000,
        batch_size: int = 100,
        eval_batch_size: int = 500,
        seed: int = 0,
        num_workers: int = 0,
        cache: str | Path | None = None,
    ) -> None:
        super().__init__(
            batch_size=batch_size,
            eval_batch_size=eval_batch_size,
            seed=seed,
            num_workers=num_workers,
        )
        self.sizes = {"train": train_size, "val": val_size, "test": test_size}
        for split, size in self.sizes.items():
            if not 1 <= size <= _DRAWN[split]:
                raise DataError(f"{split}_size must be from 1 to {_DRAWN[split]}, got {size}")
        self.root = None if root is None else Path(root).expanduser()
        self.speeds = speeds
        self.positions = positions
        self.charge_products = charge_products
        self.cache = cache

    def load(self) -> GraphSets:
        """Read or regenerate the trajectories and build their graphs."""
        if self.root is None:
            about = "five charged particles, regenerated"
            motions = _cached_motions(self.sizes, self.cache)
        else:
            about = f"five charged particles, files of {self.root}"
            motions = {name: _read(self.root, name, size) for name, size in self.sizes.items()}
        sets = {
            name: GraphDataset(self._graphs(found), name=name) for name, found in motions.items()
        }
        return GraphSets(about, sets["train"], sets["val"], {"test": sets["test"]})

    def model_arguments(self) -> dict[str, Any]:
        """Return the numbers of inputs and outputs, as keyword arguments of a model."""
        return {
            "in_scalars": 1 + self.speeds,
            "in_vectors": 1 + self.positions,
            "in_edge_scalars": int(self.charge_products),
            "out_scalars": 0,
            "out_vectors": 1,
            "level": "node",
        }

    def describe(self) -> str:
        """Describe the data in one line: origin, number of trajectories, inputs, unit."""
        counts = ", ".join(f"{size} {name}" for name, size in self.sizes.items())
        inputs = ["charge", "velocity"]
        inputs += ["speed"] if self.speeds else []
        inputs += ["position"] if self.positions else []
        inputs += ["charge products"] if self.charge_products else []
        return (
            f"{self.sets.about}: {counts} trajectories; inputs {', '.join(inputs)}; "
            "lengths in the simulation's unit"
        )

    def _graphs(self, motions: Motions) -> list[Data]:
        sender, receiver = np.array(_PAIRS).T
        scalars, vectors = [motions.charges], [motions.velocities]
        if self.speeds:
            scalars.append(np.linalg.norm(motions.velocities, axis=-1))
        if self.positions:
            vectors.append(motions.positions - motions.positions.mean(axis=1, keepdims=True))
        arrays = {
            "x": np.stack(scalars, axis=-1),
            "vec": np.stack(vectors, axis=-2),
            "pos": motions.positions,
            "future_pos": motions.future,
        }
        if self.charge_products:
            products = motions.charges[:, sender] * motions.charges[:, receiver]
            arrays["edge_scalars"] = products[..., None]
        tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
        edge_index = torch.from_numpy(np.stack([sender, receiver]))
        return [
            Data(edge_index=edge_index, **{name: value[i] for name, value in tensors.items()})
            for i in range(len(motions.charges))
        ]


def regenerate(sizes: Mapping[str, int]) -> dict[str, Motions]:
    """Simulate the first trajectories of each split of the reference simulator's stream.

    Args:
        sizes: Number of trajectories of ``train``, ``val`` and ``test``.

    Returns:
        Inputs and targets by split.
    """
    stream = np.random.RandomState(_SEED)
    made = {}
    for name, drawn in _DRAWN.items():
        start = draw_states(stream, drawn)
        first = slice(sizes[name])
        now, future = simulate(
            ParticleStates(start.charges[first], start.positions[first], start.velocities[first]),
            [_NOW, _FUTURE],
        )
        made[name] = Motions(now.charges, now.positions, now.velocities, future.positions)
    return made


def _cached_motions(sizes: Mapping[str, int], cache: str | Path | None) -> dict[str, Motions]:
    folder = cache_place("nbody-v1", cache)
    path = folder / ("-".join(str(size) for size in sizes.values()) + ".npy")
    borders = np.cumsum(list(sizes.values()))
    if path.is_file():
        try:
            parts = np.split(_read_table(path, int(borders[-1])), borders[:-1])
            return {name: _unpacked(part) for name, part in zip(sizes, parts, strict=True)}
        except DataError as error:
            _log.warning("making %s anew, because its copy is broken: %s", path, error)
    _log.info("simulating the trajectories (once, a few seconds)")
    made = regenerate(sizes)
    try:
        folder.mkdir(exist_ok=True)
        write_array(np.concatenate([_packed(motions) for motions in made.values()]), path)
    except OSError as error:
        raise DataError(
            f"cannot write {path} ({error.strerror}); give another folder as data.cache"
        ) from error
    return made


def _read_table(path: Path, systems: int) -> Float64[np.ndarray, "system 5 10"]:
    table = read_array(path, "trajectories")
    if table.shape != (systems, PARTICLES, 10) or table.dtype != np.float64:
        raise DataError(f"{path} holds {table.dtype} {list(table.shape)}, no such trajectories")
    return table


def _packed(motions: Motions) -> Float64[np.ndarray, "system 5 10"]:
    charges, *vectors = astuple(motions)
    return np.concatenate([charges[..., None], *vectors], axis=-1)


def _unpacked(table: Float64[np.ndarray, "system 5 10"]) -> Motions:
    charges, *vectors = np.split(table, [1, 4, 7], axis=-1)
    return Motions(charges[..., 0], *vectors)


def _read(root: Path, split: str, size: int) -> Motions:
    """Read the files of the reference simulator."""
    if not root.is_dir():
        raise DataError(
            f"data.root: there is no folder {root}; give that of the reference simulator's files"
        )
    found = {}
    for kind, shape in (
        ("loc", (FRAMES, 3, PARTICLES)),
        ("vel", (FRAMES, 3, PARTICLES)),
        ("charges", (PARTICLES, 1)),
    ):
        path = root / f"{kind}_{_REFERENCE_NAMES[split]}_charged5_initvel1small.npy"
        with reading(path, "an array"):
            array = np.load(path, allow_pickle=False, mmap_mode="r")
        if array.shape[1:] != shape or len(array) < size:
            raise DataError(
                f"{path} must have shape {[size, *shape]} or be longer, found {list(array.shape)}"
            )
        found[kind] = np.asarray(array[:size], dtype=np.float64)
    positions, velocities = (found[kind].transpose(0, 1, 3, 2) for kind in ("loc", "vel"))
    return Motions(
        found["charges"][..., 0].copy(),
        positions[:, _NOW].copy(),
        velocities[:, _NOW].copy(),
        positions[:, _FUTURE].copy(),
    )
