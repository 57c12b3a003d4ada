"""Generated tables in the format of the package qm9pack."""

from pathlib import Path

import numpy as np

HEAD = (
    "XYZ_file,Index,SMILES,InChi,N_atoms,Stoichiometry,Elements,XYZ_Ang,Mulliken_pop,"
    "Harmonic_Freq_cmi,RotA_GHz,RotB_GHz,RotC_GHz,Dipole_debye,Polarizability_bohr3,HOMO_au,"
    "LUMO_au,HOMO_LUMO_gap_au,R2_bohr2,ZPVE_au,InternalEnergy_0K_au,InternalEnergy_298K_au,"
    "Enthalphy_298K_au,GibbsFreeEnergy_298K_au,Heatcapacity_Cv_cal_mol_K"
)
TENSOR_HEAD = "XYZ_file,A_xx,A_xy,A_yy,A_xz,A_yz,A_zz"
FREE = {"H": -0.500273, "C": -37.846772, "N": -54.583861, "O": -75.064579, "F": -99.718730}


def molecule(number: int) -> tuple[list[str], np.ndarray]:
    """Elements and positions of a molecule, whose number is its seed."""
    rng = np.random.default_rng(number)
    elements = [
        "C",
        *rng.choice(list("HCNOF"), size=rng.integers(2, 8), p=(0.5, 0.2, 0.1, 0.1, 0.1)),
    ]
    places = 1.2 * np.array([[i % 2, i // 2 % 2, i // 4] for i in range(len(elements))])
    return elements, places + 0.1 * rng.normal(size=places.shape)


def row(number: int) -> tuple[str, str]:
    """Rows of a molecule in the tables of properties and of tensors."""
    rng = np.random.default_rng(1000 + number)
    elements, places = molecule(number)
    file = f"dsgdb9nsd_{number:06d}.xyz"
    charges = rng.normal(size=len(elements)).round(6)
    energy = sum(FREE[each] for each in elements) - 0.1 * len(elements) - 0.01 * rng.random()
    targets = [
        *(f"{value:.4f}" for value in (rng.random(), 8 * len(elements) + rng.random())),
        *(f"{value:.4f}" for value in (-0.25, 0.05, 0.3) + 0.01 * rng.random(3)),
        f"{np.square(places).sum():.4f}",
        f"{0.02 * len(elements):.6f}",
        *(f"{energy + shift:.6f}" for shift in (0.0, 0.002, 0.003, -0.03)),
        f"{3 * len(elements) + rng.random():.3f}",
    ]
    symbols = "[" + ",".join(f"'{each}'" for each in elements) + "]"
    xyz = "[" + ",".join("[" + ",".join(f"{x:.10f}" for x in place) + "]" for place in places) + "]"
    own = [f'"{file}"', str(number), '"C"', '"InChI=1S/CH4/h1H4"', str(len(elements))]
    population = "[" + ",".join(f"{x:.6f}" for x in charges) + "]"
    lists = [f'"{part}"' for part in ("[4,1,0,0,0]", symbols, xyz, population, "[1300.0,3000.0]")]
    root = rng.normal(size=(3, 3))
    tensor = root @ root.T + 8 * len(elements) * np.eye(3)
    triangle = ",".join(f"{tensor[i, j]:.3f}" for i in range(3) for j in range(i + 1))
    return ",".join([*own, *lists, "1.", "1.", "1.", *targets]), f'"{file}",{triangle}'


def write_tables(folder: Path, molecules: int = 30) -> Path:
    """Write the four tables of some molecules, with blank lines between rows as in the package."""
    rows = [row(number) for number in range(1, molecules + 1)]
    third = -(-molecules // 3)
    for part in range(3):
        lines = [line for line, _ in rows[part * third : (part + 1) * third]]
        text = "\n\n".join([HEAD, *lines])
        (folder / f"qm9_part{part + 1}.csv").write_text(f"{text}\n")
    text = "\n\n".join([TENSOR_HEAD, *(line for _, line in rows)])
    (folder / "qm9_polarizability.csv").write_text(f"{text}\n")
    return folder
