"""One's own molecules: xyz, db and npz files, kinds of targets, splits, and bad input."""

from pathlib import Path

import ase.db
import ase.io
import numpy as np
import pytest
from ase import Atoms

from equinet.data import MoleculeFiles
from equinet.data.molecules import read_molecules
from equinet.errors import DataError

# A folder of real data beside the checkout, or beside the folder that it lies in.
SHARED = [parent / "shared" / "data" / "molecules" for parent in Path(__file__).resolve().parents]
REAL = next((folder for folder in SHARED if folder.is_dir()), None)
TARGETS = ["energy_gap", "dipole", "alpha_tensor", "q"]


def molecules(count: int = 12) -> list[Atoms]:
    """Molecules of H, C and O with a scalar, a vector, a tensor and charges."""
    made = []
    for seed in range(count):
        rng = np.random.default_rng(seed)
        atoms = Atoms(
            rng.choice(["H", "C", "O"], size=4 + seed % 3), rng.normal(size=(4 + seed % 3, 3))
        )
        tensor = rng.normal(size=(3, 3))
        atoms.info = {
            "energy_gap": float(rng.normal()),
            "dipole": rng.normal(size=3),
            "alpha_tensor": tensor + tensor.T,
        }
        atoms.arrays["q"] = rng.normal(size=len(atoms))
        made.append(atoms)
    return made


def written(made: list[Atoms], path: Path) -> Path:
    """Write molecules in the format of a suffix."""
    if path.suffix == ".npz":
        arrays = {name: np.stack([each.info[name] for each in made]) for name in TARGETS[:3]}
        np.savez(
            path,
            Z=np.concatenate([each.numbers for each in made]),
            R=np.concatenate([each.positions for each in made]),
            N=np.array([len(each) for each in made]),
            q=np.concatenate([each.arrays["q"] for each in made]),
            **arrays,
        )
    elif path.suffix == ".db":
        with ase.db.connect(path) as database:
            for each in made:
                database.write(each, data={**each.info, "q": each.arrays["q"]})
            database.metadata = {"_property_unit_dict": {"energy_gap": "eV", "dipole": "D"}}
    else:
        ase.io.write(path, made, format="extxyz")
    return path


@pytest.mark.parametrize("suffix", [".xyz", ".db", ".npz"])
def test_every_format_gives_the_same_molecules(tmp_path, suffix):
    made = molecules()
    found, units = read_molecules(written(made, tmp_path / f"mine{suffix}"), TARGETS)
    assert units == ({"energy_gap": "eV", "dipole": "D"} if suffix == ".db" else {})
    assert found.counts.tolist() == [len(each) for each in made]
    for name, each in (("numbers", "numbers"), ("positions", "positions")):
        joined = np.concatenate([getattr(one, each) for one in made])
        np.testing.assert_allclose(getattr(found, name), joined, atol=1e-7)
    for name in TARGETS[:3]:
        expected = np.stack([each.info[name] for each in made])
        np.testing.assert_allclose(found.values[name], expected, atol=1e-7)
    charges = np.concatenate([each.arrays["q"] for each in made])
    np.testing.assert_allclose(found.values["q"], charges, atol=1e-7)
    assert found.of_atoms("q")
    assert not found.of_atoms("dipole")


def test_kinds_of_targets_follow_from_their_shapes(tmp_path):
    path = written(molecules(), tmp_path / "mine.xyz")
    module = MoleculeFiles(
        train=path, target=TARGETS, units={"dipole": "D"}, intensive=["energy_gap"]
    )
    module.prepare()
    found = {each.name: (each.pooling, each.unit) for each in module.properties}
    assert found == {
        "energy_gap": ("mean", ""),
        "dipole": ("vector", "D"),
        "alpha_tensor": ("tensor", ""),
        "q": ("atoms", ""),
    }
    graph = module.sets.train[0]
    assert graph.y_alpha_tensor.shape == (1, 3, 3)
    assert graph.y_q.shape == (graph.num_nodes,)
    arguments = module.model_arguments()
    assert (arguments["in_scalars"], arguments["out_scalars"]) == (3, 1 + 1 + 3 + 1)
    assert arguments["out_vectors"] == 3


