"""Copies of trained potentials with further elements and other reference energies."""

from collections.abc import Sequence

import torch
from torch import Tensor

from equinet.models.catalog import is_made_of_others
from equinet.models.committee import Committee
from equinet.models.potential import Potential

_NOBLE = (0, 2, 10, 18, 36, 54, 86, 118)


def extended(
    model: Potential,
    *,
    elements: Sequence[int],
    reference_energies: Sequence[float],
    shift_by: float = 0.0,
) -> Potential:
    """Copy a potential, and add elements to it.

    All weights are kept. The weights of a new element are a copy of those of the known element that
    is most like it, see :func:`most_alike`, from which training moves them away.

    Args:
        model: Potential or committee to copy; it is not changed.
        elements: Atomic numbers that the copy knows, which begin with those of the model.
        reference_energies: Reference energy of each element, eV.
        shift_by: Energy that is added to the shift, eV per atom.

    Returns:
        The copy.

    Raises:
        ValueError: The elements do not begin with those of the model, or elements cannot be added
            to a model of this class.

    Example:
        >>> from equinet import zoo
        >>> model = zoo.load("mace-gaunt-3bpa")
        >>> energies = [*model.reference_energies.energies.tolist(), -10830.0]
        >>> extended(model, elements=[1, 6, 7, 8, 16], reference_energies=energies).elements
        (1, 6, 7, 8, 16)
    """
    known = model.elements
    if tuple(elements[: len(known)]) != known:
        raise ValueError(
            f"elements must begin with those of the model, {list(known)}, found {list(elements)}"
        )
    if isinstance(model, Committee):
        members = [
            extended(
                member, elements=elements, reference_energies=reference_energies, shift_by=shift_by
            )
            for member in model.members
            if isinstance(member, Potential)
        ]
        return Committee.of(members).train(model.training)
    if is_made_of_others(type(model)):
        raise ValueError(
            f"a {type(model).__name__} is made of several models; continue one of them"
        )
    arguments = {
        **model.arguments,
        "elements": [int(z) for z in elements],
        "reference_energies": [float(energy) for energy in reference_energies],
        "shift": model.shift + shift_by,
    }
    # Initial weights are drawn and replaced, without advancing the caller's random numbers.
    with torch.random.fork_rng(devices=()):
        copy = type(model)(**arguments)
    parameter = next(model.parameters())
    copy = copy.to(parameter.device, parameter.dtype)
    added = [known.index(most_alike(z, known)) for z in elements[len(known) :]]
    rows = torch.tensor([*range(len(known)), *added], device=parameter.device)
    old, state = model.state_dict(), {}
    for name, tensor in copy.state_dict().items():
        own = name.endswith("reference_energies.energies")
        state[name] = tensor if own else _grown(old[name], tensor, rows, name, len(known))
    copy.load_state_dict(state)
    return copy.train(model.training)


def most_alike(element: int, known: Sequence[int]) -> int:
    """Return the known element that is most like another one.

    Args:
        element: Atomic number of the other element.
        known: Atomic numbers to choose from.

    Returns:
        Atomic number of the nearest element of the same group; without one, the element with the
        nearest atomic number.

    Example:
        >>> most_alike(16, [1, 6, 7, 8]), most_alike(5, [1, 6, 7, 8])
        (8, 6)
    """
    same = [z for z in known if _group(z) == _group(element)]
    return min(same or known, key=lambda z: (abs(z - element), z))


def _group(element: int) -> int:
    """Group of the periodic table, from 1 to 18; 3 for all lanthanides and actinides."""
    if element == _NOBLE[1]:
        return 18
    before = max(z for z in _NOBLE if z < element)
    after = min(z for z in _NOBLE if z >= element)
    column = element - before
    return column if column <= 2 else max(18 - (after - element), 3)


def _grown(old: Tensor, new: Tensor, rows: Tensor, name: str, known: int) -> Tensor:
    """Repeat the entries of like elements along the dimensions that grow with the elements.

    Such a dimension has one block of entries for each element, one after the other.
    """
    grown = old
    for dimension, (before, after) in enumerate(zip(old.shape, new.shape, strict=True)):
        if before == after:
            continue
        if before % known or after * known != before * len(rows):
            raise ValueError(
                f"elements cannot be added to this model: {name} has the sizes {list(old.shape)} "
                f"and would have {list(new.shape)}"
            )
        blocks = grown.unflatten(dimension, (known, before // known))
        grown = blocks.index_select(dimension, rows).flatten(dimension, dimension + 1)
    return grown
