"""Files that are whole or not there, seals, and folders that one process holds."""

import errno
import json
import os
import signal
import socket
import threading
import time
from pathlib import Path

import pytest
from forks import exit_code, fork

from equinet import files
from equinet.errors import ConfigError, DataError, EquinetError, WriteError


def full_disk(*_):
    raise OSError(errno.ENOSPC, "No space left on device")


def in_child(action):
    """Run something in a process of its own; return its exit status."""
    return exit_code(fork(action))


def test_a_full_disk_leaves_what_was_there_and_is_one_sentence(tmp_path, monkeypatch):
    path = tmp_path / "run.json"
    path.write_text("old")
    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(WriteError) as caught:
        files.write_bytes(b"new", path)
    assert isinstance(caught.value, EquinetError)
    assert isinstance(caught.value, OSError)
    assert str(caught.value).startswith(
        f"{path} cannot be written (No space left on device); what was there before is whole"
    )
    assert [entry.name for entry in tmp_path.iterdir()] == ["run.json"]
    assert path.read_text() == "old"


def test_errors_that_are_no_refusals_of_a_disk_pass(tmp_path):
    with pytest.raises(ConnectionResetError), files.whole_file(tmp_path / "a"):
        raise ConnectionResetError(errno.ECONNRESET, "reset")
    with pytest.raises(PermissionError), files.whole_file(tmp_path / "a"):
        raise PermissionError(errno.EACCES, "denied", "/somewhere/else")
    with pytest.raises(WriteError, match="here cannot be written"), files.writing(tmp_path):
        raise PermissionError(errno.EACCES, "denied", str(tmp_path / "here"))


def test_the_error_crosses_to_another_process(tmp_path):
    import pickle

    error = WriteError(errno.ENOSPC, "No space left on device", str(tmp_path))
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


def test_a_file_and_its_folder_are_brought_to_the_disk(tmp_path, monkeypatch):
    synced = []
    sync = os.fsync

    def note(descriptor):
        synced.append(str(Path(f"/proc/self/fd/{descriptor}").readlink()))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", note)
    files.write_bytes(b"x", tmp_path / "a")
    assert synced[0].endswith(".partial")
    assert synced[1:] == [str(tmp_path)]


def test_partials_of_dead_processes_go_and_others_stay(tmp_path):
    def die():
        with files.whole_file(tmp_path / "a") as partial:
            partial.write_text("half")
            os.kill(os.getpid(), signal.SIGKILL)

    assert in_child(die) == -signal.SIGKILL
    (dead,) = tmp_path.iterdir()
    assert socket.gethostname() in dead.name
    alive = tmp_path / f"a.{socket.gethostname()}.{os.getpid()}.partial"
    elsewhere = tmp_path / "a.another-host.1.partial"
    for path in (alive, elsewhere):
        path.touch()
    files.remove_partials(tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted([alive, elsewhere])
    files.remove_partials(tmp_path, held=True)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "error",
    [RecursionError("deep"), IndexError("7"), UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad")],
)
def test_whatever_a_reader_raises_becomes_one_sentence(error):
    sentence = rf"^a\.bin cannot be read as a table: {type(error).__name__}: "
    with pytest.raises(DataError, match=sentence), files.reading("a.bin", "a table"):
        raise error


@pytest.mark.parametrize("error", [MemoryError(), KeyboardInterrupt(), ConfigError("mine")])
def test_some_errors_pass_a_reader(error):
    with pytest.raises(type(error)) as caught, files.reading("a.bin", "a table"):
        raise error
    assert caught.value is error


def test_sealed_json_tells_damage_and_takes_older_files(tmp_path):
    path = tmp_path / "note.json"
    content = {"frames": 12, "sha256": "ab", "unit": "Å", "deep": {"b": [1.5, None], "a": True}}
    files.write_sealed_json(content, path)
    assert files.read_sealed_json(path, "a note") == content
    path.write_text(path.read_text().replace("12", "13"))
    with pytest.raises(DataError, match=r"note\.json cannot be read as a note.*does not fit"):
        files.read_sealed_json(path, "a note")
    path.write_text(json.dumps(content))
    assert files.read_sealed_json(path, "a note") == content
    for text in ("", "[]", "[" * 100_000, '{"a": NaN'):
        path.write_text(text)
        with pytest.raises(DataError, match="cannot be read as a note"):
            files.read_sealed_json(path, "a note")


def test_a_folder_is_held_by_one_process(tmp_path):
    folder = tmp_path / "run"

    def refused():
        with pytest.raises(ConfigError) as caught, files.hold(folder, "trains"):
            pass
        holder = f"process {os.getppid()} on {socket.gethostname()}"
        assert str(caught.value).startswith(f"{folder}: {holder} already trains there")

    def taken():
        with files.hold(folder, "trains"):
            pass

    with files.hold(folder, "trains"):
        assert in_child(refused) == 0
    assert not list(folder.iterdir())
    assert in_child(taken) == 0


def test_a_killed_process_holds_nothing_and_neither_do_its_children(tmp_path):
    """A loading process may outlive the one that trains by some seconds."""
    reader, writer = os.pipe()

    def train():
        with files.hold(tmp_path, "trains"):
            fork(lambda: os.write(writer, str(os.getpid()).encode()) and time.sleep(60))
            os.write(writer, b" ")
            time.sleep(0.2)
            os.kill(os.getpid(), signal.SIGKILL)

    assert in_child(train) == -signal.SIGKILL
    child = int(os.read(reader, 100).split()[0])
    try:
        with files.hold(tmp_path, "trains"):
            pass
    finally:
        os.kill(child, signal.SIGKILL)
    assert not list(tmp_path.iterdir())


def test_waiting_for_a_folder(tmp_path):
    order = []

    def second():
        with files.hold(tmp_path, "converts", wait=True):
            order.append("second")

    with files.hold(tmp_path, "converts"):
        thread = threading.Thread(target=second)
        thread.start()
        time.sleep(0.2)
        order.append("first")
    thread.join()
    assert order == ["first", "second"]
    assert not list(tmp_path.iterdir())


def test_packed_content_is_bounded(tmp_path):
    import gzip

    path = Path(tmp_path, "a.gz")
    path.write_bytes(gzip.compress(bytes(5000)))
    with gzip.open(path) as file, pytest.raises(DataError, match=r"a\.gz unpacks to more than"):
        files.bounded(file.read, 4999, path)
    with gzip.open(path) as file:
        assert files.bounded(file.read, 5000, path) == bytes(5000)


@pytest.mark.parametrize("name", ["seal", "sealed"])
def test_a_file_that_lost_its_seal_is_damaged_and_one_that_never_had_one_is_read(tmp_path, name):
    path = tmp_path / "record.json"
    files.write_sealed_json({"seed": 3}, path)
    content = json.loads(path.read_text())
    content[f"{name[:-1]}k"] = content.pop(name)
    path.write_text(json.dumps(content))
    with pytest.raises(DataError, match="checksum does not fit"):
        files.read_sealed_json(path, "a record")
    path.write_text('{"seed": 3}')
    assert files.read_sealed_json(path, "a record") == {"seed": 3}
