"""Figure of a benchmark: time against degree, both logarithmic."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from equinet.bench.contest import STAGES, Result

_COLORS = {
    "reference": "#9aa5b1",
    "fourier": "#c46a1f",
    "grid": "#1f5f8b",
    "native": "#2e8b57",
    "aligned": "#d4a017",
    "e3nn": "#444444",
    "cuequivariance": "#8e44ad",
}


def draw(results: Sequence[Result], path: Path, title: str) -> None:
    """Draw a row of panels for each series, a column for each stage.

    The dashed line is the time that the machine's measured limits allow.

    Args:
        results: Times to draw, of any number of series and degrees.
        path: Name of the PNG file to write.
        title: Line of text above all panels.

    Example:
        >>> import tempfile
        >>> from equinet.bench import Series, compete
        >>> series = Series("", "gaunt_product", ({"lmax": 1, "batch": 2, "channels": 2},))
        >>> [results] = compete(series, seconds=0.0, only=["grid"])
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     draw(results, Path(folder, "bench.png"), "A small benchmark")
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = list(dict.fromkeys((result.series, result.op) for result in results))
    size = (3.6 * len(STAGES), 2.8 * len(rows) + 0.7)
    figure = Figure(figsize=size, dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(len(rows), len(STAGES), squeeze=False, sharey="row")
    lines: dict[str, Any] = {}
    for (series, op), row in zip(rows, panels, strict=True):
        for stage, axis in zip(STAGES, row, strict=True):
            found = [r for r in results if (r.series, r.op, r.stage) == (series, op, stage)]
            lines |= _draw_panel(axis, found)
            axis.set_title(stage, fontsize=9)
        row[0].set_ylabel("\n".join(filter(None, (op, series, "ms"))))
    for axis in panels[-1]:
        axis.set_xlabel("lmax")
    figure.legend(
        lines.values(), lines, loc="outside lower center", ncols=8, frameon=False, fontsize=8
    )
    figure.suptitle(title, fontsize=10)
    figure.savefig(path)


def _draw_panel(axis: Any, results: Sequence[Result]) -> dict[str, Any]:
    """Draw one stage of one series, and return its lines by name."""
    curves: dict[str, dict[int, float]] = {}
    for each in results:
        curves.setdefault(each.implementation, {})[each.lmax] = each.median_ms
        curves.setdefault("limit", {})[each.lmax] = each.limit_ms
    lines = {}
    for name, points in curves.items():
        style = {"ls": "--", "color": "#999999"} if name == "limit" else {"marker": "o", "ms": 3}
        style |= {"color": _COLORS[name]} if name in _COLORS else {}
        (lines[name],) = axis.plot(list(points), list(points.values()), **style)
    degrees = sorted({each.lmax for each in results})
    axis.set(xscale="log", yscale="log")
    axis.set_xticks(degrees, [str(degree) for degree in degrees])
    axis.minorticks_off()
    axis.grid(visible=True, which="both", alpha=0.2)
    return lines
