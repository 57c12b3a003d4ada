"""The run directory: who it belongs to, and where everything in it lies."""

import json
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from equinet.errors import ConfigError
from equinet.zoo import to_json

MAY_CHANGE = (
    "run.dir",
    "run.checkpoint_minutes",
    "run.log_seconds",
    "data.root",
    "data.cache",
    "data.num_workers",
    "logger",
    "trainer.accelerator",
    "trainer.devices",
    "trainer.num_nodes",
    "trainer.strategy",
    "trainer.max_epochs",
    "trainer.max_steps",
    "trainer.max_time",
    "trainer.log_every_n_steps",
    "trainer.limit_val_batches",
    "trainer.limit_test_batches",
    "trainer.profiler",
)
"""Keys that a resumed run may change: budget, machine and bookkeeping.

``data.root`` is among them because the data themselves are compared by checksum.
"""


@dataclass(frozen=True)
class RunDirectory:
    """Paths of one run, see DESIGN §4.

    Attributes:
        path: The directory.
    """

    path: Path

    @property
    def config(self) -> Path:
        """The resolved configuration."""
        return self.path / "config.yaml"

    @property
    def stamp(self) -> Path:
        """Versions, commit, command, seed, data checksum."""
        return self.path / "stamp.json"

    @property
    def log(self) -> Path:
        """Everything that was said, with times and tracebacks."""
        return self.path / "train.log"

    @property
    def table(self) -> Path:
        """One row per validation."""
        return self.path / "metrics.csv"

    @property
    def metrics(self) -> Path:
        """Final errors."""
        return self.path / "metrics.json"

    @property
    def checkpoints(self) -> Path:
        """Folder of ``last.ckpt`` and ``best.ckpt``."""
        return self.path / "checkpoints"

    @property
    def model(self) -> Path:
        """Folder of the trained model in the zoo's format."""
        return self.path / "model"

    @property
    def resumes_from(self) -> Path | None:
        """The checkpoint to continue from, if there is one."""
        last = self.checkpoints / "last.ckpt"
        return last if last.is_file() else None

    def claim(self, tree: Mapping[str, Any], previous: Mapping[str, Any] | None) -> None:
        """Take the directory for a configuration, or refuse.

        Args:
            tree: The resolved configuration.
            previous: The one found in the directory, if any.

        Raises:
            ConfigError: The directory holds results of another configuration, or something else.
        """
        if self.path.exists() and not self.path.is_dir():
            raise ConfigError(f"run.dir: {self.path} is a file")
        if previous is not None:
            changed = [
                key
                for key in differences(previous, tree)
                if not any(key == free or key.startswith(f"{free}.") for free in MAY_CHANGE)
            ]
            if changed and self._holds_results():
                shown = ", ".join(changed[:3]) + (", ..." if len(changed) > 3 else "")
                raise ConfigError(
                    f"run.dir: {self.path} belongs to a run with other settings ({shown}); "
                    "choose another run.dir, or repeat that run's settings to resume it"
                )
        elif self.path.is_dir() and any(self.path.iterdir()):
            raise ConfigError(
                f"run.dir: {self.path} is not empty and not a run directory; choose another"
            )
        self.checkpoints.mkdir(parents=True, exist_ok=True)

    def write_stamp(self, stamp: Mapping[str, Any]) -> None:
        """Keep the record of the first session, and add the later ones below it.

        Raises:
            ConfigError: A run that resumes would continue on other data.
        """
        record = dict(stamp)
        if self.resumes_from and self.stamp.is_file():
            record = json.loads(self.stamp.read_text(encoding="utf-8"))
            if record["data_fingerprint"] != stamp["data_fingerprint"]:
                raise ConfigError(
                    f"run.dir: {self.path} was trained on other data (checksum "
                    f"{record['data_fingerprint'][:12]}, now {stamp['data_fingerprint'][:12]}); "
                    "choose another run.dir"
                )
            record.setdefault("resumed", []).append(
                {key: stamp[key] for key in ("time", "command", "hostname", "commit", "dirty")}
            )
        write_json(record, self.stamp)

    def _holds_results(self) -> bool:
        return self.resumes_from is not None or self.table.is_file() or self.model.is_dir()


def differences(old: Any, new: Any, path: str = "") -> list[str]:
    """List the dotted keys in which two plain configurations differ.

    Example:
        >>> differences({"a": 1, "b": {"c": 2}}, {"a": 1, "b": {"c": 3}})
        ['b.c']
    """
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        return [
            key
            for name in sorted({*old, *new})
            for key in differences(old.get(name), new.get(name), f"{path}.{name}".lstrip("."))
        ]
    if isinstance(old, list | tuple) and isinstance(new, list | tuple):
        return [] if list(old) == list(new) else [path]
    return [] if old == new else [path]


def relative(path: Any) -> str:
    """Write a path as one would type it here."""
    short = os.path.relpath(path)
    return short if not short.startswith("..") else str(path)


def write_json(content: Mapping[str, Any], path: Path) -> None:
    """Write a JSON file that is complete or absent; NaN and infinity become null."""
    partial = path.with_name(path.name + ".partial")
    plain = to_json(content, path.name)
    text = json.dumps(plain, indent=2, ensure_ascii=False, allow_nan=False)
    partial.write_text(text + "\n", encoding="utf-8")
    partial.replace(path)


def open_log(path: Path) -> logging.Handler:
    """Send everything that equinet and Lightning say, and warnings, to a file as well.

    Returns:
        The handler, for :func:`close_log`.
    """
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.getLogger("equinet").setLevel(logging.DEBUG)
    for name in _LOGGERS:
        logging.getLogger(name).addHandler(handler)
    return handler


def close_log(handler: logging.Handler) -> None:
    """Undo :func:`open_log`."""
    for name in _LOGGERS:
        logging.getLogger(name).removeHandler(handler)
    handler.close()


_LOGGERS = ("equinet", "lightning.pytorch", "py.warnings")
