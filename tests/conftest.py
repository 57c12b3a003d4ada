"""Fixtures that every room shares."""

import os
from pathlib import Path

import hypothesis
import pytest
import torch

from equinet.lie import random_rotations

# Machines are noisy: no test may fail for the time it took.
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")

_REAL_DATA = Path(__file__).resolve().parents[1].parent / "shared" / "data"


# The suite runs on several processes; more threads in each only wait for one another.
torch.set_num_threads(1)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of the official data files; tests that need it skip where it is absent."""
    root = Path(os.environ.get("EQUINET_TEST_DATA", _REAL_DATA))
    if not root.is_dir():
        pytest.skip(f"real data not found at {root}; set EQUINET_TEST_DATA to run this test")
    return root


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


@pytest.fixture
def random_rotation() -> torch.Tensor:
    """A proper rotation [3, 3] in float64, the same in every run."""
    return random_rotations(1)[0]
