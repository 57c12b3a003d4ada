"""Batches in the order of a set, as large as a device evaluates fastest."""

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

import torch

Item = TypeVar("Item")

# Above this, what the layers of an edge write no longer fits into the caches of a core; below it,
# the fixed cost of a call shows.
_EDGES_PER_THREAD = 8192
_EDGES_ON_GPU = 1 << 17


def runs_within(
    items: Iterable[Item], size: Callable[[Item], int], bound: int
) -> Iterator[list[Item]]:
    """Cut a sequence into runs of bounded size, each as long as possible.

    Args:
        items: Items to cut, which are taken one at a time.
        size: Function that returns the size of an item, at least 0.
        bound: Largest sum of the sizes in a run; an item that is larger is a run of its own.

    Returns:
        An iterator of runs, which have all items in their order.

    Example:
        >>> list(runs_within([3, 1, 2, 9, 1], lambda item: item, 5))
        [[3, 1], [2], [9], [1]]
    """
    run: list[Item] = []
    total = 0
    for item in items:
        added = size(item)
        if run and total + added > bound:
            yield run
            run, total = [], 0
        run.append(item)
        total += added
    if run:
        yield run


def edges_at_once(device: torch.device | str) -> int:
    """Return the number of edges of a batch that a device evaluates fastest.

    Args:
        device: Device of the model; on a CPU the number grows with the threads of torch.

    Example:
        >>> edges_at_once("cuda") > edges_at_once("cpu") // torch.get_num_threads()
        True
    """
    if torch.device(device).type == "cpu":
        return _EDGES_PER_THREAD * torch.get_num_threads()
    return _EDGES_ON_GPU
