"""What every network on graphs keeps: symmetries, derivatives, precision, clear refusals."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from graph_networks import NETWORKS, cloud, ponita, segnn
from torch_geometric.data import Batch, Data

from equinet.models.graphs.graph_model import GraphModel
from equinet.models.graphs.ponita_spaces import Lifted

Maker = Callable[..., GraphModel]
each_network = pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS)
each_class = pytest.mark.parametrize("network", [ponita, segnn])


@each_network
def test_translation_and_order_do_not_matter(network: Maker) -> None:
    model, data = network(), cloud()
    order, edges = torch.randperm(6), torch.randperm(30)
    place = order.argsort()
    other = Data(
        x=data.x[order],
        vec=data.vec[order],
        pos=data.pos[order] + torch.tensor([3.0, -1.0, 40.0]),
        edge_index=place[data.edge_index][:, edges],
        edge_scalars=data.edge_scalars[edges],
    )
    before, after = model(data), model(other)
    for name in before:
        torch.testing.assert_close(after[name], before[name][order], rtol=0, atol=1e-11)


@each_network
@pytest.mark.parametrize("level", ["node", "graph"])
def test_batching_changes_nothing(network: Maker, level: str) -> None:
    model = network(level=level)
    graphs = [cloud(6, seed=0), cloud(1, seed=1), cloud(4, seed=2)]
    together = model(Batch.from_data_list(graphs))
    for name, value in together.items():
        expected = torch.cat([model(each)[name] for each in graphs])
        torch.testing.assert_close(value, expected, rtol=0, atol=1e-12)


@each_class
def test_outputs_of_a_graph_are_sums_over_its_nodes(network: Maker) -> None:
    nodes, graph = network()(cloud()), network(level="graph")(cloud())
    for name, value in graph.items():
        torch.testing.assert_close(value, nodes[name].sum(0, keepdim=True))


@each_network
@pytest.mark.parametrize("options", [{}, {"cutoff": 3.0}], ids=str)
def test_bad_geometry_gives_finite_values_and_derivatives(
    network: Maker, options: dict[str, Any]
) -> None:
    """Two nodes in one place, a node without neighbors, a loop, a double edge, a vector of zero."""
    model, data = network(**options), cloud(5)
    data.pos[1] = data.pos[0]
    data.vec[2] = 0.0
    used = (data.edge_index < 4).all(0)
    extra = torch.tensor([[2, 2], [2, 3]])
    data.edge_index = torch.cat([data.edge_index[:, used], extra], dim=1)
    data.edge_scalars = data.edge_scalars[: data.edge_index.shape[1]]
    data.pos.requires_grad_()
    result = model(data)
    energy = sum(each.square().sum() for each in result.values())
    (force,) = torch.autograd.grad(energy, data.pos, create_graph=True)
    force.square().sum().backward()
    gradients = [each.grad for each in model.parameters()]
    assert all(each.isfinite().all() for each in (*result.values(), force, data.pos.grad))
    assert all(each is None or each.isfinite().all() for each in gradients)


@each_network
def test_no_edges_at_all(network: Maker) -> None:
    data = cloud(3)
    data.edge_index, data.edge_scalars = data.edge_index[:, :0], data.edge_scalars[:0]
    assert all(each.isfinite().all() for each in network()(data).values())


@each_network
def test_a_neighbor_leaves_smoothly_at_the_cutoff(network: Maker) -> None:
    model, data = network(cutoff=2.0, level="graph", in_edge_scalars=1), cloud(2)
    if isinstance(getattr(model, "space", None), Lifted):
        pytest.skip("a node without neighbors has no orientations, and its outputs jump")
    if model.moving:
        pytest.skip("layers that displace the nodes bring them back within the cutoff")
    direction = torch.nn.functional.normalize(torch.randn(3, dtype=torch.float64), dim=0)

    def scalars(distance: float) -> torch.Tensor:
        data.pos = torch.stack([torch.zeros(3).double(), distance * direction])
        return model(data)["scalars"]

    alone = scalars(2.5)
    near, nearer = ((scalars(2 - gap) - alone).abs().max().item() for gap in (1e-2, 1e-3))
    # The envelope has a triple zero.
    assert 0 < nearer < 2e-3 * near


@each_network
def test_a_loss_on_forces_reaches_every_parameter(network: Maker) -> None:
    model, data = network(level="graph", layers=3), cloud()
    data.pos.requires_grad_()
    energy = sum(each.sum() for each in model(data).values())
    (force,) = torch.autograd.grad(energy, data.pos, create_graph=True)
    (energy.square() + force.square().sum()).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


@each_network
def test_forces_are_minus_the_gradient(network: Maker) -> None:
    model, data = network(level="graph"), cloud()
    direction, step = torch.randn_like(data.pos), 1e-5
    energies = []
    for sign in (1, -1):
        shifted = copy.copy(data)
        shifted.pos = data.pos + sign * step * direction
        energies.append(model(shifted)["scalars"].sum().item())
    data.pos.requires_grad_()
    (gradient,) = torch.autograd.grad(model(data)["scalars"].sum(), data.pos)
    slope = (gradient * direction).sum().item()
    assert (energies[0] - energies[1]) / (2 * step) == pytest.approx(slope, rel=1e-6)
    assert gradient.sum(0).abs().max() < 1e-11


@each_network
def test_inputs_of_edges_matter(network: Maker) -> None:
    model, data = network(in_edge_scalars=2), cloud()
    data.edge_scalars = torch.randn(30, 2, dtype=torch.float64)
    before = model(data)["scalars"]
    data.edge_scalars = data.edge_scalars + torch.tensor([0.0, 1.0])
    assert (model(data)["scalars"] - before).abs().max() > 1e-3


@each_network
def test_float32_is_enough_far_from_the_origin(network: Maker) -> None:
    model, data = network(), cloud()
    expected = model(data)["scalars"]
    data.pos = data.pos + 1e4
    found = model.float()(data)["scalars"]
    assert found.dtype == torch.float32
    assert (found - expected).abs().max() < 1e-4 * expected.abs().max()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"channels": 0}, "channels must be at least 1, found 0"),
        ({"layers": 0}, "layers must be at least 1, found 0"),
        ({"in_vectors": -1}, "in_vectors must be at least 0, found -1"),
        ({"in_scalars": 0, "in_vectors": 0}, "in_scalars and in_vectors must not both be 0"),
        ({"out_scalars": 0, "out_vectors": 0}, "out_scalars and out_vectors must not both be 0"),
        ({"out_vectors": 0, "moving": True}, "an output vector to move by, found .*out_vectors=0"),
    ],
)
@each_class
def test_wrong_options_are_named(network: Maker, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        network(**options)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("x", torch.zeros(6, 3), r"x of the graph must have shape \[6, 2\], found \[6, 3\]"),
        ("vec", torch.zeros(6, 3), r"vec of the graph must have shape \[6, 1, 3\], found \[6, 3\]"),
        ("vec", None, r"the graph lacks vec; it must have shape \[6, 1, 3\]"),
        ("pos", torch.zeros(6, 2), r"pos of the graph must have shape \[6, 3\], found \[6, 2\]"),
    ],
)
@each_class
def test_wrong_fields_are_named(network: Maker, field: str, value: Any, message: str) -> None:
    data = cloud()
    data[field] = value
    with pytest.raises(ValueError, match=message):
        network()(data)
