"""Total energies of free atoms, from which fits of reference energies start."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float64

from equinet.data.atoms.units import EV_PER

# Hartree, H to Xe. Kohn-Sham energies of the usual functionals differ by 0.1 to 1 % from these.
_HARTREE = (
    *(-0.5, -2.862, -7.433, -14.573, -24.529, -37.689, -54.401, -74.809, -99.409, -128.547),
    *(-161.859, -199.615, -241.877, -288.854, -340.719, -397.505, -459.482, -526.818),
    *(-599.165, -676.758, -759.736, -848.406, -942.884, -1043.356, -1149.866, -1262.444),
    *(-1381.415, -1506.871, -1638.964, -1777.848, -1923.261, -2075.360, -2234.239),
    *(-2399.868, -2572.441, -2752.055, -2938.357, -3131.546, -3331.684, -3538.995),
    *(-3753.598, -3975.549, -4204.789, -4441.539, -4685.882, -4937.921, -5197.698),
    *(-5465.133, -5740.169, -6022.932, -6313.485, -6611.784, -6917.981, -7232.138),
)


def atomic_energies(elements: Sequence[int]) -> Float64[np.ndarray, " elements"] | None:
    """Look up non-relativistic Hartree-Fock energies of free atoms in their ground states.

    Args:
        elements: Atomic numbers of the elements.

    Returns:
        Total energies with all electrons, eV; None where an element is beyond xenon, for which
        the energies of relativistic calculations differ by more than one percent.

    Source: Bunge, Barrientos, Bunge, At. Data Nucl. Data Tables 53, 113 (1993), rounded to 0.001
    hartree.

    Example:
        >>> atomic_energies([1, 8]).round(1).tolist(), atomic_energies([79])
        ([-13.6, -2035.7], None)
    """
    if not all(1 <= z <= len(_HARTREE) for z in elements):
        return None
    return EV_PER["Hartree"] * np.array([_HARTREE[z - 1] for z in elements])
