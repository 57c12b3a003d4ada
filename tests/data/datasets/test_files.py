import pytest

from equinet.data import AtomisticFiles
from equinet.errors import ConfigError, DataError


def test_files_under_a_root_with_other_names(tmp_path, write, text):
    write(text(6, energy="U", forces="F"), "train.xyz")
    write(text(2, energy="U", forces="F"), "sub/val.xyz")
    write("1\nU=-1.0\nH 0 0 0\n1\nU=-0.5\nO 0 0 0\n", "atoms.xyz")
    module = AtomisticFiles(
        root=tmp_path,
        train="train.xyz",
        val="sub/val.xyz",
        test={"cold": "sub/val.xyz", "hot": "train.xyz"},
        isolated_atoms="atoms.xyz",
        energy_key="U",
        forces_key="F",
        cutoff=2.0,
    )
    module.prepare()
    assert [len(module.train), len(module.val)] == [6, 2]
    assert {name: len(data) for name, data in module.tests.items()} == {"cold": 2, "hot": 6}
    assert module.statistics.reference_energies == (-1.0, -0.5)
    assert module.statistics.shift == pytest.approx((-4.0 + 2.5) / 3)
    assert "no benchmark" in module.describe()


def test_validation_by_share_or_number_and_one_test_file(write, text):
    path = write(text(10))
    for val in (0.2, 2):
        module = AtomisticFiles(train=path, val=val, test=path)
        assert [len(module.train), len(module.val)] == [8, 2]
        assert list(module.tests) == ["test"]
    assert AtomisticFiles(train=str(path)).tests == {}


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"nowhere\.xyz: not there"):
        AtomisticFiles(root=tmp_path, train="nowhere.xyz").prepare()


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("train", {"train": []}),
        ("train", {"train": ""}),
        ("far", {"train": "a.xyz", "test": {"near": "b.xyz", "far": []}}),
        ("test", {"train": "a.xyz", "test": []}),
        ("replay", {"train": "a.xyz", "replay": []}),
    ],
)
def test_a_set_without_a_file_is_named(name, options):
    with pytest.raises(ConfigError, match=f"data: {name} names no file; give the path of one"):
        AtomisticFiles(**options)
