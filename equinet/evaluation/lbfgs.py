"""L-BFGS for many structures at once, each with a history of its own.

Tests compare it step by step with ASE's optimizer, which relaxes one structure at a time.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from equinet.ops import segment_max, segment_sum


class PackedLBFGS:
    """Steps of L-BFGS for structures whose atoms are packed one after another.

    The inverse Hessian of each structure starts at ``1 / alpha`` and is updated from its own steps
    alone; a step is shortened so that no atom moves farther than ``max_step``. There is no line
    search. Structures can be added and removed between steps. The defaults are those of OC20's
    relaxations.

    Args:
        memory: Number of steps from which the inverse Hessian is estimated.
        max_step: Longest displacement of an atom in one step, Å.
        damping: Factor of every step.
        alpha: Initial curvature, eV/Å².

    Source: Nocedal, Math. Comp. 35, 773 (1980); as in ``ase.optimize.LBFGS``.

    Example:
        >>> optimizer = PackedLBFGS(max_step=10.0)
        >>> optimizer.admit(torch.tensor([1, 2]))
        >>> places = torch.tensor([[1.0, 0, 0], [0, 2, 0], [0, 0, 3]])
        >>> for _ in range(2):  # on a parabola the second step arrives
        ...     places = places + optimizer.step(places, -places)
        >>> bool(places.abs().max() < 1e-6)
        True
    """

    def __init__(
        self,
        *,
        memory: int = 50,
        max_step: float = 0.04,
        damping: float = 1.0,
        alpha: float = 70.0,
    ) -> None:
        self.memory, self.max_step = memory, max_step
        self.damping, self.alpha = damping, alpha
        self._batch = torch.zeros(0, dtype=torch.int64)
        self._known = torch.zeros(0, dtype=torch.bool)  # whether each structure has made a step
        self._positions = self._forces = torch.zeros(0, 3, dtype=torch.float64)
        # Oldest first; zeros, which change nothing, for steps before a structure was added.
        self._moves: list[Tensor] = []
        self._changes: list[Tensor] = []
        self._inverse_curvatures: list[Tensor] = []

    def admit(self, atoms: Int[Tensor, " structure"]) -> None:
        """Add structures after the present ones.

        Args:
            atoms: Number of atoms of each structure.
        """
        count, places = len(self._known), torch.arange(len(atoms))
        added = (count + places).repeat_interleave(atoms)
        self._batch = torch.cat([self._batch, added])
        self._known = torch.cat([self._known, torch.zeros(len(atoms), dtype=torch.bool)])

        def pad(held: Tensor, rows: int) -> Tensor:
            return torch.cat([held, held.new_zeros(rows, *held.shape[1:])])

        self._positions, self._forces = (
            pad(held, len(added)) for held in (self._positions, self._forces)
        )
        self._moves = [pad(held, len(added)) for held in self._moves]
        self._changes = [pad(held, len(added)) for held in self._changes]
        self._inverse_curvatures = [pad(held, len(atoms)) for held in self._inverse_curvatures]

    def keep(self, kept: Bool[Tensor, " structure"]) -> None:
        """Remove structures.

        Args:
            kept: Whether each structure is kept.
        """
        if bool(kept.all()):
            return
        atoms = kept[self._batch]
        self._batch = (torch.cumsum(kept, 0) - 1)[self._batch[atoms]]
        self._known = self._known[kept]
        self._positions, self._forces = self._positions[atoms], self._forces[atoms]
        self._moves = [held[atoms] for held in self._moves]
        self._changes = [held[atoms] for held in self._changes]
        self._inverse_curvatures = [held[kept] for held in self._inverse_curvatures]

    def step(
        self, positions: Float[Tensor, "atom 3"], forces: Float[Tensor, "atom 3"]
    ) -> Float[Tensor, "atom 3"]:
        """Propose the next step of every structure.

        Args:
            positions: Positions of the atoms of all structures, Å.
            forces: Forces, eV/Å; zero on atoms that stay in place.

        Returns:
            Displacements, Å; the caller applies them before the next call.
        """
        positions, forces = positions.double(), forces.double()
        self._remember(positions, forces)
        gradient = -forces
        pairs = list(zip(self._moves, self._changes, self._inverse_curvatures, strict=True))
        coefficients = []
        for move, change, inverse in reversed(pairs):
            coefficient = inverse * self._dot(move, gradient)
            gradient = gradient - coefficient[self._batch, None] * change
            coefficients.append(coefficient)
        step = -gradient / self.alpha
        for (move, change, inverse), coefficient in zip(pairs, reversed(coefficients), strict=True):
            other = inverse * self._dot(change, step)
            step = step - (coefficient + other)[self._batch, None] * move
        lengths = torch.linalg.vector_norm(step, dim=1)
        longest = segment_max(lengths, self._batch, len(self._known))
        factor = torch.where(longest >= self.max_step, self.max_step / longest, 1.0)
        return step * (self.damping * factor)[self._batch, None]

    def _remember(self, positions: Tensor, forces: Tensor) -> None:
        if bool(self._known.any()):
            known = self._known[self._batch, None]
            move = torch.where(known, positions - self._positions, 0.0)
            change = torch.where(known, self._forces - forces, 0.0)
            curvature = self._dot(move, change)
            self._moves.append(move)
            self._changes.append(change)
            self._inverse_curvatures.append(torch.where(curvature == 0, 0.0, 1 / curvature))
            for history in (self._moves, self._changes, self._inverse_curvatures):
                del history[: -self.memory]
        self._positions, self._forces = positions, forces
        self._known = torch.ones_like(self._known)

    def _dot(self, first: Tensor, second: Tensor) -> Tensor:
        """Return the inner product over the atoms of each structure."""
        return segment_sum((first * second).sum(dim=1), self._batch, len(self._known))
