"""Sizes and colors of elements in drawings."""

from equinet.data.atoms.frames import ase_library


def appearance(atomic_number: int) -> tuple[float, str]:
    """Return the covalent radius and the usual color of an element.

    Args:
        atomic_number: Atomic number of the element.

    Returns:
        Radius in Å, and the color that Jmol uses as ``#`` and six hexadecimal digits.

    Raises:
        BackendError: ASE is not installed.

    Example:
        >>> appearance(8)
        (0.66, '#ff0d0d')
    """
    ase = ase_library()
    from ase.data.colors import jmol_colors

    color = "".join(f"{round(255 * part):02x}" for part in jmol_colors[atomic_number])
    return float(ase.data.covalent_radii[atomic_number]), f"#{color}"
