import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

from equinet.lie import CSO, GL, SL, SO, Group, Scale, Window

GROUPS = [SO(2), SO(3), Scale(), Scale(3), CSO(2), CSO(3), SL(2), SL(3), GL(2), GL(3)]
every_group = pytest.mark.parametrize("group", GROUPS, ids=str)


@every_group
def test_axioms(group: Group) -> None:
    g, h, k = group.sample_haar(60).reshape(3, 20, group.size, group.size)
    identity = torch.eye(group.size, dtype=torch.float64).expand_as(g)
    exactly = {"rtol": 0, "atol": 1e-12}
    product = group.compose(g, h)
    group.check(product)
    left, right = group.compose(product, k), group.compose(g, group.compose(h, k))
    torch.testing.assert_close(left, right, **exactly)
    torch.testing.assert_close(group.compose(g, group.inverse(g)), identity, **exactly)
    torch.testing.assert_close(group.compose(group.inverse(g), g), identity, **exactly)
    group.check(group.inverse(g))
    points = torch.randn(20, group.n, dtype=torch.float64)
    moved = group.act(g, group.act(h, points))
    torch.testing.assert_close(group.act(product, points), moved, **exactly)


@every_group
def test_dimension_and_basis(group: Group) -> None:
    gram = torch.einsum("iab,jab->ij", group.basis, group.basis)
    torch.testing.assert_close(gram, torch.eye(group.dim, dtype=torch.float64), rtol=0, atol=1e-15)


@every_group
def test_exponential_and_logarithm(group: Group) -> None:
    coordinates = 0.4 * torch.randn(50, group.dim, dtype=torch.float64)
    algebra = torch.einsum("...i,iab->...ab", coordinates, group.basis)
    g = group.exp(algebra)
    group.check(g)
    torch.testing.assert_close(g, torch.linalg.matrix_exp(algebra), rtol=0, atol=1e-12)
    torch.testing.assert_close(group.log(g), algebra, rtol=0, atol=1e-10)


@every_group
def test_derivatives_of_exp_and_log_at_the_identity(group: Group) -> None:
    zero = torch.zeros(group.dim, dtype=torch.float64, requires_grad=True)

    def exp(coordinates: torch.Tensor) -> torch.Tensor:
        return group.exp(torch.einsum("i,iab->ab", coordinates, group.basis))

    def density(coordinates: torch.Tensor) -> torch.Tensor:
        return group.haar_density(torch.einsum("i,iab->ab", coordinates, group.basis))

    for function in (exp, density, lambda coordinates: group.log(exp(coordinates))):
        assert gradcheck(function, zero)
        assert gradgradcheck(function, zero)


@every_group
def test_haar_density_in_exponential_coordinates(group: Group) -> None:
    for coordinates in 0.5 * torch.randn(5, group.dim, dtype=torch.float64):

        def exp(c: torch.Tensor) -> torch.Tensor:
            return group.exp(torch.einsum("i,iab->ab", c, group.basis))

        velocity = torch.func.jacfwd(exp)(coordinates).movedim(-1, 0)
        form = torch.linalg.solve(exp(coordinates), velocity)
        jacobian = torch.linalg.det(torch.einsum("iab,jab->ij", group.basis, form)).abs()
        algebra = torch.einsum("i,iab->ab", coordinates, group.basis)
        density = group.haar_density(algebra) * group.haar_unit
        torch.testing.assert_close(density, jacobian, rtol=1e-10, atol=0)


@every_group
def test_modular_function_is_one(group: Group) -> None:
    g = group.sample_haar(10)
    moved = g.unsqueeze(1) @ group.basis @ g.inverse().unsqueeze(1)
    adjoint = torch.einsum("...iab,jab->...ij", moved, group.basis)
    expected = torch.linalg.det(adjoint).abs().reciprocal()
    torch.testing.assert_close(group.modular(g), expected, rtol=0, atol=1e-12)


