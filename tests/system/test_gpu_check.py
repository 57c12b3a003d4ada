"""What a GPU machine is to run: it refuses others, and its record can be believed."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from equinet import __main__ as entry
from equinet.bench import timing

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "experiments" / "gpu"


def check(out, python=sys.executable):
    environment = {**os.environ, "PYTHON": str(python), "OUT": str(out)}
    return subprocess.run(
        ["bash", str(FOLDER / "check.sh")],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_says_so_and_writes_nothing(tmp_path):
    before = (FOLDER / "results.json").exists()
    done = check(tmp_path / "out")
    assert done.returncode != 0
    assert done.stdout == ""
    assert done.stderr.strip().splitlines() == [
        "experiments/gpu/check.sh: torch sees no CUDA device; run it on a machine with one"
    ]
    assert not (tmp_path / "out").exists()
    assert (FOLDER / "results.json").exists() == before


def test_without_torch_it_says_so(tmp_path):
    bare = tmp_path / "python"
    bare.write_text(f'#!/bin/sh\nexec "{sys.executable}" -I -S "$@"\n')
    bare.chmod(0o755)
    done = check(tmp_path / "out", bare)
    assert done.returncode != 0
    assert "this Python has no torch" in done.stderr
    assert not (tmp_path / "out").exists()


def test_the_record_holds_rooflines_and_where_they_come_from(tmp_path, monkeypatch):
    monkeypatch.setattr(timing, "_MOST_ROUNDS", 3)
    monkeypatch.setattr(timing, "_SHORTEST", 0.0)
    folder = tmp_path / "gpu"
    arguments = ["--ops", "gaunt_product", "--lmax", "2", "--batch", "4", "--channels", "2"]
    assert entry.main(["bench", *arguments, "--out", str(folder / "bench")]) == 0
    suite = '<testsuites><testsuite tests="7" skipped="2"></testsuite></testsuites>'
    (folder / "pytest.xml").write_text(suite)
    (folder / "doctor.txt").write_text("GPU none\n\nAll 3 checks pass.\n")
    results = tmp_path / "results.json"
    script = [sys.executable, str(FOLDER / "record.py"), str(folder), str(results)]
    subprocess.run(script, check=True, capture_output=True)
    entries = json.loads(results.read_text())
    assert {each["implementation"] for each in entries} >= {"reference", "grid", "e3nn"}
    for each in entries:
        assert each["metric"].startswith("gaunt_product forward")
        assert each["of_roofline"] == pytest.approx(each["limit_ms"] / each["value"], abs=1e-4)
        assert each["bandwidth"] > 0
        assert each["tests_on_gpu"] == 5
        assert each["doctor"] == "All 3 checks pass."
        assert set(each) >= {"rooflines", "command", "hardware", "date", "commit", "dirty"}
