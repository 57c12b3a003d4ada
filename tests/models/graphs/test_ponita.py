"""Ponita alone: symmetries of its modes, smoothness, calibration, saving, wrong options."""

import copy
import itertools
from typing import Any

import pytest
import torch
from graph_networks import MODES, chiral_tetrahedron, cloud, moved, ponita
from torch_geometric.data import Batch, Data

from equinet.models import Ponita
from equinet.o3 import orientation_grid

each_mode = pytest.mark.parametrize(
    "options", MODES, ids=lambda each: "-".join(str(value) for value in each.values())
)
each_kernel = pytest.mark.parametrize("kernel", ["mlp", "zonal", "full"])


def error(model: Ponita, data: Data, matrix: torch.Tensor) -> float:
    """Largest difference between moving before and after, relative to the largest output."""
    before, after = model(data), model(moved(data, matrix))
    expected = {"scalars": before["scalars"], "vectors": before["vectors"] @ matrix.T}
    errors = [
        (after[name] - expected[name]).abs().max() / expected[name].abs().max()
        for name in expected
        if expected[name].numel()
    ]
    return torch.stack(errors).max().item()


@pytest.mark.parametrize("moving", [False, True])
@each_kernel
@pytest.mark.parametrize("grid", ["octahedron6", "icosahedron12", "union32", "circle10", "circle5"])
def test_is_exact_under_every_symmetry_of_the_grid(grid: str, kernel: str, moving: bool) -> None:
    symmetry = orientation_grid(grid).symmetry
    dimension = symmetry.shape[-1]
    if dimension == 2:
        # A kernel of the plane knows left from right.
        symmetry = symmetry[torch.linalg.det(symmetry) > 0]
    model, data = ponita(grid=grid, kernel=kernel, moving=moving), cloud(dimension=dimension)
    assert max(error(model, data, matrix) for matrix in symmetry) < 1e-12


@each_kernel
def test_reflections_of_the_plane_are_told_apart(kernel: str) -> None:
    reflection = torch.diag(torch.tensor([1.0, -1.0], dtype=torch.float64))
    assert error(ponita(grid="circle10", kernel=kernel), cloud(dimension=2), reflection) > 1e-3


@each_kernel
@pytest.mark.parametrize("grid", ["icosahedron12", "fibonacci16"])
def test_a_grid_that_turns_with_the_data_is_exact(
    grid: str, kernel: str, random_rotation: torch.Tensor
) -> None:
    model, data = ponita(grid=grid, kernel=kernel), cloud()
    before = model(data)
    for name, buffer in model.named_buffers():
        if name.endswith(("points", "frame")):
            buffer.copy_(buffer @ random_rotation.T)
    after = model(moved(data, random_rotation))
    torch.testing.assert_close(after["scalars"], before["scalars"], rtol=0, atol=1e-12)
    expected = before["vectors"] @ random_rotation.T
    torch.testing.assert_close(after["vectors"], expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("kernel", "gain"), [("mlp", 30), ("zonal", 30), ("full", 5)])
def test_finer_grids_are_closer_to_equivariant(
    kernel: str, gain: float, random_rotation: torch.Tensor
) -> None:
    grids = ("octahedron6", "icosahedron12", "union32", "repulsion64")
    errors = [error(ponita(grid=grid, kernel=kernel), cloud(), random_rotation) for grid in grids]
    assert all(finer < coarser for coarser, finer in itertools.pairwise(errors))
    assert errors[-1] < errors[0] / gain


def test_full_kernels_see_how_orientations_lie_about_an_edge() -> None:
    """Separable ones see of the sender's orientation its angle with the receiver's alone."""
    data = cloud()
    model = ponita(kernel="full")
    basis = model.space.place(model._inputs(data)).geometry[0]
    points = orientation_grid("icosahedron12").points
    (alike,) = torch.isclose(points @ points[0], points[0] @ points[1]).nonzero(as_tuple=True)
    assert len(alike) == 5
    values = basis[:, 0, alike]
    assert (values.std(dim=1).amax(dim=-1) > 1e-3).all()


