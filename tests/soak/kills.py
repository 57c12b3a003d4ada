"""Work that is killed again and again, and then finished, as if it had never been killed.

Not one bit of what it leaves may differ. A kill comes at a random time, or at a random one of the
operations on files that the work makes: these are a small part of the time and hold all the places
where something could be torn.
"""

import os
import random
import shutil
import signal
import sys
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from soak.cases import scaled
from soak.children import RAW, dice, last_words, side_by_side, stop, wait
from soak.deeds import Deed, caching, conversion, evaluation, saving, training, training_on_two
from soak.doing import LIMIT, begin, difference, finish, is_write, undisturbed
from soak.table import Row

SIGNALS = (signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
IN_A_ROW = 4  # kills before the work may finish
PATIENCE = 60.0  # seconds within which a process has to follow a signal


def strike_at(place: int, number: int) -> None:
    """Send this process a signal at one of its operations on files."""
    left, owner = place, os.getpid()

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal left
        if left >= 0 and is_write(event, arguments) and os.getpid() == owner:
            left -= 1
            if left < 0:
                os.kill(owner, number)

    sys.addaudithook(watch)


@dataclass(frozen=True)
class Blow:
    """When and where a signal falls.

    Attributes:
        number: The signal.
        victims: Ranks that it falls on.
        write: Number of the operation on files that it falls on; None falls by time.
        seconds: Seconds after the start at which it falls by time.
    """

    number: signal.Signals
    victims: frozenset[int]
    write: int | None
    seconds: float

    @classmethod
    def drawn(cls, deed: Deed, rng: random.Random, seconds: float, writes: int) -> "Blow":
        """Draw one within the time and the operations that a whole deed takes."""
        everyone = frozenset(range(deed.processes))
        one = frozenset({rng.randrange(deed.processes)})
        write = rng.randrange(writes) if rng.random() < 0.5 else None
        victims = everyone if rng.random() < 0.5 else one
        return cls(rng.choice(SIGNALS), victims, write, rng.uniform(0.0, seconds))

    def prepare(self, rank: int) -> None:
        """Get ready in the process that it falls on."""
        if self.write is not None and rank in self.victims:
            strike_at(self.write, self.number)

    def __str__(self) -> str:
        when = f"after {self.seconds:.2f} s" if self.write is None else f"at write {self.write}"
        return f"{self.number.name} {when} on {sorted(self.victims)}"


def await_blow(blow: Blow, pids: list[int]) -> tuple[dict[int, int | None], bool]:
    """Wait until the blow has fallen; return what has ended by now, and whether it fell in time."""
    ends: dict[int, int | None] = {}
    limit = blow.seconds if blow.write is None else LIMIT
    deadline = time.monotonic() + limit
    while len(ends) < len(pids) and time.monotonic() < deadline:
        for pid in pids:
            if pid not in ends and (code := wait(pid, 0)) is not None:
                ends[pid] = code
        if any(ends.values()):
            return ends, True
        time.sleep(0.002)
    struck = False
    for rank in blow.victims:
        if pids[rank] not in ends:
            os.kill(pids[rank], blow.number)
            struck = True
    return ends, struck


def strike(deed: Deed, folder: Path, log: Path, blow: Blow) -> tuple[bool, str]:
    """Start a deed and kill it once: whether the signal came in time, and what went wrong."""
    said, begun = log.stat().st_size if log.is_file() else 0, time.time()
    pids = begin(deed, folder, log, blow.prepare)
    ends, struck = await_blow(blow, pids)
    ready = deed.ready(folder, begun)
    for pid in pids:
        if pid not in ends:
            if deed.processes > 1 and not ready:
                os.kill(pid, signal.SIGTERM)  # as launchers do while processes find each other
            ends[pid] = wait(pid, PATIENCE)
    hung = [pid for pid in pids if ends[pid] is None]
    for pid in hung:
        stop(pid)
    if hung:
        return struck, f"{blow}: still runs after {PATIENCE:.0f} s"
    if RAW in ends.values():
        return struck, f"{blow}: ends in an exception: {last_words(log, said)}"
    fault = deed.broken(folder)
    return struck, f"{blow}: {fault}" if fault else ""


def chains(deed: Deed, count: int, folder: Path, seed: int) -> Row:
    """Kill a deed ``count`` times, a few times in each folder, and finish it in each."""
    begun = time.monotonic()
    expected, seconds, writes = undisturbed(deed, folder)
    faults: list[str] = []
    done = tries = chain = 0
    while done < count and tries < 4 * count:
        place, log = folder / f"chain{chain}", folder / f"chain{chain}.log"
        place.mkdir()
        before = len(faults)
        for link in range(IN_A_ROW):
            blow = Blow.drawn(deed, dice(seed, deed.name, chain, link), seconds, writes)
            struck, fault = strike(deed, place, log, blow)
            done, tries = done + struck, tries + 1
            faults += [f"{deed.name}, chain {chain}, kill {link}: {fault}"] if fault else []
        fault = finish(deed, place, log)
        try:
            fault = fault or difference(expected, deed.outcome(place))
        except Exception as error:  # noqa: BLE001 - a torn outcome is a finding
            fault = f"{type(error).__name__}: {error}"
        faults += [f"{deed.name}, chain {chain}, resumed: {fault}"] if fault else []
        if len(faults) == before:
            shutil.rmtree(place)
        chain += 1
    return Row("kills", deed.name, done, faults, time.monotonic() - begun)


def run(folder: Path, data: Path, *, seed: int, fraction: float) -> list[Row]:
    """Kill every kind of work."""
    counts = scaled("kills", fraction)
    deeds = [
        training("train", data),
        training("train with two loading processes", data, "data.num_workers=2"),
        training_on_two(data),
        conversion("convert", data, 1),
        conversion("convert with two processes", data, 2),
        evaluation(data),
        saving(),
        caching("make a cache with two processes", 2),
    ]
    jobs = []
    for number, deed in enumerate(deeds):
        place = folder / f"kills{number}"
        place.mkdir()
        jobs.append(partial(chains, deed, counts[deed.name], place, seed))
    found: list[Row] = side_by_side(jobs)
    return found
