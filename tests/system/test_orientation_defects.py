"""Defects of published position-orientation code that must not come back, each under its number.

1 grids that a checkpoint does not carry, 2 seeds set after the model is built, 3 cutoffs that no
graph is built from, 4 invariants of the plane that are not invariant, 5 the dense variant's wrong
axis, divisor and pooling, 6 short indices, one rotation for ever, bias and repulsion gone wrong,
7 options that are accepted and ignored, 8 averages over rotations that are not taken, 9 units that
are not those of the numbers, 10 splits of another size than the data, 11 orientations that point
elsewhere than documented.
"""

import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from labeled_files import write_clusters
from torch_geometric.data import Batch, Data

from equinet import train, zoo
from equinet.configuration import config, hydra_command
from equinet.data import Frame, NBody, SuperpixelGraphs, Superpixels
from equinet.data.datasets.superpixel_mnist import SuperpixelMNIST
from equinet.data.loading import split_frames
from equinet.errors import ConfigError
from equinet.evaluation.residuals import Residuals
from equinet.lie import random_rotations
from equinet.models import Ponita, PonitaPotential
from equinet.nn import (
    FiberBundleConv,
    FullBundleConv,
    LiftedConv,
    PositionConv,
    axial_invariants,
    lift_graph,
)
from equinet.o3 import orientation_grid
from equinet.training import (
    ClassificationErrors,
    ClassificationTask,
    PositionErrors,
    PositionTask,
    PotentialErrors,
    PotentialTask,
)

MODES = ("bundle", "lifted", "position")


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def pairs(nodes: int) -> torch.Tensor:
    return (1 - torch.eye(nodes)).nonzero().T.flip(0)


def cloud(nodes: int = 5, dimension: int = 3) -> Data:
    return Data(x=draw(nodes, 2), pos=draw(nodes, dimension, seed=1), edge_index=pairs(nodes))


def network(**options: Any) -> Ponita:
    torch.manual_seed(0)
    arguments = {"in_scalars": 2, "out_scalars": 1, "channels": 4, "layers": 1} | options
    return Ponita(**arguments).double()


def test_defect_1_a_checkpoint_carries_its_grid(tmp_path):
    """A process that knows nothing of this one computes the same."""
    model = Ponita(in_scalars=2, out_scalars=1, channels=4, layers=1, grid="repulsion7")
    data = cloud()
    zoo.save(model, tmp_path, {"data": "none"})
    torch.save({name: data[name] for name in ("x", "pos", "edge_index")}, tmp_path / "data.pt")
    script = (
        "import sys, torch; from torch_geometric.data import Data; from equinet import zoo;"
        "data = Data(**torch.load(sys.argv[1] + '/data.pt', weights_only=True));"
        "torch.set_num_threads(1);"
        "torch.save(zoo.load(sys.argv[1])(data)['scalars'], sys.argv[1] + '/found.pt')"
    )
    subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=True)
    found = torch.load(tmp_path / "found.pt", weights_only=True)
    assert torch.equal(found, model(data)["scalars"])
    assert torch.equal(model.state_dict()["space.points"], orientation_grid("repulsion7").points)


def test_defect_2_the_seed_is_set_before_anything_is_drawn(tmp_path):
    errors = []
    for number, disturbance in enumerate((3, 5)):
        torch.manual_seed(disturbance)
        np.random.seed(disturbance)  # noqa: NPY002 - the state that a run must not depend on
        errors.append(_short_run(tmp_path, f"run.dir={tmp_path / str(number)}"))
    assert errors[0] == errors[1]
    other = _short_run(tmp_path, f"run.dir={tmp_path / 'other'}", "seed=1")
    assert other != errors[0]


def _short_run(cache: Path, *overrides: str) -> dict[str, float]:
    options = (
        *("+experiment=nbody", "model.channels=4", "model.layers=1", "logger=csv"),
        *("data.train_size=8", "data.val_size=4", "data.test_size=4", "data.batch_size=4"),
        *(f"data.cache={cache}", "trainer.max_steps=1", "trainer.check_val_every_n_epoch=1"),
    )
    tree = hydra_command.compose("train", [*options, *overrides])
    return train.run(tree)["sets"]["test"]


