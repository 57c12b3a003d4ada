"""Equivariant convolution with all Clebsch-Gordan paths: the convolution of MACE and NequIP."""

import itertools
import math
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from equinet.nn.sphere.couplings import coupled_paths
from equinet.o3 import constant_table, degrees, gaunt_gain
from equinet.ops import gaunt_convolution, working_dtype


class Path(NamedTuple):
    """A coupling of a feature of one degree with a filter of another to a third.

    Attributes:
        degree: Degree of the feature.
        filter: Degree of the filter.
        out: Degree of the result.
    """

    degree: int
    filter: int
    out: int


def natural_paths(lmax: int, lmax_filter: int, lmax_out: int) -> list[Path]:
    """List the paths that keep the natural parity, by degree of result, feature and filter.

    Args:
        lmax: Highest degree of the feature.
        lmax_filter: Highest degree of the filter.
        lmax_out: Highest degree of the result.

    Example:
        >>> [tuple(path) for path in natural_paths(1, 1, 1)]
        [(0, 0, 0), (1, 1, 0), (0, 1, 1), (1, 0, 1)]
    """
    paths = itertools.starmap(Path, coupled_paths(lmax, lmax_filter, lmax_out, odd=False))
    return sorted(paths, key=lambda path: (path.out, path.degree, path.filter))


class ClebschGordanConv(nn.Module):
    r"""Sum over neighbors of the couplings of their features with a filter, mixed per degree.

    :math:`z_{i l_3} = \frac{1}{n} \sum_p V_p \sum_j h_p(d_{ij})\, \sqrt{2 l_3 + 1}\,
    C_{l_1 l_2}^{l_3}(x_{j l_1}, Y_{l_2}(\hat r_{ij}))` over the paths p of
    :func:`natural_paths`, with component-normalized harmonics Y, one radial function
    :math:`h_p` for each path and channel, and matrices :math:`V_p` that mix channels.
    :class:`equinet.nn.GauntConv` is the fast relative, whose radial functions depend on the degree
    of the filter alone.

    Args:
        lmax: Highest degree of the features.
        lmax_filter: Highest degree of the filter and of the result.
        channels: Number of channels.
        average_neighbors: Number n by which sums over neighbors are divided.

    Source: Thomas et al., Tensor field networks (2018); Batatia et al., MACE (NeurIPS 2022), eq. 8.

    Example:
        >>> layer = ClebschGordanConv(1, 2, channels=8, average_neighbors=1.0)
        >>> edge_index = torch.tensor([[1, 0], [0, 1]])
        >>> radial = torch.randn(2, layer.paths, 8)
        >>> harmonics = torch.randn(2, 9)
        >>> layer(torch.randn(2, 4, 8), torch.randn(2, 3), harmonics, radial, edge_index).shape
        torch.Size([2, 9, 8])
    """

    def __init__(
        self, lmax: int, lmax_filter: int, channels: int, *, average_neighbors: float
    ) -> None:
        super().__init__()
        self.degrees = (lmax, lmax_filter)
        self.average_neighbors = average_neighbors
        self.plan = _Plan.of(lmax, lmax_filter)
        paths = natural_paths(lmax, lmax_filter, lmax_filter)
        self.paths = len(paths)
        """Number of paths, each with a radial function for every channel."""
        self.mixing = nn.ParameterList()
        """Matrices [paths to a degree x channels, channels] that mix channels, by degree."""
        for degree in range(lmax_filter + 1):
            count = sum(path.out == degree for path in paths)
            self.mixing.append(torch.randn(count * channels, channels))

    def forward(
        self,
        x: Float[Tensor, "node lm channel"],
        vectors: Float[Tensor, "edge 3"],
        harmonics: Float[Tensor, "edge lm_filter"],
        radial: Float[Tensor, "edge path channel"],
        edge_index: Int[Tensor, "2 edge"],
    ) -> Float[Tensor, "node lm_filter channel"]:
        """Convolve.

        Args:
            x: Features [N, (lmax+1)², channels] of the nodes.
            vectors: Vectors [E, 3] along the edges, of any length.
            harmonics: Values of ``equinet.o3.spherical_harmonics(lmax_filter, vectors)``.
            radial: Values h_p [E, paths, channels] of the radial functions.
            edge_index: Senders and receivers [2, E].

        Returns:
            The features [N, (lmax_filter+1)², channels].
        """
        dtype = working_dtype(x.dtype)
        x, vectors, harmonics, radial = (each.to(dtype) for each in (x, vectors, harmonics, radial))

        def convolve(x: Tensor, radial: Tensor) -> Tensor:
            return gaunt_convolution(
                x, vectors, radial, edge_index, self.degrees[1], harmonics=harmonics
            )

        if self.degrees[0] == 0:
            return self._mix(convolve(x, radial).unsqueeze(2))
        # Slices of their own, unlike an index, are differentiated without sums over rows.
        paths = radial.unbind(1)
        scalars = torch.stack([paths[number] for number in self.plan.scalars], dim=1)
        summed = [convolve(x[:, :1], scalars).unsqueeze(2)]
        none = torch.zeros_like(paths[0])
        rows = [
            paths[group[degree]] if degree in group else none
            for degree in range(self.degrees[1] + 1)
            for group in self.plan.groups
        ]
        filters = torch.stack(rows, dim=1).unflatten(1, (self.degrees[1] + 1, -1))
        masks = _group_masks(*self.degrees, dtype=dtype, device=x.device)
        copies = x.unsqueeze(2) * masks.unsqueeze(2)
        groups = convolve(copies.flatten(2), filters.flatten(2))
        summed.append(groups.unflatten(2, (len(self.plan.groups), -1)))
        return self._mix(torch.cat(summed, dim=2))

    def _mix(self, summed: Tensor) -> Tensor:
        """Mix the channels of all paths to each degree, from sums [N, lm, group, channels]."""
        parts = []
        sizes = [2 * degree + 1 for degree in range(len(self.mixing))]
        blocks = zip(summed.split(sizes, dim=1), self.mixing, strict=True)
        for degree, (rows, weight) in enumerate(blocks):
            groups = rows.unbind(2)
            chosen = torch.cat([groups[group] for group in self.plan.group_of_path[degree]], dim=2)
            gains = _gains(*self.degrees, degree, dtype=weight.dtype, device=weight.device)
            gains = gains / (self.average_neighbors * math.sqrt(len(weight)))
            scaled = weight.unflatten(0, (len(gains), -1)) * gains.reshape(-1, 1, 1)
            parts.append(chosen @ scaled.flatten(0, 1).to(chosen.dtype))
        return torch.cat(parts, dim=1)


