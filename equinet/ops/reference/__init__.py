"""The reference of every fast op: slow and obvious contractions with the exact tensors."""

from equinet.ops.reference.interaction import interaction
from equinet.ops.reference.monomials import monomial_sum, monomial_weights
from equinet.ops.reference.orientation import orientation_convolution
from equinet.ops.reference.products import bracket_product, gaunt_powers, gaunt_product

__all__ = [
    "bracket_product",
    "gaunt_powers",
    "gaunt_product",
    "interaction",
    "monomial_sum",
    "monomial_weights",
    "orientation_convolution",
]
