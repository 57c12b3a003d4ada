"""Packages that add models, data modules, tasks and callbacks to equinet.

A package registers a dotted module prefix under the entry point group ``equinet.plugins``::

    [project.entry-points."equinet.plugins"]
    mine = "my_package"

From then on a configuration may name classes below that prefix, as in
``_target_: my_package.networks.Net``, and model cards may too.
"""

import importlib
import inspect
import pkgutil
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
    """Tell whether a dotted name lies below a registered prefix and names nothing private.

    Args:
        target: Dotted name of a class.

    Example:
        >>> is_registered("os.path.join")
        False
    """
    public = not any(part.startswith("_") for part in target.split("."))
    return public and any(target.startswith(f"{prefix}.") for prefix in prefixes())


def is_concrete(found: Any, bases: tuple[type, ...]) -> TypeGuard[type[Any]]:
    """Tell whether something is a class below one of some bases that leaves no method abstract.

    Args:
        found: Object that a module holds, of any type.
        bases: Classes of which it must be a subclass; the bases themselves do not count.

    Example:
        >>> is_concrete(dict, (object,)), is_concrete(3, (object,))
        (True, False)
    """
    if not inspect.isclass(found) or not issubclass(found, bases) or found in bases:
        return False
    # `inspect.isabstract` would miss bases without the metaclass ABCMeta.
    methods = (getattr(found, name, None) for name in dir(found))
    return not any(getattr(method, "__isabstractmethod__", False) for method in methods)


def classes_of(room: str, folder: str, bases: tuple[type, ...]) -> dict[str, type[Any]]:
    """Find the classes with some bases in a room of equinet, by the names that files call them.

    A class that the room exports has the name of the export; any other class has the name of the
    module of the folder that defines it, as in ``equinet.models.mine.Mine``.

    Args:
        room: Dotted name of the room, such as ``equinet.data``.
        folder: Dotted name of the room, or of a folder in it, whose modules are searched.
        bases: Classes of which a class must be a subclass; abstract classes are left out.

    Example:
        >>> from equinet.models import Model
        >>> sorted(classes_of("equinet.models", "equinet.models", (Model,)))[0]
        'equinet.models.Committee'
    """
    door = importlib.import_module(room)
    found = {f"{room}.{name}": getattr(door, name) for name in door.__all__}
    found = {name: each for name, each in found.items() if is_concrete(each, bases)}
    exported = set(found.values())
    for place in pkgutil.iter_modules(importlib.import_module(folder).__path__):
        module = importlib.import_module(f"{folder}.{place.name}")
        found |= {
            f"{module.__name__}.{name}": each
            for name, each in vars(module).items()
            if not name.startswith("_")
            and is_concrete(each, bases)
            and each.__module__ == module.__name__
            and each not in exported
        }
    return found


def find_class(target: str, bases: tuple[type, ...]) -> type[Any] | None:
    """Import a class of a registered package.

    Args:
        target: Dotted name of the class, in a module at or below a registered prefix.
        bases: Classes of which the class must be a subclass.

    Returns:
        The class; None where the name is not registered, is not a class with such a base, is
        abstract, or is imported into that module from a package that is not registered.

    Raises:
        ImportError: The module exists, and something that it imports does not.

    Example:
        >>> find_class("os.PathLike", (object,)) is None
        True
    """
    if not is_registered(target):
        return None
    module_name, _, name = target.rpartition(".")
    try:
        found = getattr(importlib.import_module(module_name), name, None)
    except ModuleNotFoundError as error:
        # An existing module that lacks a dependency must not pass for a misspelled name.
        if error.name is None or not module_name.startswith(error.name):
            raise
        return None
    if not is_concrete(found, bases):
        return None
    return found if is_registered(f"{found.__module__}.{found.__qualname__}") else None
