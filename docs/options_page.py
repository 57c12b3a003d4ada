"""Write ``options.md``: the choices of every group and the options of their classes."""

import inspect
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from equinet.arguments import described
from equinet.configuration import config, help_page
from equinet.configuration.targets import SET_BY_PROGRAM

_BEGINNING = """# Options

Made from the signatures when these pages are built; `equinet train --help` lists those of the
chosen groups, with the defaults of the chosen files. A choice is typed as `model=NAME`, an option
as `model.channels=128`. Options without a default are given by the data or have to be given.
"""
_GROUPS = ("model", "data", "task", "optim", "schedule", "trainer", "callbacks", "logger")


def write() -> None:
    """Write the page beside this file."""
    lines = [_BEGINNING]
    for group in _GROUPS:
        lines += [f"## {group}", "", *_choices(group)]
        for name, target in _targets(group).items():
            lines += ["", f"### {name}", "", *_options(group, target)]
        lines.append("")
    Path(__file__).with_name("options.md").write_text("\n".join(lines) + "\n")


def _nodes(group: str) -> Iterator[tuple[str, str]]:
    """Yield what is typed to choose or change each part of a group, with the class it names."""
    for path in sorted((config.CONFIG_DIR / group).glob("*.yaml")):
        tree = _read(path)
        if "_target_" in tree:
            yield f"{group}={path.stem}", tree["_target_"]
            continue
        for name, node in tree.items():
            if isinstance(node, Mapping) and "_target_" in node:
                yield f"{group}.{name}", node["_target_"]


def _read(path: Path) -> dict[str, Any]:
    """Read a file of a group on top of the one that it continues, if it does."""
    tree: Any = OmegaConf.to_container(OmegaConf.load(path))
    for parent in tree.get("defaults", ()):
        tree = {**_read(path.with_stem(parent)), **tree}
    return tree


def _choices(group: str) -> Iterator[str]:
    yield from ("| typed | class |", "|---|---|")
    for typed, target in _nodes(group):
        yield f"| `{typed}` | `{target}` |"


def _targets(group: str) -> dict[str, type[Any]]:
    return {name: config.locate(name) for _, name in _nodes(group)}


def _options(group: str, target: type[Any]) -> Iterator[str]:
    yield from ("| option | default | type | meaning |", "|---|---|---|---|")
    about = help_page.descriptions(target)
    for name, parameter in config.options(target).items():
        if group == "trainer" and name in SET_BY_PROGRAM:
            continue
        default = parameter.default
        value = "" if default is inspect.Parameter.empty else f"`{_written(default)}`"
        kind = described(parameter.annotation).replace("|", "\\|")
        text = " ".join(about.get(name, "").split()).replace("|", "\\|").replace("*", "\\*")
        yield f"| `{name}` | {value} | {kind} | {text} |"


def _written(default: Any) -> str:
    """Write a default as it is typed."""
    if default is None or isinstance(default, bool):
        return {None: "null", True: "true", False: "false"}[default]
    return str(list(default)) if isinstance(default, tuple) else str(default)
