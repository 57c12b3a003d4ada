"""Sampling molecules, from overrides to files; bad input in one sentence."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
import pytest
import torch

from equinet import __main__ as entry
from equinet import sample, zoo
from equinet.configuration import hydra_command
from equinet.data import QM9Molecules
from equinet.errors import BackendError, ConfigError, EquinetError
from equinet.models import Ponita, PonitaDenoiser

FEW = ("steps=3", "batch_size=4", "device=cpu")


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    torch.manual_seed(0)
    made = PonitaDenoiser(
        elements=(1, 6, 7, 8, 9),
        sizes=(0, 0, 0, 1, 2),
        position_deviation=1.2,
        channels=4,
        layers=1,
    )
    folder = tmp_path_factory.mktemp("model")
    zoo.save(made, folder, {"data": "none"})
    return folder


@pytest.fixture
def run(model, tmp_path):
    def start(*overrides: str, output: str = "out") -> dict[str, Any]:
        places = (f"checkpoint={model}", f"output={tmp_path / output}")
        return sample.run(hydra_command.compose("sample", [*places, *FEW, *overrides]))

    return start


def positions(folder: Path) -> list[np.ndarray]:
    return [atoms.positions for atoms in ase.io.read(folder / "molecules.extxyz", ":")]


def test_all_files_are_written(run, tmp_path):
    metrics = run("n=7", "seed=2")
    output = tmp_path / "out"
    atoms = ase.io.read(output / "molecules.extxyz", ":")
    assert len(atoms) == metrics["molecules"] == 7
    assert {len(each) for each in atoms} == {3, 4}
    assert all(abs(each.positions.mean(axis=0)).max() < 1e-5 for each in atoms)
    assert (output / "molecules.png").read_bytes().startswith(b"\x89PNG")
    assert json.loads((output / "metrics.json").read_text()) == metrics
    assert 0 <= metrics["sets"]["samples"]["atom_stability"] <= 100
    assert metrics["units"]["atom_stability"] == "%"
    assert (output / "stamp.json").is_file()


def test_the_sdf_holds_every_molecule(run, tmp_path):
    Chem = pytest.importorskip("rdkit.Chem")
    run("n=5")
    path = str(tmp_path / "out" / "molecules.sdf")
    found = list(Chem.SDMolSupplier(path, sanitize=False, removeHs=False))
    places = positions(tmp_path / "out")
    assert len(found) == 5
    for one, other in zip(found, places, strict=True):
        np.testing.assert_allclose(one.GetConformer().GetPositions(), other, atol=1e-3)


def test_batches_do_not_matter_and_seeds_do(run, tmp_path):
    run("n=6", "dtype=float64", output="a")
    run("n=6", "dtype=float64", "batch_size=1", output="b")
    run("n=6", "dtype=float64", "seed=1", output="c")
    a, b, c = (positions(tmp_path / name) for name in "abc")
    for one, other in zip(a, b, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)
    assert any(x.shape != y.shape or abs(x - y).max() > 0.1 for x, y in zip(a, c, strict=True))


def test_an_interrupted_command_goes_on_and_a_higher_n_adds(run, tmp_path, monkeypatch):
    whole = run("n=9", output="whole")
    made = sample.generate

    def stop_at_second(model, numbers, *arguments, **options):
        if 4 in numbers:
            raise KeyboardInterrupt
        return made(model, numbers, *arguments, **options)

    monkeypatch.setattr(sample, "generate", stop_at_second)
    with pytest.raises(KeyboardInterrupt):
        run("n=6", output="parts")
    monkeypatch.setattr(sample, "generate", made)
    calls = []
    monkeypatch.setattr(sample, "generate", lambda *a, **o: calls.append(a[1]) or made(*a, **o))
    run("n=6", output="parts")
    assert calls == [[4, 5]]
    found = run("n=9", output="parts")
    assert found["sets"] == whole["sets"]
    for one, other in zip(*(positions(tmp_path / x) for x in ("whole", "parts")), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4)
    run("n=3", output="parts")  # fewer are a part of those that are there
    assert len(positions(tmp_path / "parts")) == 3
    assert len(calls) == 2


def test_other_settings_are_refused_where_samples_lie(run):
    run("n=2")
    with pytest.raises(ConfigError, match=r"holds samples with seed=0 instead of 1; give output"):
        run("n=2", "seed=1")


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("n=0", "n: 0 is not from 1 to 1000000"),
        ("n=-3", "n: -3 is not"),
        ("n=100000000", "n: 100000000 is not"),
        ("n=many", "n: "),
        ("steps=1", "steps must be at least 2, got 1"),
        ("churn=-1", "churn: "),
        ("lowest_noise=20", "must fall"),
        ("dtype=float16", "dtype: 'float16' is not one of float32, float64"),
        ("dtype=[float32]", "dtype: ['float32'] is not one of float32, float64"),
        ("output=[a,b]", "output: ['a', 'b'] is not a text"),
        ("device=[cpu]", "device: ['cpu'] is not a text"),
        ("device=meta", "device must be auto, cpu or cuda, found 'meta'"),
        ("steps=null", "steps: null is no value for it; leave it out for its default"),
        ("churn=null", "churn: null is no value"),
        ("highest_noise=1e38", "highest_noise: 1e+38 is not from 1e-6 to 1e6 (Å)"),
        ("lowest_noise=1e-300", "lowest_noise: 1e-300 is not from 1e-6 to 1e6 (Å)"),
        ("device=abacus", "device must be auto, cpu or cuda, found 'abacus'"),
        ("reference=qm8", "reference: there is no 'qm8'; say one of molecules, qm9_molecules"),
    ],
)
def test_bad_options_are_one_sentence(model, capsys, tmp_path, option, words):
    command = ["sample", str(model), f"output={tmp_path / 'out'}", *FEW, "n=2", option]
    assert entry.main(command) == 2
    error = capsys.readouterr().err
    assert error.startswith("equinet.sample: ")
    assert words in error
    assert error.count("\n") == 1


def test_checkpoints_that_make_no_molecules_are_refused(tmp_path, run):
    zoo.save(
        Ponita(in_scalars=1, out_scalars=1, channels=4, layers=1), tmp_path / "p", {"data": ""}
    )
    tree = hydra_command.compose("sample", [f"checkpoint={tmp_path / 'p'}"])
    with pytest.raises(ConfigError, match="is a Ponita, which makes no molecules; give a run of"):
        sample.run(tree)
    with pytest.raises(ConfigError, match="mace-gaunt-3bpa is a MACEGaunt, which makes no"):
        sample.run(hydra_command.compose("sample", ["checkpoint=mace-gaunt-3bpa"]))


def cut(part: Path) -> None:
    part.write_bytes(part.read_bytes()[:50])


def changed(name: str, change: Callable[[np.ndarray], Any]) -> Callable[[Path], None]:
    def deed(part: Path) -> None:
        with np.load(part) as file:
            arrays = dict(file)
        np.savez(part, **{**arrays, name: change(arrays[name])})

    return deed


@pytest.mark.parametrize(
    "damage",
    [
        cut,
        changed("positions", lambda array: array * np.nan),
        changed("positions", lambda array: array[:, :2]),
        changed("numbers", lambda array: array + 100),
        changed("counts", lambda array: array + 1),
        changed("samples", lambda array: array + 0.5),
        changed("samples", lambda _: np.array([{}])),
    ],
)
def test_molecules_of_a_damaged_part_are_made_again(run, tmp_path, caplog, damage):
    run("n=2")
    whole = (tmp_path / "out" / "molecules.extxyz").read_bytes()
    (part,) = (tmp_path / "out" / "parts").iterdir()
    damage(part)
    run("n=2")
    assert "0000000.npz cannot be read as a part of the samples" in caplog.text
    assert "its molecules are made again" in caplog.text
    assert (tmp_path / "out" / "molecules.extxyz").read_bytes() == whole


def test_positions_that_are_not_finite_are_not_kept(run, tmp_path, monkeypatch):
    generate = sample.generate

    def spoiled(*arguments, **options):
        made = generate(*arguments, **options)
        made[1].positions[0, 0] = np.nan
        return made

    monkeypatch.setattr(sample, "generate", spoiled)
    with pytest.raises(EquinetError, match="molecule 1 has positions that are not finite"):
        run("n=2")
    assert not list((tmp_path / "out").glob("parts/*"))


def test_a_file_where_a_folder_should_be_is_one_sentence(model, tmp_path, capsys):
    (tmp_path / "out").write_text("")
    for output in (tmp_path / "out", tmp_path / ("a" * 300)):
        assert entry.main(["sample", str(model), f"output={output}", *FEW, "n=2"]) == 1
        error = capsys.readouterr().err
        assert error.startswith(f"equinet.sample: {output} cannot be written")
        assert error.count("\n") == 1


def test_without_rdkit_the_rest_is_written(run, tmp_path, monkeypatch, caplog):
    def refuse() -> None:
        raise BackendError("rdkit is not installed; pip install '.[molecules]'")

    monkeypatch.setattr(sample, "rdkit", refuse)
    monkeypatch.setattr("equinet.evaluation.molecules.judge.rdkit_library", refuse)
    metrics = run("n=2")
    assert "rdkit is not installed" in caplog.text
    assert "validity" not in metrics["sets"]["samples"]
    assert not (tmp_path / "out" / "molecules.sdf").exists()
    assert (tmp_path / "out" / "molecules.extxyz").is_file()


def test_a_reference_is_named_by_its_configuration(monkeypatch, model, tmp_path):
    """Also where the command line has composed another configuration already."""
    monkeypatch.setattr(QM9Molecules, "sets", property(lambda _: 1 / 0), raising=False)
    command = ["sample", str(model), "n=1", f"output={tmp_path / 'out'}", *FEW]
    with pytest.raises(ZeroDivisionError):
        entry.main([*command, "reference=qm9_molecules"])
    assert (tmp_path / "out" / "molecules.extxyz").is_file()


def test_the_help_lists_every_option(capsys):
    assert entry.main(["sample", "--help"]) == 0
    text = capsys.readouterr().out
    for name in ("checkpoint", "n", "seed", "steps", "churn", "reference", "output", "batch_size"):
        assert f"\n  {name}" in text, name
