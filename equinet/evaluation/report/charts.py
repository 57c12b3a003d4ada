"""Charts as inline SVG, whose colors follow the style of the page."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from equinet.evaluation.report.markup import Markup, element, join

_WIDTH, _HEIGHT = 360, 260
_LEFT, _RIGHT, _TOP, _BOTTOM = 62, 10, 10, 42
_TICKS = 5
_APART = 16  # pixels between two numbers at the vertical axis


@dataclass(frozen=True)
class Line:
    """Line of a chart.

    Attributes:
        label: Name in the legend.
        style: Class of the line in the style sheet: ``first``, ``second`` or ``faint``.
        x: Places of its points.
        y: Values of its points.
    """

    label: str
    style: str
    x: Sequence[float]
    y: Sequence[float]


@dataclass(frozen=True)
class _Axis:
    """Map from values to pixels, linear or logarithmic."""

    low: float
    high: float
    start: float
    end: float
    is_log: bool = False

    def place(self, value: float) -> float:
        low, high, value = (
            (math.log10(x) if self.is_log else x) for x in (self.low, self.high, value)
        )
        return self.start + (self.end - self.start) * (value - low) / (high - low)

    def ticks(self) -> list[float]:
        if self.is_log:
            return self._powers()
        rough = (self.high - self.low) / _TICKS
        power = 10 ** math.floor(math.log10(rough))
        step = next(s * power for s in (1, 2, 5, 10) if s * power >= rough * 0.999)
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        return [round(k * step, 12) for k in range(first, last + 1)]

    def _powers(self) -> list[float]:
        low, high = math.floor(math.log10(self.low)), math.ceil(math.log10(self.high))
        for digits in ((1,), (1, 3), (1, 2, 5), range(1, 10)):
            stride = max(1, (high - low) // _TICKS)
            found = [d * 10.0**p for p in range(low, high + 1, stride) for d in digits]
            found = [x for x in found if self.low * 0.999 <= x <= self.high * 1.001]
            if len(found) >= 3:
                break
        return found


def line_chart(
    lines: Sequence[Line], x_label: str, y_label: str, *, logarithmic: bool = True
) -> Markup | None:
    """Draw lines with a legend; values that cannot be drawn are left out.

    Args:
        lines: Lines to draw.
        x_label: Label of the horizontal axis.
        y_label: Label of the vertical axis.
        logarithmic: Whether the vertical axis is logarithmic, if all values are positive.

    Returns:
        The chart; None where there is no point to draw.
    """
    lines = [found for line in lines if (found := _finite(line)).x]
    if not lines:
        return None
    xs = [x for line in lines for x in line.x]
    ys = [y for line in lines for y in line.y]
    is_log = logarithmic and min(ys) > 0
    across = _axis(xs, _LEFT, _WIDTH - _RIGHT)
    up = _axis(ys, _HEIGHT - _BOTTOM, _TOP, is_log=is_log)
    drawn = []
    for line in lines:
        points = [
            f"{across.place(x):.1f} {up.place(y):.1f}" for x, y in zip(line.x, line.y, strict=True)
        ]
        drawn.append(element("path", class_=f"line {line.style}", d="M" + "L".join(points)))
        if len(points) < 30:
            dots = "".join(f"M{point}h0" for point in points)
            drawn.append(element("path", class_=f"dots {line.style}", d=dots))
    chart = element(
        "svg",
        _frame(across, up, x_label, y_label),
        *drawn,
        viewBox=f"0 0 {_WIDTH} {_HEIGHT}",
        role="img",
        aria_label=f"{y_label} against {x_label}",
    )
    if len(lines) == 1:
        return element("figure", chart)
    keys = [element("span", line.label, class_=f"key {line.style}") for line in lines]
    return element("figure", chart, element("figcaption", *keys))


def scatter_chart(x: Sequence[float], y: Sequence[float], x_label: str, y_label: str) -> Markup:
    """Draw points about the diagonal, on equal axes.

    Args:
        x: Horizontal places, at least one.
        y: Vertical places, as many as in ``x``.
        x_label: Label of the horizontal axis.
        y_label: Label of the vertical axis.
    """
    both = [*x, *y]
    across = _axis(both, _LEFT, _WIDTH - _RIGHT)
    up = _axis(both, _HEIGHT - _BOTTOM, _TOP)
    places = {
        (round(2 * across.place(a)), round(2 * up.place(b))) for a, b in zip(x, y, strict=True)
    }
    dots = "".join(f"M{a / 2:g} {b / 2:g}h0" for a, b in sorted(places))
    diagonal = (
        f"M{across.place(across.low):.1f} {up.place(up.low):.1f}"
        f"L{across.place(across.high):.1f} {up.place(up.high):.1f}"
    )
    return element(
        "svg",
        _frame(across, up, x_label, y_label),
        element("path", class_="diagonal", d=diagonal),
        element("path", class_="dots first cloud", d=dots),
        viewBox=f"0 0 {_WIDTH} {_HEIGHT}",
        role="img",
        aria_label=f"{y_label} against {x_label}",
    )


def _finite(line: Line) -> Line:
    points = [(x, y) for x, y in zip(line.x, line.y, strict=True) if math.isfinite(y)]
    return Line(line.label, line.style, [x for x, _ in points], [y for _, y in points])


def _axis(values: Sequence[float], start: float, end: float, *, is_log: bool = False) -> _Axis:
    """Fit an axis to values, with a margin, and some width where all values are equal."""
    low, high = float(np.min(values)), float(np.max(values))
    if is_log:
        return _Axis(low / 1.15, high * 1.15, start, end, is_log=True)
    margin = 0.03 * (high - low) or 0.5 * abs(high) or 1.0
    return _Axis(low - margin, high + margin, start, end)


def _frame(across: _Axis, up: _Axis, x_label: str, y_label: str) -> Markup:
    """Draw the grid, the numbers at its lines, and the labels of both axes."""
    bottom, right = _HEIGHT - _BOTTOM, _WIDTH - _RIGHT
    parts = []
    for tick in across.ticks():
        x = round(across.place(tick), 1)
        parts.append(element("path", class_="grid", d=f"M{x} {_TOP}V{bottom}"))
        parts.append(element("text", _number(tick), x=x, y=bottom + 15, text_anchor="middle"))
    last = math.inf
    for tick in up.ticks():
        y = round(up.place(tick), 1)
        parts.append(element("path", class_="grid", d=f"M{_LEFT} {y}H{right}"))
        if last - y < _APART:
            continue
        last = y
        parts.append(element("text", _number(tick), x=_LEFT - 5, y=y + 4, text_anchor="end"))
    middle, height = (_LEFT + right) / 2, (_TOP + bottom) / 2
    parts.append(
        element("text", x_label, class_="label", x=middle, y=_HEIGHT - 7, text_anchor="middle")
    )
    parts.append(
        element(
            "text",
            y_label,
            class_="label",
            text_anchor="middle",
            transform=f"translate(12 {height:.0f}) rotate(-90)",
        )
    )
    return join(*parts)


def _number(value: float) -> str:
    if value == 0:
        return "0"
    if 1e-3 <= abs(value) < 1e5:
        return f"{value:.6g}".replace("-", "−")
    mantissa, power = f"{value:.0e}".split("e")
    sign = "−" if int(power) < 0 else ""
    return f"{mantissa}e{sign}{abs(int(power))}".replace("-", "−")
