"""Residual network for images on a group of linear maps, with separable kernels."""

import copy
import math
from collections.abc import Sequence
from typing import Annotated, Any, Literal, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from equinet.arguments import AcceptedBy, BelowOne, Count
from equinet.lie import Affine, GroupQuadrature, LinearGroup, Window, group_quadrature, named_group
from equinet.models.base import Model
from equinet.nn import (
    EachMap,
    GroupConv,
    GroupLayerNorm,
    GroupPool,
    GroupTensor,
    LiftingConv,
    Presence,
    ScaledLinear,
)

_LIFTING_RADIUS = 4.0


class GroupResNet(Model):
    """Classify images independently of rotations, scalings and shears, elements of a group.

    Images are lifted to samples of the group at half of the rows and columns, reduced to a quarter
    by a strided group convolution, pass through residual blocks, and are pooled over pixels and
    samples. Layers have no offset, statistics are taken pixel by pixel, and features are zero where
    the image is black. Padding by zeros therefore continues a black background exactly, and the
    borders of the image have no effect.

    Rotations of the quadrature that map pixels to pixels are exact symmetries. Other elements of
    the group are symmetries as far as pixels and samples resolve the kernels.

    Args:
        group: Name of the group of linear maps: ``so2``, ``cso2``, ``sl2``, ``gl2``, or with 3 for
            volumes. ``se2`` and ``sim2`` are the same as the first two, since translations are
            those of the pixels.
        classes: Number of classes.
        in_channels: Number of channels of the images.
        channels: Number of channels in the blocks; there are half as many before them, and
            ``expansion`` times as many after them.
        blocks: Number of residual blocks.
        rotations: Number of rotations, a multiple of 4 for exact rotations by 90 degrees.
        stretches: Number of volume-preserving stretches, see :func:`equinet.lie.group_quadrature`.
        scales: Number of scalings, see :func:`equinet.lie.group_quadrature`.
        separable: Whether kernels are separable, see :class:`equinet.nn.GroupConv`.
        expansion: Number of channels of the last features, in units of ``channels``.
        hidden: Width of the hidden layer of the classifier.
        dropout: Fraction of the classifier's hidden values that is set to zero in training.
        pool: Kind of pooling, ``mean``, ``max`` or ``logsumexp``, see
            :class:`equinet.nn.GroupPool`.
        stretch_window: Largest norm of a sampled stretch, see :class:`equinet.lie.Window`.
        scale_window: Largest logarithm of a sampled scaling.
        random_frames: Whether the quadrature is randomized in every training step: all samples are
            moved by one random element of the window, from the right, which keeps rotations by 90
            degrees exact. Integrals over the window are then exact in the mean with few samples. In
            evaluation the samples are those of the quadrature. Images are not changed.

    Raises:
        ValueError: The group is unknown or a number is out of range.

    Example:
        >>> model = GroupResNet(classes=3, channels=4, blocks=1, rotations=4)
        >>> model(torch.zeros(2, 1, 40, 40)).shape
        torch.Size([2, 3])
    """

    def __init__(
        self,
        *,
        group: Annotated[str, AcceptedBy(named_group)] = "gl2",
        classes: Count = 10,
        in_channels: Count = 1,
        channels: Count = 16,
        blocks: Count = 4,
        rotations: Count = 8,
        stretches: Count = 1,
        scales: Count = 1,
        separable: bool = True,
        expansion: Count = 3,
        hidden: Count = 128,
        dropout: BelowOne = 0.2,
        pool: Literal["mean", "max", "logsumexp"] = "mean",
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
        taps = _taps(_LIFTING_RADIUS, rule, 0)
        # Two pixels more than size / 2 positions need, for features at the borders of the image.
        edge: dict[str, Any] = {"stride": 2, "padding": taps // 2 + 1}
        self.lift = LiftingConv(in_channels, half, taps, rule, radius=_LIFTING_RADIUS, **edge)
        self.presence = Presence(rule.group.n, taps, pooling=2, radius=_LIFTING_RADIUS, **edge)
        self.stem = nn.Sequential(*_after(half, rule))
        self.down = _convolution(half, channels, rule, stride=2, separable=separable)
        self.blocks = nn.ModuleList(
            _convolution(channels, channels, rule, separable=separable) for _ in range(blocks)
        )
        self.last = _convolution(channels, wide, rule, separable=separable)
        self.pool = GroupPool(rule, pool)
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
        """Return logits of images.

        Args:
            images: Images [B, C, ...].

        Raises:
            ValueError: The images have another number of channels or are too small.
        """
        samples = self.quadrature
        if self.training and self.random_frames:
            (frame,) = samples.group.sample_haar(1, window=samples.window)
            samples = samples.moved(frame)
        images = channels_last(images)
        presence = self.presence(images)
        x: GroupTensor = self.down(self.stem(self.lift(images, samples)))
        x = x.like(x.maps * presence)
        for block in self.blocks:
            x = x.like(x.maps + block(x).maps * presence)
        last = self.last(x)
        return self.head(self.pool(last.like(last.maps * presence)))

    def freeze(self) -> "FrozenResNet":
        """Return a network of plain convolutions, in evaluation mode, with the same logits."""
        return FrozenResNet(
            presence=self.presence,
            first=frozen(self.lift, *self.stem, *self.down),
            blocks=[frozen(*cast("nn.Sequential", block)) for block in self.blocks],
            last=frozen(*self.last),
            pool=self.pool.freeze(),
            head=self.head,
        ).eval()


class FrozenResNet(nn.Module):
    """The function of :class:`GroupResNet`, computed by plain convolutions.

    Args:
        presence: Module that maps images to masks of what is not black, see
            :class:`equinet.nn.Presence`.
        first: Module that maps images to features at a quarter of the rows and columns.
        blocks: Modules of the residual blocks.
        last: Module after the residual blocks.
        pool: Module that pools features over pixels and samples.
        head: Module that maps features to logits.
    """

    def __init__(
        self,
        *,
        presence: nn.Module,
        first: nn.Module,
        blocks: Sequence[nn.Module],
        last: nn.Module,
        pool: nn.Module,
        head: nn.Module,
    ) -> None:
        super().__init__()
        self.presence = copy.deepcopy(presence)
        self.first = first
        self.blocks = nn.ModuleList(blocks)
        self.last = last
        self.pool = pool
        self.head = copy.deepcopy(head)

    def forward(
        self, images: Float[Tensor, "batch channel *space"]
    ) -> Float[Tensor, "batch class"]:
        """Return logits of images.

        Args:
            images: Images [B, C, ...].
        """
        images = channels_last(images)
        presence = self.presence(images)
        maps = self.first(images) * presence
        for block in self.blocks:
            maps = maps + block(maps) * presence
        return self.head(self.pool(self.last(maps) * presence))


def linear_group(name: str) -> LinearGroup:
    """Return a linear group, or the linear part of an affine one, by its name.

    Args:
        name: Name of the group, see :func:`equinet.lie.named_group`.

    Raises:
        ValueError: The name is unknown; the message gives the nearest one.

    Example:
        >>> linear_group("sim2")
        CSO(2)
    """
    group = named_group(name)
    return group.linear if isinstance(group, Affine) else group


def frozen(*layers: Any) -> nn.Module:
    """Chain the plain forms of layers on a group.

    Args:
        layers: Layers on a group, each with a method ``freeze()``.
    """
    return nn.Sequential(*[layer.freeze() for layer in layers])


def _convolution(
    inputs: int,
    outputs: int,
    quadrature: GroupQuadrature,
    *,
    stride: int = 1,
    separable: bool = True,
) -> nn.Sequential:
    """Return a convolution that keeps the size, up to its stride, with norm and activation."""
    radius = (5 + stride - 1) / 2
    taps = _taps(radius, quadrature, stride % 2)
    convolution = GroupConv(
        inputs,
        outputs,
        taps,
        quadrature,
        stride=stride,
        padding=(taps - 1) // 2,
        radius=radius,
        separable=separable,
    )
    return nn.Sequential(convolution, *_after(outputs, quadrature))


def _taps(radius: float, quadrature: GroupQuadrature, parity: int) -> int:
    """Return the number of taps of the most stretched kernel, with the parity of the stride.

    An even number with stride 2, and an odd number with stride 1, treat opposite borders of an
    image of even size alike.
    """
    stretch = float(torch.linalg.matrix_norm(quadrature.elements, ord=2).max())
    taps = math.ceil(2 * radius * stretch - 0.5)
    return taps + (taps + parity) % 2


def _after(channels: int, quadrature: GroupQuadrature) -> list[nn.Module]:
    return [GroupLayerNorm(channels, quadrature), EachMap(nn.GELU())]


def channels_last(images: Tensor) -> Tensor:
    """Lay images out with channels innermost, which makes depthwise convolutions faster.

    Args:
        images: Images [B, C, ...] with two or three dimensions of space.
    """
    formats = {4: torch.channels_last, 5: torch.channels_last_3d}
    form = formats.get(images.ndim)
    return images if form is None else images.contiguous(memory_format=form)
