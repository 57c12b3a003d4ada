"""Models of mace-torch become models of equinet with the same energies, and run nothing.

Every attack is first refused and then shown to work on ``torch.load`` as mace-torch calls it; a
test that could not fail shows nothing. The markers are files in the test's own folder.
"""

import io
import json
import lzma
import os
import pickle
import struct
import subprocess
import sys
import zipfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.neighborlist import primitive_neighbor_list

from equinet import __main__ as entry
from equinet import zoo
from equinet.errors import DataError
from equinet.models import MACE
from equinet.zoo.mace import program
from equinet.zoo.mace.converting import convert
from equinet.zoo.mace.program import RefusalError, read
from equinet.zoo.mace.reading import ModelFile

HERE = Path(__file__).resolve().parent
THEIR_PYTHON = os.environ.get("MACE_PYTHON", "")


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """The model file of the fixture."""
    path = tmp_path_factory.mktemp("mace") / "small.model"
    path.write_bytes(lzma.decompress((HERE / "mace_small.model.xz").read_bytes()))
    return path


def graph_of(found, model):
    """The graph of a structure that mace-torch has evaluated, with all neighbors."""
    atoms = Atoms(found["numbers"], found["positions"], cell=found["cell"], pbc=found["pbc"])
    receiver, sender, shift = primitive_neighbor_list(
        "ijS", atoms.pbc, atoms.cell, atoms.positions, model.cutoff
    )
    return SimpleNamespace(
        atomic_numbers=torch.tensor(atoms.numbers),
        pos=torch.tensor(atoms.positions, dtype=model.dtype),
        cell=torch.tensor(np.array(atoms.cell), dtype=model.dtype)[None],
        batch=None,
        edge_index=torch.tensor(np.stack([sender, receiver])),
        edge_shift=torch.tensor(shift, dtype=model.dtype),
    )


def assert_same(model, found, tolerance):
    result = model(graph_of(found, model), stress=found["stress"] is not None)
    forces = torch.tensor(found["forces"], dtype=model.dtype)
    assert forces.abs().max() > 1e-3, "forces this small prove nothing"
    torch.testing.assert_close(result["forces"], forces, rtol=0, atol=tolerance)
    energy = torch.tensor([found["energy"]], dtype=torch.float64)
    torch.testing.assert_close(result["energy"], energy, rtol=0, atol=tolerance)
    if found["stress"] is not None:
        stress = torch.tensor([found["stress"]], dtype=model.dtype)
        torch.testing.assert_close(result["stress"], stress, rtol=0, atol=tolerance)


def test_energies_forces_and_stress_are_those_of_mace_torch(small):
    model, card = zoo.import_mace(small)
    assert isinstance(model, MACE)
    assert model.dtype == torch.float64
    assert model.elements == (1, 8)
    assert card["origin"]["program"] == "mace-torch"
    for found in json.loads((HERE / "mace_small.json").read_text()):
        assert_same(model, found, 1e-10)
        assert_same(zoo.import_mace(small)[0].float(), found, 1e-5)


def test_the_command_saves_a_model_like_any_other(small, tmp_path, capsys):
    out = tmp_path / "model"
    assert entry.main(["zoo", "import", str(small), "--from", "mace", "--out", str(out)]) == 0
    assert "MACE, " in capsys.readouterr().out
    loaded = zoo.load(out)
    expected = zoo.import_mace(small)[0].state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in loaded.state_dict().items())
    assert entry.main(["zoo", "import", str(small), "--from", "mace", "--out", str(out)]) == 1
    assert "is there already" in capsys.readouterr().err


def test_a_head_is_not_invented(small):
    with pytest.raises(DataError, match="no head 'pbe' but Default"):
        zoo.import_mace(small, head="pbe")


