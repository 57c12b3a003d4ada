"""Figure of a race of potentials: time and memory per atom against the number of atoms."""

from collections.abc import Sequence
from pathlib import Path

from equinet.bench.potentials.race import Point

_COLORS = {"equinet": "#2e8b57", "mace-torch": "#1f5f8b", "symmetrix-xl": "#c46a1f"}


def draw_curves(points: Sequence[Point], path: Path, title: str) -> None:
    """Draw time and memory per atom of each library.

    Args:
        points: Points of all libraries and sizes.
        path: Name of the PNG file to write.
        title: Line of text above both panels.

    Example:
        >>> import tempfile
        >>> point = Point("equinet", 100, 40.0, 25.0, (24.0, 26.0), 5, 10**7)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     draw_curves([point], Path(folder, "curve.png"), "One point")
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.0, 3.6), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, 2)
    for axis, name, label in zip(
        panels,
        ("us_per_atom", "kb_per_atom"),
        ("µs an atom, energy and forces", "peak memory, kB an atom"),
        strict=True,
    ):
        for library in dict.fromkeys(point.library for point in points):
            own = [point for point in points if point.library == library]
            values = [getattr(point, name) for point in own]
            style = {"marker": "o", "ms": 3, "color": _COLORS[library], "label": library}
            axis.plot([point.atoms for point in own], values, **style)
        axis.set(xscale="log", yscale="log", xlabel="atoms", ylabel=label)
        axis.grid(visible=True, which="both", alpha=0.2)
    panels[0].legend(frameon=False, fontsize=8)
    figure.suptitle(title, fontsize=10)
    figure.savefig(path)
