"""Small labeled sets made on the spot with ASE's effective-medium-theory potential.

They let every experiment run without a download. EMT is a fast, smooth, many-body potential with
parameters for Al, Cu, Ag, Au, Ni, Pd, Pt and, crudely, H, C, N and O: good to learn from, of no
chemical value. None of these sets is a benchmark.
"""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from equinet.data.frames import Frame, ase_library, frames_from_atoms

if TYPE_CHECKING:
    import ase

_METALS = ("Cu", "Ag", "Au", "Ni", "Pd", "Pt")
_ADSORBATES = ("H", "C", "N", "O", "CO")
_FACETS = {
    "fcc111": (3, ("ontop", "bridge", "fcc", "hcp")),
    "fcc100": (3, ("ontop", "bridge", "hollow")),
    "fcc110": (4, ("ontop", "longbridge", "shortbridge", "hollow")),
}
_RELAXED, _RATTLED = 7, 10  # frames per system
_MOLECULES = (
    *("CH3CH2OH", "CH3CONH2", "C5H5N", "CH3COOH", "CH3CH2NH2", "C6H6"),
    *("H2CCO", "C4H4O", "C4H4NH", "CH3OCH3", "CH3CHO", "CH3CN"),
)
_FRAMES_PER_MOLECULE = 30
_LARGEST_FORCE = 10.0  # eV/Å, of a component; a few frames beyond would rule the loss


def make_surfaces(seed: int = 0) -> dict[str, list[Frame]]:
    """Make fcc slabs with an adsorbate, relaxed a few steps and rattled.

    Every metal (Cu, Ag, Au, Ni, Pd, Pt) and facet (111, 100, 110; 12 or 16 metal atoms) carries
    two of the adsorbates H, C, N, O, CO: 36 systems of 17 frames. Atoms below the two topmost
    layers are fixed. Tags are those of OC20: 0 fixed, 1 surface, 2 adsorbate.

    Args:
        seed: Of sites, heights, displacements and splits.

    Returns:
        ``train`` (400 frames) and ``val`` (50) and ``test_id`` (60) of the same 30 systems, and
        ``test_ood`` (102) of 6 other systems, one of each metal.

    Raises:
        BackendError: ASE is not installed.
    """
    rng = np.random.default_rng([seed, 1])
    inside: list[Frame] = []
    outside: list[Frame] = []
    for metal, adsorbate, builder, held_out in _systems():
        slab = _slab(metal, builder, adsorbate, rng)
        (outside if held_out else inside).extend(_relaxed_and_rattled(slab, rng))
    order = rng.permutation(len(inside))
    shuffled = [inside[index] for index in order]
    return {
        "train": shuffled[:400],
        "val": shuffled[400:450],
        "test_id": shuffled[450:],
        "test_ood": outside,
    }


def make_relaxations(seed: int = 0, *, each: int = 5) -> dict[str, list[Frame]]:
    """Place adsorbates on the slabs of :func:`make_surfaces` and relax them.

    Args:
        seed: Of sites, heights, displacements and splits.
        each: Structures of each of the 36 systems.

    Returns:
        ``train``, ``val`` and ``test_id`` (seven, one and two tenths of the same 30 systems) and
        ``test_ood`` (6 other systems): initial structures with their raw forces, whose ``energy``
        is that of the relaxed structure.

    Raises:
        BackendError: ASE is not installed.
    """
    rng = np.random.default_rng([seed, 3])
    inside: list[Frame] = []
    outside: list[Frame] = []
    for metal, adsorbate, builder, held_out in _systems():
        starts = [_rattled(_slab(metal, builder, adsorbate, rng), rng) for _ in range(each)]
        (outside if held_out else inside).extend(_toward_minimum(start) for start in starts)
    shuffled = [inside[index] for index in rng.permutation(len(inside))]
    first, second = round(0.7 * len(shuffled)), round(0.8 * len(shuffled))
    return {
        "train": shuffled[:first],
        "val": shuffled[first:second],
        "test_id": shuffled[second:],
        "test_ood": outside,
    }


def make_molecules(seed: int = 0) -> dict[str, list[Frame]]:
    """Make rattled organic molecules of H, C, N and O near their EMT minima.

    Args:
        seed: Of displacements and splits.

    Returns:
        ``train`` (310 frames of 12 molecules) and ``test`` (50).

    Raises:
        BackendError: ASE is not installed.
    """
    ase_library()
    from ase.build import molecule
    from ase.calculators.emt import EMT
    from ase.optimize import FIRE

    rng = np.random.default_rng([seed, 2])
    frames: list[Frame] = []
    for name in _MOLECULES:
        start = molecule(name)
        start.calc = EMT()
        FIRE(start, logfile=None, maxstep=0.1).run(fmax=0.1, steps=40)
        frames.extend(_filled_up([], [start], _FRAMES_PER_MOLECULE, rng))
    shuffled = [frames[index] for index in rng.permutation(len(frames))]
    return {"train": shuffled[:-50], "test": shuffled[-50:]}


