"""The benchmark: fair rivals and a sane record. Nothing here is a test of speed."""

import itertools
import json
import math
import time
from functools import partial

import pytest
import torch

from equinet import __main__ as entry
from equinet.bench import (
    contest,
    cuequivariance_products,
    e3nn_products,
    growth,
    limits,
    timing,
    work,
)
from equinet.bench.contest import STAGES, Result, compete, contender, implementations
from equinet.bench.differentiation import derivatives, draw_probes
from equinet.bench.problems import FORMS, make_problem
from equinet.bench.published import PUBLISHED, Series
from equinet.command_line import bench
from equinet.command_line.accuracy import relative_error
from equinet.o3 import from_e3nn
from equinet.ops import OPS

UNEQUAL = {"lmax": 2, "lmax_y": 3, "lmax_out": 1, "batch": 20, "channels": 2}
SHARED = {**UNEQUAL, "lmax_out": 4, "is_shared": True}


@pytest.fixture
def _quick(monkeypatch):
    """Take few samples: the figures do not matter."""
    monkeypatch.setattr(timing, "_MOST_ROUNDS", 3)
    monkeypatch.setattr(timing, "_SHORTEST", 0.0)


def tiny(op, *degrees):
    return Series("", op, tuple({"lmax": lmax, "batch": 4, "channels": 2} for lmax in degrees))


@pytest.fixture
def problem(request):
    op, size = request.param
    return make_problem(op, **size).to("cpu", torch.float32)


RIVALED = tuple(op for op in OPS if "e3nn" in implementations(op, "cpu"))
PROBLEMS = pytest.mark.parametrize(
    "problem",
    [*((op, UNEQUAL) for op in RIVALED), ("gaunt_product", SHARED), ("bracket_product", SHARED)],
    indirect=True,
    ids=lambda each: each[0],
)


def expected_result(problem):
    expected = problem.call(*problem.inputs, backend="reference")
    assert expected.shape == problem.result_shape
    return expected[-1] if problem.op == "gaunt_powers" else expected


def check_derivatives(function, inputs, problem):
    probes = draw_probes(function(*inputs), inputs)
    found = derivatives(function, inputs, probes, 2)
    assert [len(each) for each in found] == [1, len(problem.inputs), len(problem.inputs) + 1]


@PROBLEMS
def test_e3nn_computes_the_same(problem):
    function, inputs = e3nn_products.build(problem)
    layout = str(e3nn_products.natural(problem.lmax_out, problem.channels))
    assert relative_error(from_e3nn(function(*inputs), layout), expected_result(problem)) < 1e-6
    check_derivatives(function, inputs, problem)


@PROBLEMS
def test_cuequivariance_computes_the_same(problem):
    pytest.importorskip("cuequivariance_torch")
    function, inputs = cuequivariance_products.build(problem)
    expected = expected_result(problem)
    assert relative_error(function(*inputs).view(expected.shape), expected) < 1e-6
    check_derivatives(function, inputs, problem)


def test_the_aligned_convolution_takes_part():
    assert "aligned" in implementations("gaunt_convolution", "cpu")
    assert "aligned" not in implementations("gaunt_product", "cpu")
    problem = make_problem("gaunt_convolution", **UNEQUAL)
    function, inputs = contender(problem, "aligned")
    assert relative_error(function(*inputs), expected_result(problem)) < 1e-12


def test_the_orientation_convolution_races_its_own_backends():
    assert FORMS["orientation_convolution"].rivals == ()
    assert "orientation_convolution" not in RIVALED
    problem = make_problem("orientation_convolution", **UNEQUAL)
    expected = expected_result(problem)
    for name in implementations(problem.op, "cpu"):
        assert relative_error(contender(problem, name)[0](*problem.inputs), expected) < 1e-12
    (results,) = compete(tiny(problem.op, 2), seconds=0.0)
    assert {result.implementation for result in results} >= {"reference", "grid"}
    assert all(result.speedup is None for result in results)


