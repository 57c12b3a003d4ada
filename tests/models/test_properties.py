"""Properties of molecules: pooling, units, equivariance in every mode, saving, and bad input."""

import pytest
import torch
from torch_geometric.data import Batch, Data

from equinet import zoo
from equinet.errors import ConfigError, DataError
from equinet.lie import random_rotations
from equinet.models import MACEGaunt, Model, Ponita, PropertyModel

ELEMENTS = (1, 6, 8)
POOLINGS = ("sum", "mean", "extent", "norm", "vector", "tensor", "atoms")


def described(*poolings: str) -> list[dict]:
    return [
        {
            "name": pooling,
            "unit": "eV",
            "pooling": pooling,
            "references": [0.5, -1.0, 2.0] if pooling not in {"norm", "vector"} else [0.0] * 3,
            "scale": 1.5,
        }
        for pooling in poolings
    ]


def network(poolings: tuple[str, ...], **options) -> Ponita:
    outputs = {"tensor": (3, 2), "vector": (1, 1), "norm": (1, 1)}
    scalars, vectors = map(sum, zip(*(outputs.get(each, (1, 0)) for each in poolings), strict=True))
    torch.manual_seed(0)
    chosen = {"out_vectors": vectors, "channels": 8, "layers": 2, **options}
    return Ponita(in_scalars=3, out_scalars=scalars, **chosen)


def whole(*poolings: str, **options) -> PropertyModel:
    chosen = poolings or POOLINGS
    made = network(chosen, **options)
    return PropertyModel.of(made, elements=ELEMENTS, properties=described(*chosen)).double()


def batch(seed: int = 0) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    graphs = []
    for atoms in (3, 5):
        pairs = [(i, j) for j in range(atoms) for i in range(atoms) if i != j]
        kinds = torch.randint(0, 3, (atoms,), generator=generator)
        graphs.append(
            Data(
                atomic_numbers=torch.tensor(ELEMENTS)[kinds],
                pos=1.5 * torch.randn(atoms, 3, generator=generator, dtype=torch.float64),
                edge_index=torch.tensor(pairs).T,
            )
        )
    return Batch.from_data_list(graphs)


def moved(graph: Batch, rotation: torch.Tensor) -> Batch:
    result = graph.clone()
    result.pos = graph.pos @ rotation.T + torch.tensor([3.0, -2.0, 1.0])
    return result


def rotated(found: dict[str, torch.Tensor], rotation: torch.Tensor) -> dict[str, torch.Tensor]:
    expected = dict(found)
    if "vector" in found:
        expected["vector"] = found["vector"] @ rotation.T
    if "tensor" in found:
        expected["tensor"] = rotation @ found["tensor"] @ rotation.T
    return expected


def change(model: PropertyModel, rotation: torch.Tensor) -> dict[str, float]:
    """Largest deviation of every property under a rotation, relative to its size."""
    with torch.no_grad():
        graph = batch()
        expected = rotated(model(graph), rotation)
        found = model(moved(graph, rotation))
    return {
        name: float((found[name] - value).abs().max() / value.abs().max())
        for name, value in expected.items()
    }


def test_shapes_are_those_of_the_properties():
    found = whole()(batch())
    shapes = {name: list(value.shape) for name, value in found.items()}
    scalars = {name: [2] for name in ("sum", "mean", "extent", "norm")}
    assert shapes == {**scalars, "vector": [2, 3], "tensor": [2, 3, 3], "atoms": [8]}
    assert all(value.dtype == torch.float64 for value in found.values())
    torch.testing.assert_close(found["tensor"], found["tensor"].mT)


def test_values_follow_from_those_of_the_atoms():
    """With a network of zeros the references are pooled as their names say."""
    model = whole()
    for parameter in model.network.parameters():
        torch.nn.init.zeros_(parameter)
    graph = batch()
    found = {name: value.detach() for name, value in model(graph).items()}
    references = torch.tensor([0.5, -1.0, 2.0], dtype=torch.float64)
    for number in range(2):
        own = graph.batch == number
        values = references[torch.searchsorted(torch.tensor(ELEMENTS), graph.atomic_numbers[own])]
        charges, places = graph.atomic_numbers[own].double()[:, None], graph.pos[own]
        squares = (places - (charges * places).sum(0) / charges.sum()).square().sum(1)
        torch.testing.assert_close(found["sum"][number], values.sum())
        torch.testing.assert_close(found["mean"][number], values.mean())
        torch.testing.assert_close(found["extent"][number], (values * squares).sum())
        torch.testing.assert_close(found["tensor"][number], values.sum() * torch.eye(3).double())
        torch.testing.assert_close(found["atoms"][own], values)
        assert float(found["norm"][number]) < 1e-5


