"""Potentials compiled ahead of time, in a process of their own: the compiler cannot see through
the tests' shape checks.
"""

import os
import subprocess
import sys

import pytest
import torch

from equinet import __main__ as entry
from equinet import zoo
from equinet.errors import BackendError, ConfigError
from equinet.models import Committee, MACEGaunt
from equinet.ops import native


def make_model():
    return MACEGaunt(
        elements=(1, 8),
        cutoff=4.0,
        reference_energies=(-13.6, -2040.0),
        average_neighbors=3.0,
        max_neighbors=20,
        channels=3,
        lmax_filter=2,
        lmax_hidden=1,
        correlation=2,
        radial_hidden=(5,),
    )


def draw(atoms, graphs, edges):
    """Random arguments of an exported program."""
    batch = torch.arange(atoms) % graphs
    return {
        "atomic_numbers": torch.tensor([1, 8])[torch.randint(2, (atoms,))],
        "pos": torch.randn(atoms, 3).double(),
        "cell": 5.0 * torch.eye(3).double().repeat(graphs, 1, 1),
        "batch": batch,
        "edge_index": torch.stack([torch.randint(atoms, (edges,)) for _ in range(2)]),
        "edge_shift": torch.randint(-1, 2, (edges, 3)).double(),
    }


def strided(tensor):
    """Return the same numbers as every second one of another tensor, its axes in reverse order."""
    reversed_axes = tensor.permute(*reversed(range(tensor.ndim)))
    twice = torch.stack([reversed_axes, torch.full_like(reversed_axes, 77)], dim=-1)
    return twice[..., 0].permute(*reversed(range(tensor.ndim)))


class Graph:
    def __init__(self, arguments):
        self.__dict__.update(arguments)


def equals_the_model(folder):
    """The command line's package, run in Python, over sizes down to one atom without neighbors."""
    model = Committee.of([make_model(), make_model()])
    zoo.save(model, f"{folder}/model", {})
    model.eval()
    assert entry.main(["zoo", "export", f"{folder}/model", f"{folder}/model.pt2", "--stress"]) == 0
    native.load()
    run = torch._inductor.aoti_load_package(f"{folder}/model.pt2")
    metadata = run.loader.get_metadata()
    assert (metadata["elements"], metadata["cutoff"]) == ("1 8", "4.0")
    assert metadata["max_neighbors"] == "20"
    assert "tie_tolerance" not in metadata
    for sizes in ((9, 2, 40), (2, 1, 1), (1, 1, 0)):
        arguments = draw(*sizes)
        found, expected = run(*arguments.values()), model(Graph(arguments), stress=True)
        assert list(found) == list(expected)
        torch.testing.assert_close(found["energy"], expected["energy"], rtol=0, atol=1e-4)
        for name in ("forces", "stress"):
            scale = expected[name].abs().max().item()
            torch.testing.assert_close(found[name], expected[name], rtol=0, atol=2e-6 * scale)
    arguments = draw(9, 2, 40)
    views = {name: strided(tensor) for name, tensor in arguments.items()}
    found, expected = run(*views.values()), run(*arguments.values())
    for name, each in expected.items():
        torch.testing.assert_close(found[name], each, rtol=0, atol=1e-9, msg=f"{name} of views")
    for name, other in (("pos", torch.float32), ("edge_index", torch.int32)):
        with pytest.raises(RuntimeError):
            run(*(arguments | {name: arguments[name].to(other)}).values())
    for name, other, said in (
        ("pos", arguments["pos"][:, :2], r"pos must have shape \[9, 3\], found \[9, 2\]"),
        ("edge_index", arguments["edge_index"].T, "edge_index must have shape"),
        ("edge_shift", arguments["edge_shift"][:-1], "edge_shift must have shape"),
        ("cell", arguments["cell"][0], "must have shape"),
        ("batch", arguments["batch"][:-1], "must have shape"),
    ):
        with pytest.raises(RuntimeError, match=said):
            run(*(arguments | {name: other}).values())
    arguments["atomic_numbers"][0] = 79
    with pytest.raises(RuntimeError, match="was not trained for; it knows H, O"):
        run(*arguments.values())


@pytest.mark.slow
def test_runs_without_the_model(tmp_path):
    # Half the time: the wrapper's own speed is of no interest here.
    environment = os.environ | {"AOT_INDUCTOR_COMPILE_WRAPPER_OPT_LEVEL": "O0"}
    command = [sys.executable, __file__, tmp_path]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("name", ["model.pt", "no/such/folder/model.pt2"])
def test_files_that_cannot_be_written_are_named(name, tmp_path):
    with pytest.raises(ConfigError, match=f"in a folder that exists, found .*{name}"):
        zoo.export(make_model(), tmp_path / name)


def test_without_a_compiler_it_says_so(tmp_path, monkeypatch):
    def fail(*_, **__):
        raise torch._inductor.exc.InvalidCxxCompiler

    monkeypatch.setattr("equinet.zoo.exporting.trace", lambda *_, **__: None)
    monkeypatch.setattr("torch._inductor.aoti_compile_and_package", fail)
    with pytest.raises(BackendError, match=r"needs a C\+\+ compiler"):
        zoo.export(make_model(), tmp_path / "model.pt2")


if __name__ == "__main__":
    torch.manual_seed(0)
    torch.set_num_threads(1)
    equals_the_model(sys.argv[1])
