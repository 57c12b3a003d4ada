"""EquiformerV2: graph attention on features of high degree, with Gaunt Selfmix."""

from collections.abc import Sequence
from functools import partial
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from equinet.arguments import BelowOne, Count, Positive
from equinet.models.potential import Potential
from equinet.nn import (
    ClebschGordanSelfMix,
    DegreeLinear,
    DropPath,
    EdgeGrid,
    EdgeNetwork,
    Edges,
    GauntSelfMix,
    GaussianBasis,
    GraphAttention,
    SelfMix,
    SeparableNorm,
    SO2Conv,
    SphereFeedForward,
    SphereGrid,
    edge_frames,
    polynomial_envelope,
)
from equinet.ops import segment_sum


class EquiformerV2(Potential):
    """Equivariant transformer on coefficients of degrees 0 … ``lmax``.

    Every block adds graph attention, whose messages are computed by SO(2) convolutions in edge
    frames, and a feed-forward network on samples of functions on the sphere, each after a
    separable layer norm. Between the two, features may be multiplied with themselves.

    The network is equivariant under rotations, up to the quadrature of the activations on the
    sphere; a mirror image may have another energy. Forces from a direct head are no gradient of the
    energy, need not sum to zero, and give no stress.

    Args:
        elements: Atomic numbers that the model knows, in the order of its species.
        cutoff: Distance beyond which neighbors do not interact, Å.
        reference_energies: Reference energy of each element, eV per atom.
        average_neighbors: Mean number of neighbors in the training set, which normalizes the
            embedding.
        scale: Unit of the network's output, eV.
        shift: Energy added for each atom, eV.
        max_neighbors: Highest number of edges that end at an atom in the graphs, see
            :class:`equinet.models.Potential`.
        tie_tolerance: Difference of squared lengths, Å², up to which further edges are kept, see
            :class:`equinet.models.Potential`.
        channels: Number of channels of every degree.
        blocks: Number of blocks.
        lmax: Highest degree of the features.
        mmax: Highest order in the edge frames.
        heads: Number of attention heads.
        attention_hidden: Number of channels between the two convolutions of an attention.
        alpha_channels: Number of invariants from which each head computes attention weights.
        value_channels: Number of channels of the values of each head.
        feed_forward_hidden: Number of channels inside the feed-forward network.
        edge_channels: Width of the networks from lengths and species of edges to weights.
        radial_basis: Number of Gaussian functions of the length of an edge.
        selfmix: Product of an atom's features with themselves, between attention and feed-forward
            network: ``none``; ``cg``, the full Clebsch-Gordan product; ``gaunt``; or ``gaunt+odd``,
            the Gaunt product and the bracket. Its output is initially zero.
        selfmix_channels: Number of channels inside that product; None is ``channels``.
        forces: Origin of the forces: a head of their own, ``direct``, or the ``gradient`` of the
            energy.
        envelope: Whether messages fall to zero at the cutoff. Without it, as published, the energy
            jumps where an atom crosses the cutoff of another.
        grid_degree: Degree of the quadrature in the feed-forward networks, see
            :class:`equinet.nn.SphereGrid`; None for its default.
        average_atoms: Number by which energies are divided; 77.8 in the published network.
        alpha_dropout: Fraction of the attention weights that are set to zero in training.
        drop_path: Fraction of the graphs that skip an attention or a feed-forward network in
            training.
        checkpointing: Whether blocks are computed again in the backward pass, which takes a third
            more time and much less memory.

    Raises:
        ValueError: A size is out of range, or ``selfmix`` or ``forces`` is not among its choices.

    Source: Liao, Wood, Das, Smidt, EquiformerV2 (ICLR 2024); Passaro, Zitnick, eSCN (ICML 2023);
    Selfmix in every block: Luo, Chen, Krishnapriyan (ICLR 2024), whose placement is unpublished.

    Example:
        >>> model = EquiformerV2(elements=[1, 8], cutoff=5.0, reference_energies=[-13.6, -2040.0],
        ...                      average_neighbors=12.0, channels=8, blocks=1, lmax=2, mmax=1)
        >>> model.conservative
        False
    """

    mirror_symmetric = False

    def __init__(
        self,
        *,
        elements: Sequence[int],
        cutoff: Positive,
        reference_energies: Sequence[float],
        average_neighbors: Positive,
        scale: float = 1.0,
        shift: float = 0.0,
        max_neighbors: Count | None = None,
        tie_tolerance: float | None = None,
        channels: Count = 128,
        blocks: Count = 12,
        lmax: Count = 6,
        mmax: int = 2,
        heads: Count = 8,
        attention_hidden: Count = 64,
        alpha_channels: Count = 64,
        value_channels: Count = 16,
        feed_forward_hidden: Count = 128,
        edge_channels: Count = 128,
        radial_basis: int = 600,
        selfmix: Literal["none", "cg", "gaunt", "gaunt+odd"] = "none",
        selfmix_channels: Count | None = None,
        forces: Literal["direct", "gradient"] = "direct",
        envelope: bool = True,
        grid_degree: int | None = None,
        average_atoms: Positive = 1.0,
        alpha_dropout: BelowOne = 0.0,
        drop_path: float = 0.0,
        checkpointing: bool = False,
    ) -> None:
        super().__init__(
            elements=elements,
            cutoff=cutoff,
            reference_energies=reference_energies,
            scale=scale,
            shift=shift,
            max_neighbors=max_neighbors,
            tie_tolerance=tie_tolerance,
        )
        self.lmax, self.mmax, self.checkpointing = lmax, mmax, checkpointing
        self.conservative = forces == "gradient"
        self.envelope, self.average_atoms = envelope, float(average_atoms)
        attention = partial(
            GraphAttention,
            lmax=lmax,
            mmax=mmax,
            channels=channels,
            hidden=attention_hidden,
            heads=heads,
            alpha_channels=alpha_channels,
            value_channels=value_channels,
            kinds=len(self.elements),
            basis_size=radial_basis,
            edge_channels=edge_channels,
            grid=EdgeGrid(lmax, mmax),
        )
        self.basis = GaussianBasis(cutoff, radial_basis)
        self.atoms = nn.Embedding(len(self.elements), channels)
        degrees = (lmax + 1) * channels
        self.degree = EdgeNetwork(radial_basis, len(self.elements), edge_channels, degrees)
        self.degree_gain = average_neighbors**-0.5
        self.blocks = nn.ModuleList(
            _Block(
                attention(out_channels=channels, alpha_dropout=alpha_dropout),
                _selfmix(selfmix, lmax, channels, selfmix_channels),
                SphereFeedForward(
                    lmax, channels, feed_forward_hidden, SphereGrid(lmax, grid_degree)
                ),
                (SeparableNorm(lmax, channels), SeparableNorm(lmax, channels)),
                DropPath(drop_path),
            )
            for _ in range(blocks)
        )
        self.norm = SeparableNorm(lmax, channels)
        self.energy = nn.Sequential(
            nn.Linear(channels, feed_forward_hidden), nn.SiLU(), nn.Linear(feed_forward_hidden, 1)
        )
        self.force = None if self.conservative else attention(out_channels=1)

    @property
    def message_passes(self) -> int | None:
        """Number of edges in a row: one for the embedding, each block and a force head."""
        return 1 + len(self.blocks) + (self.force is not None)

    def atomic_energies(
        self,
        species: Int[Tensor, " node"],
        vectors: Float[Tensor, "edge 3"],
        edge_index: Int[Tensor, "2 edge"],
    ) -> Float[Tensor, " node"]:
        """Return the energies only; stochastic depth treats all atoms as one graph."""
        batch = torch.zeros_like(species)
        return self.atomic_energies_and_forces(species, vectors, edge_index, batch, 1)[0]

    def atomic_energies_and_forces(
        self,
        species: Int[Tensor, " node"],
        vectors: Float[Tensor, "edge 3"],
        edge_index: Int[Tensor, "2 edge"],
        batch: Int[Tensor, " node"],
        num_graphs: int,
    ) -> tuple[Float[Tensor, " node"], Float[Tensor, "node 3"] | None]:
        """Run the blocks and the heads.

        Args:
            species: Species of each atom [N], indices into ``elements``.
            vectors: Edge vectors from receiver to sender [E, 3], Å.
            edge_index: Senders and receivers [2, E].
            batch: Index of the graph of each atom [N].
            num_graphs: Number of graphs in the batch.
        """
        edges = self._edges(species, vectors, edge_index)
        x = self._embed(species, edges)
        for block in self.blocks:
            if self.checkpointing and torch.is_grad_enabled():
                x = checkpoint(block, x, edges, batch, num_graphs, use_reentrant=False)
            else:
                x = block(x, edges, batch, num_graphs)
        x = self.norm(x)
        energy = self.energy(x[:, 0]).squeeze(-1) / self.average_atoms
        # Coefficients of degree 1 are in the order x, y, z.
        return energy, None if self.force is None else self.force(x, edges)[:, 1:4, 0]

    def weight_decay_parameters(self) -> list[Tensor]:
        """Return the weights of embeddings and linear maps, without gains and biases."""
        chosen: list[Tensor] = []
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding | DegreeLinear):
                chosen.append(module.weight)
            elif isinstance(module, SO2Conv):
                chosen.extend(module.orders)
        return chosen

    def _edges(self, species: Tensor, vectors: Tensor, edge_index: Tensor) -> Edges:
        distances = torch.linalg.vector_norm(vectors, dim=-1)
        sender, receiver = edge_index
        envelope = None
        if self.envelope:
            # Rounding may make it slightly negative near the cutoff.
            envelope = polynomial_envelope(distances, self.cutoff).clamp(min=0)
        return Edges(
            ends=edge_index,
            sender_kind=species[sender],
            receiver_kind=species[receiver],
            basis=self.basis(distances),
            envelope=envelope,
            frames=edge_frames(vectors, self.lmax, self.mmax),
        )

    def _embed(self, species: Tensor, edges: Edges) -> Tensor:
        """Embed the species of each atom and the density of its neighbors."""
        weights = self.degree(edges.basis, edges.sender_kind, edges.receiver_kind)
        if edges.envelope is not None:
            weights = weights * edges.envelope.unsqueeze(-1)
        zonal = weights.unflatten(1, (self.lmax + 1, -1))
        frames = edges.frames
        along = frames._replace(from_edge=frames.from_edge[..., : self.lmax + 1])
        x = segment_sum(along.back(zonal), edges.ends[1], species.shape[0]) * self.degree_gain
        return torch.cat([x[:, :1] + self.atoms(species).unsqueeze(1), x[:, 1:]], dim=1)


class _Block(nn.Module):
    """Block of attention, Selfmix and feed-forward network, each added to the features."""

    def __init__(
        self,
        attention: GraphAttention,
        mix: SelfMix | None,
        feed_forward: SphereFeedForward,
        norms: Sequence[SeparableNorm],
        drop_path: DropPath,
    ) -> None:
        super().__init__()
        self.attention = attention
        self.mix = mix
        self.feed_forward = feed_forward
        self.norms = nn.ModuleList(norms)
        self.drop_path = drop_path

    def forward(self, x: Tensor, edges: Edges, batch: Tensor, num_graphs: int) -> Tensor:
        x = x + self.drop_path(self.attention(self.norms[0](x), edges), batch, num_graphs)
        if self.mix is not None:
            x = self.mix(x)
        return x + self.drop_path(self.feed_forward(self.norms[1](x)), batch, num_graphs)


def _selfmix(kind: str, lmax: int, channels: int, hidden: int | None) -> SelfMix | None:
    if kind == "none":
        return None
    if kind == "cg":
        return ClebschGordanSelfMix(lmax, channels, hidden, unit_weights=False)
    return GauntSelfMix(lmax, channels, hidden, odd=kind == "gaunt+odd", unit_weights=False)
