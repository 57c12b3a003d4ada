"""The reader of pickled PyG objects reads those, and runs nothing.

Every attack is first shown to work on plain ``pickle.loads``; a test that could not fail shows
nothing. The markers are files in the test's own folder.
"""

import io
import os
import pickle
import struct
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch_geometric.data import Data

from equinet.data.store.pickled import read_data
from equinet.errors import DataError


def fields():
    generator = torch.Generator().manual_seed(0)
    return {
        "pos": torch.rand(5, 3, generator=generator),
        "cell": torch.eye(3)[None] * 7,
        "atomic_numbers": torch.tensor([29.0, 29.0, 29.0, 6.0, 8.0]),
        "natoms": 5,
        "tags": torch.tensor([0, 1, 1, 2, 2]),
        "fixed": torch.tensor([1.0, 0, 0, 0, 0]),
        "force": torch.rand(5, 3, generator=generator),
        "y": -3.25,
        "sid": 77,
        "fid": torch.tensor([4]),
        "name": "slab",
        "relaxed": False,
        "edge_index": torch.zeros(2, 0, dtype=torch.int64),
        "transposed": torch.arange(6).reshape(2, 3).T,
        "part": torch.arange(10.0)[3:7],
    }


class Old:
    """The ``Data`` of PyG 1: the fields are its ``__dict__``."""

    __module__ = "torch_geometric.data.data"
    __qualname__ = "Data"

    def __init__(self, content):
        self.__dict__.update({"__num_nodes__": None, "face": None, **content})


def dumps_old(content, protocol=pickle.HIGHEST_PROTOCOL):
    """Pickle as PyG 1 did, under the name that the class has there."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("torch_geometric.data.data.Data", Old)
        return pickle.dumps(Old(content), protocol=protocol)


def dumps_new(content, protocol=pickle.HIGHEST_PROTOCOL):
    return pickle.dumps(Data(**content), protocol=protocol)


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("dumps", [dumps_old, dumps_new])
def test_both_layouts_are_read(dumps, protocol):
    content = fields()
    found = read_data(dumps(content, protocol))
    assert sorted(found) == sorted(content)
    for name, value in content.items():
        if isinstance(value, torch.Tensor):
            assert found[name].dtype == value.dtype
            assert torch.equal(found[name], value)
        else:
            assert type(found[name]) is type(value)
            assert found[name] == value


@pytest.mark.parametrize("kind", [np.float32, np.float64, np.int64, np.uint8, np.bool_])
def test_numpy_numbers_are_read(kind):
    data = pickle.dumps(Data(y=kind(1), z=kind(0)))
    assert read_data(data) == {"y": 1, "z": 0}
    assert read_data(pickle.dumps(Data(y=np.dtype(">f8").type(2.5)), protocol=2)) == {"y": 2.5}


def test_torch_geometric_is_not_imported(tmp_path):
    (tmp_path / "data.pickle").write_bytes(pickle.dumps(Data(**fields())))
    # The modules alone: the package around them builds graphs for torch_geometric.
    script = (
        "import importlib.util, sys, pathlib\n"
        "import equinet\n"
        "path = pathlib.Path(equinet.__file__).parent / 'data' / 'store' / 'pickled.py'\n"
        "spec = importlib.util.spec_from_file_location('pickled', path)\n"
        "module = importlib.util.module_from_spec(spec)\n"
        "spec.loader.exec_module(module)\n"
        f"data = pathlib.Path({str(tmp_path / 'data.pickle')!r}).read_bytes()\n"
        "assert module.read_data(data)['sid'] == 77\n"
        "sys.exit('torch_geometric' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


class Call:
    """Pickles as a call of a function."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


class Marker:
    """A command whose effect can be seen, for a shell and for Python."""

    def __init__(self, path):
        self.path = path
        self.shell = f"touch {path}"
        self.python = f"open({str(path)!r}, 'w').close()"


def named(module, name, argument):
    """A pickle that calls ``module.name(argument)`` by that very name, wherever it comes from."""

    def text(word):
        return b"X" + struct.pack("<I", len(word)) + word.encode()

    return b"\x80\x04" + text(module) + text(name) + b"\x93" + text(argument) + b"\x85R."


def nested(payload, *, new_format):
    """A storage whose bytes are a torch file that holds the payload."""
    buffer = io.BytesIO()
    torch.save(payload, buffer, _use_new_zipfile_serialization=new_format)
    return Call(torch.storage._load_from_bytes, buffer.getvalue())


def object_array(payload):
    array = np.empty(1, dtype=object)
    array[0] = payload
    return array


def stored_object_array(payload, folder):
    """``numpy.load(file, None, True)`` of a file with an object array."""
    np.save(folder / "objects.npy", object_array(payload), allow_pickle=True)
    return Call(np.load, str(folder / "objects.npy"), None, True)


