"""Files of every kind that equinet reads, made small, with a reader for each.

A kind is a function of a folder that writes one file and returns its path and a reader of its
content. The kinds in ``SEALED`` carry a checksum; those in ``OPEN`` have none.
"""

import bz2
import gzip
import hashlib
import json
import lzma
import pickle
import shutil
import tarfile
import zlib
from collections.abc import Callable
from dataclasses import astuple
from pathlib import Path
from typing import Any

import numpy as np
import torch
from oc20_files import data_of, extxyz, slab, write_lmdb, write_pair

from equinet import zoo
from equinet.configuration import RunDirectory, load_yaml, save_yaml
from equinet.data import read_frames
from equinet.data.arrays import read_array
from equinet.data.cache import cached_splits
from equinet.data.datasets import affnist, nbody, rmd17, superpixel_mnist
from equinet.data.digits import affine_copy, cached_copies, superpixels
from equinet.data.digits import mnist as mnist_files
from equinet.data.store import FrameStore, Refusal, convert, find_parts
from equinet.errors import DataError, EquinetError
from equinet.evaluation.oc20.s2ef_submission import read_splits
from equinet.models import Committee, MACEGaunt
from equinet.training.checkpoints import load_weights
from equinet.training.progress import read_metrics
from equinet.zoo import index

Kind = tuple[Path, Callable[[], Any]]


class MadeAnewError(EquinetError):
    """A cache was found damaged, and would be made anew."""


def made_anew(*_: Any) -> Any:
    raise MadeAnewError


def frame_values(frames: Any) -> list[tuple[Any, ...]]:
    names = ("numbers", "positions", "cell", "pbc", "energy", "forces", "stress", "tags", "fixed")
    return [tuple(getattr(frame, name) for name in names) for frame in frames]


def records(path: Path) -> list[tuple[Any, ...]]:
    found = []
    for part in find_parts(path):
        for record in part.records():
            if isinstance(record, Refusal):
                raise DataError(record.reason)
            found.append(record.frame)
    return frame_values(found)


def small_model() -> MACEGaunt:
    torch.manual_seed(0)
    return MACEGaunt(
        elements=[1, 8], cutoff=4.0, reference_energies=[-13.6, -2040.0], average_neighbors=3.0,
        channels=2, layers=1,
    )  # fmt: skip


def loaded(folder: Path) -> Any:
    model = zoo.load(folder)
    return [model.state_dict(), repr(model.arguments)]


def store_of(folder: Path) -> Path:
    write_pair(folder / "split", 0, [slab(i) for i in range(3)])
    list(convert(folder / "split", folder / "store"))
    return folder / "store"


def stored(store: Path) -> Any:
    opened = FrameStore(store)
    return [opened.atoms[:], opened.elements, opened.labels, frame_values(opened)]


# Text and packed text


def plain_text(folder: Path) -> Kind:
    path = folder / "a.xyz"
    path.write_text(extxyz([slab(i) for i in range(3)]))
    return path, lambda: frame_values(read_frames(path))


def text_gz(folder: Path) -> Kind:
    path = folder / "a.xyz.gz"
    path.write_bytes(gzip.compress(extxyz([slab(0)]).encode()))
    return path, lambda: frame_values(read_frames(path))


def text_xz(folder: Path) -> Kind:
    path = folder / "a.xyz.xz"
    path.write_bytes(lzma.compress(extxyz([slab(0)]).encode()))
    return path, lambda: frame_values(read_frames(path))


def text_bz2(folder: Path) -> Kind:
    path = folder / "a.xyz.bz2"
    path.write_bytes(bz2.compress(extxyz([slab(0)]).encode()))
    return path, lambda: frame_values(read_frames(path))


def trajectory(folder: Path) -> Kind:
    from ase.calculators.singlepoint import SinglePointCalculator
    from ase.io import write

    from equinet.data import frame_to_atoms

    images = []
    for seed in range(3):
        frame = slab(seed)
        atoms = frame_to_atoms(frame)
        atoms.calc = SinglePointCalculator(atoms, energy=frame.energy, forces=frame.forces)
        images.append(atoms)
    path = folder / "a.traj"
    write(path, images)
    return path, lambda: frame_values(read_frames(path))


