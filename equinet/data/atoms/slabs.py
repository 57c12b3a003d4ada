"""Structures of metal slabs with an adsorbed atom or molecule, without labels."""

from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from equinet.data.atoms.frames import ase_library

if TYPE_CHECKING:
    import ase

FACETS = {"fcc111": (2, 2, 3), "fcc100": (2, 2, 3), "fcc110": (2, 2, 4), "fcc211": (3, 2, 3)}
"""Repetitions of the unit cell by name of ASE's builder; the slabs have 12 to 18 atoms."""

_VACUUM = 7.0  # Å, above the slab and below it
_NEAREST = (0.85, 1.1)  # distance from adsorbate to surface, in sums of two covalent radii


def metal_slab(facet: str, formula: str, rng: np.random.Generator) -> "ase.Atoms":
    """Cut a slab of a face-centered cubic metal or random alloy.

    Tags are those of OC20 (0 below, 1 at the surface). Atoms with tag 0 are fixed: the lowest third
    of the layers, or one layer of four. The lattice constant of an alloy is the mean of those of
    its metals.

    Args:
        facet: Name of a facet in :data:`FACETS`, such as ``"fcc111"``.
        formula: Chemical formula such as ``"Cu"`` or ``"Cu3Au"``; the slab has this composition,
            rounded to whole atoms.
        rng: Random numbers for the places of the metals of an alloy.

    Returns:
        Atoms that are periodic in all directions, without a calculator.

    Example:
        >>> slab = metal_slab("fcc111", "Cu3Au", np.random.default_rng(0))
        >>> slab.get_chemical_formula(), slab.get_tags().tolist()
        ('Au3Cu9', [0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1])
    """
    ase = ase_library()
    from ase import build
    from ase.constraints import FixAtoms

    shares = ase.formula.Formula(formula).count()
    metals = list(shares)
    total = sum(shares.values())
    constants = [ase.data.reference_states[ase.data.atomic_numbers[m]]["a"] for m in metals]
    mean = sum(shares[m] * a for m, a in zip(metals, constants, strict=True)) / total
    slab = getattr(build, facet)(metals[0], FACETS[facet], a=mean, vacuum=_VACUUM)
    order, start = rng.permutation(len(slab)), 0
    for metal in metals[1:]:
        count = round(len(slab) * shares[metal] / total)
        slab.symbols[order[start : start + count]] = metal
        start += count
    layers, layer = np.unique(slab.positions[:, 2].round(3), return_inverse=True)
    slab.set_tags((layer >= len(layers) // 3).astype(int))
    slab.set_constraint(FixAtoms(mask=slab.get_tags() == 0))
    slab.pbc = True
    return slab


def adsorb(slab: "ase.Atoms", name: str, rng: np.random.Generator) -> "ase.Atoms":
    """Put an atom or a molecule at a random place on a slab, as near as covalent radii allow.

    A molecule binds with its first carbon, or else with its first atom that is not hydrogen. The
    other atoms point away from the slab, and the rotation about the normal is random.

    Args:
        slab: Slab from :func:`metal_slab`, which is not changed.
        name: Symbol of an element, or name of a molecule that :func:`ase.build.molecule` knows.
        rng: Random numbers for the place, the rotation and the distance.

    Returns:
        A copy of the slab, followed by the atoms of the adsorbate, which have tag 2.
    """
    ase = ase_library()
    from ase import build

    alone = name in ase.data.atomic_numbers
    guest = ase.Atoms(name) if alone else build.molecule(name)
    binds = _binding_atom(guest.get_chemical_symbols())
    guest.positions -= guest.positions[binds]
    up = guest.positions.mean(axis=0)
    if np.linalg.norm(up) > 0.05:  # Å; other molecules lie flat on the surface
        guest.rotate(up, "z")
    guest.rotate(rng.uniform(0, 360), "z")
    guest.positions += rng.uniform(size=2) @ slab.cell[:2]
    guest.positions[:, 2] += _height(slab, guest, rng.uniform(*_NEAREST))
    guest.set_tags(2)
    joint = slab.copy()
    joint.extend(guest)
    return joint


def _binding_atom(symbols: list[str]) -> int:
    heavy = [index for index, symbol in enumerate(symbols) if symbol != "H"]
    carbon = [index for index in heavy if symbols[index] == "C"]
    return next(iter(carbon or heavy), 0)


def _height(slab: "ase.Atoms", guest: "ase.Atoms", nearest: float) -> float:
    """Return how far to raise an adsorbate so that it has a given distance from the surface."""
    radii = ase_library().data.covalent_radii
    images = np.array([(i, j, 0) for i in (-1, 0, 1) for j in (-1, 0, 1)]) @ slab.cell.array
    hosts: Float[np.ndarray, "image atom 3"] = slab.positions + images[:, None]
    apart = nearest * (radii[guest.numbers][:, None, None] + radii[slab.numbers])
    across = guest.positions[:, None, None] - hosts
    room = apart**2 - (across[..., :2] ** 2).sum(-1)
    raised = np.sqrt(np.maximum(room, 0)) - across[..., 2]
    return float(raised[room > 0].max())
