"""Steerable linear layers against explicit sums over paths, e3nn and symmetry."""

import itertools
import math

import pytest
import torch
from e3nn import o3 as e3nn_o3

from equinet.nn import HalfGate, SteerableLinear, SteerableProduct, has_pseudo_half
from equinet.nn.sphere.couplings import GauntCoupling, coupled_paths
from equinet.o3 import (
    bracket_gain,
    bracket_tensor,
    gaunt_gain,
    gaunt_tensor,
    rotate,
    spherical_harmonics,
)

PRODUCTS: list[SteerableProduct] = ["cg", "gaunt", "gaunt+odd"]
DEGREES = [(1, 1), (2, 1), (1, 2), (2, 2), (3, 2)]
each_product = pytest.mark.parametrize("product", PRODUCTS)
each_degrees = pytest.mark.parametrize(("lmax", "lmax_attributes"), DEGREES)


@pytest.fixture(autouse=True)
def _double() -> None:
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


def layer(lmax: int, lmax_attributes: int, product: SteerableProduct, **options) -> SteerableLinear:
    """Make a layer whose parameters are all away from where they start."""
    made = SteerableLinear(lmax, lmax_attributes, 3, 4, product=product, **options)
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter)
    return made


def inputs(lmax: int, lmax_attributes: int, product: SteerableProduct, rows: int = 5):
    halves = 1 + has_pseudo_half(product)
    x = torch.randn(rows, (lmax + 1) ** 2, halves * 3)
    return x, torch.randn(rows, (lmax_attributes + 1) ** 2)


def block(degree: int) -> slice:
    return slice(degree**2, (degree + 1) ** 2)


def by_halves(x: torch.Tensor, channels: int) -> list[torch.Tensor]:
    return list(x.split(channels, dim=-1))


def turned(x: torch.Tensor, orthogonal: torch.Tensor, channels: int) -> torch.Tensor:
    """Transform features: the halves differ by a sign under reflections."""
    parts = by_halves(x, channels)
    return torch.cat(
        [
            rotate(part, orthogonal, parity=parity)
            for part, parity in zip(parts, (1, -1), strict=False)
        ],
        dim=-1,
    )


@pytest.mark.parametrize("improper", [False, True])
@each_degrees
@each_product
def test_commutes_with_rotations_and_reflections(
    product: SteerableProduct,
    lmax: int,
    lmax_attributes: int,
    improper: bool,
    random_rotation: torch.Tensor,
) -> None:
    made = layer(lmax, lmax_attributes, product)
    x, _ = inputs(lmax, lmax_attributes, product)
    directions = torch.randn(5, 3)
    orthogonal = -random_rotation if improper else random_rotation
    before = made(x, spherical_harmonics(lmax_attributes, directions))
    after = made(
        turned(x, orthogonal, 3), spherical_harmonics(lmax_attributes, directions @ orthogonal.T)
    )
    torch.testing.assert_close(after, turned(before, orthogonal, 4), rtol=0, atol=1e-11)


@pytest.mark.parametrize("improper", [False, True])
@pytest.mark.parametrize("halves", [1, 2])
def test_gates_commute_with_rotations_and_reflections(
    halves: int, improper: bool, random_rotation: torch.Tensor
) -> None:
    gate, x = HalfGate(2, 3, halves=halves), torch.randn(5, 9, 3 * halves)
    orthogonal = -random_rotation if improper else random_rotation
    expected = turned(gate(x), orthogonal, 3)
    torch.testing.assert_close(gate(turned(x, orthogonal, 3)), expected, rtol=0, atol=1e-13)


def test_gates_are_sigmoids_of_natural_scalars_and_silu_of_themselves() -> None:
    gate, x = HalfGate(1, 3, halves=2), torch.randn(5, 4, 6)
    z = gate(x)
    torch.testing.assert_close(z[:, 0, :3], torch.nn.functional.silu(x[:, 0, :3]))
    learned = torch.sigmoid(gate.gates(x[:, 0, :3]))
    torch.testing.assert_close(z[:, 0, 3:], x[:, 0, 3:] * learned[:, :3])
    torch.testing.assert_close(z[:, 1:, :3], x[:, 1:, :3] * learned[:, None, 3:6])
    torch.testing.assert_close(z[:, 1:, 3:], x[:, 1:, 3:] * learned[:, None, 6:])


def test_a_gate_of_scalars_alone_is_silu() -> None:
    x = torch.randn(5, 1, 3)
    torch.testing.assert_close(HalfGate(0, 3)(x), torch.nn.functional.silu(x))


