"""The pictures of a run: its learning curve, its parity plot, the images it takes for others."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Int

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_TRAIN, _VAL, _LINE = "#9aa5b1", "#1f5f8b", "#444444"
_MAX_POINTS = 20_000


@dataclass(frozen=True)
class Parity:
    """Predicted against true values of one quantity.

    Attributes:
        label: Of the quantity, with its unit.
        true: Values.
        predicted: As many.
    """

    label: str
    true: Float[np.ndarray, " point"]
    predicted: Float[np.ndarray, " point"]


@dataclass(frozen=True)
class Classified:
    """Images with their classes, true and predicted: any, and some that the model got wrong.

    Attributes:
        images: Any, in [0, 1].
        labels: Of them.
        wrong: Images whose class was not recognized.
        true: Their classes.
        predicted: What the model took them for.
    """

    images: Float[np.ndarray, "image height width"]
    labels: Int[np.ndarray, " image"]
    wrong: Float[np.ndarray, "mistake height width"]
    true: Int[np.ndarray, " mistake"]
    predicted: Int[np.ndarray, " mistake"]


def learning_curve(
    rows: Sequence[Mapping[str, float]], curves: Mapping[str, str], path: Path
) -> None:
    """Draw errors against the training step.

    Args:
        rows: Of ``metrics.csv``.
        curves: Labels of the errors to draw, by column without its split.
        path: PNG to write.
    """
    figure, axes = _figure(len(curves))
    for axis, (name, label) in zip(axes, curves.items(), strict=True):
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


def parity(panels: Sequence[Parity], path: Path, title: str = "") -> None:
    """Draw predicted against true values.

    Args:
        panels: One or more quantities.
        path: PNG to write.
        title: Above all panels.
    """
    figure, axes = _figure(len(panels))
    for axis, panel in zip(axes, panels, strict=True):
        _diagonal(axis, panel.true, panel.predicted, panel.label)
    figure.suptitle(title, fontsize=10)
    figure.savefig(path)


def classified(found: Classified, path: Path, title: str = "") -> None:
    """Draw images of a set, and below them those whose class was not recognized.

    Args:
        found: At most 16 of each are drawn.
        path: PNG to write.
        title: Above all images.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = 8
    labeled = [(image, str(label)) for image, label in zip(found.images, found.labels, strict=True)]
    mistaken = [
        (image, f"{true}, taken for {predicted}")
        for image, true, predicted in zip(found.wrong, found.true, found.predicted, strict=True)
    ]
    panels = [*labeled[: 2 * columns], *mistaken[: 2 * columns]]
    rows = max(1, -(-len(panels) // columns))
    figure = Figure(figsize=(1.3 * columns, 1.5 * rows + 0.3), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axis in axes:
        axis.set_axis_off()
    for axis, (image, label) in zip(axes, panels, strict=False):
        axis.imshow(image, cmap="gray_r", vmin=0, vmax=1)
        axis.set_title(label, fontsize=8, color=_VAL if "taken" in label else _LINE)
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
    return figure, list(figure.subplots(1, panels, squeeze=False)[0])
