"""Differentiable primitives: products, powers and convolutions on the sphere, segments."""

from equinet.o3 import rotation_to_pole
from equinet.ops.aligned import aligned_convolution
from equinet.ops.backends import OPS, Backend, available_backends, resolve_backend
from equinet.ops.bracket import bracket_product
from equinet.ops.convolution import gaunt_convolution
from equinet.ops.fiber import fiber_convolution
from equinet.ops.monomials import monomial_sum
from equinet.ops.operands import working_dtype
from equinet.ops.orientation import orientation_convolution
from equinet.ops.powers import gaunt_powers
from equinet.ops.product import gaunt_product
from equinet.ops.segment import segment_max, segment_mean, segment_softmax, segment_sum

__all__ = [
    "OPS",
    "Backend",
    "aligned_convolution",
    "available_backends",
    "bracket_product",
    "fiber_convolution",
    "gaunt_convolution",
    "gaunt_powers",
    "gaunt_product",
    "monomial_sum",
    "orientation_convolution",
    "resolve_backend",
    "rotation_to_pole",
    "segment_max",
    "segment_mean",
    "segment_softmax",
    "segment_sum",
    "working_dtype",
]
