"""Bonds, valences and stability by the table of bond lengths."""

import numpy as np
import pytest
from ase.build import molecule

from equinet.errors import DataError
from equinet.evaluation.molecules import bond_orders, stability


def of(name: str) -> tuple[np.ndarray, np.ndarray]:
    atoms = molecule(name)
    return atoms.numbers, atoms.positions


@pytest.mark.parametrize(
    "name", ["CH4", "NH3", "H2O", "HF", "N2", "HCN", "C2H2", "C2H4", "C2H6", "H2CO", "CO2", "CF4"]
)
def test_small_molecules_are_stable(name):
    numbers, positions = of(name)
    found = stability(numbers, bond_orders(numbers, positions))
    assert found.molecule
    assert found.atoms.all()


def test_orders_are_those_of_the_bonds():
    numbers, positions = of("HCN")
    orders = bond_orders(numbers, positions)
    pairs = {
        tuple(sorted((int(numbers[i]), int(numbers[j])))): int(orders[i, j])
        for i, j in zip(*np.triu_indices(3, 1), strict=True)
    }
    assert pairs == {(1, 6): 1, (6, 7): 3, (1, 7): 0}
    assert (orders == orders.T).all()
    assert (orders.diagonal() == 0).all()


@pytest.mark.parametrize(
    ("first", "second", "distance", "order"),
    [
        (6, 6, 1.639, 1),  # 154 pm and the margin of 10
        (6, 6, 1.641, 0),
        (6, 6, 1.389, 2),  # 134 and 5
        (6, 6, 1.391, 1),
        (6, 6, 1.229, 3),  # 120 and 3
        (6, 6, 1.231, 2),
        (6, 8, 1.159, 3),
        (6, 8, 1.161, 2),
        (7, 9, 0.9, 1),  # no double bond in the table
        (1, 1, 0.839, 1),
        (8, 8, 1.259, 2),
    ],
)
def test_every_margin_has_its_place(first, second, distance, order):
    numbers = np.array([first, second])
    positions = np.array([[0.0, 0, 0], [0, distance, 0]])
    assert bond_orders(numbers, positions)[0, 1] == order
    assert bond_orders(numbers[::-1], positions)[0, 1] == order


def test_an_atom_too_many_makes_a_molecule_unstable():
    numbers, positions = of("CH4")
    found = stability(numbers[:-1], bond_orders(numbers[:-1], positions[:-1]))
    assert not found.molecule
    assert found.atoms.tolist() == [False, True, True, True]


def test_elements_without_lengths_are_named():
    with pytest.raises(DataError, match="no bond lengths of Si; the table has H, C, N, O, F"):
        bond_orders(np.array([14, 1]), np.eye(2, 3))
