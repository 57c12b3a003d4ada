"""Features on an affine group: maps of pixels, one for every sample of the linear part."""

import dataclasses

from jaxtyping import Float
from torch import Tensor

from equinet.lie import GroupQuadrature


class EquivarianceWarning(UserWarning):
    """A layer is given something that it cannot be equivariant on; the message says why.

    Example:
        >>> import warnings
        >>> with warnings.catch_warnings(action="always", record=True) as found:
        ...     warnings.warn("stride 2 leaves out a row", EquivarianceWarning, stacklevel=1)
        >>> found[0].category.__name__
        'EquivarianceWarning'
    """


@dataclasses.dataclass(frozen=True, eq=False)
class GroupTensor:
    """Values of a function on positions x and group elements h_k.

    Args:
        values: Values [B, C, K, ...] with two or three dimensions of space.
        quadrature: Quadrature of the K elements and their weights. Values on two quadratures cannot
            be combined, even if their elements are alike. A layer takes values on the quadrature
            that it was built with, or on that one :meth:`~equinet.lie.GroupQuadrature.moved`.

    Raises:
        ValueError: If the shape of ``values`` does not fit the quadrature.

    Example:
        >>> from equinet.lie import SL, group_quadrature
        >>> rule = group_quadrature(SL(2), rotations=4, stretches=1)
        >>> GroupTensor(torch.zeros(2, 3, 4, 9, 9), rule).maps.shape
        torch.Size([2, 12, 9, 9])
    """

    values: Float[Tensor, "batch channel sample *space"]
    quadrature: GroupQuadrature

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
        if other.quadrature is not self.quadrature:
            raise ValueError(
                f"a sum must be of features on one quadrature, found {self.quadrature!r} and "
                f"another, {other.quadrature!r}: lift both images with the same samples"
            )
        return dataclasses.replace(self, values=self.values + other.values)


def require_samples(x: GroupTensor, quadrature: GroupQuadrature, place: str) -> None:
    """Refuse features that are neither on a quadrature nor on its moved elements.

    Args:
        x: Features that are checked.
        quadrature: Quadrature that the features have to be on.
        place: Name of the layer in messages, such as ``a pooling``.

    Raises:
        ValueError: If the features are on another quadrature.
    """
    if x.quadrature is not quadrature and x.quadrature.base is not quadrature:
        raise ValueError(
            f"{place} takes features on its own {quadrature!r}, found features on another, "
            f"{x.quadrature!r}: build all layers with one quadrature object"
        )
