"""Normalization of features on a group, over axes that a motion of the image permutes."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from equinet.lie import GroupQuadrature, named
from equinet.nn.group.tensor import GroupTensor, require_samples


class GroupLayerNorm(nn.Module):
    """Subtracts the mean and divides by the deviation, then scales every channel.

    Over ``position`` the statistics are those of all channels and samples at each pixel: no pixel
    knows of the border, and without an offset a background of zero stays zero. Over ``image``, as
    published, they see all pixels and so the frame of the image, too.

    Args:
        channels: Number of channels.
        quadrature: Samples of the features.
        over: ``position`` or ``image``.
        epsilon: Added to the variance; below its root a deviation counts as background.

    Raises:
        ValueError: ``over`` is neither.

    Example:
        >>> from equinet.lie import SO, group_quadrature
        >>> rule = group_quadrature(SO(2), rotations=4)
        >>> norm = GroupLayerNorm(3, rule)
        >>> values = norm(GroupTensor(torch.randn(2, 3, 4, 9, 9), rule)).values
        >>> bool(values.mean((1, 2)).abs().max() < 1e-5)
        True
    """

    def __init__(
        self,
        channels: int,
        quadrature: GroupQuadrature,
        *,
        over: str = "position",
        epsilon: float = 1e-2,
    ) -> None:
        super().__init__()
        self.quadrature = quadrature
        self.over_image = named(over, {"position": False, "image": True}, "over")
        self.epsilon = epsilon
        self.gain = nn.Parameter(torch.ones(channels))

    def forward(self, x: GroupTensor) -> GroupTensor:
        """Normalize features.

        Raises:
            ValueError: They are on another quadrature.
        """
        require_samples(x, self.quadrature, "a normalization")
        return x.like(self.freeze()(x.maps))

    def freeze(self) -> "MapNorm":
        """Return the same on plain maps."""
        gain = self.gain.repeat_interleave(len(self.quadrature))
        return MapNorm(gain, over_image=self.over_image, epsilon=self.epsilon)


class MapNorm(nn.Module):
    """Normalizes maps [B, C, ...] over channels, or over all but the batch.

    Args:
        gain: Factor of every map.
        over_image: Whether over pixels, too.
        epsilon: Added to the variance.

    Example:
        >>> MapNorm(torch.ones(6))(torch.randn(2, 6, 5, 5)).shape
        torch.Size([2, 6, 5, 5])
    """

    def __init__(
        self, gain: Float[Tensor, " map"], *, over_image: bool = False, epsilon: float = 1e-2
    ) -> None:
        super().__init__()
        self.register_buffer("gain", gain)
        self.over_image = over_image
        self.epsilon = epsilon

    gain: Tensor

    def forward(self, maps: Float[Tensor, "batch map *space"]) -> Float[Tensor, "batch map *space"]:
        """Normalize maps."""
        if self.over_image:
            normal = nn.functional.layer_norm(maps, maps.shape[1:], eps=self.epsilon)
            return normal * self.gain.to(maps)[(..., *[None] * (maps.ndim - 2))]
        last = maps.movedim(1, -1)
        gain = self.gain.to(maps)
        return nn.functional.layer_norm(last, last.shape[-1:], gain, eps=self.epsilon).movedim(
            -1, 1
        )


class EachMap(nn.Module):
    """Applies a plain module that treats all maps alike to features on a group.

    Args:
        function: Such as ``nn.GELU()`` or ``nn.MaxPool2d(2)``.

    Example:
        >>> from equinet.lie import SO, group_quadrature
        >>> rule = group_quadrature(SO(2), rotations=4)
        >>> EachMap(nn.ReLU())(GroupTensor(-torch.ones(1, 1, 4, 3, 3), rule)).values.sum()
        tensor(0.)
    """

    def __init__(self, function: nn.Module) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: GroupTensor) -> GroupTensor:
        """Apply the module."""
        return x.like(self.function(x.maps))

    def freeze(self) -> nn.Module:
        """Return the module."""
        return self.function
