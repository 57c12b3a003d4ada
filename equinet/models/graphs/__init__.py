"""Networks on graphs whose nodes have scalars and vectors, and what they share."""

from equinet.models.graphs.graph_model import GraphModel
from equinet.models.graphs.inputs import Inputs, total_weights
from equinet.models.graphs.ponita import Grid, Ponita
from equinet.models.graphs.ponita_spaces import Bundle
from equinet.models.graphs.radial_functions import RadialFunctions
from equinet.models.graphs.segnn import SEGNN

__all__ = [
    "SEGNN",
    "Bundle",
    "GraphModel",
    "Grid",
    "Inputs",
    "Ponita",
    "RadialFunctions",
    "total_weights",
]
