"""Alone, a process agrees with itself."""

import torch

from equinet.training.processes import (
    max_over_processes,
    mean_over_processes,
    rank_and_world,
)


def test_alone():
    assert rank_and_world() == (0, 1)
    assert mean_over_processes([0.25, 3.0], torch.device("cpu")) == [0.25, 3.0]
    assert max_over_processes([0.25, 3.0], torch.device("cpu")) == [0.25, 3.0]
