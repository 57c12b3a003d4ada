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


def write_results() -> None:
    """Make results.md from experiments/*/results.json, so that no figure is typed by hand."""
    lines = ["# Results", "", "Made from `experiments/*/results.json` when these pages are built."]
    for path in sorted(ROOT.glob("experiments/*/results.json")):
        entries = json.loads(path.read_text())
        lines += ["", f"## {path.parent.name}", ""]
        lines += ["| run | split | metric | value | time | commit |", "|---|---|---|---|---|---|"]
        lines += [
            f"| {e['run']} | {e['split']} | {e['metric']} | {e['value']:.1f} {e['unit']} "
            f"| {e['train_seconds'] / 60:.0f} min | {e['commit'][:8]} |"
            for e in entries
        ]
        for entry in {e["run"]: e for e in entries}.values():
            lines += ["", f"**{entry['run']}**, {entry['date']}, {entry['hardware']}:", ""]
            lines += ["```bash", entry["train_command"], entry["evaluate_command"], "```"]
            lines += ["", entry["note"]] if entry["note"] else []
    (ROOT / "docs" / "results.md").write_text("\n".join(lines) + "\n")


write_results()