class _Plan(NamedTuple):
    """Distribution of the paths over convolutions that are done at once, group by group.

    A Gaunt convolution has one radial function for each degree of the filter. The features of one
    degree serve a group of two paths, one to an even and one to an odd degree: their filters have
    degrees of different parity, and each of both results has one filter that reaches it.

    Attributes:
        groups: Paths of each group, by the degree of the filter.
        degrees: Degree of the features of each group.
        scalars: Paths of scalar features, by the degree of the filter.
        group_of_path: Group of each path by the degree of the result, one for scalar features.
    """

    groups: list[dict[int, int]]
    degrees: list[int]
    scalars: list[int]
    group_of_path: list[list[int]]

    @classmethod
    def of(cls, lmax: int, lmax_filter: int) -> "_Plan":
        """Distribute the paths of a convolution.

        Args:
            lmax: Highest degree of the features.
            lmax_filter: Highest degree of the filter and of the result.
        """
        paths = natural_paths(lmax, lmax_filter, lmax_filter)
        groups: list[dict[int, int]] = []
        degrees: list[int] = []
        place = dict.fromkeys(range(len(paths)), 0)
        for degree in range(1, lmax + 1):
            own = [number for number, path in enumerate(paths) if path.degree == degree]
            even, odd = ([n for n in own if paths[n].out % 2 == parity] for parity in (0, 1))
            for pair in itertools.zip_longest(even, odd):
                members = [number for number in pair if number is not None]
                groups.append({paths[number].filter: number for number in members})
                degrees.append(degree)
                place |= dict.fromkeys(members, len(groups))
        by_degree = [
            [place[number] for number, path in enumerate(paths) if path.out == degree]
            for degree in range(lmax_filter + 1)
        ]
        scalars = [number for number, path in enumerate(paths) if path.degree == 0]
        return cls(groups, degrees, scalars, by_degree)


@constant_table
def _gains(lmax: int, lmax_filter: int, degree: int) -> np.ndarray:
    """Return the factors [path] from Gaunt products to component-normalized couplings."""
    paths = natural_paths(lmax, lmax_filter, lmax_filter)
    own = [gaunt_gain(*path) for path in paths if path.out == degree]
    return math.sqrt(4 * math.pi * (2 * degree + 1)) / np.array(own)


@constant_table
def _group_masks(lmax: int, lmax_filter: int) -> np.ndarray:
    """Return one [lm, group] where the component has the degree of the group's features."""
    own = np.array(_Plan.of(lmax, lmax_filter).degrees)
    return (degrees(lmax)[:, None] == own).astype(float)
