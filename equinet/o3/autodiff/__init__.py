"""Derivatives where torch's own would lose digits or be lost: autocast, forward mode, transforms."""

from equinet.o3.autodiff.contractions import contract, matmul
from equinet.o3.autodiff.transforms import is_transformed

__all__ = ["contract", "is_transformed", "matmul"]
