"""The command line: verbs, exit codes, errors in one sentence."""

import subprocess
import sys

import numpy as np
import pytest
from ase.build import molecule
from ase.calculators.singlepoint import SinglePointCalculator

import equinet
from equinet import __main__ as entry
from equinet import zoo
from equinet.models import MACEGaunt, Ponita


@pytest.fixture
def run_directory(tmp_path):
    model = MACEGaunt(
        elements=[1, 8], cutoff=4.0, reference_energies=[-13.6, -2040.0], average_neighbors=7.0
    )
    card = {
        "data": "3BPA, 450 frames",
        "metrics": {"test_300K": {"forces_rmse": 24.125, "structures": 1669}},
        "units": {"forces_rmse": "meV/Å"},
    }
    zoo.save(model, tmp_path / "model", card)
    return tmp_path


def test_info_shows_numbers_with_their_units(run_directory, capsys):
    assert entry.main(["zoo", "info", str(run_directory)]) == 0
    words = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert words[0][0] == "MACEGaunt,"
    assert ["elements", "H", "O"] in words
    assert ["cutoff", "4"] in words
    assert ["forces_rmse", "24.125", "meV/Å"] in words
    assert ["structures", "1669"] in words
    assert ["data", "3BPA,", "450", "frames"] in words


def test_verify_accepts_what_is_whole(run_directory, capsys):
    assert entry.main(["zoo", "verify", str(run_directory)]) == 0
    assert "whole, MACEGaunt" in capsys.readouterr().out


def test_verify_refuses_damage_in_one_sentence(run_directory, capsys):
    with (run_directory / "model" / "model.safetensors").open("ab") as file:
        file.write(b"\0")
    assert entry.main(["zoo", "verify", str(run_directory)]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("equinet: ")
    assert "SHA-256" in err
    assert err.count("\n") == 1


def other_model(folder):
    """One more model for the same elements, of other weights."""
    zoo.save(
        MACEGaunt(
            elements=[1, 8], cutoff=4.0, reference_energies=[-13.6, -2040.0], average_neighbors=7.0
        ),
        folder,
        {},
    )
    return folder


def test_committees_are_models_and_name_their_members(run_directory, tmp_path, capsys):
    out = tmp_path / "committee"
    members = [run_directory, other_model(tmp_path / "b"), other_model(tmp_path / "c")]
    assert entry.main(["zoo", "committee", *map(str, members), "--out", str(out)]) == 0
    assert f"{out}: Committee," in capsys.readouterr().out
    assert entry.main(["zoo", "verify", str(out)]) == 0
    assert entry.main(["zoo", "info", str(out)]) == 0
    words = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["members", "3"] in words
    assert ["data", "3BPA,", "450", "frames"] in words


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        (["RUN"], "at least 2 members, found 1"),
        (["RUN", "mace-gaunt-3bpa"], "members must know the same elements in the same order"),
        (["RUN", "RUN"], "RUN is the same model as RUN; give each member once"),
        (["RUN", "RUN/model"], "RUN/model is the same model as RUN; give each member once"),
        (["RUN", "mace-gaunt-4bpa"], "no folder or zoo model"),
        (["RUN", "NETWORK"], "NETWORK is no potential but a Ponita"),
        (["RUN", "RUN", "--out", "RUN"], "--out RUN is there already"),
    ],
)
def test_committees_that_cannot_be_are_refused(
    names, sentence, run_directory, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "RUN").symlink_to(run_directory)
    zoo.save(Ponita(in_scalars=1, out_scalars=1, channels=4, layers=1), tmp_path / "NETWORK", {})
    assert entry.main(["zoo", "committee", "--out", "new", *names]) == 1
    err = capsys.readouterr().err
    assert sentence in err
    assert err.count("\n") == 1
    assert not (tmp_path / "new").exists()


@pytest.fixture
def water(tmp_path):
    """A file of a structure with both elements, and a store of the same."""
    file, store = tmp_path / "water.xyz", tmp_path / "store"
    file.write_text("3\n\nO 0 0 0\nH 0.96 0 0\nH -0.24 0.93 0\n")
    assert entry.main(["data", "convert", str(file), str(store)]) == 0
    return {"FILE": file, "STORE": store}


@pytest.mark.parametrize("train", ["FILE", "STORE"])
def test_fallbacks_are_models_and_name_their_members(train, water, run_directory, tmp_path, capsys):
    out, other = tmp_path / "fallback", other_model(tmp_path / "b")
    arguments = [run_directory, other, "--train", water[train], "--out", out]
    assert entry.main(["zoo", "fallback", *map(str, arguments)]) == 0
    said = capsys.readouterr().out
    assert f"{water[train]}: reading which elements meet in 1 structures" in said
    assert f"{out}: Fallback," in said
    assert entry.main(["zoo", "info", str(out)]) == 0
    words = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["pairs", "H-O"] in words
    assert ["members", "2"] in words
    assert ["data", "3BPA,", "450", "frames"] in words


