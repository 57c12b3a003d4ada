"""The build of the native engine: three outcomes, incremental, and each failure in a sentence."""

import base64
import csv
import hashlib
import io
import json
import re
import shutil
import subprocess
import zipfile

import equinet_build
import equinet_compile
import equinet_cuda
import pytest
from ops.native.project import ROOT, Project

NO_COMPILER = "no C++ compiler was found on PATH (c++, g++ or clang++); install one"


@pytest.fixture
def project(tmp_path):
    return Project(tmp_path)


def test_without_a_compiler_nothing_is_built_and_the_reason_kept(project):
    project.add_torch()
    report = project.build()
    assert report["cpu"] == {"reason": NO_COMPILER}
    assert "nvcc was not found below CUDA_HOME" in report["cuda"]["reason"]
    assert [path.name for path in project.package.iterdir()] == ["build.json"]


def test_with_a_compiler_the_kernels_are_compiled_for_each_instruction_set(project):
    project.add_torch()
    project.add_tool("g++")
    project.add_source("product/cpu_kernels.cpp")
    report = project.build()
    assert report["cpu"]["compiler"] == "fake release 13.0"
    assert report["cpu"]["targets"] == equinet_compile.isas()
    assert report["cpu"]["torch"] == "2.13.0+cpu"
    assert report["cpu"]["reason"] == ""
    assert (project.package / "libequinet.so").is_file()
    commands = project.log.read_text().splitlines()
    kernels = [line for line in commands if "product/cpu_kernels.cpp" in line]
    assert len(kernels) == len(equinet_compile.isas())
    # They are compiled side by side, in any order.
    for isa in equinet_compile.isas():
        assert sum(f"-DEQUINET_ISA={isa} " in line for line in kernels) == 1
    assert "rpath=" not in project.log.read_text()


def test_files_of_one_name_in_two_ops_have_objects_of_their_own(project):
    project.add_torch(cuda="'13.0'")
    project.add_tool("c++")
    project.add_cuda()
    for op in ("product", "sum"):
        for name in ("cpu.cpp", "cpu_kernels.cpp", "cuda.cu"):
            project.add_source(f"{op}/{name}")
    project.build(CUDA_HOME="")
    linked = [line for line in project.log.read_text().splitlines() if "-shared" in line]
    kernels = [f"cpu_kernels.{isa}.o" for isa in equinet_compile.isas()]
    for op in ("product", "sum"):
        objects = list((project.root / "build" / "native" / op).glob("*.o"))
        assert {path.name for path in objects} == {"cpu.o", *kernels, "cuda.cu.o"}
        assert all(any(str(path) in line for line in linked) for path in objects)


def test_with_nvcc_the_cuda_kernels_are_compiled_too(project):
    project.add_torch(cuda="'13.0'")
    project.add_tool("c++")
    project.add_cuda()
    environment = {"CUDA_HOME": ""}
    report = project.build(**environment)
    assert report["cuda"]["targets"] == ["sm_80", "sm_90", "sm_120"]
    assert [report["cuda"][name] for name in ("kernels", "registers", "spilling")] == [1, 255, 0]
    assert (project.package / "libequinet_cuda.so").is_file()
    assert "Used 255 registers" in (project.root / "build/native/ptxas.log").read_text()
    assert project.build(EQUINET_CUDA_ARCH="90", **environment)["cuda"]["targets"] == ["sm_90"]
    message = project.refusal(EQUINET_CUDA_ARCH="61 90", **environment)
    assert "EQUINET_CUDA_ARCH names '61'" in message
    assert "it knows 80, 90, 120" in message


def test_a_torch_without_cuda_needs_no_cuda_kernels_unless_asked(project):
    project.add_torch()
    project.add_tool("c++")
    project.add_cuda()
    reason = project.build(CUDA_HOME="")["cuda"]["reason"]
    assert reason == (
        "torch 2.13.0+cpu is built without CUDA; install a CUDA build of torch, "
        "or set EQUINET_BUILD=cuda"
    )
    assert project.build(CUDA_HOME="", EQUINET_BUILD="cuda")["cuda"]["reason"] == ""


