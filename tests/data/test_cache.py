import hashlib
import http.client
import io
import logging
import os
import socket
import subprocess
from typing import ClassVar
from urllib.error import URLError

import pytest
import torch
from oc20_files import slab

from equinet.data import cache, fingerprint, git_blob_id, read_frames
from equinet.data.datasets import nbody
from equinet.data.digits.transforms import affine_copy, cached_copies
from equinet.errors import DataError


def test_the_cache_follows_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache.cache_folder() == tmp_path / "xdg" / "equinet"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert cache.cache_folder() == tmp_path / "home" / ".cache" / "equinet"
    assert cache.cache_folder(tmp_path / "mine").is_dir()
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match=r"give another as data\.cache"):
        cache.cache_folder(tmp_path / "file" / "below")


def test_files_appear_whole_or_not_at_all(tmp_path):
    path = tmp_path / "file"

    def write_half() -> None:
        with cache.whole_file(path) as partial:
            partial.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_half()
    assert list(tmp_path.iterdir()) == []
    with cache.whole_file(path) as partial:
        partial.write_text("whole")
        assert not path.exists()
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def _frames(folder):
    frames = {"train": [slab(0)]}
    cache.cached_splits("set-v1", lambda: frames, ("train",), folder)
    return folder / "set-v1"


def _copies(folder):
    images = torch.zeros(1, 40, 40, dtype=torch.uint8)
    cached_copies("copies-v1", affine_copy, images, copies=1, seed=1, cache=folder)
    return folder / "copies-v1"


def _motions(folder):
    nbody._cached_motions({"train": 1, "val": 1, "test": 1}, folder)
    return folder / "nbody-v1"


def _download(folder):
    (folder / "file").touch()
    cache.fetch("https://nowhere.invalid", folder / "file")
    return folder


@pytest.mark.parametrize("make", [_frames, _copies, _motions, _download])
def test_what_a_killed_process_left_goes_although_another_one_made_the_files(make, tmp_path):
    ended = os.fork()
    if ended == 0:
        os._exit(0)
    os.waitpid(ended, 0)
    folder = make(tmp_path)
    whole = sorted(folder.iterdir())
    abandoned, other = (folder / f"x.{socket.gethostname()}.{pid}.partial" for pid in (ended, 1))
    abandoned.touch()
    other.touch()
    make(tmp_path)
    assert sorted(folder.iterdir()) == sorted([*whole, other]), "process 1 runs"


def test_git_blob_id_is_that_of_git(write):
    path = write("some\ncontent\n")
    answer = subprocess.run(
        ["git", "hash-object", path.name],
        cwd=path.parent,
        capture_output=True,
        check=True,
        text=True,
    )
    assert git_blob_id(path) == answer.stdout.strip()


def test_fetch_keeps_what_is_there_and_checks_what_comes(tmp_path, monkeypatch):
    path = tmp_path / "file"
    asked = []

    def answer(url: str, timeout: float) -> io.BytesIO:
        asked.append(url)
        return io.BytesIO(b"content")

    monkeypatch.setattr("urllib.request.urlopen", answer)
    with pytest.raises(DataError, match="the content has git blob id 6b584e8ece562ebf"):
        cache.fetch("https://host/file", path, blob_id="0" * 40)
    assert not path.exists()
    cache.fetch("https://host/file", path, blob_id="6b584e8ece562ebffc15d38808cd6b98fc3d97ea")
    cache.fetch("https://host/file", path)
    assert path.read_bytes() == b"content"
    assert len(asked) == 2
    with pytest.raises(ValueError, match="https"):
        cache.fetch("file:///etc/passwd", tmp_path / "other")


def test_fetch_without_network_leaves_nothing(tmp_path, monkeypatch):
    def refuse(url: str, timeout: float) -> None:
        raise URLError("no network")

    monkeypatch.setattr("urllib.request.urlopen", refuse)
    with pytest.raises(OSError, match="no network"):
        cache.fetch("https://host/file", tmp_path / "file")
    assert list(tmp_path.iterdir()) == []


