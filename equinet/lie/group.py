"""What every matrix Lie group here can do, and what a decomposition of it offers."""

from abc import ABC, abstractmethod
from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from equinet.lie.matrices import exp_slope
from equinet.lie.window import Window
from equinet.names import named


class Decomposition(ABC):
    """Global coordinates of a group, by the factors of its elements.

    Args:
        group: Group that is decomposed.
        dim: Number of coordinates.

    Example:
        >>> from equinet.lie import SL
        >>> iwasawa = SL(2).decompose("iwasawa")
        >>> iwasawa.dim, iwasawa.compose(torch.zeros(3)).tolist()
        (3, [[1.0, 0.0], [0.0, 1.0]])
    """

    def __init__(self, group: "Group", dim: int) -> None:
        self.group = group
        self.dim = dim

    def coordinates(self, g: Float[Tensor, "*batch n n"]) -> Float[Tensor, "*batch dim"]:
        """Return the coordinates of elements.

        Raises:
            ValueError: If a matrix is not an element of the group, or has no coordinates in this
                decomposition; the message names its place and the fix.
        """
        self.group.check(g)
        return self._coordinates(g)

    @abstractmethod
    def _coordinates(self, g: Float[Tensor, "*batch n n"]) -> Float[Tensor, "*batch dim"]:
        """Return the coordinates of matrices that are elements."""

    @abstractmethod
    def compose(self, coordinates: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch n n"]:
        """Return the elements of given coordinates."""

    @abstractmethod
    def haar_density(self, coordinates: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch"]:
        """Return the density of the left Haar measure in these coordinates.

        All decompositions of one group refer to the same measure, see :class:`Group`.
        """


class Group(ABC):
    """A connected group of real matrices.

    Elements are matrices [..., size, size] of any floating type. The left Haar measure is fixed
    throughout: for linear groups it is dX dk at the element exp(X) k near the identity, with
    Lebesgue's measure in orthonormal coordinates of the symmetric X, for the inner product
    tr(A Bᵀ), and total mass one on the rotations k; translations and elations add their Lebesgue
    measures.

    Args:
        name: Name in messages, for example ``SL(2)``.
        n: Dimension of the space acted on: 2 or 3, any for scalings.
        basis: Orthonormal basis [dim, size, size] of the Lie algebra, float64.
        haar_unit: Volume in the coordinates of that basis, at the identity, of one unit of Haar
            measure.

    Example:
        >>> from equinet.lie import SE
        >>> group = SE(2)
        >>> group.act(group.exp(torch.zeros(3, 3)), torch.tensor([1.0, 2.0]))
        tensor([1., 2.])
    """

    def __init__(
        self, name: str, n: int, basis: Float[Tensor, "dim size size"], haar_unit: float
    ) -> None:
        self.name = name
        self.n = n
        self.basis = basis
        self.haar_unit = haar_unit

    @property
    def dim(self) -> int:
        """Dimension of the group."""
        return self.basis.shape[0]

    @property
    def size(self) -> int:
        """Rows of its matrices."""
        return self.basis.shape[-1]

    def __repr__(self) -> str:
        return self.name

    @abstractmethod
    def exp(self, algebra: Float[Tensor, "*batch size size"]) -> Float[Tensor, "*batch size size"]:
        """Return the exponentials of elements of the Lie algebra."""

    @abstractmethod
    def log(self, g: Float[Tensor, "*batch size size"]) -> Float[Tensor, "*batch size size"]:
        """Return the principal logarithms of elements.

        Raises:
            ValueError: If a matrix is not an element of the group, or has no principal logarithm.
                Most groups have such elements, which coordinates of :meth:`decompose` reach.
        """

    @abstractmethod
    def inverse(self, g: Float[Tensor, "*batch size size"]) -> Float[Tensor, "*batch size size"]:
        """Return the inverses of elements."""

    @abstractmethod
    def act(
        self, g: Float[Tensor, "*#batch size size"], points: Float[Tensor, "*#batch n"]
    ) -> Float[Tensor, "*out n"]:
        """Move points by elements."""

    @abstractmethod
    def check(self, g: Float[Tensor, "*batch rows columns"]) -> None:
        """Refuse matrices that are no elements.

        Raises:
            ValueError: If a matrix is not an element; the message names the value found, its place
                and the fix.
        """

    @abstractmethod
    def decompositions(self) -> Mapping[str, Decomposition]:
        """Return the decompositions by name."""

    @property
    @abstractmethod
    def cube_dim(self) -> int:
        """Dimension of the unit cube that :meth:`from_cube` maps onto the window."""

    @abstractmethod
    def from_cube(
        self, points: Float[Tensor, "*batch cube"], window: Window
    ) -> tuple[Float[Tensor, "*batch dim"], Float[Tensor, "*batch"]]:
        """Map the unit cube onto the window.

        Args:
            points: Points in [0, 1) with :attr:`cube_dim` components.
            window: Bounds of the part of the group that is covered.

        Returns:
            Coordinates of the Cartan decomposition, and the Haar measure per volume of the cube:
            the mean of a function times these weights is its integral over the window.
        """

    @abstractmethod
    def largest_weight(self, window: Window) -> float:
        """Return a bound on the weights of :meth:`from_cube`."""

    def compose(
        self,
        g: Float[Tensor, "*#batch size size"],
        h: Float[Tensor, "*#batch size size"],
    ) -> Float[Tensor, "*out size size"]:
        """Return the products g h, which act by h first."""
        return g @ h

    def modular(self, g: Float[Tensor, "*batch size size"]) -> Float[Tensor, "*batch"]:
        """Return the factor by which right multiplication changes the left Haar measure.

        The measure of a set E g is ``modular(g)`` times that of E.
        It is 1 for every g where left and right Haar measures agree.
        """
        return torch.ones_like(g[..., 0, 0])

    def haar_density(self, algebra: Float[Tensor, "*batch size size"]) -> Float[Tensor, "*batch"]:
        """Return the density of the left Haar measure in exponential coordinates.

        Args:
            algebra: Elements X of the Lie algebra [..., size, size].

        Returns:
            det((1 - exp(-ad X)) / ad X), per unit volume in coordinates of ``basis``, in units of
            the Haar measure of this class.

        Source: Helgason, Differential Geometry, Lie Groups, and Symmetric Spaces (1978), §II.1.7.

        Example:
            >>> from equinet.lie import SO
            >>> SO(3).haar_density(torch.zeros(3, 3)) * SO(3).haar_unit
            tensor(1.)
        """
        basis = self.basis.to(algebra)
        x = algebra.unsqueeze(-3)
        bracket = x @ basis - basis @ x
        adjoint = torch.einsum("...jab,iab->...ij", bracket, basis)
        return torch.linalg.det(exp_slope(-adjoint)) / self.haar_unit

    def decompose(self, name: str) -> Decomposition:
        """Return a decomposition of the group.

        Args:
            name: Name of the decomposition: ``cartan`` (stretch times rotation), ``iwasawa``
                (rotation, positive diagonal, unit upper triangular), ``kak`` (rotation, positive
                diagonal, rotation), ``ldl`` (Cholesky factors of g gᵀ, rotation) or ``scale``
                (scaling times an element of determinant one), where the group has it.

        Returns:
            The decomposition: coordinates, the inverse map and the Haar density.

        Raises:
            ValueError: If the name is unknown; the message offers the nearest one.

        Example:
            >>> from equinet.lie import SL
            >>> SL(2).decompose("cartan").coordinates(torch.eye(2))
            tensor([0., 0., 0.])
        """
        return named(name, self.decompositions(), f"decomposition of {self}")

    def sample_haar(
        self,
        count: int,
        *,
        window: Window | None = None,
        generator: torch.Generator | None = None,
        dtype: torch.dtype = torch.float64,
    ) -> Float[Tensor, "count size size"]:
        """Draw independent elements from the left Haar measure, restricted to a window.

        Args:
            count: Number of elements.
            window: Bounds of the elements, ``Window()`` by default; rotations are drawn from their
                whole group.
            generator: Source of random numbers, torch's global one by default.
            dtype: Data type of the result, float64 by default.

        Returns:
            The elements.

        Example:
            >>> from equinet.lie import SO
            >>> SO(3).sample_haar(10).shape
            torch.Size([10, 3, 3])
        """
        window = Window() if window is None else window
        bound = self.largest_weight(window)
        accepted = torch.empty(0, self.dim, dtype=torch.float64)
        while len(accepted) < count:
            size = (max(count, 16), self.cube_dim + 1)
            points = torch.rand(size, dtype=torch.float64, generator=generator)
            coordinates, weights = self.from_cube(points[:, 1:], window)
            kept = coordinates[points[:, 0] * bound < weights]
            accepted = torch.cat([accepted, kept])
        return self.decompose("cartan").compose(accepted[:count]).to(dtype)
