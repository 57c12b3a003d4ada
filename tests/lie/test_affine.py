import pytest
import torch

from equinet.lie import GL, SE, SL, SO, Affine, Group, Projective, Sim


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
