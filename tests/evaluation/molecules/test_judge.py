"""Figures of molecules: by hand, for good molecules and for noise."""

import numpy as np
import pytest
from ase.build import molecule

from equinet.diffusion import Molecule
from equinet.evaluation.molecules import (
    GENERATED_QM9,
    assess,
    bond_orders,
    contact_sheet,
    distance,
    figures,
    formula,
    inchi_keys,
    molecule_table,
    survey,
    to_rdkit,
)

Chem = pytest.importorskip("rdkit.Chem")

WATER = "XLYOFNOQVPJJNP-UHFFFAOYSA-N"


def of(name: str, stretch: float = 1.0) -> Molecule:
    atoms = molecule(name)
    return Molecule(atoms.numbers, stretch * atoms.positions)


@pytest.fixture(scope="module")
def good() -> list[Molecule]:
    return [of(name) for name in ("H2O", "CH4", "C6H6", "C2H4", "H2O", "C3H6_D3h")]


def test_good_molecules_have_perfect_figures(good):
    found = figures(survey(good), survey(good), {WATER})
    assert found["molecule_stability"] == pytest.approx(500 / 6)  # benzene has no single orders
    assert found["validity"] == found["connectivity"] == 100
    assert found["uniqueness"] == pytest.approx(500 / 6)  # water is there twice
    assert found["novelty"] == pytest.approx(80)  # and known
    for name in ("length_distance", "angle_distance", "ring_distance", "size_distance"):
        assert found[name] == 0, name


def test_distances_are_those_of_the_stretch(good):
    stretched = [Molecule(each.numbers, 1.03 * each.positions) for each in good[:2]]
    found = figures(survey(stretched), survey(good[:2]))
    assert found["length_distance"] == pytest.approx(0.03 * (2 * 0.969 + 4 * 1.092) / 6, rel=0.01)
    assert found["angle_distance"] == pytest.approx(0, abs=1e-5)


def test_noise_is_judged_as_noise():
    generator = np.random.default_rng(0)
    noise = [
        Molecule(generator.choice([1, 6, 7, 8, 9], 18), 1.4 * generator.normal(size=(18, 3)))
        for _ in range(50)
    ]
    found = figures(survey(noise), survey([of("C6H6"), of("CH4")]))
    assert found["atom_stability"] < 40
    assert found["molecule_stability"] == 0
    assert found["validity"] < 20
    assert found["size_distance"] > 5


def test_rdkit_names_the_largest_fragment():
    far = np.concatenate([of("H2O").positions, of("CH4").positions + 20])
    numbers = np.concatenate([of("H2O").numbers, of("CH4").numbers])
    found = assess(numbers, bond_orders(numbers, far))
    assert found.is_valid
    assert not found.is_connected
    assert found.key == "VNWKTOKETHGBQD-UHFFFAOYSA-N"


def test_five_bonds_of_carbon_are_not_valid():
    numbers = np.array([6, 1, 1, 1, 1, 1])
    orders = np.zeros((6, 6), dtype=int)
    orders[0, 1:] = orders[1:, 0] = 1
    found = assess(numbers, orders)
    assert (found.is_valid, found.key) == (False, None)


def test_rings_are_counted():
    benzene = of("C6H6")
    orders = bond_orders(benzene.numbers, benzene.positions)
    assert assess(benzene.numbers, orders).rings == (6,)


def test_names_from_inchi_and_from_atoms_agree():
    water = of("H2O")
    orders = bond_orders(water.numbers, water.positions)
    assert assess(water.numbers, orders).key == WATER
    assert inchi_keys(["InChI=1S/H2O/h1H2"]) == {WATER}


def test_positions_reach_rdkit_whole():
    water = of("H2O")
    made = to_rdkit(water.numbers, bond_orders(water.numbers, water.positions), water.positions)
    assert (made.GetConformer().GetPositions() == water.positions).all()
    assert made.GetNumBonds() == 2


def test_without_rdkit_the_rest_is_computed(monkeypatch, good):
    from equinet.errors import BackendError

    def refuse():
        raise BackendError("rdkit is not installed")

    monkeypatch.setattr("equinet.evaluation.molecules.judge.rdkit_library", refuse)
    found = figures(survey(good), survey(good))
    assert "validity" not in found
    assert {"atom_stability", "molecule_stability", "length_distance"} <= found.keys()


def test_distances_are_weighted_by_the_data():
    found = {"C-H": [1.0, 1.0], "O-H": [1.0]}
    expected = {"C-H": [1.1] * 3, "O-H": [1.5], "N-H": [9.0]}
    assert distance(found, expected) == pytest.approx((3 * 0.1 + 0.5) / 4)
    assert distance({"C-C": [1.0]}, expected) is None


def test_published_figures_stand_below_in_the_same_columns():
    row = {"name": "samples", "structures": 7, "atom_stability": 91.2, "validity": 60.0}
    text = molecule_table([row])
    lines = text.splitlines()
    assert lines[3] == "published:"
    assert len(lines) == 4 + len(GENERATED_QM9)
    assert lines[2].index("91.2") == next(x for x in lines if x.startswith("EDM ")).index("98.7")


def test_a_sheet_shows_every_molecule(tmp_path, good):
    contact_sheet([*good, Molecule(np.array([1]), np.zeros((1, 3)))], tmp_path / "sheet.png")
    assert (tmp_path / "sheet.png").read_bytes().startswith(b"\x89PNG")
    assert [formula(each) for each in good[:3]] == ["H2O", "CH4", "C6H6"]
