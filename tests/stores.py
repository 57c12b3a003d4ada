"""Conversions that the tests of the store have in common."""

from pathlib import Path
from typing import Any

from equinet.data.store import convert


def run(source: Path, store: Path, **options: Any) -> Any:
    """Convert to the end, and return the last step."""
    return list(convert(source, store, **options))[-1]


def content_of(store: Path) -> dict[str, bytes]:
    """Read all files of a folder."""
    return {path.name: path.read_bytes() for path in store.rglob("*") if path.is_file()}
