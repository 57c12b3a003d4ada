"""Data sets of graphs."""

import hashlib
from collections.abc import Sequence

from torch import Tensor
from torch.utils.data import Dataset
from torch_geometric.data import Data

from equinet.errors import DataError


class GraphDataset(Dataset[Data]):
    """Data set of graphs that all have the same fields.

    Args:
        graphs: Sequence of at least one graph: a list, or a sequence that builds a graph when it is
            indexed.
        name: Name of the set in messages.

    Raises:
        DataError: There are no graphs.

    Example:
        >>> import torch
        >>> dataset = GraphDataset([Data(pos=torch.zeros(5, 3))])
        >>> len(dataset), dataset[0].num_nodes
        (1, 5)
    """

    def __init__(self, graphs: Sequence[Data], *, name: str = "data") -> None:
        if not len(graphs):
            raise DataError(f"{name}: there are no graphs")
        self.name = name
        self._graphs = graphs

    def __len__(self) -> int:
        return len(self._graphs)

    def __getitem__(self, index: int) -> Data:
        return self._graphs[index]

    def fingerprint(self) -> str:
        """SHA-256 of all tensors of all graphs; it does not depend on the name."""
        digest = hashlib.sha256()
        for graph in self._graphs:
            for key, value in sorted(graph.to_dict().items()):
                digest.update(f"{key}:{tuple(value.shape)}:{value.dtype}\n".encode())
                digest.update(_content(value))
        return digest.hexdigest()


def _content(tensor: Tensor) -> bytes:
    return bytes(tensor.detach().cpu().contiguous().numpy().tobytes())
