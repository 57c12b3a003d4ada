"""Slabs with something on them."""

import numpy as np
import pytest
from ase.data import covalent_radii

from equinet.data.atoms.slabs import FACETS, adsorb, metal_slab


def joint(facet, formula, name, seed):
    rng = np.random.default_rng(seed)
    slab = metal_slab(facet, formula, rng)
    return slab, adsorb(slab, name, rng)


@pytest.mark.parametrize("facet", FACETS)
def test_the_lowest_third_of_the_layers_is_fixed(facet):
    slab = metal_slab(facet, "Cu", np.random.default_rng(0))
    heights = slab.positions[:, 2]
    layers = np.unique(heights.round(3))
    assert 0.2 < len(np.unique(heights[slab.get_tags() == 0].round(3))) / len(layers) < 0.4
    assert heights[slab.get_tags() == 0].max() < heights[slab.get_tags() == 1].min()
    assert slab.constraints[0].index.tolist() == np.flatnonzero(slab.get_tags() == 0).tolist()


def test_alloys_have_their_shares_at_random_places_and_the_mean_constant():
    first, second, gold, copper = (
        metal_slab("fcc111", formula, np.random.default_rng(seed))
        for formula, seed in (("Cu3Au", 0), ("Cu3Au", 1), ("Au", 0), ("Cu", 0))
    )
    assert first.symbols.count("Au") == second.symbols.count("Au") == 3
    assert first.get_chemical_symbols() != second.get_chemical_symbols()
    width = 0.75 * copper.cell.lengths()[0] + 0.25 * gold.cell.lengths()[0]
    assert first.cell.lengths()[0] == pytest.approx(width)


@pytest.mark.parametrize("facet", FACETS)
@pytest.mark.parametrize("name", ["H", "CO", "NH3", "H2O", "CH3"])
def test_adsorbates_touch_the_surface_and_no_more(facet, name):
    for seed in range(5):
        slab, atoms = joint(facet, "Pt3Ni", name, seed)
        guests = np.flatnonzero(atoms.get_tags() == 2)
        assert guests.tolist() == list(range(len(slab), len(atoms)))
        distances = atoms.get_all_distances(mic=True)[guests, : len(slab)]
        radii = covalent_radii[atoms.numbers]
        ratio = distances / (radii[guests, None] + radii[: len(slab)])
        assert 0.85 <= ratio.min() <= 1.1


def test_molecules_bind_by_their_carbon_or_first_heavy_atom():
    for name, binding in (("CO", "C"), ("NH3", "N"), ("H2O", "O"), ("NO", "N")):
        slab, atoms = joint("fcc100", "Al", name, 3)
        guest = atoms[len(slab) :]
        assert guest.symbols[guest.positions[:, 2].argmin()] == binding


def test_the_slab_is_left_as_it_is():
    slab, atoms = joint("fcc110", "Ag", "OH", 0)
    assert len(slab) == 16
    np.testing.assert_array_equal(atoms.positions[:16], slab.positions)
    assert atoms.constraints[0].index.tolist() == slab.constraints[0].index.tolist()
