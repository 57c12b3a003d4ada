"""Tables of errors, for people."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Column:
    """One error in a table.

    Attributes:
        name: Of the error.
        head: Above its values.
        unit: Below the head.
        digits: After the point.
    """

    name: str
    head: str
    unit: str = ""
    digits: int = 2


def lay_out(rows: Sequence[Mapping[str, Any]], columns: Sequence[Column], width: int = 0) -> str:
    """Write errors under their names and units, a set a line.

    Args:
        rows: Each with ``name``, ``structures`` and errors; those that it lacks are left blank.
        columns: What to show.
        width: Least width of the names.

    Example:
        >>> print(lay_out([{"name": "val", "structures": 7, "mse": 0.25}], [Column("mse", "MSE")]))
        set  structures          MSE
        val           7         0.25
    """
    width = max([width, len("set"), *(len(str(row["name"])) for row in rows)])

    def write(name: str, structures: object, cells: Sequence[str]) -> str:
        padded = "  ".join(f"{cell:>11}" for cell in cells)
        return f"{name:<{width}}  {structures:>10}  {padded}"

    lines = [write("set", "structures", [column.head for column in columns])]
    if any(column.unit for column in columns):
        lines.append(write("", "", [column.unit for column in columns]))
    for row in rows:
        cells = [f"{row[c.name]:.{c.digits}f}" if c.name in row else "" for c in columns]
        lines.append(write(row["name"], row["structures"], cells).rstrip())
    return "\n".join(lines)
