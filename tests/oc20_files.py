"""Generated files in the layouts in which OC20 is released."""

import lzma
from collections.abc import Sequence
from pathlib import Path

import lmdb
import numpy as np
import torch
from torch_geometric.data import Data

from equinet.data import Frame
from equinet.elements import SYMBOLS

REFERENCE = -540.3848194975135


def slab(seed: int, *, metals: int = 8, metal: int = 29) -> Frame:
    """A periodic layer of a metal with CO on it, random labels; digits as the files keep them."""
    rng = np.random.default_rng(seed)
    side = int(np.ceil(np.sqrt(metals / 2)))
    grid = [(i, j, k) for k in range(2) for i in range(side) for j in range(side)][:metals]
    places = np.array([*grid, (0, 0, 1.9), (0, 0, 2.4)]) * 2.6 + [0, 0, 5.0]
    places = np.round(places + rng.normal(scale=0.05, size=places.shape), 8)
    numbers = np.array([metal] * metals + [6, 8])
    tags = np.where(places[:, 2] < 6.3, 0, 1)
    tags[-2:] = 2
    cell = np.array([[2.6 * side, 0, 0], [0.5, 2.6 * side, 0], [0, 0, 25.0]])
    forces = np.round(rng.normal(size=places.shape), 8)
    energy = round(float(rng.normal()) - 200, 8)
    return Frame(
        numbers, places, cell, np.ones(3, dtype=bool), energy, forces, None, tags, tags == 0
    )


def extxyz(frames: Sequence[Frame]) -> str:
    """The text of ``N.extxyz``; the energies are the total ones."""
    text = ""
    for frame in frames:
        lattice = " ".join(map(repr, frame.cell.ravel().tolist()))
        columns = "species:S:1:pos:R:3:move_mask:L:1:tags:I:1:forces:R:3"
        text += f'{len(frame)}\nLattice="{lattice}" Properties={columns} '
        text += f'energy={frame.energy!r} free_energy={frame.energy - 0.01!r} pbc="T T T"\n'
        for atom, number in enumerate(frame.numbers):
            place = " ".join(f"{x:15.8f}" for x in frame.positions[atom])
            force = " ".join(f"{x:15.8f}" for x in frame.forces[atom])
            free = "F" if frame.fixed[atom] else "T"
            text += f"{SYMBOLS[number]:<2}{place}  {free} {frame.tags[atom]:8d} {force}\n"
    return text


def rows(count: int, *, first: int = 0, reference: float = REFERENCE) -> str:
    """The text of ``N.txt``."""
    return "".join(f"random{7000 + first + i},frame{i},{reference!r}\n" for i in range(count))


def write_pair(folder: Path, stem: int, frames: Sequence[Frame], *, packed: bool = True) -> Path:
    """Write ``N.extxyz[.xz]`` and ``N.txt[.xz]``; ids count from 1000 N."""
    folder.mkdir(parents=True, exist_ok=True)
    suffix = ".xz" if packed else ""
    texts = {"extxyz": extxyz(frames), "txt": rows(len(frames), first=1000 * stem)}
    for kind, text in texts.items():
        content = text.encode()
        (folder / f"{stem}.{kind}{suffix}").write_bytes(
            lzma.compress(content) if packed else content
        )
    return folder / f"{stem}.extxyz{suffix}"


def write_lmdb(path: Path, values: dict[object, bytes]) -> Path:
    """Write an LMDB of one file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with (
        lmdb.open(str(path), subdir=False, map_size=1 << 26) as environment,
        environment.begin(write=True) as transaction,
    ):
        for key, value in values.items():
            transaction.put(str(key).encode(), value)
    (path.parent / f"{path.name}-lock").unlink()
    return path


def data_of(frame: Frame, **labels: object) -> Data:
    """As the Open Catalyst Project writes it: float32, a cell of [1, 3, 3], no pbc."""
    return Data(
        pos=torch.tensor(frame.positions, dtype=torch.float32),
        cell=torch.tensor(frame.cell, dtype=torch.float32)[None],
        atomic_numbers=torch.tensor(frame.numbers, dtype=torch.float32),
        natoms=len(frame),
        tags=torch.tensor(frame.tags),
        fixed=torch.tensor(frame.fixed, dtype=torch.float32),
        edge_index=torch.zeros(2, 1, dtype=torch.int64),
        **labels,
    )
