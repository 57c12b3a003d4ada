"""The evaluation command on a run and any labeled file."""

import copy
import errno
import html
import json
import os
import shutil
from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase.calculators.singlepoint import SinglePointCalculator
from ase.constraints import FixAtoms
from labeled_files import write_clusters
from test_train import TINY, compose

from equinet import __main__ as entry
from equinet import evaluate, train, zoo
from equinet.data.loading import sampling
from equinet.data.store import convert
from equinet.errors import ConfigError, DataError, EquinetError
from equinet.evaluation.report import Findings
from equinet.files import LOCK, hold
from equinet.integrations.ase import EquinetCalculator
from equinet.models import Fallback


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    write_clusters(folder / "train.xyz", 12, seed=0)
    train.run(
        compose(
            "data=files",
            f"data.train={folder / 'train.xyz'}",
            "data.val=3",
            f"run.dir={folder / 'run'}",
            "logger=csv",
            "trainer.max_epochs=1",
            *TINY,
        )
    )
    return folder / "run"


@pytest.fixture
def evaluated(trained):
    def run(file, checkpoint=trained, *overrides: str):
        names = (f"checkpoint={checkpoint}", f"data.file={file}")
        return evaluate.run(compose(*names, *overrides, name="evaluate"))

    return run


def test_predictions_and_errors_agree(evaluated, trained, tmp_path, caplog):
    file = write_clusters(tmp_path / "mine.xyz", 4, seed=5)
    with caplog.at_level("INFO", "equinet"):
        metrics = evaluated(file)
    output = trained / "evaluate" / "mine"
    assert json.loads((output / "metrics.json").read_text()) == metrics
    assert (output / "parity.png").is_file()
    images = ase.io.read(output / "predictions.extxyz", ":")
    energy = np.array([a.info["predicted_energy"] - a.get_potential_energy() for a in images])
    forces = np.concatenate([a.arrays["predicted_forces"] - a.get_forces() for a in images])
    assert metrics["errors"]["energy_rmse"] == pytest.approx(1e3 * np.sqrt((energy**2).mean()))
    # the file holds eight decimals
    assert metrics["errors"]["forces_mae"] == pytest.approx(1e3 * np.abs(forces).mean(), rel=1e-4)
    assert "meV/Å" in caplog.text
    assert str(tmp_path) not in str(output)
    worst = metrics["per_structure"]["forces_rmse"]
    squares = [np.square(a.arrays["predicted_forces"] - a.get_forces()).mean() for a in images]
    assert worst["worst"] == pytest.approx(1e3 * np.sqrt(max(squares)), rel=1e-4)
    assert worst["worst_index"] == int(np.argmax(squares))
    assert worst["worst_source"] in caplog.text
    assert "mine: F RMSE of a structure: median" in caplog.text
    assert (output / "errors.png").is_file()


def test_batches_are_packed_by_edges_unless_their_size_is_given(
    evaluated, trained, tmp_path, monkeypatch
):
    sizes = []

    def counted(model, loader, **options):
        sizes.append([batch.num_graphs for batch in loader])
        return predict(model, loader, **options)

    predict = evaluate.predict
    monkeypatch.setattr(evaluate, "predict", counted)
    monkeypatch.setattr(sampling, "edges_at_once", lambda _: 1)
    file = write_clusters(tmp_path / "mine.xyz", 4, seed=5)
    output = f"output={tmp_path / 'out'}"
    packed = evaluated(file, trained, output)
    given = evaluated(file, trained, output, "batch_size=3")
    assert sizes == [[1, 1, 1, 1], [3, 1]]
    assert packed["errors"] == pytest.approx(given["errors"], rel=1e-4)


