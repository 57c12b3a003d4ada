"""Packed batches: every frame once, within bounds, alike over ranks, the same after a stop."""

from itertools import chain

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from oc20_files import slab, write_pair

from equinet.data import OC20, PackedBatches
from equinet.data.loading.permutation import Permutation
from equinet.data.store import Options, convert
from equinet.errors import DataError
from equinet.training.loader import EpochBatches, EpochLoader


def like_oc20(count, seed=0):
    """Atoms and edges with the spread of OC20: 20 to 220 atoms, 30 to 50 edges an atom."""
    random = np.random.default_rng(seed)
    atoms = np.clip(random.gamma(6.0, 13.0, size=count), 20, 220).astype(np.int32)
    return atoms, (atoms * random.uniform(30, 50, size=count)).astype(np.int32)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(count=st.integers(1, 3000), seed=st.integers(0, 2**40), epoch=st.integers(0, 10**6))
def test_orders_hold_everything_once(count, seed, epoch):
    order = Permutation(count, seed=(seed, epoch))
    assert sorted(order(np.arange(count)).tolist()) == list(range(count))
    part = np.arange(count // 3, count // 2)
    assert np.array_equal(order(part), order(np.arange(count))[part])


def test_orders_are_random():
    """Every thing is as often at every place, and neighbours are as often neighbours, as chance."""
    count, epochs = 12, 2000
    orders = np.stack([Permutation(count, seed=(0, e))(np.arange(count)) for e in range(epochs)])
    places = np.stack([np.bincount(column, minlength=count) for column in orders.T])
    expected = epochs / count
    chi_square = ((places - expected) ** 2 / expected).sum()
    freedom = (count - 1) ** 2
    assert abs(chi_square - freedom) < 5 * np.sqrt(2 * freedom)
    neighbours = (np.abs(np.diff(orders, axis=1)) == 1).mean()
    assert abs(neighbours - 2 / count) < 5 * np.sqrt(2 / count / (epochs * (count - 1)))


@settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],  # a busy machine is no fault
)
@given(
    count=st.integers(1, 400),
    world=st.integers(1, 9),
    bound=st.integers(250, 2000),
    seed=st.integers(0, 2**40),
    epoch=st.integers(0, 10**6),
    where=st.floats(0.0, 0.999),
)
def test_every_frame_once_within_bounds_on_any_number_of_ranks(
    count, world, bound, seed, epoch, where
):
    random = np.random.default_rng(count)
    atoms = random.integers(1, 101, size=count)
    edges = random.integers(0, 101, size=count)
    batches = PackedBatches(atoms, edges, max_atoms=bound, max_edges=bound, seed=seed)
    batches.set_epoch(epoch)
    if count < world:
        with pytest.raises(DataError, match=f"{count} training frames for {world} processes"):
            batches.steps(world)
        return
    shares = [list(batches.share(rank, world)) for rank in range(world)]
    assert [len(share) for share in shares] == [batches.steps(world)] * world
    everything = [batch for share in shares for batch in share]
    assert all(everything)
    assert sorted(chain.from_iterable(everything)) == list(range(count))
    for batch in everything:
        assert atoms[batch].sum() <= bound
        assert edges[batch].sum() <= bound
    rank = int(where * world)
    done = int(where * (batches.steps(world) + 1))
    resumed = PackedBatches(atoms, edges, max_atoms=bound, max_edges=bound, seed=seed)
    resumed.set_epoch(epoch)
    assert list(resumed.share(rank, world, skip=done)) == shares[rank][done:]


@pytest.mark.parametrize("world", [1, 3, 8, 64, 256])
def test_work_is_balanced_at_every_step_over_several_windows(world):
    atoms, edges = like_oc20(40_000)
    batches = PackedBatches(atoms, edges, max_atoms=800, max_edges=14_000, seed=3)
    seen = np.zeros(len(atoms), dtype=int)
    for step in batches.each_step(world):
        work = np.array([edges[batch].sum() for batch in step])
        assert len(step) == world
        assert work.mean() >= 0.95 * work.max()
        for batch in step:
            seen[batch] += 1
            assert atoms[batch].sum() <= 800
            assert edges[batch].sum() <= 14_000
    assert (seen == 1).all()