@every_group
def test_samples_are_drawn_from_the_window(group: Group) -> None:
    window = Window(stretch=0.7, scale=0.2)
    g = group.sample_haar(500, window=window, generator=torch.Generator().manual_seed(1))
    again = group.sample_haar(500, window=window, generator=torch.Generator().manual_seed(1))
    assert torch.equal(g, again)
    scale = torch.linalg.det(g).log() / group.n
    assert scale.abs().max() < 0.2 + 1e-12
    unit = g * (-scale).exp()[:, None, None]
    stretch = torch.linalg.svdvals(unit).log().norm(dim=-1)
    assert stretch.max() < 0.7 + 1e-12
    assert group.sample_haar(0).shape == (0, group.size, group.size)
    assert group.sample_haar(2, dtype=torch.float32).dtype == torch.float32


def test_samples_of_sl2_have_the_haar_law_of_stretches() -> None:
    """Measure of the ball of half-gap t is (cosh 2t - 1) / (cosh 2T - 1) of that of the window."""
    count, largest = 4000, 1.2
    g = SL(2).sample_haar(count, window=Window(stretch=largest * 2**0.5))
    t = torch.linalg.svdvals(g)[:, 0].log().sort().values
    exact = ((2 * t).cosh() - 1) / (torch.tensor(2 * largest).cosh() - 1)
    steps = torch.arange(count, dtype=torch.float64) / count
    # Kolmogorov's distance exceeds this with a probability of 0.1 %.
    assert (exact - steps).abs().max() < 1.95 / count**0.5


@pytest.mark.parametrize("angle", [3.0, torch.pi])
def test_rotations_have_logarithms_where_gl_has_none(angle: float) -> None:
    turn = torch.tensor([[0.0, -angle], [angle, 0.0]], dtype=torch.float64)
    torch.testing.assert_close(SO(2).log(SO(2).exp(turn)), turn, rtol=0, atol=1e-14)
    squeezed = torch.tensor([[-2.0, 0.0], [0.0, -0.5]], dtype=torch.float64)
    with pytest.raises(ValueError, match="no principal logarithm"):
        SL(2).log(squeezed)
    assert SL(2).decompose("cartan").coordinates(squeezed).isfinite().all()


@pytest.mark.parametrize(
    ("group", "matrix", "message"),
    [
        (
            GL(2),
            [[0.0, 1.0], [1.0, 0.0]],
            r"g\[1\] of GL\(2\) must have a determinant above zero, ",
        ),
        (GL(2), [[1.0, 1.0], [1.0, 1.0]], r"found 0: swap two columns of a reflection, drop"),
        (SL(2), [[2.0, 0.0], [0.0, 1.0]], r"must have determinant 1, found 2: divide it by its d"),
        (SO(2), [[2.0, 0.0], [0.0, 0.5]], r"a multiple of the identity, up to rounding, found 3"),
        (Scale(2), [[0.0, -1.0], [1.0, 0.0]], r"must have g a multiple of the identity"),
        (GL(2), [[float("nan"), 0.0], [0.0, 1.0]], r"determinant above zero, found nan"),
    ],
)
def test_other_matrices_are_refused(group: Group, matrix: list, message: str) -> None:
    g = torch.stack([torch.eye(2), torch.tensor(matrix)])
    with pytest.raises(ValueError, match=message):
        group.log(g)
    with pytest.raises(ValueError, match=message):
        group.decompose("cartan").coordinates(g)


def test_wrong_shapes_and_dimensions_are_refused() -> None:
    with pytest.raises(ValueError, match=r"g of SL\(3\) must have shape .*, found \[2, 2\]"):
        SL(3).log(torch.eye(2))
    with pytest.raises(ValueError, match=r"n of SO\(n\) must be 2 or 3, found 4"):
        SO(4)
    with pytest.raises(ValueError, match="scale of the window must be above 0, found -1"):
        Window(scale=-1.0)
