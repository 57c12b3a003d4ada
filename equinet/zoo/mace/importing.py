"""Models of mace-torch as models of equinet."""

import hashlib
from pathlib import Path
from typing import Any

from equinet.models import MACE
from equinet.zoo.mace.converting import convert
from equinet.zoo.mace.reading import read_model_file


def import_mace(path: str | Path, *, head: str | None = None) -> tuple[MACE, dict[str, Any]]:
    """Read a model that mace-torch has trained.

    The file is a pickle of a whole network. It is read in a process of its own, which follows the
    pickle without running it; mace-torch and e3nn are not needed.

    Args:
        path: Path of a ``.model`` file of mace-torch 0.3.
        head: Name of the head to take, if the model has several; None for the only one.

    Returns:
        The model, with the same energies, forces and stress, in evaluation mode; and entries on its
        origin for :func:`equinet.zoo.save`.

    Raises:
        DataError: The file holds something that no MACE model needs, or a part of a network that
            equinet lacks; the message names it.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = Path(folder, "notes.model")
        ...     _ = file.write_text("no network")
        ...     import_mace(file)  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        equinet.errors.DataError: ...notes.model ...
    """
    path = Path(path)
    model = convert(read_model_file(path), head)
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    origin: dict[str, Any] = {"program": "mace-torch", "file": path.name, "sha256": sha256}
    if head is not None:
        origin["head"] = head
    return model, {"origin": origin}
