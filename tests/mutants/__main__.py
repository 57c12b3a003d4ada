"""Score of the tests: ``python tests/mutants`` puts small faults in, one by one, and counts.

A fault counts as found if one of the related tests fails or takes too long. Related are the tests
at the mirrored path and those that name what the module defines, nearest first. Survivors are
printed by file and line; those in ``equivalent.txt`` change nothing that can be observed.
"""

import argparse
import ast
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from changes import Change, native_changes, python_changes

ROOT = Path(__file__).resolve().parents[2]
ROOMS = (
    *("o3", "lie", "ops", "nn", "models", "evaluation", "training", "data"),
    "csrc",
)
_COPIED = ("equinet", "tests", "csrc", "configs", "pyproject.toml", "docs", "README.md")
_BUILT = ("build",)
_FILES_A_FAULT = 5
_NO_TESTS = 5  # exit code of pytest


def sources(room: str) -> list[Path]:
    """List the files of a room, relative to the root."""
    if room == "csrc":
        found = [*(ROOT / room).rglob("*.cpp"), *(ROOT / room).rglob("*.h")]
    else:
        found = [p for p in (ROOT / "equinet" / room).rglob("*.py") if p.name != "__init__.py"]
    return sorted(path.relative_to(ROOT) for path in found)


def related_tests(path: Path, limit: int = _FILES_A_FAULT) -> list[Path]:
    """List test files for a source, the mirrored one first, then those that name its contents."""
    if path.parts[0] == "csrc":
        return [Path("tests/ops/native"), Path("tests/ops/test_filter_sum.py")]
    inside = Path(*path.parts[1:])
    mirrored = Path("tests") / inside.with_name(f"test_{inside.name}")
    names = {
        node.name
        for node in ast.parse((ROOT / path).read_text()).body
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("__")
    }
    words = re.compile(rf"\b({'|'.join(sorted(names | {path.stem}))})\b")
    scored = []
    for each in sorted((ROOT / "tests").rglob("test_*.py")):
        test = each.relative_to(ROOT)
        if "cuda" in test.stem:
            continue
        count = len(set(words.findall(each.read_text())))
        shared = len(Path(os.path.commonpath([test, mirrored])).parts)
        if test == mirrored or count:
            scored.append((-(test == mirrored), "system" in test.parts, -shared, -count, test))
    return [entry[-1] for entry in sorted(scored)][:limit]


class Bench:
    """A copy of the repository in which one file at a time is changed.

    Args:
        folder: Folder to copy into.
        seconds: Time that the tests of one fault may take.
    """

    def __init__(self, folder: Path, seconds: float) -> None:
        self.folder, self.seconds, self.moment = folder, seconds, time.time()
        for name in (*_COPIED, *_BUILT):
            place = ROOT / name
            if place.is_dir():
                shutil.copytree(place, folder / name, symlinks=True)
            elif place.exists():
                shutil.copy(place, folder / name)

    def write(self, path: Path, text: str) -> None:
        """Write a file with a time of its own, by which Python knows its compiled copy is old."""
        self.moment += 10
        (self.folder / path).write_text(text)
        os.utime(self.folder / path, (self.moment, self.moment))

    def passes(self, tests: Sequence[Path], times: int = 1) -> bool:
        """Whether tests pass, up to the first that fails, in a process forked from this one."""
        seconds = times * self.seconds
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                os.setsid()
                os.chdir(self.folder)
                os.environ["PYTHONPATH"] = str(self.folder)
                sys.path.insert(0, str(self.folder))
                quiet = os.open(os.devnull, os.O_WRONLY)
                os.dup2(quiet, 1)
                os.dup2(quiet, 2)
                import pytest

                words = ["-x", "-p", "no:cacheprovider", "-m", "not slow and not gpu"]
                words += ["--timeout", str(int(seconds)), *map(str, tests)]
                status = int(pytest.main(words))
            finally:
                os._exit(status)
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            done, code = os.waitpid(pid, os.WNOHANG)
            if done:
                return os.waitstatus_to_exitcode(code) in {0, _NO_TESTS}
            time.sleep(0.05)
        os.killpg(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        return False

    def survives(self, path: Path, change: Change) -> bool | None:
        """Whether no test finds a change; None where the changed file does not compile."""
        text = (ROOT / path).read_text()
        self.write(path, change.applied_to(text))
        try:
            if path.parts[0] == "csrc" and not self._builds():
                return None
            return self.passes(related_tests(path))
        finally:
            self.write(path, text)

    def _builds(self) -> bool:
        command = [sys.executable, "csrc/equinet_build.py"]
        built = subprocess.run(command, cwd=self.folder, capture_output=True, check=False)
        return built.returncode == 0


def sample(room: str, count: int, seed: int) -> list[tuple[Path, Change]]:
    """Draw changes of a room, the same for the same seed."""
    drawn: list[tuple[Path, Change]] = []
    for path in sources(room):
        text = (ROOT / path).read_text()
        changes = native_changes(text) if room == "csrc" else python_changes(text)
        drawn += [(path, change) for change in changes]
    random.Random(f"{seed} {room}").shuffle(drawn)  # noqa: S311 - no secret
    return drawn[:count]


def known_equivalents() -> set[tuple[str, str]]:
    """Read the changes that no test can find: path and change, one in a line, with the reason."""
    found = set()
    for line in (Path(__file__).parent / "equivalent.txt").read_text().splitlines():
        if line and not line.startswith("#"):
            path, change, _ = line.split(" | ")
            found.add((path, change))
    return found


def preload() -> None:
    """Import what most tests import, once, before processes are forked."""
    import torch_geometric.data  # noqa: F401


def main() -> int:
    """Run the faults of some rooms, and return 1 where the score is too low."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rooms", nargs="+", default=ROOMS[:-1], choices=ROOMS)
    parser.add_argument("--count", type=int, default=30, help="faults in each room")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=300, help="time for the tests of a fault")
    parser.add_argument("--least", type=float, default=95, help="score in %% that is asked for")
    options = parser.parse_args()
    preload()
    equivalent = known_equivalents()
    killed: Counter[str] = Counter()
    total: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as name:
        bench = Bench(Path(name), options.seconds)
        for room in options.rooms:
            faults = sample(room, options.count, options.seed)
            tests = sorted({test for path, _ in faults for test in related_tests(path)})
            if not bench.passes(tests, len(tests)):  # otherwise every fault would seem found
                print(f"{room}: the tests fail without any fault")
                return 2
            for path, change in faults:
                if (str(path), str(change)) in equivalent:
                    continue
                survives = bench.survives(path, change)
                if survives is None:
                    continue
                total[room] += 1
                killed[room] += not survives
                word = "SURVIVES" if survives else "killed  "
                print(f"{word} {path}:{change.line}  {change}", flush=True)
            if total[room]:
                print(f"{room}: {killed[room]} of {total[room]} found", flush=True)
    score = 100 * killed.total() / max(total.total(), 1)
    print(f"score: {killed.total()} of {total.total()} found, {score:.1f} %")
    return 0 if score >= options.least else 1


if __name__ == "__main__":
    sys.exit(main())
