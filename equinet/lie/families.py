"""Groups by the names that configurations use."""

from collections.abc import Callable

from equinet.lie.affine import SE, Affine, Sim
from equinet.lie.linear import CSO, GL, SL, SO, LinearGroup
from equinet.names import named


def named_group(name: str) -> LinearGroup | Affine:
    """Return a group by its name.

    Args:
        name: Name of a family followed by the dimension of the space: ``so2``, ``cso2``, ``sl2``,
            ``gl2``, ``se2``, ``sim2``, or with 3.

    Returns:
        The group.

    Raises:
        ValueError: If the name is unknown; the message offers the nearest one.

    Example:
        >>> named_group("sl2")
        SL(2)
    """
    families: dict[str, Callable[[int], LinearGroup | Affine]] = {
        "so": SO,
        "cso": CSO,
        "sl": SL,
        "gl": GL,
        "se": SE,
        "sim": Sim,
    }
    groups = {f"{family}{n}": (make, n) for family, make in families.items() for n in (2, 3)}
    make, n = named(name, groups, "group")
    return make(n)