class Call:
    """Pickles as a call of a function."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def archive(path, pickled):
    """Write a file of ``torch.save`` with another pickle in it."""
    torch.save({}, path)
    with zipfile.ZipFile(path) as old:
        entries = {each.filename: old.read(each) for each in old.infolist()}
    with zipfile.ZipFile(path, "w") as new:
        for name, content in entries.items():
            new.writestr(name, pickled if name.endswith("data.pkl") else content)
    return path


def named(module, name, argument):
    """A pickle of protocol 2 that calls ``module.name(argument)`` by that very name."""

    def text(word):
        return b"X" + struct.pack("<I", len(word)) + word.encode()

    return b"\x80\x02c" + f"{module}\n{name}\n".encode() + text(argument) + b"\x85R."


def inner_archive(shell):
    """A whole file of torch, as e3nn keeps compiled code in its modules."""
    buffer = io.BytesIO()
    torch.save(Call(os.system, shell), buffer)
    return buffer.getvalue()


ATTACKS = {
    "os.system": lambda m: pickle.dumps(Call(os.system, f"touch {m}"), 2),
    "posix.system": lambda m: named("posix", "system", f"touch {m}"),
    "subprocess": lambda m: pickle.dumps(Call(subprocess.call, ["touch", str(m)]), 2),
    "eval": lambda m: named("__builtin__", "eval", f"open({str(m)!r}, 'w').close()"),
    "exec": lambda m: named("builtins", "exec", f"open({str(m)!r}, 'w').close()"),
    "another protocol": lambda m: pickle.dumps(Call(os.system, f"touch {m}"), 4),
    "a storage's bytes": lambda m: pickle.dumps(
        Call(torch.storage._load_from_bytes, inner_archive(f"touch {m}")), 2
    ),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_that_works_on_torch_is_refused(name, tmp_path):
    marker = tmp_path / "marker"
    path = archive(tmp_path / "attack.model", ATTACKS[name](marker))
    with pytest.raises(RefusalError) as refusal:
        read(str(path))
    assert "\n" not in str(refusal.value)
    assert not marker.exists()
    torch.load(path, weights_only=False)
    assert marker.exists(), "the attack itself is broken: this test shows nothing"


def test_names_that_are_refused_are_named_with_the_file_and_what_to_do(tmp_path):
    path = archive(tmp_path / "model", pickle.dumps(torch.nn.Linear(1, 1), 2))
    expected = (
        f"{path} cannot be imported: it names torch.nn.modules.linear.Linear, which no MACE model "
        "needs; give a MACE model as mace-torch 0.3 writes it with torch.save, such as the .model "
        "file of mace_run_train"
    )
    with pytest.raises(DataError) as refusal:
        zoo.import_mace(path)
    assert str(refusal.value) == expected


def module(state):
    """A pickle of protocol 2 of one module of MACE with a state."""
    head = b"\x80\x02cmace.modules.models\nMACE\n)\x81"
    body = pickle.dumps(state, 2)
    return head + body[2:-1] + b"b."


def groups(**values):
    return {"_parameters": {}, "_buffers": {}, "_modules": {}, **values}


def laughs():
    """A list of lists of lists, which a pickle writes in a few bytes."""
    many = []
    for _ in range(40):
        many = [many] * 10
    return many


HELD = {
    "nothing": b"",
    "half": module(groups())[:-9],
    "a number": b"\x80\x02K\x01.",
    "no groups": module({"_parameters": 3}),
    "a module that is a number": module(groups(_modules={"a": 3})),
    "a buffer that is a list": module(groups(_buffers={"a": []})),
    "a name with a dot": module(groups(_buffers={"a.b": None})),
    "a billion laughs": module(groups(a=laughs())),
    "no marks": b"\x80\x02u.",
    "an unknown number": b"\x80\x02h\x05.",
    "deep": b"\x80\x02" + b"]" * 50_000 + b"a" * 49_999 + b".",
    "a far number": b"\x80\x02Nr\xff\xff\xff\xff.",
    "outside": b"\x80\x02NQ.",
    "a change of a function": b"\x80\x02ccollections\nOrderedDict\n}b.",
}


@pytest.mark.parametrize("name", HELD)
def test_what_is_no_model_ends_in_one_sentence(name, tmp_path):
    path = archive(tmp_path / "model", HELD[name])
    with pytest.raises(RefusalError, match=r"^its? ") as refusal:
        read(str(path))
    assert "\n" not in str(refusal.value)


def test_a_list_in_itself_ends_in_one_sentence(tmp_path):
    path = archive(tmp_path / "model", module(groups(a=3)).replace(b"K\x03", b"]q\x63h\x63a"))
    with pytest.raises(RefusalError, match="nested too deeply"):
        read(str(path))


def storage(key=b"0", count=1000, start=0, shape=(10,), strides=(1,)):
    """A pickle of a module with a tensor of the given bounds."""
    reference = b"(X\x07\0\0\0storagectorch\nDoubleStorage\nX\x01\0\0\0" + key
    reference += b"X\x03\0\0\0cpuJ" + struct.pack("<i", count) + b"tQ"
    numbers = b"J" + struct.pack("<i", start)
    for each in (shape, strides):
        numbers += b"(" + b"".join(b"J" + struct.pack("<i", n) for n in each) + b"t"
    call = b"ctorch._utils\n_rebuild_tensor_v2\n(" + reference + numbers + b"\x89}tR"
    return module(groups(_buffers={"a": 3})).replace(b"K\x03", call)


BOUNDS = {
    "beyond the end": {"shape": (100,), "strides": (20,)},
    "before the start": {"start": -1},
    "stride zero": {"shape": (1 << 30,), "strides": (0,)},
    "negative": {"shape": (-5,)},
    "unequal axes": {"shape": (2, 2)},
    "more than there is": {"count": 1 << 27, "shape": (1 << 27,)},
    "no entry": {"key": b"9"},
    "another folder": {"key": b"/"},
}


@pytest.mark.parametrize("name", BOUNDS)
def test_tensors_stay_within_their_numbers(name, tmp_path):
    def write(path, **options):
        archive(path, storage(**options))
        with zipfile.ZipFile(path, "a") as target:
            folder = target.namelist()[0].split("/")[0]
            target.writestr(f"{folder}/data/0", np.arange(1000.0).tobytes())
        return path

    with pytest.raises(RefusalError, match=r"a tensor|too few bytes|has no"):
        read(str(write(tmp_path / "bad", **BOUNDS[name])))
    _, tensors = read(str(write(tmp_path / "good")))
    assert tensors["a"].tolist() == list(range(10))


def test_packed_entries_are_refused(tmp_path):
    path = tmp_path / "model"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as target:
        target.writestr("a/data.pkl", bytes(10_000_000))
    with pytest.raises(RefusalError, match="packed"):
        read(str(path))


def test_compiled_models_and_other_files_are_told_apart(tmp_path):
    path = tmp_path / "compiled.model"
    torch.jit.script(torch.nn.Linear(1, 1)).save(path)
    with pytest.raises(RefusalError, match="without -compiled"):
        read(str(path))
    (tmp_path / "text").write_text("no archive")
    with pytest.raises(RefusalError, match=r"no file of torch\.save"):
        read(str(tmp_path / "text"))
    with pytest.raises(DataError, match="not a file"):
        zoo.import_mace(tmp_path / "nowhere")


def test_the_reader_needs_neither_torch_nor_equinet():
    script = (
        f"import sys, runpy; runpy.run_path({program.__file__!r});"
        "sys.exit(bool({'torch', 'equinet', 'mace', 'e3nn'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-I", "-c", script], check=False).returncode == 0


def changed(small, tmp_path, old, new):
    """The small model with other bytes of the same length in its pickle."""
    with zipfile.ZipFile(small) as source, zipfile.ZipFile(tmp_path / "m", "w") as target:
        for each in source.infolist():
            content = source.read(each)
            if each.filename.endswith("data.pkl"):
                assert old in content
                content = content.replace(old, new)
            target.writestr(each, content)
    return tmp_path / "m"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (b"RealAgnosticInteractionBlock", b"RealAgnosticAttentiveIBlock1", "a RealAgnosticAtt"),
        (b"BesselBasis", b"BasselBesis", "bessel_fn is a"),
        (b"ScaleShiftMACE", b"PolarizedMACES", "only MACE and ScaleShiftMACE"),
        (b"bessel_fn", b"bassel_fn", "no tensor radial_embedding.bessel_fn"),
        (b"U_matrix_2", b"U_matrix_9", "no tensor products.0"),
    ],
)
def test_parts_that_equinet_lacks_are_named(small, tmp_path, old, new, message):
    path = changed(small, tmp_path, old, new)
    with pytest.raises(DataError, match=message):
        convert(content_of(path))


def test_couplings_that_are_not_equivariant_are_refused(small, tmp_path):
    content = content_of(small)
    content.tensors["products.0.symmetric_contractions.contractions.0.U_matrix_2"].add_(0.1)
    with pytest.raises(DataError, match="not equivariant"):
        convert(content)


def content_of(path):
    """What the process that reads a file hands over."""
    modules, tensors = read(str(path))
    tensors = {key: torch.from_numpy(value.copy()) for key, value in tensors.items()}
    return ModelFile(path, modules, tensors)


@pytest.mark.slow
@pytest.mark.skipif(not THEIR_PYTHON, reason="MACE_PYTHON names no Python with mace-torch")
def test_models_of_many_sizes_are_those_of_mace_torch(tmp_path):
    """mace-torch makes and evaluates the models in its own Python, set by MACE_PYTHON."""
    environment = {**os.environ, "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD": "1", "PYTHONPATH": str(HERE)}
    command = [THEIR_PYTHON, str(HERE / "mace_variants.py"), str(tmp_path)]
    subprocess.run(command, check=True, env=environment)
    for path in sorted(tmp_path.glob("*.json")):
        content = json.loads(path.read_text())
        model, _ = zoo.import_mace(path.with_suffix(".model"), head=content["head"])
        for found in content["found"]:
            assert_same(model, found, 1e-10 if model.dtype == torch.float64 else 1e-5)
