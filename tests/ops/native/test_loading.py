"""Loading what was compiled: each reason why not, and real compilers where there are any."""

import functools
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from ops.native.project import ROOT, Project

from equinet.ops import native

IS_BUILT = (native.FOLDER / native.LIBRARY).is_file()
needs_engine = pytest.mark.skipif(not IS_BUILT, reason="the native engine is not built here")
needs_compiler = pytest.mark.skipif(
    not any(map(shutil.which, ("c++", "g++", "clang++"))), reason="no C++ compiler here"
)


def run(script: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a script in a process of its own."""
    return subprocess.run(
        [sys.executable, "-P", "-c", script],
        env=os.environ | variables,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder in the place of the package's, and a loader that has not looked there yet."""
    monkeypatch.setattr(native, "FOLDER", tmp_path)
    monkeypatch.setattr(native, "_reasons", {})
    for name in ("load", "load_cuda"):
        function = getattr(native, name)
        monkeypatch.setattr(native, name, functools.cache(function.__wrapped__))
    return tmp_path


def test_nothing_compiled(folder):
    reason = native.unavailable("sphere_forms")
    assert reason == (
        "libequinet.so is not built: nothing has been compiled yet; mend that, then install "
        "equinet again, or run 'make native' in a clone"
    )


def test_the_reason_of_the_build_is_told(folder):
    report = {"cpu": {"reason": "no compiler; install one"}}
    (folder / "build.json").write_text(json.dumps(report))
    assert "not built: no compiler; install one; mend" in native.unavailable("sphere_forms")


def test_a_library_that_does_not_load(folder):
    (folder / native.LIBRARY).write_text("not a library")
    reason = native.unavailable("filter_sum")
    assert f"{folder / native.LIBRARY} does not load" in reason
    assert "make native" in reason


@pytest.mark.skipif(torch.version.cuda is not None, reason="this torch has CUDA")
def test_cuda_kernels_wait_for_a_torch_with_cuda(folder):
    assert "built without CUDA; install a CUDA build of torch" in native.load_cuda()
    assert "not for xpu" in native.unavailable("sphere_forms", "xpu")


@needs_engine
def test_an_op_that_the_library_lacks():
    reason = native.unavailable("spheroid_forms")
    assert "libequinet.so has no kernel of 'spheroid_forms'" in reason


FIRST_USE = """
from concurrent.futures import ThreadPoolExecutor
import torch
from equinet.ops import native
assert not hasattr(torch.ops.equinet, "cpu_capability"), "importing has loaded the library"
with ThreadPoolExecutor(8) as pool:
    reasons = list(pool.map(native.unavailable, ["sphere_forms"] * 32))
assert reasons == [""] * 32, reasons
print(torch.ops.equinet.cpu_capability())
"""


@needs_engine
@pytest.mark.parametrize("wanted", ["baseline", "avx2", "avx512"])
def test_the_instruction_set_is_that_of_the_processor_or_a_lesser_one(wanted):
    order = ["baseline", "avx2", "avx512"]
    native.load()
    best = torch.ops.equinet.cpu_capability()
    done = run(FIRST_USE, EQUINET_CPU_CAPABILITY=wanted)
    assert done.stdout.strip() == min(wanted, best, key=order.index), done.stderr


@needs_engine
def test_an_unknown_instruction_set_is_refused():
    done = run(FIRST_USE, EQUINET_CPU_CAPABILITY="avx1024")
    message = "EQUINET_CPU_CAPABILITY must be baseline, avx2 or avx512, found 'avx1024'"
    assert done.stderr.strip().endswith(message)


FIRST_USE_WHILE_COMPILING = """
import torch
from equinet.ops.backends import resolve_backend
function = lambda x: x + 1 if resolve_backend("gaunt_product", "auto") == "native" else x + 2
compiled = torch.compile(function, fullgraph=True, backend="eager")
print(compiled(torch.zeros(1)).item())
"""


@needs_engine
def test_the_first_use_may_be_in_a_compiled_function():
    done = run(FIRST_USE_WHILE_COMPILING)
    assert done.stdout.strip() == "1.0", done.stderr


@needs_compiler
def test_the_torch_of_the_build_may_be_gone(tmp_path):
    """The library finds torch by its name, in whatever place it was loaded from."""
    project = Project(tmp_path)
    project.torch.mkdir()
    installed = Path(torch.__file__).parent
    for name in ("include", "lib", "version.py"):
        (project.torch / name).symlink_to(installed / name)
    report = project.build(PATH=os.environ["PATH"], EQUINET_BUILD="cpu")
    assert report["cpu"]["torch"] == torch.__version__
    shutil.rmtree(project.environment)
    library = project.package / native.LIBRARY
    assert os.fsencode(tmp_path) not in library.read_bytes()
    script = (
        f"import torch; torch.ops.load_library({str(library)!r}); "
        "print(torch.ops.equinet.cpu_capability())"
    )
    done = run(script, EQUINET_CPU_CAPABILITY="baseline")
    assert done.stdout.strip() == "baseline", done.stderr


@pytest.fixture
def sources(tmp_path):
    """The project without the kernels that take long to compile."""
    target = tmp_path / "sources"
    target.mkdir()
    for name in ("pyproject.toml", "MANIFEST.in", "constraints.txt", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, target)
    left_out = shutil.ignore_patterns("__pycache__", "*.so", "build.json")
    for name in ("equinet", "configs"):
        shutil.copytree(ROOT / name, target / name, ignore=left_out)
    slow = shutil.ignore_patterns("__pycache__", "*.cu", "[!i]*.cpp")
    shutil.copytree(ROOT / "csrc", target / "csrc", ignore=slow)
    shutil.copy(ROOT / "csrc" / "schemas.cpp", target / "csrc")
    return target


LOADED_FROM = """
import torch
from equinet.ops import native
print(native.FOLDER)
print(native.load())
print(torch.ops.equinet.cpu_capability() if not native.load() else "")
"""


@pytest.mark.slow
@needs_compiler
def test_pip_installs_with_and_without_a_compiler(sources, tmp_path):
    pytest.importorskip("setuptools")
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    options = ["--no-deps", "--no-build-isolation", "--no-index"]

    def install(name: str, tag: str, **variables: str) -> list[str]:
        wheels, target = tmp_path / name / "wheels", tmp_path / name / "site"
        environment = os.environ | variables
        subprocess.run(
            [*pip, "wheel", *options, "-w", wheels, sources], env=environment, check=True
        )
        (wheel,) = wheels.glob("*.whl")
        assert f"py3-none-{tag}" in wheel.name
        subprocess.run([*pip, "install", *options, "--target", target, wheel], check=True)
        done = run(LOADED_FROM, PYTHONPATH=str(target), EQUINET_CPU_CAPABILITY="baseline")
        assert done.returncode == 0, done.stderr
        place, *rest = done.stdout.splitlines()
        assert Path(place).is_relative_to(target)
        return rest

    assert install("with", "linux", EQUINET_BUILD="cpu") == ["", "baseline"]
    # A compiler less, and nothing of the first build is left in the second.
    tools = tmp_path / "tools"
    tools.mkdir()
    reason, capability = install("without", "any", PATH=str(tools))
    assert "not built: no C++ compiler was found on PATH" in reason
    assert capability == ""
