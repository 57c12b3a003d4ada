"""Models on disk: exact, checked, and never a pickle."""

import errno
import hashlib
import json
import os
import signal
import time
from pathlib import Path

import pytest
import safetensors.torch
import torch
from forks import exit_code, fork
from torch import nn

from equinet import zoo
from equinet.errors import ConfigError, DataError, EquinetError
from equinet.models import MACEGaunt, Model, Ponita, all_models

REFERENCE = (-13.587222780835477, -2041.8396277138045)


def make_model(**arguments):
    return MACEGaunt(
        elements=(1, 8),
        cutoff=4.0,
        reference_energies=REFERENCE,
        average_neighbors=7.0,
        channels=4,
        lmax_filter=2,
        lmax_hidden=1,
        radial_hidden=(8,),
        **arguments,
    )


@pytest.fixture
def folder(tmp_path):
    zoo.save(make_model(), tmp_path / "model", {"data": "none"})
    return tmp_path / "model"


def edit_card(folder, **changes):
    path = folder / "card.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def replace_weights(folder, tensors):
    """Write other weights and a card that vouches for them."""
    safetensors.torch.save_file(tensors, folder / "model.safetensors")
    content = (folder / "model.safetensors").read_bytes()
    edit_card(folder, sha256=hashlib.sha256(content).hexdigest())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_round_trip_is_exact(tmp_path, dtype):
    model = make_model().to(dtype)
    zoo.save(model, tmp_path, {})
    loaded = zoo.load(tmp_path)
    assert not loaded.training
    assert loaded.dtype == dtype
    lists = {"elements": [1, 8], "reference_energies": list(REFERENCE), "radial_hidden": [8]}
    assert loaded.arguments == {**model.arguments, **lists}
    expected = model.state_dict()
    assert loaded.state_dict().keys() == expected.keys()
    for name, tensor in loaded.state_dict().items():
        assert torch.equal(tensor, expected[name]), name
    assert tuple(loaded.reference_energies.energies.tolist()) == REFERENCE


def test_tables_keep_the_precision_that_they_were_made_in(tmp_path):
    options = {"in_scalars": 1, "out_scalars": 1, "channels": 4, "layers": 1}
    model = Ponita(**options, grid="fibonacci5")
    zoo.save(model, tmp_path / "as_made", {})
    zoo.save(model.float(), tmp_path / "cast", {})
    exact = Ponita(**options, grid="fibonacci5").space.points
    for folder, tolerance in (("as_made", 0.0), ("cast", 1e-7)):
        points = zoo.load(tmp_path / folder).space.points
        assert points.dtype == torch.float64
        torch.testing.assert_close(points, exact, rtol=0, atol=tolerance)


def test_dtype_changes_all_but_the_reference_energies(folder):
    loaded = zoo.load(folder, dtype=torch.float64)
    assert {parameter.dtype for parameter in loaded.parameters()} == {torch.float64}
    assert tuple(zoo.load(folder).reference_energies.energies.tolist()) == REFERENCE


def test_loading_draws_no_random_numbers(folder):
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    zoo.load(folder)
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("convert", [str, lambda path: path], ids=["str", "Path"])
def test_a_run_directory_and_its_model_folder_are_the_same(folder, convert):
    run = zoo.load(convert(folder.parent)).state_dict()
    model = zoo.load(convert(folder)).state_dict()
    assert all(torch.equal(run[name], model[name]) for name in model)


def test_saving_again_replaces_both_files(folder):
    model = make_model(scale=3.0)
    zoo.save(model, folder, {"data": "other"})
    assert sorted(path.name for path in folder.iterdir()) == ["card.json", "model.safetensors"]
    assert zoo.load_card(folder)["data"] == "other"
    assert zoo.load(folder).scale == 3.0


def test_an_interrupted_save_leaves_what_was_there(folder, monkeypatch):
    before = {path.name: path.read_bytes() for path in folder.iterdir()}

    def fail(_):
        raise OSError("disk full")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="disk full"):
        zoo.save(make_model(), folder, {})
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


@pytest.mark.parametrize("step", range(8))
def test_a_kill_at_any_step_of_a_save_leaves_one_of_the_two_models(folder, step):
    """The process ends before the given call that changes the folder."""
    new = make_model(scale=3.0)

    def save_until_killed():
        calls = iter(range(100))
        for owner, name in ((os, "fsync"), (Path, "replace"), (Path, "unlink")):
            call = getattr(owner, name)

            def counted(*arguments, call=call, **options):
                if next(calls) == step:
                    os.kill(os.getpid(), signal.SIGKILL)
                return call(*arguments, **options)

            setattr(owner, name, counted)
        zoo.save(new, folder, {"data": "new"})

    assert exit_code(fork(save_until_killed)) == -signal.SIGKILL
    loaded = zoo.load(folder)
    assert (loaded.scale, zoo.load_card(folder)["data"]) in {(1.0, "none"), (3.0, "new")}
    expected = new if loaded.scale == 3.0 else None
    if expected is not None:
        assert torch.equal(loaded.embedding, expected.embedding)
    zoo.save(make_model(scale=2.0), folder, {"data": "later"})
    assert zoo.load(folder).scale == 2.0
    assert sorted(path.name for path in folder.iterdir()) == ["card.json", "model.safetensors"]


