"""The benchmark: fair rivals and a sane record. Nothing here is a test of speed."""

import itertools
import json
import time

import pytest
import torch

from equinet import __main__ as entry
from equinet.bench import OPS, contest, e3nn_products
from equinet.bench.contest import STAGES, compete
from equinet.bench.problems import derivatives, draw_probes, make_problem
from equinet.bench.timing import race
from equinet.command_line import bench
from equinet.command_line.accuracy import relative_error
from equinet.o3 import from_e3nn

TINY = {"batch": 4, "channels": 2, "seconds": 0.0}


@pytest.mark.parametrize("op", OPS)
def test_e3nn_computes_the_same(op):
    lmax, channels = 3, 2
    problem = make_problem(op, lmax, batch=20, channels=channels).to("cpu", torch.float32)
    function, inputs = e3nn_products.build(problem)
    expected = problem.call(*problem.inputs, backend="reference")
    if op == "gaunt_powers":
        expected = expected[-1]
    layout = str(e3nn_products.natural(lmax, channels))
    assert relative_error(from_e3nn(function(*inputs), layout), expected) < 1e-6
    probes = draw_probes(function(*inputs), inputs)
    assert [len(each) for each in derivatives(function, inputs, probes, 2)] == [
        1,
        len(problem.inputs),
        len(problem.inputs) + 1,
    ]


def test_every_implementation_takes_part_in_every_stage():
    (results,) = compete("gaunt_product", [1], **TINY)
    took_part = {(result.implementation, result.stage) for result in results}
    names = ("reference", "fourier", "grid", "e3nn")
    assert took_part >= {(name, stage) for name in names for stage in STAGES}
    for result in results:
        assert result.median_ms > 0
        assert result.spread_ms >= 0
        assert result.rounds >= 3
        assert result.implementation != "e3nn" or result.speedup == 1


def test_slow_ones_are_left_out_at_higher_degrees(monkeypatch):
    monkeypatch.setattr(contest, "_PATIENCE", 0.0)
    first, second = compete("bracket_product", [1, 2], **TINY)
    assert first
    assert second == []


def test_without_e3nn_there_is_no_ratio(monkeypatch):
    monkeypatch.setattr(contest.importlib.util, "find_spec", lambda _: None)
    (results,) = compete("gaunt_powers", [1], **TINY)
    assert {result.implementation for result in results} >= {"reference", "grid"}
    assert all(result.speedup is None for result in results)
    assert len(list(bench.table_rows(results))) == len(results) // len(STAGES)


def test_a_race_is_run_in_turns():
    calls, order = 0, []

    def quick():
        order.append("quick")

    def slow():
        nonlocal calls
        calls += 1
        order.append("slow")
        time.sleep(0.003)

    timings = race({"quick": quick, "slow": slow}, synchronize=lambda: None, seconds=0.0)
    assert timings["slow"].median >= 0.003 > timings["quick"].median
    assert timings["slow"].spread >= 0
    assert len(timings["slow"].samples) == 3
    assert calls == 5  # warm-up, estimate and three rounds of one
    changes = sum(a != b for a, b in itertools.pairwise(order))
    assert changes >= 6


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
    assert "(1×)" in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--lmax", "0"], "--lmax must be at least 1, found 0"),
        (["--batch", "0"], "--batch must be at least 1, found 0"),
        (["--channels", "-1"], "--channels must be at least 1, found -1"),
    ],
)
def test_sizes_must_be_positive(arguments, message, capsys):
    assert entry.main(["bench", *arguments]) == 1
    assert message in capsys.readouterr().err


def test_absent_devices_and_unwritable_folders_are_named(tmp_path, capsys):
    (tmp_path / "file").touch()
    assert entry.main(["bench", "--out", str(tmp_path / "file" / "bench")]) == 1
    assert "cannot be made" in capsys.readouterr().err
    if not torch.cuda.is_available():
        assert entry.main(["bench", "--device", "cuda"]) == 1
        assert "--device cuda" in capsys.readouterr().err
