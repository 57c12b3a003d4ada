"""Assertions for equivariant code: symmetry, conservation, agreement with a reference."""

from equinet.testing.conservation import assert_conservative
from equinet.testing.equivariance import (
    Action,
    assert_equivariant,
    coefficients,
    geometry,
    invariant,
    matrix,
    pseudo_coefficients,
    pseudovector,
    vector,
)
from equinet.testing.random import evaluate, random_coefficients, random_rotations
from equinet.testing.reference import assert_matches_reference
from equinet.testing.tolerances import FINITE_DIFFERENCE, NETWORK, OPERATION, Tolerance

__all__ = [
    "FINITE_DIFFERENCE",
    "NETWORK",
    "OPERATION",
    "Action",
    "Tolerance",
    "assert_conservative",
    "assert_equivariant",
    "assert_matches_reference",
    "coefficients",
    "evaluate",
    "geometry",
    "invariant",
    "matrix",
    "pseudo_coefficients",
    "pseudovector",
    "random_coefficients",
    "random_rotations",
    "vector",
]
