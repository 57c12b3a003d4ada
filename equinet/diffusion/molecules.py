"""Noisy molecules, and molecules that a denoiser makes from noise."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Float64, Int, Int64
from torch import Tensor

from equinet.diffusion.centering import center
from equinet.diffusion.sampler import sample
from equinet.diffusion.sizes import Sizes, fully_connected
from equinet.diffusion.streams import Streams


@dataclass(frozen=True)
class NoisyMolecules:
    """Batch of noisy molecules, whose atoms are all joined with each other.

    Attributes:
        pos: Noisy positions relative to the center of each molecule [N, 3], Å.
        types: Noisy types of the atoms [N, elements].
        noise: Noise level of each molecule [G], Å.
        edge_index: Senders and receivers [2, E], sorted by receiver.
        batch: Number of the molecule of each atom [N].

    Example:
        >>> edge_index, batch = fully_connected(torch.tensor([2]))
        >>> NoisyMolecules(torch.zeros(2, 3), torch.zeros(2, 5), torch.ones(1), edge_index,
        ...                batch).noise
        tensor([1.])
    """

    pos: Float[Tensor, "atom 3"]
    types: Float[Tensor, "atom element"]
    noise: Float[Tensor, " molecule"]
    edge_index: Int[Tensor, "2 edge"]
    batch: Int[Tensor, " atom"]


@dataclass(frozen=True)
class Molecule:
    """Elements and positions of the atoms of one molecule.

    Attributes:
        numbers: Atomic numbers of the atoms.
        positions: Positions of the atoms, Å.

    Example:
        >>> Molecule(np.array([1, 1]), np.array([[0.0, 0, 0], [0.74, 0, 0]])).numbers.tolist()
        [1, 1]
    """

    numbers: Int64[np.ndarray, " atom"]
    positions: Float64[np.ndarray, "atom 3"]


@runtime_checkable
class Denoiser(Protocol):
    """Interface of :class:`equinet.models.PonitaDenoiser`.

    Example:
        >>> from equinet.models import PonitaDenoiser
        >>> model = PonitaDenoiser(elements=[1], sizes=[0, 1], position_deviation=1.0, channels=4,
        ...                        layers=1)
        >>> isinstance(model, Denoiser)
        True
    """

    elements: tuple[int, ...]
    sizes: Sizes

    def __call__(self, graph: Any) -> dict[str, Tensor]:
        """Return the expected ``pos`` and ``types`` of noisy molecules."""


def add_noise(
    pos: Float[Tensor, "atom 3"],
    types: Float[Tensor, "atom element"],
    noise: Float[Tensor, " molecule"],
    edge_index: Int[Tensor, "2 edge"],
    batch: Int[Tensor, " atom"],
    generator: torch.Generator | None = None,
) -> NoisyMolecules:
    """Add normal noise to the positions and types of molecules.

    Args:
        pos: Positions relative to the center of each molecule [N, 3], Å.
        types: Types of the atoms [N, elements].
        noise: Noise level of each molecule [G], Å.
        edge_index: Senders and receivers [2, E], sorted by receiver.
        batch: Number of the molecule of each atom [N].
        generator: Source of random numbers on the CPU; None for that of torch.

    Example:
        >>> edge_index, batch = fully_connected(torch.tensor([2]))
        >>> add_noise(torch.zeros(2, 3), torch.zeros(2, 5), torch.ones(1), edge_index,
        ...           batch).pos.shape
        torch.Size([2, 3])
    """
    of_atom = noise.index_select(0, batch).unsqueeze(1)
    moved = torch.randn(*pos.shape, generator=generator).to(pos)
    changed = torch.randn(*types.shape, generator=generator).to(types)
    return NoisyMolecules(
        pos + of_atom * center(moved, batch, len(noise)),
        types + of_atom * changed,
        noise,
        edge_index,
        batch,
    )


@torch.no_grad()
def generate(
    model: Denoiser,
    numbers: Sequence[int],
    levels: Float[Tensor, " level"],
    *,
    seed: int = 0,
    churn: float = 0.0,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    after_step: Callable[[], object] | None = None,
) -> list[Molecule]:
    """Make molecules from noise.

    The random numbers of a molecule follow from the seed and the number of the molecule, so that it
    does not depend on the other molecules of the batch, up to rounding.

    Args:
        model: Denoiser of molecules, on the device.
        numbers: Numbers of the molecules that are made.
        levels: Noise levels from the highest to zero, see
            :func:`equinet.diffusion.sampling_levels`.
        seed: Seed of all molecules.
        churn: Amount of noise that is added and removed again, see
            :func:`equinet.diffusion.sample`.
        device: Device of the model.
        dtype: Precision of the noise and of the steps.
        after_step: Function that is called after each step; None for none.

    Returns:
        Molecules in the order of their numbers, with their centers at the origin.

    Example:
        >>> from equinet.diffusion import sampling_levels
        >>> from equinet.models import PonitaDenoiser
        >>> model = PonitaDenoiser(elements=[1, 8], sizes=[0, 0, 0, 1], position_deviation=1.0,
        ...                        channels=4, layers=1)
        >>> [len(each.numbers) for each in generate(model, [0, 1], sampling_levels(2))]
        [3, 3]
    """
    streams = Streams(seed, numbers)
    sizes = model.sizes.draw(streams.uniform())
    edge_index, batch = (each.to(device) for each in fully_connected(sizes))
    ones = torch.ones(len(numbers), dtype=dtype, device=device)

    def draw() -> Tensor:
        noise = streams.normal(sizes.tolist(), 3 + len(model.elements)).to(device, dtype)
        return torch.cat([center(noise[:, :3], batch, len(numbers)), noise[:, 3:]], dim=1)

    def denoise(state: Tensor, level: float) -> Tensor:
        found = model(NoisyMolecules(state[:, :3], state[:, 3:], level * ones, edge_index, batch))
        return torch.cat([found["pos"], found["types"]], dim=1)

    state = sample(denoise, levels, draw, churn=churn, after_step=after_step).double().cpu()
    elements = torch.tensor(model.elements)[state[:, 3:].argmax(1)]
    positions = center(state[:, :3], batch.cpu(), len(numbers))  # rounding moves the centers
    parts = zip(elements.split(sizes.tolist()), positions.split(sizes.tolist()), strict=True)
    return [Molecule(kinds.numpy(), places.numpy()) for kinds, places in parts]