def test_cuequivariance_takes_part_where_it_is_installed(monkeypatch):
    installed = {"cuequivariance_torch"}
    monkeypatch.setattr(
        cuequivariance_products, "find_spec", lambda name: name in installed or None
    )
    assert "cuequivariance" in implementations("gaunt_product", "cpu")
    assert not cuequivariance_products.is_available("cuda")
    installed.add("cuequivariance_ops_torch")
    assert cuequivariance_products.is_available("cuda")
    installed.clear()
    assert "cuequivariance" not in implementations("gaunt_product", "cpu")


def test_every_implementation_takes_part_in_every_stage():
    (results,) = compete(tiny("gaunt_product", 1), seconds=0.0)
    took_part = {(result.implementation, result.stage) for result in results}
    names = ("reference", "fourier", "grid", "e3nn")
    assert took_part >= {(name, stage) for name in names for stage in STAGES}
    for result in results:
        assert result.median_ms > 0
        assert result.spread_ms >= 0
        assert result.rounds >= 3
        assert result.implementation != "e3nn" or result.speedup == 1
        in_bandwidth = result.minimal_bytes / result.bandwidth
        assert result.of_bandwidth == pytest.approx(1000 * in_bandwidth / result.median_ms)
        assert result.limit_ms >= 1000 * in_bandwidth


def test_slow_ones_are_left_out_at_higher_degrees(monkeypatch):
    monkeypatch.setattr(contest, "_LONGEST_CALL", 0.0)
    first, second = compete(tiny("bracket_product", 1, 2), seconds=0.0)
    assert first
    assert second == []
    assert list(bench.table_rows(second)) == []


def test_who_may_need_too_much_memory_is_left_out(monkeypatch):
    sizes = ({"lmax": 1, "batch": 1000, "channels": 2},)
    needed = {}
    for name in ("grid", "reference"):
        problem = make_problem("gaunt_product", **sizes[0]).to("cpu", torch.float32)
        function, inputs = contender(problem, name)
        needed[name] = work.allocated_bytes(partial(function, *inputs))
    assert 2 * needed["grid"] > 1000 * 4 * 2 * 4  # at least the result
    operands = work.minimal_bytes(problem, 0)
    between = (needed["grid"] + needed["reference"]) / 2 + operands
    monkeypatch.setattr(contest, "free_memory", lambda _: between / contest._MEMORY_FRACTION)
    monkeypatch.setattr(contest, "STAGES", STAGES[:1])
    monkeypatch.setattr(contest, "implementations", lambda *_: ["grid", "reference"])
    (results,) = compete(Series("", "gaunt_product", sizes), seconds=0.0)
    kept = min(needed, key=needed.__getitem__)
    assert {result.implementation for result in results} == {kept}


def test_a_rival_that_fails_is_left_out_and_named(monkeypatch):
    def fail(_):
        raise RuntimeError("no kernel for this")

    monkeypatch.setattr("equinet.bench.e3nn_products.build", fail)
    match = "e3nn forward.* is left out: it fails on gaunt_product, lmax 1: no kernel for"
    with pytest.warns(UserWarning, match=match) as warned:
        first, second = compete(tiny("gaunt_product", 1, 2), seconds=0.0)
    assert len(warned) == len(STAGES)  # it is not tried again at a higher degree
    assert {result.implementation for result in second} >= {"reference", "grid"}
    assert all(result.speedup is None for result in (*first, *second))


