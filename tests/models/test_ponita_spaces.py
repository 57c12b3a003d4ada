"""What is placed on a space of Ponita and read again."""

import pytest
import torch

from equinet.models.ponita_spaces import Bundle, Inputs, Lifted, Space
from equinet.o3 import orientation_grid


def star() -> Inputs:
    """A node that has a neighbor in each direction of each axis."""
    axes = torch.cat([torch.eye(3), -torch.eye(3)]).double()
    return Inputs(
        scalars=torch.randn(7, 2).double(),
        vectors=torch.randn(7, 2, 3).double(),
        edge_index=torch.stack([torch.arange(1, 7), torch.zeros(6, dtype=torch.long)]),
        edge_vectors=axes,
        edge_scalars=torch.zeros(6, 0).double(),
    )


SPACES = {
    "bundle": lambda: Bundle(orientation_grid("octahedron6"), "mlp", 2, 4, None, 0),
    "lifted": lambda: Lifted(chiral=False, basis=4, cutoff=None, edge_scalars=0),
    # At these lengths of edges the weights sum to more than one.
    "lifted with a cutoff": lambda: Lifted(chiral=False, basis=4, cutoff=3.0, edge_scalars=0),
}


@pytest.mark.parametrize("name", SPACES)
def test_reading_what_was_placed_gives_it_back_where_orientations_are_even(name: str) -> None:
    space: Space = SPACES[name]().double()
    inputs = star()
    field = space.place(inputs)
    scalars, vectors = field.read(field.inputs, 2)
    torch.testing.assert_close(scalars[0], inputs.scalars[0], rtol=0, atol=1e-12)
    torch.testing.assert_close(vectors[0], inputs.vectors[0], rtol=0, atol=1e-12)
