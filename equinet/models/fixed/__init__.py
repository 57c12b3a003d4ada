"""Potentials at fixed weights, in the form in which they are evaluated fastest."""

from equinet.models.fixed.mace_gaunt import FixedMACEGaunt, is_covered
from equinet.models.fixed.potential import FixedPotential
from equinet.models.fixed.radial_spline import RadialSpline

__all__ = ["FixedMACEGaunt", "FixedPotential", "RadialSpline", "is_covered"]