@each_degrees
def test_cg_equals_the_sum_over_paths(lmax: int, lmax_attributes: int) -> None:
    made = layer(lmax, lmax_attributes, "cg")
    x, y = inputs(lmax, lmax_attributes, "cg")
    sizes = (lmax, lmax_attributes, lmax)
    tensors = [gaunt_tensor(*sizes), bracket_tensor(*sizes)]
    paths = [path for odd in (False, True) for path in coupled_paths(*sizes, odd=odd)]
    expected = torch.zeros(5, (lmax + 1) ** 2, 2, 4)
    halves = by_halves(x, 3)
    mix = made.mixes[0]
    scalar_paths = 0
    for weight, (l1, l2, l3) in zip(mix.weight, paths, strict=True):
        odd = (l1 + l2 + l3) % 2
        gain = (bracket_gain if odd else gaunt_gain)(l1, l2, l3)
        number = sum(path[2] == l3 for path in paths)
        coupling = tensors[odd][block(l1), block(l2), block(l3)] / gain
        coupling = coupling * math.sqrt((2 * l3 + 1) / number)
        for half in range(2):
            mixed = halves[half ^ odd][:, block(l1)] @ weight[half]
            if l1 == 0 and half == 0:
                mixed = mixed + mix.bias[scalar_paths]
                scalar_paths += 1
            expected[:, block(l3), half] += torch.einsum(
                "ijk,eic,ej->ekc", coupling, mixed, y[:, block(l2)]
            )
    torch.testing.assert_close(made(x, y), expected.flatten(-2), rtol=0, atol=1e-12)


def to_e3nn(x: torch.Tensor, lmax: int, channels: int) -> torch.Tensor:
    """Order coefficients by half, degree and channel."""
    parts = [
        half[:, block(degree)].transpose(1, 2).flatten(1)
        for half in by_halves(x, channels)
        for degree in range(lmax + 1)
    ]
    return torch.cat(parts, dim=1)


def irreps(lmax: int, channels: int, halves: int) -> e3nn_o3.Irreps:
    parities = itertools.product((1, -1)[:halves], range(lmax + 1))
    return e3nn_o3.Irreps(
        [(channels, (degree, sign * (-1) ** degree)) for sign, degree in parities]
    )


@pytest.mark.parametrize(("lmax", "lmax_attributes"), [(1, 1), (2, 1), (2, 2)])
def test_cg_equals_the_fully_connected_product_of_e3nn(lmax: int, lmax_attributes: int) -> None:
    made = layer(lmax, lmax_attributes, "cg")
    torch.nn.init.zeros_(made.mixes[0].bias)
    x, y = inputs(lmax, lmax_attributes, "cg")
    theirs = e3nn_o3.FullyConnectedTensorProduct(
        irreps(lmax, 3, 2), irreps(lmax_attributes, 1, 1), irreps(lmax, 4, 2)
    )
    sizes = (lmax, lmax_attributes, lmax)
    paths = [path for odd in (False, True) for path in coupled_paths(*sizes, odd=odd)]
    number = 0
    for instruction, view in zip(theirs.instructions, theirs.weight_views(), strict=True):
        half_in, l1 = divmod(instruction.i_in1, lmax + 1)
        half_out, l3 = divmod(instruction.i_out, lmax + 1)
        path = (l1, instruction.i_in2, l3)
        assert half_in == half_out ^ (sum(path) % 2)
        ours = made.mixes[0].weight[paths.index(path), half_out].detach()
        # Theirs are divided by the root of the fan-in, of one channel a path, when they are used.
        view.data.copy_(math.sqrt(3) * ours.unsqueeze(1))
        number += 1
    assert number == 2 * len(paths)
    expected = theirs(to_e3nn(x, lmax, 3), y)
    torch.testing.assert_close(to_e3nn(made(x, y), lmax, 4), expected, rtol=0, atol=1e-11)


