"""From features on a group to invariants, and back to images."""

import math
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from equinet.lie import GroupQuadrature, named
from equinet.nn.group.convolution import (
    CONVOLUTIONS,
    SampledConvolution,
    kernel_class,
    plain_convolution,
)
from equinet.nn.group.tensor import GroupTensor, require_samples


class GroupPool(nn.Module):
    """Pools features over all pixels and samples.

    ``mean`` weighs samples by the left Haar measure of the affine group, w_k / det h_k: it is the
    integral over the window, over its measure. ``logsumexp`` is the logarithm of that mean of
    exponentials, between mean and maximum. ``max`` needs no measure and no window, but turns noise
    into signal.

    Args:
        quadrature: Samples of the features.
        mode: ``mean``, ``max`` or ``logsumexp``.
        sharpness: Factor in the exponentials; large ones come close to the maximum.

    Raises:
        ValueError: The mode is unknown.

    Example:
        >>> from equinet.lie import SO, group_quadrature
        >>> rule = group_quadrature(SO(2), rotations=4)
        >>> GroupPool(rule)(GroupTensor(torch.ones(2, 3, 4, 9, 9), rule))
        tensor([[1., 1., 1.],
                [1., 1., 1.]])
    """

    def __init__(
        self, quadrature: GroupQuadrature, mode: str = "mean", *, sharpness: float = 1.0
    ) -> None:
        super().__init__()
        self.quadrature = quadrature
        self.mode = named(mode, {each: each for each in ("mean", "max", "logsumexp")}, "pooling")
        self.sharpness = sharpness
        weights = quadrature.weights / quadrature.determinants
        share = (weights / weights.sum()).to(torch.get_default_dtype())
        self.register_buffer("share", share, persistent=False)

    share: Tensor

    def forward(self, x: GroupTensor) -> Float[Tensor, "batch channel"]:
        """Pool features.

        Raises:
            ValueError: They are on another quadrature.
        """
        require_samples(x, self.quadrature, "a pooling")
        pooled = self.freeze()(x.maps)
        if x.quadrature is self.quadrature or self.mode == "max":
            return pooled
        # Elements that enlarge more find what is no background on as much larger an area.
        growth = (x.quadrature.determinants / self.quadrature.determinants)[0].to(pooled)
        if self.mode == "mean":
            return pooled / growth
        above = (self.sharpness * pooled).expm1()
        return (above / growth).log1p() / self.sharpness

    def freeze(self) -> "MapPool":
        """Return the same on plain maps."""
        return MapPool(self.share, self.mode, self.sharpness)


class MapPool(nn.Module):
    """Pools maps [B, C K, ...] over space and over groups of K.

    Args:
        share: Of each of the K in a mean; they add up to one.
        mode: ``mean``, ``max`` or ``logsumexp``.
        sharpness: See :class:`GroupPool`.

    Example:
        >>> MapPool(torch.ones(4) / 4, "mean", 1.0)(torch.ones(2, 12, 5, 5)).shape
        torch.Size([2, 3])
    """

    def __init__(self, share: Float[Tensor, " sample"], mode: str, sharpness: float) -> None:
        super().__init__()
        self.register_buffer("share", share)
        self.mode = mode
        self.sharpness = sharpness

    share: Tensor

    def forward(self, maps: Float[Tensor, "batch map *space"]) -> Float[Tensor, "batch channel"]:
        """Pool maps."""
        values = maps.flatten(2).unflatten(1, (-1, len(self.share)))
        if self.mode == "max":
            return values.amax((-2, -1))
        share = self.share.to(maps)
        if self.mode == "mean":
            return values.mean(-1) @ share
        shift = (share / values.shape[-1]).log().unsqueeze(-1)
        return (self.sharpness * values + shift).logsumexp((-2, -1)) / self.sharpness


class GroupProjection(SampledConvolution):
    """Projects features on a group to an image.

    (f * k)(x) = sum_j w_j / det h_j sum_o k(h_j⁻¹ o) f(x + o, h_j), an image that moves as the one
    that was lifted.

    Args:
        in_channels: Of the features.
        out_channels: Of the image.
        kernel_size: Taps in each direction.
        quadrature: Samples of the features.
        kernel: ``harmonic`` or ``sine``.
        stride: See :class:`SampledConvolution`.
        padding: Likewise.
        radius: Likewise.
        options: Of the kernel.

    Raises:
        ValueError: A number is out of range, or the name of the kernel is unknown.

    Example:
        >>> from equinet.lie import SO, group_quadrature
        >>> rule = group_quadrature(SO(2), rotations=4)
        >>> x = GroupTensor(torch.randn(2, 3, 4, 9, 9), rule)
        >>> GroupProjection(3, 1, 5, rule)(x).shape
        torch.Size([2, 1, 5, 5])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        quadrature: GroupQuadrature,
        *,
        kernel: str = "harmonic",
        stride: int = 1,
        padding: int = 0,
        radius: float | None = None,
        **options: Any,
    ) -> None:
        super().__init__(quadrature, kernel_size, stride=stride, padding=padding, radius=radius)
        self.in_channels = in_channels
        self.out_channels = out_channels
        share = quadrature.weights / quadrature.weights.mean()
        self.register_buffer("share", share.to(torch.get_default_dtype()), persistent=False)
        outputs = (out_channels, in_channels)
        kind = kernel_class(kernel)
        self.kernel = kind(outputs, quadrature, self.displacements(quadrature), None, **options)

    share: Tensor

    def weights(self, samples: GroupQuadrature) -> tuple[Tensor, ...]:
        """Return [C_out, C_in K, ...]."""
        values = self.kernel(self.displacements(samples), None)
        values = values.unflatten(-1, (self.out_channels, self.in_channels))
        gain = self.share.to(values) / samples.determinants.to(values)
        values = values * gain[:, None, None, None] / math.sqrt(self.in_channels * len(samples))
        return (self.tap_shape(torch.einsum("ktoi->oikt", values).flatten(1, 2)),)

    def forward(self, x: GroupTensor) -> Float[Tensor, "batch channel *space"]:
        """Project features.

        Raises:
            ValueError: They are on another quadrature, or smaller than the kernel.
        """
        require_samples(x, self.quadrature, "a projection")
        maps = x.maps
        self.check_size(maps)
        (weight,) = self.current_weights(x.quadrature)
        convolve = CONVOLUTIONS[self.n]
        return convolve(maps, weight.to(maps), stride=self.stride, padding=self.padding)

    def freeze(self) -> nn.Module:
        """Return a plain convolution with the same values."""
        return plain_convolution(self, self.weights(self.quadrature)[0])