def test_the_report_of_an_evaluation(trained, tmp_path, monkeypatch):
    monkeypatch.setattr(evaluate, "official_3bpa_file", lambda _: "test_300K.xyz")
    file = write_clusters(tmp_path / "a<b>&.xyz", 12, seed=5)
    overrides = (f"checkpoint={trained}", "data.file=mine.xyz", f"output={tmp_path / 'out'}")
    tree = compose(*overrides, name="evaluate")
    tree["data"]["file"] = str(file)  # on a command line this name would need quotes
    metrics = evaluate.run(tree)
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "<b>&.xyz" not in page
    text = html.unescape(page)
    for words in (
        f"{metrics['errors']['forces_rmse']:.2f}",
        *(f"evaluated on {file}", "The model was trained on", f"{file.name}: 12 structures: "),
        *("Luo et al. 2024", "batch_size=null"),
        metrics["per_structure"]["forces_rmse"]["worst_source"],
    ):
        assert words in text, words
    assert page.count('class="structure"') == 10


def test_a_report_that_fails_hides_no_errors(evaluated, tmp_path, monkeypatch, caplog):
    def fail(*_, **__):
        raise RuntimeError("no ink")

    monkeypatch.setattr(Findings, "of", fail)
    file = write_clusters(tmp_path / "mine.xyz", 2, seed=5)
    with caplog.at_level("INFO", "equinet"):
        metrics = evaluated(file)
    assert metrics["errors"]["energy_rmse"] > 0
    assert "E RMSE" in caplog.text
    assert "report.html is not written: RuntimeError: no ink" in caplog.text


def test_fixed_atoms_keep_their_raw_labels_in_the_predictions(evaluated, trained, tmp_path):
    file = write_clusters(tmp_path / "free.xyz", 2, seed=6)
    images = ase.io.read(file, ":")
    for atoms in images:
        atoms.set_constraint(FixAtoms([0]))
        atoms.calc.results["forces"] = atoms.get_forces(apply_constraint=False)
    ase.io.write(tmp_path / "held.xyz", images, format="extxyz")
    output = tmp_path / "out"
    given = (tmp_path / "held.xyz", trained, f"output={output}")
    all_atoms = evaluated(*given)
    free_only = evaluated(*given, "free_atoms_only=true")
    assert all_atoms["errors"] != free_only["errors"]
    for atoms, raw in zip(ase.io.read(output / "predictions.extxyz", ":"), images, strict=True):
        found = atoms.get_forces(apply_constraint=False)
        assert np.allclose(found, raw.get_forces(apply_constraint=False), atol=1e-7)


def test_elements_unseen_in_training_are_named(evaluated, tmp_path):
    file = write_clusters(tmp_path / "gold.xyz", 2, symbols="Cu2Au2")
    with pytest.raises(DataError, match=r"gold\.xyz holds Au, which .* not trained for \(Al, Cu\)"):
        evaluated(file)


def test_structures_of_unseen_elements_are_left_out_and_counted(evaluated, tmp_path, caplog):
    known = write_clusters(tmp_path / "known.xyz", 3, seed=2)
    gold = write_clusters(tmp_path / "gold.xyz", 2, symbols="Cu2Au2")
    mixed = tmp_path / "mixed.xyz"
    mixed.write_text(gold.read_text() + known.read_text())
    expected = evaluated(known)["errors"]
    found = evaluated(mixed)
    assert "mixed.xyz: 2 of 5 structures hold Au, which the model was not trained" in caplog.text
    assert found["structures"] == 3
    assert found["errors"] == pytest.approx(expected, rel=1e-5)


def test_folders_stores_and_several_files_are_evaluated_like_files(evaluated, tmp_path, caplog):
    folder = tmp_path / "frames"
    folder.mkdir()
    files = [write_clusters(folder / f"{name}.xyz", 2, seed=i) for i, name in enumerate("ab")]
    list(convert(folder, tmp_path / "store", processes=1))
    whole = evaluated(folder)
    assert whole["structures"] == 4
    assert evaluated(tmp_path / "store")["errors"] == pytest.approx(whole["errors"], rel=1e-5)
    caplog.clear()
    with caplog.at_level("INFO", "equinet"):
        apart = evaluated(f"[{files[0]},{files[1]}]")
    assert list(apart) == ["a", "b"]
    square = sum(found["errors"]["forces_rmse"] ** 2 for found in apart.values()) / 2
    assert square == pytest.approx(whole["errors"]["forces_rmse"] ** 2, rel=1e-5)
    table = caplog.text[caplog.text.index("All files") :]
    assert [line.split()[0] for line in table.splitlines()[-2:]] == ["a", "b"]
    with pytest.raises(ConfigError, match="different names"):
        evaluated(f"[{files[0]},{files[0]}]")


