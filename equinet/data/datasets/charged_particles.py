"""Simulation of five charged particles in free space, the system of the N-body benchmark.

Source: the simulator of Kipf et al. (ICML 2018), as extended to three dimensions by Fuchs et al.
(NeurIPS 2020) and Satorras et al. (ICML 2021), https://github.com/vgsatorras/egnn (MIT). Initial
states use the same random numbers in the same order. The trajectories agree up to rounding errors,
which close encounters of particles amplify.
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
"""Number of stored frames of a trajectory; frame k is step ``STEPS_PER_FRAME * (k + 1)``."""

_SPEED = 0.5  # initial speed of every particle
_BOX = 5.0  # half the edge of the box into which initial positions are reflected
_LARGEST_FORCE = 0.1 / TIME_STEP  # bound of each component of a force
_PAIRS = np.array(
    [
        np.eye(PARTICLES)[first] - np.eye(PARTICLES)[second]
        for first, second in itertools.combinations(range(PARTICLES), 2)
    ]
)


@dataclass(frozen=True)
class ParticleStates:
    """States of many systems, in units in which mass and coupling are 1.

    Attributes:
        charges: Charges of the particles, -1 or 1.
        positions: Positions of the particles.
        velocities: Velocities of the particles, half a time step before the positions, except in
            the initial state.
    """

    charges: Float64[np.ndarray, "system 5"]
    positions: Float64[np.ndarray, "system 5 3"]
    velocities: Float64[np.ndarray, "system 5 3"]


def draw_states(stream: np.random.RandomState, count: int) -> ParticleStates:
    """Draw initial states from a stream of random numbers in the order of the reference simulator.

    For each system the simulator draws charges, positions, velocities, and then the noise of all
    frames. The amplitude of the noise is zero, but its random numbers are drawn.

    Args:
        stream: Legacy generator of NumPy, whose numbers are the same in all versions; it is
            advanced.
        count: Number of systems.

    Returns:
        Initial states with standard normal positions and velocities of length 0.5.

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
    r"""Simulate all systems together under Coulomb forces :math:`q_i q_j r_{ij} / |r_{ij}|^3`.

    Components of a force are clipped to ±100. In a step, velocities change first, then positions.

    Args:
        states: Initial states of the systems.
        frames: Indices of the frames to return, ascending, from 0.

    Returns:
        The states at each frame.

    Raises:
        ValueError: The frames are not ascending or begin below 0.

    Example:
        >>> start = draw_states(np.random.RandomState(43), 2)
        >>> [state.positions.shape for state in simulate(start, [0, 1])]
        [(2, 5, 3), (2, 5, 3)]
    """
    if any(first >= second for first, second in itertools.pairwise([-1, *frames])):
        raise ValueError(f"frames must ascend from 0 or above, found {list(frames)}")
    # The axis of systems is last, so that every operation runs over long rows of memory.
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
