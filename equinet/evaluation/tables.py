"""Tables of errors: as text, and as a run writes them into ``metrics.csv``."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from equinet.evaluation.errors import Error
from equinet.files import reading


def lay_out(rows: Sequence[Mapping[str, Any]], errors: Sequence[Error], width: int = 0) -> str:
    """Write errors under their labels and units, one line for each set.

    Args:
        rows: Sets, each with ``name``, ``structures`` and errors by name; errors that a row lacks
            are left blank.
        errors: Errors to show, one column each.
        width: Least width of the column of names, in characters.

    Example:
        >>> print(lay_out([{"name": "val", "structures": 7, "mse": 0.25}], [Error("mse", "MSE")]))
        set  structures          MSE
        val           7         0.25
    """
    width = max([width, len("set"), *(len(str(row["name"])) for row in rows)])

    def write(name: str, structures: object, cells: Sequence[str]) -> str:
        padded = "  ".join(f"{cell:>11}" for cell in cells)
        return f"{name:<{width}}  {structures:>10}  {padded}"

    labels, units = [error.head[0] for error in errors], [error.head[1] for error in errors]
    lines = [write("set", "structures", labels)]
    if any(units):
        lines.append(write("", "", units))
    for row in rows:
        cells = [f"{row[e.name]:.{e.digits}f}" if e.name in row else "" for e in errors]
        lines.append(write(row["name"], row["structures"], cells).rstrip())
    return "\n".join(lines)


def absent(rows: Sequence[Mapping[str, Any]], labels: Mapping[str, str]) -> list[str]:
    """Say which sets have no error of some label, since they lack the label.

    Args:
        rows: Sets, each with ``name`` and errors by name.
        labels: Name of an error of each label, by name of the label.

    Example:
        >>> absent([{"name": "val", "mse": 0.25}], {"masses": "mse", "charges": "mae"})
        ['val has no charges, so there are no errors of them']
    """
    found = []
    for row in rows:
        missing = [label for label, error in labels.items() if error not in row]
        if missing:
            names = " and no ".join(missing)
            found.append(f"{row['name']} has no {names}, so there are no errors of them")
    return found


def read_metrics(path: Path) -> list[dict[str, float]]:
    r"""Read ``metrics.csv``; empty cells and an incomplete last line are left out.

    Args:
        path: Path of the file.

    Returns:
        Rows as mappings from the names of columns to numbers.

    Raises:
        DataError: The file is not UTF-8, or a column is missing.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder, "metrics.csv")
        ...     _ = path.write_text("epoch,step,val_loss\n1,5,0.25\n")
        ...     read_metrics(path)
        [{'epoch': 1, 'step': 5, 'val_loss': 0.25}]
    """
    rows: list[dict[str, float]] = []
    with reading(path, "a table of errors"), path.open(newline="", encoding="utf-8") as file:
        for cells in csv.DictReader(file):
            try:
                rows.append({name: float(value) for name, value in cells.items() if value})
            except (TypeError, ValueError):
                break
        return [{**row, "epoch": int(row["epoch"]), "step": int(row["step"])} for row in rows]
