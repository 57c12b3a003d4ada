"""Sphinx configuration."""

import json
from pathlib import Path

from equinet import __version__

ROOT = Path(__file__).resolve().parents[1]

project = "equinet"
author = "The equinet developers"
copyright = "2026, The equinet developers"
version = release = __version__
extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.mathjax",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
]
html_theme = "furo"
html_title = "equinet"
exclude_patterns = ["_build"]
myst_enable_extensions = ["dollarmath", "colon_fence"]
autodoc_member_order = "bysource"
autodoc_typehints = "none"
napoleon_google_docstring = True
# Fields of named tuples are members already; as objects of their own they would be there twice.
napoleon_use_ivar = True


def write_results() -> None:
    """Make results.md from experiments/*/*.json, so that no figure is typed by hand."""
    lines = ["# Results", "", "Made from `experiments/*/*.json` when these pages are built."]
    for path in sorted(ROOT.glob("experiments/*/*.json")):
        entries = json.loads(path.read_text())
        is_trained = all("split" in entry for entry in entries)
        name = path.parent.name if path.stem == "results" else f"{path.parent.name}, {path.stem}"
        lines += ["", f"## {name.replace('_', ' ')}", ""]
        lines += trained_models(entries) if is_trained else speeds(entries)
    (ROOT / "docs" / "results.md").write_text("\n".join(lines) + "\n")


def trained_models(entries: list[dict]) -> list[str]:
    """Lay out errors on test sets, run by run."""
    lines = ["| run | split | metric | value | time | commit |", "|---|---|---|---|---|---|"]
    lines += [
        f"| {e['run']} | {e['split']} | {e['metric']} | {e['value']:.4g} {e['unit']} "
        f"| {e['train_seconds'] / 60:.0f} min | {e['commit'][:8]} |"
        for e in entries
    ]
    for entry in {e["run"]: e for e in entries}.values():
        lines += ["", f"**{entry['run']}**, {entry['date']}, {entry['hardware']}:", ""]
        commands = [entry[key] for key in ("train_command", "evaluate_command") if key in entry]
        lines += ["```bash", *commands, "```"]
        lines += ["", entry["note"]] if entry.get("note") else []
    return lines


def speeds(entries: list[dict]) -> list[str]:
    """Lay out times, memory and ratios, command by command."""
    lines = []
    for command in dict.fromkeys(e["command"] for e in entries):
        found = [e for e in entries if e["command"] == command]
        lines += ["| metric | of | value |", "|---|---|---|"]
        lines += [
            f"| {e['metric']} | {e.get('library') or e['implementation']} "
            f"| {e['value']:.4g} {e['unit']} |"
            for e in found
        ]
        first = found[0]
        lines += ["", f"{first['date']}, {first['hardware']}, commit {first['commit'][:8]}:", ""]
        lines += ["```bash", command, "```", ""]
        lines += [first["note"], ""] if first.get("note") else []
    return lines


write_results()
