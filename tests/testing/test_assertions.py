import pytest
import torch
from torch import nn
from torch_geometric.data import Batch, Data

from equinet.o3 import bracket_tensor, gaunt_tensor, spherical_harmonics
from equinet.testing import (
    FINITE_DIFFERENCE,
    NETWORK,
    OPERATION,
    assert_conservative,
    assert_equivariant,
    assert_matches_reference,
    coefficients,
    evaluate,
    geometry,
    invariant,
    matrix,
    pseudo_coefficients,
    pseudovector,
    random_coefficients,
    random_rotations,
    vector,
)


def couple(tensor):
    return lambda x, y: torch.einsum("ijk,...ic,...jc->...kc", tensor.to(x), x, y)


@pytest.mark.parametrize("improper", [False, True])
def test_random_rotations(improper):
    rotations = random_rotations(200, improper=improper)
    identity = torch.eye(3, dtype=torch.float64)
    torch.testing.assert_close(rotations @ rotations.mT, identity.expand_as(rotations))
    sign = torch.full((200,), -1.0 if improper else 1.0, dtype=torch.float64)
    torch.testing.assert_close(rotations.det(), sign)
    # Uniform: the mean is zero, with a standard error of 1/sqrt(600).
    assert rotations.mean(0).abs().max() < 5 / 600**0.5
    assert random_rotations(0, dtype=torch.float32).shape == (0, 3, 3)


def test_generators_reproduce():
    def draw(dtype):
        generator = torch.Generator().manual_seed(3)
        return (
            random_rotations(2, dtype=dtype, generator=generator),
            random_coefficients(4, lmax=2, channels=3, dtype=dtype, generator=generator),
        )

    for double, single in zip(draw(torch.float64), draw(torch.float32), strict=True):
        assert single.dtype == torch.float32
        assert torch.equal(double.float(), single)


def test_evaluate():
    x = random_coefficients(4, lmax=3, channels=2)
    points = torch.randn(5, 3, dtype=torch.float64)
    expected = torch.einsum("bic,pi->bpc", x, spherical_harmonics(3, points))
    torch.testing.assert_close(evaluate(x, points), expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_equivariant_operations_pass(dtype):
    x = random_coefficients(6, lmax=3, channels=2, dtype=dtype)
    y = random_coefficients(6, lmax=2, channels=2, dtype=dtype)
    v = torch.randn(6, 3, dtype=dtype)
    gaunt, bracket = couple(gaunt_tensor(3, 2, 4)), couple(bracket_tensor(3, 2, 4))
    assert_equivariant(gaunt, (x, y), (coefficients, coefficients), coefficients)
    assert_equivariant(bracket, (x, y), (coefficients, coefficients), pseudo_coefficients)
    assert_equivariant(bracket, (x, y), (coefficients, pseudo_coefficients), coefficients)
    assert_equivariant(
        lambda x, scale: (torch.outer(x[0], x[0]) * scale, torch.linalg.cross(x[0], x[1])),
        (v, 2.0),
        (vector, invariant),
        (matrix, pseudovector),
    )


def test_equivariance_of_a_graph():
    graph = Data(pos=torch.randn(4, 3).double(), cell=torch.randn(1, 3, 3).double())

    def model(graph):
        volume = torch.linalg.det(graph.cell).abs()
        return {"energy": volume * graph.pos.square().sum(), "forces": graph.pos, "other": 1}

    out = {"energy": invariant, "forces": vector}
    assert_equivariant(model, (graph,), (geometry,), out)
    assert graph.pos.shape == (4, 3)
    with pytest.raises(AssertionError, match="forces under a rotation: relative error"):
        assert_equivariant(model, (graph,), (geometry,), {**out, "forces": invariant})


def test_broken_equivariance_is_found():
    x = random_coefficients(2, lmax=2)
    with pytest.raises(AssertionError, match=r"output under a rotation: relative error .* exceeds"):
        assert_equivariant(torch.relu, (x,), (coefficients,), coefficients)
    # Right for rotations, wrong for reflections.
    bracket, actions = couple(bracket_tensor(2, 2, 2)), (coefficients, coefficients)
    assert_equivariant(bracket, (x, x.flip(0)), actions, coefficients, improper=False)
    with pytest.raises(AssertionError, match="output under an improper rotation"):
        assert_equivariant(bracket, (x, x.flip(0)), actions, coefficients)


def test_not_a_number_is_an_error():
    with pytest.raises(AssertionError, match="relative error nan"):
        assert_equivariant(lambda v: v * float("nan"), (torch.ones(3),), (vector,), vector)


class Pairs(nn.Module):
    """Springs between all atoms; the forces may be spoiled."""

    def __init__(self, spoil=None):
        super().__init__()
        self.stiffness = nn.Parameter(torch.tensor(1.5))
        self.spoil = spoil

    def forward(self, graph):
        pos = graph.pos.to(self.stiffness.dtype).detach().requires_grad_()
        sender, receiver = graph.edge_index
        lengths = (pos[sender] - pos[receiver]).norm(dim=-1)
        energy = pos.new_zeros(int(graph.batch.max()) + 1).index_add(
            0, graph.batch[receiver], self.stiffness * (lengths - 1).pow(2) * (-lengths).exp()
        )
        forces = -torch.autograd.grad(energy.sum(), pos)[0]
        if self.spoil is not None:
            forces = self.spoil(forces)
        return {"energy": energy.double() - 17660, "forces": forces}


def structures():
    graphs = []
    for atoms in (3, 4):
        edge_index = torch.combinations(torch.arange(atoms)).T
        pos = torch.randn(atoms, 3, dtype=torch.float64)
        graphs.append(Data(pos=pos, edge_index=edge_index))
    return Batch.from_data_list(graphs)


def test_conservative_model_passes():
    model, graph = Pairs(), structures()
    before = graph.pos.clone()
    assert_conservative(model, graph, components=21)
    assert model.stiffness.dtype == torch.float32
    assert model.training
    assert torch.equal(graph.pos, before)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda forces: forces * 1.0001, "forces against energy differences"),
        (lambda forces: -forces, "forces against energy differences"),
        (lambda forces: forces + 1e-3, "net force"),
        (lambda forces: forces * float("nan"), "net force"),
        (lambda forces: forces[:-1], r"forces: shape \[6, 3\] where \[7, 3\]"),
    ],
)
def test_broken_forces_are_found(spoil, message):
    with pytest.raises(AssertionError, match=message):
        assert_conservative(Pairs(spoil), structures())


