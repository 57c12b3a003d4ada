"""Damage to files, the same in every run, and what becomes of a reader of them."""

import faulthandler
import hashlib
import logging
import os
import random
import re
import signal
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from damaged_files import SEALED, Kind, MadeAnewError

from equinet.errors import EquinetError

_NUMBER = re.compile(rb"-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?")
_HUGE = (b"1e308", b"-1e400", b"99999999999999999999999", b"NaN", b"-1", b"1e-320", b"0")
_BLOCKS = (1, 4, 16, 64, 512)


def digest(value: Any) -> str:
    """A checksum of nested arrays, tensors and plain values."""
    found = hashlib.sha256()

    def add(item: Any) -> None:
        if isinstance(item, dict):
            for key in sorted(item):
                add(key)
                add(item[key])
        elif isinstance(item, list | tuple):
            for each in item:
                add(each)
        elif isinstance(item, torch.Tensor):
            add(item.detach().numpy())
        elif isinstance(item, np.ndarray):
            found.update(f"{item.shape} {item.dtype}".encode() + np.ascontiguousarray(item).data)
        else:
            found.update(repr(item).encode())

    add(value)
    return found.hexdigest()


# Damage


def cut(content: bytearray, rng: random.Random) -> bytearray:
    return content[: rng.randrange(len(content))]


def flip(content: bytearray, rng: random.Random) -> bytearray:
    content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    return content


def overwrite(content: bytearray, rng: random.Random) -> bytearray:
    for _ in range(rng.choice((1, 8))):
        content[rng.randrange(len(content))] = rng.randrange(256)
    return content


def blank(content: bytearray, rng: random.Random) -> bytearray:
    start, stop = _block(content, rng)
    content[start:stop] = bytes(stop - start)
    return content


def duplicate(content: bytearray, rng: random.Random) -> bytearray:
    start, stop = _block(content, rng)
    content[stop:stop] = content[start:stop]
    return content


def delete(content: bytearray, rng: random.Random) -> bytearray:
    start, stop = _block(content, rng)
    del content[start:stop]
    return content


def exchange(content: bytearray, rng: random.Random) -> bytearray:
    """Exchange two numbers of a text, or two words of eight bytes."""
    numbers = list(_NUMBER.finditer(content))
    if len(numbers) > 1:
        (a, b), (c, d) = sorted(each.span() for each in rng.sample(numbers, 2))
    else:
        words = max(2, len(content) // 8)
        a, c = (8 * each for each in sorted(rng.sample(range(words), 2)))
        b, d = a + 8, c + 8
    return content[:a] + content[c:d] + content[b:c] + content[a:b] + content[d:]


def enlarge(content: bytearray, rng: random.Random) -> bytearray:
    """Replace a number by one that is huge or none, or eight bytes by the largest ones."""
    numbers = list(_NUMBER.finditer(content))
    if numbers:
        start, stop = rng.choice(numbers).span()
        content[start:stop] = rng.choice(_HUGE)
    else:
        start = rng.randrange(len(content))
        content[start : start + 8] = b"\xff" * 7 + b"\x7f"
    return content


def recode(content: bytearray, rng: random.Random) -> bytearray:
    """Write the file in another encoding, as editors on other systems do."""
    name = rng.choice(("utf-16", "utf-32-be", "cp037"))
    return bytearray(content.decode("latin-1").encode(name))


def empty(_: bytearray, rng: random.Random) -> bytearray:
    return bytearray(rng.choice((b"", b"\n", b" ", b"\0" * 4096)))


def lengthen(content: bytearray, rng: random.Random) -> bytearray:
    return content + rng.choice((b"\0" * 512, b"\n\n", rng.randbytes(64), bytes(content)))


def _block(content: bytearray, rng: random.Random) -> tuple[int, int]:
    start = rng.randrange(len(content))
    return start, min(len(content), start + rng.choice(_BLOCKS))


WAYS = (
    *(cut, flip, overwrite, blank, duplicate, delete, exchange, enlarge),
    *(flip, overwrite, recode, empty, lengthen),
)
"""Every way to damage a file; those that a checksum must notice stand twice."""


def mutant(content: bytes, name: str, number: int) -> tuple[str, bytes]:
    """Damage a file in a way that its kind and a number determine."""
    rng = random.Random(f"{name} {number}")  # noqa: S311
    way = WAYS[number % len(WAYS)]
    return f"{name}, {way.__name__} {number}", bytes(way(bytearray(content), rng))


# Verdict


def verdict(path: Path, read: Callable[[], Any], expected: str, *, sealed: bool) -> str:
    """What is wrong with the answer to a damaged file; empty where nothing is."""
    try:
        found = digest(read())
    except MadeAnewError:
        return ""
    except EquinetError as error:
        if path.name not in str(error):
            return f"does not name the file: {error}"
        return "" if "\n" not in str(error).strip() else f"is no single sentence: {error}"
    except BaseException as error:  # noqa: BLE001 - that is what is looked for
        return f"raises {type(error).__name__}: {error}"
    return "is read with other content" if sealed and found != expected else ""


def faults(
    make: Callable[[Path], Kind],
    folder: Path,
    numbers: Sequence[int],
    *,
    seconds: int,
    seed: int = 0,
) -> list[str]:
    """Damage a file in some ways, and say what went wrong with each; seconds are for one of them.

    All are read in a process of their own, and in another one after one that ended it.
    """
    found: list[str] = []
    left = list(numbers)
    while left:
        place = folder / f"from{left[0]}"
        place.mkdir()
        lines, status = _in_a_child(make, place, left, seconds, seed)
        found += [line for line in lines if not line.endswith(": ")]
        if status == 0 and len(lines) == len(left):
            return found
        if len(lines) == 0:
            return [*found, f"{make.__name__} cannot be read undamaged ({status})"]
        ended = -status if status < 0 else 0
        name = signal.Signals(ended).name if ended else f"exit {status}"
        kind = f"takes over {seconds} s" if ended == signal.SIGALRM else f"ends the process: {name}"
        found.append(f"{lines[-1]}{kind}")
        left = left[len(lines) :]
    return found


def _in_a_child(
    make: Callable[[Path], Kind], folder: Path, numbers: Sequence[int], seconds: int, seed: int
) -> tuple[list[str], int]:
    """Lines that a child wrote, one a mutant and the last perhaps unfinished; and how it ended."""
    reader, writer = os.pipe()
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        os.close(reader)
        status = 1
        signal.signal(signal.SIGALRM, signal.SIG_DFL)  # pytest-timeout would only raise
        faulthandler.disable()
        logging.disable(logging.CRITICAL)
        try:
            with warnings.catch_warnings(), os.fdopen(writer, "w") as report:
                warnings.simplefilter("ignore")
                path, read = make(folder)
                content, expected = path.read_bytes(), digest(read())
                for number in numbers:
                    name = make.__name__ if seed == 0 else f"{make.__name__} {seed}"
                    how, changed = mutant(content, name, number)
                    path.write_bytes(changed)
                    report.write(f"{how}: ")
                    report.flush()
                    signal.alarm(seconds)
                    answer = verdict(path, read, expected, sealed=make in SEALED)
                    signal.alarm(0)
                    report.write(answer.replace("\n", " ") + "\n")
                    report.flush()
            status = 0
        finally:
            os._exit(status)
    os.close(writer)
    with os.fdopen(reader) as report:
        lines = report.read().split("\n")
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return lines if lines[-1] else lines[:-1], status
