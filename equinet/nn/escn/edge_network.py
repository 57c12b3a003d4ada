"""Edge features: radial basis of the length, species of both atoms."""

import math

from jaxtyping import Float, Int
from torch import Tensor, nn


class EdgeNetwork(nn.Module):
    """Map the length of an edge and the species of its two atoms to weights by an MLP.

    Args:
        basis_size: Number of radial basis functions.
        kinds: Number of species.
        hidden: Width of the embeddings and of both hidden layers.
        out_size: Number of weights per edge.

    Source: Liao et al., EquiformerV2 (ICLR 2024), appendix; layer norms before activations as in
    Equiformer.

    Example:
        >>> import torch
        >>> network = EdgeNetwork(8, kinds=3, hidden=16, out_size=24)
        >>> kinds = torch.tensor([0, 2])
        >>> network(torch.randn(2, 8), kinds, kinds.flip(0)).shape
        torch.Size([2, 24])
    """

    def __init__(self, basis_size: int, kinds: int, hidden: int, out_size: int) -> None:
        super().__init__()
        self.senders = nn.Embedding(kinds, hidden)
        self.receivers = nn.Embedding(kinds, hidden)
        self.first = nn.Linear(basis_size + 2 * hidden, hidden)
        self.second = nn.Linear(hidden, hidden)
        self.last = nn.Linear(hidden, out_size)
        self.norms = nn.ModuleList(nn.LayerNorm(hidden) for _ in range(2))
        for layer in (self.first, self.second, self.last):
            nn.init.normal_(layer.weight, std=1 / math.sqrt(layer.in_features))
            nn.init.zeros_(layer.bias)

    def forward(
        self,
        basis: Float[Tensor, "edge basis"],
        sender_kind: Int[Tensor, " edge"],
        receiver_kind: Int[Tensor, " edge"],
    ) -> Float[Tensor, "edge weight"]:
        """Return the weights of every edge."""
        hidden = self.first.out_features
        length, sender, receiver = self.first.weight.split([basis.shape[1], hidden, hidden], dim=1)
        # A linear map of an embedding is an embedding: mapped kind by kind, not edge by edge.
        x = nn.functional.linear(basis, length, self.first.bias)
        x = x + (self.senders.weight @ sender.T).index_select(0, sender_kind)
        x = x + (self.receivers.weight @ receiver.T).index_select(0, receiver_kind)
        x = self.second(nn.functional.silu(self.norms[0](x)))
        return self.last(nn.functional.silu(self.norms[1](x)))
