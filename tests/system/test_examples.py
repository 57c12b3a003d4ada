"""The examples in the docstrings run and print what they say."""

import doctest
import importlib
import inspect
import logging
import math
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from equinet.errors import BackendError

PACKAGE = Path(__file__).resolve().parents[2] / "equinet"
MODULES = sorted(
    ".".join(("equinet", *path.relative_to(PACKAGE).with_suffix("").parts))
    for path in PACKAGE.rglob("*.py")
    if ">>>" in path.read_text()
)


@pytest.fixture(autouse=True)
def _keep_logging() -> Iterator[None]:
    """Undo what the example of a command changes: messages would be printed by later examples."""
    logger = logging.getLogger("equinet")
    handlers, level = list(logger.handlers), logger.level
    yield
    logger.handlers, logger.level = handlers, level
    logging.captureWarnings(capture=False)


@pytest.mark.parametrize("name", MODULES)
def test_examples(name: str) -> None:
    try:
        module = importlib.import_module(name)
    except BackendError as missing:
        pytest.skip(str(missing))
    results = doctest.testmod(module, extraglobs={"torch": torch, "math": math})
    assert results.failed == 0
    assert results.attempted > 0


FOLDERS = sorted(
    ".".join(("equinet", *path.relative_to(PACKAGE).parent.parts))
    for path in PACKAGE.rglob("__init__.py")
)


def exported(folder: str) -> dict[str, object]:
    """Classes and functions that a folder exports, by name; other folders may be loaded lazily."""
    module = importlib.import_module(folder)
    names = getattr(module, "__all__", ())
    found = {name: getattr(module, name, None) for name in names}
    return {
        name: each
        for name, each in found.items()
        if inspect.isclass(each) or inspect.isroutine(each)
    }


def runs(docstring: str) -> bool:
    """Whether a docstring holds an example that is not skipped."""
    examples = doctest.DocTestParser().get_examples(docstring)
    return any(doctest.SKIP not in example.options for example in examples)


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_exported_name_has_an_example_that_runs(folder: str) -> None:
    bare = {name for name, each in exported(folder).items() if not runs(each.__doc__ or "")}
    assert not bare, f"{folder} exports names without an example: {sorted(bare)}"
