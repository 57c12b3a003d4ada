"""Bases of the convolutions on samples of a group: taps, kernels, kept weights, and warnings."""

import itertools
import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from equinet.lie import GroupQuadrature
from equinet.nn.group.kernel import Kernel, kernel_class
from equinet.nn.group.plain import CONVOLUTIONS, plain_convolution
from equinet.nn.group.tensor import EquivarianceWarning, GroupTensor, require_samples
from equinet.o3 import is_transformed


class KeptWeights:
    """The weights of plain convolutions, with the state of the layer that they were made in.

    The values of parameters are copied and compared: writes through ``.data``, other tensors in
    their place and memory that is used again leave no other trace. That takes a hundredth of what
    the kernels of a layer take, and on a GPU it waits for the device.

    Args:
        tensors: Parameters and buffers of the layer.
        weights: Kernel weights that were computed from the tensors.
    """

    def __init__(self, tensors: Sequence[Tensor], weights: tuple[Tensor, ...]) -> None:
        self.weights = weights
        self._tensors = [each.detach().clone() for each in tensors]
        self._autocast = _autocast_of(tensors)

    def serves(self, tensors: Sequence[Tensor]) -> bool:
        """Return whether a layer with these parameters and buffers has the same weights."""
        return (
            self._autocast == _autocast_of(tensors)
            and len(tensors) == len(self._tensors)
            and all(map(_is_same, tensors, self._tensors))
        )


def _is_same(x: Tensor, y: Tensor) -> bool:
    return x.dtype == y.dtype and x.device == y.device and torch.equal(x, y)


def _autocast_of(tensors: Sequence[Tensor]) -> torch.dtype | None:
    """Return the precision in which kernels are evaluated under autocast, None outside of it."""
    device = tensors[0].device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else None


