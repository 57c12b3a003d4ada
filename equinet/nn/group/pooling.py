"""Pooling of features on a group: numbers that no motion of the image changes."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from equinet.lie import GroupQuadrature, named
from equinet.nn.group.tensor import GroupTensor, require_samples


class GroupPool(nn.Module):
    """Pool features over all pixels and samples.

    ``mean`` weighs samples by the left Haar measure of the affine group, w_k / det h_k: it is the
    integral over the window, over its measure. ``logsumexp`` is the logarithm of that mean of
    exponentials, between mean and maximum. ``max`` needs no measure and no window, but makes
    signal of noise.

    Args:
        quadrature: Samples of the features.
        mode: Kind of pooling, ``mean``, ``max`` or ``logsumexp``.
        sharpness: Factor in the exponentials of ``logsumexp``; the result approaches the maximum as
            it grows.

    Raises:
        ValueError: If ``mode`` is unknown.

    Example:
        >>> from equinet.lie import SO, group_quadrature
        >>> rule = group_quadrature(SO(2), rotations=4)
        >>> GroupPool(rule)(GroupTensor(torch.ones(2, 3, 4, 9, 9), rule))
        tensor([[1., 1., 1.],
                [1., 1., 1.]])
    """

    share: Tensor

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

    def forward(self, x: GroupTensor) -> Float[Tensor, "batch channel"]:
        """Pool features.

        Raises:
            ValueError: If the features are on another quadrature.
        """
        require_samples(x, self.quadrature, "a pooling")
        pooled = pool_maps(x.maps, self.share, self.mode, self.sharpness)
        if x.quadrature is self.quadrature or self.mode == "max":
            return pooled
        # Elements that enlarge more find what is no background on as much larger an area.
        growth = (x.quadrature.determinants / self.quadrature.determinants)[0].to(pooled)
        if self.mode == "mean":
            return pooled / growth
        above = (self.sharpness * pooled).expm1()
        return (above / growth).log1p() / self.sharpness

    def freeze(self) -> "MapPool":
        """Return the same pooling of plain maps."""
        return MapPool(self.share, self.mode, self.sharpness)


class MapPool(nn.Module):
    """Pool maps [B, C K, ...] over space and over groups of K.

    Args:
        share: Fractions [K] of the samples in a mean, whose sum is one.
        mode: Kind of pooling, ``mean``, ``max`` or ``logsumexp``.
        sharpness: Factor in the exponentials of ``logsumexp``.

    Example:
        >>> MapPool(torch.ones(4) / 4, "mean", 1.0)(torch.ones(2, 12, 5, 5)).shape
        torch.Size([2, 3])
    """

    share: Tensor

    def __init__(self, share: Float[Tensor, " sample"], mode: str, sharpness: float) -> None:
        super().__init__()
        self.register_buffer("share", share)
        self.mode = mode
        self.sharpness = sharpness

    def forward(self, maps: Float[Tensor, "batch map *space"]) -> Float[Tensor, "batch channel"]:
        """Pool maps."""
        return pool_maps(maps, self.share, self.mode, self.sharpness)


def pool_maps(
    maps: Float[Tensor, "batch map *space"],
    share: Float[Tensor, " sample"],
    mode: str,
    sharpness: float,
) -> Float[Tensor, "batch channel"]:
    """Pool maps over space and over the samples of the group.

    Args:
        maps: Maps [B, C K, ...], the K samples of each channel side by side.
        share: Fractions [K] of the samples in a mean, whose sum is one.
        mode: Kind of pooling, ``mean``, ``max`` or ``logsumexp``, see :class:`GroupPool`.
        sharpness: Factor in the exponentials of ``logsumexp``.

    Returns:
        One value for every channel.

    Example:
        >>> pool_maps(torch.ones(2, 12, 5, 5), torch.ones(4) / 4, "mean", 1.0).shape
        torch.Size([2, 3])
    """
    values = maps.flatten(2).unflatten(1, (-1, len(share)))
    if mode == "max":
        return values.amax((-2, -1))
    share = share.to(maps)
    if mode == "mean":
        return values.mean(-1) @ share
    shift = (share / values.shape[-1]).log().unsqueeze(-1)
    return (sharpness * values + shift).logsumexp((-2, -1)) / sharpness
