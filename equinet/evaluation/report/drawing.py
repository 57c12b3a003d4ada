"""Drawings of structures as SVG: spheres and bonds in the order of their depth.

Every shape names the points it is made of, so that the script of the page can rotate the points and
draw the same shapes anew.
"""

import itertools
import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from equinet.data import appearance
from equinet.elements import symbol
from equinet.evaluation.report.markup import Markup, element
from equinet.evaluation.report.worst import Structure

_BOND = 1.2  # times the sum of the covalent radii
_SPHERE = 0.55  # times the covalent radius
_HALVES = (100.0, 72.0)  # pixels from the center of a drawing to its edges
_FILLED = 0.96  # fraction of these distances
_FAINT = 0.05  # fraction of the largest error below which an atom has no ring
_TILT = ((0.94, 0.0, 0.34), (0.10, 0.95, -0.29), (-0.33, 0.31, 0.89))


def colors(structures: Sequence[Structure]) -> Markup:
    """Define and explain the colors of the elements, once for all drawings of a page.

    Args:
        structures: Structures that the page draws.
    """
    numbers = sorted({number for each in structures for number in each.numbers})
    fills, keys = [], []
    for number in numbers:
        _, color = appearance(number)
        stops = (
            element("stop", offset="0", stop_color="#fff"),
            element("stop", offset="0.35", stop_color=color),
            element("stop", offset="1", stop_color=color),
        )
        fills.append(element("radialGradient", *stops, id=f"element{number}", cx=0.35, cy=0.35))
        key = element("span", symbol(number), class_="key atom", style=f"--color:{color}")
        keys.append(key)
    definitions = element("svg", element("defs", *fills), class_="hidden", width=0, height=0)
    return element("p", definitions, *keys)


def drawing(structure: Structure) -> Markup:
    """Draw a structure; the ring around an atom is the redder, the larger its force error.

    Args:
        structure: Structure to draw.
    """
    radii = np.array([appearance(number)[0] for number in structure.numbers])
    given = np.array(structure.positions, dtype=float)
    center = (given.max(axis=0) + given.min(axis=0)) / 2
    view = _view(given - center)
    atoms = (given - center) @ view
    reach = (np.abs(atoms[:, :2]) + _SPHERE * radii[:, None]).max(axis=0)
    scale = float((_FILLED * np.array(_HALVES) / reach).min())
    scene = _Scene(list(scale * atoms), [])
    spheres = scale * _SPHERE * radii
    for first, second in _bonds(atoms, radii):
        way = atoms[second] - atoms[first]
        way = way / np.linalg.norm(way)
        start = scale * atoms[first] + 0.9 * spheres[first] * way
        scene.add_line(start, scale * atoms[second] - 0.9 * spheres[second] * way, "bond")
    for start, end in _edges(structure):
        scene.add_line(scale * (start - center) @ view, scale * (end - center) @ view, "cell")
    right, top = _HALVES
    largest = max((error for error in structure.errors if error is not None), default=0.0)
    for index, (number, error) in enumerate(zip(structure.numbers, structure.errors, strict=True)):
        fraction = error / largest if error and largest else 0.0
        scene.add_sphere(index, number, float(spheres[index]), error, fraction)
    return element(
        "svg",
        *(shape for _, shape in sorted(scene.shapes, key=lambda pair: pair[0])),
        class_="structure",
        viewBox=f"{-right:g} {-top:g} {2 * right:g} {2 * top:g}",
        role="img",
        aria_label=f"{structure.formula}, atoms with large force errors ringed in red",
        data_points=json.dumps([[round(float(x), 1) for x in point] for point in scene.points]),
    )


@dataclass
class _Scene:
    """Points in pixels, with y upwards and z towards the reader, and shapes with their depths."""

    points: list[Float[np.ndarray, "3"]]
    shapes: list[tuple[float, Markup]]

    def add_line(
        self, start: Float[np.ndarray, "3"], end: Float[np.ndarray, "3"], style: str
    ) -> None:
        self.points += [start, end]
        last = len(self.points) - 1
        (x1, y1, z1), (x2, y2, z2) = start.tolist(), end.tolist()
        shape = element(
            "line", class_=style, data_p=f"{last - 1} {last}", x1=x1, y1=-y1, x2=x2, y2=-y2
        )
        self.shapes.append(((z1 + z2) / 2, shape))

    def add_sphere(
        self, index: int, number: int, radius: float, error: float | None, fraction: float
    ) -> None:
        x, y, z = self.points[index].tolist()
        name = symbol(number) if error is None else f"{symbol(number)}: {error:.1f} meV/Å"
        has_ring = fraction > _FAINT
        shape = element(
            "circle",
            element("title", name),
            data_p=index,
            cx=x,
            cy=-y,
            r=radius,
            fill=f"url(#element{number})",
            style=(
                f"stroke:color-mix(in srgb,#d6001c {100 * fraction:.0f}%,var(--quiet));"
                f"stroke-width:{1 + 3.5 * fraction:.1f}"
                if has_ring
                else None
            ),
        )
        self.shapes.append((z, shape))


def _view(positions: Float[np.ndarray, "atom 3"]) -> Float[np.ndarray, "3 3"]:
    """Look along the direction in which the atoms spread least, slightly from above."""
    _, axes = np.linalg.eigh(positions.T @ positions)
    axes = axes[:, ::-1]
    axes = axes * np.sign(np.linalg.det(axes))
    return np.asarray(axes @ np.array(_TILT).T)


def _bonds(
    positions: Float[np.ndarray, "atom 3"], radii: Float[np.ndarray, " atom"]
) -> list[tuple[int, int]]:
    distances = np.linalg.norm(positions[:, None] - positions[None], axis=2)
    near = np.triu(distances < _BOND * (radii[:, None] + radii[None]), k=1) & (distances > 0)
    return [(int(a), int(b)) for a, b in np.argwhere(near)]


def _edges(
    structure: Structure,
) -> list[tuple[Float[np.ndarray, "3"], Float[np.ndarray, "3"]]]:
    """Return the ends of the twelve edges of the cell, Å; none without a cell."""
    if not structure.cell:
        return []
    cell = np.array(structure.cell, dtype=float)
    places = list(itertools.product((0, 1), repeat=3))
    return [
        (np.array(a) @ cell, np.array(b) @ cell)
        for a, b in itertools.combinations(places, 2)
        if sum(x != y for x, y in zip(a, b, strict=True)) == 1
    ]
