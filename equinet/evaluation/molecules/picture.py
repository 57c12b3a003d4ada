"""Contact sheet of molecules: small drawings side by side."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from equinet.data import appearance
from equinet.diffusion import Molecule
from equinet.elements import symbol
from equinet.evaluation.molecules.bond_table import bond_orders, stability

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLUMNS = 5
_RADIUS = 0.55  # times the covalent radius


def contact_sheet(
    molecules: Sequence[Molecule], path: Path, title: str = "", columns: int = _COLUMNS
) -> None:
    """Draw molecules side by side, each with its formula and whether it is stable.

    Each molecule is seen along the direction in which it is thinnest.

    Args:
        molecules: Molecules to draw, at least one.
        path: PNG file to write.
        title: Title above all drawings.
        columns: Number of drawings in a row.

    Example:
        >>> import tempfile
        >>> water = Molecule(np.array([8, 1, 1]), np.eye(3))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     contact_sheet([water], Path(folder, "molecules.png"))
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = -(-len(molecules) // columns)
    figure = Figure(figsize=(2.0 * columns, 2.1 * rows + 0.3), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axis in axes:
        axis.set_axis_off()
    for axis, molecule in zip(axes, molecules, strict=False):
        _draw(axis, molecule)
    figure.suptitle(title, fontsize=10)
    figure.savefig(path)


def formula(molecule: Molecule) -> str:
    """Write the chemical formula of a molecule, carbon and hydrogen first.

    Args:
        molecule: Molecule whose atoms are counted.

    Example:
        >>> formula(Molecule(np.array([8, 1, 6, 1]), np.zeros((4, 3))))
        'CH2O'
    """
    counts = {z: int((molecule.numbers == z).sum()) for z in np.unique(molecule.numbers).tolist()}
    order = sorted(counts, key=lambda z: (z != 6, z != 1, z))
    return "".join(symbol(z) + (str(counts[z]) if counts[z] > 1 else "") for z in order)


def _draw(axis: "Axes", molecule: Molecule) -> None:
    from matplotlib.patches import Circle

    orders = bond_orders(molecule.numbers, molecule.positions)
    places = _view(molecule.positions)
    for first, second in zip(*np.nonzero(np.triu(orders)), strict=True):
        ends = places[[first, second]]
        across = np.array([ends[1, 1] - ends[0, 1], ends[0, 0] - ends[1, 0]])
        across = across / max(float(np.linalg.norm(across)), 1e-9)
        order = int(orders[first, second])
        for shift in 0.14 * (np.arange(order) - (order - 1) / 2):
            line = ends[:, :2] + shift * across
            axis.plot(*line.T, color="#555555", lw=1.3, zorder=float(ends[:, 2].mean()))
    for number, place in zip(molecule.numbers.tolist(), places, strict=True):
        radius, color = appearance(number)
        circle = Circle(
            (place[0], place[1]), _RADIUS * radius, fc=color, ec="#333333", lw=0.6, zorder=place[2]
        )
        axis.add_patch(circle)
    reach = max(2.5, float(np.abs(places[:, :2]).max()) + 0.5)
    axis.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal")
    is_stable = stability(molecule.numbers, orders).molecule
    label = formula(molecule) + ("" if is_stable else " (not stable)")
    axis.set_title(label, fontsize=8, color="#444444" if is_stable else "#b03030")


def _view(positions: Float[np.ndarray, "atom 3"]) -> Float[np.ndarray, "atom 3"]:
    """Return positions with the longest direction first, and the depth last and above zero."""
    centered = positions - positions.mean(axis=0)
    _, _, axes = np.linalg.svd(centered, full_matrices=True)
    seen: Float[np.ndarray, "atom 3"] = centered @ axes.T
    seen[:, 2] += 10 - seen[:, 2].min()
    return seen
