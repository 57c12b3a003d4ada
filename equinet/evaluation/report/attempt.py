"""Writing of a report that ends no run, whatever goes wrong."""

import logging
from collections.abc import Callable
from pathlib import Path

from equinet.evaluation.report.contents import Report
from equinet.evaluation.report.page import write_report

_log = logging.getLogger(__name__)


def attempt_report(make: Callable[[], Report], folder: Path) -> None:
    """Make, save and draw a report; an error is a warning in the log.

    Args:
        make: Function that collects the content of the report.
        folder: Folder of the run or of the evaluation.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as name:
        ...     attempt_report(lambda: Report("MACEGaunt on water"), Path(name))
        ...     Path(name, "report.html").is_file()
        True
    """
    try:
        make().save(folder)
        write_report(folder)
    except Exception as error:  # noqa: BLE001 - the errors and the model of a run outlive its report
        reason = str(error).strip().split("\n", 1)[0]
        _log.warning("report.html is not written: %s: %s", type(error).__name__, reason)
        _log.debug("The report failed", exc_info=True)
