"""What a run shows and keeps while it trains: a bar or plain lines, and ``metrics.csv``."""

import csv
import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import TQDMProgressBar

from equinet.training.schedules import timers
from equinet.training.task import PotentialTask

_log = logging.getLogger(__name__)

COLUMNS = (
    "epoch",
    "step",
    "seconds",
    "lr",
    "train_loss",
    "train_energy_rmse_meV",
    "train_forces_rmse_meV_per_A",
    "val_loss",
    "val_energy_rmse_meV",
    "val_energy_mae_meV",
    "val_energy_rmse_per_atom_meV",
    "val_energy_mae_per_atom_meV",
    "val_forces_rmse_meV_per_A",
    "val_forces_mae_meV_per_A",
    "val_stress_rmse_meV_per_A3",
    "val_stress_mae_meV_per_A3",
)
"""Columns of ``metrics.csv``; energies are of whole structures unless named per atom."""


class ErrorBar(TQDMProgressBar):
    """Lightning's progress bar, with the errors of the last batch in meV and meV/Å."""

    def get_metrics(
        self, trainer: Trainer, pl_module: LightningModule
    ) -> dict[str, int | str | float | dict[str, float]]:
        """Round the errors and leave out the version number."""
        items = super().get_metrics(trainer, pl_module)
        return {
            name: f"{value:.1f}" if isinstance(value, float) else value
            for name, value in items.items()
            if name != "v_num"
        }


class MetricsTable(Callback):
    """Writes one row per validation to ``metrics.csv`` and says so in one plain line.

    A resumed run drops the rows that lie after its checkpoint, since it passes them again.

    Args:
        path: The file.
        seconds: Shortest time between two lines in the log; the file gets every row.
    """

    def __init__(self, *, path: str | Path, seconds: float = 10.0) -> None:
        self.path = Path(path)
        self.seconds = seconds
        self._said = float("-inf")

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """Bring the file to the state of the checkpoint that training starts from."""
        if not trainer.is_global_zero:
            return
        rows = read_metrics(self.path) if self.path.is_file() else []
        kept = [row for row in rows if row["step"] <= trainer.global_step]
        with self.path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, COLUMNS)
            writer.writeheader()
            writer.writerows(kept)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the row of the validation that just ended."""
        # Sums over processes: all of them call it.
        training = pl_module.pop_training_errors() if isinstance(pl_module, PotentialTask) else {}
        if not trainer.is_global_zero or trainer.state.fn != "fit":
            return
        row: dict[str, Any] = {
            "epoch": trainer.current_epoch,
            "step": trainer.global_step,
            "seconds": round(elapsed(trainer), 1),
            "lr": trainer.optimizers[0].param_groups[0]["lr"],
        }
        row |= {f"train_{name}": value for name, value in training.items()}
        row |= {
            name.replace("/", "_"): float(value)
            for name, value in trainer.callback_metrics.items()
            if name.startswith("val/")
        }
        with self.path.open("a", newline="", encoding="utf-8") as file:
            csv.DictWriter(file, COLUMNS, extrasaction="ignore").writerow(row)
        if time.monotonic() - self._said > self.seconds or trainer.should_stop:
            self._said = time.monotonic()
            _log.info("%s", line(row))


def line(row: Mapping[str, Any]) -> str:
    """Put a row of ``metrics.csv`` into one line for people."""
    parts = [f"epoch {row['epoch']:4d}", f"step {row['step']:6d}"]
    parts += [
        f"{split} E {row[f'{split}_energy_rmse_meV']:.1f} meV "
        f"F {row[f'{split}_forces_rmse_meV_per_A']:.1f} meV/Å"
        for split in ("train", "val")
        if f"{split}_energy_rmse_meV" in row
    ]
    parts += [f"lr {row['lr']:.1e}", clock(row["seconds"])]
    return "  ".join(parts)


def clock(seconds: float) -> str:
    """Write a duration for people.

    Example:
        >>> clock(3725)
        '1h02m'
        >>> clock(65)
        '1m05s'
    """
    whole = int(seconds)
    if whole >= 3600:
        return f"{whole // 3600}h{whole % 3600 // 60:02d}m"
    return f"{whole // 60}m{whole % 60:02d}s"


def elapsed(trainer: Trainer) -> float:
    """Seconds of training so far, over all sessions of a resumed run."""
    return max((timer.time_elapsed() for timer in timers(trainer)), default=0.0)


def read_metrics(path: Path) -> list[dict[str, float]]:
    """Read ``metrics.csv``; empty cells are left out, an unfinished last line is dropped."""
    rows: list[dict[str, float]] = []
    with path.open(newline="", encoding="utf-8") as file:
        for cells in csv.DictReader(file):
            try:
                rows.append({name: float(value) for name, value in cells.items() if value})
            except (TypeError, ValueError):
                break
    return [{**row, "epoch": int(row["epoch"]), "step": int(row["step"])} for row in rows]