def test_unlabeled_files_are_refused_with_the_keys_they_have(evaluated, tmp_path):
    images = ase.io.read(write_clusters(tmp_path / "a.xyz", 2), ":")
    for atoms in images:
        atoms.calc = None
        atoms.info["charge"] = 1
    ase.io.write(tmp_path / "bare.xyz", images, format="extxyz")
    with pytest.raises(DataError, match="charge"):
        evaluated(tmp_path / "bare.xyz")


def test_single_atoms_and_no_edges_work(evaluated, trained, tmp_path, caplog):
    atoms = ase.Atoms("CuCu", positions=[[0, 0, 0], [90, 0, 0]])
    atoms.calc = SinglePointCalculator(atoms, energy=1.0, forces=np.full((2, 3), 0.1))
    single = atoms[:1]
    single.calc = SinglePointCalculator(single, energy=1.0, forces=np.full((1, 3), 0.1))
    ase.io.write(tmp_path / "far.xyz", [atoms, single], format="extxyz")
    assert evaluated(tmp_path / "far.xyz")["structures"] == 2
    model = zoo.load(trained)
    single.calc = EquinetCalculator(model)
    reference = model.reference_energies.energies[model.elements.index(29)]
    offset = single.get_potential_energy() - float(reference)
    assert f"differs by Cu {offset:+.3f} eV" in caplog.text


def test_model_folder_and_double_precision(evaluated, trained, tmp_path):
    file = write_clusters(tmp_path / "b.xyz", 3, seed=7)
    single = evaluated(file, trained / "model")
    double = evaluated(file, trained, "dtype=float64")
    assert single["errors"]["forces_rmse"] == pytest.approx(
        double["errors"]["forces_rmse"], rel=1e-4
    )
    assert (trained / "evaluate" / "b" / "metrics.json").is_file()


def test_committees_write_how_far_their_members_differ(evaluated, trained, tmp_path):
    file = write_clusters(tmp_path / "b.xyz", 3, seed=7)
    other = zoo.load(trained)
    for parameter in other.parameters():
        parameter.data *= 1.01
    zoo.save(other, tmp_path / "other", {})
    names = [str(trained), str(tmp_path / "other")]
    assert entry.main(["zoo", "committee", *names, "--out", str(tmp_path / "both")]) == 0
    errors = evaluated(file, tmp_path / "both", f"output={tmp_path}")["errors"]
    members = [evaluated(file, name, f"output={tmp_path / 'one'}")["errors"] for name in names]
    worst = max(each["forces_rmse"] for each in members)
    assert min(each["forces_rmse"] for each in members) / 2 < errors["forces_rmse"] < worst
    for atoms in ase.io.read(tmp_path / "predictions.extxyz", ":"):
        assert atoms.info["energy_spread"] > 0
        assert atoms.arrays["forces_spread"].shape == (len(atoms),)
        assert (atoms.arrays["forces_spread"] > 0).all()