def test_molecules_are_set_aside_where_no_file_has_them(tmp_path):
    path = written(molecules(), tmp_path / "mine.xyz")
    sets = MoleculeFiles(train=path, target="energy_gap", val_size=0.25).sets
    assert (len(sets.train), len(sets.val), dict(sets.tests)) == (9, 3, {})
    assert not set(sets.train.chosen) & set(sets.val.chosen)
    other = written(molecules(5), tmp_path / "other.npz")
    sets = MoleculeFiles(train=path, val=other, test=other, target="energy_gap").sets
    assert (len(sets.train), len(sets.val), len(sets.tests["test"])) == (12, 5, 5)


def test_an_element_that_no_training_molecule_has_is_named(tmp_path):
    train = written(molecules(), tmp_path / "mine.xyz")
    odd = molecules(3)
    odd[1].symbols[0] = "S"
    test = written(odd, tmp_path / "test.xyz")
    module = MoleculeFiles(train=train, test=test, target="energy_gap")
    with pytest.raises(DataError, match=r"test.xyz: molecule 1 contains S, and the elements are"):
        module.prepare()


def lacks(made: list[Atoms]) -> None:
    del made[3].info["dipole"]


def misshapen(made: list[Atoms]) -> None:
    made[4].info["dipole"] = np.zeros(9)


def four(made: list[Atoms]) -> None:
    for each in made:
        each.info["dipole"] = np.zeros(2)


def not_finite(made: list[Atoms]) -> None:
    made[5].info["dipole"] = np.array([0.0, np.nan, 0.0])


def a_word(made: list[Atoms]) -> None:
    made[2].info["dipole"] = "large"


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lacks, "has no 'dipole' of molecule 3, which earlier ones have"),
        (misshapen, r"molecule 4: dipole has shape \[.*\], that of the first molecule \[3\]"),
        (four, "dipole has 2 values a molecule; a scalar has 1, a vector 3, a tensor 9"),
        (not_finite, "molecule 5: dipole is not finite; leave it out"),
        (a_word, "could not convert string to float: 'large'"),
    ],
)
def test_molecules_that_cannot_be_used_are_named(tmp_path, spoil, message):
    made = molecules()
    spoil(made)
    path = written(made, tmp_path / "mine.xyz")
    with pytest.raises(DataError, match=message) as refused:
        read_molecules(path, ["dipole"])
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"Z": None}, "must have the arrays Z, R and N"),
        ({"N": np.array([1, 2])}, "do not fit one another"),
        ({"Z": np.full(60, 300)}, "Z must hold atomic numbers, from 1 to 118"),
        ({"dipole": np.zeros((5, 3))}, "dipole has 5 values for 12 molecules of 60 atoms"),
        ({"dipole": None}, "has no 'dipole'"),
        ({"Z": np.array(6)}, "do not fit one another"),
        ({"N": np.full((4, 3), 5)}, "do not fit one another"),
        ({"N": np.full(12, np.nan)}, "N hold nan, which is not a whole number"),
        ({"N": np.full(12, "5")}, "N cannot be read as numbers: TypeError"),
        ({"R": np.zeros((60, 3), complex)}, "R cannot be read as numbers: TypeError"),
        ({"dipole": np.array(1.0)}, "dipole has 1 values for 12 molecules of 60 atoms"),
        ({"Z": np.full(60, 1.5)}, "Z hold 1.5, which is not a whole number"),
        ({"dipole": np.full((12, 3), 1j)}, "dipole cannot be read as numbers: TypeError"),
        ({"dipole": np.full((12, 3), "x")}, "dipole cannot be read as numbers: TypeError"),
        ({"dipole": np.full((12, 3), True)}, "dipole cannot be read as numbers: TypeError"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(tmp_path, changes, message):
    path = written(molecules(), tmp_path / "mine.npz")
    arrays = {**np.load(path), **changes}
    np.savez(path, **{name: each for name, each in arrays.items() if each is not None})
    with pytest.raises(DataError, match=message):
        read_molecules(path, ["dipole"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"target": []}, "data.target must name properties"),
        ({"intensive": ["mu"]}, "data.intensive: 'mu' is not among data.target"),
        ({"units": {"mu": "D"}}, "data.units: 'mu' is not among data.target"),
        ({"intensive": ["dipole"], "target": "dipole"}, "dipole is no scalar of molecules"),
        ({"target": "diploe"}, "has no 'diploe'; did you mean 'dipole'"),
        ({"val_size": 1.5}, "val_size must be a fraction"),
        ({"val_size": 12}, "has 12 molecules, of which 12 cannot be set aside"),
        ({"cutoff": -1.0}, "cutoff must be above 0"),
        ({"train": "absent.xyz"}, "there is no file absent.xyz"),
    ],
)
def test_mistakes_are_refused_in_one_sentence(tmp_path, changes, message):
    path = written(molecules(), tmp_path / "mine.xyz")
    with pytest.raises(DataError, match=message) as refused:
        MoleculeFiles(**{"train": path, "target": "energy_gap", **changes}).prepare()
    assert "\n" not in str(refused.value)


