"""The two pictures of a run: its learning curve and its parity plot."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_TRAIN, _VAL, _LINE = "#9aa5b1", "#1f5f8b", "#444444"
_MAX_POINTS = 20_000


def learning_curve(rows: Sequence[Mapping[str, float]], path: Path) -> None:
    """Draw energy and force errors against the training step.

    Args:
        rows: Of ``metrics.csv``.
        path: PNG to write.
    """
    figure, axes = _figure(2)
    for axis, name, label in (
        (axes[0], "energy_rmse_meV", "energy RMSE (meV)"),
        (axes[1], "forces_rmse_meV_per_A", "force RMSE (meV/Å)"),
    ):
        for split, color in (("train", _TRAIN), ("val", _VAL)):
            points = [(r["step"], r[f"{split}_{name}"]) for r in rows if f"{split}_{name}" in r]
            if points:
                steps, values = zip(*points, strict=True)
                marker = "o" if len(points) < 30 else None
                axis.plot(steps, values, color=color, label=split, marker=marker, markersize=3)
        axis.set(xlabel="step", ylabel=label, yscale="log")
        axis.grid(visible=True, which="both", alpha=0.2)
    if axes[0].lines:
        axes[0].legend(frameon=False)
    figure.savefig(path)


def parity(
    energies: tuple[Float[np.ndarray, " graph"], Float[np.ndarray, " graph"]],
    forces: tuple[Float[np.ndarray, " component"], Float[np.ndarray, " component"]],
    path: Path,
    title: str = "",
) -> None:
    """Draw predicted against true values.

    Args:
        energies: True and predicted, eV per atom; drawn relative to the mean of the true ones.
        forces: True and predicted components, eV/Å.
        path: PNG to write.
        title: Above both panels.
    """
    figure, axes = _figure(2)
    true, predicted = energies
    center = float(true.mean()) if true.size else 0.0
    _diagonal(axes[0], true - center, predicted - center, "energy − mean (eV/atom)")
    _diagonal(axes[1], *forces, "force component (eV/Å)")
    figure.suptitle(title, fontsize=10)
    figure.savefig(path)


def _diagonal(
    axis: "Axes",
    true: Float[np.ndarray, " point"],
    predicted: Float[np.ndarray, " point"],
    label: str,
) -> None:
    stride = max(1, -(-true.size // _MAX_POINTS))
    axis.scatter(true[::stride], predicted[::stride], s=4, alpha=0.4, linewidths=0, color=_VAL)
    values = np.concatenate([true, predicted])
    values = values[np.isfinite(values)]
    low, high = (float(values.min()), float(values.max())) if values.size else (0.0, 1.0)
    axis.plot([low, high], [low, high], color=_LINE, linewidth=0.8)
    axis.set(xlabel=f"true {label}", ylabel=f"predicted {label}")
    axis.grid(visible=True, alpha=0.2)


def _figure(panels: int) -> "tuple[Figure, Sequence[Axes]]":
    # The object interface with its own canvas: no global state, no display, no pyplot.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.2 * panels, 3.6), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    return figure, list(figure.subplots(1, panels))
