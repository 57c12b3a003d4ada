"""The directory of a training run: the paths inside it, its lock, its record and its log."""

import json
import logging
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from equinet.errors import ConfigError, DataError
from equinet.files import (
    LOCK,
    hold,
    read_sealed_json,
    reading,
    remove_partials,
    write_bytes,
    write_sealed_json,
    writing,
)
from equinet.plain_json import to_json

_log = logging.getLogger(__name__)

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
    """Paths of the files that one training run writes.

    Attributes:
        path: Path of the directory.

    Example:
        >>> RunDirectory(Path("runs/mine")).last.as_posix()
        'runs/mine/checkpoints/last.ckpt'
    """

    path: Path

    @property
    def config(self) -> Path:
        """File of the resolved configuration."""
        return self.path / "config.yaml"

    @property
    def stamp(self) -> Path:
        """File of versions, commit, command, seed and the checksum of the data."""
        return self.path / "stamp.json"

    @property
    def log(self) -> Path:
        """File of all messages and warnings, with times and tracebacks."""
        return self.path / "train.log"

    @property
    def table(self) -> Path:
        """File of errors with one row for each validation."""
        return self.path / "metrics.csv"

    @property
    def training_structures(self) -> Path:
        """File of the hashes of the training structures, by which evaluation knows them."""
        return self.path / "training_structures.npy"

    @property
    def metrics(self) -> Path:
        """File of the errors of the trained model."""
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
        """The checkpoint to resume from; None where there is none."""
        return self.last if self.last.is_file() else None

    @property
    def last(self) -> Path:
        """The newest checkpoint."""
        return self.checkpoints / "last.ckpt"

    @property
    def previous(self) -> Path:
        """The checkpoint before the newest one, to resume from if the newest one is damaged."""
        return self.checkpoints / "previous.ckpt"

    def trained_model(self) -> Path:
        """Return the folder of the trained model.

        Raises:
            ConfigError: The run has not written a model yet.
        """
        if not self.model.is_dir():
            raise ConfigError(
                f"checkpoint: the run {relative(self.path)} holds no model yet; "
                f"repeat its command with run.dir={relative(self.path)} to finish it"
            )
        return self.model

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the directory, and remove temporary files that killed processes left in it.

        Raises:
            ConfigError: Another process trains in this directory, or the path is that of a file.
            WriteError: The disk is full, or the directory cannot be written.
        """
        self._refuse_file()
        with writing(self.path), hold(self.path, "trains"):
            for folder in (self.path, self.checkpoints, self.model):
                remove_partials(folder, held=True)
            yield

    def claim(self, tree: Mapping[str, Any], previous: Mapping[str, Any] | None) -> None:
        """Check that a configuration may use the directory, and make its folders.

        Args:
            tree: Resolved configuration of this run.
            previous: Configuration found in the directory; None where there is none.

        Raises:
            ConfigError: The directory holds results of another configuration, or files that are not
                those of a run.
        """
        self._refuse_file()
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
        elif self._holds_files():
            raise ConfigError(
                f"run.dir: {self.path} is not empty and not a run directory; choose another"
            )
        self.checkpoints.mkdir(parents=True, exist_ok=True)

    def write_stamp(self, stamp: Mapping[str, Any]) -> None:
        """Write the record of a run, or add to it if the run resumes.

        A damaged record is replaced, with a warning.

        Args:
            stamp: Record of this session, as :func:`equinet.configuration.make_stamp` makes it.

        Raises:
            ConfigError: The run resumes, and its data differ from those it began with.
        """
        record = self._read_stamp() if self.resumes_from else None
        if record is None:
            record = dict(stamp)
        else:
            if record["data_fingerprint"] != stamp["data_fingerprint"]:
                raise ConfigError(
                    f"run.dir: {self.path} was trained on other data (checksum "
                    f"{record['data_fingerprint'][:12]}, now {stamp['data_fingerprint'][:12]}); "
                    "choose another run.dir"
                )
            record.setdefault("resumed", []).append(
                {key: stamp[key] for key in ("time", "command", "hostname", "commit", "dirty")}
            )
        write_sealed_json(to_json(record, self.stamp.name), self.stamp)

    def _holds_files(self) -> bool:
        # Folders without a file are what a run leaves that could not write its configuration.
        return any(path.name != LOCK and not path.is_dir() for path in self.path.rglob("*"))

    def _read_stamp(self) -> dict[str, Any] | None:
        if not self.stamp.is_file():
            return None
        try:
            record = read_sealed_json(self.stamp, "the record of a run")
            with reading(self.stamp, "the record of a run"):
                _ = record["data_fingerprint"][:12], [*record.get("resumed", [])]
        except DataError as error:
            _log.warning("making the record of the run anew: %s", error)
            return None
        return record

    def _refuse_file(self) -> None:
        if self.path.exists() and not self.path.is_dir():
            raise ConfigError(f"run.dir: {self.path} is a file")

    def _holds_results(self) -> bool:
        return self.resumes_from is not None or self.table.is_file() or self.model.is_dir()


def differences(old: Any, new: Any, path: str = "") -> list[str]:
    """List the dotted keys in which two plain configurations differ.

    Args:
        old: Plain configuration to compare with.
        new: Plain configuration that is compared.
        path: Dotted place of both in a larger configuration; empty for the whole.

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


