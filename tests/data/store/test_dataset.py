"""Graphs of a store have the edges that its conversion counted."""

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write

from equinet.data import PackedBatches, StoredDataset, StoredFrames
from equinet.data.store import FrameStore, Options, convert
from equinet.errors import DataError

TIES = {"cutoff": 5.0, "max_neighbors": 13, "tie_tolerance": 0.01}


@pytest.fixture
def crystals(tmp_path):
    """Twenty copper crystals, in which edges come in shells of equal length."""
    images = []
    for place in range(20):
        atoms = bulk("Cu", a=3.55 + 0.01 * place, cubic=True)
        atoms.calc = SinglePointCalculator(atoms, energy=1.0, forces=np.full((4, 3), 0.1))
        images.append(atoms)
    write(tmp_path / "crystals.traj", images)
    return tmp_path / "crystals.traj"


def stored(source, store, **options):
    list(convert(source, store, options=Options(**options)))
    return StoredFrames(FrameStore(store))


def test_ties_are_counted_as_graphs_keep_them(crystals, tmp_path):
    dataset = StoredDataset(stored(crystals, tmp_path / "store", **TIES), **TIES)
    edges = [dataset[place].edge_index.shape[1] for place in range(len(dataset))]
    assert dataset.edge_counts.tolist() == edges
    assert min(edges) > 13 * 4, "no ties, so nothing is tested"
    bound = 2 * max(edges)
    batches = list(PackedBatches(dataset.sizes, dataset.edge_counts, max_edges=bound))
    assert max(sum(edges[place] for place in batch) for batch in batches) <= bound
    assert max(map(len, batches)) > 1


def test_edges_of_another_neighborhood_are_refused(crystals, tmp_path):
    strict = {name: value for name, value in TIES.items() if name != "tie_tolerance"}
    frames = stored(crystals, tmp_path / "strict", **strict)
    assert frames.edges.max() == 13 * 4
    with pytest.raises(DataError, match=r"--cutoff 5 --max-neighbors 13 --tie-tolerance 0\.01"):
        _ = StoredDataset(frames, **TIES).edge_counts
    assert StoredDataset(frames, **strict).edge_counts.max() == 13 * 4


def test_options_are_checked():
    for wrong in ({"tie_tolerance": 0.1}, {"cutoff": 5.0, "max_neighbors": 0}):
        with pytest.raises(DataError, match=next(reversed(wrong))):
            Options(**wrong)
