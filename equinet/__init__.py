"""Equivariant networks from one idea: a feature is a function on a homogeneous space."""

import importlib
from types import ModuleType

__version__ = "0.1.0"

_ROOMS = ("data", "errors", "integrations", "lie", "models", "nn", "o3", "ops", "testing", "zoo")

__all__ = ["__version__", *_ROOMS]  # noqa: PLE0604 - a tuple of names


def __getattr__(name: str) -> ModuleType:
    """Import a subpackage on first use, so that ``import equinet`` stays light."""
    if name in _ROOMS:
        return importlib.import_module(f"{__name__}.{name}")
    message = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(message)


def __dir__() -> list[str]:
    """List the public names, loaded or not."""
    return list(__all__)
