"""What a folder holds that its report shows, and the record from which it is drawn anew."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from equinet.errors import ConfigError
from equinet.evaluation.errors import Error
from equinet.evaluation.published import PublishedRow
from equinet.evaluation.report.findings import Findings
from equinet.evaluation.tables import read_metrics
from equinet.files import read_sealed_json, reading, write_sealed_json

RECORD = "report.json"
"""Name of the file from which a report is drawn anew."""

_UNITS = {"meV", "meV/atom", "meV/Å", "meV/Å³", "%"}


@dataclass(frozen=True)
class Report:
    """What only the program that trained or evaluated can tell a report.

    Attributes:
        title: Title of the page.
        about: Sentences below the title: what was trained or evaluated, on what.
        data: Lines that describe the data.
        errors: Declarations of the errors in the rows and in ``metrics.csv``.
        rows: Sets, each with ``name``, ``structures`` and errors by name.
        published: Published errors of some sets, by name of the set.
        findings: Parity, percentiles and other results of each set.
        checks: Names and results of the checks on the first batch.
        timings: Names of parts of the work, and the time each took.
        settings: Settings that are in no ``config.yaml`` of the folder, one in each line.

    Example:
        >>> Report("MACEGaunt on water", ("Trained on 500 structures.",)).rows
        ()
    """

    title: str
    about: Sequence[str] = ()
    data: Sequence[str] = ()
    errors: Sequence[Error] = ()
    rows: Sequence[Mapping[str, Any]] = ()
    published: Mapping[str, Sequence[PublishedRow]] = field(default_factory=dict)
    findings: Sequence[Findings] = ()
    checks: Sequence[tuple[str, str]] = ()
    timings: Sequence[tuple[str, str]] = ()
    settings: Sequence[str] = ()

    def save(self, folder: Path) -> None:
        """Write ``report.json`` into a folder.

        Args:
            folder: Folder of a run or of an evaluation.

        Raises:
            WriteError: The file cannot be written.
        """
        write_sealed_json(_finite(asdict(self)), folder / RECORD)

    @classmethod
    def read(cls, folder: Path) -> "Report":
        """Read ``report.json`` of a folder, or take what ``metrics.json`` tells without it.

        Args:
            folder: Folder of a run or of an evaluation.

        Raises:
            DataError: The file is damaged.
        """
        path = folder / RECORD
        if not path.is_file():
            return _from_metrics(folder)
        found = read_sealed_json(path, "the record of a report")
        with reading(path, "the record of a report"):
            return cls(
                **found
                | {
                    "errors": [
                        Error(**each | {"splits": tuple(each["splits"])})
                        for each in found["errors"]
                    ],
                    "checks": [(name, result) for name, result in found["checks"]],
                    "timings": [(name, time) for name, time in found["timings"]],
                    "findings": [Findings.read(each) for each in found["findings"]],
                    "published": {
                        name: [_published_row(row) for row in rows]
                        for name, rows in found["published"].items()
                    },
                }
            )


@dataclass(frozen=True)
class Contents:
    """All that a report shows.

    Attributes:
        report: Record of the program that trained or evaluated.
        curve: Rows of ``metrics.csv``; empty for an evaluation.
        stamp: Record of versions, machine and commands; empty where there is none.
        configuration: Configuration as YAML or one setting a line; empty where there is none.
        pictures: Pictures in PNG by their captions.
    """

    report: Report
    curve: Sequence[Mapping[str, float]]
    stamp: Mapping[str, Any]
    configuration: str
    pictures: Mapping[str, bytes]

    @classmethod
    def of(cls, folder: Path) -> "Contents":
        """Read the files of a folder.

        Args:
            folder: Folder of a run or of an evaluation.

        Raises:
            ConfigError: The folder is not that of a run or of an evaluation.
            DataError: A file is damaged.
        """
        table, stamp, configuration = (
            folder / name for name in ("metrics.csv", "stamp.json", "config.yaml")
        )
        if not any((folder / name).is_file() for name in (RECORD, "metrics.json", "metrics.csv")):
            raise ConfigError(
                f"{folder} holds no {RECORD}, metrics.json or metrics.csv to report on; give the "
                "directory of a run, or the output folder of an evaluation"
            )
        report = Report.read(folder)
        settings = "\n".join(report.settings)
        if configuration.is_file():
            with reading(configuration, "a configuration"):
                settings = configuration.read_text(encoding="utf-8")
        return cls(
            report,
            read_metrics(table) if table.is_file() else [],
            read_sealed_json(stamp, "the record of a run") if stamp.is_file() else {},
            settings,
            _pictures(folder, has_parity=any(each.panels for each in report.findings)),
        )


def _pictures(folder: Path, *, has_parity: bool) -> dict[str, bytes]:
    """Read the misclassified images, and pictures of what the record does not tell."""
    names = {path.name: path for path in sorted(folder.glob("mistakes_*.png"))}
    found = {
        f"Images of the set {name.removeprefix('mistakes_').removesuffix('.png')}, and below "
        "them those that were misclassified": path.read_bytes()
        for name, path in names.items()
    }
    for name, caption in (
        ("parity.png", "Predicted against true values"),
        ("errors.png", "Sorted force errors of structures"),
    ):
        if not has_parity and (folder / name).is_file():
            found[caption] = (folder / name).read_bytes()
    return found


def _from_metrics(folder: Path) -> Report:
    """Take the errors of a folder that an earlier version wrote."""
    path = folder / "metrics.json"
    if not path.is_file():
        return Report(folder.resolve().name)
    with reading(path, "errors of a model"):
        found = json.loads(path.read_text(encoding="utf-8"))
        sets = found.get("sets")
        if sets is None:
            sets = {Path(found["file"]).stem: found["errors"] | {"structures": found["structures"]}}
        rows = [{"name": name, **errors} for name, errors in sets.items()]
        units = {name: unit for name, unit in found["units"].items() if unit in _UNITS}
        names = dict.fromkeys(name for row in rows for name in row)
        errors = [
            Error(name, name.replace("_", " "), units.get(name, ""))
            for name in names
            if name not in {"name", "structures"}
        ]
        data = [found[key] for key in ("data", "file") if key in found]
        return Report(folder.resolve().name, data=data, errors=errors, rows=rows)


def _published_row(row: Mapping[str, Any]) -> PublishedRow:
    """Read a row, also of an earlier version, which had two errors of fixed names."""
    if "errors" in row:
        return PublishedRow(**row)
    errors = {name: row[name] for name in ("energy_rmse", "forces_rmse")}
    return PublishedRow(row["model"], errors, row["source"])


def _finite(value: Any) -> Any:
    """Leave numbers out that JSON cannot hold."""
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    is_odd = isinstance(value, float) and not (abs(value) < float("inf"))
    return None if is_odd else value
