"""Distribution of the force error over the structures of a set."""

from typing import Any

import numpy as np
from jaxtyping import Float

from equinet.evaluation.finite import source_of


def summarize(values: Float[np.ndarray, " structure"], loader: Any) -> dict[str, Any] | None:
    """Reduce the errors of single structures to percentiles and the worst structure.

    Args:
        values: Error of each structure, in the order of the set; NaN for a structure that has none.
        loader: Loader of the set, which names the worst structure, see
            :func:`~equinet.evaluation.finite.source_of`.

    Returns:
        ``median``, ``percentile_90``, ``percentile_99`` and ``worst`` in the unit of the values,
        ``worst_index``, from 0, and ``worst_source``; None where no structure has an error.

    Example:
        >>> summary = summarize(np.array([1.0, 4.0, 2.0]), [])
        >>> summary["median"], summary["worst"], summary["worst_source"]
        (2.0, 4.0, 'structure 1')
    """
    known = values[~np.isnan(values)]
    if not known.size:
        return None
    median, high, highest = (float(x) for x in np.percentile(known, (50, 90, 99)))
    index = int(np.nanargmax(values))
    return {
        "median": median,
        "percentile_90": high,
        "percentile_99": highest,
        "worst": float(values[index]),
        "worst_index": index,
        "worst_source": source_of(loader, index),
    }


def describe(name: str, summary: dict[str, Any]) -> str:
    """Write the distribution of the force error in one line.

    Args:
        name: Name of the set.
        summary: Result of :func:`summarize`, in meV/Å.

    Example:
        >>> line = describe("val", summarize(np.array([1.0, 4.0, 2.0]), []))
        >>> line.split(", ")[0], line.split(", ")[-1]
        ('val: F RMSE of a structure: median 2.00', 'worst 4.00 meV/Å (structure 1)')
    """
    shown = (
        f"median {summary['median']:.2f}",
        f"90 % below {summary['percentile_90']:.2f}",
        f"99 % below {summary['percentile_99']:.2f}",
        f"worst {summary['worst']:.2f} meV/Å ({summary['worst_source']})",
    )
    return f"{name}: F RMSE of a structure: " + ", ".join(shown)
