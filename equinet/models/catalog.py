"""Find models by name: those of ``equinet.models`` and those of registered packages."""

import inspect

from equinet import plugins
from equinet.errors import ConfigError
from equinet.models.base import Model

_ROOM = "equinet.models"


def all_models() -> dict[str, type[Model]]:
    """Return the models of this package by name: of the class, or dotted if it is not exported.

    Example:
        >>> "MACEGaunt" in all_models()
        True
    """
    found = plugins.classes_of(_ROOM, _ROOM, (Model,))
    exported = {f"{_ROOM}.{each.__name__}": each.__name__ for each in found.values()}
    return {exported.get(name, name): each for name, each in found.items()}


def find_model(name: str) -> type[Model] | None:
    """Return the model that a card names.

    Args:
        name: Name of a class that ``equinet.models`` exports, or dotted name of a class in one of
            its modules or of a registered package, see :mod:`equinet.plugins`.

    Returns:
        The class; None where there is no such model.

    Example:
        >>> find_model("MACEGaunt").__name__
        'MACEGaunt'
    """
    models = all_models()
    by_place = {_place(kind): kind for kind in models.values()}
    return models.get(name) or by_place.get(name) or plugins.find_class(name, (Model,))


def name_of_model(kind: type[Model]) -> str:
    """Return the name by which a card can name a model.

    Args:
        kind: Class of the model.

    Raises:
        ConfigError: The class is neither of a module of ``equinet.models`` nor of a registered
            package, so a saved model could not be loaded.

    Example:
        >>> name_of_model(find_model("Ponita"))
        'Ponita'
    """
    dotted = _place(kind)
    for name in (kind.__name__, dotted):
        if find_model(name) is kind:
            return name
    raise ConfigError(
        f"model must be one of {', '.join(sorted(all_models()))}, or of a package registered under "
        f"the entry point group {plugins.GROUP!r}, to be loaded again; found {dotted}"
    )


def is_made_of_others(kind: type[Model]) -> bool:
    """Tell whether a model takes other models as its members.

    Args:
        kind: Class of the model.

    Example:
        >>> is_made_of_others(find_model("Committee")), is_made_of_others(find_model("MACEGaunt"))
        (True, False)
    """
    return "members" in inspect.signature(kind).parameters


def _place(kind: type[Model]) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"
