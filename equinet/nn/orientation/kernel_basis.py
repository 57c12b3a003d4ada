"""Basis functions of pair invariants, which the kernels of a network combine."""

import itertools

import torch
from jaxtyping import Float
from torch import Tensor, nn


class KernelBasis(nn.Module):
    """Map the monomials of invariants to basis functions by an MLP, one for all layers.

    Args:
        invariants: Number of invariants.
        size: Number of basis functions.
        degree: Highest power of a monomial. Each monomial occurs once, where the published
            tensor powers repeat the mixed ones.

    Source: Bekkers et al. (ICLR 2024), appendix on the architecture.

    Example:
        >>> KernelBasis(2, 16)(torch.randn(5, 12, 2)).shape
        torch.Size([5, 12, 16])
    """

    def __init__(self, invariants: int, size: int, degree: int = 3) -> None:
        super().__init__()
        self.factors = [
            list(itertools.combinations_with_replacement(range(invariants), power))
            for power in range(1, degree + 1)
        ]
        monomials = sum(len(each) for each in self.factors)
        self.network = nn.Sequential(
            nn.Linear(monomials, size), nn.GELU(), nn.Linear(size, size), nn.GELU()
        )

    def forward(
        self, invariants: Float[Tensor, "*batch invariant"]
    ) -> Float[Tensor, "*batch basis"]:
        """Evaluate the basis at invariants [..., K]; the result is [..., size]."""
        return self.network(self.monomials(invariants))

    def monomials(
        self, invariants: Float[Tensor, "*batch invariant"]
    ) -> Float[Tensor, "*batch monomial"]:
        """Return all products of one to ``degree`` invariants, each once."""
        powers = [invariants]
        for lower, higher in itertools.pairwise(self.factors):
            place = {factors: index for index, factors in enumerate(lower)}
            below = [place[factors[:-1]] for factors in higher]
            last = [factors[-1] for factors in higher]
            powers.append(powers[-1][..., below] * invariants[..., last])
        return torch.cat(powers, dim=-1)