def test_zonal_kernels_are_closer_to_equivariant(random_rotation: torch.Tensor) -> None:
    data, spreads = Batch.from_data_list([cloud(seed=seed) for seed in range(4)]), []
    for kernel in ("mlp", "zonal"):
        model = ponita(kernel=kernel, channels=32)
        model.calibrate(data)
        before, after = (model(each)["scalars"] for each in (data, moved(data, random_rotation)))
        spreads.append((after - before).std() / before.std(0).mean())
    assert spreads[1] < spreads[0] / 5


@pytest.mark.parametrize("improper", [False, True])
@pytest.mark.parametrize("mode", ["lifted", "position"])
def test_other_modes_are_exact_under_all_rotations(
    mode: str, improper: bool, random_rotation: torch.Tensor
) -> None:
    rotation = -random_rotation if improper else random_rotation
    assert error(ponita(mode=mode), cloud(), rotation) < 1e-12


def test_chirality_costs_reflections_and_nothing_else(random_rotation: torch.Tensor) -> None:
    model, data = ponita(mode="lifted", chiral=True), cloud()
    assert error(model, data, random_rotation) < 1e-12
    assert error(model, data, -random_rotation) > 1e-3


@pytest.mark.parametrize(
    ("options", "distinguishes"),
    [*((options, False) for options in MODES), ({"mode": "lifted", "chiral": True}, True)],
)
def test_mirror_images_differ_only_with_complete_lifted_invariants(
    options: dict[str, Any], distinguishes: bool
) -> None:
    model, data = ponita(level="graph", **options), chiral_tetrahedron()
    mirror = moved(data, torch.diag(torch.tensor([1.0, 1.0, -1.0], dtype=torch.float64)))
    found = [model(each)["scalars"] for each in (data, mirror)]
    difference = (found[0] - found[1]).abs().max() / found[0].abs().max()
    assert difference > 1e-7 if distinguishes else difference < 1e-14


def test_nodes_move_by_what_has_been_read_out() -> None:
    """A network of two blocks by hand: its second block is one of the moved graph."""
    model, data = ponita(moving=True, kernel="zonal"), cloud()
    seen = []
    for block in model.blocks:
        block.register_forward_hook(lambda _, inputs, output: seen.append((*inputs, output)))
    vectors = model(data)["vectors"]
    (_, directions, _, _, first), (_, moved_directions, moved_basis, _, second) = seen
    frame = model.space.frame
    steps = [
        torch.einsum("nov,oi->nvi", readout(x)[..., model.out_scalars :], frame) / 2
        for readout, x in zip(model.readouts, (first, second), strict=True)
    ]
    torch.testing.assert_close(vectors, steps[0] + steps[1])
    assert (directions - moved_directions).abs().max() > 1e-2
    data.pos = data.pos + steps[0][:, 0]
    seen.clear()
    model(data)
    torch.testing.assert_close(seen[0][1], moved_directions)
    torch.testing.assert_close(seen[0][2], moved_basis)


def test_a_node_without_neighbors_has_no_lifted_orientations() -> None:
    data = cloud(5)
    data.edge_index = data.edge_index[:, (data.edge_index < 4).all(0)]
    assert (ponita(mode="lifted")(data)["scalars"][4] == 0).all()


@each_kernel
def test_forces_are_continuous_across_an_orientation(kernel: str) -> None:
    model = ponita(level="graph", grid="octahedron6", kernel=kernel)
    data = cloud(2)

    def slope(across: float) -> float:
        data.pos = torch.tensor([[0.0, 0, 0], [1.3, across, 0]], dtype=torch.float64)
        data.pos.requires_grad_()
        return torch.autograd.grad(model(data)["scalars"].sum(), data.pos)[0][1, 1].item()

    jump, change = (abs(slope(step) - slope(-step)) for step in (1e-6, 0.1))
    assert 0 < jump < 1e-3 * change


