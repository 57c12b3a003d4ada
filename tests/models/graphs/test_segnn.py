"""SEGNN as a whole: symmetries, smoothness, derivatives, calibration, saving, bad input."""

import copy
from typing import Any

import pytest
import torch
from torch_geometric.data import Batch, Data

from equinet import zoo
from equinet.models import SEGNN

PRODUCTS = ["cg", "gaunt", "gaunt+odd"]
SIZES = [
    {},
    {"lmax": 2, "lmax_attributes": 2},
    {"lmax": 2, "lmax_attributes": 1, "moving": True},
    {"lmax": 1, "lmax_attributes": 2, "cutoff": 3.0},
]
each_product = pytest.mark.parametrize("product", PRODUCTS)
each_size = pytest.mark.parametrize("size", SIZES, ids=str)


def network(**options: Any) -> SEGNN:
    """Make a network whose parameters are all away from where they start."""
    torch.manual_seed(1)
    arguments = {
        "in_scalars": 2,
        "in_vectors": 2,
        "in_edge_scalars": 1,
        "out_scalars": 3,
        "out_vectors": 2,
        "channels": 4,
        "layers": 2,
    }
    model = SEGNN(**arguments | options).double()
    for name, parameter in model.named_parameters():
        if parameter.numel() and ("bias" in name or "coupling" in name or "steering" in name):
            torch.nn.init.normal_(parameter)
    return model


def all_pairs(nodes: int) -> torch.Tensor:
    return (1 - torch.eye(nodes)).nonzero().T.flip(0)


def cloud(nodes: int = 6, seed: int = 0) -> Data:
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, dtype=torch.float64, generator=generator)

    edge_index = all_pairs(nodes)
    return Data(
        x=draw(nodes, 2),
        vec=draw(nodes, 2, 3),
        pos=draw(nodes, 3),
        edge_index=edge_index,
        edge_scalars=draw(edge_index.shape[1], 1),
    )


def moved(data: Data, matrix: torch.Tensor) -> Data:
    result = copy.copy(data)
    result.pos, result.vec = data.pos @ matrix.T, data.vec @ matrix.T
    return result


@pytest.mark.parametrize("improper", [False, True])
@pytest.mark.parametrize("level", ["node", "graph"])
@each_size
@each_product
def test_is_exact_under_rotations_and_reflections(
    product: str, size: dict[str, Any], level: str, improper: bool, random_rotation: torch.Tensor
) -> None:
    model, data = network(product=product, level=level, **size), cloud()
    matrix = -random_rotation if improper else random_rotation
    before, after = model(data), model(moved(data, matrix))
    scales = {name: value.abs().max() for name, value in before.items()}
    assert all(scale > 1e-3 for scale in scales.values())
    before["vectors"] = before["vectors"] @ matrix.T
    for name, value in before.items():
        assert (after[name] - value).abs().max() < 1e-10 * scales[name], name


@each_size
@each_product
def test_translation_and_order_do_not_matter(product: str, size: dict[str, Any]) -> None:
    model, data = network(product=product, **size), cloud()
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


@pytest.mark.parametrize("level", ["node", "graph"])
@each_product
def test_batching_changes_nothing(product: str, level: str) -> None:
    model = network(product=product, level=level)
    graphs = [cloud(6, seed=0), cloud(1, seed=1), cloud(4, seed=2)]
    together = model(Batch.from_data_list(graphs))
    for name, value in together.items():
        expected = torch.cat([model(each)[name] for each in graphs])
        torch.testing.assert_close(value, expected, rtol=0, atol=1e-12)


def test_outputs_of_a_graph_are_sums_over_its_nodes() -> None:
    nodes, graph = network()(cloud()), network(level="graph")(cloud())
    for name, value in graph.items():
        torch.testing.assert_close(value, nodes[name].sum(0, keepdim=True))