def test_spilling_kernels_are_counted_or_refused(project):
    project.add_torch()
    project.add_tool("c++")
    project.add_cuda(spills=8)
    variables = {"CUDA_HOME": "", "EQUINET_BUILD": "cuda"}
    assert project.build(**variables)["cuda"]["spilling"] == 1
    # Nothing is compiled again: the log of the first time is read.
    assert "cuda.cu" in project.compiled()
    message = project.refusal(EQUINET_FAIL_ON_SPILLS="1", **variables)
    assert message.endswith(
        "1 of 1 CUDA kernels spill: product for sm_90 (16 bytes, 255 registers)"
    )
    assert project.compiled() == []


def test_what_is_asked_for_and_cannot_be_had_is_one_sentence(project):
    project.add_torch()
    assert project.refusal(EQUINET_BUILD="cpu") == f"EQUINET_BUILD=cpu cannot be met: {NO_COMPILER}"
    project.add_tool("c++")
    message = project.refusal(EQUINET_BUILD="cuda")
    assert re.fullmatch(
        r"EQUINET_BUILD=cuda cannot be met: nvcc was not found below CUDA_HOME=\S+; "
        r"install the CUDA toolkit",
        message,
    )
    assert "found 'gpu'" in project.refusal(EQUINET_BUILD="gpu")
    assert "CXX names the compiler 'icx'" in project.refusal(EQUINET_BUILD="cpu", CXX="icx -v")
    assert project.build(CXX="icx")["cpu"]["reason"].startswith("CXX names the compiler 'icx'")


def test_none_removes_what_was_built(project):
    project.add_torch()
    project.add_tool("c++")
    project.build()
    report = project.build(EQUINET_BUILD="none")
    assert report["cpu"]["reason"] == "EQUINET_BUILD=none was set; unset it"
    assert [path.name for path in project.package.iterdir()] == ["build.json"]
    project.build(EQUINET_BUILD="cpu")
    assert (project.package / "libequinet.so").is_file()


def test_only_what_has_changed_is_compiled_again(project):
    project.add_torch()
    project.add_tool("c++")
    project.build()
    assert sorted(project.compiled()) == ["isa.cpp", "schemas.cpp"]
    project.build()
    assert project.compiled() == []
    header = project.csrc / "common" / "isa.h"
    text = header.read_text()
    header.write_text(text)
    project.build()
    assert project.compiled() == [], "the same content under a new date"
    header.write_text(text + "// more\n")
    project.build()
    assert project.compiled() == ["isa.cpp"]
    project.build(CXXFLAGS="-Werror")
    assert len(project.compiled()) == 2
    (project.torch / "version.py").write_text("__version__ = '2.14.0'\n")
    project.build(CXXFLAGS="-Werror")
    assert len(project.compiled()) == 2


def test_what_does_not_compile_stops_a_developer_and_not_a_user(project):
    project.add_torch()
    project.add_tool("c++", 'test -z "$rule" || { echo "f.h:3: error: no such thing"; exit 1; }')
    message = project.refusal()
    assert "csrc/schemas.cpp does not compile" in message
    assert "csrc/common/isa.cpp does not compile" in message
    assert project.hook("b.build(keep_going=True)").returncode == 0
    report = json.loads((project.root / "build/native/build.json").read_text())
    assert report["cpu"]["reason"].endswith("f.h:3: error: no such thing")
    done = project.hook("b.build_wheel('.')", EQUINET_BUILD="cpu")
    assert done.returncode == 1
    assert "EQUINET_BUILD=cpu cannot be met" in done.stderr


