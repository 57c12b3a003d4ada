"""Residual network of Mironenco and Forré on a group of linear maps, with corrections."""

import copy
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from equinet.lie import Window, group_quadrature
from equinet.models.base import Model
from equinet.models.images.group_resnet import channels_last, frozen, linear_group
from equinet.nn import EachMap, GroupConv, GroupLayerNorm, GroupPool, GroupTensor, LiftingConv


class DenseGroupResNet(Model):
    """Residual network of Mironenco and Forré, with dense kernels that are MLPs of sines.

    As published, the network is a lifting of 5 × 5 taps, one residual block of two convolutions of
    5 × 5 taps at full resolution, max-pooling, a last convolution, the maximum over pixels and
    samples, and a classifier with 256 hidden values. It differs from the published one in these
    points: all layers, and evaluation, use one lattice of samples with Haar weights instead of
    random samples; every angle occurs once; coordinates and the disc of the kernels are smooth;
    statistics are taken pixel by pixel, so that black pixels stay zero.

    Args:
        group: Name of the group of linear maps, see :class:`equinet.models.GroupResNet`.
        classes: Number of classes.
        in_channels: Number of channels of the images.
        channels: Number of channels of the features.
        rotations: Number of rotations; the published network has 10 samples in total.
        stretches: Number of stretches for each of the rotations.
        rule: Name of the rule of the samples, see :func:`equinet.lie.group_quadrature`; ``product``
            makes rotations by 90 degrees exact.
        separable: Whether kernels are separable instead of dense.
        kernel_width: Width of the hidden layers of the kernels.
        frequency: Factor in front of the arguments of the kernels' sines.
        radius: Distance in pixels at which kernels have fallen to zero.
        pool: Kind of pooling, see :class:`equinet.nn.GroupPool`.
        dropout: Fraction of the classifier's hidden values that is set to zero in training.
        stretch_window: Largest norm of a sampled stretch, see :class:`equinet.lie.Window`.
        scale_window: Largest logarithm of a sampled scaling.

    Source: Mironenco, Forré, Lie Group Decompositions for Equivariant Neural Networks (ICLR 2024).

    Example:
        >>> model = DenseGroupResNet(channels=4, rotations=4, kernel_width=8)
        >>> model(torch.zeros(2, 1, 20, 20)).shape
        torch.Size([2, 10])
    """

    def __init__(
        self,
        *,
        group: str = "sl2",
        classes: int = 10,
        in_channels: int = 1,
        channels: int = 40,
        rotations: int = 10,
        stretches: int = 1,
        rule: str = "lattice",
        separable: bool = False,
        kernel_width: int = 60,
        frequency: float = 10.0,
        radius: float = 2.5,
        pool: str = "max",
        dropout: float = 0.3,
        stretch_window: float = 0.3,
        scale_window: float = 0.2,
    ) -> None:
        super().__init__()
        window = Window(stretch=stretch_window, scale=scale_window)
        samples = group_quadrature(
            linear_group(group), rotations, stretches, rule, scales=1, window=window
        )
        self.quadrature = samples
        kernel: dict[str, Any] = {
            "kernel": "sine",
            "width": kernel_width,
            "frequency": frequency,
            "radius": radius / _largest_stretch(samples.elements),
        }

        def convolution(padding: int) -> list[nn.Module]:
            layer = GroupConv(
                channels, channels, 5, samples, separable=separable, padding=padding, **kernel
            )
            return [layer, GroupLayerNorm(channels, samples), EachMap(nn.GELU())]

        self.lift = nn.Sequential(
            LiftingConv(in_channels, channels, 5, samples, **kernel),
            GroupLayerNorm(channels, samples),
            EachMap(nn.GELU()),
        )
        self.block = nn.Sequential(*convolution(2), *convolution(2))
        halve = nn.MaxPool2d(2) if samples.group.n == 2 else nn.MaxPool3d(2)
        self.rest = nn.Sequential(
            EachMap(nn.GELU()),
            GroupLayerNorm(channels, samples),
            EachMap(halve),
            EachMap(nn.GELU()),
            *convolution(0),
            GroupPool(samples, pool),
        )
        self.head = nn.Sequential(
            nn.Linear(channels, 256, bias=False),
            nn.LayerNorm(256),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(256, classes),
        )

    def forward(
        self, images: Float[Tensor, "batch channel *space"]
    ) -> Float[Tensor, "batch class"]:
        """Return logits of images.

        Args:
            images: Images [B, C, ...], at least 18 pixels wide.

        Raises:
            ValueError: The images have another number of channels or are too small.
        """
        lifted: GroupTensor = self.lift(channels_last(images))
        return self.head(self.rest(lifted + self.block(lifted)))

    def freeze(self) -> nn.Module:
        """Return a network of plain convolutions, in evaluation mode, with the same logits."""
        block = Residual(frozen(*self.block))
        head = copy.deepcopy(self.head)
        return nn.Sequential(frozen(*self.lift), block, frozen(*self.rest), head).eval()


class Residual(nn.Module):
    """Add the output of a module to its input.

    Args:
        inner: Module whose output is added to its input.
    """

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        """Return the sum of the input and the output of the module.

        Args:
            x: Input of the module.
        """
        branch: Tensor = self.inner(x)
        return x + branch


def _largest_stretch(elements: Float[Tensor, "sample n n"]) -> float:
    return float(torch.linalg.matrix_norm(elements, ord=2).max())