@pytest.mark.parametrize("mode", MODES)
def test_defect_3_all_within_the_cutoff_interact_in_every_mode(mode, tmp_path):
    """Graphs are built from the cutoff that the model has, not from bonds, whatever the mode."""
    path = write_clusters(tmp_path / "train.xyz", 4)
    overrides = [
        *("data=files", "model=ponita_potential", f"data.train={path}", "data.val=1"),
        *(f"model.mode={mode}", "data.cutoff=4.0", "model.channels=4", "model.layers=1"),
    ]
    tree = hydra_command.compose("train", overrides)
    data = config.instantiate(tree["data"], "data")
    model = config.instantiate(tree["model"], "model", **data.model_arguments())
    assert isinstance(model, PonitaPotential)
    assert model.cutoff == data.cutoff == 4.0
    graph = next(each for each in data.train if each.num_nodes == 5)
    distances = torch.cdist(graph.pos, graph.pos)
    expected = ((distances < 4.0) & (distances > 0)).nonzero().flip(1)
    assert {*map(tuple, graph.edge_index.T.tolist())} == {*map(tuple, expected.tolist())}
    # The farthest neighbor is felt too.
    batch = Batch.from_data_list([graph])
    lengths = distances[graph.edge_index[0], graph.edge_index[1]]
    kept = lengths < lengths.max()
    assert lengths.max() > lengths.min() + 0.5
    fewer = batch.clone()
    fewer.edge_index, fewer.edge_shift = batch.edge_index[:, kept], batch.edge_shift[kept]
    change = model(batch)["energy"] - model(fewer)["energy"]
    assert change.abs().max() > 1e-9


def test_defect_3_lifting_keeps_the_edges_of_the_graph():
    """Lifted nodes are joined where their base nodes are, near or far."""
    edge_index = torch.tensor([[1, 0, 2, 1], [0, 1, 1, 2]])
    pos = torch.tensor([[0.0, 0, 0], [100.0, 0, 0], [100.0, 1, 0]]).double()
    vectors = pos[edge_index[0]] - pos[edge_index[1]]
    lifted = lift_graph(vectors, edge_index, 3)
    base = {tuple(pair) for pair in lifted.node[lifted.edge_index].T.tolist()}
    assert base == {*map(tuple, edge_index.T.tolist()), (0, 0), (1, 1), (2, 2)}


@pytest.mark.parametrize("angle", [0.3, np.pi / 4, np.pi / 2, 1.0])
def test_defect_4_invariants_of_the_plane_are_invariant(angle):
    cosine, sine = np.cos(angle), np.sin(angle)
    turn = torch.tensor([[cosine, -sine], [sine, cosine]], dtype=torch.float64)
    vector, orientation = draw(7, 2), torch.nn.functional.normalize(draw(7, 2, seed=1), dim=-1)
    before = axial_invariants(vector, orientation)
    after = axial_invariants(vector @ turn.T, orientation @ turn.T)
    torch.testing.assert_close(after, before, rtol=0, atol=1e-14)
    # Not for being zero: it is the signed distance from the axis.
    distance = (vector - before[:, :1] * orientation).norm(dim=-1)
    torch.testing.assert_close(before[:, 1].abs(), distance)


def test_defect_5_the_distance_is_from_the_axis_of_the_orientation():
    vector, orientation = draw(7, 3), torch.nn.functional.normalize(draw(7, 3, seed=1), dim=-1)
    along, square = axial_invariants(vector, orientation).unbind(-1)
    rest = vector - along.unsqueeze(-1) * orientation
    torch.testing.assert_close(square, rest.square().sum(-1))


@pytest.mark.parametrize("channels", [3, 24])
def test_defect_5_means_divide_by_the_number_of_orientations(channels):
    layer = FiberBundleConv(orientation_grid("icosahedron12"), channels, 4, kernel="zonal").double()
    with torch.no_grad():
        layer.fiber[0] = 1
    constant = layer._over_fibers(torch.ones(1, 12, channels, dtype=torch.float64))
    torch.testing.assert_close(constant, torch.ones_like(constant))


