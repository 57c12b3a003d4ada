"""QM9: tables, their copy in the cache, targets with units, splits, graphs, and bad input."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch
from qm9_files import FREE, molecule, row, write_tables
from torch_geometric.data import Batch

from equinet.data import QM9, MoleculeGraphs
from equinet.data.datasets.qm9 import split_of
from equinet.data.molecules import (
    PUBLISHED,
    QM9_PROPERTIES,
    find_tables,
    fit_scale,
    read_tables,
    stored_tables,
)
from equinet.errors import DataError

TWELVE = [each.name for each in QM9_PROPERTIES[:12]]
ALL = [each.name for each in QM9_PROPERTIES]
HARTREE = 27.211386245988
needs_qm9pack = pytest.mark.skipif(
    importlib.util.find_spec("qm9pack") is None, reason="qm9pack is not installed"
)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return write_tables(tmp_path_factory.mktemp("tables"))


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def make(root, cache):
    return lambda **changes: QM9(**{"root": root, "cache": cache, "batch_size": 4, **changes})


def targets_of(number: int) -> list[float]:
    return [float(value) for value in row(number)[0].split(",")[-12:]]


def test_values_are_those_of_the_tables_in_their_units(make):
    train = make(target=ALL).sets.train
    for graph, index in zip(train, train.chosen, strict=True):
        elements, places = molecule(int(index) + 1)
        mu, alpha, homo, _, gap, r2, zpve, u0, *_, cv = targets_of(int(index) + 1)
        np.testing.assert_allclose(graph.pos, places, atol=1e-9)
        found = [float(graph[f"y_{name}"]) for name in ("mu", "alpha", "r2", "Cv")]
        np.testing.assert_allclose(found, [mu, alpha, r2, cv])
        found = [float(graph[f"y_{name}"]) for name in ("homo", "gap", "zpve")]
        np.testing.assert_allclose(found, HARTREE * np.array([homo, gap, zpve]))
        free = sum(FREE[each] for each in elements)
        np.testing.assert_allclose(float(graph.y_U0), HARTREE * (u0 - free))
        assert graph.y_U0 < 0


def test_the_dipole_vector_is_that_of_the_charges_in_debye(make):
    graph = make(target=["dipole_vector", "charges"]).sets.train[3]
    moment = (graph.y_charges[:, None] * graph.pos).sum(0)
    torch.testing.assert_close(graph.y_dipole_vector[0], 4.80320471 * moment)
    assert graph.y_charges.shape == (graph.num_nodes,)


def test_tensors_are_symmetric_and_list_the_lower_triangle(root):
    molecules, _ = read_tables(root)
    tensors = molecules.values["polarizability_tabled"]
    values = [float(each) for each in row(3)[1].split(",")[1:]]
    np.testing.assert_array_equal(tensors, tensors.transpose(0, 2, 1))
    assert [tensors[2, i, j] for i in range(3) for j in range(i + 1)] == values


def test_graphs_are_fully_connected_or_cut_off(make):
    graph = make().sets.train[1]
    sender, receiver = graph.edge_index
    assert receiver.tolist() == sorted(receiver.tolist())
    atoms = graph.num_nodes
    pairs = set(zip(sender.tolist(), receiver.tolist(), strict=True))
    assert pairs == {(i, j) for i in range(atoms) for j in range(atoms) if i != j}
    near = make(cutoff=1.5).sets.train[1]
    lengths = (graph.pos[sender] - graph.pos[receiver]).norm(dim=1)
    assert near.edge_index.tolist() == graph.edge_index[:, lengths < 1.5].tolist()
    numbers = torch.tensor([1, 6, 7, 8, 9])[graph.x.argmax(1)]
    assert torch.equal(numbers, graph.atomic_numbers)
    assert torch.equal(graph.x.sum(1), torch.ones(atoms, dtype=torch.float64))


@pytest.mark.parametrize("cutoff", [None, 1.5])
def test_a_batch_is_what_collating_its_graphs_gives(make, cutoff):
    train = make(target=ALL, cutoff=cutoff).sets.train
    places = [5, 0, 5, 7]
    batch = train.__getitems__(places)
    collated = Batch.from_data_list([train[place] for place in places])
    assert set(batch.keys()) == set(collated.keys())
    for name in batch.keys():  # noqa: SIM118 - iterating over a batch gives pairs
        assert torch.equal(batch[name], collated[name]), name
    assert batch.num_graphs == 4
    for one, other in zip(batch.to_data_list(), collated.to_data_list(), strict=True):
        assert torch.equal(one.edge_index, other.edge_index)
        assert torch.equal(one.y_U0, other.y_U0)


def test_loaders_give_batches_in_an_order_that_the_seed_determines(make):
    batches = [graph.y_U0 for graph in make(seed=1).train_loader()]
    assert [len(batch) for batch in batches[:2]] == [4, 4]
    again = [graph.y_U0 for graph in make(seed=1).train_loader()]
    assert all(torch.equal(a, b) for a, b in zip(batches, again, strict=True))
    other = next(iter(make(seed=2).train_loader())).y_U0
    assert not torch.equal(batches[0], other)
    module = make()
    (loader,) = module.test_loaders().values()
    found = torch.cat([graph.y_U0 for graph in loader])
    assert found.tolist() == module.sets.tests["test"].of("U0").tolist()


def test_the_split_is_the_published_one():
    parts = split_of(130_831)
    order = np.random.RandomState(42).permutation(130_831)
    assert [len(parts[name]) for name in ("train", "val", "test")] == [110_000, 10_000, 10_831]
    np.testing.assert_array_equal(np.concatenate([*parts.values()]), order)
    assert sorted(np.concatenate([*split_of(7).values()])) == list(range(7))
    with pytest.raises(DataError, match="2 molecules cannot be divided"):
        split_of(2)


def test_training_sets_of_a_seed_are_nested_and_leave_the_test_alone(make):
    small, large = (set(make(train_size=n).sets.train.chosen.tolist()) for n in (5, 12))
    assert len(small) == 5
    assert small < large
    assert small != set(make(train_size=5, seed=1).sets.train.chosen.tolist())
    everything = make().sets
    assert large <= set(everything.train.chosen.tolist())
    short = make(train_size=5, val_size=1, test_size=2).sets
    assert short.tests["test"].chosen.tolist() == everything.tests["test"].chosen[:2].tolist()


def test_the_copy_is_read_where_the_tables_are_unchanged(tmp_path, monkeypatch):
    root = write_tables(tmp_path, 6)
    first, checksum = stored_tables(root, tmp_path / "cache")

    def refused(folder: Path) -> None:
        raise AssertionError(f"{folder} is converted again")

    with monkeypatch.context() as patch:
        patch.setattr("equinet.data.molecules.stored.read_tables", refused)
        again, same = stored_tables(root, tmp_path / "cache")
    assert same == checksum
    assert again.fingerprint() == first.fingerprint()
    assert again.texts["smiles"].tolist() == [b"C"] * 6
    write_tables(tmp_path, 5)
    assert len(stored_tables(root, tmp_path / "cache")[0]) == 5


def test_a_damaged_copy_is_made_anew(tmp_path, caplog):
    root = write_tables(tmp_path, 6)
    first, _ = stored_tables(root, tmp_path / "cache")
    (path,) = (tmp_path / "cache").rglob("positions.npy")
    content = bytearray(path.read_bytes())
    content[200] ^= 1
    path.write_bytes(bytes(content))
    again, _ = stored_tables(root, tmp_path / "cache")
    assert "anew" in caplog.text
    assert again.fingerprint() == first.fingerprint()


def test_fits_leave_the_least_squares_and_the_scale_says_their_size(make):
    module = make(target=["U0", "gap", "r2", "charges", "dipole_vector"])
    train = module.sets.train
    scales = {each.property.name: each for each in module.task_arguments()["scales"]}
    counts = np.stack([np.bincount(g.x.argmax(1), minlength=5) for g in train]).astype(float)
    fit, *_ = np.linalg.lstsq(counts, train.of("U0"), rcond=None)
    np.testing.assert_allclose(scales["U0"].references, fit)
    rest = train.of("U0") - counts @ fit
    assert scales["U0"].deviation == pytest.approx(np.sqrt(np.square(rest).mean()))
    atoms = np.mean([graph.num_nodes for graph in train])
    assert scales["U0"].scale == pytest.approx(scales["U0"].deviation / np.sqrt(atoms))
    assert not scales["dipole_vector"].references.any()
    carbon = np.concatenate([g.y_charges[g.atomic_numbers == 6] for g in train])
    assert scales["charges"].references[1] == pytest.approx(carbon.mean())


def test_the_description_says_what_the_data_are(make, root):
    text = make(target=["mu", "U0"]).describe()
    assert f"molecules of {root}, NOT the published QM9" in text
    assert "mu (D), U0 (eV)" in text
    assert "26 training, 2 validation, 2 test" in text


def test_fingerprints_tell_targets_and_molecules_apart(make):
    found = {
        make(**changes).fingerprint()
        for changes in ({}, {"target": "mu"}, {"train_size": 5}, {"cutoff": 3.0})
    }
    assert len(found) == 4
    assert make().fingerprint() in found


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"target": "aplha"}, "data.target: 'aplha' is no property of QM9; did you mean 'alpha'"),
        ({"target": "band"}, "is no property of QM9; choose from mu, alpha"),
        ({"target": []}, "data.target must name at least one property"),
        ({"target": ["mu", "mu"]}, "data.target must name at least one property, each once"),
        ({"train_size": 0}, "train_size must be at least 1"),
        ({"cutoff": 0.0}, "cutoff must be above 0"),
        ({"root": "absent"}, "there is no folder absent"),
        ({"train_size": 27}, "train_size: 27 molecules are asked for, and .* has 26"),
    ],
)
def test_mistakes_are_refused_in_one_sentence(make, changes, message):
    with pytest.raises(DataError, match=message) as refused:
        make(**changes).prepare()
    assert "\n" not in str(refused.value)


def test_an_absent_package_is_named_with_its_remedy(monkeypatch, cache):
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(DataError, match=r"pip install '\.\[molecules\]'"):
        QM9(cache=cache).prepare()


def damaged(text: str, how: str) -> str:
    """The text of a table with a fault in its last row."""
    *lines, last = text.splitlines()
    if how == "cut":
        last = last[: len(last) // 2]
    elif how == "nan":
        last = last.rsplit(",", 1)[0] + ",nan"
    elif how == "word":
        last = last.rsplit(",", 1)[0] + ",abc"
    elif how == "element":
        last = last.replace("'C'", "'Qq'")
    elif how == "heavy":
        last = last.replace("'C'", "'S'")
    elif how == "short":
        last = last.replace("'C',", "")
    elif how == "gone":
        last = ""
    elif how == "head":
        lines[0] = lines[0].replace("XYZ_Ang", "XYZ")
    return "\n".join([*lines, last])


@pytest.mark.parametrize(
    ("name", "how", "message"),
    [
        ("qm9_part2.csv", "cut", "qm9_part2.csv.*line .* of 25 columns; it is cut short"),
        ("qm9_part2.csv", "nan", "qm9_part2.csv, line .*: a target is not finite"),
        ("qm9_part2.csv", "word", "qm9_part2.csv, line .*: could not convert string"),
        ("qm9_part2.csv", "element", "line .*: an element among .* is none of H, C, N, O, F"),
        ("qm9_part2.csv", "heavy", "line .*: an element among .* is none of H, C, N, O, F"),
        ("qm9_part2.csv", "short", "qm9_part2.csv, line .*: .* numbers were found, not"),
        ("qm9_part2.csv", "head", "it has no column XYZ_Ang"),
        ("qm9_part3.csv", "gone", "lists 6 molecules, which are not the 5 of the other tables"),
        ("qm9_polarizability.csv", "cut", "qm9_polarizability.csv.* of 7 columns"),
        ("qm9_polarizability.csv", "nan", "a component is not finite"),
        ("qm9_polarizability.csv", "gone", "lists 5 molecules, which are not the 6"),
    ],
)
def test_damaged_tables_are_refused_in_one_sentence(tmp_path, name, how, message):
    root = write_tables(tmp_path, 6)
    path = root / name
    path.write_text(damaged(path.read_text(), how))
    with pytest.raises(DataError, match=message) as refused:
        QM9(root=root, cache=tmp_path / "cache").prepare()
    assert "\n" not in str(refused.value)


def test_tables_without_molecules_are_refused(tmp_path):
    root = write_tables(tmp_path, 6)
    for path in root.glob("*.csv"):
        path.write_text(path.read_text().split("\n")[0])
    with pytest.raises(DataError, match="the tables of QM9 list no molecules"):
        read_tables(root)


def test_a_missing_table_is_named(tmp_path):
    root = write_tables(tmp_path, 6)
    (root / "qm9_part3.csv").unlink()
    with pytest.raises(DataError, match=r"there is no qm9_part3.csv"):
        QM9(root=root, cache=tmp_path / "cache").prepare()


def test_other_elements_than_those_listed_are_refused(make):
    molecules, _ = stored_tables(make().root, make().cache)
    with pytest.raises(DataError, match="contains F, and the elements are H, C, N, O"):
        MoleculeGraphs(molecules, np.arange(len(molecules)), elements=[1, 6, 7, 8])


def test_values_that_are_not_finite_are_refused(make):
    train = make().sets.train
    train.molecules.values["U0"][train.chosen[2]] = np.nan
    with pytest.raises(DataError, match="the U0 of molecule 2 is not finite"):
        fit_scale(train, QM9_PROPERTIES[7])


@pytest.mark.slow
@needs_qm9pack
def test_the_published_tables_are_what_they_were(tmp_path):
    molecules, checksum = read_tables(find_tables())
    assert checksum == PUBLISHED
    assert len(molecules) == 130_831
    values = molecules.values
    assert all(np.isfinite(array).all() for array in values.values())
    assert all((values[name] < 0).all() for name in ("U0", "U", "H", "G"))
    np.testing.assert_allclose(values["gap"], values["lumo"] - values["homo"], atol=0.003)
    trace = np.trace(values["polarizability_tabled"], axis1=1, axis2=2) / 3
    assert np.abs(trace - values["alpha"]).mean() < 0.02
