import pytest
import torch
from e3nn import o3 as e3nn_o3
from hypothesis import given
from hypothesis import strategies as st

from equinet.o3 import from_e3nn, rotate, to_e3nn
from equinet.testing import random_coefficients, random_rotations


@given(lmax=st.integers(0, 5), channels=st.integers(1, 5), batch=st.lists(st.integers(0, 3)))
def test_round_trip(lmax, channels, batch):
    irreps = e3nn_o3.Irreps([(channels, (degree, (-1) ** degree)) for degree in range(lmax + 1)])
    x = random_coefficients(*batch, lmax=lmax, channels=channels)
    there = to_e3nn(x, irreps)
    assert there.shape == (*batch, irreps.dim)
    assert torch.equal(from_e3nn(there, str(irreps)), x)


def test_layout_is_e3nns():
    """Turning in e3nn's layout, by e3nn's matrices, is turning in ours."""
    irreps = e3nn_o3.Irreps("3x0e + 3x1o + 3x2e + 3x3o")
    x = random_coefficients(4, lmax=3, channels=3, dtype=torch.float32)
    for improper in (False, True):
        (rotation,) = random_rotations(1, improper=improper, dtype=torch.float32)
        turned = to_e3nn(x, irreps) @ irreps.D_from_matrix(rotation).T
        torch.testing.assert_close(
            from_e3nn(turned, irreps), rotate(x, rotation, parity=1), rtol=1e-4, atol=1e-4
        )


def test_is_differentiable():
    x = random_coefficients(2, lmax=2, channels=2).requires_grad_()
    assert torch.autograd.gradcheck(lambda v: to_e3nn(v, "2x0e + 2x1o + 2x2e"), x)


@pytest.mark.parametrize(
    "irreps", ["2x0e + 3x1o", "2x0e + 2x1e", "2x1o", "", "0e + 0e", "1o + 0e", "0e + 1o + 3o"]
)
def test_other_irreps_are_refused(irreps):
    with pytest.raises(ValueError, match="irreps must be one multiplicity"):
        from_e3nn(torch.zeros(8), irreps)
    with pytest.raises(ValueError, match="irreps must be one multiplicity"):
        to_e3nn(torch.zeros(4, 2), irreps)


def test_wrong_shapes_are_refused():
    with pytest.raises(ValueError, match=r"x must have shape \[..., 8\].*found \[7\]"):
        from_e3nn(torch.zeros(7), "2x0e + 2x1o")
    with pytest.raises(ValueError, match=r"x must have shape \[..., 4, 2\].*found \[4, 3\]"):
        to_e3nn(torch.zeros(4, 3), "2x0e + 2x1o")
