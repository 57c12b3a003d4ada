"""Kernels on an affine group: functions of a displacement and of a group element."""

import itertools
import math
from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from equinet.lie import GroupQuadrature, named
from equinet.nn.group.kernel_basis import (
    factor_inputs,
    group_features,
    smooth_disc,
    spatial_degrees,
    spatial_features,
)


class Kernel(nn.Module, ABC):
    """Base of the kernels; their values have unit variance summed over the points of the layer."""

    @abstractmethod
    def forward(
        self,
        displacements: Float[Tensor, "*#batch n"] | None,
        coordinates: Float[Tensor, "*#batch dim"] | None,
    ) -> Float[Tensor, "*out output"]:
        """Evaluate the kernel.

        Args:
            displacements: Displacements [..., n] in units of the radius; None if the kernel does
                not depend on them.
            coordinates: Cartan coordinates [..., dim] of group elements; None if the kernel does
                not depend on them.
        """


class HarmonicKernel(Kernel):
    """Combine rings and harmonics linearly: bandwidths are finite, so that samples suffice.

    Args:
        outputs: Shape of the values, ending in the two dimensions of a matrix of channels or in
            one of channels.
        quadrature: Quadrature whose group and window are used.
        displacements: Sample displacements, which set the scale of every function; None if the
            kernel does not depend on them.
        coordinates: Sample coordinates of group elements; None if the kernel does not depend on
            them.
        rings: Number of rings of displacements, see
            :func:`equinet.nn.group.kernel_basis.spatial_features`.
        degree: Highest degree of the harmonics of displacements.
        group_degree: Highest degree of the harmonics of rotations.
    """

    kept: Tensor
    scale: Tensor

    def __init__(
        self,
        outputs: tuple[int, ...],
        quadrature: GroupQuadrature,
        displacements: Float[Tensor, "*#batch n"] | None,
        coordinates: Float[Tensor, "*#batch dim"] | None,
        *,
        rings: int = 3,
        degree: int = 3,
        group_degree: int = 4,
    ) -> None:
        super().__init__()
        self.outputs = outputs
        self.quadrature = quadrature
        self.rings = rings
        self.degree = degree
        self.group_degree = group_degree
        features = self._features(displacements, coordinates)
        # Functions that vanish on all samples (the sine of the highest degree) are of no use.
        rows = features.flatten(0, -2)
        energy = rows.square().mean(0)
        kept = (energy > 1e-6 * energy.max()).nonzero().squeeze(-1)
        damping = torch.ones_like(energy)
        if displacements is not None:
            smooth = spatial_degrees(quadrature.group.n, rings, degree).to(energy)
            damping = (1 / (1 + smooth)).repeat_interleave(len(energy) // len(smooth))
        scale = damping[kept] / energy[kept].sqrt()
        # A row of outputs sums over all points that one output element sees.
        seen = features.shape[-2] if coordinates is None else math.prod(features.shape[1:-1])
        scale = scale / (scale * energy[kept].sqrt()).norm() / math.sqrt(seen)
        self.register_buffer("kept", kept, persistent=False)
        self.register_buffer("scale", scale.to(torch.get_default_dtype()), persistent=False)
        self.weight = nn.Parameter(torch.randn(len(kept), *outputs))

    def channel_matrices(self) -> list[Tensor]:
        """Return the stack of matrices of channels, if the outputs are matrices."""
        return [self.weight] if len(self.outputs) > 1 else []

    def forward(
        self,
        displacements: Float[Tensor, "*#batch n"] | None,
        coordinates: Float[Tensor, "*#batch dim"] | None,
    ) -> Float[Tensor, "*out output"]:
        """Evaluate the kernel, see :class:`Kernel`."""
        weight = self.weight.flatten(1)
        features = self._features(*_beside(weight, displacements, coordinates))[..., self.kept]
        return features.to(weight) @ (self.scale.to(weight).unsqueeze(-1) * weight)

    def _features(self, displacements: Tensor | None, coordinates: Tensor | None) -> Tensor:
        """Return the products of spatial (outer) and group (inner) features."""
        if coordinates is None:
            if displacements is None:
                raise ValueError("a kernel needs displacements, coordinates or both, found neither")
            return spatial_features(displacements, self.rings, self.degree)
        of_group = group_features(
            self.quadrature.group, coordinates, self.quadrature.window, degree=self.group_degree
        )
        if displacements is None:
            return of_group
        of_space = spatial_features(displacements, self.rings, self.degree)
        return (of_space.unsqueeze(-1) * of_group.unsqueeze(-2)).flatten(-2)


class SineKernel(Kernel):
    """An MLP with sines as activations on displacements and group elements, as published.

    Values are cut off outside of the unit disc by :func:`smooth_disc`.

    Args:
        outputs: Shape of the values, see :class:`HarmonicKernel`.
        quadrature: Quadrature whose group is used.
        displacements: Sample displacements, or None where the kernel does not depend on them.
        coordinates: Sample coordinates of group elements, whose number sets the scale; None if the
            kernel does not depend on them.
        width: Width of the hidden layers.
        frequency: Factor in front of the argument of every sine. The published 10 aliases on five
            taps.

    Source: Mironenco, Forré (ICLR 2024); Sitzmann et al., SIREN (NeurIPS 2020) for the initial
    weights.
    """

    def __init__(
        self,
        outputs: tuple[int, ...],
        quadrature: GroupQuadrature,
        displacements: Float[Tensor, "*#batch n"] | None,
        coordinates: Float[Tensor, "*#batch dim"] | None,
        *,
        width: int = 60,
        frequency: float = 10.0,
    ) -> None:
        super().__init__()
        self.quadrature = quadrature
        self.frequency = frequency
        inputs = self._inputs(displacements, coordinates)
        sizes = [inputs.shape[-1], width, width, width]
        layers = [nn.Linear(before, after) for before, after in itertools.pairwise(sizes)]
        self.hidden = nn.ModuleList(layers)
        self.out = nn.Linear(width, math.prod(outputs))
        with torch.no_grad():
            for index, layer in enumerate(layers):
                fan_in = sizes[index]
                bound = 1 / fan_in if index == 0 else math.sqrt(6 / fan_in) / frequency
                nn.init.uniform_(layer.weight, -bound, bound)
                if index:
                    nn.init.zeros_(layer.bias)
            nn.init.uniform_(self.out.weight, -math.sqrt(6 / width), math.sqrt(6 / width))
            nn.init.zeros_(self.out.bias)
        seen = inputs.shape[-2] if coordinates is None else math.prod(inputs.shape[1:-1])
        self.gain = 1 / math.sqrt(seen)

    def forward(
        self,
        displacements: Float[Tensor, "*#batch n"] | None,
        coordinates: Float[Tensor, "*#batch dim"] | None,
    ) -> Float[Tensor, "*out output"]:
        """Evaluate the kernel, see :class:`Kernel`."""
        displacements, coordinates = _beside(self.out.weight, displacements, coordinates)
        x = self._inputs(displacements, coordinates).to(self.out.weight)
        for layer in self.hidden:
            x = (self.frequency * layer(x)).sin()
        values = self.gain * self.out(x)
        if displacements is None:
            return values
        return values * smooth_disc(displacements.square().sum(-1)).to(values).unsqueeze(-1)

    def _inputs(self, displacements: Tensor | None, coordinates: Tensor | None) -> Tensor:
        if coordinates is None:
            if displacements is None:
                raise ValueError("a kernel needs displacements, coordinates or both, found neither")
            return displacements
        of_group = factor_inputs(self.quadrature.group, coordinates)
        if displacements is None:
            return of_group
        shape = torch.broadcast_shapes(displacements.shape[:-1], of_group.shape[:-1])
        parts = [each.expand(*shape, -1) for each in (displacements, of_group)]
        return torch.cat(parts, dim=-1)


def kernel_class(name: str) -> Callable[..., Kernel]:
    """Return the kernel of a name.

    Args:
        name: Name of the kernel, ``harmonic`` or ``sine``.

    Raises:
        ValueError: If the name is unknown; the message offers the nearest one.

    Example:
        >>> kernel_class("sine").__name__
        'SineKernel'
    """
    options: dict[str, Callable[..., Kernel]] = {"harmonic": HarmonicKernel, "sine": SineKernel}
    return named(name, options, "kernel")


def _beside(weight: Tensor, *inputs: Tensor | None) -> list[Tensor | None]:
    """Bring inputs to the device of a weight; quadratures stay on the CPU."""
    return [None if each is None else each.to(weight.device) for each in inputs]
