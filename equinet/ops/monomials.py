"""Weighted sums of monomials in the components of features: polynomials of each node."""

from collections.abc import Sequence

from jaxtyping import Float, Int
from torch import Tensor

from equinet.ops import reference
from equinet.ops.native import monomial_sum as native
from equinet.ops.native import unavailable
from equinet.ops.operands import check_index, common_dtype, working_dtype

MOST_FACTORS = 3
"""Largest number of factors of a monomial."""


def monomial_sum(
    weights: Float[Tensor, "kind term channel"],
    kind: Int[Tensor, " node"],
    factors: Sequence[Float[Tensor, "node _ channel"]],
    table: Int[Tensor, "term column"],
    components: int,
) -> Float[Tensor, "node component channel"]:
    """Sum weighted monomials in the components of features, channel by channel.

    ``z[n, table[t, -1], c]`` collects ``weights[kind[n], t, c]`` times the product over f of
    ``factors[f][n, table[t, f], c]``, for all terms t. Differentiable to any order with respect to
    weights and factors. The native engine computes it on a CPU without tensors of nodes x terms;
    elsewhere plain operations of torch do.

    Args:
        weights: Weights [K, T, C] of the terms for each species.
        kind: Species [N] of each node, int64.
        factors: Features [N, D, C] of the nodes, one to three; one tensor may be given repeatedly.
        table: Numbers [T, F + 1] of the component of each factor in each term, and of the component
            of the result that the term is added to, int64. Terms of one component are best listed
            together.
        components: Number of components of the result.

    Returns:
        Polynomials [N, components, C] in the dtype of the operands.

    Raises:
        ValueError: If shapes or dtypes do not fit, naming the argument.

    Example:
        >>> import torch
        >>> x = torch.tensor([[[2.0], [3.0]]])
        >>> product, square = [0, 1, 0], [1, 1, 1]
        >>> monomial_sum(
        ...     torch.ones(1, 2, 1), torch.tensor([0]), [x, x], torch.tensor([product, square]), 2
        ... ).flatten()
        tensor([6., 9.])
    """
    if not 1 <= len(factors) <= MOST_FACTORS:
        raise ValueError(f"factors must be 1 to {MOST_FACTORS} tensors, found {len(factors)}")
    if table.ndim != 2 or table.shape[1] != len(factors) + 1:
        raise ValueError(
            f"table must have {len(factors) + 1} columns, one more than there are factors, found "
            f"shape {list(table.shape)}"
        )
    check_index("table", table, "T", len(factors) + 1)
    check_index("kind", kind, "N")
    dtype = common_dtype(weights=weights, **{f"factors[{i}]": x for i, x in enumerate(factors)})
    working = working_dtype(dtype)
    cast = tuple(x.to(working) for x in factors)
    is_native = not unavailable("monomial_sum", cast[0].device.type)
    evaluate = native.monomial_sum if is_native else reference.monomial_sum
    return evaluate(weights.to(working), kind, cast, table, components).to(dtype)