class SampledConv(nn.Module):
    """Base of the convolutions: taps, kernels, and warnings where equivariance would be lost.

    In training, kernels are evaluated in every call; in evaluation they are kept for as long as all
    weights hold the same values and autocast is as it was.

    Args:
        in_channels: Number of channels of the input.
        out_channels: Number of channels of the output.
        kernel_size: Number of taps in each direction.
        quadrature: Samples of the group.
        kernel: Name of the kernel, ``harmonic`` or ``sine``.
        stride: Distance in pixels between two positions of the output.
        padding: Rows of zeros that are added on every side.
        radius: Distance in pixels at which kernels have fallen to zero, half of ``kernel_size`` by
            default. Samples that stretch need a ``kernel_size`` above twice the radius.
        options: Options of the kernel, see :class:`equinet.nn.group.kernel.HarmonicKernel` and
            :class:`equinet.nn.group.kernel.SineKernel`.

    Raises:
        ValueError: If a number is out of range or the name of the kernel is unknown.
    """

    measure: Tensor

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
        super().__init__()
        for name, value, least in (
            ("kernel_size", kernel_size, 1),
            ("stride", stride, 1),
            ("padding", padding, 0),
        ):
            if value < least:
                raise ValueError(f"{name} must be at least {least}, found {value}")
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.quadrature = quadrature
        self.n = quadrature.group.n
        self.kernel_size = kernel_size
        self.stride = stride
        self.padding = padding
        self.radius = kernel_size / 2 if radius is None else radius
        if not self.radius > 0:
            raise ValueError(f"radius must be above 0, found {radius}")
        self._advised: set[object] = set()
        self._kept: KeptWeights | None = None
        self._check_crop()
        # Relative to their mean: a constant in front of the integral is the kernel's own.
        measure = quadrature.weights / quadrature.weights.mean()
        self.register_buffer("measure", measure.to(torch.get_default_dtype()), persistent=False)
        self.make_kernels(kernel_class(kernel), options)

    def make_kernels(self, kind: Callable[..., Kernel], options: Mapping[str, Any]) -> None:
        """Make the kernels: one of the displacement for each pair of channels.

        Args:
            kind: Constructor of a kernel.
            options: Options of the constructor.
        """
        outputs, points = (self.out_channels, self.in_channels), self.displacements(self.quadrature)
        self.kernel = kind(outputs, self.quadrature, points, None, **options)

    def displacements(self, samples: GroupQuadrature) -> Float[Tensor, "sample tap n"]:
        """Return the taps o of the kernel, moved by the inverse of every sample h of the group.

        The displacements h⁻¹ o are in units of the radius, in float64 on the CPU.

        Args:
            samples: Quadrature of the layer, or one with its elements moved.
        """
        # Rows of an image run downwards; the last axis is x.
        line = torch.arange(self.kernel_size, dtype=torch.float64) - (self.kernel_size - 1) / 2
        grid = torch.meshgrid(*[line] * self.n, indexing="ij")
        offsets = torch.stack(grid[::-1], dim=-1).flatten(0, -2) / self.radius
        return torch.einsum("kij,tj->kti", samples.inverses, offsets)

    def weights(self, samples: GroupQuadrature) -> tuple[Tensor, ...]:
        """Return the weights of the plain convolutions."""
        raise NotImplementedError

    def current_weights(self, samples: GroupQuadrature) -> tuple[Tensor, ...]:
        """Return :meth:`weights`, from memory in evaluation without gradients."""
        is_settled = samples is self.quadrature and not (self.training or torch.is_grad_enabled())
        if not is_settled or torch.compiler.is_compiling() or is_transformed():
            return self.weights(samples)
        tensors = list(itertools.chain(self.parameters(), self.buffers()))
        if self._kept is None or not self._kept.serves(tensors):
            self._kept = KeptWeights(tensors, self.weights(samples))
        return self._kept.weights

    def __getstate__(self) -> dict[str, Any]:
        """Leave kept kernels out of copies and files."""
        return {**self.__dict__, "_kept": None}

    @property
    def in_maps(self) -> int:
        """Number of plain maps of the input."""
        return self.in_channels * len(self.quadrature)

    def convolve(
        self, maps: Float[Tensor, "batch map *space"], samples: GroupQuadrature
    ) -> Float[Tensor, "batch map_out *space_out"]:
        """Convolve maps with the current weights, one plain convolution after the other.

        Args:
            maps: Maps [B, C, ...] of the input, see :attr:`in_maps`.
            samples: Elements that the kernels are moved by.

        Returns:
            The maps of the output.

        Raises:
            ValueError: If the maps are smaller than the kernel.
        """
        self.check_size(maps)
        first, *others = self.current_weights(samples)
        plain = CONVOLUTIONS[self.n]
        groups = maps.shape[1] // first.shape[1]
        maps = plain(maps, first.to(maps), stride=self.stride, padding=self.padding, groups=groups)
        for weight in others:
            maps = plain(maps, weight.to(maps))
        return maps

    def freeze(self) -> nn.Module:
        """Return plain convolutions with the same values, in evaluation mode."""
        first, *others = self.weights(self.quadrature)
        layers = [
            plain_convolution(first, self.in_maps, stride=self.stride, padding=self.padding),
            *(plain_convolution(weight, weight.shape[1]) for weight in others),
        ]
        return nn.Sequential(*layers) if others else layers[0]

    def tap_shape(self, kernel: Float[Tensor, "*batch tap"]) -> Tensor:
        """Give the taps their two or three dimensions."""
        return kernel.unflatten(-1, (self.kernel_size,) * self.n)

    def check_size(self, x: Tensor) -> None:
        """Refuse images that are too small, and warn of those that lose the symmetry.

        Args:
            x: Images or maps [B, C, ...].

        Raises:
            ValueError: If an image is smaller than the kernel.
        """
        sizes = tuple(x.shape[-self.n :])
        if sizes in self._advised:
            return
        if min(sizes) + 2 * self.padding < self.kernel_size:
            raise ValueError(
                f"images of {' × '.join(map(str, sizes))} pixels with padding {self.padding} are "
                f"smaller than the kernel of {self.kernel_size}: use larger images, a smaller "
                "kernel_size or more padding"
            )
        self._advised.add(sizes)
        rests = {(size + 2 * self.padding - self.kernel_size) % self.stride for size in sizes}
        if rests != {0}:
            warnings.warn(
                f"stride {self.stride} with kernel_size {self.kernel_size} and padding "
                f"{self.padding} leaves out {max(rests)} of {sizes[-1]} rows on one side only: "
                "not equivariant even to quarter turns; let size + 2 padding - kernel_size be a "
                "multiple of the stride",
                EquivarianceWarning,
                stacklevel=4,
            )

    def _check_crop(self) -> None:
        stretch = float(torch.linalg.matrix_norm(self.quadrature.elements, ord=2).max())
        needed = math.ceil(2 * self.radius * stretch - 0.5)
        # One level for each constructor between this method and the caller's line.
        kinds = type(self).__mro__
        inner = kinds[: kinds.index(SampledConv)]
        level = 3 + sum("__init__" in vars(each) for each in inner)
        if needed > self.kernel_size and not math.isclose(stretch, 1, abs_tol=1e-9):
            warnings.warn(
                f"kernel_size {self.kernel_size} crops kernels of radius {self.radius:g}, which "
                f"samples stretch by up to {stretch:.3g}: use kernel_size {needed} or radius "
                f"{self.kernel_size / (2 * stretch):.2g}",
                EquivarianceWarning,
                stacklevel=level,
            )


class FeatureConv(SampledConv):
    """Base of the convolutions whose input is features on the group."""

    def maps_of(self, x: GroupTensor, place: str) -> Float[Tensor, "batch map *space"]:
        """Return features as plain maps.

        Args:
            x: Features on the quadrature of the layer, or on its moved elements.
            place: Name of the layer in messages, such as ``a projection``.

        Returns:
            The maps [B, C K, ...].

        Raises:
            ValueError: If the features are on another quadrature or have another number of
                channels.
        """
        require_samples(x, self.quadrature, place)
        if x.values.shape[1] != self.in_channels:
            raise ValueError(
                f"features must have {self.in_channels} channels, found {x.values.shape[1]}"
            )
        return x.maps
