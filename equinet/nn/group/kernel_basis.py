"""Smooth functions of displacements and of group elements that kernels are combinations of."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from equinet.lie import LinearGroup, Window, rotation_exp
from equinet.o3 import spherical_harmonics, wigner_d

_RING_WIDTH = 0.6  # fraction of the distance between two rings


def smooth_disc(squares: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch"]:
    """Return (1 - r²)² inside the unit ball, zero outside; continuous with its slope.

    Args:
        squares: Squared distances r² from the center, in units of the radius.

    Example:
        >>> smooth_disc(torch.tensor([0.0, 0.5, 2.0]))
        tensor([1.0000, 0.2500, 0.0000])
    """
    return (1 - squares).clamp(min=0).square()


def circular_harmonics(
    directions: Float[Tensor, "*batch 2"], degree: int
) -> Float[Tensor, "*batch harmonic"]:
    """Return 1, cos a, sin a, … cos(degree a), sin(degree a) of vectors (r cos a, r sin a), r = 1.

    Longer or shorter vectors have harmonics with the powers of r, which are smooth at zero.

    Args:
        directions: Vectors [..., 2] of the plane.
        degree: Highest degree, at least 0.

    Example:
        >>> circular_harmonics(torch.tensor([0.0, 1.0]), 2)
        tensor([ 1.,  0.,  1., -1.,  0.])
    """
    x, y = directions.unbind(-1)
    cosine, sine = torch.ones_like(x), torch.zeros_like(x)
    found = [cosine]
    for _ in range(degree):
        cosine, sine = cosine * x - sine * y, sine * x + cosine * y
        found += [cosine, sine]
    return torch.stack(found, dim=-1)


def harmonic_degrees(n: int, degree: int) -> Float[Tensor, " harmonic"]:
    """Return the degrees of the harmonics of the plane or of space, in their order.

    Args:
        n: Dimension of the space, 2 or 3.
        degree: Highest degree, at least 0.

    Example:
        >>> harmonic_degrees(2, 2), harmonic_degrees(3, 1)
        (tensor([0., 1., 1., 2., 2.]), tensor([0., 1., 1., 1.]))
    """
    counts = [2 * l + 1 if n == 3 else min(l, 1) + 1 for l in range(degree + 1)]
    return torch.repeat_interleave(torch.arange(degree + 1.0), torch.tensor(counts))


def ring_degrees(rings: int, degree: int) -> list[int]:
    """Return the highest degree of each ring; inner rings, of fewer pixels, have lower degrees.

    Args:
        rings: Number of rings, including the spot at the center.
        degree: Highest degree on any ring.

    Example:
        >>> ring_degrees(4, 4)
        [0, 1, 3, 4]
    """
    return [max(min(degree, 2 * ring - 1), 0) for ring in range(rings)]


def spatial_degrees(n: int, rings: int, degree: int) -> Float[Tensor, " feature"]:
    """Return the degree of every one of :func:`spatial_features`.

    Args:
        n: Dimension of the space, 2 or 3.
        rings: Number of Gaussian rings.
        degree: Highest degree of the harmonics.

    Example:
        >>> spatial_degrees(2, 2, 3)
        tensor([0., 0., 1., 1.])
    """
    return torch.cat([harmonic_degrees(n, highest) for highest in ring_degrees(rings, degree)])


def spatial_features(
    displacements: Float[Tensor, "*batch n"], rings: int, degree: int
) -> Float[Tensor, "*batch feature"]:
    """Return rings times harmonics, inside the unit disc or ball.

    Args:
        displacements: Displacements [..., n] from the center, in units of the radius.
        rings: Number of Gaussian rings; the first is a spot at the center.
        degree: Highest degree of the harmonics, see :func:`ring_degrees`.

    Returns:
        The values, those of the innermost ring first.

    Example:
        >>> spatial_features(torch.zeros(2), rings=3, degree=3).shape
        torch.Size([11])
    """
    n = displacements.shape[-1]
    squares = displacements.square().sum(-1)
    radius = squares.clamp(min=1e-12).sqrt()
    centers = torch.arange(rings, dtype=radius.dtype, device=radius.device) / rings
    width = _RING_WIDTH / rings
    profile = (-((radius.unsqueeze(-1) - centers) ** 2) / (2 * width**2)).exp()
    profile = profile * smooth_disc(squares).unsqueeze(-1)
    # Harmonics of degree m begin as r^m at the center, where directions would jump.
    directions = displacements / (squares + 0.25 / rings**2).sqrt().unsqueeze(-1)
    if n == 2:
        harmonics = circular_harmonics(directions, degree)
    else:
        harmonics = spherical_harmonics(degree, directions, normalize=False)
    parts = [
        profile[..., ring, None] * harmonics[..., : len(harmonic_degrees(n, highest))]
        for ring, highest in enumerate(ring_degrees(rings, degree))
    ]
    return torch.cat(parts, dim=-1)


def group_features(
    group: LinearGroup,
    coordinates: Float[Tensor, "*batch dim"],
    window: Window,
    *,
    degree: int,
) -> Float[Tensor, "*batch feature"]:
    """Return functions of elements exp(X) k: of X up to first order, times harmonics of k.

    All of them vanish smoothly where the stretch reaches twice the radius of the window or the
    scaling twice its bound: elements further apart than a window is wide do not meet.

    Args:
        group: Group of the elements.
        coordinates: Cartan coordinates [..., dim] of the elements.
        window: Window of the quadrature.
        degree: Highest degree of the harmonics of k: cosines and sines of multiples of the angle,
            or entries of Wigner's matrices.

    Returns:
        The values.

    Example:
        >>> from equinet.lie import SO
        >>> group_features(SO(2), torch.zeros(1), Window(), degree=4)
        tensor([1., 1., 0., 1., 0., 1., 0., 1., 0.])
    """
    strains = len(group.symmetric_basis) - int(group.scales)
    stretch, scale, turn = coordinates.tensor_split([strains, strains + int(group.scales)], dim=-1)
    stretch = stretch / (2 * window.stretch)
    scale = scale / (2 * window.scale * math.sqrt(group.n))
    bump = smooth_disc(stretch.square().sum(-1)) * smooth_disc(scale.square().sum(-1))
    linear = torch.cat([torch.ones_like(bump).unsqueeze(-1), stretch, scale], dim=-1)
    features = bump.unsqueeze(-1) * linear
    if not group.rotates:
        return features
    if group.n == 2:
        angle = turn[..., 0]
        harmonics = circular_harmonics(torch.stack([angle.cos(), angle.sin()], -1), degree)
    else:
        matrices = wigner_d(degree, rotation_exp(turn))
        blocks = [
            matrices[..., l * l : (l + 1) ** 2, l * l : (l + 1) ** 2].flatten(-2)
            for l in range(degree + 1)
        ]
        harmonics = torch.cat(blocks, dim=-1)
    return (features.unsqueeze(-1) * harmonics.unsqueeze(-2)).flatten(-2)


def factor_inputs(
    group: LinearGroup, coordinates: Float[Tensor, "*batch dim"]
) -> Float[Tensor, "*batch input"]:
    """Return numbers that tell elements exp(X) k apart and are smooth everywhere.

    Rotation vectors jump where the angle is pi; the entries of k do not.

    Args:
        group: Group of the elements.
        coordinates: Cartan coordinates [..., dim] of the elements.

    Returns:
        Coordinates of X, then of k minus the identity the first column (plane) or all entries.

    Example:
        >>> from equinet.lie import SL
        >>> factor_inputs(SL(2), torch.zeros(3))
        tensor([0., 0., 0., 0.])
    """
    symmetric, turn = coordinates.tensor_split([len(group.symmetric_basis)], dim=-1)
    if not group.rotates:
        return symmetric
    identity = torch.eye(group.n, dtype=turn.dtype, device=turn.device)
    change = rotation_exp(turn) - identity
    entries = change[..., 0] if group.n == 2 else change.flatten(-2)
    return torch.cat([symmetric, entries], dim=-1)
