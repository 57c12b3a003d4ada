"""How far off a model is: residuals, errors over a set, predictions, tables, plots, relaxation.

Nothing here imports Lightning.
"""

from equinet.evaluation.class_errors import COLUMNS, CURVES, SHOWN, TABLE, ClassificationErrors
from equinet.evaluation.plots import Classified, Parity, classified, learning_curve, parity
from equinet.evaluation.potential_errors import UNITS, PotentialErrors, column
from equinet.evaluation.predictions import Predictions, predict, table
from equinet.evaluation.published import published_rows
from equinet.evaluation.relaxation import Relaxed, relax
from equinet.evaluation.residuals import LossWeights, Residuals, residuals
from equinet.evaluation.tables import Column, lay_out

__all__ = [
    "COLUMNS",
    "CURVES",
    "SHOWN",
    "TABLE",
    "UNITS",
    "ClassificationErrors",
    "Classified",
    "Column",
    "LossWeights",
    "Parity",
    "PotentialErrors",
    "Predictions",
    "Relaxed",
    "Residuals",
    "classified",
    "column",
    "lay_out",
    "learning_curve",
    "parity",
    "predict",
    "published_rows",
    "relax",
    "residuals",
    "table",
]
