"""Problem sizes of published benchmarks."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Series:
    """Problems of one op, of ascending degree.

    Attributes:
        name: Publication that the sizes are from; "" for sizes of the command line.
        op: Name of the op, one of :data:`equinet.ops.OPS`.
        sizes: Keyword arguments of :func:`equinet.bench.make_problem`, one mapping a problem.

    Example:
        >>> Series("", "gaunt_powers", ({"lmax": 2, "batch": 32, "channels": 8},)).sizes[0]["lmax"]
        2
    """

    name: str
    op: str
    sizes: tuple[Mapping[str, Any], ...]


PUBLISHED = (
    Series(
        "Gaunt paper, features",
        "gaunt_product",
        tuple(
            {"lmax": lmax, "lmax_out": 2 * lmax, "batch": 1, "channels": 128}
            for lmax in (1, 3, 5, 7, 9, 13)
        ),
    ),
    Series(
        "Gaunt paper, many-body",
        "gaunt_powers",
        tuple({"lmax": lmax, "batch": 32, "channels": 128} for lmax in range(1, 6)),
    ),
    Series(
        "Price of Freedom, MIMO",
        "gaunt_product",
        tuple(
            {"lmax": lmax, "lmax_out": 2 * lmax, "batch": 10_000, "channels": 1}
            for lmax in (1, 2, 4, 6, 8, 10)
        ),
    ),
    Series(
        "OpenEquivariance, mace-medium and -large",
        "gaunt_product",
        tuple(
            {
                "lmax": lmax,
                "lmax_y": 3,
                "lmax_out": 3,
                "is_shared": True,
                "batch": 50_000,
                "channels": 128,
            }
            for lmax in (1, 2)
        ),
    ),
    Series(
        "e3j",
        "gaunt_product",
        tuple({"lmax": lmax, "batch": 32_768, "channels": 128} for lmax in range(1, 9)),
    ),
    Series(
        "e3j, convolution",
        "gaunt_convolution",
        tuple(
            {"lmax": lmax, "batch": 2048 * 45, "neighbors": 45, "channels": 64} for lmax in (2, 3)
        ),
    ),
)
"""Published problem sizes by op; products with other weights are run with the Gaunt weights.

Sources: Luo, Chen and Krishnapriyan, ICLR 2024 (their L counts degrees); Xie et al., ICML 2025;
Bharadwaj et al., OpenEquivariance; InstaDeep, e3j, 2026. Published sizes with other multiplicities
for each degree are left out.
"""
