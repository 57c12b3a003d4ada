"""Draw the learning curves of experiments/qm9/results.json, from runs named TARGET-NUMBER.

python experiments/qm9/curve.py
"""

import json
from collections import defaultdict
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

FOLDER = Path(__file__).resolve().parent


def points() -> dict[tuple[str, str], list[tuple[int, float]]]:
    """Test errors against the number of training molecules, by target and unit."""
    found = defaultdict(list)
    for entry in json.loads((FOLDER / "results.json").read_text()):
        target, _, number = entry["run"].rpartition("-")
        if entry["split"] == "test" and entry["metric"] == f"{target}_mae":
            found[target, entry["unit"]].append((int(number), entry["value"]))
    return {key: sorted(each) for key, each in found.items()}


def main() -> None:
    curves = points()
    figure = Figure(figsize=(3.4 * len(curves), 3.2), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    for axis, ((target, unit), each) in zip(
        figure.subplots(1, len(curves), squeeze=False)[0], curves.items(), strict=True
    ):
        axis.plot(*zip(*each, strict=True), marker="o", color="#1f5f8b")
        axis.set(xscale="log", yscale="log", xlabel="training molecules")
        axis.set_ylabel(f"{target} MAE ({unit})")
        axis.grid(visible=True, which="both", alpha=0.2)
    figure.savefig(FOLDER / "curve.png")


if __name__ == "__main__":
    main()