def test_batches_are_filled_and_orders_differ():
    atoms, edges = like_oc20(20_000)
    batches = PackedBatches(atoms, edges, max_edges=40_000)
    fill = np.mean([edges[batch].sum() / 40_000 for batch in batches])
    assert fill > 0.9
    first = list(batches)
    batches.set_epoch(1)
    second = list(batches)
    batches.set_epoch(0)
    assert list(batches) == first != second
    assert list(PackedBatches(atoms, edges, max_edges=40_000, seed=1)) != first
    # Large frames are not gathered at one end of an epoch: steps come in random order.
    largest = [max(atoms[batch]) for batch in first]
    halves = np.array_split(largest, 2)
    assert abs(halves[0].mean() - halves[1].mean()) < 5


def test_frames_that_ranks_cannot_share_evenly_are_refused():
    """Five frames, no two of which fit together, make no equal number of batches on two ranks."""
    batches = PackedBatches(np.full(5, 60), max_atoms=100)
    with pytest.raises(DataError, match=r"do not fit into 4 batches; raise max_atoms"):
        list(batches.share(0, 2))


def test_one_frame_a_batch_where_no_two_fit():
    sizes = np.full(50, 60)
    assert [len(batch) for batch in PackedBatches(sizes, max_atoms=100)] == [1] * 50


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({}, "give max_atoms or max_edges"),
        ({"max_edges": 10}, "were not counted"),
        ({"max_atoms": 4}, r"frame 1 has 5 atoms, more than max_atoms=4"),
    ],
)
def test_impossible_bounds_are_refused(options, reason):
    with pytest.raises(DataError, match=reason):
        PackedBatches(np.array([3, 5]), **options)
    with pytest.raises(DataError, match="no frames"):
        PackedBatches(np.array([], dtype=int), max_atoms=1)


def test_a_loader_shares_and_resumes(monkeypatch):
    atoms, _ = like_oc20(300)
    packed = PackedBatches(atoms, max_atoms=400, seed=5)
    everything = {}
    for rank in range(3):
        monkeypatch.setattr("equinet.training.loader.rank_and_world", lambda rank=rank: (rank, 3))
        batches = EpochBatches(packed, drop_uneven=True)
        batches.set_epoch(2)
        whole = list(batches)
        assert len(whole) == len(batches) == packed.steps(3)
        batches.done = 4
        assert list(batches) == whole[4:]
        assert list(batches) == whole
        everything[rank] = whole
    batches = chain.from_iterable(everything.values())
    assert sorted(chain.from_iterable(batches)) == list(range(300))


@pytest.mark.parametrize("workers", [0, 1])
def test_oc20_packs_by_the_sizes_of_its_store(tmp_path, workers):
    for split in ("s2ef_train", "s2ef_val_id"):
        folder = tmp_path / "download" / split
        write_pair(folder, 0, [slab(i, metals=4 + i % 9) for i in range(24)])
        options = Options(cutoff=4.0)
        list(convert(folder, tmp_path / "stores" / split, options=options))
    common = {"val_size": 3, "cutoff": 4.0, "num_workers": workers}
    for root in ("download", "stores"):
        module = OC20(
            root=tmp_path / root, cache=tmp_path / "cache", max_edges=700, max_atoms=50, **common
        )
        loader = EpochLoader(module.train_loader(), drop_uneven=True)
        energies = []
        for batch in loader:
            assert batch.edge_index.shape[1] <= 700
            assert batch.num_nodes <= 50
            energies += batch.energy.tolist()
        expected = [frame.energy for frame in module.train.frames]
        assert sorted(energies) == sorted(expected)
    (tmp_path / "uncounted").mkdir()
    for split in ("s2ef_train", "s2ef_val_id"):
        list(convert(tmp_path / "download" / split, tmp_path / "uncounted" / split))
    uncounted = OC20(root=tmp_path / "uncounted", max_edges=700, **common)
    with pytest.raises(DataError, match="were not counted"):
        uncounted.train_loader()
    assert next(iter(OC20(root=tmp_path / "uncounted", max_atoms=50, **common).train_loader()))
