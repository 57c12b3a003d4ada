"""Packages beside equinet that bring models, data modules, tasks and callbacks.

A package registers a dotted module prefix under the entry point group ``equinet.plugins``::

    [project.entry-points."equinet.plugins"]
    mine = "my_package"

From then on a configuration may name classes below that prefix, as in
``_target_: my_package.networks.Net``, and model cards may too.
"""

import importlib
import inspect
from importlib import metadata
from typing import Any, TypeGuard

GROUP = "equinet.plugins"
"""Name of the entry point group."""


def prefixes() -> tuple[str, ...]:
    """List the module prefixes that installed packages register, sorted.

    Example:
        >>> isinstance(prefixes(), tuple)
        True
    """
    return tuple(sorted({entry.value for entry in metadata.entry_points(group=GROUP)}))


def is_registered(target: str) -> bool:
    """Whether a dotted name lies below a registered prefix and names nothing private.

    Args:
        target: Dotted name of a class.
    """
    public = not any(part.startswith("_") for part in target.split("."))
    return public and any(target.startswith(f"{prefix}.") for prefix in prefixes())


def is_concrete(found: Any, bases: tuple[type, ...]) -> TypeGuard[type[Any]]:
    """Whether something is a class below one of some bases that leaves no method abstract.

    Args:
        found: Whatever a module holds.
        bases: Classes of which it must be a subclass; they themselves do not count.
    """
    if not inspect.isclass(found) or not issubclass(found, bases) or found in bases:
        return False
    # Not all bases are made by ABCMeta, which would know.
    methods = (getattr(found, name, None) for name in dir(found))
    return not any(getattr(method, "__isabstractmethod__", False) for method in methods)


def find_class(target: str, bases: tuple[type, ...]) -> type[Any] | None:
    """Import a class of a registered package.

    Args:
        target: Dotted name: a module at or below a registered prefix, a point, a class.
        bases: Classes of which it must be a subclass.

    Returns:
        The class; None where the name is not registered, is no class with such a base, is abstract,
        or was merely imported into that module from elsewhere.

    Raises:
        ImportError: The module exists and something it needs does not.
    """
    if not is_registered(target):
        return None
    module_name, _, name = target.rpartition(".")
    try:
        found = getattr(importlib.import_module(module_name), name, None)
    except ModuleNotFoundError as error:
        # A missing dependency of an existing module is a different mistake.
        if error.name is None or not module_name.startswith(error.name):
            raise
        return None
    if not is_concrete(found, bases):
        return None
    return found if is_registered(f"{found.__module__}.{found.__qualname__}") else None
