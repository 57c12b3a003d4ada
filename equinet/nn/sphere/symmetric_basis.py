"""Symmetric equivariant polynomials: a basis of all couplings of a feature with itself.

A feature x of degrees 0 … lmax, each of natural parity, has finitely many independent polynomials
of one order whose values rotate and reflect as a feature of degree L. They are found here once, in
float64, as sums over monomials in the components of x.
"""

import functools
import itertools
import math
from collections import Counter
from typing import Any, NamedTuple

import numpy as np

from equinet.nn.sphere.couplings import path_coupling

# Fraction of the squared norm of a polynomial that counts as zero; true fractions are above 1e-3.
_ROUND_OFF = 1e-9
# Relative error of couplings in float32.
_SINGLE = 1e-5

Monomial = tuple[int, ...]


class SymmetricBasis(NamedTuple):
    """A basis of the equivariant polynomials of one order and one output degree.

    Attributes:
        monomials: Components of x that are multiplied in each monomial, in rising order.
        polynomials: Coefficients [path, 2 L + 1, monomial] of the basis, float64.
    """

    monomials: tuple[Monomial, ...]
    polynomials: np.ndarray

    @property
    def paths(self) -> int:
        """Number of polynomials in the basis."""
        return len(self.polynomials)

    def coordinates_of_tensors(self, tensors: np.ndarray) -> np.ndarray | None:
        """Return the coordinates [path, other] of polynomials that are given as tensors.

        Args:
            tensors: Couplings [2 L + 1, D, …, D, other], one axis of length D for each factor x.

        Returns:
            The coordinates, or None if a tensor stands for a polynomial that is not equivariant.
        """
        orderings = np.array([_orderings(monomial) for monomial in self.monomials])
        given = as_polynomials(tensors, self.monomials) / orderings
        overlap = np.einsum("kma,fma->kf", self.polynomials, given)
        square = np.einsum("kma,kma,a->k", self.polynomials, self.polynomials, 1 / orderings)
        coordinates: np.ndarray = overlap / square[:, None]
        # Polynomials that agree at random points are the same.
        points = np.random.default_rng(0).normal(size=(8, tensors.shape[1]))
        values = np.repeat(tensors[None], len(points), 0)
        for _ in range(tensors.ndim - 2):
            values = np.einsum("pmi...,pi->pm...", values, points)
        factors = [points[:, list(monomial)].prod(1) for monomial in self.monomials]
        own = np.einsum("kma,ap,kf->pmf", self.polynomials, np.array(factors), coordinates)
        agrees = np.abs(own - values).max() <= _SINGLE * max(1.0, np.abs(values).max())
        return coordinates if agrees else None


@functools.lru_cache
def symmetric_basis(lmax: int, degree: int, order: int) -> SymmetricBasis:
    """Find a basis of the symmetric equivariant maps from ``order`` copies of x to one degree.

    The polynomials of each choice of degrees are made orthonormal one after the other, in the order
    of their intermediate degrees, so that the basis is the same on every machine. Their scale is
    such that standard normal components of x give values of about unit variance.

    Args:
        lmax: Highest degree of x.
        degree: Degree L of the values.
        order: Number of factors, at least 1.

    Returns:
        The basis, without paths where no coupling exists.

    Source: the space is that of the symmetric contraction of Batatia et al., MACE (NeurIPS 2022),
    eq. 10, whose own basis is overcomplete.

    Example:
        >>> [symmetric_basis(3, degree=0, order=order).paths for order in (1, 2, 3)]
        [1, 4, 8]
    """
    found = [
        polynomial
        for choice in itertools.combinations_with_replacement(range(lmax + 1), order)
        if (sum(choice) + degree) % 2 == 0
        for polynomial in _orthogonal(choice, degree)
    ]
    monomials = sorted({monomial for polynomial in found for monomial in polynomial})
    place = {monomial: column for column, monomial in enumerate(monomials)}
    polynomials = np.zeros((len(found), 2 * degree + 1, len(monomials)))
    for path, polynomial in enumerate(found):
        for monomial, values in polynomial.items():
            polynomials[path, :, place[monomial]] = values
    return SymmetricBasis(tuple(monomials), polynomials)


def as_polynomials(couplings: np.ndarray, monomials: tuple[Monomial, ...]) -> np.ndarray:
    """Return the polynomials that tensors of couplings stand for.

    Args:
        couplings: Tensors [2 L + 1, D, …, D, other], one axis of length D for each factor x.
        monomials: Monomials of a basis; others are left out.

    Returns:
        Coefficients [other, 2 L + 1, monomial].

    Example:
        >>> as_polynomials(np.ones((1, 2, 2, 1)), ((0, 0), (0, 1)))
        array([[[1., 2.]]])
    """
    columns = []
    for monomial in monomials:
        orders: Any = set(itertools.permutations(monomial))
        columns.append(np.sum([couplings[:, *each] for each in orders], axis=0))
    return np.stack(columns, axis=-1).transpose(1, 0, 2)


def _orthogonal(choice: tuple[int, ...], degree: int) -> list[dict[Monomial, np.ndarray]]:
    """Return the independent polynomials of one choice of degrees, by Gram and Schmidt."""
    places = [range(each * each, (each + 1) * (each + 1)) for each in choice]
    monomials = sorted({tuple(sorted(each)) for each in itertools.product(*places)})
    row = {monomial: number for number, monomial in enumerate(monomials)}
    orderings = np.array([_orderings(monomial) for monomial in monomials])
    target = (2 * degree + 1) / math.factorial(len(choice))
    basis: list[np.ndarray] = []
    for chain in _chains(choice, degree):
        polynomial = np.zeros((len(monomials), 2 * degree + 1))
        for each in itertools.product(*(range(len(place)) for place in places)):
            monomial = tuple(sorted(place[step] for place, step in zip(places, each, strict=True)))
            polynomial[row[monomial]] += chain[each]
        # With weights that make the scalar product that of symmetric tensors.
        vector = polynomial / np.sqrt(orderings)[:, None]
        size = (vector**2).sum()
        for _ in range(2):  # the second sweep removes the round-off of the first
            for other in basis:
                vector = vector - (vector * other).sum() / target * other
        rest = (vector**2).sum()
        if rest > _ROUND_OFF * max(size, 1.0):
            basis.append(vector * math.sqrt(target / rest))
    return [
        {
            monomial: vector[number] * math.sqrt(orderings[number])
            for monomial, number in row.items()
            if np.abs(vector[number]).max() > _ROUND_OFF
        }
        for vector in basis
    ]


def _chains(choice: tuple[int, ...], degree: int) -> list[np.ndarray]:
    """Couple degrees one after the other to a last one, over all intermediate degrees."""
    first, *others = choice
    partial = [(first, np.eye(2 * first + 1))]
    for each in others:
        partial = [
            (joined, np.tensordot(tensor, path_coupling(known, each, joined), 1))
            for known, tensor in partial
            for joined in range(abs(known - each), known + each + 1)
        ]
    return [tensor for last, tensor in partial if last == degree]


def _orderings(monomial: Monomial) -> int:
    """Count the distinct orders of the factors of a monomial."""
    repeats = Counter(monomial).values()
    return math.factorial(len(monomial)) // math.prod(math.factorial(each) for each in repeats)
