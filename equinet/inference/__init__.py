"""Trained potentials in the form in which they are evaluated fastest."""

from equinet.inference.mace_gaunt import FixedMACEGaunt
from equinet.inference.potential import FixedPotential, fixed
from equinet.inference.radial_spline import RadialSpline

__all__ = ["FixedMACEGaunt", "FixedPotential", "RadialSpline", "fixed"]
