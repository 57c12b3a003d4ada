"""The examples in the docstrings run and print what they say."""

import doctest
import importlib
import inspect
import math
from pathlib import Path

import pytest
import torch

PACKAGE = Path(__file__).resolve().parents[2] / "equinet"
MODULES = sorted(
    ".".join(("equinet", *path.relative_to(PACKAGE).with_suffix("").parts))
    for path in PACKAGE.rglob("*.py")
    if ">>>" in path.read_text()
)


@pytest.mark.parametrize("name", MODULES)
def test_examples(name: str) -> None:
    module = importlib.import_module(name)
    results = doctest.testmod(module, extraglobs={"torch": torch, "math": math})
    assert results.failed == 0
    assert results.attempted > 0


# Names that are exported and have no example of their own.
WITHOUT_EXAMPLE: set[str] = set()
ROOMS = ("models", "zoo", "training", "evaluation", "evaluation.oc20", "bench")


def exported(room: str) -> list[tuple[str, object]]:
    """Classes and functions that a room exports, by name."""
    module = importlib.import_module(f"equinet.{room}")
    found = ((name, getattr(module, name)) for name in module.__all__)
    return [
        (name, each) for name, each in found if inspect.isclass(each) or inspect.isroutine(each)
    ]


@pytest.mark.parametrize("room", ROOMS)
def test_every_exported_name_has_an_example(room: str) -> None:
    bare = {
        name
        for name, each in exported(room)
        if ">>>" not in (each.__doc__ or "") and name not in WITHOUT_EXAMPLE
    }
    assert not bare
