"""Pieces of a system: atoms that are evaluated together, and the atoms that they read.

The atoms of a large system are numbered anew, along a path through space. There, the features that
one atom reads are mostly those that the atom before has read, which lie in the cache still.
"""

import itertools
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

# Atoms whose order does not matter, as all of them have nearly the same neighbors.
_LEAF = 4


@dataclass(frozen=True)
class Piece:
    """Atoms that a layer evaluates together.

    Attributes:
        atoms: Numbers of the atoms, N of them.
        species: Species [N] of the atoms.
        others: Numbers [S - N] of the atoms outside of the piece that send to it.
        edges: Numbers [E] of the edges that end at the atoms.
        sender: Place [E] of each edge's sender among the atoms of the piece and the others.
        receiver: Place [E] of each edge's receiver in the piece.
    """

    atoms: slice
    species: Int[Tensor, " node"]
    others: Int[Tensor, " other"]
    edges: Int[Tensor, " edge"]
    sender: Int[Tensor, " edge"]
    receiver: Int[Tensor, " edge"]

    @property
    def size(self) -> int:
        """Number N of atoms in the piece."""
        return len(self.species)

    def read(self, features: Float[Tensor, "lm atom channel"]) -> Float[Tensor, "lm seen channel"]:
        """Take the features of the atoms that the piece reads from those of all atoms."""
        return torch.cat([features[:, self.atoms], features[:, self.others]], dim=1)

    def add(
        self, features: Float[Tensor, "lm atom channel"], seen: Float[Tensor, "lm seen channel"]
    ) -> None:
        """Add to the features of all atoms what the piece has for those that it reads."""
        features[:, self.atoms] += seen[:, : self.size]
        features.index_add_(1, self.others, seen[:, self.size :])


def split(
    species: Int[Tensor, " node"],
    edge_index: Int[Tensor, "2 edge"],
    places: Float[np.ndarray, "node dimension"],
    size: int,
) -> tuple[list[Piece], Int[Tensor, " node"]]:
    """Split a system into pieces that are compact in space.

    Args:
        species: Species [N] of the atoms.
        edge_index: Senders and receivers [2, E].
        places: Coordinates [N, D] by which pieces are compact, in one unit.
        size: Largest number of atoms in a piece.

    Returns:
        Pieces that have every atom and every edge once, and the old numbers [N] of the atoms in
        their new order.
    """
    kinds = species.numpy()
    order = _path(places)
    starts = np.linspace(0, len(order), -(-len(order) // size) + 1).astype(int)
    number = np.empty(len(order), dtype=np.int32)
    number[order] = np.arange(len(order), dtype=np.int32)
    sender, receiver = number[edge_index.numpy()]
    by_receiver = np.argsort(receiver, kind="stable")
    ends = np.searchsorted(receiver[by_receiver], starts)
    place = np.empty(len(order), dtype=np.int32)
    pieces = []
    for index, (start, stop) in enumerate(itertools.pairwise(starts)):
        edges = by_receiver[ends[index] : ends[index + 1]]
        senders = sender[edges]
        others = np.unique(senders[(senders < start) | (senders >= stop)])
        place[start:stop] = np.arange(stop - start, dtype=np.int32)
        place[others] = np.arange(stop - start, stop - start + len(others), dtype=np.int32)
        pieces.append(
            Piece(
                atoms=slice(int(start), int(stop)),
                species=torch.from_numpy(kinds[order[start:stop]]),
                others=torch.from_numpy(others),
                edges=torch.from_numpy(edges),
                sender=torch.from_numpy(place[senders]),
                receiver=torch.from_numpy(receiver[edges] - np.int32(start)),
            )
        )
    return pieces, torch.from_numpy(order)


def _path(places: np.ndarray) -> np.ndarray:
    """Order places so that neighbors in the order are neighbors in space.

    The set is halved along its longest side again and again; the halves follow one another.
    """
    parts, done = [np.arange(len(places))], []
    while parts:
        part = parts.pop()
        if len(part) <= _LEAF:
            done.append(part)
            continue
        inside = places[part]
        axis = int(np.argmax(inside.max(0) - inside.min(0)))
        middle = len(part) // 2
        order = np.argpartition(inside[:, axis], middle)
        parts += [part[order[:middle]], part[order[middle:]]]
    return np.concatenate(done)
