"""Sections of a report on checks, times, machine, versions, commands and configuration."""

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from equinet.evaluation.report.contents import Contents
from equinet.evaluation.report.markup import Content, Markup, element


def checks(contents: Contents) -> Markup | None:
    """Tell what was measured on the first batch.

    Args:
        contents: Content of the report.
    """
    found = contents.report.checks
    return _section("Checks on the first batch", _pairs(found)) if found else None


def timings(contents: Contents) -> Markup | None:
    """Tell how long the parts of the work took.

    Args:
        contents: Content of the report.
    """
    found = contents.report.timings
    return _section("Times", _pairs(found)) if found else None


def reproduction(contents: Contents) -> Markup | None:
    """Tell the commands, the configuration, the versions and the machine.

    Args:
        contents: Content of the report.
    """
    stamp = contents.stamp
    parts: list[Content] = []
    commands = [each["command"] for each in (stamp, *stamp.get("resumed", ())) if each]
    if commands:
        lines = "\n".join(dict.fromkeys(shlex.join(words) for words in commands))
        parts += [element("h3", "Commands"), element("pre", lines, tabindex=0)]
    if stamp:
        parts += [element("h3", "Environment"), _pairs(_environment(stamp))]
    if contents.configuration:
        text = contents.configuration.rstrip()
        parts += [element("h3", "Configuration"), element("pre", text, tabindex=0)]
    return _section("How to reproduce it", *parts) if parts else None


def _environment(stamp: Mapping[str, Any]) -> list[tuple[str, str]]:
    """List the entries of a record that name the machine, the versions and the data."""
    hardware = stamp.get("hardware", {})
    is_dirty = "with changes that are not committed" if stamp.get("dirty") else ""
    found = [
        ("started", stamp.get("time")),
        ("machine", stamp.get("hostname")),
        ("processor", hardware.get("cpu")),
        ("cores, threads", _both(hardware.get("cores"), hardware.get("threads"))),
        ("GPUs", ", ".join(hardware.get("gpus", ()))),
        ("platform", stamp.get("platform")),
        ("versions", ", ".join(f"{key} {each}" for key, each in stamp.get("versions", {}).items())),
        ("commit", " ".join(part for part in (stamp.get("commit"), is_dirty) if part)),
        ("seed", stamp.get("seed")),
        ("checksum of the data", stamp.get("data_fingerprint")),
    ]
    return [(name, str(value)) for name, value in found if value not in {None, ""}]


def _both(first: object, second: object) -> str:
    return "" if first is None or second is None else f"{first}, {second}"


def _pairs(pairs: Sequence[tuple[str, str]]) -> Markup:
    parts = [part for name, value in pairs for part in (element("dt", name), element("dd", value))]
    return element("dl", *parts)


def _section(title: str, *content: Content) -> Markup:
    return element("section", element("h2", title), *content)