def test_splits_are_made_once_and_anew_when_broken(tmp_path, write, text, caplog):
    frames = read_frames(write(text()))
    calls = []

    def make():
        calls.append(1)
        return {"a": frames, "b": frames[:1]}

    first = cache.cached_splits("set", make, ("a", "b"), cache=tmp_path)
    second = cache.cached_splits("set", make, ("a", "b"), cache=tmp_path)
    assert len(calls) == 1
    assert fingerprint(first["a"]) == fingerprint(second["a"])
    path = tmp_path / "set" / "a.extxyz"
    path.write_bytes(path.read_bytes()[:-40])
    with caplog.at_level(logging.WARNING):
        third = cache.cached_splits("set", make, ("a", "b"), cache=tmp_path)
    assert len(calls) == 2
    assert "its copy is broken" in caplog.text
    assert fingerprint(third["a"]) == fingerprint(first["a"])


def test_a_folder_that_cannot_be_written(tmp_path, write, text):
    frames = read_frames(write(text()))
    (tmp_path / "set").write_text("in the way")
    with pytest.raises(DataError, match=r"give another folder as data\.cache"):
        cache.cached_splits("set", lambda: {"a": frames}, ("a",), cache=tmp_path)


@pytest.mark.parametrize("name", ["a.extxyz", "checksums.json"])
def test_a_changed_digit_of_a_split_is_found(tmp_path, write, text, caplog, name):
    """The file can be read; only its checksum tells."""
    frames = read_frames(write(text()))
    first = cache.cached_splits("set", lambda: {"a": frames}, ("a",), cache=tmp_path)
    path = tmp_path / "set" / name
    content = path.read_text()
    assert "-1.5" in content or name != "a.extxyz"
    path.write_text(content.replace("-1.5", "-1.6") if name == "a.extxyz" else content[:-30])
    with caplog.at_level(logging.WARNING):
        again = cache.cached_splits("set", lambda: {"a": frames}, ("a",), cache=tmp_path)
    assert "its copy is broken" in caplog.text
    assert fingerprint(again["a"]) == fingerprint(first["a"])
    (tmp_path / "set" / "checksums.json").unlink()  # as older versions leave it
    cache.cached_splits("set", pytest.fail, ("a",), cache=tmp_path)


def test_fetch_follows_no_address_without_protection(tmp_path, monkeypatch):
    class Answer(io.BytesIO):
        url = "http://elsewhere/file"

    monkeypatch.setattr("urllib.request.urlopen", lambda *_, **__: Answer(b"content"))
    with pytest.raises(DataError, match="https://host/file: it leads to http://elsewhere/file"):
        cache.fetch("https://host/file", tmp_path / "file")
    assert not list(tmp_path.iterdir())


def test_a_download_that_breaks_off_is_one_sentence(tmp_path, monkeypatch):
    class Answer(io.BytesIO):
        headers: ClassVar[dict[str, str]] = {"Content-Length": "many"}

        def read(self, *_: int) -> bytes:
            raise http.client.IncompleteRead(b"cont")

    monkeypatch.setattr("urllib.request.urlopen", lambda *_, **__: Answer(b"content"))
    with pytest.raises(DataError, match=r"host/file: the download failed \(IncompleteRead"):
        cache.fetch("https://host/file", tmp_path / "file")
    assert not list(tmp_path.iterdir())


def test_fetch_takes_no_more_than_was_agreed(tmp_path, monkeypatch):
    class Answer(io.BytesIO):
        headers: ClassVar[dict[str, str]] = {}

    monkeypatch.setattr("urllib.request.urlopen", lambda *_, **__: Answer(bytes(5000)))
    path = tmp_path / "file"
    with pytest.raises(DataError, match="larger than the 4999 bytes accepted"):
        cache.fetch("https://host/file", path, largest=4999)
    with pytest.raises(DataError, match="the content has SHA-256"):
        cache.fetch("https://host/file", path, sha256="0" * 64)
    Answer.headers = {"Content-Length": "6000"}
    with pytest.raises(DataError, match="5000 of 6000 bytes came"):
        cache.fetch("https://host/file", path)
    with pytest.raises(DataError, match="6000 bytes are announced"):
        cache.fetch("https://host/file", path, largest=5500)
    assert not list(tmp_path.iterdir())
    Answer.headers = {"Content-Length": "5000"}
    cache.fetch("https://host/file", path, sha256=hashlib.sha256(bytes(5000)).hexdigest())
    assert path.read_bytes() == bytes(5000)
