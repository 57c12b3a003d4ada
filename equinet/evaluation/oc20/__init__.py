"""Errors, splits and relaxations of OC20, and submissions to its leaderboard."""

from equinet.evaluation.oc20.errors import (
    IS2RE_ERRORS,
    S2EF_ERRORS,
    RelaxedEnergyErrors,
    S2EFErrors,
)
from equinet.evaluation.oc20.is2re_submission import write_is2re_submission, write_is2rs_submission
from equinet.evaluation.oc20.relaxation import gather
from equinet.evaluation.oc20.s2ef_submission import SPLITS, write_s2ef_submission
from equinet.evaluation.oc20.splits import (
    is2re_table,
    predict_relaxed_energies,
    predict_split,
    s2ef_table,
    split_of,
)

__all__ = [
    "IS2RE_ERRORS",
    "S2EF_ERRORS",
    "SPLITS",
    "RelaxedEnergyErrors",
    "S2EFErrors",
    "gather",
    "is2re_table",
    "predict_relaxed_energies",
    "predict_split",
    "s2ef_table",
    "split_of",
    "write_is2re_submission",
    "write_is2rs_submission",
    "write_s2ef_submission",
]
