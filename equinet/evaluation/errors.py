"""Declarations of errors, and running errors whose sums follow from the declarations."""

import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor
from torchmetrics import Metric

# Suffix of column names, and factor from eV, eV/Å, eV/Å³ or fractions.
_UNITS: Mapping[str, tuple[str, float]] = {
    "": ("", 1),
    "%": ("_percent", 100),
    "meV": ("_meV", 1000),
    "meV/atom": ("_meV", 1000),
    "meV/Å": ("_meV_per_A", 1000),
    "meV/Å³": ("_meV_per_A3", 1000),
}
_MOMENTS = {"mean": "sum", "absolute": "absolute", "square": "square", "root": "square"}


@dataclass(frozen=True)
class Error:
    """Declaration of one error: what it is computed from, and where and how it is shown.

    Attributes:
        name: Name in ``metrics.json``; with the suffix of the unit also in ``metrics.csv``.
        label: Head of the error's column in tables; empty for an error that tables leave out.
        unit: ``meV``, ``meV/atom``, ``meV/Å``, ``meV/Å³`` or ``%``; any other unit, such as
            ``D``, is that of the values; empty for a plain number.
        digits: Number of digits after the point in tables.
        of: Quantity whose values are averaged, see :class:`SummedErrors`; empty for an error that
            its metric computes in another way.
        measure: Average that is taken: ``mean`` of the values, of their ``absolute`` values or of
            their ``square``, or the ``root`` of the mean square.
        over: Quantity by whose root mean square the error is divided; empty for no division.
        word: Short name in log lines and in the progress bar, such as ``F``.
        log: Format in log lines, such as ``.1f``; empty for an error that log lines leave out.
        curve: Label in the learning curve, without the unit; empty for an error that is not drawn.
        splits: Sets for which ``metrics.csv`` has a column: ``train``, ``val``, both or none.
        rank: Place in log lines, tables and learning curves; errors of equal rank come in the order
            of declaration, which is also that of the columns of ``metrics.csv``.

    Example:
        >>> error = Error("forces_mae", "F MAE", "meV/Å", word="F", log=".1f", curve="force MAE")
        >>> error.column, error.form, error.caption
        ('forces_mae_meV_per_A', 'F {:.1f} meV/Å', 'force MAE (meV/Å)')
    """

    name: str
    label: str = ""
    unit: str = ""
    digits: int = 2
    of: str = ""
    measure: Literal["mean", "absolute", "square", "root"] = "mean"
    over: str = ""
    word: str = ""
    log: str = ""
    curve: str = ""
    splits: tuple[str, ...] = ("val",)
    rank: int = 0

    @property
    def column(self) -> str:
        """Name with the unit in ASCII, for files and loggers."""
        known = _UNITS.get(self.unit)
        return self.name + (_in_ascii(self.unit) if known is None else known[0])

    @property
    def scale(self) -> float:
        """Factor from eV, eV/Å, eV/Å³ or fractions to the unit; one for any other unit."""
        return _UNITS.get(self.unit, ("", 1))[1]

    @property
    def form(self) -> str:
        """Format string of the error in a log line."""
        return " ".join(part for part in (self.word, f"{{:{self.log}}}", self.unit) if part)

    @property
    def bar(self) -> str:
        """Key of the error in the progress bar."""
        return " ".join(part for part in (self.word, self.unit) if part)

    @property
    def caption(self) -> str:
        """Label of the axis in the learning curve."""
        return f"{self.curve} ({self.unit})" if self.unit else self.curve

    @property
    def head(self) -> tuple[str, str]:
        """Label and unit at the head of a table; an error per atom says so in its label."""
        return self.label, self.unit.removesuffix("/atom")

    def hidden(self) -> "Error":
        """Return the same error, shown in ``metrics.json`` alone."""
        return replace(self, label="", log="", curve="", splits=())


LOSS = Error("loss", splits=("train", "val"))
"""Loss that the metric itself computes from other sums."""


def units(declared: Iterable[Error]) -> dict[str, str]:
    """Return the units of errors by name, empty for plain numbers.

    Args:
        declared: Declarations of the errors.

    Example:
        >>> units([Error("energy_mae", unit="meV"), LOSS])
        {'energy_mae': 'meV', 'loss': ''}
    """
    return {error.name: error.unit for error in declared}


def columns(declared: Sequence[Error]) -> tuple[str, ...]:
    """Return the columns of ``metrics.csv``: those of training, then those of validation.

    Args:
        declared: Declarations of the errors.

    Example:
        >>> columns([LOSS, Error("energy_mae", unit="meV")])
        ('train_loss', 'val_loss', 'val_energy_mae_meV')
    """
    return tuple(
        f"{split}_{error.column}"
        for split in ("train", "val")
        for error in declared
        if split in error.splits
    )


def log_forms(declared: Iterable[Error]) -> dict[str, str]:
    """Return the formats of the errors that a log line shows, by column without its split.

    Args:
        declared: Declarations of the errors.

    Example:
        >>> log_forms([LOSS, Error("mse", word="MSE", log=".5f")])
        {'mse': 'MSE {:.5f}'}
    """
    return {error.column: error.form for error in _ranked(declared) if error.log}


def curves(declared: Iterable[Error]) -> dict[str, str]:
    """Return the labels of the errors in the learning curve, by column without its split.

    Args:
        declared: Declarations of the errors.

    Example:
        >>> curves([LOSS, Error("energy_mae", unit="meV", curve="energy MAE")])
        {'energy_mae_meV': 'energy MAE (meV)'}
    """
    return {error.column: error.caption for error in _ranked(declared) if error.curve}


