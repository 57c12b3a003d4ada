"""Convolutions on affine groups: images lifted to samples of the group, and maps of samples mixed.

With x on the pixels, h over the samples of a quadrature with weights w, and o over pixel offsets,

    lifting   (f * k)(x, h) = 1/det h  sum_o k(h⁻¹ o) f(x + o)
    dense     (f * k)(x, h) = 1/det h  sum_j w_j sum_o k(h⁻¹ o, h⁻¹ h_j) f(x + o, h_j)
    separable (f * k)(x, h) = sum_j w_j k_H(h⁻¹ h_j) 1/det h_j sum_o k_R(h_j⁻¹ o) f(x + o, h_j)

up to a constant that makes unit-variance features of unit-variance features. The second is the
integral over the left Haar measure dy dμ(h_j) / det h_j of a kernel that takes the ratio of the
determinants up, the third has the kernel k_H(g) k_R(g⁻¹ u) at the relative element g.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from equinet.lie import GroupQuadrature
from equinet.nn.group.kernel import Kernel
from equinet.nn.group.sampled import FeatureConv
from equinet.nn.group.tensor import GroupTensor


class GroupConv(FeatureConv):
    """Convolve features on a group, from its samples to the same samples.

    Args:
        in_channels: Number of channels of the features.
        out_channels: Number of channels of the result.
        kernel_size: Number of taps in each direction.
        quadrature: Samples of the features.
        separable: Whether kernels are separable: one kernel of the displacement for every channel,
            then one of the group element for every pair of channels. Otherwise they are dense and
            depend on both.
        kernel: Name of the kernel, ``harmonic`` or ``sine``.
        stride: Distance in pixels between two positions of the output.
        padding: Rows of zeros that are added on every side.
        radius: Distance in pixels at which kernels have fallen to zero, half of ``kernel_size`` by
            default.
        options: Options of the kernels. Of the harmonic kernel, ``rings`` and ``degree`` act on
            displacements and ``group_degree`` on group elements.

    Raises:
        ValueError: If a number is out of range or the name of the kernel is unknown.

    Example:
        >>> from equinet.lie import SL, group_quadrature
        >>> rule = group_quadrature(SL(2), rotations=4, stretches=1)
        >>> x = GroupTensor(torch.randn(2, 3, 4, 9, 9), rule)
        >>> GroupConv(3, 5, 5, rule)(x).values.shape
        torch.Size([2, 5, 4, 5, 5])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        quadrature: GroupQuadrature,
        *,
        separable: bool = True,
        kernel: str = "harmonic",
        stride: int = 1,
        padding: int = 0,
        radius: float | None = None,
        **options: Any,
    ) -> None:
        self.separable = separable  # the base makes the kernels
        super().__init__(
            in_channels,
            out_channels,
            kernel_size,
            quadrature,
            kernel=kernel,
            stride=stride,
            padding=padding,
            radius=radius,
            **options,
        )

    def make_kernels(self, kind: Callable[..., Kernel], options: Mapping[str, Any]) -> None:
        """Make a kernel of the displacement and one of the group element, or one of both.

        Args:
            kind: Constructor of a kernel.
            options: Options of the constructor.
        """
        outputs, quadrature = (self.out_channels, self.in_channels), self.quadrature
        relative = quadrature.relative_coordinates
        points = self.displacements(quadrature)
        if self.separable:
            self.kernel = kind(outputs, quadrature, None, relative, **options)
            self.spatial = kind((self.in_channels,), quadrature, points, None, **options)
        else:
            pairs = (points[:, None], relative[:, :, None])
            self.kernel = kind(outputs, quadrature, *pairs, **options)

    def weights(self, samples: GroupQuadrature) -> tuple[Tensor, ...]:
        """Return depthwise [C_in K, 1, ...] and mixing [C_out K, C_in K, 1…], or dense ones."""
        points, relative = self.displacements(samples), samples.relative_coordinates
        channels = (self.out_channels, self.in_channels)
        gain = 1 / math.sqrt(self.in_channels)
        if not self.separable:
            values = self.kernel(points[:, None], relative[:, :, None])
            values = values.unflatten(-1, channels) * gain
            values = values / samples.determinants.to(values)[:, None, None, None, None]
            values = values * self.measure.to(values)[:, None, None, None]
            dense = torch.einsum("kjtoi->okijt", values).flatten(2, 3).flatten(0, 1)
            return (self.tap_shape(dense),)
        spatial = self.spatial(points, None)
        spatial = spatial / samples.determinants.to(spatial)[:, None, None]
        spatial = torch.einsum("kti->ikt", spatial).flatten(0, 1).unsqueeze(1)
        mixing = self.kernel(None, relative).unflatten(-1, channels) * gain
        mixing = mixing * self.measure.to(mixing)[:, None, None]
        mixing = torch.einsum("kjoi->okij", mixing).flatten(2, 3).flatten(0, 1)
        return self.tap_shape(spatial), mixing.reshape(*mixing.shape, *[1] * self.n)

    def forward(self, x: GroupTensor) -> GroupTensor:
        """Convolve features.

        Raises:
            ValueError: The features are on another quadrature, have another number of channels, or
                are smaller than the kernel.
        """
        maps = self.maps_of(x, "a group convolution")
        return x.like(self.convolve(maps, x.quadrature))
