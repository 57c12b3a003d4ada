"""Sections of a report on errors; each is None where there is nothing to show."""

import base64
from collections.abc import Mapping, Sequence
from typing import Any

from equinet.evaluation.errors import Error, curves, tabulated
from equinet.evaluation.published import PublishedRow
from equinet.evaluation.report.charts import Line, line_chart, scatter_chart
from equinet.evaluation.report.contents import Contents
from equinet.evaluation.report.drawing import colors, drawing
from equinet.evaluation.report.findings import Findings, Group, Panel, Trace
from equinet.evaluation.report.markup import Content, Markup, element, join
from equinet.evaluation.report.worst import Structure

_WORST = 10
_CURVE_POINTS = 600


def headline(contents: Contents) -> Markup:
    """Say what was trained or evaluated on what, with the errors of each set.

    Args:
        contents: Content of the report.
    """
    report = contents.report
    parts: list[Content] = [element("h1", report.title)]
    parts += [element("p", sentence, class_="about") for sentence in report.about]
    if report.rows:
        parts.append(_errors(report.rows, report.errors))
    else:
        parts.append(element("p", "There are no errors yet: no set was evaluated.", class_="note"))
    parts += [
        _published(
            name,
            rows,
            next((row for row in report.rows if row["name"] == name), {}),
            report.errors,
        )
        for name, rows in report.published.items()
    ]
    return element("header", *parts)


def data(contents: Contents) -> Markup | None:
    """Describe the data.

    Args:
        contents: Content of the report.
    """
    lines = contents.report.data
    if not lines:
        return None
    return _section("Data", element("ul", *(element("li", line) for line in lines)))


