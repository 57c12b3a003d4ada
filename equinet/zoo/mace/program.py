"""Read a model file of torch without running it: a program for a process of its own.

A file of ``torch.save`` is a zip archive of a pickle, which is a program that calls functions by
name, and of the numbers of its tensors. Here no pickle is loaded. A small machine follows its
instructions, writes down which class was to be made from what, and calls nothing. Names beyond a
fixed list are refused even so.

The program is run by its path in an isolated interpreter, takes the path of a file, and writes what
it found to its standard output in the format of safetensors: the tensors, and under the metadata
``modules`` the classes and plain attributes of all modules as JSON. A refusal is one sentence on
the standard error, and exit status 3. It imports neither torch nor equinet.
"""

import json
import math
import pickletools
import resource
import struct
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

REFUSED = 3
_MEMORY = 8 << 30  # bytes of address space
_SECONDS = 600  # processor time
_LARGEST_FILE = 2 << 30  # bytes; the largest published model has 0.2 GB
_LARGEST_PROGRAM = 64 << 20  # bytes of the pickle, which is read step by step
_DEEPEST = 100  # modules within modules, or lists within lists
_MOST = 1 << 16  # modules and attributes of a model, which has thousands

_STORAGES = {
    "DoubleStorage": "<f8",
    "FloatStorage": "<f4",
    "HalfStorage": "<f2",
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "BoolStorage": "|b1",
}
_SAFETENSORS = {"<f8": "F64", "<f4": "F32", "<f2": "F16", "<i8": "I64", "<i4": "I32", "|b1": "BOOL"}
_NAMES = {
    "torch": {*_STORAGES, "device", "float32", "float64", "Size"},
    "torch._utils": {"_rebuild_tensor_v2", "_rebuild_parameter"},
    "torch._C._nn": {"silu"},
    "torch.fx._symbolic_trace": {"Tracer"},
    "torch.fx.graph_module": {"reduce_graph_module"},
    "torch.nn.functional": {"silu"},
    "torch.nn.modules.activation": {"SiLU"},
    "torch.nn.modules.container": {"ModuleList", "ParameterList", "Sequential"},
    "collections": {"OrderedDict"},
    "_codecs": {"encode"},
    "builtins": {"set", "slice"},
    "__builtin__": {"set", "slice"},
    "e3nn.math._normalize_activation": {"normalize2mom"},
    "e3nn.nn._activation": {"Activation"},
    "e3nn.nn._fc": {"FullyConnectedNet", "_Layer"},
    "e3nn.o3._irreps": {"Irrep", "Irreps", "_MulIr"},
    "e3nn.o3._linear": {"Instruction", "Linear"},
    "e3nn.o3._spherical_harmonics": {"SphericalHarmonics"},
    "e3nn.o3._tensor_product._instruction": {"Instruction"},
    "e3nn.o3._tensor_product._sub": {"FullyConnectedTensorProduct"},
    "e3nn.o3._tensor_product._tensor_product": {"TensorProduct"},
    "mace.modules.irreps_tools": {"reshape_irreps"},
    "mace.modules.symmetric_contraction": {"Contraction", "EmptyParam", "SymmetricContraction"},
}
# Every class of these modules may be named: a class that equinet does not have is refused later,
# where the message can say which part of the model it is.
_MODULES = {"mace.modules.blocks", "mace.modules.models", "mace.modules.radial"}
_IRREPS = ("e3nn.o3._irreps.Irreps", "e3nn.o3._irreps._MulIr", "e3nn.o3._irreps.Irrep")


class RefusalError(Exception):
    """The file holds something that a model does not need; the message is a whole sentence."""


class Name(NamedTuple):
    """A class or function that the pickle names."""

    dotted: str


class Call(NamedTuple):
    """A call that the pickle asks for, which is not made."""

    name: str
    arguments: tuple[Any, ...]


class Numbers(NamedTuple):
    """The numbers of one or more tensors, as the pickle refers to them."""

    dtype: str
    key: str
    size: int


class Made:
    """An object that the pickle would make: its class, arguments and state."""

    def __init__(self, name: str, arguments: tuple[Any, ...]) -> None:
        self.name = name
        self.arguments = arguments
        self.state: Any = None


