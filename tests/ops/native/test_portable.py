"""The check for other systems: every source for each of them, and failures that name the system."""

import shutil

import equinet_compile
import equinet_portable
import pytest
from ops.native.project import Project


@pytest.fixture
def project(tmp_path):
    project = Project(tmp_path)
    project.add_source("product/cpu_kernels.cpp")
    return project


def check(project, returncode):
    done = project.run("csrc/equinet_portable.py")
    assert "Traceback" not in done.stderr
    assert done.returncode == returncode, done.stderr
    return done.stdout if returncode == 0 else done.stderr.strip()


def test_every_source_is_compiled_for_every_system_and_instruction_set(project):
    project.add_torch()
    project.add_zig()
    said = check(project, 0)
    commands = [line.split() for line in project.log.read_text().splitlines() if " -c " in line]
    wanted = []
    for system, instruction_sets in equinet_portable.SYSTEMS.items():
        flags = [(f"-DEQUINET_ISA={isa}", *equinet_compile.ISAS[isa]) for isa in instruction_sets]
        wanted += [(system, "product/cpu_kernels.cpp", each) for each in flags]
        wanted += [(system, name, ()) for name in ("schemas.cpp", "common/isa.cpp")]
        objects = len(instruction_sets) + 2
        assert f"{system}: {objects} objects compile without a warning" in said
    assert len(commands) == len(wanted)
    for system, name, flags in wanted:
        fitting = [
            words
            for words in commands
            if words[words.index("-target") + 1] == system
            and words[words.index("-c") + 1].endswith(f"csrc/{name}")
            and all(flag in words for flag in flags)
        ]
        assert len(fitting) >= 1
        assert all("-Werror" in words for words in fitting)


def test_only_what_has_changed_is_compiled_again(project):
    project.add_torch()
    project.add_zig()
    check(project, 0)
    project.compiled()
    check(project, 0)
    assert project.compiled() == []
    header = project.csrc / "common" / "isa.h"
    header.write_text(header.read_text() + "// more\n")
    check(project, 0)
    assert project.compiled() == ["isa.cpp"] * len(equinet_portable.SYSTEMS)


def test_objects_of_other_systems_are_no_part_of_the_library(project):
    project.add_torch()
    project.add_zig()
    project.add_tool("c++")
    check(project, 0)
    project.build()
    linked = next(line for line in project.log.read_text().splitlines() if "-shared" in line)
    assert not any(system in linked for system in equinet_portable.SYSTEMS)


def test_what_does_not_compile_is_named_with_its_system(project):
    project.add_torch()
    project.add_zig(
        'case "$source" in *isa.cpp) echo "isa.cpp:1: error: no such thing"; exit 1;; esac'
    )
    said = check(project, 1)
    for system in equinet_portable.SYSTEMS:
        assert f"{system}: csrc/common/isa.cpp does not compile: isa.cpp:1: error" in said


def test_what_is_not_installed_is_one_sentence(project):
    assert check(project, 1) == "ziglang is not installed; install it: pip install ziglang"
    project.add_zig()
    assert check(project, 1) == "torch 2.10 or later is not installed; install it"
    project.add_torch()
    shutil.rmtree(project.torch.parent / "ziglang")
    assert check(project, 1) == "ziglang is not installed; install it: pip install ziglang"