def learning(contents: Contents) -> Markup | None:
    """Draw the errors against the training step.

    Args:
        contents: Content of the report.
    """
    labels = curves(contents.report.errors) or {"loss": "loss"}
    stride = -(-len(contents.curve) // _CURVE_POINTS) or 1
    # The last row must be among the points.
    rows = contents.curve[::-1][::stride][::-1]
    charts = []
    for name, label in labels.items():
        lines = []
        for split, word, style in (("train", "training", "second"), ("val", "validation", "first")):
            points = [(r["step"], r[f"{split}_{name}"]) for r in rows if f"{split}_{name}" in r]
            lines.append(Line(word, style, [x for x, _ in points], [y for _, y in points]))
        charts.append(line_chart(lines, "step", label))
    return _section("Learning curves", _grid(charts))


def parity(contents: Contents) -> Markup | None:
    """Draw predicted against true values of each set, with their root mean square errors.

    Args:
        contents: Content of the report.
    """
    sets = [
        _named(found.name, [_parity(panel) for panel in found.panels])
        for found in contents.report.findings
    ]
    return _section("Predicted against true values", *sets)


def pictures(contents: Contents) -> Markup | None:
    """Show pictures that lie in the folder.

    Args:
        contents: Content of the report.
    """
    shown = [
        element(
            "figure",
            element(
                "img",
                alt=caption,
                src=f"data:image/png;base64,{base64.b64encode(content).decode()}",
            ),
            element("figcaption", caption),
        )
        for caption, content in contents.pictures.items()
    ]
    return _section("Pictures", *shown) if shown else None


def elements(contents: Contents) -> Markup | None:
    """Tell the force errors by element.

    Args:
        contents: Content of the report.
    """
    tables = [_groups(each, each.elements, "element", "") for each in contents.report.findings]
    return _section("Force errors by element", _grid(tables))


def sizes(contents: Contents) -> Markup | None:
    """Tell the force errors by the length of the true force.

    Args:
        contents: Content of the report.
    """
    tables = [_groups(each, each.sizes, "true force", "eV/Å") for each in contents.report.findings]
    return _section("Force errors by the size of the force", _grid(tables))


def traces(contents: Contents) -> Markup | None:
    """Draw errors in the order of the structures in their file.

    Args:
        contents: Content of the report.
    """
    sets = [
        _named(found.name, [_trace(trace) for trace in found.traces])
        for found in contents.report.findings
    ]
    return _section("Errors along the file", *sets)


def spreads(contents: Contents) -> Markup | None:
    """Tell percentiles of the errors of single structures.

    Args:
        contents: Content of the report.
    """
    rows = [
        (
            found.name,
            f"{each.label} ({each.unit})",
            *(
                f"{value:.2f}"
                for value in (each.median, each.percentile_90, each.percentile_99, each.worst)
            ),
            each.source,
        )
        for found in contents.report.findings
        for each in found.spreads
    ]
    if not rows:
        return None
    names = ("set", "error", "median", "90 % below", "99 % below", "worst", "worst structure")
    heads = [(name, "") for name in names]
    return _section(
        "Errors of single structures", _table(heads, rows, texts={0, 1, 6}, class_="errors")
    )


def worst(contents: Contents) -> Markup | None:
    """Draw the structures with the largest errors of all sets.

    Args:
        contents: Content of the report.
    """
    found = [(each.name, one) for each in contents.report.findings for one in each.worst]
    # Errors of forces and of energies cannot be compared; sets with forces come first.
    found.sort(key=lambda pair: (pair[1].unit != "meV/Å", -pair[1].value))
    found = found[:_WORST]
    if not found:
        return None
    return _section(
        "Structures with the largest errors",
        element(
            "p",
            "A ring is the redder and the wider, the larger the force error of its atom relative "
            "to the largest in the structure. Drag a structure to rotate it.",
            class_="note",
        ),
        colors([one for _, one in found]),
        _grid([_structure(name, one) for name, one in found]),
    )


def _structure(name: str, found: Structure) -> Markup:
    what = "force RMSE" if found.unit == "meV/Å" else "energy error"
    facts = [f"{what} {found.value:.1f} {found.unit}"]
    known = [error for error in found.errors if error is not None]
    if known:
        facts.append(f"largest force error of an atom {max(known):.1f} meV/Å")
    if found.energy is not None and found.unit == "meV/Å":
        facts.append(f"energy error {found.energy:+.2f} meV/atom".replace("-", "−"))
    if len(found.numbers) < found.atoms:
        facts.append(f"drawn are the {len(found.numbers)} atoms nearest to that with the largest")
    return element(
        "figure",
        drawing(found),
        element(
            "figcaption",
            element("b", f"{found.formula}, {found.atoms} atoms"),
            element("br"),
            f"{name}: {found.source}",
            element("br"),
            "; ".join(facts),
        ),
    )


def _errors(rows: Sequence[Mapping[str, Any]], declared: Sequence[Error]) -> Markup:
    """Lay out the errors of all sets; a narrow page shows each set as a list."""
    shown = tabulated(declared, rows)
    heads = [("set", ""), ("structures", ""), *(error.head for error in shown)]
    cells = [
        (
            str(row["name"]),
            f"{row['structures']:,}",
            *(
                f"{row[error.name]:.{error.digits}f}" if row.get(error.name) is not None else ""
                for error in shown
            ),
        )
        for row in rows
    ]
    return _table(heads, cells, texts={0}, class_="errors")


def _published(
    name: str,
    published: Sequence[PublishedRow],
    own: Mapping[str, Any],
    declared: Sequence[Error],
) -> Markup | None:
    if not published:
        return None
    shown = [e for e in declared if any(e.name in row.errors for row in published)]
    heads = [("model", ""), *(error.head for error in shown)]

    def cells(errors: Mapping[str, Any]) -> list[str]:
        found = [(errors.get(error.name), error.digits) for error in shown]
        return ["" if value is None else f"{value:.{digits}f}" for value, digits in found]

    mine = cells(own)
    rows: list[tuple[Content, ...]] = [(element("b", "this model"), *mine)] if any(mine) else []
    rows += [
        (join(row.model, element("small", row.source)), *cells(row.errors)) for row in published
    ]
    training = published[0].training
    title = element("h3", f"Published errors on {name}, of models trained on {training}")
    return join(title, _table(heads, rows, texts={0}))


def _trace(found: Trace) -> Markup | None:
    lines = [Line("mean", "first", found.places, found.means)]
    if found.means != found.highest:
        lines.insert(0, Line("largest", "faint", found.places, found.highest))
        lines.insert(0, Line("smallest", "faint", found.places, found.lowest))
    label, is_signed = f"{found.label} ({found.unit})", min(found.lowest) < 0
    return line_chart(
        lines, "structure, in the order of the file", label, logarithmic=not is_signed
    )


def _parity(panel: Panel) -> Markup:
    unit = panel.label.rpartition("(")[2].removesuffix(")") if "(" in panel.label else ""
    rmse = f"{panel.rmse:.4g} {unit}".strip()
    if unit.startswith("eV"):
        rmse = f"{1000 * panel.rmse:.2f} m{unit}"
    chart = scatter_chart(
        panel.true, panel.predicted, f"true {panel.label}", f"predicted {panel.label}"
    )
    drawn = f", {len(panel.true):,} of them drawn" if len(panel.true) < panel.count else ""
    return element(
        "figure",
        chart,
        element("figcaption", f"RMSE {rmse}, {panel.count:,} values{drawn}"),
    )


def _groups(found: Findings, groups: Sequence[Group], what: str, unit: str) -> Markup | None:
    """Lay out the errors of groups of atoms, with bars that compare them."""
    if not groups:
        return None
    largest = max(group.rmse for group in groups) or 1.0
    heads = ((what, unit), ("atoms", ""), ("RMSE", "meV/Å"), ("MAE", "meV/Å"), ("", ""))
    rows = [
        (
            group.label,
            f"{group.atoms:,}",
            f"{group.rmse:.1f}",
            f"{group.mae:.1f}",
            element("span", class_="bar", style=f"width:{2.5 * group.rmse / largest:.2f}rem"),
        )
        for group in groups
    ]
    return element("div", element("h3", found.name), _table(heads, rows, texts={0, 4}))


def _table(
    heads: Sequence[tuple[str, str]],
    rows: Sequence[Sequence[Content]],
    *,
    texts: set[int],
    class_: str | None = None,
) -> Markup:
    """Lay out rows under heads with units; columns that are no texts are flush right."""
    style = [None if column in texts else "number" for column in range(len(heads))]
    first = element(
        "tr",
        *(
            element("th", head, element("small", unit) if unit else None, class_=each, scope="col")
            for (head, unit), each in zip(heads, style, strict=True)
        ),
    )
    body = [
        element(
            "tr",
            *(
                element(
                    "td",
                    cell,
                    class_=each,
                    data_label=f"{head[0]} ({head[1]})" if head[1] else head[0],
                )
                for cell, head, each in zip(row, heads, style, strict=True)
            ),
        )
        for row in rows
    ]
    table = element("table", element("thead", first), element("tbody", *body), class_=class_)
    return element("div", table, class_="scroll", tabindex=0)


def _grid(parts: Sequence[Markup | None]) -> Markup | None:
    shown = [part for part in parts if part is not None]
    return element("div", *shown, class_="grid") if shown else None


def _named(name: str, parts: Sequence[Markup | None]) -> Markup | None:
    """Put the charts of a set under its name; None where there are none."""
    grid = _grid(parts)
    return None if grid is None else join(element("h3", name), grid)


def _section(title: str, *content: Content) -> Markup | None:
    """Put content under a title; None where there is none."""
    if all(part is None for part in content):
        return None
    return element("section", element("h2", title), *content)