class Machine:
    """Follow the instructions of a pickle of protocol 2 and return the value that it ends with.

    Lists, dictionaries, tuples, numbers and texts become themselves, everything else one of the
    records above.
    """

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}

    def run(self, program: bytes) -> Any:
        """Follow a program to its end; refuse what models do not need."""
        for code, argument, _ in pickletools.genops(program):
            if code.name == "STOP":
                return self.stack.pop()
            if code.name in _CONSTANTS:
                self.stack.append(_CONSTANTS[code.name])
            elif code.name in _EMPTY:
                self.stack.append(_EMPTY[code.name]())
            elif code.name in _LITERALS:
                self.stack.append(argument)
            elif code.name in _SIZES:
                self._join(_SIZES[code.name])
            else:
                step = getattr(self, f"on_{code.name.lower()}", None)
                if step is None:
                    raise RefusalError(f"its pickle has the instruction {code.name}")
                step(argument)
        raise RefusalError("its pickle has no end")

    def on_proto(self, version: int) -> None:
        """Accept the protocol that ``torch.save`` writes."""
        if version != 2:
            raise RefusalError(f"its pickle has protocol {version} instead of 2")

    def on_mark(self, _: None) -> None:
        """Remember where the arguments of a later instruction begin."""
        self.marks.append(len(self.stack))

    def on_binput(self, place: int) -> None:
        """Note the last value under a number."""
        self.memo[place] = self.stack[-1]

    on_long_binput = on_binput

    def on_binget(self, place: int) -> None:
        """Repeat a noted value."""
        self.stack.append(self.memo[place])

    on_long_binget = on_binget

    def on_global(self, names: str) -> None:
        """Write down a name, if it is one that models need."""
        self.stack.append(_checked(*names.split(" ", 1)))

    def on_binpersid(self, _: None) -> None:
        """Write down a reference to the numbers of a tensor."""
        self.stack.append(_numbers(self.stack.pop()))

    def on_tuple(self, _: None) -> None:
        """Join the values after the mark to a tuple."""
        self.stack.append(tuple(self._after_mark()))

    def on_append(self, _: None) -> None:
        """Append a value to a list."""
        value = self.stack.pop()
        self._last(list).append(value)

    def on_appends(self, _: None) -> None:
        """Append the values after the mark to a list."""
        values = self._after_mark()
        self._last(list).extend(values)

    def on_setitem(self, _: None) -> None:
        """Put a value into a dictionary."""
        key, value = self.stack[-2:]
        del self.stack[-2:]
        self._put([key, value])

    def on_setitems(self, _: None) -> None:
        """Put the pairs after the mark into a dictionary."""
        self._put(self._after_mark())

    def on_newobj(self, _: None) -> None:
        """Write down an object of a class."""
        arguments, name = self.stack.pop(), self.stack.pop()
        self.stack.append(Made(_dotted(name, "class"), _tuple(arguments)))

    def on_reduce(self, _: None) -> None:
        """Write down a call of a function; an ordered dictionary becomes a dictionary."""
        arguments, name = _tuple(self.stack.pop()), _dotted(self.stack.pop(), "function")
        empty = name == "collections.OrderedDict" and not arguments
        self.stack.append({} if empty else Call(name, arguments))

    def on_build(self, _: None) -> None:
        """Write down the state of an object."""
        state = self.stack.pop()
        self._last(Made).state = state

    def _after_mark(self) -> list[Any]:
        mark = self.marks.pop()
        values = self.stack[mark:]
        del self.stack[mark:]
        return values

    def _join(self, count: int) -> None:
        values = tuple(self.stack[-count:])
        del self.stack[-count:]
        self.stack.append(values)

    def _last(self, kind: type) -> Any:
        if type(self.stack[-1]) is not kind:
            raise RefusalError(f"its pickle changes a {type(self.stack[-1]).__name__}")
        return self.stack[-1]

    def _put(self, pairs: list[Any]) -> None:
        target = self._last(dict)
        for key, value in zip(pairs[::2], pairs[1::2], strict=True):
            if not isinstance(key, str | int):
                raise RefusalError(
                    f"its pickle has a dictionary with a key of {type(key).__name__}"
                )
            target[key] = value


_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_EMPTY: dict[str, type] = {"EMPTY_DICT": dict, "EMPTY_LIST": list, "EMPTY_TUPLE": tuple}
_SIZES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_LITERALS = {"BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINUNICODE", "SHORT_BINSTRING"}


def _checked(module: str, name: str) -> Name:
    if name in _NAMES.get(module, ()) or (module in _MODULES and name.isidentifier()):
        return Name(f"{module}.{name}")
    raise RefusalError(f"it names {module}.{name}, which no MACE model needs")


def _dotted(name: Any, kind: str) -> str:
    if not isinstance(name, Name):
        raise RefusalError(f"its pickle uses a {type(name).__name__} as a {kind}")
    return name.dotted


def _tuple(value: Any) -> tuple[Any, ...]:
    if not isinstance(value, tuple):
        raise RefusalError(f"its pickle has arguments that are a {type(value).__name__}")
    return value


