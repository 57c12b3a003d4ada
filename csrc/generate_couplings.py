"""Write sphere_forms/couplings.h: the nonzero couplings of low degrees, for the unrolled kernels.

Run ``python csrc/generate_couplings.py`` after a change; the header is kept in the repository.
"""

import itertools
from pathlib import Path

from torch import Tensor

from equinet.o3 import bracket_tensor, gaunt_tensor

LMAX = 4
HEADER = Path(__file__).parent / "sphere_forms" / "couplings.h"

_TEXT = """\
// Made by generate_couplings.py: integrals of products of three real harmonics up to degree {lmax}.
// Integrals that differ only in the order of the indices l * l + l + m occur once.
#pragma once

namespace equinet {{

struct Coupling {{
  int i, j, k;
  double value;
}};

constexpr int COUPLINGS_LMAX = {lmax};

// Couplings of the product, which are symmetric: i <= j <= k.
constexpr Coupling GAUNT_COUPLINGS[] = {{
{gaunt}
}};

// Couplings of the bracket, which are antisymmetric: i < j < k.
constexpr Coupling BRACKET_COUPLINGS[] = {{
{bracket}
}};

}}  // namespace equinet
"""


def header() -> str:
    """Return the text of the header."""
    gaunt, bracket = (_list(tensor(LMAX, LMAX, LMAX)) for tensor in (gaunt_tensor, bracket_tensor))
    return _TEXT.format(lmax=LMAX, gaunt=gaunt, bracket=bracket)


def _list(tensor: Tensor) -> str:
    # All digits are written, because the kernels use the couplings in float64 too.
    return "\n".join(
        f"    {{{i}, {j}, {k}, {tensor[i, j, k].item()!r}}},"
        for i, j, k in itertools.combinations_with_replacement(range(len(tensor)), 3)
        if tensor[i, j, k] != 0
    )


if __name__ == "__main__":
    HEADER.write_text(header())
