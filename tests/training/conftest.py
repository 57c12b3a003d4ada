"""A tiny labeled set, a tiny model and a short run."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import EMAWeightAveraging, Timer

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
from equinet.run_directory import RunDirectory
from equinet.training import Cosine, PotentialTask, fit


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

    def fingerprint(self) -> str:
        return self.train.fingerprint()


@pytest.fixture(scope="session")
def tiny_data() -> TinyData:
    return TinyData()


@pytest.fixture
def packed_data() -> TinyData:
    return TinyData(max_atoms=14)


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


@pytest.fixture(scope="session")
def short_run(
    tiny_data: TinyData, make_model: Callable[..., MACEGaunt]
) -> Callable[..., SimpleNamespace]:
    """Train the tiny model on the tiny set; returns metrics, task and directory."""

    def run(
        path: Path,
        *,
        extra: tuple[Any, ...] = (),
        schedule: Any = None,
        max_time: Any = None,
        data: TinyData = tiny_data,
        checkpoint_minutes: float = 5.0,
        members: int = 1,
        early_energy_weight: float | None = None,
        **trainer: Any,
    ) -> SimpleNamespace:
        directory = RunDirectory(path)
        previous = {} if directory.path.is_dir() else None
        directory.claim({}, previous)
        directory.config.touch()
        torch.manual_seed(1)
        task = PotentialTask(
            model=make_model(),
            optimizer=lambda groups: torch.optim.Adam(groups, lr=0.01),
            members=members,
            early_energy_weight=early_energy_weight,
        )
        settings = {
            "accelerator": "cpu",
            "logger": False,
            "enable_progress_bar": False,
            "enable_model_summary": False,
            "inference_mode": False,
            "num_sanity_val_steps": 0,
            "use_distributed_sampler": False,
            "max_epochs": 3,
        }

        def make_trainer(callbacks: list[Any]) -> Trainer:
            timer = Timer(duration=max_time, verbose=False)
            return Trainer(callbacks=[timer, *callbacks], **settings | trainer)

        metrics = fit(
            task,
            data,
            make_trainer=make_trainer,
            callbacks=[
                EMAWeightAveraging(decay=0.9, use_buffers=False),
                schedule or Cosine(warmup_steps=3),
                *extra,
            ],
            directory=directory,
            stamp={"data_fingerprint": "0", "command": ["test"], "commit": None},
            log_seconds=0,
            checkpoint_minutes=checkpoint_minutes,
        )
        return SimpleNamespace(metrics=metrics, task=task, directory=directory)

    return run


@pytest.fixture
def run_fit(short_run: Callable[..., SimpleNamespace], tmp_path: Path) -> Any:
    """:func:`short_run` in a named directory of this test."""
    return lambda name="run", **options: short_run(tmp_path / name, **options)


@pytest.fixture(scope="session")
def whole(
    short_run: Callable[..., SimpleNamespace], tmp_path_factory: pytest.TempPathFactory
) -> SimpleNamespace:
    """An undisturbed run of three epochs."""
    return short_run(tmp_path_factory.mktemp("runs") / "whole")