@pytest.mark.parametrize(
    ("names", "train", "sentence"),
    [
        (["RUN", "mace-gaunt-3bpa"], "FILE", "members must know the same elements"),
        (["RUN", "RUN"], "FILE", "RUN is the same model as RUN; give each member once"),
        (["RUN", "OTHER"], "NOTHING", "NOTHING: not there"),
        (["RUN", "OTHER"], "OTHER", "OTHER: no header.json; no store is there"),
        (["RUN", "OTHER"], "METHANE", "--train METHANE: pairs must be of two of the elements"),
    ],
)
def test_fallbacks_that_cannot_be_are_refused(
    names, train, sentence, run_directory, water, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "RUN").symlink_to(run_directory)
    (tmp_path / "FILE").symlink_to(water["FILE"])
    (tmp_path / "METHANE").write_text("2\n\nC 0 0 0\nH 1.09 0 0\n")
    other_model(tmp_path / "OTHER")
    capsys.readouterr()
    assert entry.main(["zoo", "fallback", "--train", train, "--out", "new", *names]) == 1
    err = capsys.readouterr().err
    assert sentence in err
    assert err.count("\n") == 1
    assert not (tmp_path / "new").exists()


def test_list_and_verify_without_names_cover_the_zoo(capsys):
    assert entry.main(["zoo", "list"]) == 0
    listed = capsys.readouterr().out
    assert entry.main(["zoo", "verify"]) == 0
    verified = capsys.readouterr().out
    for each in zoo.list():
        assert each.name in listed
        assert each.name in verified
    assert listed


@pytest.mark.parametrize(
    ("typed", "sentence"),
    [
        ("", "equinet: VERB is missing; choose from train, evaluate, "),
        ("trian", "equinet: VERB 'trian' is unknown: did you mean 'train', of train, "),
        ("zoo", "equinet zoo: ACTION is missing; choose from list, info, "),
        ("zoo inf", "equinet zoo: ACTION 'inf' is unknown: did you mean 'info', of list, "),
        ("zoo info", "equinet zoo info: MODEL is missing; type equinet zoo info MODEL"),
        (
            "zoo pull a",
            "equinet zoo pull: --out is missing; type equinet zoo pull SOURCE --out OUT",
        ),
        ("zoo pull a --ouy b", "equinet zoo pull: there is no option --ouy; did you mean '--out'?"),
        ("zoo list --a=1", "there is no option --a; equinet zoo list --help lists all"),
        ("zoo list a", "equinet zoo list: there is no argument a; type equinet zoo list"),
        (
            "zoo fallback",
            "equinet zoo fallback: KNOWN, OTHER, --train and --out are missing; type ",
        ),
        ("zoo import a --from b", "--from 'b' is unknown: choose from mace"),
        ("bench --dtype", "equinet bench: --dtype has no value; write one behind it"),
        ("bench --lmax two", "equinet bench: --lmax 'two' is not a whole number; give one"),
        ("data lint a --closest=b", "equinet data lint: --closest 'b' is not a number; give one"),
    ],
)
def test_wrong_usage_is_answered_in_one_sentence_and_exits_with_2(typed, sentence, capsys):
    with pytest.raises(SystemExit) as caught:
        entry.main(typed.split())
    assert caught.value.code == 2
    out, err = capsys.readouterr()
    assert not out
    assert sentence in err
    assert err.startswith("equinet")
    assert err.count("\n") == 1


def test_an_abbreviated_option_and_a_negative_number_are_taken():
    arguments = entry.build_parser().parse_args(["data", "lint", "a", "--clos", "-1"])
    assert arguments.closest == -1.0


def test_what_argparse_says_otherwise_is_handed_on_with_a_way_to_more(capsys):
    with pytest.raises(SystemExit):
        entry.main(["data", "lint", "a", "--energy", "2"])
    assert "ambiguous option: --energy" in capsys.readouterr().err


def test_training_is_a_verb_that_answers_a_typo_without_importing_the_training():
    code = (
        "import sys; from equinet.__main__ import main; "
        "code = main(['train', '+experiment=3bpx']); "
        "sys.exit(code + 10 * ('lightning' in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "did you mean '3bpa'?" in done.stderr
    assert done.stderr.count("\n") == 1


def test_verbs_of_training_and_evaluation_have_their_own_help(capsys):
    assert entry.main(["train", "--help"]) == 0
    assert "Train a model." in capsys.readouterr().out
    assert entry.main(["evaluate", "--help"]) == 0
    assert "Evaluate a model" in capsys.readouterr().out


def test_evaluation_is_a_verb(tmp_path, monkeypatch):
    atoms = molecule("H2O")
    atoms.calc = SinglePointCalculator(atoms, energy=-2067.0, forces=np.ones((3, 3)))
    atoms.write(tmp_path / "water.xyz")
    monkeypatch.chdir(tmp_path)
    assert entry.main(["evaluate", "mace-gaunt-3bpa", "water.xyz", "device=cpu"]) == 0
    assert (tmp_path / "evaluate" / "water" / "metrics.json").is_file()


def test_version(capsys):
    with pytest.raises(SystemExit) as caught:
        entry.main(["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"equinet {equinet.__version__}\n"


def test_interruption_exits_with_130(monkeypatch, capsys):
    def interrupt():
        raise KeyboardInterrupt

    monkeypatch.setattr(zoo, "list", interrupt)
    assert entry.main(["zoo", "list"]) == 130
    assert capsys.readouterr().err == "equinet: interrupted\n"


def test_help_needs_no_torch():
    code = "import sys, equinet.__main__ as m; m.build_parser(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_closed_pipe_is_no_error():
    with subprocess.Popen(
        [sys.executable, "-m", "equinet", "zoo", "list"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait() == 0


@pytest.mark.parametrize(
    "words", [["zoo", "info"], ["data", "info"], ["data", "lint"], ["report"], ["zoo", "verify"]]
)
def test_a_path_that_cannot_be_used_is_one_sentence(capsys, words):
    assert entry.main([*words, "a" * 300]) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"equinet: {'a' * 300}")
    assert error.endswith(": File name too long; give another path\n")
