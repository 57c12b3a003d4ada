"""Projection of features on a group to an image."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from equinet.lie import GroupQuadrature
from equinet.nn.group.sampled import FeatureConv
from equinet.nn.group.tensor import GroupTensor


class GroupProjection(FeatureConv):
    """Project features on a group to an image.

    (f * k)(x) = sum_j w_j / det h_j sum_o k(h_j⁻¹ o) f(x + o, h_j), an image that moves as the one
    that was lifted.

    Args:
        in_channels: Number of channels of the features.
        out_channels: Number of channels of the image.
        kernel_size: Number of taps in each direction.
        quadrature: Samples of the features.
        kernel: Name of the kernel, ``harmonic`` or ``sine``.
        stride: Distance in pixels between two positions of the output.
        padding: Rows of zeros that are added on every side.
        radius: Distance in pixels at which kernels have fallen to zero, half of ``kernel_size`` by
            default.
        options: Options of the kernel, see :class:`equinet.nn.group.kernel.HarmonicKernel` and
            :class:`equinet.nn.group.kernel.SineKernel`.

    Raises:
        ValueError: If a number is out of range or the name of the kernel is unknown.

    Example:
        >>> from equinet.lie import SO, group_quadrature
        >>> rule = group_quadrature(SO(2), rotations=4)
        >>> x = GroupTensor(torch.randn(2, 3, 4, 9, 9), rule)
        >>> GroupProjection(3, 1, 5, rule)(x).shape
        torch.Size([2, 1, 5, 5])
    """

    def weights(self, samples: GroupQuadrature) -> tuple[Tensor, ...]:
        """Return [C_out, C_in K, ...]."""
        values = self.kernel(self.displacements(samples), None)
        values = values.unflatten(-1, (self.out_channels, self.in_channels))
        gain = self.measure.to(values) / samples.determinants.to(values)
        values = values * gain[:, None, None, None] / math.sqrt(self.in_channels * len(samples))
        return (self.tap_shape(torch.einsum("ktoi->oikt", values).flatten(1, 2)),)

    def forward(self, x: GroupTensor) -> Float[Tensor, "batch channel *space"]:
        """Project features.

        Raises:
            ValueError: If the features are on another quadrature, have another number of channels,
                or are smaller than the kernel.
        """
        return self.convolve(self.maps_of(x, "a projection"), x.quadrature)
