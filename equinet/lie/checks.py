"""Refuse matrices that are not elements of a group, naming the value, its place and the fix."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from equinet.lie.group import Group


def check_dimension(n: int, name: str) -> None:
    """Refuse spaces that are neither a plane nor of three dimensions.

    Args:
        n: Dimension of the space.
        name: Name of the family of groups.

    Raises:
        ValueError: If ``n`` is neither 2 nor 3.
    """
    if n not in {2, 3}:
        raise ValueError(f"n of {name}(n) must be 2 or 3, found {n}")


def check_shape(g: Float[Tensor, "*batch rows columns"], group: Group) -> None:
    """Refuse matrices of another size than the group's.

    Args:
        g: Matrices that should be elements of the group.
        group: Group that the matrices should belong to.

    Raises:
        ValueError: If the matrices have another size than those of the group.
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
        found: Value that was compared, one for each element.
        accepted: Verdict on each element, true if the value is accepted. NaN compares false and is
            refused.
        group: Group that the elements should belong to.
        requirement: Requirement that was missed, as it reads after "must have".
        fix: Advice on how to meet the requirement.

    Raises:
        ValueError: If an element is not accepted; the message names the first one.
    """
    if bool(accepted.all()):
        return
    place = torch.nonzero(~accepted)[0].tolist()
    value = float(found[tuple(place)])
    where = f"g{place}" if place else "g"
    raise ValueError(f"{where} of {group} must have {requirement}, found {value:.6g}: {fix}")
