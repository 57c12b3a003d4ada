"""Fixtures that every room shares."""

import importlib
import itertools
import os
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import torch

if "PYTEST_XDIST_WORKER" in os.environ:
    # The whole suite needs these. Loaded by modules whose shapes are checked, they would be
    # compiled anew in every process, since jaxtyping's import hook hides their bytecode.
    for name in ("ase.optimize", "lightning.pytorch", "torch_geometric.data"):
        importlib.import_module(name)

from equinet.lie import random_rotations

# Machines are noisy: no test may fail for the time it took.
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")

_REAL_DATA = Path(__file__).resolve().parents[1].parent / "shared" / "data"


# The suite runs on several processes; more threads in each only wait for one another. The variable
# is for the linear algebra of NumPy in the workers, and for the processes that tests start.
os.environ.setdefault("OMP_NUM_THREADS", "1")
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


@pytest.fixture(scope="session")
def few_surfaces() -> dict[str, list[Any]]:
    """Every eighth system of the generated surfaces, which together have all their elements."""
    from equinet.data.atoms import emt

    every = emt._systems
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(emt, "_systems", lambda rng: itertools.islice(every(rng), 0, None, 8))
        return emt.make_surfaces()


@pytest.fixture
def random_rotation() -> torch.Tensor:
    """A proper rotation [3, 3] in float64, the same in every run."""
    return random_rotations(1)[0]
