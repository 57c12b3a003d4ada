"""Open files that loading processes need, since tensors pass between processes as files."""

import resource

from equinet.errors import DataError

_ALONE = 64
_EACH = 40


def allow_descriptors(num_workers: int) -> None:
    """Raise this process's limit of open files to what loading processes need.

    Each loading process has at most two batches under way, of up to 15 tensors each, and a few
    pipes. Beyond the limit, torch would wait without end for a batch that could not be sent.

    Args:
        num_workers: Number of loading processes; 0 needs nothing.

    Raises:
        DataError: The system does not allow as many.

    Example:
        >>> allow_descriptors(0)
    """
    if not num_workers:
        return
    needed = _ALONE + _EACH * num_workers
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return
    if hard != resource.RLIM_INFINITY and hard < needed:
        raise DataError(
            f"num_workers: {num_workers} loading processes need up to {needed} open files, and "
            f"this system allows {hard} (ulimit -Hn); raise that limit, or say "
            f"num_workers={max(0, (hard - _ALONE) // _EACH)}"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
