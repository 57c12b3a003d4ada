"""Edges of a piece of a system: vectors, lengths and harmonics, for all layers."""

from dataclasses import dataclass

from jaxtyping import Float, Int
from torch import Tensor

from equinet.ops.native import edge_harmonics as native


@dataclass(frozen=True)
class Edges:
    """Edges that end at the atoms of a piece.

    Attributes:
        vectors: Vectors [E, 3] from receiver to sender, Å.
        sender: Place [E] of the sender among the atoms that the piece reads.
        receiver: Place [E] of the receiver among the atoms of the piece.
        lengths: Lengths [E], Å.
        harmonics: Harmonics [E, (lmax + 1)²] of the directions.
    """

    vectors: Float[Tensor, "edge 3"]
    sender: Int[Tensor, " edge"]
    receiver: Int[Tensor, " edge"]
    lengths: Float[Tensor, " edge"]
    harmonics: Float[Tensor, "edge lm"]

    @classmethod
    def of(cls, vectors: Tensor, sender: Tensor, receiver: Tensor, lmax: int) -> "Edges":
        """Evaluate edges of given vectors."""
        return cls(vectors, sender, receiver, *native.evaluate(vectors, lmax))

    def gradient(
        self, by_length: Float[Tensor, " edge"], by_harmonics: Float[Tensor, "edge lm"]
    ) -> Float[Tensor, "edge 3"]:
        """Return the gradient by the vectors from those by lengths and harmonics."""
        return native.gradient(self.vectors, by_length, by_harmonics)
