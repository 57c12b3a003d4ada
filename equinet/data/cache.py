"""Files that equinet makes or downloads, and where they are kept."""

import hashlib
import logging
import os
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from equinet.data.atoms import Frame, ase_library, frame_to_atoms, read_frames
from equinet.errors import DataError
from equinet.files import whole_file

_log = logging.getLogger(__name__)


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
        path: Any file.

    Returns:
        What ``git hash-object`` prints: the SHA-1 of ``"blob <size>\0"`` and the content.
    """
    content = Path(path).read_bytes()
    # Not for security: it is the identifier that the official repository publishes.
    digest = hashlib.sha1(f"blob {len(content)}\0".encode(), usedforsecurity=False)
    digest.update(content)
    return digest.hexdigest()


def fetch(url: str, path: Path, *, blob_id: str | None = None, timeout: float = 10.0) -> None:
    """Download a file, unless it is there already.

    Args:
        url: An https address.
        path: Where to put it.
        blob_id: Git blob id that the content must have; None takes any.
        timeout: Seconds to wait for the server.

    Raises:
        OSError: No network, or the server refuses.
        DataError: The content is not what was expected.
    """
    if path.is_file():
        return
    if not url.startswith("https://"):
        raise ValueError(f"url must start with https://, got {url!r}")
    with whole_file(path) as partial:
        with urllib.request.urlopen(url, timeout=timeout) as answer:  # noqa: S310
            partial.write_bytes(answer.read())
        if blob_id is not None and git_blob_id(partial) != blob_id:
            raise DataError(f"{url}: the content has git blob id {git_blob_id(partial)}")


def cached_file(name: str, split: str, cache: str | Path | None = None) -> Path:
    """Return where a generated split is kept, whether it has been made or not.

    Args:
        name: Folder in the cache.
        split: Name of the split.
        cache: See :func:`cache_folder`.
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
        cache: See :func:`cache_folder`.

    Returns:
        Frames by split, always as read back from the files, so that every run sees the same digits.

    Raises:
        DataError: The cache folder cannot be made.
    """
    paths = {split: cached_file(name, split, cache) for split in splits}
    if all(path.is_file() for path in paths.values()):
        try:
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
    return {split: read_frames(path) for split, path in paths.items()}
