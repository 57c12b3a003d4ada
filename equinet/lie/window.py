"""The bounded part of a group that samples and quadratures cover."""

import dataclasses


@dataclasses.dataclass(frozen=True, kw_only=True)
class Window:
    """Bounds of the factors of an element; rotations are always covered whole.

    A group that is not compact has infinite Haar measure, so every integral over it needs a window.

    Args:
        stretch: Largest Frobenius norm of the logarithm X of the volume-preserving stretch exp(X).
        scale: Largest absolute logarithm of the scaling, det^(1/n).
        translation: Largest absolute component of translations, in the unit of positions.
        perspective: Largest absolute component of the elation of a homography, in the inverse unit
            of positions.

    Raises:
        ValueError: If a bound is not positive.

    Example:
        >>> Window(stretch=0.3).scale
        0.5
    """

    stretch: float = 0.5
    scale: float = 0.5
    translation: float = 1.0
    perspective: float = 0.1

    def __post_init__(self) -> None:
        for name, bound in dataclasses.asdict(self).items():
            if not bound > 0:
                raise ValueError(f"{name} of the window must be above 0, found {bound}")
