"""Handwritten digits: where their images come from, their random maps, and their superpixels."""

from equinet.data.digits.mnist import FRAME, load_digits
from equinet.data.digits.superpixels import (
    SuperpixelGraphs,
    Superpixels,
    cached_superpixels,
    make_superpixels,
)
from equinet.data.digits.transforms import affine_copy, cached_copies, homography_copy

__all__ = [
    "FRAME",
    "SuperpixelGraphs",
    "Superpixels",
    "affine_copy",
    "cached_copies",
    "cached_superpixels",
    "homography_copy",
    "load_digits",
    "make_superpixels",
]
