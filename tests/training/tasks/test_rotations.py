"""Rotations of graphs, one for each."""

from functools import partial

import pytest
import torch
from torch_geometric.data import Batch, Data

from equinet.training.tasks.rotations import random_rotations, turn_back, turn_graphs


def batch(dimension: int = 3) -> Batch:
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, dimension, generator=generator, dtype=torch.float64)

    return Batch.from_data_list(
        [
            Data(pos=draw(size), vec=draw(size, 2), future_pos=draw(size), x=torch.ones(size, 1))
            for size in (3, 1, 4)
        ]
    )


@pytest.mark.parametrize("dimension", [1, 2, 3, 4])
def test_rotations_are_proper(dimension):
    rotations = random_rotations(200, dimension)
    identity = torch.eye(dimension, dtype=torch.float64).expand_as(rotations)
    torch.testing.assert_close(rotations @ rotations.mT, identity, atol=1e-13, rtol=0)
    torch.testing.assert_close(torch.linalg.det(rotations), torch.ones(200).double())


@pytest.mark.parametrize("dimension", [2, 3])
def test_rotations_have_the_moments_of_the_haar_measure(dimension):
    count = 20_000
    rotations = random_rotations(count, dimension)
    # Entries have mean 0, variance 1/n; five standard errors of the means.
    error = 5 / count**0.5
    assert rotations.mean(0).abs().max() < error
    assert (rotations.square().mean(0) - 1 / dimension).abs().max() < error
    traces = rotations.diagonal(dim1=-2, dim2=-1).sum(-1)
    assert traces.square().mean() == pytest.approx(2.0 if dimension == 2 else 1.0, abs=2 * error)


def test_rotations_are_repeatable():
    draws = [random_rotations(3, generator=torch.Generator().manual_seed(7)) for _ in range(2)]
    assert torch.equal(*draws)
    assert random_rotations(0).shape == (0, 3, 3)


@pytest.mark.parametrize("dimension", [2, 3])
def test_each_graph_is_turned_by_its_own_rotation(dimension):
    graph = batch(dimension)
    before = graph.clone()
    rotations = random_rotations(3, dimension)
    turned = turn_graphs(graph, rotations)
    for index, single in enumerate(before.to_data_list()):
        found = turned.get_example(index)
        for name in ("pos", "vec", "future_pos"):
            torch.testing.assert_close(found[name], single[name] @ rotations[index].T)
    for name in ("pos", "vec", "future_pos", "x"):
        assert torch.equal(graph[name], before[name])


def test_turning_back_undoes_it():
    graph = batch()
    rotations = random_rotations(3)
    turned = turn_graphs(graph, rotations)
    torch.testing.assert_close(turn_back(turned.pos, graph, rotations), graph.pos)


def test_graphs_without_vectors_turn():
    graph = Batch.from_data_list([Data(pos=torch.eye(3)), Data(pos=torch.eye(3), vec=None)])
    assert turn_graphs(graph, random_rotations(2)).pos.dtype == torch.float32


def test_forces_cells_and_stresses_turn_with_their_graph():
    generator = torch.Generator().manual_seed(0)

    def structure(size: int) -> Data:
        draw = partial(torch.randn, generator=generator, dtype=torch.float64)
        return Data(
            pos=draw(size, 3), forces=draw(size, 3), cell=draw(1, 3, 3), stress=draw(1, 3, 3)
        )

    graph = Batch.from_data_list([structure(3), structure(2)])
    rotations = random_rotations(2)
    turned = turn_graphs(graph, rotations)
    for index, rotation in enumerate(rotations):
        before, after = graph.get_example(index), turned.get_example(index)
        torch.testing.assert_close(after.forces, before.forces @ rotation.T)
        torch.testing.assert_close(after.cell[0], before.cell[0] @ rotation.T)
        torch.testing.assert_close(after.stress[0], rotation @ before.stress[0] @ rotation.T)
