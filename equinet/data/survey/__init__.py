"""What a set of structures is and what is implausible about it, before a model sees it."""

from equinet.data.survey.coverage import Coverage
from equinet.data.survey.measure import Survey, formula
from equinet.data.survey.report import Remark, report
from equinet.data.survey.suspicions import repeated, suspicions

__all__ = ["Coverage", "Remark", "Survey", "formula", "repeated", "report", "suspicions"]
