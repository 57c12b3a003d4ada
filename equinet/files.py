"""Write files that are complete or absent, read them with clear errors, and lock folders.

A file is written under a temporary name in the same folder, flushed to the disk, and renamed. JSON
that equinet reads again contains a checksum of its content. Only one process at a time holds a
folder.
"""

import errno
import fcntl
import functools
import hashlib
import json
import logging
import os
import re
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from equinet.errors import ConfigError, DataError, EquinetError, WriteError

_log = logging.getLogger(__name__)

LOCK = "process.lock"
"""Name of the file by which a process holds a folder."""

_SEAL = "seal"
_MARK = "sealed"  # at the other end of a file, so that no damage removes both unnoticed
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG}
_REFUSED = {
    *(*_FULL, errno.EACCES, errno.EPERM, errno.EIO, errno.ENAMETOOLONG),
    # There is a file in the place of a folder, or the other way round.
    *(errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENOTEMPTY),
}
_NO_LOCKS = {errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS}
_held: set[int] = set()


@contextmanager
def writing(path: Path, *others: Path) -> Iterator[None]:
    """Turn a failure to write into one sentence that names the file.

    Args:
        path: File or folder that is written to within the context.
        others: Further paths that are written to on its behalf, such as a temporary name.

    Raises:
        WriteError: The disk or a quota is full, or the place cannot be written.

    Example:
        >>> with writing(Path("full")):  # doctest: +ELLIPSIS
        ...     raise OSError(errno.ENOSPC, "No space left on device")
        Traceback (most recent call last):
        ...
        equinet.errors.WriteError: full cannot be written (No space left on device); ...
    """
    try:
        yield
    except EquinetError:
        raise
    except OSError as error:
        place = path
        if error.filename is None:
            # NumPy reports a full disk without a number; networks report subclasses without one.
            refused = error.errno in _FULL or (type(error) is OSError and error.errno is None)
        else:
            named = Path(os.fsdecode(error.filename))
            place = named if path in named.parents else path
            # An error at any other path comes from reading.
            refused = error.errno in _REFUSED and (place == named or named in {path, *others})
        if not refused:
            raise
        raise WriteError(error.errno, error.strerror or str(error), str(place)) from error


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Write a file that appears under its name only once it is complete and on the disk.

    Args:
        path: Final name of the file.

    Yields:
        A temporary path in the same folder to write to, which no other process uses. The file is
        moved to its final name at the end, or removed on an error.

    Raises:
        WriteError: The disk or a quota is full, or the folder cannot be written. A previous file of
            this name is untouched.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder, "greeting")
        ...     with whole_file(path) as partial:
        ...         _ = partial.write_text("hello")
        ...     path.read_text()
        'hello'
    """
    partial = path.with_name(f"{path.name}.{socket.gethostname()}.{os.getpid()}.partial")
    try:
        with writing(path, partial):
            yield partial
            with partial.open("rb") as file:
                os.fsync(file.fileno())
            partial.replace(path)
        _keep_folder(path.parent)
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)


def write_bytes(content: bytes | bytearray, path: Path) -> None:
    """Write a file of bytes that is complete or absent; see :func:`whole_file`.

    Args:
        content: Content of the file, bytes.
        path: Final name of the file.

    Raises:
        WriteError: The file cannot be written.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_bytes(b"hello", Path(folder, "greeting"))
        ...     Path(folder, "greeting").read_text()
        'hello'
    """
    with whole_file(path) as partial:
        partial.write_bytes(content)


def remove_partials(folder: Path, *, held: bool = False) -> None:
    """Remove the temporary files of killed processes from a folder.

    Args:
        folder: Folder to search, without its subfolders; a missing folder is empty.
        held: Whether the caller holds the folder, so that every temporary file in it is abandoned.
            Otherwise only files are removed whose process ran on this host and has ended.

    Example:
        >>> remove_partials(Path("a folder that does not exist"))
    """
    own = re.compile(rf"\.{re.escape(socket.gethostname())}\.(\d+)\.partial$")
    for path in folder.glob("*.partial"):
        writer = own.search(path.name)
        if held or (writer is not None and not _runs(int(writer[1]))):
            with suppress(OSError):
                path.unlink()


@contextmanager
def reading(path: object, what: str, *, error: type[EquinetError] = DataError) -> Iterator[None]:
    """Turn any exception of a reader into one sentence that names the file.

    Args:
        path: Path or name of the file, for the message.
        what: Noun with its article for the expected content, such as ``"a checkpoint"``.
        error: Class of the error to raise.

    Raises:
        EquinetError: The reader failed; the class is ``error``. Errors of equinet and a lack of
            memory are not converted.

    Example:
        >>> with reading("water.json", "a molecule"):  # doctest: +ELLIPSIS
        ...     json.loads("{")
        Traceback (most recent call last):
        ...
        equinet.errors.DataError: water.json cannot be read as a molecule: JSONDecodeError: ...
    """
    try:
        yield
    except (EquinetError, MemoryError):
        raise
    except Exception as cause:
        raise error(f"{path} cannot be read as {what}: {reason_of(cause)}") from cause


def reason_of(error: Exception) -> str:
    """Write the reason of a reader's error in one short line.

    torch's advice to read a file without its protection against code is left out.

    Args:
        error: Error that a reader raised.

    Example:
        >>> reason_of(ValueError("it is empty"))
        'ValueError: it is empty'
    """
    text = (error.strerror if isinstance(error, OSError) else None) or str(error)
    if text.startswith("Weights only load failed"):
        text = "it is damaged, or holds more than tensors and plain values"
    return f"{type(error).__name__}: {text.strip().splitlines()[0][:200] if text.strip() else ''}"


def write_sealed_json(content: Mapping[str, Any], path: Path) -> None:
    """Write a JSON object together with a checksum of its content.

    Args:
        content: Mapping of plain JSON values, without the keys ``seal`` and ``sealed``.
        path: Final name of the file.

    Raises:
        WriteError: The file cannot be written.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_sealed_json({"seed": 3}, Path(folder, "record.json"))
        ...     sorted(json.loads(Path(folder, "record.json").read_text()))
        ['seal', 'sealed', 'seed']
    """
    sealed = {_MARK: True, **content, _SEAL: digest_of(content)}
    text = json.dumps(sealed, indent=1, ensure_ascii=False, allow_nan=False)
    write_bytes(f"{text}\n".encode(), path)


def read_sealed_json(path: Path, what: str) -> dict[str, Any]:
    """Read a JSON object and compare it with its checksum, if it contains one.

    Args:
        path: File that :func:`write_sealed_json` wrote; a file without a checksum is accepted.
        what: Noun with its article for the expected content, for the message.

    Returns:
        The content, without the checksum.

    Raises:
        FileNotFoundError: There is no such file.
        DataError: The file is damaged or holds something other than a JSON object.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder, "record.json")
        ...     write_sealed_json({"seed": 3}, path)
        ...     read_sealed_json(path, "a record")
        {'seed': 3}
    """
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        raise
    except OSError as error:
        raise DataError(f"{path} cannot be read as {what}: {error.strerror}") from error
    with reading(path, what):
        content = json.loads(text)
        if not isinstance(content, dict):
            raise TypeError(f"it is not {what} but a {type(content).__name__}")
        mark, seal = content.pop(_MARK, None), content.pop(_SEAL, None)
        if (mark or seal) is not None and seal != digest_of(content):
            raise ValueError("its checksum does not fit: it was damaged, or changed by hand")
        return content


def digest_of(content: Any) -> str:
    """Compute the SHA-256 of a JSON value, whatever the order of its keys.

    Args:
        content: Plain JSON value, such as a mapping or a list.

    Returns:
        The checksum as 64 hexadecimal digits.

    Example:
        >>> digest_of({"a": 1, "b": (2,)}) == digest_of({"b": [2], "a": 1})
        True
    """
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def bounded(read: Callable[[int], bytes], largest: int, path: object) -> bytearray:
    """Read a stream to its end, and refuse one that is longer than a bound.

    Args:
        read: Method ``read`` of a stream, called with a number of bytes.
        largest: Highest number of bytes that the stream may hold.
        path: Path or name of the file, for the message.

    Returns:
        The whole content.

    Raises:
        DataError: The stream holds more bytes than ``largest``.

    Example:
        >>> import io
        >>> bounded(io.BytesIO(b"abc").read, 3, "abc.txt")
        bytearray(b'abc')
    """
    content = bytearray()
    while chunk := read(1 << 20):
        content += chunk
        if len(content) > largest:
            raise DataError(f"{path} unpacks to more than the {largest} bytes that are accepted")
    return content


@contextmanager
def hold(folder: Path, deed: str, *, wait: bool = False) -> Iterator[None]:
    """Hold a folder, so that no other process holds it; the hold ends with the process.

    Args:
        folder: Folder to hold; it is made if it does not exist.
        deed: Verb for the work of the holder, such as ``"trains"``, for the message.
        wait: Whether to wait until another holder ends; otherwise its hold is an error.

    Raises:
        ConfigError: Another process holds the folder; the message names its host and process id.
        WriteError: The folder cannot be written.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as name:  # doctest: +ELLIPSIS
        ...     with hold(Path(name), "trains"), hold(Path(name), "trains"):
        ...         pass
        Traceback (most recent call last):
        ...
        equinet.errors.ConfigError: ...: process ... on ... already trains there; ...
    """
    path = folder / LOCK
    with writing(folder, *folder.parents):
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = _locked(path, deed, wait=wait)
    _forget_in_children()
    _held.add(descriptor)
    try:
        yield
    finally:
        # A forked child has dropped the lock already.
        if descriptor in _held:
            _held.remove(descriptor)
            with suppress(OSError):
                path.unlink()
            os.close(descriptor)


def _locked(path: Path, deed: str, *, wait: bool) -> int:
    """Open and lock a file, and write the host and the process id into it."""
    said = False
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(descriptor, 400, 0).decode(errors="replace").strip()
            sentence = f"{path.parent}: {holder or 'another process'} already {deed} there"
            if not wait:
                os.close(descriptor)
                raise ConfigError(f"{sentence}; wait for it, or give another folder") from None
            if not said:
                _log.info("%s; waiting for it", sentence)
                said = True
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                os.close(descriptor)
                raise
            _log.warning("%s: this file system knows no locks; run one process at a time", path)
        # The previous holder deletes its file, and a lock on a deleted file excludes no process.
        if _is_at(descriptor, path):
            break
        os.close(descriptor)
    with suppress(OSError):
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"process {os.getpid()} on {socket.gethostname()}\n".encode(), 0)
    return descriptor


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


@functools.cache
def _forget_in_children() -> None:
    """Let forked processes drop the locks, which would otherwise outlive a killed parent."""

    def drop() -> None:
        for descriptor in _held:
            os.close(descriptor)
        _held.clear()

    os.register_at_fork(after_in_child=drop)


def _keep_folder(folder: Path) -> None:
    """Flush a rename to the disk; file systems that do not need this may refuse it."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
