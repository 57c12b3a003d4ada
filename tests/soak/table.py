"""The table at the end of a soak."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """What one part found.

    Attributes:
        part: Name of the part.
        what: What was tried.
        cases: Number of cases.
        faults: A sentence for each failure.
        seconds: Time that it took.
        measured: Figures worth keeping.
    """

    part: str
    what: str
    cases: int
    faults: list[str]
    seconds: float
    measured: str = ""


def table(rows: Sequence[Row]) -> str:
    """Write rows as text, the failures of each below it, and the sums at the end."""
    lines = [f"{'part':8} {'what':36} {'cases':>7} {'failures':>8} {'seconds':>8}"]
    for row in rows:
        numbers = f"{row.cases:7d} {len(row.faults):8d} {row.seconds:8.1f}"
        lines.append(f"{row.part:8} {row.what:36} {numbers}  {row.measured}".rstrip())
        lines += [f"  FAILURE {fault}" for fault in row.faults]
    cases, faults = sum(row.cases for row in rows), sum(len(row.faults) for row in rows)
    seconds = sum(row.seconds for row in rows)
    lines.append(f"{'all':8} {'':36} {cases:7d} {faults:8d} {seconds:8.1f}")
    return "\n".join(lines)
