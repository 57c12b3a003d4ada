"""Find mistakes in a configuration before torch and Lightning are imported, which takes seconds.

What is found here is found again with the signatures; nothing depends on it but the waiting time.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from equinet.configuration.duration import duration
from equinet.configuration.table_of_options import OPEN, mistake, option_table
from equinet.errors import ConfigError, DataError
from equinet.names import did_you_mean

_FILES = "equinet.data.AtomisticFiles"
_SOURCES = ("train", "val", "test", "replay", "isolated_atoms")


def check_early(name: str, tree: Mapping[str, Any]) -> None:
    """Refuse values of a wrong kind, unknown options, and files, models or devices that are absent.

    Args:
        name: Name of the command, ``train``, ``evaluate`` or ``sample``.
        tree: Plain configuration as it was composed.

    Raises:
        ConfigError: An option is unknown or a value is of the wrong kind, or there is no such model
            or device.
        DataError: A file of structures is not there.

    Example:
        >>> check_early("train", {"optim": {"_target_": "equinet.training.Muon", "lr": 0.01}})
    """
    for place, node in (("", {"_target_": f"equinet.{name}", **_flat(tree)}), *_targets(tree)):
        _check_kinds(node, place)
    trainer = tree.get("trainer") or {}
    duration(trainer.get("max_time"))
    data = tree.get("data") or {}
    for source in _sources(name, data):
        if not source.expanduser().exists():
            raise DataError(f"{source}: not there; check the path")
    for key in ("checkpoint", "init"):
        if tree.get(key) is not None:
            _check_model(str(tree[key]))


def _check_kinds(node: Mapping[str, Any], place: str) -> None:
    """Compare the values below one target with the table."""
    target = str(node["_target_"])
    known = option_table().get(target, {OPEN: ""})
    for key, value in node.items():
        path = f"{place}.{key}" if place else key
        if key in known:
            if reason := mistake(value, known[key]):
                raise ConfigError(f"{path}: {reason}")
        # Lightning and torch may have got options since the table was written.
        elif place and OPEN not in known and target.startswith("equinet.") and key[0] != "_":
            short = target.rpartition(".")[2]
            raise ConfigError(f"{place}: {short} has no option {key!r}{did_you_mean(key, known)}")


def _targets(tree: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the nodes that name a class, with their places."""
    for key, node in tree.items():
        if isinstance(node, Mapping):
            place = f"{path}{key}"
            if "_target_" in node:
                yield place, node
            yield from _targets(node, f"{place}.")


def _flat(tree: Mapping[str, Any], path: str = "") -> dict[str, Any]:
    """Return the values that belong to no class by their dotted keys."""
    found: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping) and "_target_" not in value:
            found |= _flat(value, f"{path}{key}.")
        else:
            found[f"{path}{key}"] = value
    return found


def _sources(name: str, data: Mapping[str, Any]) -> Iterator[Path]:
    """Yield the files of structures that a configuration names."""
    if name == "evaluate":
        yield from map(Path, _texts(data.get("file")))
    elif data.get("_target_") == _FILES:
        root = Path(data.get("root") or "").expanduser()
        for key in _SOURCES:
            for text in _texts(data.get(key)):
                yield root / Path(text).expanduser()


def _texts(value: Any) -> Iterator[str]:
    """Yield the texts in a text, a list or a mapping."""
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, Sequence) and not isinstance(value, str):
        for each in value:
            yield from _texts(each)
    elif isinstance(value, str):
        yield value


def _check_model(name: str) -> None:
    """Refuse a model that is neither a folder nor in the zoo, whose room would import torch."""
    index = Path(__file__).parents[1] / "zoo" / "index.json"
    names = [entry["name"] for entry in json.loads(index.read_text(encoding="utf-8"))]
    if name not in names and not Path(name).expanduser().exists():
        hint = did_you_mean(name, names) or f"; the zoo has {', '.join(names)}"
        raise ConfigError(f"there is no folder or zoo model {name!r}{hint}")
