"""Sums, means and largest values over all processes of a run."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import distributed


def rank_and_world() -> tuple[int, int]:
    """Return the rank of this process and the number of processes; 0 and 1 without a group."""
    if distributed.is_available() and distributed.is_initialized():
        return distributed.get_rank(), distributed.get_world_size()
    return 0, 1


def sum_over_processes(values: Sequence[float], device: torch.device) -> list[float]:
    """Add up each value over all processes; a single process returns them unchanged.

    Args:
        values: Values to reduce, the same number on every process.
        device: Device through which the processes communicate.
    """
    return _reduce(values, device, distributed.ReduceOp.SUM)


def mean_over_processes(values: Sequence[float], device: torch.device) -> list[float]:
    """Average each value over all processes; a single process returns them unchanged.

    Args:
        values: Values to reduce, the same number on every process.
        device: Device through which the processes communicate.
    """
    _, world = rank_and_world()
    return [total / world for total in sum_over_processes(values, device)]


def max_over_processes(values: Sequence[float], device: torch.device) -> list[float]:
    """Take the largest of each value over all processes; a single process returns them unchanged.

    Args:
        values: Values to reduce, the same number on every process.
        device: Device through which the processes communicate.
    """
    return _reduce(values, device, distributed.ReduceOp.MAX)


def gather(thing: Any) -> list[Any]:
    """Return the objects of all processes, in the order of their ranks.

    Args:
        thing: Small object of this process that can be pickled.
    """
    _, world = rank_and_world()
    if world == 1:
        return [thing]
    found: list[Any] = [None] * world
    distributed.all_gather_object(found, thing)
    return found


def _reduce(
    values: Sequence[float], device: torch.device, operation: distributed.ReduceOp.RedOpType
) -> list[float]:
    if rank_and_world()[1] == 1:
        return list(values)
    tensor = torch.tensor(list(values), dtype=torch.float64, device=device)
    distributed.all_reduce(tensor, op=operation)
    return [float(value) for value in tensor]
