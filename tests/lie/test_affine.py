import pytest
import torch

from equinet.lie import GL, SE, SL, SO, Affine, Group, Projective, Sim, Window


@pytest.mark.parametrize("group", [SE(2), SE(3), Sim(3), Affine(GL(2))], ids=str)
def test_elements_move_points_as_their_parts_do(group: Affine) -> None:
    g = group.sample_haar(10)
    points = torch.randn(7, 1, group.n, dtype=torch.float64)
    linear, translation = g[:, :-1, :-1], g[:, :-1, -1]
    expected = group.linear.act(linear, points) + translation
    torch.testing.assert_close(group.act(g, points), expected, rtol=0, atol=1e-14)


def test_logarithm_of_a_half_turn_about_a_point() -> None:
    g = torch.tensor([[-1.0, 0.0, 2.0], [0.0, -1.0, 4.0], [0.0, 0.0, 1.0]], dtype=torch.float64)
    torch.testing.assert_close(SE(2).exp(SE(2).log(g)), g, rtol=0, atol=1e-14)


def test_modular_functions_of_similarities_and_rigid_motions() -> None:
    g = torch.diag(torch.tensor([2.0, 2.0, 2.0, 1.0]))
    assert Sim(3).modular(g) == 1 / 8
    assert SE(3).modular(torch.eye(4)) == 1


@pytest.mark.parametrize(
    ("group", "entry", "value", "message"),
    [
        (
            SE(2),
            (2, 0),
            0.5,
            r"SE\(2\) must have a last row \(0 … 0 1\), up to rounding, found 0.5",
        ),
        (SE(2), (0, 0), 3.0, r"g\[1\] of SO\(2\) must have determinant 1, found 3"),
        (Affine(GL(2)), (0, 0), -1.0, r"g\[1\] of GL\(2\) must have a determinant above zero"),
        (Projective(), (0, 0), 2.0, r"g\[1\] of SL\(3\) must have determinant 1, found 2"),
    ],
)
def test_other_matrices_are_refused(group: Group, entry: tuple, value: float, message: str) -> None:
    g = torch.eye(3).repeat(2, 1, 1)
    g[1][entry] = value
    with pytest.raises(ValueError, match=message):
        group.decompose("cartan").coordinates(g)


def test_a_homography_outside_the_cell_is_refused() -> None:
    g = torch.diag(torch.tensor([-1.0, 1.0, -1.0]))
    assert SO(3).log(g).isfinite().all()
    with pytest.raises(ValueError, match="a last entry above zero to have these coordinates, foun"):
        Projective().decompose("cartan").coordinates(g)


def test_homographies_keep_lines() -> None:
    g = Projective().sample_haar(20).unsqueeze(1)
    line = torch.tensor([[0.0, 0.1], [0.2, 0.2], [0.4, 0.3]], dtype=torch.float64)
    first, second, third = Projective().act(g, line).unbind(1)
    (ax, ay), (bx, by) = (second - first).unbind(-1), (third - first).unbind(-1)
    area = ax * by - ay * bx
    torch.testing.assert_close(area, torch.zeros(20, dtype=torch.float64), rtol=0, atol=1e-14)


def test_affine_and_projective_dimensions() -> None:
    groups = (SE(2), SE(3), Sim(2), Affine(SL(3)), Projective())
    assert [group.dim for group in groups] == [3, 6, 4, 11, 8]


def bump(g: torch.Tensor) -> torch.Tensor:
    """A smooth function on Sim(2) that vanishes beyond scales of e^±0.5 and distances of 1."""
    scale = torch.linalg.det(g[:, :2, :2]).log() / 2
    near = (1 - g[:, :2, 2].square().sum(-1)).clamp(min=0)
    return (0.25 - scale.square()).clamp(min=0) ** 2 * near**2 * (1.5 + g[:, 0, 1] + g[:, 0, 2])


@pytest.mark.parametrize("motion", ["left", "right"])
def test_integrals_over_similarities_follow_the_modular_function(motion: str) -> None:
    """Left motions change nothing, right ones by the factor; without it or weights both fail."""
    group, window = Sim(2), Window(scale=1.0, translation=3.0)
    points = torch.rand(200_000, group.cube_dim, dtype=torch.float64)
    coordinates, weights = group.from_cube(points, window)
    g = group.decompose("cartan").compose(coordinates)
    a = group.decompose("cartan").compose(torch.tensor([0.4, -0.2, 0.5, 1.0]).double())
    difference = bump(a @ g if motion == "left" else g @ a) - bump(g)
    if motion == "left":
        right, wrong = weights * difference, difference
    else:
        factor = group.modular(a)
        right, wrong = weights * (factor * bump(g @ a) - bump(g)), weights * difference

    def deviation(terms: torch.Tensor) -> float:
        """Mean in units of its standard error."""
        return abs(float(terms.mean() / terms.std() * len(terms) ** 0.5))

    assert deviation(right) < 4
    assert deviation(wrong) > 8