def test_blank_lines_end_no_file(tmp_path):
    """ASE's own reader stops at the first one without a word."""
    path = tmp_path / "mine.xyz"
    path.write_text("".join(f"1\ngap={index}.5\nHe 0 0 0\n\n" for index in range(5)))
    assert read_molecules(path, ["gap"])[0].values["gap"].tolist() == [0.5, 1.5, 2.5, 3.5, 4.5]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1\ngap=1.5\nX 0 0 0\n", "molecule 0: atomic number 0 is no element"),
        ("0\ngap=1.5\n", "no atoms"),
        ("1\ngap=1.5 gap=2.5\nHe 0 0 0\n", "the key 'gap' is there twice"),
        ("1\ngap=T\nHe 0 0 0\n", "molecule 0: gap cannot be read as numbers: .* it holds True"),
        ("1\ngap=big\nHe 0 0 0\n", "molecule 0: gap cannot be read as numbers: .* it holds big"),
        ("2\ngap=1.5\nHe 0 0 0\n", "frame 1, line 3: the file ends after 1 of the 2 atoms"),
        ("1\ngap=1.5\nHe 0 0 0 0\n1\ngap=2\nHe 0 x 0\n", "frame 2, line 6: 'x' is not a numb"),
    ],
)
def test_broken_texts_are_refused(tmp_path, text, message):
    (tmp_path / "mine.xyz").write_text(text)
    with pytest.raises(DataError, match=message):
        read_molecules(tmp_path / "mine.xyz", ["gap"])


def test_an_empty_file_is_refused(tmp_path):
    path = tmp_path / "mine.xyz"
    path.write_text("")
    with pytest.raises(DataError, match=r"mine.xyz .*molecules"):
        read_molecules(path, ["dipole"])


@pytest.mark.skipif(REAL is None, reason="the real molecules are not beside the checkout")
@pytest.mark.parametrize(
    ("name", "target", "pooling"),
    [
        ("qm9_reduced_100.xyz", "alpha", "sum"),
        ("qm7x_reduced_100.xyz", "polarizability", "tensor"),
        ("schnetpack_test_qm9.db", "dipole_moment", "sum"),
    ],
)
def test_real_files_are_read(name, target, pooling):
    module = MoleculeFiles(train=REAL / name, target=target)
    assert len(module.sets.train) > 10
    (found,) = module.properties
    assert found.pooling == pooling
    assert found.unit == ("D" if name.endswith(".db") else "")
    (scale,) = module.task_arguments()["scales"]
    assert scale.deviation > 0
