"""Files of every kind that a release leaves behind: how they are written, and what is in them.

A kind is written once for each release, by ``make.py``, and must be read by all later ones.
"""

import contextlib
import io
import shutil
from collections.abc import Callable, Mapping
from dataclasses import astuple
from pathlib import Path
from typing import Any

import numpy as np
import torch
from damaged_files import frame_values, made_anew, stored
from oc20_files import slab, write_pair
from springs import harmonic_frames
from torch_geometric.data import Batch, Data

from equinet import train, zoo
from equinet.configuration import compose, load_yaml
from equinet.data import frame_to_atoms
from equinet.data.cache import cached_splits
from equinet.data.datasets import nbody, rmd17
from equinet.data.digits import superpixels
from equinet.data.digits.transforms import affine_copy, cached_copies
from equinet.data.store import convert
from equinet.models import Committee, Fallback, PropertyModel
from equinet.models.catalog import all_models
from equinet.training.checkpoints import load_weights
from equinet.training.progress import read_metrics

_ATOMS = {
    "elements": [1, 8],
    "cutoff": 3.0,
    "reference_energies": [-13.5, -2040.25],
    "average_neighbors": 4.0,
    "scale": 1.5,
    "shift": -0.25,
}
_MESSAGES = {"channels": 2, "layers": 1, "lmax_filter": 1, "radial_hidden": [4]}
_GRAPHS = {"in_scalars": 2, "in_vectors": 1, "out_scalars": 2, "out_vectors": 1}
_WIDTHS = ("attention_hidden", "alpha_channels", "value_channels", "feed_forward_hidden")

SIZES: Mapping[str, Mapping[str, Any]] = {
    "MACE": {**_ATOMS, **_MESSAGES, "correlation": 2, "readout_hidden": 2},
    "MACEGaunt": {**_ATOMS, **_MESSAGES, "lmax_hidden": 1, "readout_hidden": 2},
    "EquiformerV2": {
        **_ATOMS,
        **dict.fromkeys((*_WIDTHS, "channels", "edge_channels"), 4),
        "blocks": 1,
        "lmax": 1,
        "mmax": 1,
        "heads": 2,
        "radial_basis": 8,
    },
    "PonitaPotential": {**_ATOMS, "channels": 4, "layers": 1},
    "Ponita": {**_GRAPHS, "channels": 4, "layers": 1},
    "SEGNN": {**_GRAPHS, "channels": 4, "layers": 1},
    "PonitaDenoiser": {
        "elements": [1, 8],
        "sizes": [0.0, 0.25, 0.75],
        "position_deviation": 1.5,
        "channels": 4,
        "layers": 1,
    },
    "GroupResNet": {"classes": 3, "channels": 2, "blocks": 1, "rotations": 4, "hidden": 4},
    "DenseGroupResNet": {"classes": 3, "channels": 2, "rotations": 4, "kernel_width": 4},
}
"""Arguments of a small model of each class that is not made of others."""


def _model(name: str, *, seed: int = 0) -> Any:
    if name == "Committee":
        return Committee.of([_model("MACEGaunt", seed=seed) for seed in (1, 2)])
    if name == "Fallback":
        return Fallback.of(*[_model("MACEGaunt", seed=seed) for seed in (3, 4)], pairs=[[1, 8]])
    torch.manual_seed(seed)
    if name == "PropertyModel":
        network = all_models()["Ponita"](in_scalars=2, out_scalars=1, channels=4, layers=1)
        alpha = {"name": "alpha", "unit": "a0³", "pooling": "sum", "references": [1.0, 5.0]}
        return PropertyModel.of(network, elements=[1, 8], properties=[alpha | {"scale": 2.0}])
    return all_models()[name](**SIZES[name])


def _graph() -> Batch:
    """A structure with the fields that any model of graphs reads."""
    places = torch.tensor([[0.0, 0.0, 0.0], [0.96, 0.1, 0.0], [-0.25, 0.5, 0.75], [1.0, 1.0, 1.5]])
    near = (torch.cdist(places, places) < _ATOMS["cutoff"]) & ~torch.eye(4, dtype=torch.bool)
    edges = near.nonzero().T.contiguous()
    graph = Data(
        pos=places.double(),
        atomic_numbers=torch.tensor([8, 1, 1, 8]),
        cell=torch.zeros(1, 3, 3, dtype=torch.float64),
        edge_index=edges,
        edge_shift=torch.zeros(edges.shape[1], 3, dtype=torch.float64),
        x=torch.linspace(-1, 1, 8).reshape(4, 2),
        vec=torch.linspace(1, -1, 12).reshape(4, 1, 3),
        types=torch.eye(2)[[1, 0, 0, 1]],
        noise=torch.tensor([0.5]),
    )
    return Batch.from_data_list([graph])


