"""The neighborhood of an atom: which other atoms a model lets it see."""

import math
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Neighborhood:
    """The rule by which edges are drawn between atoms, the same wherever graphs are built.

    A model states its neighborhood; data sets, stores and calculators build or count the edges that
    it describes.

    Attributes:
        cutoff: Cutoff radius, Å; atoms at this distance or farther are not connected.
        max_neighbors: Number of edges that may end at an atom, at least 1; the shortest are kept.
            None keeps all edges within the cutoff.
        tie_tolerance: Difference of squared lengths, Å², up to which edges count as equally long:
            edges that are longer than the shortest dropped one by no more than this are kept too.
            None keeps exactly ``max_neighbors``.

    Raises:
        ValueError: ``cutoff`` is not positive and finite, ``max_neighbors`` is below 1, or
            ``tie_tolerance`` is negative or given without ``max_neighbors``.

    Example:
        >>> Neighborhood(5.0, max_neighbors=20).arguments()
        {'cutoff': 5.0, 'max_neighbors': 20}
    """

    cutoff: float
    max_neighbors: int | None = None
    tie_tolerance: float | None = None

    def __post_init__(self) -> None:
        if not (math.isfinite(self.cutoff) and self.cutoff > 0):
            raise ValueError(f"cutoff must be a finite number above 0 (Å), found {self.cutoff}")
        if self.max_neighbors is not None and self.max_neighbors < 1:
            raise ValueError(f"max_neighbors must be at least 1, found {self.max_neighbors}")
        tolerance = self.tie_tolerance
        if tolerance is not None and (self.max_neighbors is None or not 0 <= tolerance < math.inf):
            raise ValueError(
                f"tie_tolerance must not be negative and needs max_neighbors, found {tolerance}"
            )
        object.__setattr__(self, "cutoff", float(self.cutoff))

    @classmethod
    def of(
        cls,
        cutoff: "float | Neighborhood",
        max_neighbors: int | None = None,
        tie_tolerance: float | None = None,
    ) -> "Neighborhood":
        """Pack the arguments of a function that also takes a whole neighborhood as its cutoff.

        Args:
            cutoff: Cutoff radius, Å, or a whole neighborhood.
            max_neighbors: Number of edges that may end at an atom, or None.
            tie_tolerance: Difference of squared lengths that counts as none, Å², or None.

        Returns:
            The neighborhood.

        Raises:
            ValueError: A value is out of range, or stands beside a whole neighborhood.

        Example:
            >>> Neighborhood.of(Neighborhood(5.0)) == Neighborhood.of(5.0)
            True
        """
        if not isinstance(cutoff, Neighborhood):
            return cls(cutoff, max_neighbors, tie_tolerance)
        if max_neighbors is not None or tie_tolerance is not None:
            raise ValueError(
                f"max_neighbors and tie_tolerance are part of {cutoff}; give them there only"
            )
        return cutoff

    def arguments(self) -> dict[str, Any]:
        """Return the values that are not None, as keyword arguments of a model or data module.

        Example:
            >>> Neighborhood(5.0).arguments()
            {'cutoff': 5.0}
        """
        return {name: value for name, value in asdict(self).items() if value is not None}

    def __str__(self) -> str:
        """Describe the neighborhood in a few words, such as ``5 Å, at most 20 neighbors``."""
        text = f"{self.cutoff:g} Å"
        if self.max_neighbors is not None:
            text += f", at most {self.max_neighbors} neighbors"
        if self.tie_tolerance is not None:
            text += f" and ties within {self.tie_tolerance:g} Å²"
        return text