def test_a_card_whose_arguments_were_changed_is_refused(folder):
    card = json.loads((folder / "card.json").read_text())
    edit_card(folder, arguments={**card["arguments"], "cutoff": 4.5})
    with pytest.raises(DataError, match=r"card\.json says of the model's arguments something else"):
        zoo.load(folder)
    edit_card(folder, arguments=card["arguments"], metrics={"added": "by hand"})
    assert zoo.load(folder).cutoff == 4.0


def test_a_model_of_an_older_version_loads(folder):
    """Its weights carry no checksum of the card."""
    replace_weights(folder, safetensors.torch.load_file(folder / "model.safetensors"))
    assert zoo.load(folder).elements == (1, 8)


@pytest.mark.parametrize(
    "changes",
    [
        {"layers": 10**6},
        {"layers": 12_000},
        {"channels": 10**9},
        {"elements": list(range(1, 10**5))},
    ],
    ids=["layers", "many layers", "channels", "elements"],
)
def test_a_card_cannot_ask_for_a_model_far_beyond_its_weights(folder, changes):
    card = json.loads((folder / "card.json").read_text())
    edit_card(folder, arguments={**card["arguments"], **changes})
    start = time.process_time()
    with pytest.raises(DataError, match=r"does not take: .*(the file of weights could|far more)"):
        zoo.load(folder)
    assert time.process_time() - start < 30


def test_a_full_disk_is_one_sentence_and_leaves_the_model(folder, monkeypatch):
    before = {path.name: path.read_bytes() for path in folder.iterdir()}

    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(EquinetError, match=r"safetensors cannot be written \(No space left"):
        zoo.save(make_model(scale=3.0), folder, {})
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_unknown_class_is_never_built(folder):
    edit_card(folder, **{"class": "os.system"})
    with pytest.raises(DataError, match=r"'os\.system'.*does not have"):
        zoo.load(folder)


def test_every_class_is_a_model():
    found = all_models()
    assert {"MACEGaunt", "Committee", "GroupResNet"} <= found.keys()
    assert all(issubclass(kind, Model) and kind.__name__ == name for name, kind in found.items())


def test_damaged_weights_are_refused(folder):
    path = folder / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(DataError, match="SHA-256"):
        zoo.load(folder)


def test_absent_weights_are_named(folder):
    (folder / "model.safetensors").unlink()
    with pytest.raises(DataError, match=r"model\.safetensors cannot be read"):
        zoo.load(folder)


def test_weights_that_are_something_else_are_refused(folder):
    content = b"\x80\x04 not safetensors"
    (folder / "model.safetensors").write_bytes(content)
    edit_card(folder, sha256=hashlib.sha256(content).hexdigest())
    with pytest.raises(DataError, match="not a safetensors file"):
        zoo.load(folder)


def test_missing_and_extra_tensors_are_named(folder):
    tensors = safetensors.torch.load_file(folder / "model.safetensors")
    del tensors["embedding"]
    replace_weights(folder, {**tensors, "surplus": torch.zeros(1)})
    with pytest.raises(DataError, match="lack embedding and have surplus"):
        zoo.load(folder)


@pytest.mark.parametrize("wrong", [torch.zeros(2, 1, 5), torch.zeros(2, 1, 4).double()])
def test_tensors_of_other_shape_or_type_are_named(folder, wrong):
    tensors = safetensors.torch.load_file(folder / "model.safetensors")
    replace_weights(folder, {**tensors, "embedding": wrong})
    with pytest.raises(DataError, match="embedding is torch"):
        zoo.load(folder)


def test_arguments_that_do_not_fit_the_class(folder):
    edit_card(folder, arguments={"elements": [1], "cutof": 4.0})
    with pytest.raises(DataError, match="arguments that MACEGaunt does not take"):
        zoo.load(folder)


def test_a_dtype_that_is_none(folder):
    edit_card(folder, dtype="load")
    with pytest.raises(DataError, match="dtype 'load'"):
        zoo.load(folder)


@pytest.mark.parametrize("device", ["nowhere", "cuda:63"])
def test_a_device_that_is_not_there(folder, device):
    with pytest.raises(ConfigError, match=device):
        zoo.load(folder, device=device)


def test_only_known_models_are_saved(tmp_path):
    class Other(nn.Linear, Model):
        pass

    with pytest.raises(
        ValueError, match="must be one of Committee, DenseGroupResNet, EquiformerV2, Fallback"
    ):
        zoo.save(Other(1, 1), tmp_path, {})


def test_mixed_precision_is_refused(tmp_path):
    model = make_model()
    model.embedding.data = model.embedding.data.double()
    with pytest.raises(ValueError, match="one dtype"):
        zoo.save(model, tmp_path, {})
