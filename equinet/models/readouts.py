"""Energies that are read out after every layer of message passing, as in MACE."""

import itertools

from torch import nn


def layer_degrees(layers: int, lmax_hidden: int) -> list[tuple[int, int]]:
    """Return the highest degree of the features before and after each layer.

    The first layer starts from the species, and from the last one only scalars are read out: both
    have degree 0.

    Args:
        layers: Number of layers.
        lmax_hidden: Highest degree of the features between layers.
    """
    return list(itertools.pairwise([0, *[lmax_hidden] * (layers - 1), 0]))


def energy_readouts(layers: int, channels: int, hidden: int | None) -> nn.ModuleList:
    """Make the maps from the scalars of an atom after each layer to an energy.

    All are linear but the last, which is an MLP.

    Args:
        layers: Number of layers.
        channels: Number of scalars.
        hidden: Width of the hidden layer of the last map; None for a linear one.
    """
    linear = layers if hidden is None else layers - 1
    readouts = nn.ModuleList(nn.Linear(channels, 1, bias=False) for _ in range(linear))
    if hidden is not None:
        readouts.append(
            nn.Sequential(
                nn.Linear(channels, hidden, bias=False),
                nn.SiLU(),
                nn.Linear(hidden, 1, bias=False),
            )
        )
    return readouts
