"""Whole networks: keyword-only constructors, no files, no configuration objects."""

from equinet.models.base import Model as Model
from equinet.models.committee import Committee as Committee
from equinet.models.dense_group_resnet import DenseGroupResNet as DenseGroupResNet
from equinet.models.equiformer_v2 import EquiformerV2 as EquiformerV2
from equinet.models.fallback import Fallback as Fallback
from equinet.models.group_resnet import GroupResNet as GroupResNet
from equinet.models.mace_gaunt import MACEGaunt as MACEGaunt
from equinet.models.ponita import Ponita as Ponita
from equinet.models.ponita_potential import PonitaPotential as PonitaPotential
from equinet.models.potential import Potential as Potential
