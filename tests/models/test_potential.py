"""What every potential shares: edge vectors, units of direct forces, the life of a graph."""

import pytest
import torch
from models.test_mace_gaunt import crystal, graph, model
from torch import Tensor
from torch_geometric.data import Data

from equinet.errors import DataError
from equinet.models import Potential
from equinet.nn import edge_vectors

CELLS = torch.tensor(
    [[[4.0, 1.0, 0.0], [0.0, 5.0, 2.0], [3.0, 0.0, 6.0]], [[7.0, 0.0, 0.0]] * 3],
    dtype=torch.float64,
)


class Pull(Potential):
    """Forces that are an output of their own: the sum of an atom's edge vectors."""

    conservative = False

    def __init__(self, *, scale: float) -> None:
        super().__init__(elements=[1], cutoff=9.0, reference_energies=[0.0], scale=scale)
        self.weight = torch.nn.Parameter(torch.ones((), dtype=torch.float64))

    def atomic_energies(self, species: Tensor, vectors: Tensor, edge_index: Tensor) -> Tensor:
        return self.atomic_energies_and_forces(species, vectors, edge_index, species, 1)[0]

    def atomic_energies_and_forces(
        self,
        species: Tensor,
        vectors: Tensor,
        edge_index: Tensor,
        batch: Tensor,  # noqa: ARG002
        num_graphs: int,  # noqa: ARG002
    ) -> tuple[Tensor, Tensor]:
        forces = vectors.new_zeros(len(species), 3).index_add(0, edge_index[1], vectors)
        return self.weight.expand(len(species)), self.weight * forces


def pair(dtype: torch.dtype = torch.float64) -> Data:
    """Two atoms in the first graph with one edge from the second to the first; one atom alone."""
    return Data(
        pos=torch.tensor([[0.5, 0.0, 0.0], [1.0, 2.0, 3.0], [9.0, 9.0, 9.0]], dtype=dtype),
        atomic_numbers=torch.ones(3, dtype=torch.long),
        cell=CELLS.to(dtype),
        batch=torch.tensor([0, 0, 1]),
        edge_index=torch.tensor([[1], [0]]),
        edge_shift=torch.tensor([[1.0, 0.0, -2.0]], dtype=dtype),
    )


def vectors_of(data: Data, strain: Tensor | None = None) -> Tensor:
    return edge_vectors(data.pos, data.cell, data.batch, data.edge_index, data.edge_shift, strain)


def test_edge_vectors_point_from_receiver_to_sender_in_the_image_of_its_cell() -> None:
    # The difference (0.5, 2, 3), the first lattice vector, and minus twice the third.
    expected = torch.tensor([[-1.5, 3.0, -9.0]], dtype=torch.float64)
    torch.testing.assert_close(vectors_of(pair()), expected, rtol=0, atol=0)
    strain = torch.zeros(2, 3, 3, dtype=torch.float64)
    strain[0, 0, 1] = 0.2  # half of it counts in each place of the symmetric matrix
    expected += torch.tensor([[0.3, -0.15, 0.0]], dtype=torch.float64)
    torch.testing.assert_close(vectors_of(pair(), strain), expected, rtol=0, atol=1e-14)


def test_edge_vectors_and_their_derivatives_keep_float32_under_autocast() -> None:
    def derivatives() -> list[Tensor]:
        torch.manual_seed(1)
        data = pair(torch.float32)
        inputs = [data.pos, data.cell, 0.1 * torch.randn(2, 3, 3)]
        inputs = [(each + 1e-3 * torch.randn_like(each)).requires_grad_() for each in inputs]
        data.pos, data.cell, strain = inputs
        value = vectors_of(data, strain)
        first = torch.autograd.grad(value.pow(3).sum(), inputs, create_graph=True)
        second = torch.autograd.grad(sum(each.pow(3).sum() for each in first), inputs)
        return [value, *first, *second]

    expected = derivatives()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = derivatives()
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == torch.float32
        # Sums in another order; bfloat16 would cost 4e-3.
        assert (one - other).abs().max() <= 1e-5 * other.abs().max()


def test_direct_forces_are_multiplied_by_the_scale_and_know_the_sign_of_edges() -> None:
    forces = Pull(scale=2.5)(pair())["forces"]
    expected = torch.zeros(3, 3, dtype=torch.float64)
    expected[0] = 2.5 * torch.tensor([-1.5, 3.0, -9.0])
    torch.testing.assert_close(forces, expected, rtol=0, atol=1e-14)


def test_energies_keep_their_graph_only_where_a_derivative_has_not_used_it_up() -> None:
    network, data = model(channels=2), graph(torch.eye(3).double(), torch.tensor([1, 6, 8]))
    assert not network(data)["energy"].requires_grad
    assert not network(data, forces=False, stress=True)["energy"].requires_grad
    for energy in (network(data, forces=False)["energy"], network.train()(data)["energy"]):
        energy.sum().backward()
        assert network.embedding.grad is not None
        assert network.embedding.grad.abs().sum() > 0
        network.zero_grad()


def test_direct_forces_leave_energies_their_graph() -> None:
    network = Pull(scale=2.5).eval()
    network(pair())["energy"].sum().backward()
    assert network.weight.grad is not None
    assert network.weight.grad.item() == pytest.approx(7.5)


def test_a_left_handed_cell_of_the_same_lattice_has_the_same_stress() -> None:
    network, data = model(channels=4), crystal()
    cell = data.cell[0]
    swapped = graph(data.pos, data.atomic_numbers, cell[[1, 0, 2]])
    assert torch.linalg.det(cell) * torch.linalg.det(swapped.cell[0]) < 0
    expected, found = (network(each, stress=True)["stress"] for each in (data, swapped))
    assert expected.abs().max() > 1e-3
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    ("field", "change", "message"),
    [
        ("pos", lambda x: x.long(), "pos must be floating-point numbers, found torch.int64"),
        ("cell", lambda x: x.int(), "cell must be floating-point numbers, found torch.int32"),
        ("edge_index", lambda x: x.bool(), "edge_index must be int32 or int64, found torch.bool"),
        ("edge_index", lambda x: x.byte(), "edge_index must be int32 or int64, found torch.uint8"),
        ("edge_index", lambda x: x.double(), "edge_index must be int32 or int64"),
        ("batch", lambda x: x.byte(), "batch must be int32 or int64, found torch.uint8"),
        ("atomic_numbers", lambda x: x.double(), "atomic_numbers must be integers"),
        ("atomic_numbers", lambda x: x.bool(), "atomic_numbers must be integers"),
    ],
)
def test_tensors_of_a_wrong_type_are_refused_by_name(field, change, message) -> None:
    data = pair()
    data[field] = change(data[field])
    with pytest.raises(ValueError, match=message):
        Pull(scale=1.0)(data)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int8, torch.int16, torch.int32])
def test_elements_of_any_integer_type_are_no_mask(dtype) -> None:
    network = Pull(scale=1.0)
    numbers = torch.ones(len(network.species.by_number), dtype=dtype)
    assert network.species(numbers).tolist() == [0] * len(numbers)


def test_the_stress_of_a_cell_without_volume_is_refused() -> None:
    network, slab = model(channels=2).eval(), crystal()
    slab.cell = slab.cell.clone()
    slab.cell[0, 2] = 0
    with pytest.raises(DataError, match="stress needs a cell with a volume, and that of structur"):
        network(slab, stress=True)
    assert network(slab)["forces"].isfinite().all()
    free = graph(slab.pos, slab.atomic_numbers)
    assert not network(free, stress=True)["stress"].any()
