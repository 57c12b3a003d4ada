"""Find models: in run directories, in model folders, and by the names of the zoo."""

import json
from dataclasses import astuple, dataclass
from pathlib import Path

from equinet.errors import ConfigError, DataError
from equinet.files import reading
from equinet.names import nearest

_HERE = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Entry:
    """One model of the zoo.

    Attributes:
        name: Name by which :func:`equinet.zoo.load` finds the model.
        summary: Architecture, training data and errors in one line.
        sha256: SHA-256 of the weights, hexadecimal.

    Example:
        >>> Entry("mine", "MACE-Gaunt on my data", "0" * 64).folder.name
        'mine'
    """

    name: str
    summary: str
    sha256: str

    @property
    def folder(self) -> Path:
        """Path of the model folder, inside the package."""
        return _HERE / "models" / self.name


def entries() -> tuple[Entry, ...]:
    """List the models that come with equinet.

    Returns:
        Entries, sorted by name.

    Example:
        >>> all(entry.folder.is_dir() for entry in entries())
        True
    """
    path = _HERE / "index.json"
    with reading(path, "the index of the zoo"):
        found = [Entry(**entry) for entry in json.loads(path.read_text(encoding="utf-8"))]
        if not all(isinstance(value, str) for entry in found for value in astuple(entry)):
            raise TypeError("an entry holds something other than text")
        return tuple(sorted(found, key=lambda entry: entry.name))


def find(name_or_path: str | Path) -> Path:
    """Find a model folder.

    Args:
        name_or_path: Path of a run directory or a model folder, or a name from the zoo. A folder
            takes precedence over a model of the same name.

    Returns:
        Path of a folder that holds a card.

    Raises:
        ConfigError: There is no such folder or name.
        DataError: The folder holds no model.

    Example:
        >>> find("mace-gaunt-3bpa").name
        'mace-gaunt-3bpa'
    """
    path = Path(name_or_path)
    if path.is_file():
        raise DataError(
            f"{path} is a file; give the folder that holds card.json and model.safetensors"
        )
    if not path.exists():
        return _find_name(str(name_or_path))
    for folder in (path, path / "model"):
        if (folder / "card.json").is_file():
            return folder
    if (path / "checkpoints").is_dir():
        raise DataError(
            f"{path} is a run that has not saved its model yet; repeat its command to finish it"
        )
    raise DataError(
        f"{path} holds no model: there is neither card.json nor model/card.json in it; "
        "name a folder that zoo.save wrote, or a run that has finished"
    )


def find_entry(name: str) -> Entry | None:
    """Return the entry of a name; None where there is none.

    Args:
        name: Name of the model in the zoo.
    """
    return next((entry for entry in entries() if entry.name == name), None)


def _find_name(name: str) -> Path:
    entry = find_entry(name)
    if entry is not None:
        return entry.folder
    names = [entry.name for entry in entries()]
    near = nearest(name, names)
    if near:
        hint = f"did you mean {near[0]!r}?"
    elif names:
        hint = f"the zoo has {', '.join(names)}"
    else:
        hint = "the zoo is empty so far, so give the path of a run directory"
    raise ConfigError(f"there is no folder or zoo model {name!r}; {hint}")
