"""What is placed on a space of Ponita and read again."""

import pytest
import torch

from equinet.models.graphs import Inputs
from equinet.models.graphs.ponita_spaces import Bundle, Lifted, Space
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
def test_placing_and_reading_keep_their_precision_under_autocast(name: str) -> None:
    space: Space = SPACES[name]()
    inputs = Inputs(*(each.float() if each.is_floating_point() else each for each in star()))

    def results() -> list[torch.Tensor]:
        vectors = inputs.vectors.clone().requires_grad_()
        field = space.place(inputs._replace(vectors=vectors))
        scalars, read = field.read(field.inputs, 2)
        (gradient,) = torch.autograd.grad(scalars.sum() + read.square().sum(), vectors)
        return [field.inputs, scalars, read, gradient]

    expected = results()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = results()
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", SPACES)
def test_reading_what_was_placed_gives_it_back_where_orientations_are_even(name: str) -> None:
    space: Space = SPACES[name]().double()
    inputs = star()
    field = space.place(inputs)
    scalars, vectors = field.read(field.inputs, 2)
    torch.testing.assert_close(scalars[0], inputs.scalars[0], rtol=0, atol=1e-12)
    torch.testing.assert_close(vectors[0], inputs.vectors[0], rtol=0, atol=1e-12)