def tabulated(declared: Iterable[Error], rows: Sequence[Mapping[str, Any]]) -> list[Error]:
    """Return the errors that a table of the given rows shows: those with a label in some row.

    Args:
        declared: Declarations of the errors.
        rows: Rows of the table, errors by name; without any row all errors with a label are shown.

    Example:
        >>> [error.name for error in tabulated([LOSS, Error("mse", "MSE")], [{"mse": 0.5}])]
        ['mse']
    """
    labeled = [error for error in _ranked(declared) if error.label]
    return [error for error in labeled if not rows or any(error.name in row for row in rows)]


def _in_ascii(unit: str) -> str:
    """Return a unit as the suffix of a column, such as ``_cal_per_molK`` for cal/(mol K)."""
    plain = unicodedata.normalize("NFKC", unit)
    for letter, spelled in (("/", "_per_"), ("Å", "A"), ("μ", "u"), ("°", "deg")):
        plain = plain.replace(letter, spelled)
    return "_" + "".join(letter for letter in plain if letter.isascii() and letter not in "() ")


def _ranked(declared: Iterable[Error]) -> list[Error]:
    return sorted(declared, key=lambda error: error.rank)


class SummedErrors(Metric):
    """Errors over a whole set as averages of values that come batch by batch.

    Only sums and counts are kept, in float64, and added up over batches and processes: a mean of
    batch means would be wrong for batches of unequal size. Which sums are kept follows from
    ``declared``.

    Args:
        shared: Whether ``compute`` adds up the sums of all processes; False where only one of them
            evaluates.

    Example:
        >>> class Errors(SummedErrors):
        ...     declared = (Error("mae", unit="meV", of="energy", measure="absolute"),)
        ...     def update(self, predicted, true):
        ...         self.add(energy=predicted - true)
        >>> errors = Errors()
        >>> errors.update(torch.tensor([1.0, 2.0]), torch.tensor([1.5, 2.0]))
        >>> errors.compute()
        {'mae': tensor(250., dtype=torch.float64)}
    """

    full_state_update = False
    higher_is_better = False

    declared: tuple[Error, ...] = ()
    """Errors that ``compute`` returns."""
    further: tuple[str, ...] = ()
    """Quantities whose mean is needed beside those of the declared errors."""

    sums: Tensor

    def __init__(self, *, shared: bool = True) -> None:
        super().__init__(sync_on_compute=shared)
        wanted = [(name, "sum") for name in self.further]
        for error in self.declared:
            wanted += [(error.of, _MOMENTS[error.measure])] if error.of else []
            wanted += [(error.over, "square")] if error.over else []
        kept = [key for name, moment in wanted for key in ((name, "count"), (name, moment))]
        self._places = {key: place for place, key in enumerate(dict.fromkeys(kept))}
        zeros = torch.zeros(len(self._places), dtype=torch.float64)
        self.add_state("sums", default=zeros, dist_reduce_fx="sum")

    def add(self, **values: Tensor | tuple[Tensor, float]) -> None:
        """Add the values of one batch.

        Args:
            values: Values of each quantity, of any shape, in eV, eV/Å, eV/Å³, fractions or plain
                numbers; or the sum of the values and their number.
        """
        moments: dict[str, Tensor | float]
        for name, given in values.items():
            if isinstance(given, tuple):
                total, count = given
                moments = {"count": count, "sum": total.detach().double()}
            else:
                added = given.detach().double()
                moments = {"count": added.numel()}
                if (name, "sum") in self._places:
                    moments["sum"] = added.sum()
                if (name, "absolute") in self._places:
                    moments["absolute"] = added.abs().sum()
                if (name, "square") in self._places:
                    moments["square"] = added.square().sum()
            for moment, amount in moments.items():
                self.sums[self._places[name, moment]].add_(amount)

    def compute(self) -> dict[str, Tensor]:
        """Return the declared errors of which there are values, by name, in their units."""
        found: dict[str, Tensor] = {}
        for error in self.declared:
            if not error.of or not self.count(error.of):
                continue
            value = self.average(error.of, _MOMENTS[error.measure])
            if error.over:
                value = value / self.average(error.over, "square")
            if error.measure == "root":
                value = value.sqrt()
            found[error.name] = error.scale * value
        return found

    def count(self, quantity: str) -> float:
        """Return the number of values of a quantity that were added.

        Args:
            quantity: Name of the quantity, as in :meth:`add`.
        """
        return float(self.sums[self._places[quantity, "count"]])

    def average(self, quantity: str, moment: str = "sum") -> Tensor:
        """Return the mean of a quantity's values, of their absolute values or of their squares.

        Args:
            quantity: Name of the quantity, as in :meth:`add`.
            moment: Mean that is taken: ``sum`` of the values, ``absolute`` or ``square``.
        """
        total = self.sums[self._places[quantity, moment]]
        return total / self.sums[self._places[quantity, "count"]]

    def amounts(self) -> dict[str, float]:
        """Return all sums and counts of this process by name, for a checkpoint."""
        return dict(zip(map(".".join, self._places), self.sums.tolist(), strict=True))

    def restore(self, amounts: Mapping[str, float]) -> None:
        """Continue from the sums of a checkpoint; sums that it lacks start at zero.

        Args:
            amounts: Sums and counts by name, from :meth:`amounts`.
        """
        kept = [amounts.get(name, 0.0) for name in map(".".join, self._places)]
        self.sums.copy_(torch.tensor(kept, dtype=torch.float64))
        self._update_count, self._computed = 1, None
