"""Report of a run or of an evaluation: one HTML file that needs no other file and no network.

Training and evaluation write a :class:`Report` into their folder. :func:`write_report` draws the
page from it and from the other files of the folder, at once or at any later time.
"""

from equinet.evaluation.report.attempt import attempt_report
from equinet.evaluation.report.contents import Report
from equinet.evaluation.report.findings import Findings
from equinet.evaluation.report.page import write_report

__all__ = ["Findings", "Report", "attempt_report", "write_report"]
