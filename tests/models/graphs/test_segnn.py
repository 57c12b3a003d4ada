"""SEGNN alone: symmetries of its products, attributes, calibration, saving, wrong options."""

from typing import Any

import pytest
import torch
from graph_networks import PRODUCTS, SIZES, chiral_tetrahedron, cloud, moved, segnn
from torch_geometric.data import Batch

from equinet import zoo
from equinet.models import SEGNN

each_product = pytest.mark.parametrize("product", PRODUCTS)
each_size = pytest.mark.parametrize("size", SIZES, ids=str)


@pytest.mark.parametrize("improper", [False, True])
@pytest.mark.parametrize("level", ["node", "graph"])
@each_size
@each_product
def test_is_exact_under_rotations_and_reflections(
    product: str, size: dict[str, Any], level: str, improper: bool, random_rotation: torch.Tensor
) -> None:
    model = segnn(product=product, level=level, in_vectors=2, **size)
    data = cloud(vectors=2)
    matrix = -random_rotation if improper else random_rotation
    before, after = model(data), model(moved(data, matrix))
    scales = {name: value.abs().max() for name, value in before.items()}
    assert all(scale > 1e-3 for scale in scales.values())
    before["vectors"] = before["vectors"] @ matrix.T
    for name, value in before.items():
        assert (after[name] - value).abs().max() < 1e-10 * scales[name], name


@each_product
def test_mirror_images_have_the_same_scalars(product: str) -> None:
    data = chiral_tetrahedron()
    model = segnn(product=product, in_vectors=0, in_edge_scalars=0, level="graph", layers=3)
    mirror = moved(data, torch.diag(torch.tensor([1.0, 1.0, -1.0], dtype=torch.float64)))
    torch.testing.assert_close(model(mirror)["scalars"], model(data)["scalars"])


@pytest.mark.parametrize(("product", "sees"), [("cg", True), ("gaunt", False), ("gaunt+odd", True)])
def test_pseudovectors_exist_where_there_are_odd_paths(product: str, sees: bool) -> None:
    """The pseudo half is that of cross products, which no product of natural parity has."""
    model, data = segnn(product=product), cloud()
    seen = []
    model.layers[-1].register_forward_hook(lambda _, __, output: seen.append(output))
    model(data)
    assert seen[0].shape[-1] == 4 * (1 + sees)
    if sees:
        assert seen[0][:, 1:4, 4:].abs().max() > 1e-3


def test_nodes_move_by_what_has_been_read_out() -> None:
    """The second layer of a network of two sees the edges of the moved graph."""
    model, data = segnn(moving=True), cloud()
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
    model, data = segnn(in_vectors=2, lmax_attributes=1), cloud(3, vectors=2)
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


@pytest.mark.parametrize("without", ["in_scalars", "in_vectors", "out_scalars", "out_vectors"])
def test_any_kind_of_input_and_output_may_be_absent(without: str) -> None:
    result = segnn(**{without: 0})(cloud())
    assert all(each.isfinite().all() for each in result.values())
    absent = {"out_scalars": "scalars", "out_vectors": "vectors"}.get(without)
    assert [name for name, each in result.items() if each.shape[1] == 0] == [absent] * bool(absent)


def test_calibration_sets_the_mean_number_of_neighbors() -> None:
    model = segnn()
    model.calibrate(Batch.from_data_list([cloud(6), cloud(2)]))
    assert model.average_neighbors.item() == (30 + 2) / 8
    alone = cloud(1)
    model.calibrate(alone)
    assert model.average_neighbors.item() == 1


@each_product
def test_a_saved_network_is_loaded_as_it_was(product: str, tmp_path) -> None:
    model, data = segnn(product=product, layers=1), cloud()
    model.calibrate(data)
    zoo.save(model, tmp_path, {})
    loaded = zoo.load(tmp_path)
    assert isinstance(loaded, SEGNN)
    assert loaded.arguments["product"] == product
    for name, value in model(data).items():
        assert torch.equal(loaded(data)[name], value), name


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"product": "gunt"}, "did you mean 'gaunt'"),
        ({"lmax": 0}, "lmax must be at least 1, found 0"),
        ({"lmax_attributes": 0}, "lmax_attributes must be at least 1, found 0"),
        ({"cutoff": 0.0}, "cutoff must be a finite number above 0, found 0.0"),
    ],
)
def test_wrong_options_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        segnn(**options)
