"""A disk that is full: one sentence, nothing lost, and the same command goes on once there is room.

The disk is full from a random operation on, so that no file can be begun any more; or no file can
grow beyond a random size, so that writing ends within one.
"""

import errno
import os
import resource
import shutil
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from soak.cases import scaled
from soak.children import RAW, dice, last_words, side_by_side, stop, wait
from soak.deeds import Deed, caching, conversion, evaluation, saving, training
from soak.doing import LIMIT, begin, difference, finish, is_write, undisturbed
from soak.table import Row


def fill_at(place: int, folder: Path) -> None:
    """Refuse to begin any file in a folder, from one of this process's operations on files on."""
    left = place

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal left
        if not is_write(event, arguments) or event not in {"open", "os.mkdir"}:
            return
        left -= 1
        path = arguments[0]
        if left < 0 and isinstance(path, str | os.PathLike) and folder in Path(path).parents:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    sys.addaudithook(watch)


def limit_files(size: int) -> None:
    """Let no file grow beyond a number of bytes; a write beyond it fails."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


def attempt(deed: Deed, folder: Path, log: Path, hinder: Callable[[], None]) -> tuple[bool, str]:
    """Do a deed on a full disk: whether it was in its way, and what went wrong."""
    (pid,) = begin(deed, folder, log, lambda _: hinder())
    code = wait(pid, LIMIT)
    words = last_words(log)
    if code is None:
        stop(pid)
        return True, "does not end"
    if code == RAW or code < 0:
        return True, f"ends with {code}: {words}"
    if code and not words.startswith("sentence: "):
        return True, f"ends without a sentence: {words}"
    return code != 0, deed.broken(folder)


def filled(deed: Deed, count: int, folder: Path, seed: int) -> Row:
    """Do a deed on a full disk a number of times, and finish it each time."""
    begun = time.monotonic()
    expected, _, writes = undisturbed(deed, folder)
    sizes = sorted({path.stat().st_size for path in (folder / "whole").rglob("*")})
    faults: list[str] = []
    done = tries = 0
    while done < count and tries < 4 * count:
        place, log = folder / f"try{tries}", folder / f"try{tries}.log"
        place.mkdir()
        rng = dice(seed, deed.name, tries)
        number, size = rng.randrange(writes), int(rng.choice(sizes) * rng.random())
        by_place = rng.random() < 0.5
        hinder = partial(fill_at, number, place) if by_place else partial(limit_files, size)
        what = f"full at write {number}" if by_place else f"no file beyond {size} bytes"
        hindered, fault = attempt(deed, place, log, hinder)
        fault = fault or finish(deed, place, log)
        try:
            fault = fault or difference(expected, deed.outcome(place))
        except Exception as error:  # noqa: BLE001 - a torn outcome is a finding
            fault = f"{type(error).__name__}: {error}"
        faults += [f"{deed.name}, try {tries}, {what}: {fault}"] if fault else []
        done, tries = done + hindered, tries + 1
        if not fault:
            shutil.rmtree(place)
    return Row("disk", deed.name, done, faults, time.monotonic() - begun)


def run(folder: Path, data: Path, *, seed: int, fraction: float) -> list[Row]:
    """Fill the disk under every kind of work that writes."""
    counts = scaled("disk", fraction)
    deeds = [
        training("train", data),
        conversion("convert", data, 1),
        evaluation(data),
        saving(),
        caching("make a cache", 1),
    ]
    jobs = []
    for number, deed in enumerate(deeds):
        place = folder / f"disk{number}"
        place.mkdir()
        jobs.append(partial(filled, deed, counts[deed.name], place, seed))
    found: list[Row] = side_by_side(jobs)
    return found
