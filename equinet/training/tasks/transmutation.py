"""Augmentation of OC20 by random elements with zero forces (outlier exposure)."""

import copy
from typing import Any

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from equinet.elements import SYMBOLS
from equinet.models import Potential

_OF_ADSORBATES = (1, 6, 7, 8)


def transmutable(potential: Potential) -> tuple[list[int], list[int]]:
    """Return the atomic numbers that can replace one another: those of surfaces, and H, C, N, O.

    Args:
        potential: Potential, which knows some elements.

    Returns:
        Elements of surfaces and elements of adsorbates. A single element has no replacement.
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
    """Copy a batch in which atoms of some structures get other elements and zero forces.

    Far from its training data a network extrapolates to forces that are much too large. A structure
    with randomly drawn elements is far from the data, and zero is the best guess of its forces.
    Atoms whose element stays keep their forces, since those inside an adsorbate change little on
    another surface.

    Args:
        graph: Batch with ``atomic_numbers``, ``batch``, ``energy`` and ``forces``.
        surfaces: Whether the surface of each structure changes, which is all elements but H, C, N
            and O. Its energy becomes the sum of reference energies and shift.
        adsorbates: Whether H, C, N and O of each structure change. The energy relative to the
            reference energies stays, unless the surface changes too.
        potential: Potential whose elements are drawn and whose reference energies and shift are
            used; a potential that is made of others has none.
        generator: Source of randomness on the CPU; None for torch's global one.

    Surface and adsorbate are told apart by element, so the nitrogen of a nitride counts as part of
    an adsorbate.

    Returns:
        The batch with other ``atomic_numbers``, ``energy`` and ``forces``; other fields are shared.

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
    """Draw the replacement of every element in every structure; 0 for other atomic numbers.

    It is a cycle through all elements in random order: every element changes, and different
    elements stay different.
    """
    kinds = torch.tensor(elements, dtype=torch.long)
    order = torch.rand(structures, len(kinds), generator=generator).argsort(1)
    cycle = torch.empty_like(order).scatter_(1, order, order.roll(-1, 1))
    drawn = torch.zeros(structures, len(SYMBOLS) + 1, dtype=torch.long)
    drawn[:, kinds] = kinds[cycle]
    return drawn
