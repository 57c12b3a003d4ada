"""Members of committees and fallbacks: describe, build and copy them."""

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeGuard, TypeVar

import torch
from torch import nn

from equinet.models.base import Model
from equinet.models.catalog import all_models, find_model, is_made_of_others, name_of_model
from equinet.models.potential import Potential

_Whole = TypeVar("_Whole", bound=Potential)


def can_be_member(kind: type[Model]) -> TypeGuard[type[Potential]]:
    """Tell whether a model is a potential that is not itself made of other models.

    Args:
        kind: Class of the model.
    """
    return issubclass(kind, Potential) and not is_made_of_others(kind)


def describe_member(model: Potential) -> dict[str, Any]:
    """Describe a potential by its class and arguments, from which it can be built.

    Args:
        model: Potential that is not made of other models.

    Raises:
        ValueError: The class of the model cannot be found by its name, or the model is made of
            other models.
    """
    name = name_of_model(type(model))
    if not can_be_member(type(model)):
        raise ValueError(
            f"networks that are trained side by side must be of {_names()}, found {name}; train "
            "this model alone"
        )
    return {"class": name, "arguments": model.arguments}


def build_members(members: Sequence[Mapping[str, Any]]) -> list[Potential]:
    """Build potentials that can be joined, with initial weights.

    Args:
        members: Description of each member: its ``class``, by name, and its ``arguments``, as in
            the card of a model.

    Raises:
        ValueError: A class is not a potential of equinet.models or is made of other models, or
            members differ in elements, neighborhood or symmetry.
    """
    models = [_build(member, number) for number, member in enumerate(members, 1)]
    for number, model in enumerate(models[1:], 2):
        _check_fit(models[0], model, number)
    return models


def from_trained(
    whole: Callable[..., _Whole], models: Sequence[Potential], **arguments: Any
) -> _Whole:
    """Make a potential of copies of trained ones, which are its ``members``.

    Args:
        whole: Class to build, whose argument ``members`` is that of :func:`build_members`.
        models: Trained potentials to copy.
        arguments: Further arguments of the constructor.

    Raises:
        ValueError: The models cannot be joined, or differ in dtype.
    """
    for number, model in enumerate(models[1:], 2):
        if model.dtype != models[0].dtype:
            raise ValueError(
                f"members must have one dtype: number {number} is {model.dtype}, the first "
                f"{models[0].dtype}; convert one with .to(dtype)"
            )
    described = [{"class": name_of_model(type(m)), "arguments": m.arguments} for m in models]
    # Initial weights are drawn and replaced, without advancing the caller's random numbers.
    with torch.random.fork_rng(devices=()):
        result = whole(members=described, **arguments)
    result.members = nn.ModuleList(copy.deepcopy(list(models)))
    return result.to(next(models[0].parameters()).device).train(models[0].training)


def _build(member: Mapping[str, Any], number: int) -> Potential:
    if not (isinstance(member.get("arguments"), Mapping) and "class" in member):
        raise ValueError(f"members must have a class and arguments, found {dict(member)}")
    kind = find_model(str(member["class"]))
    if kind is None or not can_be_member(kind):
        raise ValueError(
            f"members must be of {_names()}; number {number} is a {member['class']}; "
            "a model that is made of other models cannot be a member"
        )
    return kind(**member["arguments"])


def _names() -> str:
    return ", ".join(name for name, kind in all_models().items() if can_be_member(kind))


def _check_fit(first: Potential, model: Potential, number: int) -> None:
    """Refuse a member with elements, neighborhood or symmetry that differ from the first's."""
    if model.elements != first.elements:
        raise ValueError(
            f"members must know the same elements in the same order: number {number} knows "
            f"{list(model.elements)}, the first {list(first.elements)}; train both on the same data"
        )
    if model.neighborhood != first.neighborhood:
        raise ValueError(
            f"members must share their graphs: number {number} has {model.neighborhood!r}, "
            f"the first {first.neighborhood!r}; train both with one cutoff and max_neighbors"
        )
    if model.conservative != first.conservative:
        raise ValueError(
            f"members must all have forces that are gradients, or none: number {number} differs "
            "from the first"
        )
    mine, other = first.symmetry, model.symmetry
    alike = mine is other if mine is None or other is None else torch.equal(mine, other)
    if not alike:
        raise ValueError(
            f"members must have the same symmetry: number {number} differs from the first in its "
            "grid of orientations"
        )
