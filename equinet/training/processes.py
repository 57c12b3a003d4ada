"""Small facts that all processes of a run must agree on."""

from collections.abc import Sequence

import torch
from torch import distributed


def rank_and_world() -> tuple[int, int]:
    """This process's number and how many there are; 0 and 1 outside a process group."""
    if distributed.is_available() and distributed.is_initialized():
        return distributed.get_rank(), distributed.get_world_size()
    return 0, 1


def mean_over_processes(values: Sequence[float], device: torch.device) -> list[float]:
    """Average each value over all processes; alone, return them as they are.

    Args:
        values: As many on every process.
        device: Where the processes communicate.
    """
    _, world = rank_and_world()
    return [total / world for total in _reduce(values, device, distributed.ReduceOp.SUM)]


def max_over_processes(values: Sequence[float], device: torch.device) -> list[float]:
    """Take the largest of each value over all processes; alone, return them as they are.

    Args:
        values: As many on every process.
        device: Where the processes communicate.
    """
    return _reduce(values, device, distributed.ReduceOp.MAX)


def _reduce(
    values: Sequence[float], device: torch.device, operation: distributed.ReduceOp.RedOpType
) -> list[float]:
    if rank_and_world()[1] == 1:
        return list(values)
    tensor = torch.tensor(list(values), dtype=torch.float64, device=device)
    distributed.all_reduce(tensor, op=operation)
    return [float(value) for value in tensor]
