"""Many-body interaction with all Clebsch-Gordan couplings: the product of MACE."""

import functools
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from equinet.nn.sphere.symmetric_basis import SymmetricBasis, symmetric_basis
from equinet.o3 import constant_table, matmul
from equinet.ops import monomial_sum, working_dtype

HIGHEST_ORDER = 3
"""Highest order of the polynomials: couplings of more factors are too many to tabulate."""


class SymmetricContraction(nn.Module):
    r"""Sum of all equivariant polynomials of a feature, with a weight for each of them.

    :math:`z_{LM} = \sum_{\nu=1}^{\text{correlation}} \sum_k W_{\text{kind}, L \nu k}\,
    p^{L \nu k}_M(x)` per channel, where the polynomials :math:`p` are the basis of
    :func:`equinet.nn.sphere.symmetric_basis.symmetric_basis`: every coupling of x with itself that
    is equivariant under rotations and reflections. :class:`equinet.nn.GauntManyBody` is the fast
    relative, with one weight for each order and degree.

    Args:
        lmax: Highest degree of the input.
        lmax_out: Highest degree kept.
        channels: Number of channels.
        correlation: Highest order of the polynomials, 1 to 3.
        kinds: Number of species, each with weights of its own.

    Raises:
        ValueError: ``correlation`` is out of range.

    Source: Batatia et al., MACE (NeurIPS 2022), eq. 10 and 11, in a basis without linearly
    dependent couplings.

    Example:
        >>> layer = SymmetricContraction(3, 1, channels=8, correlation=3, kinds=4)
        >>> layer(torch.randn(5, 16, 8), torch.tensor([0, 1, 2, 3, 0])).shape
        torch.Size([5, 4, 8])
    """

    def __init__(
        self, lmax: int, lmax_out: int, channels: int, correlation: int, kinds: int = 1
    ) -> None:
        super().__init__()
        if not 1 <= correlation <= HIGHEST_ORDER:
            raise ValueError(f"correlation must be from 1 to {HIGHEST_ORDER}, found {correlation}")
        self.sizes = (lmax, lmax_out, correlation)
        plan = _plan(*self.sizes)
        weight = torch.randn(kinds, len(plan.degree_of_path), channels)
        counts = np.bincount(plan.degree_of_path)[plan.degree_of_path]
        self.weight = nn.Parameter(weight / torch.tensor(counts).sqrt().unsqueeze(-1).to(weight))

    def forward(
        self,
        x: Float[Tensor, "node lm channel"],
        kind: Int[Tensor, " node"] | None = None,
    ) -> Float[Tensor, "node lm_out channel"]:
        """Evaluate the layer.

        Args:
            x: Features [N, (lmax+1)², channels] of the nodes.
            kind: Index [N] of the species of each node, 0 by default.

        Returns:
            The features [N, (lmax_out+1)², channels].
        """
        if kind is None:
            kind = torch.zeros(x.shape[0], dtype=torch.long, device=x.device)
        dtype = working_dtype(x.dtype)
        x, weight = x.to(dtype), self.weight.to(dtype)
        table = _table(*self.sizes, dtype=torch.int64, device=x.device)
        couplings = _couplings(*self.sizes, dtype=dtype, device=x.device)
        # A component that is always one fills the places of monomials with fewer factors.
        padded = torch.cat([x, x.new_ones(x.shape[0], 1, x.shape[2])], dim=1)
        _, lmax_out, correlation = self.sizes
        return monomial_sum(
            matmul(couplings, weight), kind, [padded] * correlation, table, (lmax_out + 1) ** 2
        )

    def basis(self, degree: int, order: int) -> tuple[SymmetricBasis, slice]:
        """Return the polynomials of one order and degree, and the place of their weights.

        Args:
            degree: Degree L of the values, 0 … lmax_out.
            order: Number of factors, 1 … correlation.
        """
        lmax, _, correlation = self.sizes
        start = sum(
            symmetric_basis(lmax, each, factors).paths
            for each in range(degree + 1)
            for factors in range(1, correlation + 1)
            if (each, factors) < (degree, order)
        )
        found = symmetric_basis(lmax, degree, order)
        return found, slice(start, start + found.paths)


class _Plan(NamedTuple):
    """Tables of a contraction; a term is one monomial in one component of the result.

    Attributes:
        table: Components [term, correlation] of x in each term, (lmax + 1)² for one, and in a last
            column the component of the result.
        couplings: Coefficients [term, path] of the basis.
        degree_of_path: Degree [path] of the values.
    """

    table: np.ndarray
    couplings: np.ndarray
    degree_of_path: np.ndarray


@functools.lru_cache
def _plan(lmax: int, lmax_out: int, correlation: int) -> _Plan:
    one = (lmax + 1) ** 2
    entries: list[tuple[tuple[int, ...], dict[int, float]]] = []
    degrees: list[int] = []
    for degree in range(lmax_out + 1):
        bases = [symmetric_basis(lmax, degree, order) for order in range(1, correlation + 1)]
        starts = len(degrees) + np.cumsum([0, *(basis.paths for basis in bases)])
        degrees += [degree] * (starts[-1] - starts[0])
        for component in range(2 * degree + 1):
            for start, basis in zip(starts, bases, strict=False):
                for column, monomial in enumerate(basis.monomials):
                    values = basis.polynomials[:, component, column]
                    if values.any():
                        factors = (*monomial, *(one,) * (correlation - len(monomial)))
                        row = {start + path: value for path, value in enumerate(values)}
                        entries.append(((*factors, degree**2 + component), row))
    couplings = np.zeros((len(entries), len(degrees)))
    for term, (_, row) in enumerate(entries):
        couplings[term, list(row)] = list(row.values())
    return _Plan(np.array([term for term, _ in entries]), couplings, np.array(degrees))


@constant_table
def _table(lmax: int, lmax_out: int, correlation: int) -> np.ndarray:
    return _plan(lmax, lmax_out, correlation).table


@constant_table
def _couplings(lmax: int, lmax_out: int, correlation: int) -> np.ndarray:
    return _plan(lmax, lmax_out, correlation).couplings
