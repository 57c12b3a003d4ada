import pytest
import torch

from equinet.nn import edge_frames
from equinet.nn.escn.frames import frame_components, frames_of
from equinet.o3 import rotation_to_pole, spherical_harmonics, wigner_d

VECTORS = torch.randn(9, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("lmax", "mmax"), [(0, 0), (1, 1), (3, 0), (3, 2), (4, 4), (6, 2)])
def test_frames_are_rows_of_wigner_matrices(lmax: int, mmax: int) -> None:
    frames = edge_frames(VECTORS, lmax, mmax)
    components = frame_components(lmax, mmax)
    kept = [degree * (degree + 1) + order for degree, order in components]
    whole = wigner_d(lmax, rotation_to_pole(VECTORS))
    torch.testing.assert_close(frames.to_edge, whole[:, kept], rtol=0, atol=1e-12)
    make_up = [max((2 * degree + 1) / (2 * mmax + 1), 1.0) ** 0.5 for degree, _ in components]
    scaled = whole[:, kept] * torch.tensor(make_up, dtype=torch.float64)[:, None]
    torch.testing.assert_close(frames.from_edge, scaled.mT, rtol=0, atol=1e-12)


def test_the_edge_itself_has_order_zero_alone() -> None:
    harmonics = spherical_harmonics(4, VECTORS).unsqueeze(-1)
    turned = edge_frames(VECTORS, 4, 3).into(harmonics).squeeze(-1)
    assert turned[:, 5:].abs().max() < 1e-12
    assert turned[:, :5].min() > 0.2


def test_there_and_back_is_the_identity_where_no_order_is_left_out() -> None:
    frames = edge_frames(VECTORS, 3, 3)
    x = torch.randn(9, 16, 4, dtype=torch.float64)
    torch.testing.assert_close(frames.back(frames.into(x)), x, rtol=0, atol=1e-12)


def test_geometry_keeps_its_precision_under_autocast() -> None:
    frames = edge_frames(VECTORS.float(), 3, 2)
    x = torch.randn(9, 16, 4)
    with torch.autocast("cpu", torch.bfloat16):
        inside = frames.back(frames.into(x.bfloat16().float()))
    assert inside.dtype == torch.float32
    assert torch.equal(inside, frames.back(frames.into(x.bfloat16().float())))


@pytest.mark.parametrize("mmax", [-1, 3])
def test_orders_beyond_the_degree_are_refused(mmax: int) -> None:
    with pytest.raises(ValueError, match=f"mmax must lie between 0 and lmax = 2, found {mmax}"):
        frames_of(torch.eye(3).expand(4, 3, 3), 2, mmax)
