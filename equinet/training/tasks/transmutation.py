"""Augmentation of OC20 by random elements with zero forces (outlier exposure)."""

import copy
from typing import Any

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from equinet.elements import SYMBOLS
from equinet.models import Potential

_ADSORBATE_ELEMENTS = (1, 6, 7, 8)


def transmutable(potential: Potential) -> tuple[list[int], list[int]]:
    """Return the elements that can replace one another: those of surfaces, and H, C, N and O.

    Args:
        potential: Potential whose elements are divided.

    Returns:
        Atomic numbers of the elements of surfaces and of those of adsorbates.

    Example:
        >>> from equinet import zoo
        >>> transmutable(zoo.load("mace-gaunt-3bpa"))
        ([], [1, 6, 7, 8])
    """
    surface = [z for z in potential.elements if z not in _ADSORBATE_ELEMENTS]
    adsorbate = [z for z in potential.elements if z in _ADSORBATE_ELEMENTS]
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
    with random elements is far from the data, and zero is the best guess of its forces. Atoms that
    keep their element keep their forces, since forces inside an adsorbate differ little between
    surfaces. The adsorbate is H, C, N and O, and the surface all other elements, so the nitrogen
    of a nitride counts as part of an adsorbate.

    Args:
        graph: Batch with ``atomic_numbers`` [N], ``batch`` [N], ``energy`` [G] and
            ``forces`` [N, 3].
        surfaces: Whether the surface of each structure changes [G]. The energy becomes the sum of
            reference energies and shift.
        adsorbates: Whether the adsorbate of each structure changes [G]. The energy relative to the
            reference energies is kept, unless the surface changes too.
        potential: Potential whose elements are drawn and whose reference energies and shift are
            used; committees and fallbacks have none.
        generator: Generator of random numbers on the CPU; None for torch's global one.

    Returns:
        The batch with other ``atomic_numbers``, ``energy`` and ``forces``; other fields are shared.

    Source: Hendrycks, Mazeika, Dietterich (ICLR 2019) for outlier exposure; random elements are
    this package's own choice of outliers.

    Example:
        >>> import numpy as np
        >>> from torch_geometric.data import Batch
        >>> from equinet import zoo
        >>> from equinet.data import Frame, to_graph
        >>> model = zoo.load("mace-gaunt-3bpa")
        >>> water = Frame(
        ...     np.array([8, 1, 1]),
        ...     np.array([[0, 0, 0], [0, 0.8, 0.6], [0, -0.8, 0.6]]),
        ...     np.zeros((3, 3)),
        ...     np.zeros(3, dtype=bool),
        ...     energy=-2079.0,
        ...     forces=np.ones((3, 3)),
        ... )
        >>> batch = Batch.from_data_list([to_graph(water, model.neighborhood)])
        >>> found = transmute(batch, torch.tensor([False]), torch.tensor([True]), model)
        >>> bool((found.atomic_numbers != batch.atomic_numbers).all()), float(found.forces.sum())
        (True, 0.0)
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
    has_new_surface = torch.zeros(structures, dtype=torch.bool, device=numbers.device)
    has_new_surface[graph.batch[changed[0]]] = True
    atoms = torch.bincount(graph.batch, minlength=structures)
    before, after = (
        potential.reference_energies(potential.species(each), graph.batch, structures)
        for each in (numbers, result.atomic_numbers)
    )
    result.energy = torch.where(
        has_new_surface, after + potential.shift * atoms, graph.energy + (after - before)
    )
    return result


def _other_elements(
    elements: list[int], structures: int, generator: torch.Generator | None
) -> Int[Tensor, "structure number"]:
    """Draw the replacement of every element in every structure; 0 for other atomic numbers.

    The replacement follows a cycle through all elements in random order, so every element changes
    and different elements have different replacements.
    """
    numbers = torch.tensor(elements, dtype=torch.long)
    order = torch.rand(structures, len(numbers), generator=generator).argsort(1)
    cycle = torch.empty_like(order).scatter_(1, order, order.roll(-1, 1))
    drawn = torch.zeros(structures, len(SYMBOLS) + 1, dtype=torch.long)
    drawn[:, numbers] = numbers[cycle]
    return drawn
