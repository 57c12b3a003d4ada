"""Work that is begun, done to its end without a disturbance, and compared."""

import os
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from soak.children import last_words, start, stop, wait
from soak.deeds import Deed, as_rank, free_port

LIMIT = 300.0  # seconds for work that nobody disturbs


def is_write(event: str, arguments: tuple[Any, ...]) -> bool:
    """Whether an audit event is an operation that changes a file."""
    if event == "open":
        flags = arguments[2]
        return isinstance(flags, int) and bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))
    return event in {"os.rename", "os.remove", "os.mkdir", "os.link", "os.truncate"}


def count_writes(report: Path) -> Callable[[], None]:
    """Count the operations on files of this process; the returned function writes the number."""
    count = 0

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal count
        count += is_write(event, arguments)

    sys.addaudithook(watch)
    return lambda: report.write_text(str(count))


def begin(deed: Deed, folder: Path, log: Path, before: Callable[[int], None]) -> list[int]:
    """Start all processes of a deed; ``before`` is called in each with its rank."""
    port = free_port()

    def work(rank: int) -> None:
        if deed.processes > 1:
            as_rank(rank, deed.processes, port)
        before(rank)
        deed.do(folder)

    return [start(partial(work, rank), log) for rank in range(deed.processes)]


def finish(deed: Deed, folder: Path, log: Path) -> str:
    """Let a deed go on to its end; return what went wrong."""
    pids = begin(deed, folder, log, lambda _: None)
    codes = [wait(pid, LIMIT) for pid in pids]
    for pid, code in zip(pids, codes, strict=True):
        if code is None:
            stop(pid)
    return "" if not any(codes) and None not in codes else f"ends with {codes}: {last_words(log)}"


def undisturbed(deed: Deed, folder: Path) -> tuple[Any, float, int]:
    """The outcome without a kill, the seconds that it took, and its number of file operations."""
    log, report = folder / "log", folder / "writes"
    place = folder / "whole"
    place.mkdir(parents=True)
    begun = time.monotonic()

    def work() -> None:
        note = count_writes(report)
        deed.do(place)
        note()

    if deed.processes == 1:
        pid = start(work, log)
        code = wait(pid, LIMIT)
        fault = f"ends with {code}: {last_words(log)}" if code else ""
    else:
        fault = finish(deed, place, log)
    if fault:
        raise RuntimeError(f"{deed.name}, undisturbed, {fault}")
    seconds = time.monotonic() - begun
    writes = int(report.read_text()) if report.is_file() else 60
    return deed.outcome(place), seconds, writes


def difference(a: Any, b: Any, path: str = "") -> str:
    """The first place in which two nested values differ; empty where they are equal."""
    if isinstance(a, dict) and isinstance(b, dict):
        for key in sorted({*a, *b}):
            if found := difference(a.get(key), b.get(key), f"{path}/{key}"):
                return found
        return ""
    if isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
        places = enumerate(zip(a, b, strict=True))
        return next((f for i, (x, y) in places if (f := difference(x, y, f"{path}/{i}"))), "")
    return "" if a == b else f"{path}: {str(a)[:60]} is now {str(b)[:60]}"
