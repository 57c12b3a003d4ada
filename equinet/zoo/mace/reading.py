"""Read a model file of mace-torch in a process of its own, without running anything in it."""

import json
import struct
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from equinet.errors import DataError

_PROGRAM = Path(__file__).with_name("program.py")
_REFUSED = 3  # exit status of the program for a file that it does not accept
_SECONDS = 1200  # longest time to wait
_ADVICE = (
    "give a MACE model as mace-torch 0.3 writes it with torch.save, such as the .model file of "
    "mace_run_train"
)


@dataclass(frozen=True)
class ModelFile:
    """Modules and tensors of a model that another package has saved.

    Attributes:
        path: Path of the file, for messages.
        modules: ``class`` and ``values`` of each module by its dotted place; the model itself is at
            the empty place.
        tensors: Parameters and buffers by dotted place.
    """

    path: Path
    modules: Mapping[str, Mapping[str, Any]]
    tensors: Mapping[str, Tensor]

    def kind(self, place: str) -> str:
        """Return the dotted class of a module; empty where there is none.

        Args:
            place: Dotted place of the module.
        """
        return str(self.modules.get(place, {}).get("class", ""))

    def value(self, place: str, name: str, default: Any = None) -> Any:
        """Return a plain attribute of a module.

        Args:
            place: Dotted place of the module.
            name: Name of the attribute.
            default: Value where the module has no such attribute.
        """
        return self.modules.get(place, {}).get("values", {}).get(name, default)

    def tensor(self, place: str) -> Tensor:
        """Return a tensor in float64.

        Args:
            place: Dotted place of the parameter or buffer.

        Raises:
            DataError: The file has no tensor at the place.
        """
        if place not in self.tensors:
            raise self.refusal(f"it has no tensor {place}")
        return self.tensors[place].double()

    def refusal(self, reason: str) -> DataError:
        """Return the error that refuses the file.

        Args:
            reason: Sentence about the file, which begins with "it" or "its".
        """
        return DataError(f"{self.path} cannot be imported: {reason}; {_ADVICE}")


def read_model_file(path: Path) -> ModelFile:
    """Read a file of ``torch.save`` that holds a whole model of mace-torch.

    Args:
        path: Path of the file.

    Returns:
        The modules and tensors of the model.

    Raises:
        DataError: There is no such file, or it holds something that no MACE model needs. Nothing in
            it has been run.
    """
    empty = ModelFile(path, {}, {})
    if not path.is_file():
        raise empty.refusal("it is not a file that is there")
    command = [sys.executable, "-I", str(_PROGRAM), str(path.resolve())]
    try:
        # The program is this package's own, and the path is an argument that no shell sees.
        done = subprocess.run(  # noqa: S603 - see above
            command, capture_output=True, timeout=_SECONDS, check=False, env={}
        )
    except subprocess.TimeoutExpired:
        raise empty.refusal(f"it was not read within {_SECONDS} s") from None
    if done.returncode == _REFUSED:
        raise empty.refusal(done.stderr.decode(errors="replace"))
    if done.returncode != 0:
        raise empty.refusal(
            f"it needs more memory or time than a model, or damages the process that reads it "
            f"(exit status {done.returncode})"
        )
    try:
        tensors = safetensors.torch.load(done.stdout)
    except safetensors.SafetensorError as error:
        raise empty.refusal(f"it was not read as a whole ({error})") from error
    return ModelFile(path, _metadata(done.stdout), tensors)


def dtype_of(file: ModelFile, place: str) -> torch.dtype:
    """Return the floating-point type of a tensor in a file.

    Args:
        file: Content of the file.
        place: Dotted place of the tensor.

    Raises:
        DataError: There is no such tensor, or it has another type than float32 and float64.
    """
    file.tensor(place)
    found = file.tensors[place].dtype
    if found not in {torch.float32, torch.float64}:
        raise file.refusal(f"it has weights of type {found}")
    return found


def _metadata(content: bytes) -> dict[str, Any]:
    (length,) = struct.unpack_from("<Q", content)
    header = json.loads(content[8 : 8 + length])
    modules: dict[str, Any] = json.loads(header["__metadata__"]["modules"])
    return modules