def test_defect_5_graphs_are_sums_over_their_nodes():
    data = cloud()
    nodes, graph = (network(level=level)(data)["scalars"] for level in ("node", "graph"))
    torch.testing.assert_close(graph, nodes.sum(0, keepdim=True))


@pytest.mark.parametrize("mode", MODES)
def test_defect_6_more_nodes_than_a_byte_can_count(mode):
    data = cloud(200)
    data.edge_index = torch.tensor([[199, 0], [0, 199]])
    alone = Data(x=data.x[[0, 199]], pos=data.pos[[0, 199]], edge_index=pairs(2))
    found = network(mode=mode)(data)["scalars"]
    torch.testing.assert_close(found[[0, 199]], network(mode=mode)(alone)["scalars"])


def test_defect_6_rotations_differ_from_one_call_to_the_next():
    first, second = random_rotations(2)
    again, _ = random_rotations(2)
    assert not torch.allclose(first, second)
    assert not torch.allclose(first, again)


@pytest.mark.parametrize("kind", ["mlp", "zonal", "full", "lifted", "position"])
def test_defect_6_the_bias_is_added_once(kind):
    edge_index, x = pairs(3), draw(3, 4)
    if kind in ("mlp", "zonal"):
        grid = orientation_grid("icosahedron12")
        layer: Any = FiberBundleConv(grid, 4, 5, kernel=kind)
        basis = draw(6, 12, 5) if kind == "mlp" else draw(6, 5)
        arguments = (draw(3, 12, 4), draw(6, 3), basis, edge_index)
    elif kind == "full":
        layer = FullBundleConv(orientation_grid("icosahedron12"), 4, 5)
        arguments = (draw(3, 12, 4), draw(6, 12, 12, 5), draw(12, 12, 5), edge_index)
    else:
        layer = (LiftedConv if kind == "lifted" else PositionConv)(4, 5)
        arguments = (x, draw(6, 5), edge_index)
    layer = layer.double()
    before = layer(*arguments)
    with torch.no_grad():
        layer.bias += 0.7
    torch.testing.assert_close(layer(*arguments), before + 0.7)


def test_defect_6_repulsion_stays_on_the_sphere():
    points = orientation_grid("repulsion13").points
    torch.testing.assert_close(points.norm(dim=-1), torch.ones(13).double())
    distances = torch.cdist(points, points) + 4 * torch.eye(13)
    assert distances.min() > 0.8


