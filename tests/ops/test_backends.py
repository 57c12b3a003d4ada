import pytest

from equinet.ops import available_backends


@pytest.mark.parametrize(
    "op", ["gaunt_product", "bracket_product", "gaunt_powers", "gaunt_convolution"]
)
def test_every_op_tells_what_runs_and_why_not(op):
    reasons = available_backends(op)
    assert [name for name, reason in reasons.items() if not reason] == [
        "reference",
        "fourier",
        "grid",
    ]
    assert "not built" in reasons["native"]


def test_the_answer_is_a_copy():
    available_backends("gaunt_product").clear()
    assert available_backends("gaunt_product")


def test_unknown_op():
    with pytest.raises(ValueError, match=r"op must be one of .* found 'gaunt'"):
        available_backends("gaunt")