@pytest.mark.usefixtures("_quick")
def test_nothing_to_time_is_said(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(contest, "_fits", lambda *_: False)
    assert entry.main(["bench", "--lmax", "1", "--out", str(tmp_path)]) == 1
    assert "nothing was timed" in capsys.readouterr().err


def test_some_can_be_timed_alone():
    (results,) = compete(tiny("gaunt_product", 1), seconds=0.0, only=["grid", "e3nn"])
    assert {result.implementation for result in results} == {"grid", "e3nn"}


def test_without_e3nn_there_is_no_ratio(monkeypatch):
    monkeypatch.setattr(contest, "find_spec", lambda _: None)
    (results,) = compete(tiny("gaunt_powers", 1), seconds=0.0)
    assert {result.implementation for result in results} >= {"reference", "grid"}
    assert all(result.speedup is None for result in results)
    names = {result.implementation for result in results}
    assert len(list(bench.table_rows(results))) == len(names) + 1


@pytest.mark.parametrize(
    ("lmax", "slots"), [(2, 154), (3, 587), (4, 1582), (5, 2672), (6, 4630), (8, 10192)]
)
def test_multiply_adds_are_those_of_the_literature(lmax, slots):
    problem = make_problem("gaunt_product", lmax, batch=3, channels=2)
    assert work.multiply_adds(problem, 0) == 6 * slots
    assert work.multiply_adds(problem, 1) > 2 * work.multiply_adds(problem, 0)


def test_multiply_adds_are_counted_where_they_are_known():
    count = work.multiply_adds
    assert count(make_problem("gaunt_powers", 2, batch=1, channels=1), 0) is None
    assert count(make_problem("gaunt_convolution", 2, batch=1, channels=1), 0) is None
    # The cross product: six couplings of six pairs.
    assert count(make_problem("bracket_product", 1, batch=1, channels=1), 0) == 12


def test_bytes_are_those_of_operands_and_results():
    problem = make_problem("gaunt_product", 2, batch=3, channels=4).to("cpu", torch.float32)
    per_coefficient = 3 * 4 * 9
    sums = [12, 12 + 20, 12 + 20 + 32]  # bytes a coefficient: x, y, z; gradients; second ones
    assert [work.minimal_bytes(problem, order) for order in range(3)] == [
        each * per_coefficient for each in sums
    ]
    graph = make_problem("gaunt_convolution", 1, batch=32, channels=2)
    x, directions, radial = graph.inputs
    floats = 2 * x.numel() + directions.numel() + radial.numel()
    assert work.minimal_bytes(graph, 0) == 8 * (floats + graph.edge_index.numel())
    oriented = make_problem("orientation_convolution", 1, batch=32, channels=2)
    x, vectors, radial = oriented.inputs
    assert x.shape[1] == 2 * len(oriented.points)
    floats = 2 * x.numel() + vectors.numel() + radial.numel() + oriented.points.numel()
    assert work.minimal_bytes(oriented, 0) == 8 * (floats + oriented.edge_index.numel())


def test_allocations_are_results_without_views():
    x = torch.ones(4, 5)
    assert work.allocated_bytes(lambda: (x.T[1:] + 1).mT) == 4 * 4 * 4
    assert work.allocated_bytes(lambda: x.view(-1)) == 0


def test_limits_are_measured_once_for_each_size():
    measured = limits.measure_limits(1000, torch.float32, "cpu", 0.0)
    assert measured.bandwidth > 1e6
    assert measured.multiply_add_rate > 1e6
    assert limits.measure_limits(2000, torch.float32, "cpu", 0.0) is measured
    slow = limits.Limits(bandwidth=1e3, multiply_add_rate=1e2)
    assert slow.milliseconds(1000, None) == 1000
    assert slow.milliseconds(1000, 500) == 5000
    assert limits.free_memory("cpu") > 2**20


def test_every_op_has_a_form():
    assert set(FORMS) == set(OPS)
    sphere = {"gaunt_product", "bracket_product", "gaunt_powers", "gaunt_convolution"}
    assert sphere <= set(RIVALED)
    with pytest.raises(ValueError, match=r"op must be one of gaunt_product, .* found 'gaunt'"):
        make_problem("gaunt", 1, batch=1, channels=1)


def test_published_problems_can_be_made():
    for series in PUBLISHED:
        assert list(series.sizes) == sorted(series.sizes, key=lambda size: size["lmax"])
        problem = make_problem(series.op, **{**series.sizes[0], "batch": 1, "channels": 1})
        result = problem.call(*problem.inputs, backend="grid")
        assert result.shape == problem.result_shape


def test_growth_is_the_exponent_of_the_degree():
    (sample, *_), *_ = compete(tiny("gaunt_product", 1), seconds=0.0)

    def at(lmax, stage, exponent):
        fields = vars(sample) | {"lmax": lmax, "stage": stage, "median_ms": 0.1 * lmax**exponent}
        return Result(**fields)

    results = [at(lmax, STAGES[0], 3 if lmax >= 4 else 9) for lmax in (1, 2, 4, 6, 10)]
    results += [at(lmax, STAGES[1], 4) for lmax in (4, 6)]
    (fit,) = growth.fit_growth(results)
    assert math.isclose(fit.exponent, 3)
    assert fit.degrees == (4, 6, 10)
    (line,) = bench.growth_rows([fit])
    assert "lmax^3.00 (lmax 4, 6, 10)" in line


def test_a_race_is_run_in_turns():
    calls, order = 0, []

    def quick():
        order.append("quick")

    def slow():
        nonlocal calls
        calls += 1
        order.append("slow")
        time.sleep(0.003)

    timings = timing.race({"quick": quick, "slow": slow}, synchronize=lambda: None, seconds=0.0)
    assert timings["slow"].median >= 0.003 > timings["quick"].median
    assert timings["slow"].spread >= 0
    assert len(timings["slow"].samples) == 3
    assert calls == 5  # warm-up, estimate and three rounds of one
    changes = sum(a != b for a, b in itertools.pairwise(order))
    assert changes >= 6


@pytest.mark.usefixtures("_quick")
def test_the_command_writes_a_record_and_a_picture(tmp_path, capsys):
    arguments = ["--ops", "gaunt_product", "gaunt_convolution", "--lmax", "2", "1", "--batch", "4"]
    out = tmp_path / "new" / "bench"
    assert entry.main(["bench", *arguments, "--channels", "2", "--out", str(out)]) == 0
    record = json.loads((out / "bench.json").read_text())
    assert set(record) >= {"command", "time", "commit", "versions", "hardware", "settings"}
    assert record["hardware"]["cores"] >= 1
    assert record["settings"]["lmax"] == [2, 1]
    found = {(r["op"], r["lmax"], r["implementation"], r["stage"]) for r in record["results"]}
    assert ("gaunt_convolution", 2, "e3nn", STAGES[2]) in found
    assert (out / "bench.png").read_bytes().startswith(b"\x89PNG")
    text = capsys.readouterr().out
    assert "gaunt_convolution" in text
    assert " 1×" in text


@pytest.mark.usefixtures("_quick")
def test_published_sizes_are_run_by_name(tmp_path, monkeypatch, capsys):
    series = (Series("somebody", "gaunt_powers", tiny("gaunt_powers", 1).sizes), *PUBLISHED[:1])
    monkeypatch.setattr("equinet.bench.PUBLISHED", series)
    arguments = ["--sizes", "published", "--ops", "gaunt_powers", "--out", str(tmp_path)]
    assert entry.main(["bench", *arguments]) == 0
    record = json.loads((tmp_path / "bench.json").read_text())
    assert {result["series"] for result in record["results"]} == {"somebody"}
    assert "gaunt_powers: somebody, 4 × 2 channels" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--lmax", "0"], "--lmax must be at least 1, found 0"),
        (["--batch", "0"], "--batch must be at least 1, found 0"),
        (["--channels", "-1"], "--channels must be at least 1, found -1"),
        (["--sizes", "published", "--batch", "2"], "--batch has no meaning with --sizes published"),
        (["--only", "grid", "cupy"], "--only cupy: nothing of that name runs gaunt_product"),
    ],
)
def test_sizes_must_make_sense(arguments, message, capsys):
    assert entry.main(["bench", *arguments]) == 1
    assert message in capsys.readouterr().err


def test_absent_devices_and_unwritable_folders_are_named(tmp_path, capsys):
    (tmp_path / "file").touch()
    assert entry.main(["bench", "--out", str(tmp_path / "file" / "bench")]) == 1
    assert "cannot be made" in capsys.readouterr().err
    if not torch.cuda.is_available():
        assert entry.main(["bench", "--device", "cuda"]) == 1
        assert "--device cuda" in capsys.readouterr().err
