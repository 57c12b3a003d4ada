"""Derivatives under autocast, in forward mode and under transforms of ``torch.func``."""

from equinet.o3.autodiff.contractions import contract, matmul
from equinet.o3.autodiff.transforms import is_transformed

__all__ = ["contract", "is_transformed", "matmul"]
