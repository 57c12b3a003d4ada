"""MACE as it was published, with Clebsch-Gordan couplings."""

from equinet.models.mace.network import MACE

__all__ = ["MACE"]
