import pytest

from equinet.errors import BackendError
from equinet.ops import available_backends, backends
from equinet.ops.backends import resolve_backend


@pytest.mark.parametrize(
    "op", ["gaunt_product", "bracket_product", "gaunt_powers", "gaunt_convolution"]
)
def test_every_op_tells_what_runs_and_why_not(op):
    reasons = available_backends(op)
    assert list(reasons) == ["reference", "fourier", "grid", "native"]
    assert not any(reasons[name] for name in ("reference", "fourier", "grid"))
    assert resolve_backend(op, "auto") == ("grid" if reasons["native"] else "native")


def test_an_op_on_samples_has_no_fourier_transform():
    reasons = available_backends("orientation_convolution")
    assert list(reasons) == ["reference", "grid", "native"]
    with pytest.raises(ValueError, match="one of reference, grid, native, found 'fourier'"):
        resolve_backend("orientation_convolution", "fourier")


def test_an_op_needs_no_native_kernel(monkeypatch):
    entry = backends._Implementations(("reference", "grid"))
    monkeypatch.setitem(backends._OPS, "doubled", entry)
    assert available_backends("doubled") == {"reference": "", "grid": ""}
    assert resolve_backend("doubled", "auto", "mps") == "grid"
    with pytest.raises(ValueError, match="one of reference, grid, found 'native'"):
        resolve_backend("doubled", "native")


def test_only_the_native_engine_asks_for_the_device():
    reasons = available_backends("gaunt_product", "mps")
    assert [name for name, reason in reasons.items() if reason] == ["native"]
    assert resolve_backend("gaunt_product", "auto", "mps") == "grid"
    with pytest.raises(BackendError, match=r"'native' of gaunt_product .* not for mps; use 'auto'"):
        resolve_backend("gaunt_product", "native", "mps")


def test_the_answer_is_a_copy():
    available_backends("gaunt_product").clear()
    assert available_backends("gaunt_product")


def test_unknown_op():
    with pytest.raises(ValueError, match=r"op must be one of .* found 'gaunt'"):
        available_backends("gaunt")
