"""Figures of a run: learning curve, parity plot, errors of structures, misclassified images."""

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
    """Predicted and true values of one quantity.

    Attributes:
        label: Name of the quantity, with its unit.
        true: True values, one for each point.
        predicted: Predicted values, in the same order.

    Example:
        >>> Parity("energy (eV)", np.array([1.0]), np.array([1.5])).label
        'energy (eV)'
    """

    label: str
    true: Float[np.ndarray, " point"]
    predicted: Float[np.ndarray, " point"]


@dataclass(frozen=True)
class Classified:
    """Some images of a set with their classes, and some that were classified wrongly.

    Attributes:
        images: Gray values in [0, 1].
        labels: Classes of ``images``.
        wrong: Gray values of misclassified images, in [0, 1].
        true: True classes of ``wrong``.
        predicted: Predicted classes of ``wrong``.

    Example:
        >>> images, classes = np.zeros((2, 28, 28)), np.array([3, 5])
        >>> Classified(images, classes, images[:1], classes[:1], classes[1:]).true.tolist()
        [3]
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
        rows: Rows of ``metrics.csv``.
        curves: Labels of the errors to draw, by column without its split; empty for the loss.
        path: PNG file to write.

    Example:
        >>> import tempfile
        >>> rows = [{"step": 1, "val_mse": 0.5}, {"step": 2, "val_mse": 0.25}]
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     learning_curve(rows, {"mse": "MSE"}, Path(folder, "curves.png"))
    """
    curves = curves or {"loss": "loss"}
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
        panels: Quantities to draw, at least one.
        path: PNG file to write.
        title: Title above all panels.

    Example:
        >>> import tempfile
        >>> panel = Parity("energy (eV)", np.array([1.0, 2.0]), np.array([1.5, 2.0]))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     parity([panel], Path(folder, "parity.png"))
    """
    figure, axes = _figure(len(panels))
    for axis, panel in zip(axes, panels, strict=True):
        _diagonal(axis, panel.true, panel.predicted, panel.label)
    figure.suptitle(title, fontsize=10)
    figure.savefig(path)


def structure_errors(values: Mapping[str, Float[np.ndarray, " structure"]], path: Path) -> None:
    """Draw the sorted force errors of the structures of some sets.

    Args:
        values: Force RMSE of each structure by name of the set, meV/Å; NaN is left out.
        path: PNG file to write.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     structure_errors({"val": np.array([12.0, 9.5])}, Path(folder, "errors.png"))
    """
    figure, (axis,) = _figure(1)
    for name, given in values.items():
        known = np.sort(given[~np.isnan(given)])
        fractions = 100 * (np.arange(known.size) + 0.5) / max(known.size, 1)
        axis.plot(fractions, known, label=name, marker="o" if known.size < 30 else None, ms=3)
    axis.set(xlabel="percentile of the structures", ylabel="force RMSE (meV/Å)")
    if any((given > 0).any() for given in values.values()):
        axis.set_yscale("log")
    axis.grid(visible=True, which="both", alpha=0.2)
    if axis.lines:
        axis.legend(frameon=False)
    figure.savefig(path)


def classified(found: Classified, path: Path, title: str = "") -> None:
    """Draw images of a set, and below them misclassified ones.

    Args:
        found: Images to draw, at most the first 16 of the set and the first 16 misclassified ones.
        path: PNG file to write.
        title: Title above all images.

    Example:
        >>> import tempfile
        >>> images, classes = np.zeros((2, 28, 28)), np.array([3, 5])
        >>> found = Classified(images, classes, images[:1], classes[:1], classes[1:])
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     classified(found, Path(folder, "images.png"))
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
    # Unlike pyplot, a figure with its own canvas has no global state and needs no display.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.2 * panels, 3.6), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    return figure, list(figure.subplots(1, panels, squeeze=False)[0])
