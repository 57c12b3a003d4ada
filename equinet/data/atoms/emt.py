"""Small labeled sets that are generated with ASE's effective-medium-theory (EMT) potential.

With these sets every experiment runs without a download. EMT is a fast, smooth, many-body potential
with parameters for Al, Cu, Ag, Au, Ni, Pd, Pt and, less accurate, for H, C, N and O. A model can
learn it, but its energies have no chemical value. None of these sets is a benchmark.
"""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from equinet.data.atoms.fields import Frame
from equinet.data.atoms.frames import ase_library, frames_from_atoms
from equinet.data.atoms.slabs import FACETS, adsorb, metal_slab

if TYPE_CHECKING:
    import ase
    from ase.calculators.calculator import Calculator

_METALS = ("Al", "Ni", "Cu", "Pd", "Ag", "Pt", "Au")
_ALLOYS = ("Cu3Au", "NiAl", "AgPd", "Pt3Ni", "AuAg3")
_ADSORBATES = ("H", "C", "N", "O", "CO", "OH", "NH", "CH", "CH3", "NH2")
# Systems held out for tests: other alloys of the same metals, other molecules of the same elements.
_OTHER_ALLOYS = ("CuPd", "Ni3Au", "AgAl", "PtAu3")
_OTHER_ADSORBATES = ("NO", "NH3", "H2O", "HCO")
_STEPS = 6  # number of steps of a relaxation
_RELAXED, _RATTLED = 5, 5  # frames per system
_SET_ASIDE = 2  # frames of each system set aside for validation
_MOLECULES = (
    *("CH3CH2OH", "CH3CONH2", "C5H5N", "CH3COOH", "CH3CH2NH2", "C6H6"),
    *("H2CCO", "C4H4O", "C4H4NH", "CH3OCH3", "CH3CHO", "CH3CN"),
)
_FRAMES_PER_MOLECULE = 30
_LARGEST_FORCE = 10.0  # eV/Å, component of a force; a few larger ones would dominate the loss


def make_surfaces(seed: int = 0) -> dict[str, list[Frame]]:
    """Generate frames of metal slabs with an adsorbate, some of them randomly displaced.

    A system is a slab (7 metals or 5 random alloys; facets 111, 100, 110 or 211; 12 to 18 metal
    atoms) with one of ten adsorbates at a random place. There are two systems for each slab, and
    ten frames of each system: five steps of a relaxation and five randomly displaced copies. Tags
    are those of OC20: 0 fixed, 1 surface, 2 adsorbate.

    Args:
        seed: Seed of alloys, places, displacements and splits.

    Returns:
        Frames by split: ``train`` (768 frames of 96 systems), ``val_id`` (192 other frames of the
        same systems), and ``val_ood`` (160 frames of 16 other systems: half of them have an alloy
        that no training system has, the other half such an adsorbate; all elements occur in
        training).

    Raises:
        BackendError: ASE is not installed.

    Example:
        >>> sets = make_surfaces()  # takes some seconds
        >>> {split: len(frames) for split, frames in sets.items()}
        {'train': 768, 'val_id': 192, 'val_ood': 160}
    """
    rng = np.random.default_rng([seed, 3])
    splits: dict[str, list[Frame]] = {"train": [], "val_id": [], "val_ood": []}
    for atoms, held_out in _systems(rng):
        frames = _along_relaxation(atoms, rng)
        if held_out:
            splits["val_ood"] += frames
            continue
        aside = rng.choice(len(frames), size=_SET_ASIDE, replace=False).tolist()
        for index, frame in enumerate(frames):
            splits["val_id" if index in aside else "train"].append(frame)
    return splits


def make_relaxations(seed: int = 0, *, each: int = 2) -> dict[str, list[Frame]]:
    """Generate initial structures of adsorbates on slabs, with the energies after relaxation.

    Args:
        seed: Seed of alloys, places, displacements and splits.
        each: Number of structures of each of the 112 systems.

    Returns:
        Initial structures by split: ``train``, ``val`` and ``test_id`` (70, 10 and 20 percent of
        the structures of the same 96 systems) and ``test_ood`` (16 other systems). The forces are
        those of the initial structure; ``energy`` is the energy of the relaxed structure.

    Raises:
        BackendError: ASE is not installed.

    Example:
        >>> list(make_relaxations(each=0))
        ['train', 'val', 'test_id', 'test_ood']
    """
    rng = np.random.default_rng([seed, 4])
    inside: list[Frame] = []
    outside: list[Frame] = []
    for _ in range(each):
        for atoms, held_out in _systems(rng):
            (outside if held_out else inside).append(_toward_minimum(_rattled(atoms, rng)))
    shuffled = [inside[index] for index in rng.permutation(len(inside))]
    first, second = round(0.7 * len(shuffled)), round(0.8 * len(shuffled))
    return {
        "train": shuffled[:first],
        "val": shuffled[first:second],
        "test_id": shuffled[second:],
        "test_ood": outside,
    }


