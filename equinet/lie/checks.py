"""Refuse what is no element of a group, naming the value, its place and the fix."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from equinet.lie.group import Group


def check_dimension(n: int, name: str) -> None:
    """Refuse spaces that are neither a plane nor of three dimensions.

    Args:
        n: Dimension of the space.
        name: Of the group's family.

    Raises:
        ValueError: N is neither 2 nor 3.
    """
    if n not in {2, 3}:
        raise ValueError(f"n of {name}(n) must be 2 or 3, found {n}")


def check_shape(g: Float[Tensor, "*batch rows columns"], group: Group) -> None:
    """Refuse matrices of another size than the group's.

    Args:
        g: The matrices.
        group: Which they should belong to.

    Raises:
        ValueError: The shape is another.
    """
    if g.shape[-2:] != (group.size, group.size):
        raise ValueError(
            f"g of {group} must have shape [..., {group.size}, {group.size}], found {list(g.shape)}"
        )


def refuse(
    found: Float[Tensor, "*batch"],
    accepted: Bool[Tensor, "*batch"],
    group: Group,
    requirement: str,
    fix: str,
) -> None:
    """Refuse elements that miss a requirement.

    Args:
        found: Value that was compared, per element.
        accepted: Whether it will do; NaN compares false and is refused.
        group: Which the elements should belong to.
        requirement: What they must have.
        fix: What to do about it.

    Raises:
        ValueError: One will not do; names the first.
    """
    if bool(accepted.all()):
        return
    place = torch.nonzero(~accepted)[0].tolist()
    value = float(found[tuple(place)])
    where = f"g{place}" if place else "g"
    raise ValueError(f"{where} of {group} must have {requirement}, found {value:.6g}: {fix}")