def test_torch_is_required_only_where_it_is_of_use_and_not_there(project):
    call = "b.get_requires_for_build_wheel()"
    pinned = re.search(r"^torch==.*$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    assert pinned
    assert project.hook(call).stdout.strip() == "[]", "no compiler"
    done = project.hook(call, EQUINET_BUILD="cuda")
    assert done.stderr.strip() == f"EQUINET_BUILD=cuda cannot be met: {NO_COMPILER}"
    assert done.returncode == 1
    project.add_tool("c++")
    assert project.hook(call).stdout.strip() == f"['{pinned[0]}']"
    assert project.hook(call, EQUINET_BUILD="none").stdout.strip() == "[]"
    assert "found 'all'" in project.hook(call, EQUINET_BUILD="all").stderr
    project.add_torch("2.9.1")
    assert project.hook(call).stdout.strip() == f"['{pinned[0]}']", "too old"
    assert project.build()["cpu"]["reason"] == "torch 2.10 or later is not installed; install it"
    (project.torch / "version.py").write_text("__version__ = '2.10.0'\n")
    assert project.hook(call).stdout.strip() == "[]"
    assert project.hook("b.get_requires_for_build_sdist()").stdout.strip() == "[]"


def test_the_processor_is_asked_for_what_the_compiler_may_use():
    text = (ROOT / "csrc" / "common" / "isa.cpp").read_text()
    asked = set(re.findall(r'cpu_supports\("(\w+)"\)', text))
    flags = {flag for flags in equinet_compile.ISAS.values() for flag in flags}
    assert asked == {flag[2:] for flag in flags if not flag.startswith("-mprefer")}


@pytest.mark.skipif(not shutil.which("nm"), reason="no binutils here")
@pytest.mark.parametrize("isa", ["avx2", "avx512"])
def test_no_copy_of_a_kernel_can_take_the_place_of_another(isa):
    """Of functions that several objects define, the linker keeps one: maybe the AVX-512 one."""
    objects = sorted((ROOT / "build" / "native").glob(f"*/*_kernels.{isa}.o"))
    if not objects:
        pytest.skip("the native engine was not compiled here")
    for path in objects:
        command = ["nm", "--demangle", "--defined-only", "--extern-only", path]
        listed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        names = [line.split(maxsplit=2)[2] for line in listed.splitlines()]
        assert names
        assert [name for name in names if f"equinet::{isa}::" not in name] == []


def test_ptxas_is_read():
    log = """ptxas info    : 0 bytes gmem
ptxas info    : Compiling entry function '_Z1fv' for 'sm_80'
ptxas info    : Function properties for _Z1fv
    8 bytes stack frame, 4 bytes spill stores, 12 bytes spill loads
ptxas info    : Used 255 registers, used 1 barriers, 356 bytes cmem[0]
ptxas info    : Compiling entry function '_Z1gv' for 'sm_90'
ptxas info    : Function properties for _Z1gv
    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 10 registers, used 0 barriers
"""
    assert equinet_cuda.read_kernels(log) == [
        equinet_cuda.Kernel("_Z1fv", "sm_80", 255, 16),
        equinet_cuda.Kernel("_Z1gv", "sm_90", 10, 0),
    ]
    with pytest.raises(equinet_compile.BuildError, match="does not understand: 'f' for 'sm_80'"):
        equinet_cuda.read_kernels("Compiling entry function 'f' for 'sm_80'")


def make_wheel(folder):
    """A pure wheel as setuptools makes it; the records matter not."""
    path = folder / "equinet-1-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr("equinet/__init__.py", "")
        text = "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        wheel.writestr("equinet-1.dist-info/WHEEL", text)
        wheel.writestr("equinet-1.dist-info/RECORD", "old")
    return path


@pytest.mark.parametrize("is_native", [True, False])
def test_a_wheel_holds_what_was_built_and_its_tag_says_so(tmp_path, is_native):
    built = tmp_path / "built"
    built.mkdir()
    (built / "build.json").write_text("{}")
    if is_native:
        (built / "libequinet.so").write_bytes(b"\0\1")
    path = equinet_build.add_native(make_wheel(tmp_path), built)
    assert list(tmp_path.glob("*.whl")) == [path]
    tag = re.fullmatch(r"equinet-1-(py3-none-\w+)\.whl", path.name)
    assert tag
    assert (tag[1] == "py3-none-any") != is_native
    with zipfile.ZipFile(path) as wheel:
        names = wheel.namelist()
        assert ("equinet/ops/native/libequinet.so" in names) == is_native
        assert "equinet/ops/native/build.json" in names
        stated = wheel.read("equinet-1.dist-info/WHEEL").decode()
        assert f"Tag: {tag[1]}\n" in stated
        assert f"Root-Is-Purelib: {str(not is_native).lower()}\n" in stated
        rows = list(csv.reader(io.StringIO(wheel.read("equinet-1.dist-info/RECORD").decode())))
        assert sorted(row[0] for row in rows) == sorted(names)
        for name, digest, size in rows:
            if name != "equinet-1.dist-info/RECORD":
                content = wheel.read(name)
                found = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).decode()
                assert (digest, int(size)) == ("sha256=" + found.rstrip("="), len(content))
