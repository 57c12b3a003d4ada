import pytest

from equinet.data import AtomisticFiles, Splits, read_frames
from equinet.data.loading import AtomicDataModule, read_isolated_atoms, split_frames
from equinet.errors import DataError


@pytest.fixture
def frames(write, text):
    return read_frames(write(text(20)))


def test_random_splits_are_seeded_disjoint_and_ordered(frames):
    rest, aside = split_frames(frames, 5, seed=0)
    assert len(aside) == 5
    sources = [frame.source for frame in frames]
    for part in (rest, aside):
        places = [sources.index(frame.source) for frame in part]
        assert places == sorted(places)
    assert {f.source for f in rest} | {f.source for f in aside} == set(sources)
    assert [f.source for f in split_frames(frames, 0.25, 0)[1]] == [f.source for f in aside]
    assert [f.source for f in split_frames(frames, 5, 1)[1]] != [f.source for f in aside]


@pytest.mark.parametrize("amount", [0, 20, 25, -1, 2.5])
def test_impossible_splits_are_refused(frames, amount):
    with pytest.raises(DataError, match=r"aside|neither"):
        split_frames(frames, amount, seed=0)


def test_a_module_reads_once_and_on_first_use(frames):
    class Counting(AtomicDataModule):
        reads = 0

        def read(self) -> Splits:
            self.reads += 1
            return Splits(frames[:12], frames[12:16], {"hot": frames[16:]}, "water")

    module = Counting(cutoff=2.0, batch_size=5, eval_batch_size=3, seed=3)
    assert module.reads == 0
    assert len(module.train) == 12
    module.prepare()
    module.prepare()
    assert module.reads == 1
    assert module.describe() == (
        "water: 12 training, 4 validation, 4 hot frames of 3 atoms (H O); "
        "energies in eV, forces in eV/Å"
    )
    assert [batch.num_graphs for batch in module.train_loader()] == [5, 5, 2]
    assert [batch.num_graphs for batch in module.val_loader()] == [3, 1]
    assert [b.energy.tolist() for b in module.test_loaders()["hot"]][1] == [-20.5]
    assert module.statistics.elements == (1, 8)
    assert module.statistics.average_neighbors == 2.0
    assert module.fingerprint() == Counting(cutoff=3.0).fingerprint()


@pytest.mark.parametrize(
    "wrong",
    [
        {"cutoff": 0.0},
        {"cutoff": float("nan")},
        {"batch_size": 0},
        {"seed": -1},
        {"num_workers": -1},
    ],
)
def test_arguments_out_of_range(wrong):
    (name,) = wrong
    with pytest.raises(DataError, match=name):
        AtomisticFiles(train="frames.xyz", **wrong)


def test_elements_unseen_in_training_are_named(write, text):
    train = write(text(5), "train.xyz")
    val = write(text(5).replace("\nO ", "\nS "), "val.xyz")
    with pytest.raises(DataError, match=r"validation set: S not in the training set \(H, O\)"):
        AtomisticFiles(train=train, val=val).prepare()


def test_isolated_atoms(write):
    good = "1\nProperties=species:S:1:pos:R:3 energy=-1.5\nH 0 0 0\n1\nenergy=-9\nO 0 0 0\n"
    assert read_isolated_atoms(write(good)) == {1: -1.5, 8: -9.0}
    with pytest.raises(DataError, match="frame 3: atomic number 1 has a second energy"):
        read_isolated_atoms(write(good + "1\nenergy=-2\nH 0 0 0\n"))
    with pytest.raises(DataError, match="expected one isolated atom with an energy"):
        read_isolated_atoms(write("2\nenergy=-2\nH 0 0 0\nH 0 0 1\n"))
    with pytest.raises(DataError, match="expected one isolated atom with an energy"):
        read_isolated_atoms(write("1\n\nH 0 0 0\n"))