ATTACKS = {
    "os.system": lambda m, _: pickle.dumps(Call(os.system, m.shell)),
    "os.system in a field": lambda m, _: pickle.dumps(Data(y=Call(os.system, m.shell))),
    "os.system in an old field": lambda m, _: dumps_old({"y": Call(os.system, m.shell)}),
    "os.system as a key": lambda m, _: pickle.dumps(Data(y={Call(os.system, m.shell): 1})),
    "subprocess": lambda m, _: pickle.dumps(Call(subprocess.call, ["touch", str(m.path)])),
    "exec": lambda m, _: pickle.dumps(Call(exec, m.python)),
    "eval": lambda m, _: named("builtins", "eval", m.python),
    "eval by its old alias": lambda m, _: b"c__builtin__\neval\n(V" + m.python.encode() + b"\ntR.",
    "os by an alias in torch": lambda m, _: named("torch.serialization", "os.system", m.shell),
    "os by an alias in PyG": lambda m, _: named(
        "torch_geometric.data.dataset", "osp.os.system", m.shell
    ),
    "nested, old format": lambda m, _: pickle.dumps(
        Data(x=nested(Call(os.system, m.shell), new_format=False))
    ),
    "nested, new format": lambda m, _: pickle.dumps(
        Data(x=nested(Call(os.system, m.shell), new_format=True))
    ),
    "object array": lambda m, _: pickle.dumps(Data(x=object_array(Call(os.system, m.shell)))),
    "object array by numpy.load": lambda m, folder: pickle.dumps(
        Data(x=stored_object_array(Call(os.system, m.shell), folder))
    ),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_that_works_on_pickle_is_refused(name, tmp_path):
    marker = Marker(tmp_path / "marker")
    attack = ATTACKS[name](marker, tmp_path)
    with pytest.raises(DataError, match=r"^the pickle"):
        read_data(attack)
    assert not marker.path.exists()
    pickle.loads(attack)
    assert marker.path.exists(), "the attack itself is broken: this test shows nothing"


HELD = {
    "another class": pickle.dumps(torch.nn.Linear(1, 1)),
    "no Data": pickle.dumps(3),
    "a list in a field": pickle.dumps(Data(y=[1, 2])),
    "a tensor in a list": pickle.dumps(Data(y=[torch.ones(1)])),
    "an array": pickle.dumps(Data(y=np.ones(3))),
    "a complex number": pickle.dumps(Data(y=np.complex128(1))),
    "a Data without fields": b"\x80\x02ctorch_geometric.data.data\nData\n)\x81.",
    "nothing": b"",
    "half": pickle.dumps(Data(**fields()))[:-200],
    "deep": b"(" * 10_000 + b"l" * 10_000 + b".",
    "outside": b"\x80\x02Y\x00Q.",
    "an extension": b"\x82\x01.",
}


@pytest.mark.parametrize("name", HELD)
def test_anything_else_is_refused_in_one_sentence(name):
    with pytest.raises(DataError) as caught:
        read_data(HELD[name])
    assert "\n" not in str(caught.value)


def storage(numbers):
    return torch.arange(float(numbers)).untyped_storage()


@pytest.mark.parametrize(
    ("offset", "size", "stride"),
    [
        (0, (5,), (1,)),
        (2, (3,), (1,)),
        (0, (2, 3), (3, 1)),
        (0, (10**6,), (0,)),
        (-1, (2,), (1,)),
        (0, (2,), (-1,)),
        (0, (2,), (1, 1)),
        (0, 4, 1),
        (0, (True,), (1,)),
        (0, (2.0,), (1,)),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_tensors_beyond_their_storage_are_refused(offset, size, stride):
    row = torch.arange(4.0)
    rebuild = Call(torch._utils._rebuild_tensor_v2, row.storage(), offset, size, stride, False, {})
    with pytest.raises(DataError, match=r"the pickle holds a tensor"):
        read_data(dumps_old({"x": rebuild}))


@pytest.mark.parametrize(
    "target",
    [
        b"ctorch.storage\n_load_from_bytes\n",
        b"ctorch_geometric.data.data\nData\n",
        b"ccollections\nOrderedDict\n",
        b"cnumpy\ndtype\n",
    ],
)
def test_the_stand_ins_cannot_be_changed(target):
    """The BUILD instruction sets attributes of anything, classes and functions included."""
    whole = pickle.dumps(Data(**fields()))
    attack = target + b"(N}V__call__\nI1\nstb."
    with pytest.raises(DataError):
        read_data(attack)
    assert read_data(whole)["sid"] == 77


def test_large_pickles_are_not_even_begun(monkeypatch):
    monkeypatch.setattr("equinet.data.store.pickled._LARGEST", 100)
    with pytest.raises(DataError, match="beyond the 100 accepted"):
        read_data(pickle.dumps(Data(**fields())))


def test_a_memo_that_would_fill_the_memory_is_refused():
    """CPython makes room for as many entries as the largest number, here 2^28."""
    bomb = b"\x80\x04Nr" + (1 << 28).to_bytes(4, "little") + b"."
    with pytest.raises(DataError, match="notes something as number 268435456"):
        read_data(bomb)
