"""The cache: the folder of files that equinet generates or downloads."""

import hashlib
import http.client
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
    reason_of,
    remove_partials,
    whole_file,
    write_sealed_json,
)

_log = logging.getLogger(__name__)

_CHUNK = 1 << 20
_LARGEST = 1 << 31
_CHECKSUMS = "checksums.json"


def cache_folder(cache: str | Path | None = None) -> Path:
    """Find the folder of generated and downloaded files, and make it if it does not exist.

    Args:
        cache: Folder to use; None takes ``$XDG_CACHE_HOME/equinet`` or ``~/.cache/equinet``.

    Returns:
        An existing folder.

    Raises:
        DataError: The folder cannot be made.
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


def cache_place(name: str, cache: str | Path | None = None) -> Path:
    """Find a folder of the cache, and remove what killed processes left in it.

    Another process may have completed their work, so that nothing is made again and none of what
    makes it would remove their temporary files.

    Args:
        name: Name of the folder below the cache.
        cache: Folder of the cache; None takes the default of :func:`cache_folder`.

    Returns:
        The folder, which may not exist.

    Raises:
        DataError: The cache folder cannot be made.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as cache:
        ...     cache_place("nbody-v1", cache).name
        'nbody-v1'
    """
    folder = cache_folder(cache) / name
    remove_partials(folder)
    return folder


def git_blob_id(path: str | Path) -> str:
    r"""Compute the id by which git knows a file's content.

    Args:
        path: Path of the file.

    Returns:
        The output of ``git hash-object``: the SHA-1 of ``"blob <size>\0"`` and the content.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder, "hello.txt")
        ...     _ = path.write_text("hello world\n")
        ...     git_blob_id(path)
        '3b18e512dba79e4c8300dd08aeb37f8e728b8dad'
    """
    content = Path(path).read_bytes()
    # SHA-1 is not used for security here: git, and so the official repository, identifies by it.
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
    """Download a file in pieces, unless the file exists already.

    Args:
        url: Address that begins with ``https://``.
        path: Final name of the file, which appears when the whole content has arrived.
        blob_id: Git blob id that the content must have; `None` accepts any.
        sha256: SHA-256 that the content must have; `None` accepts any.
        largest: Largest accepted size, bytes; the default is 2 GiB.
        timeout: Time to wait for the server, seconds.

    Raises:
        OSError: There is no network, or the server refuses.
        DataError: The content has another checksum, is cut short, or is too large, or the server
            sends it from an address without protection.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder, "here already")
        ...     _ = path.write_text("so that nothing is downloaded")
        ...     fetch("https://models.example/file", path)
    """
    remove_partials(path.parent)
    if path.is_file():
        return
    if not url.startswith("https://"):
        raise ValueError(f"url must start with https://, got {url!r}")
    with whole_file(path) as partial:
        try:
            with (
                urllib.request.urlopen(url, timeout=timeout) as answer,  # noqa: S310 - the address was checked to be https
                partial.open("wb") as file,
            ):
                found = _copied(answer, file, url, largest)
        except http.client.HTTPException as error:
            raise DataError(
                f"{url}: the download failed ({reason_of(error)}); repeat it"
            ) from error
        if sha256 is not None and found != sha256:
            raise DataError(f"{url}: the content has SHA-256 {found}, not {sha256}")
        if blob_id is not None and git_blob_id(partial) != blob_id:
            raise DataError(
                f"{url}: the content has git blob id {git_blob_id(partial)}, not {blob_id}"
            )


def _copied(answer: Any, file: BinaryIO, url: str, largest: int) -> str:
    """Copy the answer of a server in pieces and return the SHA-256 of the content."""
    headers = getattr(answer, "headers", None) or {}
    if not getattr(answer, "url", url).startswith("https://"):
        raise DataError(f"{url}: it leads to {answer.url}, which does not start with https://")
    length = headers.get("Content-Length") or ""
    announced = int(length) if length.isdecimal() else -1
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
        raise DataError(f"{url}: {size} of {announced} bytes came; repeat the download")
    return digest.hexdigest()


def cached_file(name: str, split: str, cache: str | Path | None = None) -> Path:
    """Return the path of a generated split in the cache, whether the file exists or not.

    Args:
        name: Name of the set's folder in the cache.
        split: Name of the split.
        cache: Folder of the cache; None takes the default of :func:`cache_folder`.
    """
    return cache_folder(cache) / name / f"{split}.extxyz"


def cached_splits(
    name: str,
    make: Callable[[], Mapping[str, Sequence[Frame]]],
    splits: Sequence[str],
    cache: str | Path | None = None,
) -> dict[str, list[Frame]]:
    """Read generated frames from the cache, and generate them on first use.

    Args:
        name: Name of the set's folder in the cache; it should contain the version of the generator.
        make: Function that generates the frames of each split.
        splits: Names of the splits.
        cache: Folder of the cache; None takes the default of :func:`cache_folder`.

    Returns:
        Frames by split. They are read back from the files even on first use, so that every run uses
        exactly the same numbers.

    Raises:
        DataError: The cache folder cannot be made.
    """
    folder = cache_place(name, cache)
    paths = {split: folder / f"{split}.extxyz" for split in splits}
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
        with whole_file(path) as partial:
            images = [frame_to_atoms(frame) for frame in made[split]]
            ase.io.write(partial, images, format="extxyz")
    digests = {path.name: _sha256(path) for path in paths.values()}
    write_sealed_json({"files": digests}, next(iter(paths.values())).with_name(_CHECKSUMS))
    return {split: read_frames(path) for split, path in paths.items()}


def _check_splits(paths: Mapping[str, Path]) -> None:
    """Verify the checksums of the files of all splits; folders of older versions have none."""
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