def make_molecules(seed: int = 0) -> dict[str, list[Frame]]:
    """Generate organic molecules of H, C, N and O, randomly displaced from their EMT minima.

    Args:
        seed: Seed of displacements and splits.

    Returns:
        Frames by split: ``train`` (310 frames of 12 molecules) and ``test`` (50 frames of the same
        molecules).

    Raises:
        BackendError: ASE is not installed.

    Example:
        >>> sets = make_molecules()  # takes some seconds
        >>> {split: len(frames) for split, frames in sets.items()}
        {'train': 310, 'test': 50}
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
        frames.extend(_filled_up([], [start], _FRAMES_PER_MOLECULE, rng, EMT()))
    shuffled = [frames[index] for index in rng.permutation(len(frames))]
    return {"train": shuffled[:-50], "test": shuffled[-50:]}


def _systems(rng: np.random.Generator) -> Iterator[tuple["ase.Atoms", bool]]:
    """Yield slabs with adsorbates, each with whether the system is held out for tests."""
    adsorbates = itertools.cycle(_ADSORBATES)
    for metals, facet in itertools.product((*_METALS, *_ALLOYS), FACETS):
        for adsorbate in itertools.islice(adsorbates, 2):
            yield adsorb(metal_slab(facet, metals, rng), adsorbate, rng), False
    pure = itertools.cycle(_METALS)
    for place, facet in enumerate(FACETS):
        for turn in range(2):
            held_out = (place + turn) % len(FACETS)
            alloy, known = _OTHER_ALLOYS[held_out], next(adsorbates)
            yield adsorb(metal_slab(facet, alloy, rng), known, rng), True
            metal, other = next(pure), _OTHER_ADSORBATES[held_out]
            yield adsorb(metal_slab(facet, metal, rng), other, rng), True


def _along_relaxation(atoms: "ase.Atoms", rng: np.random.Generator) -> list[Frame]:
    """Relax a system for a few steps, and add random displacements of the structures on the way."""
    from ase.calculators.emt import EMT
    from ase.optimize import BFGS

    atoms.calc = EMT()  # one for each system, so that it rarely recomputes its neighbor list
    path, labeled = [], []
    for _ in BFGS(atoms, logfile=None, maxstep=0.1).irun(fmax=0.01, steps=_STEPS):
        path.append(atoms.copy())
        labeled.append(_labeled(atoms))
    chosen = np.unique(np.linspace(0, len(path) - 1, _RELAXED).astype(int))
    frames = [frame for index in chosen if (frame := labeled[index]) is not None]
    return _filled_up(frames, path, _RELAXED + _RATTLED, rng, atoms.calc)


def _toward_minimum(start: "ase.Atoms") -> Frame:
    """Return the initial structure, labeled with the energy of the relaxed structure."""
    from ase.calculators.emt import EMT
    from ase.optimize import BFGS

    start.calc = EMT()
    frame = _with_labels(start)
    relaxed = start.copy()
    relaxed.calc = EMT()
    BFGS(relaxed, logfile=None, maxstep=0.1).run(fmax=0.05, steps=400)
    return replace(frame, energy=float(relaxed.get_potential_energy()))


def _filled_up(
    frames: list[Frame],
    starts: Sequence["ase.Atoms"],
    count: int,
    rng: np.random.Generator,
    calculator: "Calculator",
) -> list[Frame]:
    """Add randomly displaced copies of the starting structures until there are ``count`` frames."""
    while len(frames) < count:
        moved = _rattled(starts[int(rng.integers(len(starts)))], rng)
        moved.calc = calculator
        frame = _labeled(moved)
        if frame is not None:
            frames.append(frame)
    return frames


def _rattled(atoms: "ase.Atoms", rng: np.random.Generator) -> "ase.Atoms":
    """Displace the free atoms by normal random numbers with a deviation of 0.02 to 0.15 Å."""
    moved = atoms.copy()
    step = rng.normal(scale=rng.uniform(0.02, 0.15), size=moved.positions.shape)
    moved.set_positions(moved.positions + step)  # the constraint keeps the fixed atoms in place
    return moved


def _labeled(atoms: "ase.Atoms") -> Frame | None:
    """Return a frame with the calculator's labels, or None if a force is too large."""
    if np.abs(atoms.get_forces(apply_constraint=False)).max() > _LARGEST_FORCE:
        return None
    return _with_labels(atoms)


def _with_labels(atoms: "ase.Atoms") -> Frame:
    """Return a frame with the calculator's energy and forces, including those on fixed atoms."""
    from ase.calculators.singlepoint import SinglePointCalculator

    labeled = atoms.copy()
    energy = float(atoms.get_potential_energy())
    forces = atoms.get_forces(apply_constraint=False)
    labeled.calc = SinglePointCalculator(labeled, energy=energy, forces=forces)
    return frames_from_atoms([labeled], source="EMT frame")[0]