def s2ef_frames(folder: Path) -> Kind:
    path = write_pair(folder / "split", 0, [slab(i) for i in range(3)])
    return path, lambda: records(folder / "split")


def s2ef_rows(folder: Path) -> Kind:
    write_pair(folder / "split", 0, [slab(i) for i in range(3)])
    return folder / "split" / "0.txt.xz", lambda: records(folder / "split")


def s2ef_tar(folder: Path) -> Kind:
    write_pair(folder / "split", 0, [slab(i) for i in range(3)])
    path = folder / "a.tar"
    with tarfile.open(path, "w") as archive:
        archive.add(folder / "split", "split")
    return path, lambda: records(path)


# Databases


def trimmed(path: Path) -> Path:
    """Without the empty pages behind the last one."""
    content = path.read_bytes()
    used = len(content.rstrip(b"\0"))
    path.write_bytes(content[: -(-used // 4096) * 4096])
    return path


def lmdb_pickled(folder: Path) -> Kind:
    values = {}
    for key in range(6):
        frame = slab(key)
        forces = torch.tensor(frame.forces)
        values[key] = pickle.dumps(data_of(frame, y=frame.energy, force=forces, sid=key, fid=0))
    path = trimmed(write_lmdb(folder / "a.lmdb", values))
    return path, lambda: records(path)


def lmdb_json(folder: Path) -> Kind:
    values = {}
    for key in range(1, 7):
        frame = slab(key)
        row = {"numbers": frame.numbers.tolist(), "positions": frame.positions.tolist()}
        row |= {"energy": frame.energy, "forces": frame.forces.tolist(), "pbc": [True] * 3}
        values[key] = zlib.compress(json.dumps(row | {"cell": frame.cell.tolist()}).encode())
    path = trimmed(write_lmdb(folder / "a.aselmdb", values))
    return path, lambda: records(path)


def ase_database(folder: Path) -> Kind:
    from ase.build import molecule
    from ase.db import connect

    path = folder / "a.db"
    with connect(path) as database:
        for name in ("H2O", "CO", "NH3"):
            database.write(molecule(name))
    return path, lambda: records(path)


def database_of_frames(folder: Path) -> Kind:
    path, _ = ase_database(folder)
    return path, lambda: frame_values(read_frames(path, labels_required=False))


# The store


def store_header(folder: Path) -> Kind:
    store = store_of(folder)
    return store / "header.json", lambda: stored(store)


def store_shard(folder: Path) -> Kind:
    store = store_of(folder)
    return store / "shards" / "000000.safetensors", lambda: stored(store)


def store_sizes(folder: Path) -> Kind:
    store = store_of(folder)
    return store / "atoms.npy", lambda: stored(store)


def begun_conversion(folder: Path, name: str) -> Kind:
    for stem in range(3):
        write_pair(folder / "split", stem, [slab(10 * stem + i) for i in range(2)])
    steps = convert(folder / "split", folder / "store")
    next(steps)
    next(steps)
    steps.close()
    shutil.copytree(folder / "store", folder / "kept")
    path = folder / "store" / name

    def read() -> Any:
        content = path.read_bytes()
        shutil.rmtree(folder / "store")
        shutil.copytree(folder / "kept", folder / "store")
        path.write_bytes(content)
        list(convert(folder / "split", folder / "store"))
        result = stored(folder / "store")
        path.parent.mkdir(exist_ok=True)
        return result

    return path, read


def conversion_plan(folder: Path) -> Kind:
    return begun_conversion(folder, "conversion.json")


def conversion_note(folder: Path) -> Kind:
    return begun_conversion(folder, "shards/000000.json")


# Models and runs


def zoo_weights(folder: Path) -> Kind:
    zoo.save(small_model(), folder / "model", {"data": "none"})
    return folder / "model" / "model.safetensors", lambda: loaded(folder / "model")


def zoo_card(folder: Path) -> Kind:
    zoo.save(small_model(), folder / "model", {"data": "none"})
    return folder / "model" / "card.json", lambda: loaded(folder / "model")


def zoo_weights_with_new_checksum(folder: Path) -> Kind:
    zoo.save(small_model(), folder / "model", {"data": "none"})
    path, card = folder / "model" / "model.safetensors", folder / "model" / "card.json"

    def read() -> Any:
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        card.write_text(json.dumps(json.loads(card.read_text()) | {"sha256": sha256}))
        return loaded(folder / "model")

    return path, read


def committee() -> Committee:
    return Committee.of([small_model(), small_model()])


def committee_weights(folder: Path) -> Kind:
    zoo.save(committee(), folder / "model", {"data": "none"})
    return folder / "model" / "model.safetensors", lambda: loaded(folder / "model")


def committee_card(folder: Path) -> Kind:
    zoo.save(committee(), folder / "model", {"data": "none"})
    return folder / "model" / "card.json", lambda: loaded(folder / "model")


def configuration(folder: Path) -> Kind:
    path = folder / "config.yaml"
    tree = {"seed": 3, "data": {"_target_": "equinet.data.OC20", "cutoff": 5.0, "root": None}}
    save_yaml({**tree, "model": {"channels": 16, "radial_hidden": [64, 64]}}, path)
    return path, lambda: load_yaml(path)


def zoo_index(folder: Path) -> Kind:
    path = folder / "index.json"
    shutil.copy(index._HERE / "index.json", path)
    index._HERE = folder
    return path, lambda: [astuple(entry) for entry in index.entries()]


def checkpoint(folder: Path) -> Kind:
    path = folder / "last.ckpt"
    torch.save({"state_dict": small_model().state_dict(), "global_step": 3}, path)
    return path, lambda: load_weights(path)


def metrics_table(folder: Path) -> Kind:
    path = folder / "metrics.csv"
    path.write_text("epoch,step,seconds,val_loss\n" + "0,5,1.5,0.25\n" * 9)
    return path, lambda: read_metrics(path)


def run_stamp(folder: Path) -> Kind:
    keys = ("time", "command", "hostname", "commit", "dirty")
    stamp = {"data_fingerprint": "ab" * 32, **dict.fromkeys(keys, "x")}
    directory = RunDirectory(folder)
    directory.write_stamp(stamp)
    directory.checkpoints.mkdir()
    directory.last.touch()

    def read() -> Any:
        directory.write_stamp(stamp)
        return [value for key, value in json.loads(directory.stamp.read_text()).items()
                if key not in {"resumed", "seal"}]  # fmt: skip

    return directory.stamp, read


def submission(folder: Path) -> Kind:
    path = folder / "s.npz"
    arrays = {"ids": np.array(["1_0", "2_0"]), "energy": np.arange(2.0), "forces": np.ones((5, 3))}
    np.savez_compressed(path, **{f"id_{name}": array for name, array in arrays.items()})
    return path, lambda: read_splits(path, tuple(arrays))


# Arrays and caches


def digit_arrays(folder: Path) -> Path:
    rng, path = np.random.default_rng(0), folder / "mnist.npz"
    arrays = {}
    for split, count in (("train", 20), ("test", 10)):
        arrays[f"x_{split}"] = rng.integers(0, 9, (count, 28, 28), np.uint8)
        arrays[f"y_{split}"] = rng.integers(0, 9, count, np.uint8)
    np.savez_compressed(path, **arrays)
    return path


def mnist(folder: Path) -> Kind:
    path = digit_arrays(folder)
    return path, lambda: astuple(mnist_files._read(path))


def mnist_for_superpixels(folder: Path) -> Kind:
    path = digit_arrays(folder)
    return path, lambda: superpixel_mnist._read_images(path)


def rmd17_archive(folder: Path) -> Kind:
    rng, path = np.random.default_rng(0), folder / "rmd17_aspirin.npz"
    arrays = {"coords": rng.normal(size=(9, 3, 3)), "energies": rng.normal(size=9)}
    arrays |= {"forces": rng.normal(size=(9, 3, 3)), "nuclear_charges": np.array([6, 1, 8])}
    np.savez(path, **arrays)
    return path, lambda: frame_values(rmd17._read_archive(path, range(9)))


def rmd17_places(folder: Path) -> Kind:
    path = folder / "index_train_01.csv"
    path.write_text("".join(f"{17 * i}\n" for i in range(40)))
    return path, lambda: rmd17._read_indices(path)


def official_nbody(folder: Path) -> Kind:
    rng, name = np.random.default_rng(0), nbody._REFERENCE_NAMES["train"]
    for kind, shape in (("loc", (nbody.FRAMES, 3, 5)), ("vel", (nbody.FRAMES, 3, 5))):
        array = rng.normal(size=(1, *shape))
        np.save(folder / f"{kind}_{name}_charged5_initvel1small.npy", array)
    charges = rng.choice([-1.0, 1.0], size=(1, 5, 1))
    path = folder / f"charges_{name}_charged5_initvel1small.npy"
    np.save(path, charges)
    return path, lambda: astuple(nbody._read(folder, "train", 1))


def cached_nbody(folder: Path) -> Kind:
    sizes = {"train": 2, "val": 1, "test": 1}
    nbody._cached_motions(sizes, folder)
    nbody.regenerate = made_anew
    (path,) = (folder / "nbody-v1").glob("*.npy")
    return path, lambda: [astuple(m) for m in nbody._cached_motions(sizes, folder).values()]


def cached_images(folder: Path) -> Kind:
    images = torch.randint(0, 255, (5, 40, 40), dtype=torch.uint8)
    options = {"copies": 1, "seed": 1, "cache": folder}
    cached_copies("copies-v1", affine_copy, images, **options)
    (path,) = (folder / "copies-v1").glob("*.npy")
    return path, lambda: cached_copies("copies-v1", made_anew, images, **options)


def cached_frames(folder: Path) -> Kind:
    splits = {"train": [slab(0), slab(1)], "test": [slab(2)]}
    cached_splits("set-v1", lambda: splits, tuple(splits), folder)
    return folder / "set-v1" / "train.extxyz", lambda: [
        frame_values(frames)
        for frames in cached_splits("set-v1", made_anew, tuple(splits), folder).values()
    ]


def cached_superpixels(folder: Path) -> Kind:
    images = np.random.default_rng(0).integers(0, 255, (2, 28, 28), np.uint8)
    options = {"name": "x", "cache": folder}
    superpixels.cached_superpixels(images, 75, 8, **options)
    superpixels.make_superpixels = made_anew
    (path,) = folder.rglob("*.npz")
    return path, lambda: astuple(superpixels.cached_superpixels(images, 75, 8, **options))


def monti(folder: Path) -> Kind:
    path = folder / "MNISTSuperpixels.pt"
    graphs = [
        {"pos": torch.rand(75, 2) * 28, "x": torch.rand(75, 1), "y": torch.tensor([3])}
        for _ in range(3)
    ]
    torch.save([graphs[:2], graphs[2:]], path)
    return path, lambda: [
        [astuple(split.superpixels), split.labels]
        for split in superpixel_mnist._read_superpixels(path, 8).values()
    ]


def matlab(folder: Path) -> Kind:
    from scipy.io import savemat

    path = folder / "1.mat"
    image = np.random.default_rng(0).integers(0, 255, (1600, 3)).astype(np.uint8)
    content = {"image": image, "label_int": np.arange(3).astype(np.uint8)}
    savemat(path, {"affNISTdata": content}, do_compression=True)
    return path, lambda: affnist.read_affnist([path])


def plain_array(folder: Path) -> Kind:
    path = folder / "a.npy"
    np.save(path, np.arange(12.0).reshape(3, 4))
    return path, lambda: read_array(path, "numbers")


SEALED = [
    *(store_header, store_shard, store_sizes, conversion_plan, conversion_note),
    *(zoo_weights, zoo_card, checkpoint, run_stamp, submission, mnist, mnist_for_superpixels),
    *(committee_weights, committee_card),
    *(rmd17_archive, cached_nbody, cached_images, cached_frames, cached_superpixels, monti),
]
OPEN = [
    *(
        plain_text,
        text_gz,
        text_xz,
        text_bz2,
        trajectory,
        s2ef_frames,
        s2ef_rows,
        s2ef_tar,
        lmdb_pickled,
        lmdb_json,
    ),
    *(ase_database, database_of_frames, configuration, rmd17_places, official_nbody),
    *(zoo_weights_with_new_checksum, zoo_index, metrics_table, matlab, plain_array),
]
