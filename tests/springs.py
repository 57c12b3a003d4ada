"""A tiny labeled set and a tiny model, with fixtures that a ``conftest.py`` imports."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from equinet.data import (
    AtomicDataset,
    Frame,
    PackedBatches,
    Statistics,
    evaluation_loader,
    packed_loader,
    training_loader,
)
from equinet.models import MACEGaunt


def harmonic_frames(count: int, *, seed: int, atoms: int = 4) -> list[Frame]:
    """Clusters of H and O held together by springs between all pairs."""
    rng = np.random.default_rng(seed)
    frames = []
    for index in range(count):
        size = atoms + index % 2
        pos = rng.normal(size=(size, 3)) * 0.2 + 1.5 * np.arange(size)[:, None] * np.eye(3)[0]
        pos[:, 1] += 0.8 * (np.arange(size) % 2)
        difference = pos[:, None] - pos[None]
        distance = np.linalg.norm(difference, axis=-1) + np.eye(size)
        stretch = (distance - 1.6) * (1 - np.eye(size))
        energy = 0.25 * (0.5 * stretch**2).sum() - 100.0 * size
        forces = -0.5 * (stretch[..., None] * difference / distance[..., None]).sum(1)
        frames.append(
            Frame(
                numbers=np.where(np.arange(size) % 2 == 0, 8, 1).astype(np.int64),
                positions=pos,
                cell=np.zeros((3, 3)),
                pbc=np.zeros(3, dtype=bool),
                energy=float(energy),
                forces=forces,
                fixed=np.arange(size) == 0,
                source=f"frame {index}",
            )
        )
    return frames


class TinyData:
    """What :func:`equinet.training.fit` needs of a data module."""

    def __init__(self, *, batch_size: int = 3, seed: int = 0, max_atoms: int | None = None) -> None:
        self.cutoff, self.batch_size, self.seed = 3.0, batch_size, seed
        self.max_atoms = max_atoms
        self.train = AtomicDataset(harmonic_frames(14, seed=seed), self.cutoff)
        self.val = AtomicDataset(harmonic_frames(4, seed=seed + 1), self.cutoff)
        self.tests = {"test": AtomicDataset(harmonic_frames(5, seed=seed + 2), self.cutoff)}
        self.statistics = Statistics.of(self.train)
        self.files: dict[str, Path] = {}

    def prepare(self) -> None:
        pass

    def train_loader(self) -> Any:
        if self.max_atoms is not None:
            batches = PackedBatches(self.train.sizes, max_atoms=self.max_atoms, seed=self.seed)
            return packed_loader(self.train, batches)
        return training_loader(self.train, self.batch_size, seed=self.seed)

    def val_loader(self) -> Any:
        return evaluation_loader(self.val, 3)

    def test_loaders(self) -> dict[str, Any]:
        return {name: evaluation_loader(data, 3) for name, data in self.tests.items()}

    def describe(self) -> str:
        return "springs: 14 training frames"

    def for_card(self) -> dict[str, Any]:
        return {}

    def fingerprint(self) -> str:
        return self.train.fingerprint()


@pytest.fixture(scope="session")
def tiny_data() -> TinyData:
    return TinyData()


@pytest.fixture
def batch(tiny_data: TinyData) -> Any:
    return next(iter(tiny_data.val_loader()))


@pytest.fixture(scope="session")
def make_model(tiny_data: TinyData) -> Callable[..., MACEGaunt]:
    def make(seed: int = 0, **changes: Any) -> MACEGaunt:
        torch.manual_seed(seed)
        options = {
            "channels": 2,
            "layers": 1,
            "lmax_filter": 1,
            "lmax_hidden": 1,
            "correlation": 2,
            "radial_basis": 3,
            "radial_hidden": (4,),
            "readout_hidden": 4,
        }
        measured = tiny_data.statistics.model_arguments()
        return MACEGaunt(cutoff=tiny_data.cutoff, **measured, **options | changes)

    return make
