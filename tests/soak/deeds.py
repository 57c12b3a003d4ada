"""What is interrupted: pieces of work that go on where they were stopped, and what they leave."""

import csv
import hashlib
import importlib
import json
import os
import socket
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from labeled_files import write_clusters
from oc20_files import slab, write_pair
from springs import harmonic_frames

from equinet import evaluate, train, zoo
from equinet.configuration import RunDirectory, compose
from equinet.data.cache import cached_splits
from equinet.data.digits import affine_copy, cached_copies
from equinet.data.store import convert
from equinet.files import LOCK
from equinet.models import MACEGaunt
from equinet.training.checkpoints import load_weights
from equinet.training.progress import read_metrics

TINY = (
    *("model.channels=2", "model.layers=1", "model.lmax_filter=1", "model.lmax_hidden=1"),
    *("model.correlation=2", "model.radial_hidden=[4]", "optim.lr=0.005"),
)


@dataclass(frozen=True)
class Deed:
    """A piece of work in a folder.

    Attributes:
        name: Name in the table.
        do: Work in a folder; repeated, it goes on where it was stopped.
        outcome: What the finished work leaves, to be compared bit for bit.
        broken: What is wrong in the folder after the work was stopped at any moment; empty where
            nothing is.
        processes: How many processes do the work together.
        ready: Whether the processes, started at a time, have found each other by now.
    """

    name: str
    do: Callable[[Path], Any]
    outcome: Callable[[Path], Any]
    broken: Callable[[Path], str]
    processes: int = 1
    ready: Callable[[Path, float], bool] = lambda *_: True


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def files_of(folder: Path) -> dict[str, str]:
    """What every file in a folder holds, except locks."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != LOCK)
    return {str(path.relative_to(folder)): content(path) for path in paths}


def content(path: Path) -> str:
    """The checksum of a file; of a file that tells the time, whether it is whole."""
    if path.name not in {"report.html", "report.json", "stamp.json"}:
        return digest(path)
    if path.suffix == ".html":
        return "whole" if path.read_text().rstrip().endswith("</html>") else "torn"
    try:
        json.loads(path.read_text())
    except ValueError:
        return "torn"
    return "whole"


# Training


def prepared_data(folder: Path) -> Path:
    """A folder with a training and a test file."""
    folder.mkdir(parents=True, exist_ok=True)
    write_clusters(folder / "train.xyz", 14, seed=0)
    write_clusters(folder / "test.xyz", 4, seed=1)
    return folder


def tree_of(data: Path, folder: Path, *more: str) -> dict[str, Any]:
    """The configuration of a short training that writes a checkpoint at every step."""
    return compose(
        "train",
        [
            *("data=files", f"data.root={data}", "data.train=train.xyz", "data.val=3"),
            *("data.test={test:test.xyz}", "data.batch_size=3", "trainer.max_epochs=5"),
            *("run.checkpoint_minutes=1e-6", "logger=csv", f"run.dir={folder / 'run'}"),
            *TINY,
            *more,
        ],
    )


def trained(tree: dict[str, Any], folder: Path) -> dict[str, Any]:
    tree = {**tree, "run": {**tree["run"], "dir": str(folder / "run")}}
    return train.run(tree)


def state_of_run(folder: Path) -> Any:
    """Everything that a run leaves, but times."""
    run = RunDirectory(folder / "run")
    states = []
    for path in (run.last, run.checkpoints / "best.ckpt"):
        state = torch.load(path, weights_only=True)
        callbacks = state["callbacks"].items()
        state["callbacks"] = {key: value for key, value in callbacks if "Timer" not in key}
        states.append(plain(state))
    with run.table.open() as file:
        rows = [{**row, "seconds": ""} for row in csv.DictReader(file)]
    metrics = json.loads(run.metrics.read_text())
    metrics.pop("train_seconds")
    for entry in ("seconds", "structures_per_second"):
        metrics.pop(entry, None)
    left = [path.name for path in run.path.rglob("*.partial")]
    return [*states, rows, digest(run.model / "model.safetensors"), metrics, left]


def plain(value: Any) -> Any:
    """Nested values with checksums instead of tensors."""
    if isinstance(value, torch.Tensor):
        content = value.detach().contiguous().numpy().tobytes()
        return f"{value.dtype} {list(value.shape)} {hashlib.sha256(content).hexdigest()}"
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return repr(value)


def broken_run(folder: Path) -> str:
    run = RunDirectory(folder / "run")
    try:
        for name in ("last", "previous", "best"):
            path = run.checkpoints / f"{name}.ckpt"
            if path.is_file():
                load_weights(path)
        if run.table.is_file():
            read_metrics(run.table)
        if (run.model / "card.json").is_file():
            zoo.load(run.path)
    except Exception as error:  # noqa: BLE001 - that is what is looked for
        return f"{type(error).__name__}: {error}"
    return ""


def training(name: str, data: Path, *more: str) -> Deed:
    tree = tree_of(data, data, *more)
    return Deed(name, partial(trained, tree), state_of_run, broken_run)


def training_on_two(data: Path, *more: str, processes: int = 2) -> Deed:
    ddp = (f"trainer.devices={processes}", "trainer.strategy=ddp")
    tree = tree_of(data, data, *ddp, *more)
    return Deed(
        "train on two processes",
        partial(trained, tree),
        state_of_run,
        broken_run,
        processes=processes,
        ready=has_stepped,
    )


def has_stepped(folder: Path, since: float) -> bool:
    """Whether a checkpoint was written since a time."""
    last = RunDirectory(folder / "run").last
    return last.is_file() and last.stat().st_mtime > since


def as_rank(rank: int, world: int, port: int) -> None:
    """Set what torchrun tells a process."""
    os.environ.update(
        TORCHELASTIC_RUN_ID="soak",
        RANK=str(rank),
        LOCAL_RANK=str(rank),
        WORLD_SIZE=str(world),
        LOCAL_WORLD_SIZE=str(world),
        GROUP_RANK="0",
        MASTER_ADDR="127.0.0.1",
        MASTER_PORT=str(port),
    )


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


# Conversion, evaluation, models, caches


def conversion(name: str, folder: Path, processes: int) -> Deed:
    source = folder / "split"
    if not source.is_dir():
        for stem in range(8):
            write_pair(source, stem, [slab(10 * stem + i) for i in range(5)])

    def do(target: Path) -> None:
        list(convert(source, target / "store", processes=processes))

    return Deed(name, do, files_of, lambda _: "")


def evaluation(data: Path) -> Deed:
    model = data / "model"
    if not model.is_dir():
        zoo.save(small_model(0), model, {"data": "clusters"})
    tree = compose(
        "evaluate", [f"checkpoint={model}", f"data.file={data / 'test.xyz'}", "output=here"]
    )
    expected: dict[str, str] = {}

    def do(folder: Path) -> None:
        evaluate.run({**tree, "output": str(folder / "output")})

    def outcome(folder: Path) -> dict[str, str]:
        expected.update(files_of(folder))
        return dict(expected)

    def broken(folder: Path) -> str:
        torn = [
            name
            for name, found in files_of(folder).items()
            if not name.endswith(".partial") and expected.get(name) != found
        ]
        return f"{', '.join(torn)} has another content than when it is whole" if torn else ""

    return Deed("evaluate", do, outcome, broken)


def small_model(seed: int) -> MACEGaunt:
    torch.manual_seed(seed)
    return MACEGaunt(
        elements=[13, 29], cutoff=5.0, reference_energies=[-1.0, -2.0], average_neighbors=3.0,
        channels=2, layers=1,
    )  # fmt: skip


def saving() -> Deed:
    """A model is saved over another one."""
    models = [small_model(seed) for seed in (1, 2)]
    known = [plain(model.state_dict()) for model in models]

    def do(folder: Path) -> None:
        if not (folder / "model").is_dir():
            zoo.save(models[0], folder / "model", {"data": "first"})
        zoo.save(models[1], folder / "model", {"data": "second"})

    def outcome(folder: Path) -> Any:
        found = plain(zoo.load(folder / "model").state_dict())
        return [found, sorted(path.name for path in (folder / "model").iterdir())]

    def broken(folder: Path) -> str:
        if not (folder / "model" / "card.json").is_file():
            return ""  # the first was not saved yet
        try:
            found = plain(zoo.load(folder / "model").state_dict())
        except Exception as error:  # noqa: BLE001 - that is what is looked for
            return f"{type(error).__name__}: {error}"
        return "" if found in known else "the model is neither the old nor the new one"

    return Deed("save a model", do, outcome, broken)


def caching(name: str, processes: int) -> Deed:
    splits = {"train": harmonic_frames(12, seed=0), "test": harmonic_frames(4, seed=1)}
    images = torch.arange(5 * 40 * 40, dtype=torch.int64).reshape(5, 40, 40).to(torch.uint8)

    def do(folder: Path) -> Any:
        frames = cached_splits("frames-v1", lambda: splits, tuple(splits), folder)
        copies = cached_copies("copies-v1", affine_copy, images, copies=2, seed=1, cache=folder)
        return [[frame.positions.tolist() for frame in frames["train"]], plain(copies)]

    def outcome(folder: Path) -> Any:
        return [do(folder), files_of(folder)]

    return Deed(name, do, outcome, lambda _: "", processes=processes)


def warm_up(folder: Path) -> None:
    """Import everything that a child will need, in this process, without threads."""
    for name in ("matplotlib.pyplot", "torch.utils.data", "equinet.evaluation"):
        importlib.import_module(name)
    prepared_data(folder)
