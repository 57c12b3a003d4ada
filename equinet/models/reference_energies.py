"""Per-element reference energies, kept and summed in float64."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn


class ReferenceEnergies(nn.Module):
    """Sum one energy per atom over each structure, in float64 whatever the model's precision.

    Total energies of molecules lie at tens of thousands of eV, where float32 resolves only
    milli-electronvolts; the sum must not pass through it.

    Args:
        energies: eV per atom, one for each element of the model, in its order.
    """

    energies: Tensor

    def __init__(self, energies: Sequence[float]) -> None:
        super().__init__()
        self.register_buffer("energies", torch.tensor(list(energies), dtype=torch.float64))

    def _apply(
        self, fn: Callable[[Tensor], Tensor], *args: Any, **kwargs: Any
    ) -> "ReferenceEnergies":
        # model.to(dtype), .float() and .half() come through here: follow the device only.
        exact = self.energies
        super()._apply(fn, *args, **kwargs)
        self.energies = exact.to(self.energies.device)
        return self

    def forward(
        self, species: Int[Tensor, " node"], batch: Int[Tensor, " node"], num_graphs: int
    ) -> Float[Tensor, " graph"]:
        """Return the summed reference energy of each graph, eV, float64."""
        total = torch.zeros(num_graphs, dtype=torch.float64, device=self.energies.device)
        return total.index_add(0, batch, self.energies[species])
