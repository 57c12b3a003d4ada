"""A residual network on a group of linear maps, for images: separable kernels, few pixels."""

import math
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from equinet.lie import Affine, GroupQuadrature, Window, group_quadrature, named_group
from equinet.lie.linear import LinearGroup
from equinet.models.base import Model
from equinet.nn.group_convolution import GroupConv, LiftingConv
from equinet.nn.group_norm import GroupLayerNorm, Pointwise
from equinet.nn.group_pooling import GroupPool
from equinet.nn.group_tensor import GroupTensor


class GroupResNet(Model):
    """Classifies images alike however they are moved by a group: rotated, scaled, sheared.

    Images are lifted to samples of the group at half of the pixels, brought to a quarter and to an
    eighth by strided group convolutions with residual blocks between them, and pooled over pixels
    and samples. Nothing has an offset, and statistics are taken pixel by pixel, so a black
    background stays zero throughout and padding by zeros continues it exactly.

    What is equivariant: the rotations of the quadrature that map pixels to pixels exactly, all
    others as far as pixels and samples resolve the kernels.

    Args:
        group: Linear maps by name: ``so2``, ``cso2``, ``sl2``, ``gl2``, or with 3 for volumes;
            ``se2`` and ``sim2`` are the first two, whose translations are the pixels.
        classes: Number of classes.
        in_channels: Channels of the images.
        channels: Width of the blocks; half of it in front, ``expansion`` times it behind.
        blocks: Residual blocks.
        rotations: Samples of rotations, a multiple of 4 for exact quarter turns.
        stretches: Samples of volume-preserving stretches, see :func:`equinet.lie.group_quadrature`.
        scales: Samples of scalings.
        separable: See :class:`equinet.nn.GroupConv`.
        expansion: Of the last features.
        hidden: Width of the classifier.
        dropout: In the classifier.
        pool: ``mean``, ``max`` or ``logsumexp``, see :class:`equinet.nn.GroupPool`.
        stretch_window: Largest stretch sampled, see :class:`equinet.lie.Window`.
        scale_window: Largest logarithm of a scaling sampled.
        random_frames: Move all samples by one random element of the window in every training step,
            as a randomized quadrature is. Integrals over the window are then right in the mean with
            few samples; in evaluation the samples are those of the quadrature.

    Raises:
        ValueError: The group is unknown or a number does not fit.

    Example:
        >>> model = GroupResNet(classes=3, channels=4, blocks=1, rotations=4)
        >>> model(torch.zeros(2, 1, 40, 40)).shape
        torch.Size([2, 3])
    """

    def __init__(
        self,
        *,
        group: str = "gl2",
        classes: int = 10,
        in_channels: int = 1,
        channels: int = 16,
        blocks: int = 4,
        rotations: int = 8,
        stretches: int = 1,
        scales: int = 1,
        separable: bool = True,
        expansion: int = 4,
        hidden: int = 128,
        dropout: float = 0.2,
        pool: str = "mean",
        stretch_window: float = 0.35,
        scale_window: float = 0.2,
        random_frames: bool = False,
    ) -> None:
        super().__init__()
        window = Window(stretch=stretch_window, scale=scale_window)
        rule = group_quadrature(
            linear_group(group), rotations, stretches, scales=scales, window=window
        )
        self.quadrature = rule
        self.random_frames = random_frames
        half, wide = max(channels // 2, 1), expansion * channels
        strided: dict[str, Any] = {"stride": 2, "padding": 2, "separable": separable}
        self.lift = LiftingConv(in_channels, half, 8, rule, stride=2, padding=3, radius=3.0)
        self.layers = nn.Sequential(
            *_after(half, rule),
            GroupConv(half, channels, 6, rule, **strided),
            *_after(channels, rule),
            *[GroupResidual(channels, rule, separable=separable) for _ in range(blocks)],
            GroupConv(channels, wide, 6, rule, **strided),
            *_after(wide, rule),
            GroupPool(rule, pool),
        )
        self.head = nn.Sequential(
            nn.LayerNorm(wide),
            ScaledLinear(wide, hidden),
            nn.GELU(),
            nn.Dropout(dropout),
            ScaledLinear(hidden, classes),
        )

    def forward(
        self, images: Float[Tensor, "batch channel *space"]
    ) -> Float[Tensor, "batch class"]:
        """Return logits of images [B, C, *size].

        Raises:
            ValueError: The images have another number of channels or are too small.
        """
        lifted = self.lift(_channels_last(images), self._frame())
        return self.head(self.layers(lifted))

    def freeze(self) -> nn.Module:
        """Return a network of plain convolutions, in evaluation mode, with the same logits."""
        return frozen(self.lift, *self.layers, head=self.head)

    def _frame(self) -> Tensor | None:
        if not (self.training and self.random_frames):
            return None
        return self.quadrature.group.sample_haar(1, window=self.quadrature.window)[0]


class GroupResidual(nn.Module):
    """Adds a group convolution, normalized and passed through GELU, to its input.

    Args:
        channels: Of the features.
        quadrature: Their samples.
        separable: See :class:`equinet.nn.GroupConv`.
        kernel_size: Odd.
    """

    def __init__(
        self,
        channels: int,
        quadrature: GroupQuadrature,
        *,
        separable: bool = True,
        kernel_size: int = 5,
    ) -> None:
        super().__init__()
        padding = kernel_size // 2
        self.inner = nn.Sequential(
            GroupConv(
                channels, channels, kernel_size, quadrature, padding=padding, separable=separable
            ),
            *_after(channels, quadrature),
        )

    def forward(self, x: GroupTensor) -> GroupTensor:
        """Return the sum."""
        branch: GroupTensor = self.inner(x)
        return x + branch

    def freeze(self) -> "Residual":
        """Return the same on plain maps."""
        return Residual(frozen(*self.inner))


class Residual(nn.Module):
    """Adds what a module makes of its input to it.

    Args:
        inner: The module.
    """

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        """Return the sum."""
        branch: Tensor = self.inner(x)
        return x + branch


class ScaledLinear(nn.Module):
    """A linear map whose weights have unit variance, divided by a root in the call.

    So do the kernels of the convolutions: one learning rate fits all.

    Args:
        inputs: Number of inputs.
        outputs: Number of outputs.

    Example:
        >>> ScaledLinear(4, 3)(torch.zeros(2, 4))
        tensor([[0., 0., 0.],
                [0., 0., 0.]], grad_fn=<AddmmBackward0>)
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs))
        self.bias = nn.Parameter(torch.zeros(outputs))

    def channel_matrices(self) -> list[Tensor]:
        """Return the weight."""
        return [self.weight]

    def forward(self, x: Float[Tensor, "*batch input"]) -> Float[Tensor, "*batch output"]:
        """Apply the map."""
        return nn.functional.linear(x, self.weight / math.sqrt(x.shape[-1]), self.bias)


def linear_group(name: str) -> LinearGroup:
    """Return a linear group, or the linear part of an affine one, by its name.

    Args:
        name: See :func:`equinet.lie.named_group`.

    Raises:
        ValueError: The name is unknown; names the nearest.

    Example:
        >>> linear_group("sim2")
        CSO(2)
    """
    group = named_group(name)
    return group.linear if isinstance(group, Affine) else group  # type: ignore[return-value]


def frozen(*layers: Any, head: nn.Module | None = None) -> nn.Module:
    """Chain the plain forms of layers on a group, and a classifier behind them.

    Args:
        layers: Each with ``freeze()``.
        head: Copied as it is.
    """
    parts = [layer.freeze() for layer in layers]
    if head is not None:
        copied = torch.nn.Sequential(head)
        parts.append(copied)
    return nn.Sequential(*parts).eval()


def _after(channels: int, quadrature: GroupQuadrature) -> list[nn.Module]:
    return [GroupLayerNorm(channels, quadrature), Pointwise(nn.GELU())]


def _channels_last(images: Tensor) -> Tensor:
    """Depthwise convolutions on the CPU are several times faster with channels innermost."""
    formats = {4: torch.channels_last, 5: torch.channels_last_3d}
    form = formats.get(images.ndim)
    return images if form is None else images.contiguous(memory_format=form)