def answer(model: Any) -> dict[str, list[float]]:
    """What a model says to one input."""
    if type(model).__name__.endswith("GroupResNet"):
        image = torch.linspace(0, 1, 400).reshape(1, 1, 20, 20).sin()
        found = {"scores": model(image)}
    else:
        found = model(_graph())
    return {name: value.detach().double().flatten().tolist() for name, value in found.items()}


def model(name: str) -> tuple[Callable[[Path], None], Callable[[Path], Any]]:
    """How a model of a class is saved, and what is in its folder."""

    def write(folder: Path) -> None:
        zoo.save(_model(name).eval(), folder, {"data": "none"})

    def read(folder: Path) -> Any:
        loaded = zoo.load(folder)
        return [type(loaded).__name__, repr(loaded.arguments), loaded.state_dict()]

    return write, read


def _train(steps: int) -> None:
    """Train in the working folder, so that no file names another one."""
    small = [f"model.{key}={value}" for key, value in _MESSAGES.items()]
    words = ("data=files", "data.train=train.xyz", "data.val=2", "data.cutoff=3.0", "run.dir=run")
    more = ("model.lmax_hidden=0", "model.readout_hidden=2", "logger=[]")
    tree = compose("train", [*words, *small, *more, f"trainer.max_steps={steps}"])
    with contextlib.redirect_stderr(io.StringIO()):
        train.run(tree)


_OF_RUN = ("config.yaml", "stamp.json", "metrics.csv", "training_structures.npy")


def write_run(folder: Path) -> None:
    from ase.io import write

    images = [frame_to_atoms(frame) for frame in harmonic_frames(8, seed=3)]
    write(folder / "train.xyz", images)
    with contextlib.chdir(folder):
        _train(4)
    for path in (folder / "run").rglob("*"):
        kept = path.name in _OF_RUN or path.name == "last.ckpt"
        if path.is_file() and not kept:
            path.unlink()


def read_run(folder: Path) -> Any:
    run = folder / "run"
    tree = load_yaml(run / "config.yaml")
    return [
        load_weights(run / "checkpoints" / "last.ckpt"),
        sorted(tree["model"].items()),
        read_metrics(run / "metrics.csv"),
        np.load(run / "training_structures.npy"),
    ]


def resume(folder: Path, steps: int) -> list[dict[str, Any]]:
    """Train a run of an earlier release further, and return the rows of its ``metrics.csv``."""
    with contextlib.chdir(folder):
        _train(steps)
    return read_metrics(folder / "run" / "metrics.csv")


def write_store(folder: Path) -> None:
    write_pair(folder / "pair", 0, [slab(seed) for seed in range(3)])
    with contextlib.chdir(folder):
        list(convert("pair", "store"))
    shutil.rmtree(folder / "pair")


def read_store(folder: Path) -> Any:
    return stored(folder / "store")


_IMAGES = (np.indices((2, 28, 28)).sum(axis=0) * 3).astype(np.uint8)
_MOTIONS = {"train": 2, "val": 1, "test": 1}


def _caches(folder: Path, splits: Any, copies: Any) -> Any:
    frames = cached_splits("set-v1", splits, ("train", "test"), folder)
    images = torch.nn.functional.pad(torch.from_numpy(_IMAGES), (6, 6, 6, 6))
    return [
        {name: frame_values(each) for name, each in frames.items()},
        cached_copies("copies-v1", copies, images, copies=1, seed=1, cache=folder),
        astuple(superpixels.cached_superpixels(_IMAGES, 20, 4, name="x", cache=folder)),
        [astuple(each) for each in nbody._cached_motions(_MOTIONS, folder).values()],
    ]


def write_caches(folder: Path) -> None:
    frames = {"train": [slab(0), slab(1)], "test": [slab(2)]}
    _caches(folder, lambda: frames, affine_copy)


def read_caches(folder: Path) -> Any:
    superpixels.make_superpixels = nbody.regenerate = made_anew
    return _caches(folder, made_anew, made_anew)


def write_split(folder: Path) -> None:
    (folder / "index_train_01.csv").write_text("".join(f"{17 * i}\n" for i in range(40)))


def read_split(folder: Path) -> Any:
    return rmd17._read_indices(folder / "index_train_01.csv")


MODELS = (*SIZES, "Committee", "Fallback", "PropertyModel")
KINDS: Mapping[str, tuple[Callable[[Path], None], Callable[[Path], Any]]] = {
    **{f"model {name}": model(name) for name in MODELS},
    "run": (write_run, read_run),
    "store": (write_store, read_store),
    "caches": (write_caches, read_caches),
    "split": (write_split, read_split),
}
"""Functions of each kind that write a folder, and read it into plain values."""
