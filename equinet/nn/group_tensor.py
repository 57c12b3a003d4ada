"""Features on an affine group: maps of pixels, one for every sample of the linear part."""

import dataclasses

import torch
from jaxtyping import Float
from torch import Tensor

from equinet.lie import GroupQuadrature


class EquivarianceWarning(UserWarning):
    """A layer is given something that it cannot be equivariant on; the message says why."""


@dataclasses.dataclass(frozen=True, eq=False)
class GroupTensor:
    """Values of a function on positions x and group elements ``frame @ quadrature.elements[k]``.

    Args:
        values: [B, C, K, ...], with two or three dimensions of space.
        quadrature: The K elements and their weights. Values on two quadratures do not mix, even
            where their elements are alike: the weights of a layer belong to one of them.
        frame: [n, n], moves all elements from the left; None is the identity.

    Raises:
        ValueError: The shape does not fit the quadrature.

    Example:
        >>> from equinet.lie import SL, group_quadrature
        >>> rule = group_quadrature(SL(2), rotations=4, stretches=1)
        >>> GroupTensor(torch.zeros(2, 3, 4, 9, 9), rule).maps.shape
        torch.Size([2, 12, 9, 9])
    """

    values: Float[Tensor, "batch channel sample *space"]
    quadrature: GroupQuadrature
    frame: Float[Tensor, "n n"] | None = None

    def __post_init__(self) -> None:
        n, samples = self.quadrature.group.n, len(self.quadrature)
        if self.values.ndim != 3 + n or self.values.shape[2] != samples:
            raise ValueError(
                f"values on {self.quadrature} must have shape [batch, channels, {samples}"
                f"{', size' * n}], found {list(self.values.shape)}"
            )

    @property
    def maps(self) -> Float[Tensor, "batch map *space"]:
        """The values as maps [B, C K, ...], as plain convolutions take them."""
        return self.values.flatten(1, 2)

    def like(self, maps: Float[Tensor, "batch map *space"]) -> "GroupTensor":
        """Return other maps [B, C K, ...] on the same elements."""
        values = maps.unflatten(1, (-1, len(self.quadrature)))
        return dataclasses.replace(self, values=values)

    def __add__(self, other: "GroupTensor") -> "GroupTensor":
        require_samples(other, self.quadrature, "a sum")
        if self.frame is not other.frame:
            raise ValueError("a sum must be of features in one frame, found two")
        return dataclasses.replace(self, values=self.values + other.values)


def log_determinants(quadrature: GroupQuadrature) -> Float[Tensor, " sample"]:
    """Return the logarithms of the determinants of all elements, in float64.

    Args:
        quadrature: Its elements.

    Example:
        >>> from equinet.lie import CSO, group_quadrature
        >>> rule = group_quadrature(CSO(2), rotations=1, scales=3)
        >>> bool(log_determinants(rule).sum().abs() < 1e-12)
        True
    """
    return torch.linalg.slogdet(quadrature.elements).logabsdet


def require_samples(x: GroupTensor, quadrature: GroupQuadrature, place: str) -> None:
    """Refuse features on another quadrature.

    Args:
        x: Features.
        quadrature: What they have to be on.
        place: Who asks, for the message.

    Raises:
        ValueError: The quadrature is another object.
    """
    if x.quadrature is not quadrature:
        raise ValueError(
            f"{place} takes features on its own {quadrature!r}, found features on another, "
            f"{x.quadrature!r}: build all layers with one quadrature object"
        )
