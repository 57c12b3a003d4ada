"""Trained potentials in the form in which they are evaluated fastest."""

from equinet.inference.mace_gaunt import FixedMACEGaunt
from equinet.inference.potential import Evaluation, FixedPotential, fastest, fixed
from equinet.inference.radial_spline import RadialSpline

__all__ = ["Evaluation", "FixedMACEGaunt", "FixedPotential", "RadialSpline", "fastest", "fixed"]
