"""The examples in the docstrings run and print what they say."""

import doctest
import importlib
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
