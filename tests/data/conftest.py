"""Generated files of labeled atoms."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms

from equinet.data import Frame
from equinet.data.atoms import make_molecules


def water(seed: int = 0, **info: object) -> Atoms:
    """A water-like molecule with random labels as ``info`` and arrays, under given names."""
    rng = np.random.default_rng(seed)
    positions = np.array([[0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]], dtype=float)
    atoms = Atoms("OH2", positions + 0.05 * rng.normal(size=(3, 3)))
    atoms.info.update(info)
    return atoms


def extxyz(frames: int = 3, *, energy: str = "energy", forces: str = "forces") -> str:
    """Text of water frames; the energy of frame k is -k."""
    text = ""
    for number in range(1, frames + 1):
        atoms = water(number)
        rows = np.random.default_rng(number).normal(size=(3, 3))
        text += f'3\nProperties=species:S:1:pos:R:3:{forces}:R:3 {energy}=-{number}.5 pbc="F F F"\n'
        for symbol, place, force in zip(atoms.symbols, atoms.positions, rows, strict=True):
            numbers = " ".join(f"{value:.8f}" for value in (*place, *force))
            text += f"{symbol} {numbers}\n"
    return text


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Write text or bytes to a file in a temporary folder."""

    def write_file(content: str | bytes, name: str = "frames.xyz") -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write_file


@pytest.fixture
def text() -> Callable[..., str]:
    return extxyz


@pytest.fixture
def make_water() -> Callable[..., Atoms]:
    return water


@pytest.fixture(scope="session")
def molecules() -> dict[str, list[Frame]]:
    """The generated molecules, which take more than a second."""
    return make_molecules()


@pytest.fixture
def _made_molecules(molecules: dict[str, list[Frame]], monkeypatch: pytest.MonkeyPatch) -> None:
    """Let data modules take the molecules above where they would generate the same once more."""
    for name in ("rmd17", "three_bpa"):
        monkeypatch.setattr(f"equinet.data.datasets.{name}.make_molecules", lambda: molecules)
