"""Functions of small matrices: closed forms for 2 × 2, rational iterations above.

None diagonalizes its argument, so derivatives of every order are finite where eigenvalues meet,
the identity included.
"""

import functools

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from equinet.lie.analytic import artanh_sqrt, cosh_sqrt, sinhc_sqrt

# The iterations converge quadratically; scaled by the determinant, they are at rounding after nine
# steps for condition numbers up to 1e8.
_ITERATIONS = 12
_SQUARE_ROOTS = 3
_PADE_ORDER = 12


def matrix_exp(x: Float[Tensor, "*batch n n"]) -> Float[Tensor, "*batch n n"]:
    """Return the exponential of matrices.

    Args:
        x: Square matrices [..., n, n].

    Returns:
        The exponentials of the matrices; in closed form for 2 × 2.

    Example:
        >>> matrix_exp(torch.tensor([[0.0, 1.0], [0.0, 0.0]]))
        tensor([[1., 1.],
                [0., 1.]])
    """
    if x.shape[-1] != 2:
        return torch.linalg.matrix_exp(x)
    mean, deviator, q = _split(x)
    identity = torch.eye(2, dtype=x.dtype, device=x.device)
    return mean.exp() * (cosh_sqrt(q) * identity + sinhc_sqrt(q) * deviator)


def matrix_log(g: Float[Tensor, "*batch n n"]) -> Float[Tensor, "*batch n n"]:
    """Return the principal logarithm of matrices.

    Above 2 × 2, eigenvalues at an angle d from the negative axis cost a relative error of about
    1/d² roundings.

    Args:
        g: Square matrices without eigenvalues on the closed negative axis, zero included.

    Returns:
        The logarithms whose eigenvalues have imaginary parts between -pi and pi; for 2 × 2 in
        closed form.

    Raises:
        ValueError: If an eigenvalue lies on the negative axis or is zero; the message names it and
            its place.

    Source: Higham, Functions of Matrices (2008), §11.5: square roots, then the diagonal Padé
    approximant, here as the Gauss-Legendre sum it is equal to.

    Example:
        >>> matrix_log(torch.tensor([[1.0, 1.0], [0.0, 1.0]]))
        tensor([[0., 1.],
                [0., 0.]])
    """
    _check_negative_axis(g)
    identity = torch.eye(g.shape[-1], dtype=g.dtype, device=g.device)
    if g.shape[-1] == 2:
        mean, deviator, q = _split(g)
        half_log_determinant = (mean.square() - q).log() / 2
        return half_log_determinant * identity + artanh_sqrt(mean, q) * deviator
    root = g
    for _ in range(_SQUARE_ROOTS):
        root = matrix_sqrt(root)
    rest = root - identity
    nodes, weights = _unit_gauss_legendre(_PADE_ORDER)
    fractions = (
        weight * torch.linalg.solve(identity + node * rest, rest)
        for node, weight in zip(nodes, weights, strict=True)
    )
    return 2**_SQUARE_ROOTS * functools.reduce(torch.add, fractions)


def matrix_sqrt(g: Float[Tensor, "*batch n n"]) -> Float[Tensor, "*batch n n"]:
    """Return the principal square root of matrices.

    Args:
        g: Square matrices without eigenvalues on the closed negative axis; this is not checked.

    Returns:
        The roots whose eigenvalues have positive real parts; for 2 × 2 in closed form.

    Source: Cayley-Hamilton for 2 × 2; above, the product form of the Denman-Beavers iteration
    (Higham, Functions of Matrices, 2008, eq. 6.29).

    Example:
        >>> matrix_sqrt(torch.diag(torch.tensor([4.0, 9.0])))
        tensor([[2., 0.],
                [0., 3.]])
    """
    identity = torch.eye(g.shape[-1], dtype=g.dtype, device=g.device)
    if g.shape[-1] == 2:
        root_determinant = _determinant_2(g).sqrt()[..., None, None]
        trace = g.diagonal(dim1=-2, dim2=-1).sum(-1)[..., None, None]
        return (g + root_determinant * identity) / (trace + 2 * root_determinant).sqrt()
    root, product = g, g
    for _ in range(_ITERATIONS):
        scale = _determinant_scale(product).sqrt()
        inverse = torch.linalg.inv(product) / scale.square()
        root = scale * root @ (identity + inverse) / 2
        product = (identity + (scale.square() * product + inverse) / 2) / 2
    return root


