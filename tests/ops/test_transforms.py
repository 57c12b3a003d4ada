"""Derivatives beyond plain reverse mode, which the native kernels do not have themselves."""

import pytest
import torch
from torch.autograd import forward_ad

from equinet.models import EquiformerV2, MACEGaunt, PonitaPotential, Potential
from equinet.o3 import spherical_harmonics
from equinet.ops import (
    aligned_convolution,
    bracket_product,
    gaunt_convolution,
    gaunt_powers,
    gaunt_product,
    orientation_convolution,
)
from equinet.ops.native import unavailable
from equinet.ops.native.filter_sum import filter_sum

NODES, EDGES = 4, 6


@pytest.fixture
def operands() -> dict[str, torch.Tensor]:
    draw = {"dtype": torch.float64}
    return {
        "x": torch.randn(NODES, 9, 2, **draw),
        "y": torch.randn(NODES, 4, 2, **draw),
        "scalars": torch.randn(NODES, 1, 2, **draw),
        "signals": torch.randn(NODES, 3, 2, **draw),
        "vectors": torch.randn(EDGES, 3, **draw),
        "radial": torch.randn(EDGES, 3, 2, **draw),
        "points": torch.nn.functional.normalize(torch.randn(3, 3, **draw), dim=1),
        "angles": torch.nn.functional.normalize(torch.randn(3, 2, **draw), dim=1),
        "edges": torch.randint(NODES, (2, EDGES)),
    }


CALLS = {
    "product": (lambda o, b: gaunt_product(o["x"], o["y"], 3, backend=b), ["x", "y"]),
    "bracket": (lambda o, b: bracket_product(o["x"], o["y"], 3, backend=b), ["x", "y"]),
    "powers": (lambda o, b: gaunt_powers(o["x"], 4, 2, backend=b), ["x"]),
    "convolution": (
        lambda o, b: gaunt_convolution(o["x"], o["vectors"], o["radial"], o["edges"], 2, backend=b),
        ["x", "vectors", "radial"],
    ),
    "convolution of scalars": (
        lambda o, b: gaunt_convolution(
            o["scalars"], o["vectors"], o["radial"], o["edges"], 2, backend=b
        ),
        ["scalars", "vectors", "radial"],
    ),
    "orientations": (
        lambda o, b: orientation_convolution(
            o["signals"], o["vectors"], o["radial"], o["edges"], o["points"], backend=b
        ),
        ["signals", "vectors", "radial", "points"],
    ),
    "orientations in the plane": (
        lambda o, b: orientation_convolution(
            o["signals"], o["vectors"][:, :2], o["radial"], o["edges"], o["angles"], backend=b
        ),
        ["signals", "vectors", "radial", "angles"],
    ),
    "aligned": (
        lambda o, b: aligned_convolution(o["x"], o["vectors"], o["radial"], o["edges"], 2),  # noqa: ARG005
        ["x", "vectors", "radial"],
    ),
}


@pytest.fixture(params=["auto", "grid", "native"])
def transformed_backend(request: pytest.FixtureRequest) -> str:
    if request.param == "native" and (reason := unavailable("sphere_forms")):
        pytest.skip(reason)
    return request.param


@pytest.mark.parametrize("call", CALLS)
def test_forward_mode_and_transforms_agree_with_the_reverse_mode(
    call, operands, transformed_backend
):
    evaluate, names = CALLS[call]
    for name in names:

        def function(value, name=name):
            return evaluate(operands | {name: value}, transformed_backend)

        value = operands[name]
        expected = torch.autograd.functional.jacobian(
            lambda each, name=name: evaluate(operands | {name: each}, "grid"), value
        )
        direction = torch.randn_like(value)
        change = torch.tensordot(expected, direction, direction.ndim)
        assert change.abs().max() > 1e-3
        close = {"rtol": 0, "atol": 1e-12}
        torch.testing.assert_close(torch.func.jacfwd(function)(value), expected, **close)
        torch.testing.assert_close(torch.func.jacrev(function)(value), expected, **close)
        _, tangent = torch.func.jvp(function, (value,), (direction,))
        torch.testing.assert_close(tangent, change, **close)
        with forward_ad.dual_level():
            dual = function(forward_ad.make_dual(value, direction))
            torch.testing.assert_close(forward_ad.unpack_dual(dual).tangent, change, **close)


@pytest.mark.parametrize("call", ["orientations", "orientations in the plane"])
def test_gradient_by_the_points_is_that_of_the_reference(call, operands, transformed_backend):
    evaluate, (*_, name) = CALLS[call]
    gradients = []
    for backend in (transformed_backend, "reference"):
        points = operands[name].clone().requires_grad_()
        loss = evaluate(operands | {name: points}, backend).square().sum()
        gradients += torch.autograd.grad(loss, points)
    assert gradients[1].abs().max() > 1e-3
    torch.testing.assert_close(*gradients, rtol=0, atol=1e-12)


@pytest.mark.skipif(bool(unavailable("filter_sum")), reason=unavailable("filter_sum"))
def test_gradient_of_the_native_sum_by_its_table(operands):
    table = torch.randn(2, 9, dtype=torch.float64, requires_grad=True)
    harmonics = spherical_harmonics(2, operands["vectors"])
    samples = torch.randn(NODES, 4, 2, dtype=torch.float64)

    def summed(table):
        return filter_sum(harmonics, operands["radial"], samples, table, *operands["edges"], NODES)

    torch.testing.assert_close(summed(table), summed(table.detach()), rtol=0, atol=1e-13)
    assert torch.autograd.gradcheck(summed, [table])


def potentials() -> dict[str, Potential]:
    common = {
        "elements": [1, 8],
        "cutoff": 4.0,
        "reference_energies": [0.0, 0.0],
        "average_neighbors": 3.0,
        "channels": 4,
    }
    equiformer = {"forces": "gradient", "selfmix": "gaunt+odd", "lmax": 2, "mmax": 1, "blocks": 1}
    return {
        "mace": MACEGaunt(**common, layers=1),
        "equiformer": EquiformerV2(**common, **equiformer, heads=2, radial_basis=8),
        "ponita": PonitaPotential(**common, layers=1, kernel="zonal"),
    }


@pytest.mark.parametrize("name", ["mace", "equiformer", "ponita"])
def test_slope_of_an_energy_in_forward_mode_is_minus_force_times_direction(name):
    model = potentials()[name].double().eval()
    species = torch.tensor([0, 1, 0, 0])
    edges = (~torch.eye(4, dtype=torch.bool)).nonzero().T
    rest = (torch.zeros(1, 3, 3).double(), torch.zeros(4, dtype=torch.int64), edges)
    rest = (*rest, torch.zeros(12, 3).double())
    pos, direction = torch.randn(2, 4, 3, dtype=torch.float64)

    def energy(pos):
        return model.evaluate(species, pos, *rest, forces=False)["energy"].sum()

    found = model.evaluate(species, pos.clone().requires_grad_(), *rest)["forces"]
    expected = -(found * direction).sum()
    assert expected.abs() > 1e-5
    _, slope = torch.func.jvp(energy, (pos,), (direction,))
    torch.testing.assert_close(slope.detach(), expected, rtol=1e-8, atol=1e-12)