def _systems() -> Iterator[tuple[str, str, str, bool]]:
    """Metal, adsorbate and facet of the 36 systems, and whether it is one of the six for tests."""
    for metal, (facet, builder) in itertools.product(range(len(_METALS)), enumerate(_FACETS)):
        for turn in range(2):
            # Two adsorbates a facet: over its three facets, each metal meets all five.
            adsorbate = _ADSORBATES[(metal + 2 * facet + turn) % len(_ADSORBATES)]
            yield _METALS[metal], adsorbate, builder, turn == 0 and facet == metal % len(_FACETS)


def _toward_minimum(start: "ase.Atoms") -> Frame:
    """The structure as it is, with the energy that it has once it is relaxed."""
    from ase.calculators.emt import EMT
    from ase.optimize import BFGS

    start.calc = EMT()
    frame = frames_from_atoms([_with_raw_labels(start)], source="EMT frame")[0]
    relaxed = start.copy()
    relaxed.calc = EMT()
    BFGS(relaxed, logfile=None, maxstep=0.1).run(fmax=0.05, steps=100)
    return replace(frame, energy=float(relaxed.get_potential_energy()))


def _slab(metal: str, builder: str, adsorbate: str, rng: np.random.Generator) -> "ase.Atoms":
    ase = ase_library()
    from ase import build
    from ase.constraints import FixAtoms

    layers, sites = _FACETS[builder]
    slab = getattr(build, builder)(metal, (2, 2, layers), vacuum=7.0)
    surface = slab.get_tags() <= 2  # ASE counts layers from the top
    height = float(rng.uniform(1.5, 2.0))
    site = sites[int(rng.integers(len(sites)))]
    molecule = build.molecule("CO") if adsorbate == "CO" else ase.Atoms(adsorbate)
    carbon = 1 if adsorbate == "CO" else 0  # the atom that binds
    build.add_adsorbate(slab, molecule, height, site, mol_index=carbon)
    tags = np.full(len(slab), 2)
    tags[: len(surface)] = surface
    slab.set_tags(tags)
    slab.set_constraint(FixAtoms(mask=tags == 0))
    slab.pbc = True
    return slab


def _relaxed_and_rattled(slab: "ase.Atoms", rng: np.random.Generator) -> list[Frame]:
    from ase.calculators.emt import EMT
    from ase.optimize import BFGS

    slab.calc = EMT()
    optimizer = BFGS(slab, logfile=None, maxstep=0.1)
    path = [slab.copy() for _ in optimizer.irun(fmax=0.01, steps=2 * _RELAXED)]
    chosen = np.unique(np.linspace(0, len(path) - 1, _RELAXED).astype(int))
    frames = [frame for index in chosen if (frame := _labeled(path[index])) is not None]
    return _filled_up(frames, path, _RELAXED + _RATTLED, rng)


def _filled_up(
    frames: list[Frame], starts: Sequence["ase.Atoms"], count: int, rng: np.random.Generator
) -> list[Frame]:
    """Add rattled copies of random starts until there are ``count`` frames."""
    while len(frames) < count:
        frame = _labeled(_rattled(starts[int(rng.integers(len(starts)))], rng))
        if frame is not None:
            frames.append(frame)
    return frames


def _rattled(atoms: "ase.Atoms", rng: np.random.Generator) -> "ase.Atoms":
    """Displace the free atoms by a Gaussian of 0.02 to 0.15 Å."""
    moved = atoms.copy()
    step = rng.normal(scale=rng.uniform(0.02, 0.15), size=moved.positions.shape)
    moved.set_positions(moved.positions + step)  # constraints hold the fixed atoms
    return moved


def _labeled(atoms: "ase.Atoms") -> Frame | None:
    """Attach EMT's energy and its raw forces; None where atoms are pressed together."""
    from ase.calculators.emt import EMT

    atoms.calc = EMT()
    if np.abs(atoms.get_forces(apply_constraint=False)).max() > _LARGEST_FORCE:
        return None
    return frames_from_atoms([_with_raw_labels(atoms)], source="EMT frame")[0]


def _with_raw_labels(atoms: "ase.Atoms") -> "ase.Atoms":
    """Keep the calculator's energy and its forces, those on fixed atoms too, as labels."""
    from ase.calculators.singlepoint import SinglePointCalculator

    labeled = atoms.copy()
    energy = float(atoms.get_potential_energy())
    forces = atoms.get_forces(apply_constraint=False)
    labeled.calc = SinglePointCalculator(labeled, energy=energy, forces=forces)
    return labeled
