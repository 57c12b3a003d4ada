"""Processes forked by tests, which end with the function that they are given."""

import os
import sys
import traceback
from collections.abc import Callable


def fork(action: Callable[[], object]) -> int:
    """Run a function in a forked process, which never returns into the tests.

    Args:
        action: Function to run; its process exits with 0, or with 1 after an exception.

    Returns:
        Number of the process.
    """
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        action()
        status = 0
    except BaseException:  # noqa: BLE001 - the parent sees the status
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)


def exit_code(pid: int) -> int:
    """Wait for a process and return its exit status, or its signal as a negative number.

    Args:
        pid: Number of the process.
    """
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
