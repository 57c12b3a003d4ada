"""Linear maps in edge frames, which commute with rotations about the edge."""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn


class SO2Conv(nn.Module):
    r"""Mix all degrees and channels of each order m; the frame's free angle does not matter.

    A rotation about the edge by :math:`\varphi` multiplies the pair :math:`x_m + i x_{-m}` by
    :math:`e^{\pm i m\varphi}`. What commutes with it is a complex matrix for every m > 0, here
    :math:`W + i V` with :math:`y_m = W x_m - V x_{-m}` and :math:`y_{-m} = V x_m + W x_{-m}`, and a
    real one for m = 0. (V is odd under reflections in planes that hold the edge.)

    Args:
        lmax: Highest degree of the features.
        mmax: Highest order, see :class:`equinet.nn.EdgeFrames`.
        in_channels: Number of channels of the input.
        out_channels: Number of channels of the output.
        scalars: Number of invariants that are returned as well, made from m = 0.

    Source: Passaro, Zitnick, Reducing SO(3) convolutions to SO(2) (ICML 2023), §3.

    Example:
        >>> layer = SO2Conv(3, 1, 8, 16, scalars=4)
        >>> y, scalars = layer(torch.randn(5, 10, 8))
        >>> y.shape, scalars.shape
        (torch.Size([5, 10, 16]), torch.Size([5, 4]))
    """

    def __init__(
        self, lmax: int, mmax: int, in_channels: int, out_channels: int, *, scalars: int = 0
    ) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.degrees = [lmax + 1 - order for order in range(mmax + 1)]
        """Number of degrees that have each order."""
        fan_in, fan_out = self.degrees[0] * in_channels, self.degrees[0] * out_channels
        self.zonal = nn.Linear(fan_in, fan_out + scalars)
        nn.init.normal_(self.zonal.weight, std=1 / math.sqrt(fan_in))
        nn.init.zeros_(self.zonal.bias)
        self.orders = nn.ParameterList(
            torch.randn(2, count * in_channels, count * out_channels)
            / math.sqrt(2 * count * in_channels)
            for count in self.degrees[1:]
        )

    @property
    def radial_size(self) -> int:
        """Number of weights per edge: one per order m >= 0, degree and input channel."""
        return sum(self.degrees) * self.in_channels

    def forward(
        self,
        x: Float[Tensor, "edge row in_channel"],
        radial: Float[Tensor, "edge weight"] | None = None,
    ) -> tuple[Float[Tensor, "edge row out_channel"], Float[Tensor, "edge scalar"]]:
        """Map features in the frames of edges, multiplied by weights of each edge if there are any.

        Args:
            x: Components [E, row, in_channels], ordered as in :class:`equinet.nn.EdgeFrames`.
            radial: Weights [E, :attr:`radial_size`] of each edge, which +m and -m have in common.
                None leaves them out.

        Returns:
            The features, and the invariants.
        """
        sizes = [count * self.in_channels for count in self.degrees]
        # Slices of one long row per edge: matrix products take them without a copy.
        first, *others = x.flatten(1).split([sizes[0]] + [2 * size for size in sizes[1:]], dim=1)
        if radial is not None:
            weight, *weights = radial.split(sizes, dim=1)
            first = first * weight
            others = [
                (pair.unflatten(1, (2, -1)) * weight.unsqueeze(1)).flatten(1)
                for pair, weight in zip(others, weights, strict=True)
            ]
        out = self.zonal(first)
        kept = self.degrees[0] * self.out_channels
        parts, scalars = [out[:, :kept]], out[:, kept:]
        for pair, matrix in zip(others, self.orders, strict=True):
            parts.append(pair @ _real_form(matrix))
        return torch.cat(parts, dim=1).unflatten(1, (-1, self.out_channels)), scalars

    def channel_matrices(self) -> list[nn.Parameter]:
        """Return the parameters whose last two dimensions map channels to channels."""
        return list(self.orders)


def _real_form(matrix: Tensor) -> Tensor:
    """Write a complex matrix, given as [real, imaginary], as a real one of twice the size.

    One product then serves the pair (+m, -m), in as many multiplications.
    """
    real, imaginary = matrix
    return torch.cat([torch.cat([real, imaginary], 1), torch.cat([-imaginary, real], 1)])
