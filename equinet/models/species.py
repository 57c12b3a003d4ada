"""Species: the indices of chemical elements in a model."""

from collections.abc import Sequence

import torch
from jaxtyping import Int, Integer
from torch import Tensor, nn

from equinet.elements import SYMBOLS, symbol
from equinet.errors import DataError


class Species(nn.Module):
    """Look up the species of atoms, and refuse elements that the model does not know.

    Args:
        elements: Atomic numbers that the model knows, in the order of its species.

    Attributes:
        elements: Atomic numbers that the model knows.
        by_number: Species of each atomic number; -1 for an element that the model does not know.

    Raises:
        ValueError: A number is not one of an element, or occurs twice.
    """

    by_number: Tensor

    def __init__(self, elements: Sequence[int]) -> None:
        super().__init__()
        self.elements = _checked_elements(elements)
        by_number = torch.full((len(SYMBOLS) + 1,), -1)
        by_number[list(self.elements)] = torch.arange(len(self.elements))
        self.register_buffer("by_number", by_number, persistent=False)

    def forward(self, atomic_numbers: Integer[Tensor, " node"]) -> Int[Tensor, " node"]:
        """Return the species of each atom.

        Args:
            atomic_numbers: Atomic numbers [N], integers of any type.

        Raises:
            DataError: The model does not know an element.
        """
        # Bytes as an index would be a mask.
        species = self.by_number[atomic_numbers.long().clamp(0, len(SYMBOLS))]
        if bool((species < 0).any()):
            unknown = sorted(set(atomic_numbers[species < 0].tolist()))
            raise DataError(
                f"the model was not trained for {', '.join(symbol(z) for z in unknown)}; "
                f"it knows {', '.join(symbol(z) for z in self.elements)}"
            )
        return species


def _checked_elements(elements: Sequence[int]) -> tuple[int, ...]:
    """Return the elements, and refuse numbers that are no elements or occur twice."""
    numbers = tuple(int(z) for z in elements)
    for place, number in enumerate(numbers):
        if not 1 <= number < len(SYMBOLS):
            raise ValueError(
                f"elements must be atomic numbers from 1 to {len(SYMBOLS) - 1}, found {number}"
            )
        if number in numbers[:place]:
            raise ValueError(
                f"elements must name each element once, found {number} twice in {list(numbers)}"
            )
    return numbers
