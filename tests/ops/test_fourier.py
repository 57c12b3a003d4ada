import math

import numpy as np
import pytest
import torch

from equinet.o3 import normalized_legendre, spherical_harmonics
from equinet.ops import fourier, gaunt_product


@pytest.mark.parametrize("lmax", [0, 1, 4, 8])
def test_torus_coefficients_are_sparse_and_represent_the_harmonics(lmax):
    coefficients = fourier._harmonics_on_torus(lmax)
    u, v = fourier._frequencies(lmax), np.arange(lmax + 1)
    for position, each in enumerate(coefficients):
        degree = math.isqrt(position)
        order = position - degree * degree - degree
        used = each != 0
        assert not used[(u - degree) % 2 == 1].any()
        assert not used[abs(u) > degree].any()
        assert not used[:, v != abs(order)].any()
        assert (each.real == 0).all() or (each.imag == 0).all() or degree > 0
    # Summed up at points, on both halves of the torus, they are the harmonics.
    generator = np.random.default_rng(0)
    beta, alpha = generator.uniform(0, 2 * np.pi, (2, 10))
    waves = np.exp(1j * (beta[:, None, None] * u[:, None] + alpha[:, None, None] * v))
    twice = np.where(v > 0, 2, 1)
    values = np.einsum("nuv,v,puv->np", waves, twice, coefficients).real
    points = np.stack(
        [np.sin(beta) * np.sin(alpha), np.cos(beta), np.sin(beta) * np.cos(alpha)], axis=1
    )
    expected = spherical_harmonics(lmax, torch.from_numpy(points)).numpy()
    np.testing.assert_allclose(values, expected, rtol=0, atol=1e-13)


def test_what_is_set_to_zero_was_round_off():
    size, lmax = 13, 6
    angle = 2 * np.pi / size * np.arange(size)
    cosine, sine = np.cos(angle), np.sin(angle)
    # The polar factors continued beyond pi: even in beta for even orders, odd for odd ones.
    theta = normalized_legendre(lmax, cosine) * np.sign(sine) ** np.arange(lmax + 1)[:, None]
    theta[:, 0] = normalized_legendre(lmax, cosine)[:, 0]
    along_beta = np.fft.fft(theta, axis=-1, norm="forward")
    u = fourier._frequencies(lmax)
    coefficients = fourier._harmonics_on_torus(lmax)
    for degree in range(lmax + 1):
        for order in range(degree + 1):
            expected = along_beta[degree, order] * (math.sqrt(2) / 2 if order else 1)
            found = coefficients[degree * degree + degree + order][:, order]
            np.testing.assert_allclose(found, expected, rtol=0, atol=1e-14)
            assert (abs(expected[(u - degree) % 2 == 1]) < 1e-14).all()


@pytest.mark.parametrize("degrees", [(6, 0, 0), (0, 6, 0), (5, 1, 2), (6, 6, 0)])
def test_azimuthal_aliases_fall_outside(degrees, random_function):
    lmax1, lmax2, lmax_out = degrees
    x, y = random_function(lmax1), random_function(lmax2)
    z = gaunt_product(x, y, lmax_out, backend="fourier")
    expected = gaunt_product(x, y, lmax_out, backend="reference")
    torch.testing.assert_close(z, expected, rtol=0, atol=1e-12)


def test_convolution_of_coefficients_is_the_product_of_samples(random_function):
    x, y = random_function(2, channels=1), random_function(3, channels=1)
    f, g = (np.einsum("luv,l->uv", fourier._harmonics_on_torus(n), each[:, 0]) for n, each in
            ((2, x.numpy()), (3, y.numpy())))  # fmt: skip
    full = [np.zeros((11, 11), complex) for _ in range(2)]
    for target, half, lmax in zip(full, (f, g), (2, 3), strict=True):
        for row, u in enumerate(fourier._frequencies(lmax)):
            for v in range(lmax + 1):
                target[u, v] = half[row, v]
                target[-u, -v] = half[row, v].conj()
    convolved = np.zeros((11, 11), complex)
    for (u, v), value in np.ndenumerate(full[0]):
        convolved += value * np.roll(full[1], (u, v), axis=(0, 1))
    product = np.fft.fft2(
        np.fft.ifft2(full[0], norm="forward") * np.fft.ifft2(full[1], norm="forward"),
        norm="forward",
    )
    np.testing.assert_allclose(product, convolved, rtol=0, atol=1e-13)
    values = fourier._to_torus(x, 5, 5, fourier._VALUE) * fourier._to_torus(y, 5, 5, fourier._VALUE)
    ours = np.fft.fft2(values[..., 0].numpy().T, norm="forward")
    np.testing.assert_allclose(ours, convolved, rtol=0, atol=1e-13)
