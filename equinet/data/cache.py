"""Files that equinet makes or downloads, and where they are kept."""

import hashlib
import logging
import os
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from equinet.data.atoms import Frame, ase_library, frame_to_atoms, read_frames
from equinet.errors import DataError
from equinet.files import (
    read_sealed_json,
    reading,
    remove_partials,
    whole_file,
    write_sealed_json,
)

_log = logging.getLogger(__name__)

_CHUNK = 1 << 20
_LARGEST = 1 << 31
_CHECKSUMS = "checksums.json"


def cache_folder(cache: str | Path | None = None) -> Path:
    """Find, and make where needed, the folder of made and downloaded files.

    Args:
        cache: A folder to use; None takes ``$XDG_CACHE_HOME/equinet`` or ``~/.cache/equinet``.

    Returns:
        An existing folder.

    Raises:
        DataError: It cannot be made.
    """
    if cache is None:
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        cache = Path(base) / "equinet"
    folder = Path(cache).expanduser()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(
            f"cannot make the cache folder {folder} ({error.strerror}); give another as data.cache"
        ) from error
    return folder


def git_blob_id(path: str | Path) -> str:
    r"""Compute the id by which git knows a file's content.

    Args:
        path: Path of the file.

    Returns:
        What ``git hash-object`` prints: the SHA-1 of ``"blob <size>\0"`` and the content.
    """
    content = Path(path).read_bytes()
    # Not for security: it is the identifier that the official repository publishes.
    digest = hashlib.sha1(f"blob {len(content)}\0".encode(), usedforsecurity=False)
    digest.update(content)
    return digest.hexdigest()


def fetch(
    url: str,
    path: Path,
    *,
    blob_id: str | None = None,
    sha256: str | None = None,
    largest: int = _LARGEST,
    timeout: float = 10.0,
) -> None:
    """Download a file by pieces, unless it is there already.

    Args:
        url: An https address.
        path: Final name of the file, which appears once it is whole.
        blob_id: Git blob id that the content must have; `None` takes any.
        sha256: SHA-256 that the content must have; `None` takes any.
        largest: Most bytes that are taken; 2 GiB by default.
        timeout: Seconds to wait for the server.

    Raises:
        OSError: No network, or the server refuses.
        DataError: The content is not what was expected, is cut short, or is too large.
    """
    if path.is_file():
        return
    if not url.startswith("https://"):
        raise ValueError(f"url must start with https://, got {url!r}")
    remove_partials(path.parent)
    with whole_file(path) as partial:
        with (
            urllib.request.urlopen(url, timeout=timeout) as answer,  # noqa: S310 - the address was checked to be https
            partial.open("wb") as file,
        ):
            found = _copied(answer, file, url, largest)
        if sha256 is not None and found != sha256:
            raise DataError(f"{url}: the content has SHA-256 {found}, not {sha256}")
        if blob_id is not None and git_blob_id(partial) != blob_id:
            raise DataError(f"{url}: the content has git blob id {git_blob_id(partial)}")


def _copied(answer: Any, file: BinaryIO, url: str, largest: int) -> str:
    """Copy an answer of a server by pieces; return the SHA-256 of what came."""
    headers = getattr(answer, "headers", None) or {}
    announced = int(headers.get("Content-Length") or -1)
    if announced > largest:
        raise DataError(f"{url}: {announced} bytes are announced, more than the {largest} accepted")
    digest, size = hashlib.sha256(), 0
    while chunk := answer.read(_CHUNK):
        size += len(chunk)
        if size > largest:
            raise DataError(f"{url}: the content is larger than the {largest} bytes accepted")
        digest.update(chunk)
        file.write(chunk)
    if announced >= 0 and size != announced:
        raise DataError(f"{url}: {size} of {announced} bytes came")
    return digest.hexdigest()


def cached_file(name: str, split: str, cache: str | Path | None = None) -> Path:
    """Return where a generated split is kept, whether it has been made or not.

    Args:
        name: Folder in the cache.
        split: Name of the split.
        cache: Folder of the cache; None takes that of :func:`cache_folder`.
    """
    return cache_folder(cache) / name / f"{split}.extxyz"


def cached_splits(
    name: str,
    make: Callable[[], Mapping[str, Sequence[Frame]]],
    splits: Sequence[str],
    cache: str | Path | None = None,
) -> dict[str, list[Frame]]:
    """Read generated frames from the cache, making them on first use.

    Args:
        name: Folder in the cache; it should carry the generator's version and seed.
        make: Generates the frames of each split.
        splits: Names of the splits.
        cache: Folder of the cache; None takes that of :func:`cache_folder`.

    Returns:
        Frames by split, always as read back from the files, so that every run sees the same digits.

    Raises:
        DataError: The cache folder cannot be made.
    """
    paths = {split: cached_file(name, split, cache) for split in splits}
    if all(path.is_file() for path in paths.values()):
        try:
            _check_splits(paths)
            return {split: read_frames(path) for split, path in paths.items()}
        except DataError as error:
            _log.warning("making %s anew, because its copy is broken: %s", name, error)
    try:
        return _make_splits(name, make, paths)
    except OSError as error:
        raise DataError(
            f"cannot write {cache_folder(cache) / name} ({error.strerror}); "
            "give another folder as data.cache"
        ) from error


def _make_splits(
    name: str, make: Callable[[], Mapping[str, Sequence[Frame]]], paths: Mapping[str, Path]
) -> dict[str, list[Frame]]:
    _log.info("making the embedded set %s (once, a few seconds)", name)
    ase = ase_library()
    made = make()
    for split, path in paths.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        remove_partials(path.parent)
        with whole_file(path) as partial:
            images = [frame_to_atoms(frame) for frame in made[split]]
            ase.io.write(partial, images, format="extxyz")
    digests = {path.name: _sha256(path) for path in paths.values()}
    write_sealed_json({"files": digests}, next(iter(paths.values())).with_name(_CHECKSUMS))
    return {split: read_frames(path) for split, path in paths.items()}


def _check_splits(paths: Mapping[str, Path]) -> None:
    """Compare the files of splits with the checksums beside them; older folders have none."""
    note = next(iter(paths.values())).with_name(_CHECKSUMS)
    if not note.is_file():
        return
    expected = read_sealed_json(note, "checksums")
    with reading(note, "checksums"):
        for path in paths.values():
            if expected["files"].get(path.name, "") != _sha256(path):
                raise DataError(f"{path} does not have the checksum in {note.name}")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
