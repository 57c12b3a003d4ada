"""Differentiable primitives: products, powers and convolutions on the sphere, segments."""

from equinet.ops.aligned import aligned_convolution
from equinet.ops.backends import available_backends
from equinet.ops.bracket import bracket_product
from equinet.ops.convolution import gaunt_convolution
from equinet.ops.orientation import orientation_convolution
from equinet.ops.powers import gaunt_powers
from equinet.ops.product import gaunt_product
from equinet.ops.segment import segment_max, segment_mean, segment_softmax, segment_sum

__all__ = [
    "aligned_convolution",
    "available_backends",
    "bracket_product",
    "gaunt_convolution",
    "gaunt_powers",
    "gaunt_product",
    "orientation_convolution",
    "segment_max",
    "segment_mean",
    "segment_softmax",
    "segment_sum",
]
