"""Rotations of graphs, one for each."""

from functools import partial

import pytest
import torch
from torch_geometric.data import Batch, Data

from equinet.lie import random_rotations
from equinet.training.tasks.rotations import rotate_back, rotate_graphs


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


@pytest.mark.parametrize("dimension", [2, 3])
def test_each_graph_is_rotated_by_its_own_rotation(dimension):
    graph = batch(dimension)
    before = graph.clone()
    rotations = random_rotations(3, dimension)
    rotated = rotate_graphs(graph, rotations)
    for index, single in enumerate(before.to_data_list()):
        found = rotated.get_example(index)
        for name in ("pos", "vec", "future_pos"):
            torch.testing.assert_close(found[name], single[name] @ rotations[index].T)
    for name in ("pos", "vec", "future_pos", "x"):
        assert torch.equal(graph[name], before[name])


def test_rotating_back_undoes_it():
    graph = batch()
    rotations = random_rotations(3)
    rotated = rotate_graphs(graph, rotations)
    torch.testing.assert_close(rotate_back(rotated.pos, graph, rotations), graph.pos)


def test_graphs_without_vectors_rotate():
    graph = Batch.from_data_list([Data(pos=torch.eye(3)), Data(pos=torch.eye(3), vec=None)])
    assert rotate_graphs(graph, random_rotations(2)).pos.dtype == torch.float32


def test_forces_cells_and_stresses_rotate_with_their_graph():
    generator = torch.Generator().manual_seed(0)

    def structure(size: int) -> Data:
        draw = partial(torch.randn, generator=generator, dtype=torch.float64)
        return Data(
            pos=draw(size, 3), forces=draw(size, 3), cell=draw(1, 3, 3), stress=draw(1, 3, 3)
        )

    graph = Batch.from_data_list([structure(3), structure(2)])
    rotations = random_rotations(2)
    rotated = rotate_graphs(graph, rotations)
    for index, rotation in enumerate(rotations):
        before, after = graph.get_example(index), rotated.get_example(index)
        torch.testing.assert_close(after.forces, before.forces @ rotation.T)
        torch.testing.assert_close(after.cell[0], before.cell[0] @ rotation.T)
        torch.testing.assert_close(after.stress[0], rotation @ before.stress[0] @ rotation.T)