def test_net_force_is_summed_in_each_structure():
    """Forces that cancel only between two structures are no conservative forces."""

    def spoil(forces):
        return torch.cat([forces[:3] + 1 / 3, forces[3:] - 1 / 4])

    with pytest.raises(AssertionError, match="net force"):
        assert_conservative(Pairs(spoil), structures())


def test_matching_operations_pass():
    def fast(x, y, lmax_out):
        return couple(gaunt_tensor(2, 1, lmax_out))(x, y)

    def slow(x, y, lmax_out):
        return torch.stack(
            [
                sum(
                    g * x[..., i, :] * y[..., j, :]
                    for (i, j), g in zip(block.nonzero().tolist(), block[block != 0], strict=True)
                )
                for block in gaunt_tensor(2, 1, lmax_out).permute(2, 0, 1)
            ],
            dim=-2,
        )

    for dtype in (torch.float32, torch.float64):
        x = random_coefficients(4, lmax=2, dtype=dtype)
        y = random_coefficients(1, lmax=1, dtype=dtype).expand(4, -1, -1)
        assert_matches_reference(fast, slow, (x, y, 2), order=3)


def test_functions_without_higher_derivatives_pass():
    assert_matches_reference(lambda x: 3 * x, lambda x: x + x + x, (torch.randn(3),), order=3)
    assert_matches_reference(torch.sign, torch.sign, (torch.randn(3),), order=1)


def cube_of_wrong_slope(x):
    return x.detach() ** 3 + (x - x.detach())


def test_disagreement_is_found_at_its_order():
    x = torch.randn(5)
    with pytest.raises(AssertionError, match="output: relative error"):
        assert_matches_reference(torch.sin, torch.cos, (x,))
    with pytest.raises(AssertionError, match="derivative 1 by argument 0"):
        assert_matches_reference(cube_of_wrong_slope, lambda x: x**3, (x,))
    assert_matches_reference(cube_of_wrong_slope, lambda x: x**3, (x,), order=0)
    with pytest.raises(AssertionError, match=r"output: shape \[\] where \[5\]"):
        assert_matches_reference(torch.sum, torch.square, (x,))


def test_single_precision_is_not_excused_in_double():
    def rough(x):
        return x.float().exp().double()

    assert_matches_reference(torch.exp, torch.exp, (torch.randn(9),))
    with pytest.raises(AssertionError, match="output"):
        assert_matches_reference(rough, torch.exp, (torch.randn(9, dtype=torch.float64),))


def test_tolerances_grow_with_depth_and_roughness():
    for tolerance in (OPERATION, NETWORK, FINITE_DIFFERENCE):
        errors = [tolerance.of(dtype) for dtype in (torch.float64, torch.float32, torch.bfloat16)]
        assert errors == sorted(errors)
    assert OPERATION.double < NETWORK.double < FINITE_DIFFERENCE.double
