"""Progress of a run: a progress bar, lines in the log, and ``metrics.csv``."""

import csv
import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import TQDMProgressBar

from equinet.errors import DataError
from equinet.evaluation import read_metrics
from equinet.files import whole_file
from equinet.training.schedules import timers

_log = logging.getLogger(__name__)

_COLUMNS = ("epoch", "step", "seconds", "lr")


class ErrorBar(TQDMProgressBar):
    """Lightning's progress bar, with the errors of the last batch.

    Example:
        >>> ErrorBar().is_enabled
        True
    """

    def get_metrics(
        self, trainer: Trainer, pl_module: LightningModule
    ) -> dict[str, int | str | float | dict[str, float]]:
        """Return the errors, rounded, without the version number of the logger."""
        items = super().get_metrics(trainer, pl_module)
        return {
            name: _rounded(value) if isinstance(value, float) else value
            for name, value in items.items()
            if name != "v_num"
        }


class MetricsTable(Callback):
    """Writes one row for each validation to ``metrics.csv``, and one line to the log.

    A resumed run removes the rows after its checkpoint, since it writes them again.

    Args:
        path: Path of the file to write.
        seconds: Shortest time between two lines in the log, s; the file gets every row.

    Example:
        >>> MetricsTable(path="runs/mine/metrics.csv", seconds=60.0).seconds
        60.0
    """

    def __init__(self, *, path: str | Path, seconds: float = 10.0) -> None:
        self.path = Path(path)
        self.seconds = seconds
        self._said = float("-inf")

    def on_train_start(self, trainer: Trainer, pl_module: Any) -> None:
        """Remove the rows after the checkpoint that training starts from."""
        if not trainer.is_global_zero:
            return
        kept = [row for row in self._read() if row["step"] <= trainer.global_step]
        with (
            whole_file(self.path) as partial,
            partial.open("w", newline="", encoding="utf-8") as file,
        ):
            writer = csv.DictWriter(file, (*_COLUMNS, *pl_module.columns))
            writer.writeheader()
            writer.writerows(kept)

    def _read(self) -> list[dict[str, float]]:
        """Read the rows so far; a damaged file is renamed, and a new table begins."""
        if not self.path.is_file():
            return []
        try:
            return read_metrics(self.path)
        except DataError as error:
            aside = self.path.with_suffix(".damaged.csv")
            _log.warning("%s; it is kept as %s, and a new table is begun", error, aside.name)
            self.path.replace(aside)
            return []

    def on_validation_end(self, trainer: Trainer, pl_module: Any) -> None:
        """Write the row of the validation that just ended."""
        # The errors are summed over processes, so all processes call this.
        training = pl_module.pop_training_errors()
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
            columns = (*_COLUMNS, *pl_module.columns)
            csv.DictWriter(file, columns, extrasaction="ignore").writerow(row)
        if time.monotonic() - self._said > self.seconds or trainer.should_stop:
            self._said = time.monotonic()
            _log.info("%s", line(row, pl_module.shown))


def line(row: Mapping[str, Any], shown: Mapping[str, str]) -> str:
    """Write a row of ``metrics.csv`` as one line of the log.

    Args:
        row: Values by column.
        shown: Format of the errors that are shown, by column without its split.

    Example:
        >>> row = {"epoch": 1, "step": 9, "seconds": 65.0, "lr": 0.01, "val_energy_rmse_meV": 1.23}
        >>> line(row, {"energy_rmse_meV": "E {:.1f} meV"})
        'epoch    1  step      9  val E 1.2 meV  lr 1.0e-02  1m05s'
    """
    parts = [f"epoch {row['epoch']:4d}", f"step {row['step']:6d}"]
    for split in ("train", "val"):
        words = [
            form.format(row[f"{split}_{name}"])
            for name, form in shown.items()
            if f"{split}_{name}" in row
        ]
        parts += [" ".join([split, *words])] if words else []
    parts += [f"lr {row['lr']:.1e}", clock(row["seconds"])]
    return "  ".join(parts)


def _rounded(value: float) -> str:
    return f"{value:.1f}" if abs(value) >= 1 else f"{value:.2g}"


def clock(seconds: float) -> str:
    """Write a duration in hours and minutes, or in minutes and seconds.

    Args:
        seconds: Duration in seconds, not negative.

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
    """Return the seconds of training so far, over all sessions of a resumed run.

    Args:
        trainer: Trainer with a timer among its callbacks.
    """
    return max((timer.time_elapsed() for timer in timers(trainer)), default=0.0)
