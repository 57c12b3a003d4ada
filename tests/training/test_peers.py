"""A process that has ended is named by the others."""

import os
import socket

from equinet.training.peers import Peer, Peers


def known(*peers: Peer) -> Peers:
    found = Peers()
    found._peers = list(peers)
    return found


def test_an_ended_process_is_named_whether_its_parent_has_noticed_or_not():
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    host = socket.gethostname()
    peers = known(Peer(1, host, pid), Peer(2, host, os.getppid()))
    expected = f"process 1 of 3 (pid {pid} on {host}) ended before the training did"
    assert peers.lost(RuntimeError("connection closed")) == expected
    os.waitpid(pid, 0)
    assert peers.lost(RuntimeError("connection closed")) == expected


def test_errors_of_ones_own_are_not_blamed_on_others(monkeypatch):
    monkeypatch.setattr("equinet.training.peers._PATIENCE", 0.0)
    assert known().lost(RuntimeError("gloo")) == ""
    here, away = Peer(1, socket.gethostname(), os.getppid()), Peer(2, "elsewhere", 1)
    assert known(here).lost(RuntimeError("a shape does not fit")) == ""
    assert known(away).lost(RuntimeError("a shape does not fit")) == ""
    sentence = known(here, away).lost(RuntimeError("gloo: connection closed"))
    assert sentence == ("the connection to one of process 2 of 3 (pid 1 on elsewhere) was lost")
    # A process on this machine may take longer to end than the others wait for it.
    sentence = known(here).lost(RuntimeError("gloo: connection closed"))
    assert sentence.startswith(f"the connection to one of process 1 of 2 (pid {os.getppid()} on")
