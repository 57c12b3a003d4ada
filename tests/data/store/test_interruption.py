"""An interrupted conversion is continued without loss, and two never write into one folder."""

import os
import signal
import socket
import time
from multiprocessing import active_children
from pathlib import Path

import pytest
from forks import exit_code, fork
from oc20_files import slab, write_pair
from stores import content_of, run

from equinet.data.store import FrameStore, Options, conversion, convert
from equinet.errors import ConfigError, DataError
from equinet.files import LOCK, read_sealed_json, write_sealed_json


def convert_until_killed(source, store, moment):
    """Convert in a process of its own that dies by SIGKILL while it writes the second shard."""

    def die_in_the_middle():
        name = "write_sealed_json" if moment == "note" else "write_shard"
        write = getattr(conversion, name)

        def die_or_write(*arguments, **options):
            if any("000001" in str(argument) for argument in arguments):
                if moment == "partial":
                    (store / "shards" / "000001.safetensors.1.partial").write_bytes(b"half")
                os.kill(os.getpid(), signal.SIGKILL)
            return write(*arguments, **options)

        setattr(conversion, name, die_or_write)
        run(source, store)

    assert exit_code(fork(die_in_the_middle)) == -signal.SIGKILL


@pytest.mark.parametrize("moment", ["shard", "note", "partial"])
def test_a_killed_conversion_goes_on_without_loss_or_double(pairs, tmp_path, moment):
    store = tmp_path / "store"
    convert_until_killed(pairs, store, moment)
    assert (store / "shards" / "000000.json").is_file()
    with pytest.raises(DataError, match="its conversion has not ended: repeat it"):
        FrameStore(store)
    first = (store / "shards" / "000000.safetensors").stat().st_mtime_ns
    steps = list(convert(pairs, store))
    assert [step.done for step in steps] == [1, 2, 3]
    assert steps[-1].frames == 7
    assert (store / "shards" / "000000.safetensors").stat().st_mtime_ns == first
    run(pairs, tmp_path / "undisturbed")
    assert content_of(store) == content_of(tmp_path / "undisturbed")


def test_workers_end_with_a_killed_conversion(pairs, tmp_path):
    """They would otherwise wait for ever for the work of a parent that is gone."""
    source, sink = os.pipe()

    def convert_for_a_minute():
        steps = convert(pairs, tmp_path / "store", processes=2)
        next(steps)
        next(steps)
        os.write(sink, " ".join(str(child.pid) for child in active_children()).encode())
        time.sleep(60)

    parent = fork(convert_for_a_minute)
    workers = [int(word) for word in os.read(source, 100).split()]
    assert len(workers) == 2
    os.kill(parent, signal.SIGKILL)
    os.waitpid(parent, 0)
    for _ in range(600):
        alive = [pid for pid in workers if Path(f"/proc/{pid}").exists() and not _zombie(pid)]
        if not alive:
            break
        time.sleep(0.1)
    for pid in alive:
        os.kill(pid, signal.SIGKILL)
    assert not alive
    run(pairs, tmp_path / "store")
    assert len(FrameStore(tmp_path / "store")) == 12


def _zombie(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def test_repeating_does_nothing_and_another_source_is_refused(pairs, tmp_path):
    store = tmp_path / "store"
    run(pairs, store)
    before = content_of(store)
    assert run(pairs, store).frames == 0
    assert content_of(store) == before
    with pytest.raises(DataError, match="with other options"):
        run(pairs, store, options=Options(precision="float32"))
    write_pair(pairs, 11, [slab(1)])
    with pytest.raises(DataError, match="a store of another source"):
        run(pairs, store)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("")
    with pytest.raises(DataError, match="holds something else"):
        run(pairs, tmp_path / "mine")


def test_a_begun_conversion_keeps_its_options(pairs, tmp_path):
    store = tmp_path / "store"
    steps = convert(pairs, store)
    next(steps)
    next(steps)
    steps.close()
    with pytest.raises(DataError, match="was begun here"):
        run(pairs, store, options=Options(cutoff=3.0))
    assert run(pairs, store).done == 3


@pytest.mark.parametrize("name", ["conversion.json", "shards/000000.json"])
@pytest.mark.parametrize("content", [b"", b"[]", b"\xff\xfe", b'{"frames": "four", "seal": ""}'])
def test_damaged_notes_are_made_anew(pairs, tmp_path, caplog, name, content):
    store = tmp_path / "store"
    steps = convert(pairs, store)
    next(steps)
    next(steps)
    steps.close()
    (store / name).write_bytes(content)
    assert run(pairs, store).done == 3
    assert "making it anew" in caplog.text
    run(pairs, tmp_path / "undisturbed")
    assert content_of(store) == content_of(tmp_path / "undisturbed")


def test_a_label_declared_since_the_conversion_began_is_counted(pairs, tmp_path):
    store = tmp_path / "store"
    steps = convert(pairs, store)
    next(steps)
    next(steps)
    steps.close()
    path = store / "shards" / "000000.json"
    note = read_sealed_json(path, "a note")
    lost = note["labels"].pop("reference_energy")
    write_sealed_json(note, path)
    run(pairs, store)
    found = FrameStore(store)
    assert lost > 0
    assert found.labels["reference_energy"] == len(found) - lost


def test_notes_of_another_plan_do_not_count(pairs, tmp_path):
    """The plan is lost, and the options are others: its shards must not be mixed in."""
    store = tmp_path / "store"
    steps = convert(pairs, store)
    next(steps)
    next(steps)
    steps.close()
    (store / "conversion.json").unlink()
    run(pairs, store, options=Options(precision="float32"))
    run(pairs, tmp_path / "undisturbed", options=Options(precision="float32"))
    assert content_of(store) == content_of(tmp_path / "undisturbed")


def test_a_second_conversion_into_a_folder_is_refused_or_waits(pairs, tmp_path):
    store = tmp_path / "store"
    steps = convert(pairs, store)
    next(steps)
    reader, writer = os.pipe()

    def convert_in_turn():
        try:
            run(pairs, store)
        except ConfigError as error:
            os.write(writer, str(error).encode())
        run(pairs, store, wait=True)

    pid = fork(convert_in_turn)
    sentence = os.read(reader, 1000).decode()
    assert f"{store}: process {os.getpid()} on {socket.gethostname()} already converts" in sentence
    list(steps)
    assert exit_code(pid) == 0
    assert len(FrameStore(store)) == 12
    assert not (store / LOCK).exists()


def test_a_conversion_killed_after_its_last_file_leaves_nothing_behind(
    pairs, tmp_path, monkeypatch
):
    """The store is whole by then; the same call removes what only the conversion needed."""
    run(pairs, tmp_path / "whole")
    with monkeypatch.context() as patched:

        def die(*_):
            raise KeyboardInterrupt

        patched.setattr(conversion, "_tidy", die)
        with pytest.raises(KeyboardInterrupt):
            run(pairs, tmp_path / "store")
    (tmp_path / "store" / "header.json.elsewhere.1.partial").touch()
    assert (tmp_path / "store" / "conversion.json").is_file()
    run(pairs, tmp_path / "store")
    assert content_of(tmp_path / "store") == content_of(tmp_path / "whole")