@pytest.mark.parametrize("seed", range(3))
def test_lifted_mode_is_equivariant_under_all_rotations(seed):
    (rotation,) = random_rotations(1, 3, generator=torch.Generator().manual_seed(seed)).double()
    for name, deviation in change(whole(mode="lifted"), rotation).items():
        assert deviation < 1e-10, name
        assert change(whole(mode="lifted").float(), rotation.float().double())[name] < 1e-4


def test_position_mode_is_equivariant_without_vectors():
    (rotation,) = random_rotations(1, 3, generator=torch.Generator().manual_seed(0)).double()
    model = whole(mode="position", out_vectors=0)
    for name, deviation in change(model, rotation).items():
        assert deviation < 1e-10, name


def test_grids_are_equivariant_under_their_own_symmetries_and_nearly_under_others():
    model = whole(mode="bundle", kernel="zonal")
    symmetry = model.network.space.grid.symmetry.double()
    assert max(change(model, symmetry[7]).values()) < 1e-6
    (rotation,) = random_rotations(1, 3, generator=torch.Generator().manual_seed(0)).double()
    deviations = change(model, rotation)
    assert 1e-6 < max(deviations.values()) < 0.3


def test_vectors_of_the_network_reach_dipoles_and_tensors():
    model = whole("vector", "tensor", mode="lifted")
    sum(value.square().sum() for value in model(batch()).values()).backward()
    head = model.network.readouts[-1].weight.grad
    assert (head.abs().sum(1) > 0).all()


def test_a_single_graph_is_a_batch_of_one():
    model, graphs = whole(mode="lifted"), batch()
    together = model(graphs)
    alone = [model(graph) for graph in graphs.to_data_list()]
    for name, value in together.items():
        torch.testing.assert_close(torch.cat([each[name] for each in alone]), value)


def test_an_isolated_length_of_zero_has_a_gradient():
    model = whole("norm", mode="lifted")
    atom = Data(
        atomic_numbers=torch.tensor([6]),
        pos=torch.zeros(1, 3, dtype=torch.float64, requires_grad=True),
        edge_index=torch.empty(2, 0, dtype=torch.long),
    )
    model(atom)["norm"].sum().backward()
    assert torch.isfinite(atom.pos.grad).all()


def test_a_potential_predicts_one_scalar():
    potential = MACEGaunt(
        elements=ELEMENTS,
        cutoff=4.0,
        reference_energies=[0.0] * 3,
        average_neighbors=3.0,
        channels=4,
        lmax_filter=1,
        lmax_hidden=1,
    )
    model = PropertyModel.of(potential, elements=ELEMENTS, properties=described("mean")).double()
    (rotation,) = random_rotations(1, 3, generator=torch.Generator().manual_seed(0)).double()
    assert change(model, rotation)["mean"] < 1e-10
    with pytest.raises(ConfigError, match="returns 1 scalars an atom, and mean, sum need 2; take"):
        PropertyModel.of(potential, elements=ELEMENTS, properties=described("mean", "sum"))


def test_a_saved_model_says_the_same(tmp_path):
    model = whole()
    zoo.save(model, tmp_path, {})
    loaded = zoo.load(tmp_path)
    assert isinstance(loaded, PropertyModel)
    assert loaded.units == model.units
    for name, value in loaded(batch()).items():
        torch.testing.assert_close(value, model(batch())[name])


def test_making_a_model_draws_no_random_numbers():
    made = network(("sum",))
    torch.manual_seed(1)
    expected = torch.rand(1)
    torch.manual_seed(1)
    PropertyModel.of(made, elements=ELEMENTS, properties=described("sum"))
    assert torch.rand(1) == expected


def test_unknown_elements_are_refused():
    graph = batch()
    graph.atomic_numbers[2] = 16
    with pytest.raises(DataError, match="not trained for S; it knows H, C, O"):
        whole()(graph)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"properties": []}, "properties must not be empty"),
        ({"properties": [{"name": "a"}]}, "properties must have name, unit, references"),
        ({"properties": [{**described("sum")[0], "pooling": "product"}]}, "a pooling among sum"),
        ({"elements": [1, 6]}, "one value for each of 2 elements"),
        ({"network": {"class": "Ponitta", "arguments": {}}}, "network must have a known class"),
        ({"properties": described("sum", "mean")}, "Ponita returns 1 scalars an atom, and sum, me"),
        ({"elements": [1, 6, 6]}, "elements must name each element once, found 6 twice"),
    ],
)
def test_incomplete_descriptions_are_refused(change, message):
    one: Model = network(("sum",))
    arguments = {
        "network": {"class": "Ponita", "arguments": one.arguments},
        "elements": list(ELEMENTS),
        "properties": described("sum"),
        **change,
    }
    with pytest.raises(ValueError, match=message):
        PropertyModel(**arguments)
