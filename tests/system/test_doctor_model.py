"""The doctor on a model: a sound one passes, and each kind of fault is found by its check."""

from pathlib import Path

import ase
import ase.io
import pytest
import torch

from equinet import __main__ as entry
from equinet import zoo
from equinet.command_line.model_checks import check_model, structures_for
from equinet.models import EquiformerV2, MACEGaunt, Ponita, PonitaPotential
from equinet.nn.sphere import many_body

COMMON = {
    "elements": (1, 8),
    "cutoff": 3.5,
    "reference_energies": (-13.6, -2040.0),
    "average_neighbors": 4.0,
}


def small() -> MACEGaunt:
    return MACEGaunt(
        **COMMON, channels=3, layers=1, lmax_filter=1, lmax_hidden=1, radial_hidden=(4,)
    ).double()


def failed(model: MACEGaunt) -> set[str]:
    findings = check_model(model, structures_for(model, None))
    return {finding.name for finding in findings if not finding.is_good}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    zoo.save(small(), tmp_path / "model", {})
    return tmp_path / "model"


@pytest.mark.parametrize("file", ["", "card.json"])
def test_a_sound_model_passes(folder, capsys, file):
    assert entry.main(["doctor", "--model", str(folder / file)]) == 0
    out = capsys.readouterr().out
    assert out.count(" good\n") == 8
    assert "All 8 checks pass." in out


def test_what_a_model_does_not_promise_is_not_checked():
    model = EquiformerV2(**COMMON, channels=4, blocks=1, lmax=1, mmax=1, forces="direct")
    lines = [str(finding) for finding in check_model(model, structures_for(model, None))]
    assert "not checked: the model predicts forces directly" in lines[1]
    model = PonitaPotential(**COMMON, channels=4, layers=1)
    findings = list(check_model(model, structures_for(model, None)))
    assert all(finding.is_good for finding in findings)
    assert "rotation of the grid of orientations" in {finding.name for finding in findings}


def _wrong_outputs(change):
    evaluate = MACEGaunt.evaluate

    def wrong(self, *arguments, **options):
        return change(evaluate(self, *arguments, **options))

    return "evaluate", wrong


def _wrong_energies(term):
    atomic = MACEGaunt.atomic_energies

    def wrong(self, species, vectors, edge_index):
        return atomic(self, species, vectors, edge_index) + term(species, vectors, edge_index)

    return "atomic_energies", wrong


def _per_receiver(values, species, edge_index):
    return values.new_zeros(len(species)).index_add(0, edge_index[1], values)


def _smooth(vectors):
    """Return a function of distances that ends smoothly at the cutoff of 3.5 Å."""
    return 1e-3 * (12.25 - vectors.square().sum(1)) ** 3


@pytest.mark.parametrize(
    ("fault", "found"),
    [
        (
            _wrong_outputs(
                lambda out: out | ({"forces": -out["forces"]} if "forces" in out else {})
            ),
            {"forces against differences of energies"},
        ),
        (
            _wrong_outputs(
                lambda out: out | ({"stress": 2 * out["stress"]} if "stress" in out else {})
            ),
            {"stress against differences of energies"},
        ),
        (
            _wrong_energies(lambda z, v, e: _per_receiver(v[:, 0] ** 2 * _smooth(v), z, e)),
            {"rotation", "reflection"},
        ),
        (
            _wrong_energies(lambda z, v, e: _per_receiver(_smooth(v), z, e) * torch.arange(len(z))),
            {"another order of the atoms", "one batch against single structures"},
        ),
        (
            _wrong_energies(lambda z, v, e: _per_receiver(torch.ones_like(v[:, 0]), z, e)),
            {"jump where an atom crosses the cutoff"},
        ),
    ],
    ids=["force sign", "stress factor", "direction", "order", "jump"],
)
def test_a_planted_fault_is_found(monkeypatch, fault, found):
    monkeypatch.setattr(MACEGaunt, *fault)
    wrong = failed(small())
    assert found <= wrong
    # Where one thing is wrong, the others are not blamed for it.
    assert wrong <= found | {"reflection"}


def test_a_wrong_sign_in_the_engine_is_found(monkeypatch):
    powers = many_body.gaunt_powers

    def wrong(x, order, lmax_out, *, backend):
        right = powers(x, order, lmax_out, backend=backend)
        return right if backend == "reference" else -right

    monkeypatch.setattr(many_body, "gaunt_powers", wrong)
    assert failed(small()) == {"native engine against the reference"}


def test_a_failure_ends_with_1(folder, monkeypatch, capsys):
    monkeypatch.setattr(
        MACEGaunt,
        *_wrong_energies(lambda z, v, e: _per_receiver(_smooth(v), z, e) * torch.arange(len(z))),
    )
    assert entry.main(["doctor", "--model", str(folder)]) == 1
    streams = capsys.readouterr()
    assert "FAILS" in streams.out
    assert "2 of 8 checks fail: another order of the atoms" in streams.err


def test_bad_input_is_one_sentence(folder, tmp_path, capsys):
    zoo.save(Ponita(in_scalars=1, out_scalars=1, channels=2, layers=1), tmp_path / "ponita", {})
    ase.io.write(tmp_path / "gold.xyz", ase.Atoms("Au"))
    for words, sentence in (
        (["--model", "mace-gount-3bpa"], "did you mean 'mace-gaunt-3bpa'?"),
        (["--model", str(tmp_path / "ponita")], "is no potential but a Ponita; name a model"),
        (["--model", str(tmp_path / "gold.xyz")], "is a file; give the folder"),
        (["--data", "x.xyz"], "--data x.xyz needs a model"),
        (["--model", str(folder), "--data", "x.xyz"], "x.xyz: not there; check the path"),
        (["--model", str(folder), "--data", str(tmp_path / "gold.xyz")], "does not know Au"),
    ):
        assert entry.main(["doctor", *words]) == 1
        (line,) = capsys.readouterr().err.splitlines()
        assert sentence in line