def orthogonal_factor(g: Float[Tensor, "*batch n n"]) -> Float[Tensor, "*batch n n"]:
    """Return the orthogonal factor k of the polar decomposition g = P k, P symmetric positive.

    Args:
        g: Nonsingular matrices [..., n, n].

    Returns:
        The nearest orthogonal matrices; for 2 × 2 with positive determinant in closed form.

    Source: Higham, Functions of Matrices (2008), §8.6: the scaled Newton iteration.

    Example:
        >>> orthogonal_factor(torch.tensor([[0.0, -2.0], [3.0, 0.0]]))
        tensor([[ 0., -1.],
                [ 1.,  0.]])
    """
    if g.shape[-1] == 2:
        cosine = g[..., 0, 0] + g[..., 1, 1]
        sine = g[..., 1, 0] - g[..., 0, 1]
        rows = torch.stack([cosine, -sine, sine, cosine], dim=-1).unflatten(-1, (2, 2))
        return rows / torch.hypot(cosine, sine)[..., None, None]
    factor = g
    for _ in range(_ITERATIONS):
        scale = _determinant_scale(factor)
        factor = (scale * factor + torch.linalg.inv(factor).mT / scale) / 2
    return factor


def exp_slope(x: Float[Tensor, "*batch n n"]) -> Float[Tensor, "*batch n n"]:
    """Return (exp(x) - 1) / x, the mean of exp(t x) over t from 0 to 1.

    Args:
        x: Square matrices [..., n, n], which may be singular.

    Returns:
        The values of this entire function, the identity at zero.

    Source: Van Loan (IEEE TAC 23, 1978): a block of the exponential of a block triangular matrix.

    Example:
        >>> exp_slope(torch.tensor([[1.0]]))
        tensor([[1.7183]])
    """
    identity = torch.eye(x.shape[-1], dtype=x.dtype, device=x.device).expand(x.shape)
    return _upper_right_exp(x, identity, torch.zeros_like(x))


def matrix_sinhc_sqrt(q: Float[Tensor, "*batch n n"]) -> Float[Tensor, "*batch n n"]:
    """Return sinh(sqrt(q)) / sqrt(q) of matrices, an entire function of q.

    Args:
        q: Square matrices [..., n, n].

    Returns:
        The values, the identity at zero.

    Example:
        >>> matrix_sinhc_sqrt(torch.zeros(1, 1))
        tensor([[1.]])
    """
    if q.shape[-1] == 1:
        return sinhc_sqrt(q)
    identity = torch.eye(q.shape[-1], dtype=q.dtype, device=q.device).expand(q.shape)
    return _upper_right_exp(torch.zeros_like(q), identity, q)


def _upper_right_exp(diagonal: Tensor, upper: Tensor, lower: Tensor) -> Tensor:
    """Return the upper right block of exp [[diagonal, upper], [lower, 0]]."""
    size = diagonal.shape[-1]
    top = torch.cat([diagonal, upper], dim=-1)
    bottom = torch.cat([lower, torch.zeros_like(lower)], dim=-1)
    return torch.linalg.matrix_exp(torch.cat([top, bottom], dim=-2))[..., :size, size:]


def _split(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return mean eigenvalue, traceless part D, and q with D² = q for 2 × 2 matrices."""
    mean = x.diagonal(dim1=-2, dim2=-1).mean(-1)[..., None, None]
    deviator = x - mean * torch.eye(2, dtype=x.dtype, device=x.device)
    return mean, deviator, -_determinant_2(deviator)[..., None, None]


def _determinant_2(x: Tensor) -> Tensor:
    return x[..., 0, 0] * x[..., 1, 1] - x[..., 0, 1] * x[..., 1, 0]


def _determinant_scale(x: Tensor) -> Tensor:
    """Return the factor [..., 1, 1] that takes determinants to ±1."""
    return torch.linalg.det(x.detach()).abs().pow(-1 / x.shape[-1])[..., None, None]


def _unit_gauss_legendre(order: int) -> tuple[list[float], list[float]]:
    """Return nodes and weights on the interval from 0 to 1."""
    nodes, weights = np.polynomial.legendre.leggauss(order)
    return ((1 + nodes) / 2).tolist(), (weights / 2).tolist()


def _check_negative_axis(g: Tensor) -> None:
    eigenvalues = torch.linalg.eigvals(g.detach())
    size = torch.finfo(g.dtype).eps * eigenvalues.abs()
    bad = (eigenvalues.real <= 0) & (eigenvalues.imag.abs() <= 4 * size)
    if bool(bad.any()):
        place = bad.nonzero()[0].tolist()
        value = float(eigenvalues.real[tuple(place)])
        where = f"g{place[:-1]}" if place[:-1] else "g"
        raise ValueError(
            f"{where} has no principal logarithm: its eigenvalue {value:.6g} is not above "
            "zero; use coordinates of decompose('cartan'), which cover the whole group"
        )