def test_with_the_distance_from_the_axis_forces_would_jump(monkeypatch: pytest.MonkeyPatch) -> None:
    from equinet.models.graphs import ponita_spaces
    from equinet.nn import axial_invariants

    def with_a_kink(vectors: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
        along, square = axial_invariants(vectors, points).unbind(-1)
        return torch.stack([along, square.clamp(min=1e-300).sqrt()], dim=-1)

    monkeypatch.setattr(ponita_spaces, "axial_invariants", with_a_kink)
    with pytest.raises(AssertionError):
        test_forces_are_continuous_across_an_orientation("mlp")


@each_mode
def test_calibration_keeps_the_size_of_features(options: dict[str, Any]) -> None:
    model, data = ponita(**options), Batch.from_data_list([cloud(seed=i) for i in range(4)])
    model.calibrate(data)
    sizes = []
    for block in model.blocks:
        torch.nn.init.zeros_(block.convolution.bias)
        block.convolution.register_forward_hook(
            lambda _, inputs, output: sizes.append((inputs[0].std() / output.std()).item())
        )
    model(data)
    assert sizes[0] == pytest.approx(1, abs=1e-3)
    once = copy.deepcopy(model.state_dict())
    model.calibrate(data)
    first = [name for name in once if name.startswith("blocks.0")]
    for name in first:
        torch.testing.assert_close(model.state_dict()[name], once[name], rtol=1e-12, atol=1e-12)


def test_calibration_depends_on_the_batch_alone() -> None:
    first, second, data = ponita(), ponita(), cloud()
    first.calibrate(data)
    torch.manual_seed(5)
    second.calibrate(data)
    for name, value in first.state_dict().items():
        assert torch.equal(value, second.state_dict()[name]), name


def test_calibration_of_constant_features_is_refused() -> None:
    data = cloud()
    data.x, data.vec = torch.zeros_like(data.x), torch.zeros_like(data.vec)
    with pytest.raises(ValueError, match="calibrate needs features that vary"):
        ponita().calibrate(data)


def test_a_checkpoint_carries_its_grid() -> None:
    model, data = ponita(grid="repulsion7", kernel="zonal"), cloud()
    twin = Ponita(**model.arguments).double()
    for name, buffer in twin.named_buffers():
        if name.endswith("points"):
            buffer.zero_()
    twin.load_state_dict(model.state_dict())
    assert torch.equal(twin(data)["scalars"], model(data)["scalars"])
    # As many orientations, but opposite two by two: these cannot be loaded by mistake.
    with pytest.raises(RuntimeError, match="size mismatch"):
        ponita(grid="fibonacci12").load_state_dict(ponita(grid="icosahedron12").state_dict())


def test_more_nodes_than_a_byte_can_count_and_short_indices() -> None:
    data = cloud(140)
    data.edge_index = data.edge_index[:, ::40]
    model = ponita(kernel="zonal")
    expected = model(data)["scalars"]
    data.edge_index = data.edge_index.int()
    torch.testing.assert_close(model(data)["scalars"], expected)
    assert (expected[139] - ponita(kernel="zonal")(cloud(140))["scalars"][139]).abs().max() > 1e-6


def test_seeded_networks_are_alike() -> None:
    first, second = ponita(), ponita()
    for name, value in first.state_dict().items():
        assert torch.equal(value, second.state_dict()[name]), name


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"grid": "icosa12"}, "no orientation grid 'icosa12'; the nearest names are icosahedron12"),
        ({"lmax": -1}, "lmax must be at least 0, found -1"),
        ({"cutoff": 0.0}, "cutoff must be above 0, or None"),
        ({"mode": "lifted", "kernel": "zonal"}, "kernel='zonal' needs mode='bundle'"),
        ({"mode": "lifted", "moving": True}, "moving=True needs mode='bundle' and an output"),
        ({"chiral": True}, "chiral=True needs mode='lifted', found mode='bundle'"),
        ({"mode": "position", "in_vectors": 1}, "mode='position' has no vectors"),
    ],
)
def test_wrong_options_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ponita(**options)
