"""Normalization of features on a group, over axes that a motion of the image permutes."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from equinet.lie import GroupQuadrature
from equinet.nn.group.tensor import GroupTensor, require_samples


class GroupLayerNorm(nn.Module):
    """Subtract the mean and divide by the deviation, then scale every channel.

    Statistics are those of all channels and samples at each pixel. So no pixel knows of the border
    of the image, and without an offset a background of zero stays zero.

    Args:
        channels: Number of channels.
        quadrature: Samples of the features.
        epsilon: Constant added to the variance; deviations below its root count as background.

    Example:
        >>> from equinet.lie import SO, group_quadrature
        >>> rule = group_quadrature(SO(2), rotations=4)
        >>> norm = GroupLayerNorm(3, rule)
        >>> values = norm(GroupTensor(torch.randn(2, 3, 4, 9, 9), rule)).values
        >>> bool(values.mean((1, 2)).abs().max() < 1e-5)
        True
    """

    def __init__(
        self, channels: int, quadrature: GroupQuadrature, *, epsilon: float = 1e-2
    ) -> None:
        super().__init__()
        self.quadrature = quadrature
        self.epsilon = epsilon
        self.gain = nn.Parameter(torch.ones(channels))

    def forward(self, x: GroupTensor) -> GroupTensor:
        """Normalize features.

        Args:
            x: Features on the quadrature of the layer, or on its moved elements.

        Returns:
            The features, normalized at each pixel.

        Raises:
            ValueError: If the features are on another quadrature.
        """
        require_samples(x, self.quadrature, "a normalization")
        return x.like(normalize_maps(x.maps, self._gains(), self.epsilon))

    def freeze(self) -> "MapNorm":
        """Return the same normalization of plain maps."""
        return MapNorm(self._gains(), epsilon=self.epsilon)

    def _gains(self) -> Tensor:
        """Repeat the factor of each channel for its samples."""
        return self.gain.repeat_interleave(len(self.quadrature))


class MapNorm(nn.Module):
    """Normalize maps [B, C, ...] over channels, pixel by pixel.

    Args:
        gain: Factors [C] of the maps.
        epsilon: Constant added to the variance.

    Example:
        >>> MapNorm(torch.ones(6))(torch.randn(2, 6, 5, 5)).shape
        torch.Size([2, 6, 5, 5])
    """

    gain: Tensor

    def __init__(self, gain: Float[Tensor, " map"], *, epsilon: float = 1e-2) -> None:
        super().__init__()
        self.register_buffer("gain", gain)
        self.epsilon = epsilon

    def forward(self, maps: Float[Tensor, "batch map *space"]) -> Float[Tensor, "batch map *space"]:
        """Normalize maps."""
        return normalize_maps(maps, self.gain, self.epsilon)


def normalize_maps(
    maps: Float[Tensor, "batch map *space"], gain: Float[Tensor, " map"], epsilon: float
) -> Float[Tensor, "batch map *space"]:
    """Normalize maps over channels, pixel by pixel.

    Args:
        maps: Maps [B, C, ...].
        gain: Factors [C] of the maps.
        epsilon: Constant added to the variance.

    Returns:
        The normalized maps.

    Example:
        >>> maps = normalize_maps(torch.randn(2, 6, 5, 5), torch.ones(6), 1e-2)
        >>> bool(maps.mean(1).abs().max() < 1e-5)
        True
    """
    last = maps.movedim(1, -1)
    gain = gain.to(maps)
    return nn.functional.layer_norm(last, last.shape[-1:], gain, eps=epsilon).movedim(-1, 1)


class EachMap(nn.Module):
    """Apply a plain module that treats all maps alike to features on a group.

    Args:
        function: Module that is applied to the maps, for example ``nn.GELU()`` or
            ``nn.MaxPool2d(2)``.

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
