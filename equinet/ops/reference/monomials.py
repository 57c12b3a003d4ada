"""Sums of weighted monomials in the components of features, term by term."""

import functools
from collections.abc import Sequence

import torch
from torch import Tensor


def monomial_sum(
    weights: Tensor, kind: Tensor, factors: Sequence[Tensor], table: Tensor, components: int
) -> Tensor:
    """Evaluate every monomial of every node, and add it to its component of the result.

    Example:
        >>> x, table = torch.tensor([[[2.0], [3.0]]]), torch.tensor([[0, 1, 0], [1, 1, 0]])
        >>> monomial_sum(torch.ones(1, 2, 1), torch.tensor([0]), [x, x], table, 1)
        tensor([[[15.]]])
    """
    terms = weights[kind] * _products(factors, table)
    result = terms.new_zeros(terms.shape[0], components, terms.shape[2])
    return result.index_add(1, table[:, len(factors)], terms)


def monomial_weights(kind: Tensor, features: Sequence[Tensor], table: Tensor, kinds: int) -> Tensor:
    """Evaluate every monomial of every node, and add the nodes of each species.

    Example:
        >>> x, table = torch.tensor([[[2.0], [3.0]]]), torch.tensor([[0, 1], [1, 1]])
        >>> monomial_weights(torch.tensor([0]), [x, x], table, 1).flatten()
        tensor([6., 9.])
    """
    terms = _products(features, table)
    return terms.new_zeros(kinds, *terms.shape[1:]).index_add(0, kind, terms)


def _products(features: Sequence[Tensor], table: Tensor) -> Tensor:
    selected = (x.index_select(1, table[:, number]) for number, x in enumerate(features))
    return functools.reduce(torch.mul, selected)
