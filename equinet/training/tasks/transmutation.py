"""Structures of other elements, at rest: what a force field should say of what it does not know."""

import copy
from typing import Any

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from equinet.elements import SYMBOLS
from equinet.models import Potential

_OF_ADSORBATES = (1, 6, 7, 8)


def transmutable(potential: Potential) -> tuple[list[int], list[int]]:
    """Atomic numbers that change into one another: those of surfaces, and H, C, N and O.

    Args:
        potential: Knows some elements.

    Returns:
        Elements of surfaces, elements of adsorbates. One alone cannot change.
    """
    surface = [z for z in potential.elements if z not in _OF_ADSORBATES]
    adsorbate = [z for z in potential.elements if z in _OF_ADSORBATES]
    return surface, adsorbate


def transmute(
    graph: Any,
    surfaces: Bool[Tensor, " graph"],
    adsorbates: Bool[Tensor, " graph"],
    potential: Potential,
    *,
    generator: torch.Generator | None = None,
) -> Any:
    """Copy a batch in which atoms of some structures are of other elements, and at rest.

    Few systems teach a network neither how other metals bind nor how other molecules hold
    together. Where it has seen nothing it extrapolates, to forces far larger than there are. A
    structure whose elements are drawn at random is such a place, and the best guess there is none:
    that nothing pulls on an atom out of place. Atoms that stay what they are keep their forces, as
    those inside an adsorbate are much the same on another surface.

    Args:
        graph: Batch with ``atomic_numbers``, ``batch``, ``energy`` and ``forces``.
        surfaces: Structures whose surface changes: all elements but H, C, N and O. Their energy is
            that of reference energies and shift.
        adsorbates: Structures whose H, C, N and O change. Their energy above the references stays,
            unless the surface changes too.
        potential: Its elements are drawn from, its reference energies and shift taken; none that is
            made of others, which have shifts of their own.
        generator: Source of randomness on the CPU; torch's global one by default.

    Elements tell surface from adsorbate, so the nitrogen of a nitride counts as an adsorbate's.

    Returns:
        The batch with other ``atomic_numbers``, ``energy`` and ``forces``; all else is shared.

    Source: training on examples of the unknown is outlier exposure, Hendrycks, Mazeika, Dietterich
    (ICLR 2019); drawing elements for it is this package's own.
    """
    numbers, structures = graph.atomic_numbers, len(surfaces)
    result = copy.copy(graph)
    result.atomic_numbers = numbers.clone()
    result.forces = graph.forces.clone()
    changed = []
    for chosen, elements in zip((surfaces, adsorbates), transmutable(potential), strict=True):
        drawn = _other_elements(elements, structures, generator).to(numbers.device)
        drawn = torch.where(chosen.to(numbers.device)[graph.batch], drawn[graph.batch, numbers], 0)
        changed.append((drawn > 0) & (drawn != numbers))
        result.atomic_numbers[changed[-1]] = drawn[changed[-1]]
        result.forces[changed[-1]] = 0.0
    on_strange_surface = torch.zeros(structures, dtype=torch.bool, device=numbers.device)
    on_strange_surface[graph.batch[changed[0]]] = True
    atoms = torch.bincount(graph.batch, minlength=structures)
    before, after = (
        potential.reference_energies(potential.species(each), graph.batch, structures)
        for each in (numbers, result.atomic_numbers)
    )
    result.energy = torch.where(
        on_strange_surface, after + potential.shift * atoms, graph.energy + (after - before)
    )
    return result


def _other_elements(
    elements: list[int], structures: int, generator: torch.Generator | None
) -> Int[Tensor, "structure number"]:
    """Draw what every element becomes in every structure: another one of them; 0 elsewhere.

    A cycle through all elements in random order: none stays, and different ones stay different.
    """
    kinds = torch.tensor(elements, dtype=torch.long)
    order = torch.rand(structures, len(kinds), generator=generator).argsort(1)
    cycle = torch.empty_like(order).scatter_(1, order, order.roll(-1, 1))
    drawn = torch.zeros(structures, len(SYMBOLS) + 1, dtype=torch.long)
    drawn[:, kinds] = kinds[cycle]
    return drawn