def _numbers(reference: Any) -> Numbers:
    match reference:
        case ("storage", Name(dotted), str(key), str(), int(count)) if key.isdigit():
            dtype = _STORAGES.get(dotted.removeprefix("torch."))
            if dtype is not None and count >= 0:
                return Numbers(dtype, key, count)
    raise RefusalError("its pickle refers to something that is not the numbers of a tensor")


class Archive:
    """The zip archive of a file of ``torch.save``.

    Args:
        path: Path of the file.

    Raises:
        RefusalError: The file is not an archive of torch, or its parts are packed.
    """

    def __init__(self, path: str) -> None:
        if Path(path).stat().st_size > _LARGEST_FILE:
            raise RefusalError(f"it is larger than {_LARGEST_FILE} bytes")
        try:
            self.zip = zipfile.ZipFile(path)
        except zipfile.BadZipFile:
            raise RefusalError("it is no file of torch.save, which are zip archives") from None
        self.entries = {entry.filename: entry for entry in self.zip.infolist()}
        programs = [name for name in self.entries if name.endswith("/data.pkl")]
        if len(programs) != 1:
            raise RefusalError(f"it has {len(programs)} pickles named data.pkl instead of one")
        self.folder = programs[0].removesuffix("data.pkl")
        if f"{self.folder}constants.pkl" in self.entries:
            raise RefusalError(
                "it is a compiled model, and the file beside it without -compiled is needed"
            )
        order = self.folder + "byteorder"
        if order in self.entries and self.read(order, 16) != b"little":
            raise RefusalError("its numbers are not little-endian")

    def read(self, name: str, most: int) -> bytes:
        """Read an entry that has at most a number of bytes."""
        entry = self.entries.get(name)
        if entry is None:
            raise RefusalError(f"its archive has no {name}")
        # torch.save packs nothing, and what is not packed cannot grow beyond the size of the file.
        if entry.compress_type != zipfile.ZIP_STORED or entry.file_size > most:
            raise RefusalError(f"its archive holds {name} packed, or larger than {most} bytes")
        return self.zip.read(entry)

    def array(self, numbers: Numbers) -> np.ndarray:
        """Return the numbers of tensors as an array with one axis."""
        size = numbers.size * np.dtype(numbers.dtype).itemsize
        content = self.read(f"{self.folder}data/{numbers.key}", size)
        if len(content) < size:
            raise RefusalError(f"its archive has too few bytes in data/{numbers.key}")
        return np.frombuffer(content, numbers.dtype)


class Description:
    """Modules and tensors of a model, collected from the value of its pickle.

    Args:
        archive: Archive that holds the numbers of the tensors.
    """

    def __init__(self, archive: Archive) -> None:
        self.archive = archive
        self.modules: dict[str, dict[str, Any]] = {}
        self.tensors: dict[str, np.ndarray] = {}
        # A value that a pickle repeats by its number costs it a byte, and counts every time.
        self.bytes_left = _LARGEST_FILE
        self.values_left = _MOST

    def add(self, module: Any, path: str, depth: int = 0) -> None:
        """Add a module, and all modules in it.

        Args:
            module: Value of the pickle for the module.
            path: Dotted place of the module in the model, empty for the model itself.
            depth: Number of modules around it.
        """
        if isinstance(module, Call):
            return  # code that torch.fx wrote, which equinet has no use for
        if not isinstance(module, Made) or not isinstance(module.state, dict):
            raise RefusalError(f"it has no module at {path or 'its root'}")
        self._count(depth)
        state = module.state
        skipped = {"_parameters", "_buffers", "_modules", "_profiling_str"}
        values = {
            str(name): self._plain(value) for name, value in state.items() if name not in skipped
        }
        values = {name: value for name, value in values.items() if value is not None}
        self.modules[path] = {"class": module.name, "values": values}
        start = f"{path}." if path else ""
        for group in ("_parameters", "_buffers"):
            for name, value in _items(state.get(group)):
                if value is not None:
                    self.tensors[start + name] = self._tensor(value, start + name)
        for name, value in _items(state.get("_modules")):
            if value is not None:
                self.add(value, start + name, depth + 1)

    def _tensor(self, value: Any, place: str) -> np.ndarray:
        if isinstance(value, Call) and value.name == "torch._utils._rebuild_parameter":
            value = value.arguments[0] if value.arguments else None
        if isinstance(value, Made) and isinstance(value.state, dict):
            value = value.state.get("data")
        match value:
            case Call("torch._utils._rebuild_tensor_v2", (Numbers() as numbers, start, *rest)):
                shape, strides = (_whole(each) for each in (*rest, None, None)[:2])
                return self._view(numbers, _whole((start,))[0], shape, strides, place)
        raise RefusalError(f"it holds something else than a tensor at {place}")

    def _view(
        self, numbers: Numbers, start: int, shape: list[int], strides: list[int], place: str
    ) -> np.ndarray:
        if len(shape) != len(strides):
            raise RefusalError(f"it holds a tensor of unequal axes at {place}")
        count = math.prod(shape)
        last = start + sum((n - 1) * step for n, step in zip(shape, strides, strict=True))
        # With a stride of zero, a few bytes could become a tensor of any size.
        if count and (last >= numbers.size or count > numbers.size):
            raise RefusalError(f"it holds a tensor {shape} of {numbers.size} numbers at {place}")
        if count == 0:
            return np.zeros(shape, numbers.dtype)
        self.bytes_left -= count * np.dtype(numbers.dtype).itemsize
        if self.bytes_left < 0:
            raise RefusalError(f"its tensors have more than {_LARGEST_FILE} bytes")
        flat = self.archive.array(numbers)[start:]
        steps = [step * flat.itemsize for step in strides]
        return np.ascontiguousarray(np.lib.stride_tricks.as_strided(flat, shape, steps))

    def _plain(self, value: Any, depth: int = 0) -> Any:
        """Return an attribute as JSON can hold it; None for what is no plain value."""
        self._count(depth)
        if isinstance(value, float) and not math.isfinite(value):
            return None
        if isinstance(value, bool | int | float | str):
            return value
        if isinstance(value, Name):
            return value.dotted
        if isinstance(value, Made) and value.name in _IRREPS:
            return self._plain(value.arguments[0] if value.arguments else (), depth + 1)
        if isinstance(value, list) or type(value) is tuple:
            return [self._plain(each, depth + 1) for each in value]
        return None

    def _count(self, depth: int) -> None:
        self.values_left -= 1
        if depth > _DEEPEST or self.values_left < 0:
            raise RefusalError("its values are nested too deeply, or too many")


