"""What the shell offers to complete, and that bash inserts it."""

import os
import subprocess
import sys

import pytest

from equinet.__main__ import _COMPOSED, build_parser, main
from equinet.command_line.completion import after_break, candidates


def offered(line: str) -> list[str]:
    return candidates(line, build_parser(), [*_COMPOSED])


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("equinet tr", ["train "]),
        ("equinet zoo pu", ["pull ", "push "]),
        ("equinet data lint --large", ["--largest-force "]),
        ("equinet train +exp", ["+experiment="]),
        ("equinet train +experiment=nb", ["+experiment=nbody "]),
        ("equinet train trainer=dd", ["trainer=ddp ", "trainer=ddp_cpu "]),
        ("equinet train model.convol", ["model.convolution_channels="]),
        ("equinet train model=ponita model.kern", ["model.kernel="]),
        ("equinet train +experiment=nbody model.kern", ["model.kernel="]),
        ("equinet train trainer=gpu trainer.max_t", ["trainer.max_time="]),
        ("equinet train data.energy_unit=H", ["data.energy_unit=Hartree "]),
        ("equinet train run.t", ["run.tf32="]),
        ("equinet train run.tf32=", ["run.tf32=false ", "run.tf32=true "]),
        ("equinet evaluate data.length_unit=b", ["data.length_unit=bohr "]),
        ("equinet train data.train=", []),  # the shell offers files
        ("equinet evaluate RUN test.x", []),
    ],
)
def test_what_is_offered(line, wanted):
    assert offered(line) == wanted


def test_only_the_part_after_an_equals_sign_is_inserted():
    assert after_break(["trainer=gpu "], "equinet train trainer=g") == ["gpu "]
    assert after_break(["trainer="], "equinet train train") == ["trainer="]


def test_the_command_reads_the_line_of_the_shell(monkeypatch, capsys):
    monkeypatch.setenv("COMP_LINE", "equinet zoo ver and more")
    monkeypatch.setenv("COMP_POINT", str(len("equinet zoo ver")))
    assert main(["complete"]) == 0
    assert capsys.readouterr().out == "verify \n"


def test_nothing_slow_is_imported():
    code = (
        "import sys; from equinet.__main__ import main; main(['complete']); "
        "sys.exit('torch' in sys.modules)"
    )
    line = "equinet train trainer=g"
    environment = {**os.environ, "COMP_LINE": line, "COMP_POINT": str(len(line))}
    found = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert found.stdout == "gpu \n"