def test_defect_6_calibration_is_done_by_training(tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(Ponita, "calibrate", lambda _, graph: calls.append(graph.num_graphs))
    _short_run(tmp_path, f"run.dir={tmp_path / 'run'}")
    assert calls == [4]


@pytest.mark.parametrize("option", ["groups=3", "num_ori=16", "radius=2.0"])
def test_defect_7_options_that_do_not_exist_are_refused(option, tmp_path):
    with pytest.raises(ConfigError, match=f"has no option '{option.partition('=')[0]}'"):
        _short_run(tmp_path, f"run.dir={tmp_path / 'run'}", f"+model.{option}")


class _Counting(torch.nn.Module):
    """Answers every call with another constant, and counts."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def forward(self, graph: Any) -> dict[str, torch.Tensor]:
        self.calls += 1
        value = 1.0 if self.calls % 2 else -1.0
        return {
            "vectors": torch.full((graph.num_nodes, 1, 3), value).double(),
            "scalars": value * torch.eye(2).double()[: graph.num_graphs],
        }


@pytest.mark.parametrize("task", [PositionTask, ClassificationTask])
@pytest.mark.parametrize("rotations", [1, 4])
def test_defect_8_averages_are_taken_over_as_many_rotations_as_asked_for(task, rotations):
    model = _Counting()
    graphs = [
        Data(pos=draw(3, 3, seed=i), future_pos=draw(3, 3, seed=9), y=torch.tensor([i]))
        for i in (0, 1)
    ]
    made = task(model=model, optimizer=partial(torch.optim.SGD, lr=0.1), rotations=rotations)
    found = made.evaluate([Batch.from_data_list(graphs)], torch.device("cpu")).errors
    assert model.calls == 1 + rotations
    averaged = {"mse_averaged", "error_averaged", "cross_entropy_averaged"} & found.keys()
    assert averaged
    assert all(f"val_{made.column(name)}" in made.columns for name in averaged)


def test_defect_8_the_average_is_not_the_single_pass():
    errors = PositionErrors()
    turned = torch.stack([torch.ones(2, 3), -torch.ones(2, 3)])
    errors.update(torch.ones(2, 3), torch.zeros(2, 3), turned)
    found = errors.compute()
    assert found["mse"] == 1
    assert found["mse_averaged"] == 0


@pytest.mark.parametrize("task", [PotentialTask, PositionTask, ClassificationTask])
def test_defect_9_every_error_has_its_unit(task):
    """In its column of metrics.csv too, and no error is left without a word on its unit."""
    metric = {
        PotentialTask: PotentialErrors,
        PositionTask: PositionErrors,
        ClassificationTask: ClassificationErrors,
    }[task]()
    if task is PotentialTask:
        one = torch.ones(1).double()
        metric.update(Residuals(one, 2 * one, torch.ones(2, 3).double()))
    elif task is PositionTask:
        metric.update(torch.ones(2, 3), torch.zeros(2, 3), torch.ones(1, 2, 3))
    else:
        metric.update(torch.eye(2), torch.tensor([0, 0]), torch.eye(2)[None])
    found = metric.compute()
    assert set(found) <= set(task.units)
    suffixes = {"meV": "meV", "meV/atom": "meV", "meV/Å": "meV_per_A", "%": "percent"}
    for name in found:
        unit = task.units[name]
        (column,) = [
            each
            for each in task.columns
            if each.startswith(f"val_{name}_") or (each == f"val_{name}")
        ][:1]
        assert column.endswith(suffixes[unit]) if unit else column == f"val_{name}"
    if task is PotentialTask:
        # One electronvolt is a thousand of the units in the table.
        assert found["energy_mae"] == found["forces_mae"] == 1000
        assert found["energy_mae_per_atom"] == 500
    if task is ClassificationTask:
        assert found["error"] == 50


def _atom(number: int) -> Frame:
    position = np.full((1, 3), float(number))
    return Frame(np.array([1]), position, np.zeros((3, 3)), np.zeros(3, dtype=bool))


@pytest.mark.parametrize("count", [60, 61, 137])
def test_defect_10_splits_have_the_size_of_the_data(count, monkeypatch):
    """Whatever the number of examples that a file turned out to hold."""
    frames = [_atom(number) for number in range(count)]
    parts = split_frames(frames, 10, seed=0)
    assert sorted(map(id, (*parts[0], *parts[1]))) == sorted(map(id, frames))
    places = [draw(9, 2, seed=i).float().numpy() for i in range(count)]
    superpixels = Superpixels.of(places, [each[:, 0] for each in places], 8)
    labels = np.arange(count) % 10

    class Given(SuperpixelMNIST):
        def _found(self):
            from equinet.data.datasets.superpixel_mnist import _Digits

            digits = _Digits(superpixels, labels)
            return "given", {"train": digits, "test": digits}

    sets = Given(val_size=0.2).sets
    chosen = [*sets.train._graphs._chosen, *sets.val._graphs._chosen]
    assert sorted(chosen) == list(range(count))
    assert isinstance(sets.train._graphs, SuperpixelGraphs)
    assert len(sets.tests["test"]) == count


def test_defect_10_more_than_there_is_is_refused():
    with pytest.raises(Exception, match="train_size must be from 1 to 10000, got 130831"):
        NBody(train_size=130_831)


def test_defect_11_orientations_point_from_receiver_to_sender():
    """As docs/conventions.md says of every edge vector."""
    pos = torch.tensor([[0.0, 0, 0], [2.0, 0, 0]]).double()
    edge_index = torch.tensor([[1], [0]])
    lifted = lift_graph(pos[edge_index[0]] - pos[edge_index[1]], edge_index, 2)
    assert lifted.node.tolist() == [0]
    assert lifted.orientations.tolist() == [[1.0, 0.0, 0.0]]
    text = (Path(__file__).parents[2] / "docs" / "conventions.md").read_text()
    assert "points **from receiver to sender**" in text
