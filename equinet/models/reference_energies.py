"""Reference energies of elements, stored and summed in float64."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn


class ReferenceEnergies(nn.Module):
    """Sum the reference energies of the atoms of each structure, always in float64.

    Total energies of molecules are tens of thousands of eV, where float32 resolves only
    milli-electronvolts.

    Args:
        energies: Reference energy of each element of the model, in its order, eV per atom.
    """

    energies: Tensor

    def __init__(self, energies: Sequence[float]) -> None:
        super().__init__()
        self.register_buffer("energies", torch.tensor(list(energies), dtype=torch.float64))

    def _apply(
        self, fn: Callable[[Tensor], Tensor], *args: Any, **kwargs: Any
    ) -> "ReferenceEnergies":
        # Casts of the model, such as model.to(dtype), must change the device only.
        exact = self.energies
        super()._apply(fn, *args, **kwargs)
        self.energies = exact.to(self.energies.device)
        return self

    def forward(
        self, species: Int[Tensor, " node"], batch: Int[Tensor, " node"], num_graphs: int
    ) -> Float[Tensor, " graph"]:
        """Return the sum of reference energies of each graph.

        Args:
            species: Species of each atom [N].
            batch: Index of the graph of each atom [N].
            num_graphs: Number of graphs G.

        Returns:
            Sums [G], eV, float64.
        """
        total = torch.zeros(num_graphs, dtype=torch.float64, device=self.energies.device)
        return total.index_add(0, batch, self.energies[species])
