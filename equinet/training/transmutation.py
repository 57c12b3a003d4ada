"""Structures of other elements, at rest: what a force field should say of what it does not know."""

import copy
from typing import Any

import torch
from jaxtyping import Bool
from torch import Tensor

from equinet.elements import SYMBOLS
from equinet.models import Potential

_OF_ADSORBATES = (1, 6, 7, 8)


def transmutable(potential: Potential) -> tuple[int, ...]:
    """Atomic numbers that :func:`transmute` exchanges: all but H, C, N and O.

    Args:
        potential: Knows some elements.
    """
    return tuple(z for z in potential.elements if z not in _OF_ADSORBATES)


def transmute(
    graph: Any,
    chosen: Bool[Tensor, " graph"],
    potential: Potential,
    *,
    generator: torch.Generator | None = None,
) -> Any:
    """Copy a batch in which some structures are made of other elements, and at rest.

    Few systems do not teach a network how other metals bind. Where it has seen nothing it
    extrapolates, to forces far larger than there are. A structure whose elements are drawn at
    random is such a place, and the best guess there is none: that nothing pulls, and the energy is
    that of reference energies and shift.

    Args:
        graph: Batch with ``atomic_numbers``, ``batch``, ``energy`` and ``forces``.
        chosen: Structures to change. Atoms of one element get one other element, atoms of different
            elements different ones; H, C, N and O, of which adsorbates are made, stay.
        potential: Its elements are drawn from; reference energies and shift are its own.
        generator: Source of randomness on the CPU; torch's global one by default.

    Returns:
        The batch with other ``atomic_numbers``, ``energy`` and ``forces``; all else is shared.

    Source: training on examples of the unknown is outlier exposure, Hendrycks, Mazeika, Dietterich
    (ICLR 2019); drawing elements for it is this package's own.
    """
    numbers = graph.atomic_numbers
    kinds = torch.tensor(transmutable(potential), device=numbers.device)
    place = torch.full((len(SYMBOLS) + 1,), -1, device=numbers.device)
    place[kinds] = torch.arange(len(kinds), device=numbers.device)
    # A cycle through all elements in random order: no element stays.
    order = torch.rand(len(chosen), len(kinds), generator=generator).argsort(1)
    cycle = torch.empty_like(order).scatter_(1, order, order.roll(-1, 1)).to(numbers.device)

    changed = chosen.to(numbers.device)
    of_changed = changed[graph.batch]
    moving = of_changed & (place[numbers] >= 0)
    result = copy.copy(graph)
    result.atomic_numbers = numbers.clone()
    result.atomic_numbers[moving] = kinds[cycle[graph.batch[moving], place[numbers[moving]]]]
    result.forces = torch.where(of_changed[:, None], 0.0, graph.forces)
    species = potential.species(result.atomic_numbers)
    atoms = torch.bincount(graph.batch, minlength=len(chosen))
    rest = potential.reference_energies(species, graph.batch, len(chosen)) + potential.shift * atoms
    result.energy = torch.where(changed, rest, graph.energy)
    return result
