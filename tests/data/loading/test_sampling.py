import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from equinet.data import AtomicDataset, EpochSampler, evaluation_loader, training_loader


@settings(max_examples=25, deadline=None, derandomize=True)
@given(size=st.integers(1, 50), seed=st.integers(0, 2**40), epoch=st.integers(0, 10**6))
def test_the_order_depends_on_seed_and_epoch_alone(size, seed, epoch):
    first, second = EpochSampler(size, seed=seed), EpochSampler(size, seed=seed)
    list(first)
    torch.rand(3)
    first.set_epoch(epoch)
    second.set_epoch(epoch)
    order = list(first)
    assert order == list(second) == list(first)
    assert sorted(order) == list(range(size))
    assert len(first) == size


def test_seeds_and_epochs_do_not_slide_into_each_other():
    orders = set()
    for seed in range(4):
        sampler = EpochSampler(20, seed=seed)
        for epoch in range(4):
            sampler.set_epoch(epoch)
            orders.add(tuple(sampler))
    assert len(orders) == 16


@pytest.mark.parametrize("workers", [0, 1])
def test_loaders(write, text, workers):
    data = AtomicDataset.from_file(write(text(7)), 2.0)
    energies = [
        value
        for batch in evaluation_loader(data, 3, num_workers=workers)
        for value in batch.energy.tolist()
    ]
    assert energies == [-number - 0.5 for number in range(1, 8)]
    loader = training_loader(data, 3, seed=1, num_workers=workers)
    epochs = []
    for epoch in (0, 1, 0):
        loader.sampler.set_epoch(epoch)
        epochs.append([value for batch in loader for value in batch.energy.tolist()])
    assert epochs[0] == epochs[2] != epochs[1]
    assert sorted(epochs[1]) == sorted(energies)
