"""The reference of every fast op: slow and obvious contractions with the exact tensors."""

from equinet.ops.reference.orientation import orientation_convolution
from equinet.ops.reference.products import bracket_product, gaunt_powers, gaunt_product

__all__ = ["bracket_product", "gaunt_powers", "gaunt_product", "orientation_convolution"]
