"""Lifted graphs."""

import torch
from orientation_layers import draw

from equinet.nn import (
    lift_graph,
)


def test_lift_points_to_the_sender_and_joins_all_pairs():
    pos = draw(4, 3)
    # Node 3 has no neighbors; node 2 has a loop, which has no direction.
    edge_index = torch.tensor([[1, 0, 2, 2], [0, 1, 0, 2]])
    sender, receiver = edge_index
    lifted = lift_graph(pos[sender] - pos[receiver], edge_index, 4)
    assert lifted.node.tolist() == [0, 0, 1]
    expected = torch.nn.functional.normalize(pos[[1, 2, 0]] - pos[[0, 0, 1]], dim=-1)
    torch.testing.assert_close(lifted.orientations, expected)
    pairs = set(map(tuple, torch.cat([lifted.edge_index, lifted.base_edge[None]]).T.tolist()))
    # Edge 0 from node 1 to 0, edge 1 back, then nodes 0 and 1 with themselves (4 + 0, 4 + 1).
    assert pairs == {
        *((2, 0, 0), (2, 1, 0)),
        *((0, 2, 1), (1, 2, 1)),
        *((0, 0, 4), (0, 1, 4), (1, 0, 4), (1, 1, 4), (2, 2, 5)),
    }
