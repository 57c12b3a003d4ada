"""Forked processes: as good as new ones, without the seconds that imports take."""

import logging
import os
import pickle
import random
import resource
import select
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from equinet.errors import EquinetError

RAW = 70
"""Exit code of a process that an exception ended which is no sentence of equinet's own."""

REFUSED = 1
"""Exit code of a process that ended with a sentence."""


def start(work: Callable[[], Any], log: Path) -> int:
    """Fork a process that does some work, and return its id; its output is added to a file."""
    sys.stdout.flush()
    sys.stderr.flush()
    # Ctrl-C waits until the child is ready to answer it.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    pid = os.fork()
    if pid:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        return pid
    code = RAW
    try:
        code = _code_of(work, log)
    finally:
        os._exit(code)


def _code_of(work: Callable[[], Any], log: Path) -> int:
    """Do the work of a child, write how it ended, and return the exit code."""
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    # Replaced as well: those of a test runner write elsewhere.
    sys.stdout, sys.stderr = (os.fdopen(number, "w", 1, closefd=False) for number in (1, 2))
    logging.captureWarnings(capture=True)  # as the commands do
    signal.signal(signal.SIGINT, signal.default_int_handler)
    last, code = "", 0
    try:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        work()
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    except EquinetError as error:
        last, code = f"sentence: {error}", getattr(error, "exit_code", REFUSED)
    except KeyboardInterrupt:
        code = 128 + signal.SIGINT
    except BaseException:  # noqa: BLE001 - that is what is looked for
        last, code = traceback.format_exc(), RAW
    # A limit on the size of files would also end the report.
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    sys.stderr.write(f"{last}\n")
    sys.stdout.flush()
    sys.stderr.flush()
    return code


def wait(pid: int, seconds: float) -> int | None:
    """Return the exit code of a process, negative for a signal; None if it still runs."""
    end = time.monotonic() + seconds
    while True:
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() >= end:
            return None
        time.sleep(0.005)


def stop(pid: int) -> None:
    """Kill a process that did not end."""
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def last_words(log: Path, first: int = 0) -> str:
    """Return the last line of a log, behind a number of bytes."""
    if not log.is_file():
        return ""
    text = log.read_bytes()[first:].decode(errors="replace")
    return next((line for line in reversed(text.splitlines()) if line.strip()), "")[:300]


def side_by_side(jobs: Sequence[Callable[[], Any]], width: int = 2) -> list[Any]:
    """Do jobs in forked processes, a number of them at a time, and return what they return.

    Raises:
        RuntimeError: A job ended without a result.
    """
    results: list[Any] = [None] * len(jobs)
    running: dict[int, tuple[int, Any]] = {}
    waiting = list(enumerate(jobs))
    while waiting or running:
        while waiting and len(running) < width:
            number, job = waiting.pop(0)
            reader, writer = os.pipe()
            sys.stdout.flush()
            pid = os.fork()
            if pid == 0:
                _answer(job, reader, writer)
            os.close(writer)
            running[pid] = number, reader
        readable, _, _ = select.select([reader for _, reader in running.values()], [], [])
        pid, (number, reader) = next(each for each in running.items() if each[1][1] in readable)
        # The pipe is read to its end first: a full one would keep the process from ending.
        with os.fdopen(reader, "rb") as file:
            content = file.read()
        os.waitpid(pid, 0)
        del running[pid]
        if not content:
            raise RuntimeError(f"job {number} ended without a result")
        results[number] = pickle.loads(content)
    return results


def _answer(job: Callable[[], Any], reader: int, writer: int) -> None:
    code = 1
    try:
        os.close(reader)
        content = pickle.dumps(job())
        with os.fdopen(writer, "wb") as file:
            file.write(content)
        code = 0
    except BaseException:  # noqa: BLE001 - the parent reports that nothing came
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def dice(*words: object) -> random.Random:
    """Random numbers that depend on some words alone."""
    return random.Random(" ".join(map(str, words)))  # noqa: S311
