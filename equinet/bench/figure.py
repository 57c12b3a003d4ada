"""The picture of a benchmark: time against degree, both logarithmic."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from equinet.bench.contest import STAGES, Result

_COLORS = {
    "e3nn": "#444444",
    "reference": "#9aa5b1",
    "fourier": "#c46a1f",
    "grid": "#1f5f8b",
    "native": "#2e8b57",
}


def draw(results: Sequence[Result], path: Path, title: str) -> None:
    """Draw a row of panels for each op, a column for each stage.

    Args:
        results: Of any number of ops and degrees.
        path: PNG to write.
        title: Above all panels.
    """
    ops = list(dict.fromkeys(result.op for result in results))
    names = list(dict.fromkeys(result.implementation for result in results))
    size = (3.6 * len(STAGES), 2.8 * len(ops) + 0.4)
    figure = Figure(figsize=size, dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(len(ops), len(STAGES), squeeze=False, sharex=True, sharey="row")
    for op, row in zip(ops, panels, strict=True):
        for stage, axis in zip(STAGES, row, strict=True):
            for name in names:
                points = [
                    (r.lmax, r.median_ms)
                    for r in results
                    if (r.op, r.stage, r.implementation) == (op, stage, name)
                ]
                if points:
                    axis.plot(
                        *zip(*points, strict=True), "o-", color=_COLORS.get(name), label=name, ms=3
                    )
            axis.set(xscale="log", yscale="log")
            axis.grid(visible=True, which="both", alpha=0.2)
        row[0].set_ylabel(f"{op}\nms")
    degrees = sorted({result.lmax for result in results})
    for stage, top, bottom in zip(STAGES, panels[0], panels[-1], strict=True):
        top.set_title(stage, fontsize=9)
        bottom.set_xticks(degrees, [str(degree) for degree in degrees])
        bottom.minorticks_off()
        bottom.set_xlabel("lmax")
    panels[0][0].legend(frameon=False, fontsize=8)
    figure.suptitle(title, fontsize=10)
    figure.savefig(path)
