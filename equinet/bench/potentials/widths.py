"""Sizes of a network from which other libraries build one of the same widths."""

import inspect
from typing import Any

from equinet.models import MACEGaunt, Potential

_NAMES = (
    *("average_neighbors", "channels", "layers", "lmax_filter", "lmax_hidden", "correlation"),
    *("radial_basis", "radial_hidden", "readout_hidden"),
)


def widths_of(model: Potential) -> dict[str, Any] | None:
    """Return what a MACE of the same widths is built from, in plain JSON.

    Args:
        model: Potential of any class.

    Returns:
        Elements, cutoff, reference energies, channels, degrees, correlation and widths of a
        :class:`equinet.models.MACEGaunt`; None for other classes, which have no counterpart.

    Example:
        >>> from equinet import zoo
        >>> widths_of(zoo.load("mace-gaunt-3bpa"))["channels"]
        64
    """
    if not isinstance(model, MACEGaunt):
        return None
    signature = inspect.signature(type(model))
    defaults = {name: each.default for name, each in signature.parameters.items()}
    given = {**defaults, **model.arguments}
    return {
        "elements": list(model.elements),
        "cutoff": model.cutoff,
        "reference_energies": [float(energy) for energy in given["reference_energies"]],
        **{name: given[name] for name in _NAMES},
        "radial_hidden": list(given["radial_hidden"]),
    }
