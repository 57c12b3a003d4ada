"""Batches of an epoch: shared without repetition, continued without loss."""

import os
import signal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import BatchSampler, DataLoader, Dataset

from equinet.data import EpochSampler
from equinet.errors import EquinetError
from equinet.training import loader as module
from equinet.training.loader import EpochBatches, EpochLoader


def _batches(size: int = 14, *, drop_uneven: bool = True, **options) -> EpochBatches:
    sampler = BatchSampler(EpochSampler(size, seed=3), batch_size=3, drop_last=False)
    return EpochBatches(sampler, drop_uneven=drop_uneven, **options)


def _shares(monkeypatch, world: int, **options) -> list[list[list[int]]]:
    shares = []
    for rank in range(world):
        monkeypatch.setattr(module, "rank_and_world", lambda rank=rank: (rank, world))
        batches = _batches(**options)
        shares.append(list(batches))
        assert len(shares[-1]) == len(batches)
    return shares


@pytest.mark.parametrize("world", [1, 2, 3, 4])
def test_training_shares_are_equal_and_disjoint(monkeypatch, world):
    shares = _shares(monkeypatch, world)
    assert len({len(share) for share in shares}) == 1
    indices = [i for share in shares for batch in share for i in batch]
    assert len(indices) == len(set(indices))


@pytest.mark.parametrize("world", [1, 2, 3, 4])
def test_evaluation_shares_cover_everything_once(monkeypatch, world):
    shares = _shares(monkeypatch, world, drop_uneven=False)
    assert sorted(i for share in shares for batch in share for i in batch) == list(range(14))


def test_more_processes_than_batches_all_evaluate_everything(monkeypatch):
    for share in _shares(monkeypatch, 9, drop_uneven=False):
        assert sorted(i for batch in share for i in batch) == list(range(14))


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 4), st.integers(0, 3))
def test_continuing_leaves_out_what_is_done_once(done, epoch):
    whole, parts = _batches(), _batches()
    whole.set_epoch(epoch)
    parts.set_epoch(epoch)
    parts.done = done
    assert list(parts) == list(whole)[done:]
    assert list(parts) == list(whole)


def test_epochs_differ_and_fixed_ones_do_not():
    for fixed in (False, True):
        batches = _batches(fixed=fixed)
        first = list(batches)
        batches.sampler.set_epoch(1)
        assert (list(batches) == first) is fixed


def test_loader_takes_its_order_when_it_is_needed(tiny_data):
    loader = EpochLoader(tiny_data.train_loader(), drop_uneven=True)
    iterator = iter(loader)
    loader.epoch_batches.set_epoch(2)
    late = next(iterator).energy
    loader.epoch_batches.set_epoch(2)
    assert next(iter(loader)).energy.tolist() == late.tolist()
    assert len(loader) == len(list(loader)) == 5


def test_loader_state(tiny_data):
    loader = EpochLoader(tiny_data.train_loader(), drop_uneven=True)
    assert loader.state_dict() == {"done": 0}
    loader.load_state_dict({"done": 3})
    assert len(list(loader)) == 2
    assert len(list(loader)) == 5


class _Dies(Dataset):
    def __len__(self) -> int:
        return 3

    def __getitem__(self, index: int) -> int:
        os.kill(os.getpid(), signal.SIGKILL)
        return index


def test_a_killed_loading_process_is_one_sentence():
    loader = EpochLoader(DataLoader(_Dies(), num_workers=1), drop_uneven=False)
    with pytest.raises(EquinetError, match=r"a loading process ended \(.*say data.num_workers=0"):
        next(iter(loader))


class _Fails(_Dies):
    def __getitem__(self, index: int) -> int:
        raise RuntimeError("one of its own")


@pytest.mark.parametrize("workers", [0, 1])
def test_errors_of_a_data_set_stay_what_they_are(workers):
    loader = EpochLoader(DataLoader(_Fails(), num_workers=workers), drop_uneven=False)
    with pytest.raises(RuntimeError, match="one of its own"):
        next(iter(loader))