@each_product
def test_mirror_images_have_the_same_scalars(product: str) -> None:
    """The four neighbors of the center differ, as those of the carbon of an enantiomer."""
    corners = torch.tensor([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]], dtype=torch.float64)
    data = Data(
        x=torch.stack([torch.arange(5.0), torch.ones(5)], dim=1).double(),
        pos=torch.cat([torch.zeros(1, 3, dtype=torch.float64), corners]),
        edge_index=all_pairs(5),
    )
    model = network(product=product, in_vectors=0, in_edge_scalars=0, level="graph", layers=3)
    mirror = copy.copy(data)
    mirror.pos = data.pos * torch.tensor([1.0, 1.0, -1.0])
    torch.testing.assert_close(model(mirror)["scalars"], model(data)["scalars"])


@pytest.mark.parametrize(("product", "sees"), [("cg", True), ("gaunt", False), ("gaunt+odd", True)])
def test_pseudovectors_exist_where_there_are_odd_paths(product: str, sees: bool) -> None:
    """The pseudo half is that of cross products, which no product of natural parity has."""
    model, data = network(product=product), cloud()
    seen = []
    model.layers[-1].register_forward_hook(lambda _, __, output: seen.append(output))
    model(data)
    assert seen[0].shape[-1] == 4 * (1 + sees)
    if sees:
        assert seen[0][:, 1:4, 4:].abs().max() > 1e-3


@each_size
@each_product
def test_a_loss_on_forces_reaches_every_parameter(product: str, size: dict[str, Any]) -> None:
    model, data = network(product=product, level="graph", layers=3, **size), cloud()
    data.pos.requires_grad_()
    energy = sum(each.sum() for each in model(data).values())
    (force,) = torch.autograd.grad(energy, data.pos, create_graph=True)
    (energy.square() + force.square().sum()).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


@each_size
@each_product
def test_forces_are_minus_the_gradient(product: str, size: dict[str, Any]) -> None:
    model, data = network(product=product, level="graph", **size), cloud()
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


@each_size
@each_product
def test_bad_geometry_gives_finite_values_and_derivatives(
    product: str, size: dict[str, Any]
) -> None:
    """Two nodes in one place, a node without neighbors, a loop, a double edge, a vector of zero."""
    model, data = network(product=product, **size), cloud(5)
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


@each_product
def test_no_edges_at_all(product: str) -> None:
    data = cloud(3)
    data.edge_index, data.edge_scalars = data.edge_index[:, :0], data.edge_scalars[:0]
    result = network(product=product)(data)
    assert all(each.isfinite().all() for each in result.values())


@each_product
def test_a_neighbor_leaves_smoothly_at_the_cutoff(product: str) -> None:
    model, data = network(product=product, cutoff=2.0, level="graph"), cloud(2)
    direction = torch.nn.functional.normalize(torch.randn(3, dtype=torch.float64), dim=0)

    def scalars(distance: float) -> torch.Tensor:
        data.pos = torch.stack([torch.zeros(3).double(), distance * direction])
        return model(data)["scalars"]

    alone = scalars(2.5)
    near, nearer = ((scalars(2 - gap) - alone).abs().max().item() for gap in (1e-2, 1e-3))
    # The envelope has a triple zero.
    assert 0 < nearer < 2e-3 * near


def test_nodes_move_by_what_has_been_read_out() -> None:
    """The second layer of a network of two sees the edges of the moved graph."""
    model, data = network(moving=True), cloud()
    seen = []
    for layer in model.layers:
        layer.register_forward_hook(lambda _, inputs, output: seen.append((*inputs, output)))
    vectors = model(data)["vectors"]
    (_, _, before, _, first), (_, _, after, _, second) = seen
    steps = [readout(x)[1] / 2 for readout, x in zip(model.readouts, (first, second), strict=True)]
    torch.testing.assert_close(vectors, steps[0] + steps[1])
    assert (before.edges - after.edges).abs().max() > 1e-2
    data.pos = data.pos + steps[0][:, 0]
    seen.clear()
    model(data)
    for name in ("edges", "nodes", "functions"):
        torch.testing.assert_close(getattr(seen[0][2], name), getattr(after, name))


