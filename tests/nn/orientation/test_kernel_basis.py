"""Basis functions of pair invariants."""

import pytest
import torch

from equinet.nn import (
    KernelBasis,
)


@pytest.mark.parametrize(("invariants", "degree", "count"), [(2, 3, 9), (1, 3, 3), (3, 3, 19)])
def test_each_monomial_occurs_once(invariants, degree, count):
    basis = KernelBasis(invariants, 4, degree)
    values = torch.tensor([2.0, 3.0, 5.0])[:invariants]
    monomials = basis.monomials(values).tolist()
    # Products of different primes are different.
    assert len(set(monomials)) == len(monomials) == count
    assert max(monomials) == values.max() ** degree