@each_degrees
@pytest.mark.parametrize("product", ["gaunt", "gaunt+odd"])
def test_gaunt_equals_the_tensors(
    product: SteerableProduct, lmax: int, lmax_attributes: int
) -> None:
    made = layer(lmax, lmax_attributes, product)
    x, y = inputs(lmax, lmax_attributes, product)
    coupling = made.coupling
    assert isinstance(coupling, GauntCoupling)
    degrees = torch.arange(lmax_attributes + 1).repeat_interleave(
        2 * torch.arange(lmax_attributes + 1) + 1
    )
    mixed = made.mix(x)

    def contracted(tensor: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        return torch.einsum("ijk,eic,ej,jc->ekc", tensor, mixed, y, weight[degrees])

    sizes = (lmax, lmax_attributes, lmax)
    z = contracted(gaunt_tensor(*sizes), coupling.even_weight * coupling.even_factors)
    if product == "gaunt+odd":
        bracket = contracted(bracket_tensor(*sizes), coupling.odd_weight * coupling.odd_factors)
        z = z + bracket.roll(4, dims=-1)
    torch.testing.assert_close(made(x, y), made.out(z), rtol=0, atol=1e-12)


@each_degrees
@each_product
def test_unit_variance_is_kept(product: SteerableProduct, lmax: int, lmax_attributes: int) -> None:
    """Over random weights too: a single draw of few channels is far from its mean."""
    halves = 1 + has_pseudo_half(product)
    made = SteerableLinear(lmax, lmax_attributes, 40, 40, product=product, inputs=2, scalars=6)
    x = torch.randn(2, 1000, (lmax + 1) ** 2, 40 * halves)
    y = math.sqrt(4 * math.pi) * spherical_harmonics(lmax_attributes, torch.randn(1000, 3))
    z = made.couple(made.mix(x[0]) + made.mix(x[1], 1), y, torch.randn(1000, 6))
    assert 0.6 < z.square().mean() < 1.5
    for degree in range(lmax + 1):
        assert 0.25 < z[:, block(degree)].square().mean() < 2.5, degree


@each_product
def test_inputs_and_scalars_are_added(product: SteerableProduct) -> None:
    made = layer(1, 1, product, inputs=2, scalars=2)
    (x, y), (other, _) = inputs(1, 1, product), inputs(1, 1, product)
    scalars = torch.randn(5, 2)

    def value(first: torch.Tensor, second: torch.Tensor, s: torch.Tensor) -> torch.Tensor:
        return made.couple(made.mix(first) + made.mix(second, 1), y, s)

    zero, none = torch.zeros_like(x), torch.zeros_like(scalars)
    start = value(zero, zero, none)
    parts = (value(x, zero, none), value(zero, other, none), value(zero, zero, scalars))
    total = start + sum(part - start for part in parts)
    torch.testing.assert_close(value(x, other, scalars), total, rtol=0, atol=1e-12)
    assert all((part - start).abs().max() > 1e-2 for part in parts)


@each_product
def test_mixed_inputs_are_not_changed(product: SteerableProduct) -> None:
    made = layer(1, 1, product, scalars=2)
    x, y = inputs(1, 1, product)
    mixed = made.mix(x)
    before = mixed.clone()
    made.couple(mixed, y, torch.randn(5, 2))
    assert torch.equal(mixed, before)


@each_product
def test_derivatives_are_those_of_differences(product: SteerableProduct) -> None:
    made = layer(1, 1, product, scalars=2)
    x, y = inputs(1, 1, product, rows=2)
    scalars = torch.randn(2, 2)
    operands = [each.requires_grad_() for each in (x, y, scalars)]

    def value(a: torch.Tensor, b: torch.Tensor, s: torch.Tensor) -> torch.Tensor:
        return made.couple(made.mix(a), b, s).square().sum()

    torch.autograd.gradcheck(value, operands)
    torch.autograd.gradgradcheck(value, operands)


def test_cross_products_are_kept_in_the_other_half() -> None:
    """Vectors along x and z have the pseudovector along y, and nothing of natural parity there."""
    made = layer(1, 1, "cg")
    torch.nn.init.zeros_(made.mixes[0].bias)
    x, y = torch.zeros(1, 4, 6), torch.zeros(1, 4)
    x[0, 1, :3], y[0, 3] = 1.0, 1.0
    natural, pseudo = by_halves(made(x, y), 4)
    assert pseudo[0, 2].abs().max() > 1e-2
    assert natural.abs().max() < 1e-12
    assert pseudo[0, [0, 1, 3]].abs().max() < 1e-12


def test_all_matrices_are_told_to_the_optimizer() -> None:
    made = layer(1, 1, "gaunt+odd", inputs=2, scalars=2)
    told = {
        id(parameter)
        for module in made.modules()
        if hasattr(module, "channel_matrices")
        for parameter in module.channel_matrices()
    }
    other = {name for name, each in made.named_parameters() if id(each) not in told}
    assert other == {"coupling.even_weight", "coupling.odd_weight", "mixes.0.bias"}
