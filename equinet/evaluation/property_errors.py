"""Errors of properties of molecules, each in its own unit."""

from collections.abc import Mapping, Sequence

from jaxtyping import Float
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

    Args:
        declared: Errors to compute, from :func:`property_errors`.
        shared: Whether sums are added up over processes; False where only one of them evaluates.

    Example:
        >>> import torch
        >>> errors = PropertyErrors(property_errors({"gap": "eV"}))
        >>> errors.update({"gap": torch.tensor([0.5, -0.1])}, torch.tensor(1.0))
        >>> round(float(errors.compute()["gap_mae"]), 3)
        300.0
    """

    further = ("penalty",)

    def __init__(self, declared: Sequence[Error], *, shared: bool = True) -> None:
        # The parent reads the declarations when it is constructed.
        self.declared = tuple(declared)
        super().__init__(shared=shared)

    def update(self, residuals: Mapping[str, Tensor], penalty: Float[Tensor, ""]) -> None:
        """Add one batch.

        Args:
            residuals: Predicted minus true values by name, in the unit of the values.
            penalty: Mean penalty of the batch, which counts as often as it has values.
        """
        count = next(iter(residuals.values())).shape[0]
        self.add(penalty=(penalty * count, count), **residuals)

    def compute(self) -> dict[str, Tensor]:
        """Return the loss and the declared errors, by name, in their units."""
        return {"loss": self.average("penalty"), **super().compute()}
