"""Evaluation of models: errors, residuals, predictions, tables, plots and relaxation.

It does not need Lightning, which only :mod:`equinet.training` imports.
"""

from equinet.evaluation.class_errors import CLASS_ERRORS, ClassificationErrors
from equinet.evaluation.distribution import describe, summarize
from equinet.evaluation.errors import (
    LOSS,
    Error,
    SummedErrors,
    columns,
    curves,
    log_forms,
    tabulated,
    units,
)
from equinet.evaluation.finite import refuse_not_finite, source_of
from equinet.evaluation.plots import (
    Classified,
    Parity,
    classified,
    learning_curve,
    parity,
    structure_errors,
)
from equinet.evaluation.potential_errors import LABELED_ERRORS, POTENTIAL_ERRORS, PotentialErrors
from equinet.evaluation.predictions import Predictions, predict, table
from equinet.evaluation.property_errors import PropertyErrors, property_errors
from equinet.evaluation.published import (
    PublishedRow,
    published_properties,
    published_rows,
    published_table,
)
from equinet.evaluation.relaxation import Relaxed, relax
from equinet.evaluation.residuals import Loss, LossWeights, Residuals, residuals
from equinet.evaluation.tables import absent, lay_out, read_metrics

__all__ = [
    "CLASS_ERRORS",
    "LABELED_ERRORS",
    "LOSS",
    "POTENTIAL_ERRORS",
    "ClassificationErrors",
    "Classified",
    "Error",
    "Loss",
    "LossWeights",
    "Parity",
    "PotentialErrors",
    "Predictions",
    "PropertyErrors",
    "PublishedRow",
    "Relaxed",
    "Residuals",
    "SummedErrors",
    "absent",
    "classified",
    "columns",
    "curves",
    "describe",
    "lay_out",
    "learning_curve",
    "log_forms",
    "parity",
    "predict",
    "property_errors",
    "published_properties",
    "published_rows",
    "published_table",
    "read_metrics",
    "refuse_not_finite",
    "relax",
    "residuals",
    "source_of",
    "structure_errors",
    "summarize",
    "table",
    "tabulated",
    "units",
]