def find_run(name: str) -> RunDirectory | None:
    """Return the run that a checkpoint names, by its directory or the model folder inside.

    Args:
        name: Path of a run directory or of a model folder, or the name of a model in the zoo.

    Returns:
        The directory of the run; None where the name is not that of a run.

    Example:
        >>> find_run("mace-gaunt-3bpa") is None
        True
    """
    path = Path(name).expanduser().resolve()
    directory = RunDirectory(path)
    if path.name == directory.model.name and not directory.config.is_file():
        directory = RunDirectory(path.parent)
    return directory if path.is_dir() and directory.config.is_file() else None


def relative(path: Any) -> str:
    """Write a path relative to the working directory, if it lies below it.

    Args:
        path: Path to write, absolute or relative.

    Example:
        >>> relative(Path.cwd() / "runs" / "mine")
        'runs/mine'
    """
    short = os.path.relpath(path)
    return short if not short.startswith("..") else str(path)


def write_json(content: Mapping[str, Any], path: Path) -> None:
    """Write a JSON file that is complete or absent; NaN and infinity become null.

    Args:
        content: Mapping of numbers, texts, lists and mappings.
        path: Final name of the file.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_json({"loss": float("nan")}, Path(folder, "metrics.json"))
        ...     json.loads(Path(folder, "metrics.json").read_text())
        {'loss': None}
    """
    plain = to_json(content, path.name)
    text = json.dumps(plain, indent=2, ensure_ascii=False, allow_nan=False)
    write_bytes(f"{text}\n".encode(), path)


def open_log(path: Path) -> logging.Handler:
    """Write messages of equinet and Lightning, and warnings, to a file as well.

    Args:
        path: Path of the log, which is continued if it exists.

    Returns:
        The handler, for :func:`close_log`.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     handler = open_log(Path(folder, "train.log"))
        ...     logging.getLogger("equinet").debug("one line")
        ...     close_log(handler)
        ...     Path(folder, "train.log").read_text().strip().endswith("DEBUG equinet: one line")
        True
    """
    handler = _LogFile(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.getLogger("equinet").setLevel(logging.DEBUG)
    for name in _LOGGERS:
        logging.getLogger(name).addHandler(handler)
    return handler


class _LogFile(logging.FileHandler):
    """Log file that skips messages while the disk is full; the failing write reports the reason."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the name is fixed by logging
        """Ignore a message that cannot be written."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handleError(record)


def close_log(handler: logging.Handler) -> None:
    """Detach and close a log.

    Args:
        handler: Handler that :func:`open_log` returned.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     handler = open_log(Path(folder, "train.log"))
        ...     close_log(handler)
        >>> handler in logging.getLogger("equinet").handlers
        False
    """
    for name in _LOGGERS:
        logging.getLogger(name).removeHandler(handler)
    with suppress(OSError):
        handler.close()


_LOGGERS = ("equinet", "lightning.pytorch", "py.warnings")