def test_attributes_of_nodes_are_means_over_edges_plus_weighted_vectors() -> None:
    model, data = network(lmax_attributes=1), cloud(3)
    seen = []
    model.layers[0].register_forward_hook(lambda _, inputs, __: seen.append(inputs[2]))
    model(data)
    sender, receiver = data.edge_index
    units = torch.nn.functional.normalize(data.pos[sender] - data.pos[receiver], dim=-1)
    means = torch.stack([units[receiver == node].mean(0) for node in range(3)])
    vectors = torch.nn.functional.normalize(data.vec, dim=-1)
    expected = means + (model.steering * vectors).sum(1)
    torch.testing.assert_close(seen[0].nodes[:, 1:], 3**0.5 * expected)
    torch.testing.assert_close(seen[0].nodes[:, 0], torch.ones(3, dtype=torch.float64))


def test_inputs_of_edges_matter() -> None:
    model, data = network(in_edge_scalars=2), cloud()
    data.edge_scalars = torch.randn(30, 2, dtype=torch.float64)
    before = model(data)["scalars"]
    data.edge_scalars = data.edge_scalars + torch.tensor([0.0, 1.0])
    assert (model(data)["scalars"] - before).abs().max() > 1e-3


@pytest.mark.parametrize("without", ["in_scalars", "in_vectors", "out_scalars", "out_vectors"])
def test_any_kind_of_input_and_output_may_be_absent(without: str) -> None:
    result = network(**{without: 0})(cloud())
    assert all(each.isfinite().all() for each in result.values())
    absent = {"out_scalars": "scalars", "out_vectors": "vectors"}.get(without)
    assert [name for name, each in result.items() if each.shape[1] == 0] == [absent] * bool(absent)


def test_calibration_sets_the_mean_number_of_neighbors() -> None:
    model = network()
    model.calibrate(Batch.from_data_list([cloud(6), cloud(2)]))
    assert model.average_neighbors.item() == (30 + 2) / 8
    alone = cloud(1)
    model.calibrate(alone)
    assert model.average_neighbors.item() == 1


@each_product
def test_a_saved_network_is_loaded_as_it_was(product: str, tmp_path) -> None:
    model, data = network(product=product, layers=1), cloud()
    model.calibrate(data)
    zoo.save(model, tmp_path, {})
    loaded = zoo.load(tmp_path)
    assert isinstance(loaded, SEGNN)
    assert loaded.arguments["product"] == product
    for name, value in model(data).items():
        assert torch.equal(loaded(data)[name], value), name


@each_product
def test_float32_is_enough_far_from_the_origin(product: str) -> None:
    model, data = network(product=product), cloud()
    expected = model(data)["scalars"]
    data.pos = data.pos + 1e4
    found = model.float()(data)["scalars"]
    assert found.dtype == torch.float32
    assert (found - expected).abs().max() < 1e-4 * expected.abs().max()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"product": "gunt"}, "did you mean 'gaunt'"),
        ({"channels": 0}, "channels must be at least 1, found 0"),
        ({"lmax": 0}, "lmax must be at least 1, found 0"),
        ({"lmax_attributes": 0}, "lmax_attributes must be at least 1, found 0"),
        ({"in_scalars": 0, "in_vectors": 0}, "in_scalars and in_vectors must not both be 0"),
        ({"out_scalars": 0, "out_vectors": 0}, "out_scalars and out_vectors must not both be 0"),
        ({"cutoff": 0.0}, "cutoff must be a finite number above 0, found 0.0"),
        ({"out_vectors": 0, "moving": True}, "an output vector to move by, found out_vectors=0"),
    ],
)
def test_wrong_options_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        network(**options)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("x", torch.zeros(6, 3), r"x of the graph must have shape \[6, 2\], found \[6, 3\]"),
        ("vec", None, r"the graph lacks vec; it must have shape \[6, 2, 3\]"),
        ("pos", torch.zeros(6, 2), r"pos of the graph must have shape \[6, 3\], found \[6, 2\]"),
    ],
)
def test_wrong_fields_are_named(field: str, value: Any, message: str) -> None:
    data = cloud()
    setattr(data, field, value)
    with pytest.raises(ValueError, match=message):
        network()(data)
