"""A short run on a tiny set."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import EMAWeightAveraging, Timer
from pictures import _pictures_once  # noqa: F401 - a fixture
from springs import TinyData, batch, make_model, tiny_data  # noqa: F401

from equinet.configuration import RunDirectory
from equinet.models import MACEGaunt
from equinet.training import Cosine, PotentialTask, fit


@pytest.fixture
def packed_data() -> TinyData:
    return TinyData(max_atoms=14)


@pytest.fixture(scope="session")
def short_run(
    tiny_data: TinyData,  # noqa: F811
    make_model: Callable[..., MACEGaunt],  # noqa: F811
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
        compiled: bool | None = False,
        early_energy_weight: float | None = None,
        lr: float = 0.01,
        decay: float = 0.9,
        **trainer: Any,
    ) -> SimpleNamespace:
        directory = RunDirectory(path)
        previous = {} if directory.path.is_dir() else None
        directory.claim({}, previous)
        directory.config.touch()
        torch.manual_seed(1)
        task = PotentialTask(
            model=make_model(),
            optimizer=lambda groups: torch.optim.Adam(groups, lr=lr),
            members=members,
            compiled=compiled,
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
                EMAWeightAveraging(decay=decay, use_buffers=False),
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
