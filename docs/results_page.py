"""Write ``results.md`` from ``experiments/*/*.json``, so that no figure is typed by hand."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from equinet.evaluation import published_properties, published_rows

ROOT = Path(__file__).resolve().parents[1]
_COMPACT = 4  # digits of a figure
_SHORT = {"rmse": "RMSE", "mae": "MAE", "mse": "MSE", "efwt": "EFwT", "ewt": "EwT"}

# Errors as published, by experiment and test set: name with source, and errors by metric.
_PUBLISHED = {
    ("nbody", "test"): (
        ("EGNN, Satorras et al. 2021", {"mse": 0.0070}),
        ("SEGNN, Brandstetter et al. 2022", {"mse": 0.0043}),
        ("PONITA, Bekkers et al. 2024", {"mse": 0.0043}),
        ("CGENN, Ruhe et al. 2023", {"mse": 0.0039}),
    ),
    ("rmd17", "test"): (("MACE, Batatia et al. 2022", {"energy_mae": 2.2, "forces_mae": 6.6}),),
}


def write() -> None:
    """Write the page beside this file, a section for each file of results."""
    lines = ["# Results", "", "Made from `experiments/*/*.json` when these pages are built."]
    for path in sorted(ROOT.glob("experiments/*/*.json"), key=_place):
        entries = json.loads(path.read_text().replace("../shared/data", "DATA"))
        name = path.parent.name if path.stem == "results" else f"{path.parent.name}, {path.stem}"
        lines += ["", f"## {name.replace('_', ' ')}", ""]
        if "split" in entries[0]:
            lines += _trained(path.parent.name if path.stem == "results" else "", entries)
        else:
            lines += _measured(entries)
        picture = path.parent / "curve.png"
        if path.stem == "results" and picture.is_file():
            lines += ["", f"![Learning curve](../experiments/{path.parent.name}/curve.png)"]
    (ROOT / "docs" / "results.md").write_text("\n".join(lines) + "\n")


def _place(path: Path) -> tuple[str, bool, str]:
    """Sort by experiment, its main results first."""
    return path.parent.name, path.stem != "results", path.stem


def _trained(experiment: str, entries: Sequence[dict]) -> Iterator[str]:
    """Lay out errors on test sets: a table for each set, a row for each run."""
    for split in dict.fromkeys(entry["split"] for entry in entries):
        found = [entry for entry in entries if entry["split"] == split]
        units = {entry["metric"]: entry["unit"] for entry in found}
        metrics = [name for name in units if not name.endswith("per_atom")]
        rows = {entry["run"]: f"{entry['train_seconds'] / 60:.0f} min" for entry in found}
        values = {(entry["run"], entry["metric"]): entry["value"] for entry in found}
        yield from ("", f"**{split}**, {found[0]['structures']} structures", "")
        yield from _table(
            rows,
            {name: f"{_plain(name)}, {units[name]}".rstrip(", ") for name in metrics},
            values,
        )
        for name, errors in _published(experiment, split):
            cells = [f"{errors[metric]:g}" if metric in errors else "" for metric in metrics]
            if any(cells):
                yield f"| *{name}* | {' | '.join(cells)} | published |"
    yield from _commands(entries)


def _measured(entries: Sequence[dict]) -> Iterator[str]:
    """Lay out times, memory and ratios: a table for each command, a column for each library."""
    for command in dict.fromkeys(entry["command"] for entry in entries):
        found = [entry for entry in entries if entry["command"] == command]
        names = {_of(entry): _of(entry) for entry in found}
        units = {entry["metric"]: entry["unit"] for entry in found}
        values = {(entry["metric"], _of(entry)): entry["value"] for entry in found}
        yield from _table(units, names, values, last="unit")
        first = found[0]
        yield from ("", f"{first['date']}, {first['hardware']}, commit {first['commit'][:8]}:")
        yield from ("", "```bash", command, "```", "")
        yield from [first["note"], ""] if first.get("note") else []


def _table(
    rows: dict[str, str], columns: dict[str, str], values: dict, last: str = "time"
) -> Iterator[str]:
    yield f"| | {' | '.join(columns.values())} | {last} |"
    yield "|---" * (len(columns) + 2) + "|"
    for row, end in rows.items():
        cells = (values.get((row, column)) for column in columns)
        shown = ("" if cell is None else f"{cell:.{_COMPACT}g}" for cell in cells)
        yield f"| {row} | {' | '.join(shown)} | {end} |"


def _published(experiment: str, split: str) -> Iterator[tuple[str, dict[str, float]]]:
    yield from _PUBLISHED.get((experiment, split), ())
    rows = published_rows(f"{split}.xyz") if experiment == "3bpa" else []
    rows += published_properties(["U0"]) if experiment == "qm9" else []
    yield from ((f"{row.model}, {row.source}", dict(row.errors)) for row in rows)


def _commands(entries: Sequence[dict]) -> Iterator[str]:
    """Fold up the commands of each run, with its date, hardware and commit."""
    yield from ("", "<details><summary>Commands, hardware, dates and commits</summary>", "")
    for entry in {each["run"]: each for each in entries}.values():
        commands = [entry[key] for key in ("train_command", "evaluate_command") if key in entry]
        about = f"{entry['date']}, {entry['hardware']}, commit {entry['commit'][:8]}"
        yield from (f"**{entry['run']}**, {about}:", "", "```bash", *commands, "```", "")
        yield from [entry["note"], ""] if entry.get("note") else []
    yield "</details>"


def _plain(metric: str) -> str:
    return " ".join(_SHORT.get(word, word) for word in metric.split("_"))


def _of(entry: dict) -> str:
    """Name what a figure was measured of."""
    name = entry.get("library") or entry.get("implementation") or entry["model"]
    return f"{name}, seed {entry['seed']}" if "seed" in entry else name
