"""Sums of weighted monomials: the native kernels, their derivatives, and bad input."""

import pytest
import torch

from equinet.ops import monomial_sum, reference
from equinet.ops.native import unavailable
from equinet.testing import assert_matches_reference

TABLE = torch.tensor([[0, 1, 3, 0], [2, 2, 1, 0], [1, 3, 0, 2], [3, 3, 3, 1], [0, 0, 1, 2]])
KIND = torch.tensor([1, 0, 1, 1, 0, 2])


def operands(factors: int, channels: int, dtype: torch.dtype) -> tuple[torch.Tensor, ...]:
    torch.manual_seed(factors)
    weights = torch.randn(3, len(TABLE), channels, dtype=dtype)
    return weights, *(torch.randn(len(KIND), 4, channels, dtype=dtype) for _ in range(factors))


def columns(factors: int) -> torch.Tensor:
    return torch.cat([TABLE[:, :factors], TABLE[:, 3:]], dim=1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("channels", [1, 3, 8, 19, 64, 70])
@pytest.mark.parametrize("factors", [1, 2, 3])
def test_values_and_derivatives_are_those_of_the_reference(
    factors: int, channels: int, dtype: torch.dtype
) -> None:
    table = columns(factors)

    def fast(weights: torch.Tensor, *x: torch.Tensor) -> torch.Tensor:
        return monomial_sum(weights, KIND, x, table, 3)

    def slow(weights: torch.Tensor, *x: torch.Tensor) -> torch.Tensor:
        return reference.monomial_sum(weights, KIND, x, table, 3)

    assert_matches_reference(fast, slow, operands(factors, channels, dtype), order=3)


def test_the_native_kernels_run_where_they_are_built() -> None:
    from equinet.ops.native import LIBRARY, build_report

    if build_report().get("cpu", {}).get("reason", "not built"):
        pytest.skip(f"{LIBRARY} is not built")
    assert unavailable("monomial_sum") == ""


def test_one_tensor_may_be_given_repeatedly() -> None:
    weights, x = operands(1, 5, torch.float64)
    x.requires_grad_()
    table = columns(3)
    found = monomial_sum(weights, KIND, [x, x, x], table, 3)
    expected = reference.monomial_sum(weights, KIND, [x, x, x], table, 3)
    torch.testing.assert_close(found, expected)
    slopes = [torch.autograd.grad(each.square().sum(), x)[0] for each in (found, expected)]
    torch.testing.assert_close(*slopes)


def test_no_nodes_and_no_terms_give_nothing() -> None:
    nothing = torch.zeros(0, 4, 2)
    weights = torch.ones(3, len(TABLE), 2)
    empty = torch.zeros(0, dtype=torch.long)
    assert monomial_sum(weights, empty, [nothing] * 3, TABLE, 3).shape == (0, 3, 2)
    x = torch.ones(len(KIND), 4, 2)
    z = monomial_sum(weights[:, :0], KIND, [x] * 3, TABLE[:0], 3)
    assert torch.equal(z, torch.zeros(len(KIND), 3, 2))


def test_rows_of_any_strides_and_forward_mode() -> None:
    weights, x = operands(1, 6, torch.float64)
    table = columns(1)
    strided = x.transpose(1, 2).contiguous().transpose(1, 2)
    expected = monomial_sum(weights, KIND, [x], table, 3)
    assert torch.equal(monomial_sum(weights, KIND, [strided], table, 3), expected)
    _, tangent = torch.func.jvp(
        lambda y: monomial_sum(weights, KIND, [y], table, 3), (x,), (torch.ones_like(x),)
    )
    ones = monomial_sum(weights, KIND, [torch.ones_like(x)], table, 3)
    torch.testing.assert_close(tangent, ones)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"factors": 0}, "factors must be 1 to 3 tensors, found 0"),
        ({"table": TABLE[:, :2]}, "table must have 4 columns"),
        ({"dtype": torch.float32}, r"must have the dtype of weights"),
    ],
)
def test_operands_that_do_not_fit_are_refused(changes: dict, message: str) -> None:
    weights, x = operands(1, 2, torch.float64)
    factors = [x.to(changes.get("dtype", x.dtype))] * changes.get("factors", 3)
    with pytest.raises(ValueError, match=message):
        monomial_sum(weights, KIND, factors, changes.get("table", TABLE), 3)


def test_components_that_are_not_there_are_refused() -> None:
    if unavailable("monomial_sum"):
        pytest.skip("the native kernels are not built")
    weights, x = operands(1, 2, torch.float64)
    with pytest.raises(ValueError, match="component 2 of 2"):
        monomial_sum(weights, KIND, [x[:, :2]] * 3, TABLE, 3)
    with pytest.raises(ValueError, match="component 2 of 2"):
        monomial_sum(weights, KIND, [x] * 3, TABLE, 2)
    with pytest.raises(ValueError, match="kind 2 is not among 2"):
        monomial_sum(weights[:2], KIND, [x] * 3, TABLE, 3)
