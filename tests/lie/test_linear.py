import pytest
import torch

from equinet.lie import GL, SL, SO, Group, Scale, Window


@pytest.mark.parametrize("n", [2, 3])
def test_samples_lie_in_the_window(n: int) -> None:
    g = GL(n).sample_haar(500, window=Window(stretch=0.7, scale=0.2))
    scale = torch.linalg.det(g).log() / n
    assert 0.19 < scale.abs().max() < 0.2
    stretch = torch.linalg.svdvals(g * (-scale).exp()[:, None, None]).log().norm(dim=-1)
    assert 0.68 < stretch.max() < 0.7 + 1e-12


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
            r"g\[1\] of GL\(2\) must have a determinant above zero by more than rounding, ",
        ),
        (GL(2), [[1.0, 1.0], [1.0, 1.0]], r"found 0: swap two columns of a reflection, drop"),
        (SL(2), [[2.0, 0.0], [0.0, 1.0]], r"must have determinant 1, found 2: divide it by its d"),
        (SO(2), [[2.0, 0.0], [0.0, 0.5]], r"a multiple of the identity, up to rounding, found 3"),
        (Scale(2), [[0.0, -1.0], [1.0, 0.0]], r"must have g a multiple of the identity"),
        (
            GL(2),
            [[float("nan"), 0.0], [0.0, 1.0]],
            r"above zero by more than rounding, found nan",
        ),
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


def test_unequal_stretches_are_sound_in_float32_and_singular_matrices_are_not() -> None:
    stretch = torch.diag(torch.tensor([600.0, 600**-0.5, 600**-0.5]))
    skew = torch.randn(50, 3, 3)
    rotations = SO(3).exp(skew - skew.mT)
    for g in (stretch, rotations @ stretch @ rotations.flip(0)):
        SL(3).check(g)
    with pytest.raises(ValueError, match="a determinant above zero"):
        GL(3).check(torch.ones(3, 3) + torch.diag(torch.tensor([1.0, 0.0, 0.0])))
    with pytest.raises(ValueError, match="a determinant above zero"):
        GL(3).check(-torch.eye(3))
