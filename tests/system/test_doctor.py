"""The doctor: it runs everything, and it finds what is wrong."""

import math
import re

import pytest
import torch

from equinet import __main__ as entry
from equinet.bench import Problem, derivatives, draw_probes, make_problem
from equinet.command_line import accuracy, doctor, environment
from equinet.command_line.accuracy import check_backend, check_ops, relative_error
from equinet.errors import BackendError
from equinet.ops import OPS, available_backends, native


@pytest.fixture
def problem():
    return make_problem("gaunt_product", 2, batch=3, channels=2)


def test_the_report_covers_every_op_and_backend(capsys):
    assert entry.main(["doctor"]) == 0
    out = capsys.readouterr().out
    table = [line.split() for line in out.splitlines()]
    for op in OPS:
        assert f"{op} on cpu: auto takes" in out
        for backend, reason in available_backends(op).items():
            if reason:
                assert f"no {backend} on cpu: {reason}" in out
            else:
                for dtype in ("float64", "float32"):
                    assert [op, backend, "cpu", dtype] in [words[:4] for words in table]
    for package in ("torch", *environment.OPTIONAL):
        assert package in out
    assert "checks pass." in out


def test_errors_are_small_and_measured():
    checks = list(check_ops(lmax=2, batch=4, channels=2))
    assert all(check.is_good and len(check.errors) == 3 for check in checks)
    single = [check for check in checks if check.dtype == "float32"]
    assert all(0 < max(check.errors) < 2e-6 for check in single)


@pytest.mark.parametrize("order", [0, 1, 2], ids=["value", "gradient", "second"])
def test_a_wrong_derivative_is_found(problem, monkeypatch, order):
    call = Problem.call

    class Wrong(torch.autograd.Function):
        """The identity, wrong by a thousandth in the derivative of the given order."""

        @staticmethod
        def forward(ctx, x, depth):
            ctx.depth = depth
            return x * 1.001 if depth == order else x.clone()

        @staticmethod
        def backward(ctx, gradient):
            return Wrong.apply(gradient, ctx.depth + 1), None

    def spoiled(self, *inputs, backend):
        z = call(self, *inputs, backend=backend)
        return Wrong.apply(z, 0) if backend == "grid" else z

    monkeypatch.setattr(Problem, "call", spoiled)
    check = check_backend(problem, "grid", "cpu", torch.float64)
    assert not check.is_good
    assert [error > 1e-4 for error in check.errors[: order + 1]] == [False] * order + [True]
    assert check_backend(problem, "fourier", "cpu", torch.float64).is_good


def test_a_backend_that_raises_is_reported(problem, monkeypatch, capsys):
    call = Problem.call

    def broken(self, *inputs, backend):
        if backend == "grid":
            raise RuntimeError("no such kernel\nlong story")
        return call(self, *inputs, backend=backend)

    monkeypatch.setattr(Problem, "call", broken)
    check = check_backend(problem, "grid", "cpu", torch.float32)
    assert not check.is_good
    assert check.reason == "RuntimeError: no such kernel"
    assert entry.main(["doctor"]) == 1
    out, err = capsys.readouterr()
    assert re.search(r"no such kernel +FAILS", out)
    checks = list(check_ops(lmax=1, batch=1, channels=1))
    failing = sum(check.backend == "grid" for check in checks)
    assert failing >= 10
    assert f"{failing} of {len(checks)} checks fail: gaunt_product grid cpu float64" in err


def test_the_verdict_is_an_error(monkeypatch):
    bad = accuracy.Check("op", "grid", "cpu", "float32", (1.0, 1.0, 1.0), "", is_good=False)
    monkeypatch.setattr(accuracy, "check_ops", lambda: iter([bad]))
    with pytest.raises(BackendError, match="1 of 1 checks fail: op grid cpu float32"):
        list(doctor.describe_accuracy())


def test_relative_error():
    expected = torch.tensor([4.0, -8.0])
    assert relative_error(torch.tensor([4.0, -7.0]), expected) == 1 / 8
    assert relative_error(torch.tensor([math.nan, -8.0]), expected) == math.inf
    assert relative_error(torch.tensor([0.5]), torch.zeros(1)) == 0.5


def test_derivatives_are_those_of_the_function():
    x, y = torch.randn(2, 5, dtype=torch.float64)
    probes = draw_probes(x, (x, y))
    v, a, b = probes
    (value,), first, second = derivatives(lambda x, y: x * x * y, (x, y), probes, 2)
    torch.testing.assert_close(value, x * x * y)
    torch.testing.assert_close(first, (2 * x * y * v, x * x * v))
    by_x, by_y, by_probe = 2 * y * v * a + 2 * x * v * b, 2 * x * v * a, 2 * x * y * a + x * x * b
    torch.testing.assert_close(second, (by_x, by_y, by_probe))
    assert [len(each) for each in derivatives(torch.mul, (x, y), probes, 1)] == [1, 2]
    assert not derivatives(torch.mul, (x, y), probes, 0)[0][0].requires_grad


@pytest.mark.parametrize("op", OPS)
def test_problems_are_the_same_at_any_precision(op):
    double = make_problem(op, 2, batch=20, channels=3)
    single = make_problem(op, 2, batch=20, channels=3).to("cpu", torch.float32)
    for x, y in zip(double.inputs, single.inputs, strict=True):
        torch.testing.assert_close(x.float(), y)
    assert torch.equal(double.edge_index, single.edge_index)


@pytest.mark.parametrize(("value", "count"), [("1", 1), ("TRUE", 1), ("0", 0), ("", 0)])
def test_unsafe_loading_is_warned_about(value, count, monkeypatch):
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", value)
    lines = [line for line in doctor.describe_machine() if line.startswith("WARNING")]
    assert len(lines) == count
    assert all("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD is set" in line for line in lines)


def test_missing_packages_come_with_a_way_to_get_them(monkeypatch):
    monkeypatch.setattr(environment, "version", lambda _: None)
    lines = list(doctor.describe_packages())
    assert "torch ABSENT" in lines[0]
    assert any("ase" in line and "pip install '.[atoms]'" in line for line in lines)
    assert any("torch-scatter absent (not needed" in line for line in lines)


BUILT = {
    "cpu": {"compiler": "c++ 12.2.0", "targets": ["baseline", "avx2"]},
    "cuda": {
        "compiler": "nvcc 13.0",
        "targets": ["sm_90"],
        "kernels": 7,
        "registers": 255,
        "spilling": 0,
    },
}


CPU = "native engine: libequinet.so by c++ 12.2.0 for baseline, avx2; avx2 runs here"
CUDA = (
    "native engine: libequinet_cuda.so by nvcc 13.0 for sm_90; "
    "7 kernels with at most 255 registers, 0 of them spill"
)


@pytest.mark.parametrize(
    ("reason", "cuda_reason", "expected"),
    [
        ("no C++ compiler", "", ["native engine: no C++ compiler"]),
        ("", "nvcc was not found", [CPU, "native engine: no CUDA, nvcc was not found"]),
        ("", "", [CPU, CUDA]),
    ],
    ids=["no compiler", "compiler", "nvcc"],
)
def test_what_was_built_is_told(monkeypatch, reason, cuda_reason, expected):
    monkeypatch.setattr(native, "build_report", lambda: BUILT)
    monkeypatch.setattr(native, "load", lambda: reason)
    monkeypatch.setattr(native, "load_cuda", lambda: cuda_reason)
    monkeypatch.setattr(torch.ops.equinet, "cpu_capability", lambda: "avx2", raising=False)
    assert list(doctor.describe_native()) == expected
