"""Errors of properties of molecules, each in its own unit."""

from collections.abc import Mapping

import torch
from torch import Tensor

from equinet.evaluation.errors import LOSS, Error, SummedErrors

# Tables give energies in meV; any other unit is that of the values.
_SHOWN = {"eV": "meV"}


def property_errors(units: Mapping[str, str]) -> tuple[Error, ...]:
    """Declare the errors of some properties: the loss, and MAE and RMSE of each.

    Args:
        units: Unit of the values of each property by name.

    Example:
        >>> [error.column for error in property_errors({"gap": "eV", "mu": "D"})]
        ['loss', 'gap_mae_meV', 'gap_rmse_meV', 'mu_mae_D', 'mu_rmse_D']
    """
    declared = [LOSS]
    for name, unit in units.items():
        shown = _SHOWN.get(unit, unit)
        digits = 1 if shown == "meV" else 4
        declared += [
            Error(
                f"{name}_mae",
                f"{name} MAE",
                shown,
                of=name,
                measure="absolute",
                digits=digits,
                word=name,
                log=f".{digits}f",
                curve=f"{name} MAE",
                splits=("train", "val"),
            ),
            Error(
                f"{name}_rmse",
                f"{name} RMSE" if len(units) == 1 else "",
                shown,
                of=name,
                measure="root",
                digits=digits,
            ),
        ]
    return tuple(declared)


class PropertyErrors(SummedErrors):
    """Errors of properties over a whole set, summed over batches and processes in float64.

    The loss is the mean over the properties of the mean penalty of their errors.

    Args:
        units: Unit of the values of each property by name.
        shared: Whether sums are added up over processes; False where only one of them evaluates.

    Example:
        >>> import torch
        >>> errors = PropertyErrors({"gap": "eV"})
        >>> residual = torch.tensor([0.5, -0.1])
        >>> errors.update({"gap": residual}, {"gap": residual.abs()})
        >>> {name: round(float(value), 3) for name, value in errors.compute().items()}
        {'loss': 0.3, 'gap_mae': 300.0, 'gap_rmse': 360.555}
    """

    def __init__(self, units: Mapping[str, str], *, shared: bool = True) -> None:
        # The parent reads declarations and further quantities when it is constructed.
        self.declared = property_errors(units)
        self.further = tuple(f"{name}_penalty" for name in units)
        super().__init__(shared=shared)

    def update(self, residuals: Mapping[str, Tensor], penalties: Mapping[str, Tensor]) -> None:
        """Add one batch.

        Args:
            residuals: Predicted minus true values by name, in the unit of the values.
            penalties: Penalty of each of these values by name.
        """
        self.add(**residuals, **{f"{name}_penalty": each for name, each in penalties.items()})

    def compute(self) -> dict[str, Tensor]:
        """Return the loss and the declared errors, by name, in their units."""
        means = [self.average(name) for name in self.further]
        return {"loss": torch.stack(means).mean(), **super().compute()}