def _items(group: Any) -> Iterator[tuple[str, Any]]:
    if not isinstance(group, dict):
        raise RefusalError("it has a module without parameters, buffers or modules")
    for name, value in group.items():
        if not isinstance(name, str) or "." in name:
            raise RefusalError(f"it has a part with the name {name!r}")
        yield name, value


def _whole(values: Any) -> list[int]:
    numbers = values if isinstance(values, tuple) else (None,)
    if not all(type(number) is int and 0 <= number < 1 << 40 for number in numbers):
        raise RefusalError(f"it holds a tensor of shape or stride {values!r}")
    return list(numbers)


def read(path: str) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Read the modules and tensors of a model file.

    Args:
        path: Path of the file.

    Returns:
        Class and plain attributes of each module by its place, and the tensors by theirs.

    Raises:
        RefusalError: The file holds something that a model does not need, or is damaged.
    """
    try:
        archive = Archive(path)
        found = Description(archive)
        found.add(Machine().run(archive.read(f"{archive.folder}data.pkl", _LARGEST_PROGRAM)), "")
    except RefusalError:
        raise
    except RecursionError:
        raise RefusalError("its values are nested too deeply") from None
    except MemoryError:
        raise RefusalError("it needs more memory than a model") from None
    except Exception as error:  # a damaged pickle makes the machine fail in any way
        reason = str(error).split("\n", 1)[0] or type(error).__name__
        raise RefusalError(f"it cannot be read: {reason}") from error
    return found.modules, found.tensors


def to_safetensors(modules: dict[str, Any], tensors: dict[str, np.ndarray]) -> Iterator[bytes]:
    """Yield the parts of a file of safetensors, with the modules as its metadata."""
    header: dict[str, Any] = {"__metadata__": {"modules": json.dumps(modules)}}
    start = 0
    for name, tensor in tensors.items():
        header[name] = {
            "dtype": _SAFETENSORS[tensor.dtype.str],
            "shape": list(tensor.shape),
            "data_offsets": [start, start + tensor.nbytes],
        }
        start += tensor.nbytes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    yield struct.pack("<Q", len(text)) + text
    for tensor in tensors.values():
        yield tensor.tobytes()


def main(path: str) -> int:
    """Read a model file under limits of memory and time, and write it to the standard output.

    Args:
        path: Path of the file.

    Returns:
        Exit status of the process.
    """
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (_SECONDS, _SECONDS))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        for part in to_safetensors(*read(path)):
            sys.stdout.buffer.write(part)
    except RefusalError as error:
        sys.stderr.write(str(error))
        return REFUSED
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