@pytest.mark.parametrize(("symbols", "familiar"), [("Cu4", True), ("Cu2Al2", False)])
def test_fallbacks_write_which_structures_are_familiar(
    symbols, familiar, evaluated, trained, tmp_path
):
    file = write_clusters(tmp_path / "b.xyz", 3, seed=7, symbols=symbols)
    known = zoo.load(trained)
    other = copy.deepcopy(known)
    for parameter in other.parameters():
        parameter.data *= 1.01
    zoo.save(Fallback.of(known, other, pairs=[]), tmp_path / "both", {})
    zoo.save(other, tmp_path / "other", {})
    structures = {}
    for name in (tmp_path / "both", trained, tmp_path / "other"):
        evaluated(file, name, f"output={tmp_path / 'out'}")
        structures[name] = ase.io.read(tmp_path / "out" / "predictions.extxyz", ":")
    for both, first, second in zip(*structures.values(), strict=True):
        expected, unexpected = (first, second) if familiar else (second, first)
        assert both.info["familiar"] == familiar
        # The member alone is evaluated by its fixed form, in the same single precision.
        energy = expected.info["predicted_energy"]
        assert both.info["predicted_energy"] == pytest.approx(energy, abs=1e-6)
        assert both.info["predicted_energy"] != unexpected.info["predicted_energy"]
        assert "familiar" not in expected.info


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (("dtype=float8",), "dtype: 'float8' is not one of"),
        (("device=tpus",), "device must be auto, cpu or cuda, found 'tpus'"),
        (("batch_size=abc",), "batch_size: 'abc' is not a whole number"),
        (("batch_size=0",), "batch_size: 0 is not at least 1"),
        (("device=[cpu]",), r"device: \['cpu'\] is not a text"),
        (("output=[a]",), r"output: \['a'\] is not a text"),
        (("data.energy_key=[a]",), r"data.energy_key: \['a'\] is not a text"),
        (("data.energy_unit=null",), "data.energy_unit: null is no value for it"),
        (("output=/dev/null",), "output: cannot make the folder /dev/null"),
    ],
)
def test_odd_settings_get_a_sentence(evaluated, trained, tmp_path, overrides, sentence):
    file = write_clusters(tmp_path / "c.xyz", 2)
    with pytest.raises(ConfigError, match=sentence):
        evaluated(file, trained, *overrides)


@pytest.mark.parametrize("content", ["{}", "task: 5", "task: null", "task: [1]"])
def test_a_damaged_configuration_of_a_run_is_named(evaluated, trained, tmp_path, content):
    file = write_clusters(tmp_path / "c.xyz", 2)
    run = shutil.copytree(trained, tmp_path / "run")
    (run / "config.yaml").write_text(content)
    with pytest.raises(DataError, match=r"config\.yaml cannot be read as the configuration of a"):
        evaluated(file, run)


def test_absent_and_unfinished_models(evaluated, trained, tmp_path):
    file = write_clusters(tmp_path / "d.xyz", 2)
    with pytest.raises(ConfigError, match="nowhere"):
        evaluated(file, "nowhere")
    with pytest.raises(ConfigError, match="modle"):  # not the run beside it
        evaluated(file, trained / "modle")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.yaml").write_text((trained / "config.yaml").read_text())
    with pytest.raises(ConfigError, match="holds no model yet"):
        evaluated(file, tmp_path / "run")


def test_published_rows_stand_beside_an_official_file(
    evaluated, trained, tmp_path, monkeypatch, caplog
):
    monkeypatch.setattr(evaluate, "official_3bpa_file", lambda _: "test_300K.xyz")
    with caplog.at_level("INFO", "equinet"):
        metrics = evaluated(write_clusters(tmp_path / "e.xyz", 2))
    assert metrics["official_name"] == "test_300K.xyz"
    assert "MACE-Gaunt" in caplog.text
    assert "Luo et al. 2024" in caplog.text


def test_a_second_evaluation_into_one_folder_is_refused(evaluated, trained, tmp_path):
    file = write_clusters(tmp_path / "mine.xyz", 2, seed=5)
    output = tmp_path / "out"
    with hold(output, "evaluates"):
        with pytest.raises(ConfigError, match=f"process {os.getpid()} on .* already evaluates"):
            evaluated(file, trained, f"output={output}")
        assert [path.name for path in output.iterdir()] == [LOCK]
    evaluated(file, trained, f"output={output}")
    names = {path.name for path in output.iterdir()}
    assert names >= {"metrics.json", "parity.png", "predictions.extxyz"}
    assert not any(name == LOCK or name.endswith(".partial") for name in names)


def test_a_full_disk_ends_an_evaluation_in_one_sentence(evaluated, trained, tmp_path, monkeypatch):
    file = write_clusters(tmp_path / "mine.xyz", 2, seed=5)

    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(EquinetError, match=r"cannot be written \(No space left on device\)"):
        evaluated(file, trained, f"output={tmp_path / 'out'}")
    assert not list((tmp_path / "out").iterdir())
