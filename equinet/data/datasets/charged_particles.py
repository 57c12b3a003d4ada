"""Five charged particles in free space: the system whose motion the N-body benchmark predicts.

Source: the simulator of Kipf et al. (ICML 2018) as Fuchs et al. (NeurIPS 2020) and Satorras et
al. (ICML 2021) took it to three dimensions, https://github.com/vgsatorras/egnn (MIT). Initial
states are drawn number by number as there; the trajectories agree up to rounding, which close
encounters amplify.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

PARTICLES = 5
TIME_STEP = 1e-3
STEPS_PER_FRAME = 100
FRAMES = 49
"""Frames that the reference simulator stores; frame k is step ``STEPS_PER_FRAME * (k + 1)``."""

_SPEED = 0.5  # of every particle at the start
_BOX = 5.0  # half the edge of the box that the initial state is reflected into
_LARGEST_FORCE = 0.1 / TIME_STEP  # of a component
_PAIRS = np.array(
    [
        np.eye(PARTICLES)[first] - np.eye(PARTICLES)[second]
        for first, second in itertools.combinations(range(PARTICLES), 2)
    ]
)


@dataclass(frozen=True)
class ParticleStates:
    """States of many systems, in the simulation's own units (mass and coupling are one).

    Attributes:
        charges: Charge of each particle, -1 or 1.
        positions: Position of each particle.
        velocities: Half a step behind the positions, except at the start.
    """

    charges: Float64[np.ndarray, "system 5"]
    positions: Float64[np.ndarray, "system 5 3"]
    velocities: Float64[np.ndarray, "system 5 3"]


def draw_states(stream: np.random.RandomState, count: int) -> ParticleStates:
    """Draw initial states from a stream of random numbers in the order of the reference simulator.

    Each system takes its charges, positions and velocities, and then the noise of all frames: its
    amplitude is zero, but the numbers are drawn.

    Args:
        stream: The legacy generator, whose numbers never change; it is advanced.
        count: Number of systems.

    Returns:
        Standard normal positions, velocities of length 0.5.

    Example:
        >>> draw_states(np.random.RandomState(43), 2).positions.shape
        (2, 5, 3)
    """
    charges = np.empty((count, PARTICLES))
    positions, velocities = np.empty((2, count, 3, PARTICLES))
    for system in range(count):
        charges[system] = stream.choice([-1.0, 0.0, 1.0], PARTICLES, p=[0.5, 0.0, 0.5])
        positions[system] = stream.randn(3, PARTICLES)
        velocities[system] = stream.randn(3, PARTICLES)
        stream.randn(2, FRAMES, 3, PARTICLES)
    velocities *= _SPEED / np.linalg.norm(velocities, axis=1, keepdims=True)
    outside = np.abs(positions) > _BOX
    velocities[outside] = -np.sign(positions[outside]) * np.abs(velocities[outside])
    positions[outside] = np.sign(positions[outside]) * 2 * _BOX - positions[outside]
    return ParticleStates(charges, positions.transpose(0, 2, 1), velocities.transpose(0, 2, 1))


def simulate(states: ParticleStates, frames: Sequence[int]) -> list[ParticleStates]:
    r"""Move all systems together under Coulomb forces :math:`q_i q_j r_{ij} / |r_{ij}|^3`.

    Components of a force are clipped to ±100. Velocities are kicked first, then positions drift.

    Args:
        states: At the start.
        frames: Frames to return, ascending, from 0.

    Returns:
        The states at each frame.

    Raises:
        ValueError: The frames are not ascending whole numbers from 0.

    Example:
        >>> start = draw_states(np.random.RandomState(43), 2)
        >>> [state.positions.shape for state in simulate(start, [0, 1])]
        [(2, 5, 3), (2, 5, 3)]
    """
    if any(first >= second for first, second in itertools.pairwise([-1, *frames])):
        raise ValueError(f"frames must ascend from 0 or above, found {list(frames)}")
    # Systems last, so that every operation runs over long rows; pairs by one matrix product.
    positions = np.ascontiguousarray(states.positions.transpose(1, 2, 0))
    velocities = np.ascontiguousarray(states.velocities.transpose(1, 2, 0))
    products = np.einsum("sp,sq->pqs", states.charges, states.charges)
    strengths = products[np.triu_indices(PARTICLES, 1)]
    found, done = [], 0
    for frame in frames:
        for _ in range(done, STEPS_PER_FRAME * (frame + 1)):
            velocities += TIME_STEP * _forces(positions, strengths)
            positions += TIME_STEP * velocities
        done = STEPS_PER_FRAME * (frame + 1)
        moved = (array.transpose(2, 0, 1).copy() for array in (positions, velocities))
        found.append(ParticleStates(states.charges, *moved))
    return found


def _forces(
    positions: Float64[np.ndarray, "5 3 system"], strengths: Float64[np.ndarray, "pair system"]
) -> Float64[np.ndarray, "5 3 system"]:
    vectors = np.tensordot(_PAIRS, positions, 1)
    squares = np.einsum("pcs,pcs->ps", vectors, vectors)
    vectors *= (strengths / (squares * np.sqrt(squares)))[:, None]
    return np.tensordot(_PAIRS.T, vectors, 1).clip(-_LARGEST_FORCE, _LARGEST_FORCE)
