import string

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from equinet.ops.native.forms import differentiate, parse


@pytest.mark.parametrize(
    ("forms", "functions", "wanted", "outputs", "expected"),
    [
        ("ab", 2, (0, 1), (0,), ("ab,cb", (1, 2, 0), (0, 1))),
        ("ab", 2, (1,), (0,), ("ab", (0, 2), (1,))),
        ("aa,aaa", 1, (0,), (0, 1), ("2ab+3aac", (0, 1, 2), (0,))),
        ("aaaa,aaaaa", 1, (0,), (0, 1), ("4aaab+5aaaac", (0, 1, 2), (0,))),
        ("[ab]", 2, (0, 1), (0,), ("[ab],[bc]", (1, 2, 0), (0, 1))),
        ("a,b", 2, (0, 1), (1,), ("a", (3,), (1,))),
        ("-2[ab]", 2, (0,), (0,), ("-2[ab]", (1, 2), (0,))),
    ],
)
def test_derivatives_are_forms(forms, functions, wanted, outputs, expected):
    assert tuple(differentiate(forms, functions, wanted, outputs)) == expected


@settings(deadline=None)
@given(
    st.lists(
        st.lists(
            st.tuples(st.integers(-3, 3).filter(bool), st.text("abc", min_size=1, max_size=4)),
            min_size=1,
            max_size=3,
        ),
        min_size=1,
        max_size=3,
    )
)
def test_derivatives_of_products_are_those_of_numbers(outputs):
    # For constant functions a product is a product of numbers, and torch knows the truth.
    forms = ",".join("+".join(f"{factor}{text}" for factor, text in terms) for terms in outputs)
    x = torch.randn(3, dtype=torch.float64, requires_grad=True)
    gradients = torch.randn(len(outputs), dtype=torch.float64)
    (expected,) = torch.autograd.grad(_evaluate(forms, x) @ gradients, x)
    derivative = differentiate(forms, 3, (0, 1, 2), tuple(range(len(outputs))))
    operands = torch.cat([x, gradients])[list(derivative.operands)]
    found = torch.zeros(3, dtype=torch.float64)
    if derivative.wanted:
        found[list(derivative.wanted)] = _evaluate(derivative.forms, operands)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("forms", ["", "a+", "a,,b", "a*b", "2"])
def test_malformed_forms_are_refused(forms):
    with pytest.raises(ValueError, match="forms hold terms such as"):
        parse(forms)


def test_letters_suffice_for_third_derivatives():
    assert parse(string.ascii_letters)[0][0].functions == tuple(range(52))


def _evaluate(forms: str, x: torch.Tensor) -> torch.Tensor:
    return torch.stack(
        [
            sum(term.coefficient * x[list(term.functions)].prod() for term in terms)
            for terms in parse(forms)
        ]
    )
