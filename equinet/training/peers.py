"""Processes that train together, and which of them have ended too early."""

import os
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from equinet.training.processes import gather, rank_and_world

_PATIENCE = 5.0  # seconds; a connection is closed a moment before its process has ended


@dataclass(frozen=True)
class Peer:
    """One of the processes of a run.

    Attributes:
        rank: Rank of the process, from 0.
        host: Name of its machine.
        pid: Number of the process there.
    """

    rank: int
    host: str
    pid: int

    def has_ended(self) -> bool:
        """Return whether the process is known to have ended; one on another machine never is."""
        return self.host == socket.gethostname() and not _runs(self.pid)


class Peers(Callback):
    """Keeps the addresses of all processes of a run, to name one that has ended.

    Example:
        >>> Peers().lost(RuntimeError("no connection"))
        ''
    """

    def __init__(self) -> None:
        self._peers: list[Peer] = []

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Exchange the addresses."""
        rank, _ = rank_and_world()
        places = gather((socket.gethostname(), os.getpid()))
        self._peers = [
            Peer(number, *place) for number, place in enumerate(places) if number != rank
        ]

    def lost(self, error: BaseException) -> str:
        """Name the processes whose end was the cause of an error.

        Args:
            error: Error that ended this process.

        Returns:
            A clause that names rank, number and machine; empty if no process is known to have
            ended and the error does not come from a connection to another one.
        """
        deadline = time.monotonic() + (_PATIENCE if self._peers else 0.0)
        while not (ended := [peer for peer in self._peers if peer.has_ended()]):
            if time.monotonic() >= deadline:
                return self._elsewhere(error)
            time.sleep(0.05)
        return f"{_named(ended, len(self._peers) + 1)} ended before the training did"

    def _elsewhere(self, error: BaseException) -> str:
        """Name the processes that may be the cause if the error comes from a connection.

        A process that closes its connections and goes on ending, or that is on another machine, is
        not known to have ended.
        """
        away = [peer for peer in self._peers if peer.host != socket.gethostname()]
        suspected = away or self._peers
        is_connection = "gloo" in str(error) or type(error).__name__.startswith("Dist")
        if not suspected or not is_connection:
            return ""
        return f"the connection to one of {_named(suspected, len(self._peers) + 1)} was lost"


def _named(peers: Sequence[Peer], world: int) -> str:
    return ", ".join(
        f"process {peer.rank} of {world} (pid {peer.pid} on {peer.host})" for peer in peers
    )


def _runs(pid: int) -> bool:
    """Return whether a process of this machine runs and is no zombie."""
    try:
        os.kill(pid, 0)
        state: Any = (
            Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        )
    except ProcessLookupError:
        return False
    except OSError:
        return True  # another user's process, or a system without /proc
    return state[0] not in {"Z", "X"}
