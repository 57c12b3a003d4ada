"""Lifting of images to samples of a group."""

import math
import warnings

import torch
from jaxtyping import Float
from torch import Tensor

from equinet.lie import GroupQuadrature
from equinet.nn.group.sampled import SampledConv
from equinet.nn.group.tensor import EquivarianceWarning, GroupTensor, require_samples


class LiftingConv(SampledConv):
    """Correlate an image with a kernel moved by every sample of a group.

    Args:
        in_channels: Number of channels of the image.
        out_channels: Number of channels of the features.
        kernel_size: Number of taps in each direction.
        quadrature: Samples of the group.
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
        >>> rule = group_quadrature(SO(2), rotations=8)
        >>> LiftingConv(1, 4, 5, rule)(torch.zeros(2, 1, 12, 12)).values.shape
        torch.Size([2, 4, 8, 8, 8])
    """

    def weights(self, samples: GroupQuadrature) -> tuple[Tensor, ...]:
        """Return [C_out K, C_in, ...]."""
        values = self.kernel(self.displacements(samples), None) / math.sqrt(self.in_channels)
        values = values / samples.determinants.to(values)[:, None, None]
        values = values.unflatten(-1, (self.out_channels, self.in_channels))
        return (self.tap_shape(torch.einsum("ktoi->okit", values).flatten(0, 1)),)

    def forward(
        self,
        image: Float[Tensor, "batch channel *space"],
        samples: GroupQuadrature | None = None,
    ) -> GroupTensor:
        """Lift images [B, C_in, ...].

        Args:
            image: Images [B, C_in, ...].
            samples: The elements of the layer's quadrature, moved; its own unless given.

        Raises:
            ValueError: The image has another shape, or is smaller than the kernel, or the samples
                are of another quadrature.
        """
        if image.ndim != 2 + self.n or image.shape[1] != self.in_channels:
            raise ValueError(
                f"images must have shape [batch, {self.in_channels}{', size' * self.n}], found "
                f"{list(image.shape)}"
            )
        samples = self.quadrature if samples is None else samples
        if self.padding and not self._advised:
            self._check_background(image)
        maps = self.convolve(image, samples)
        lifted = GroupTensor(maps.unflatten(1, (-1, len(samples))), samples)
        require_samples(lifted, self.quadrature, "a lifting")
        return lifted

    @property
    def in_maps(self) -> int:
        """Number of channels of the images."""
        return self.in_channels

    def _check_background(self, image: Tensor) -> None:
        corner = float(image.detach().flatten(-self.n)[..., 0].abs().median())
        if corner > 1e-6:
            warnings.warn(
                f"padding continues images by zeros, but their background is {corner:.3g}: the "
                "border becomes an edge that does not move with the image; shift the background "
                "to zero, or use padding 0",
                EquivarianceWarning,
                stacklevel=3,
            )
