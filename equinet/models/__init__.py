"""Whole networks, whose constructors take plain keyword arguments."""

from equinet.models.base import Model
from equinet.models.catalog import all_models, find_model, name_of_model
from equinet.models.committee import Committee
from equinet.models.denoisers import PonitaDenoiser
from equinet.models.equiformer_v2 import EquiformerV2
from equinet.models.extended import extended, most_alike
from equinet.models.fallback import Fallback
from equinet.models.graphs import SEGNN, Ponita
from equinet.models.images import DenseGroupResNet, GroupResNet
from equinet.models.mace import MACE
from equinet.models.mace_gaunt import MACEGaunt
from equinet.models.ponita_potential import PonitaPotential
from equinet.models.potential import Evaluation, Potential, fastest
from equinet.models.properties import PropertyModel

__all__ = [
    "MACE",
    "SEGNN",
    "Committee",
    "DenseGroupResNet",
    "EquiformerV2",
    "Evaluation",
    "Fallback",
    "GroupResNet",
    "MACEGaunt",
    "Model",
    "Ponita",
    "PonitaDenoiser",
    "PonitaPotential",
    "Potential",
    "PropertyModel",
    "all_models",
    "extended",
    "fastest",
    "find_model",
    "most_alike",
    "name_of_model",
]
