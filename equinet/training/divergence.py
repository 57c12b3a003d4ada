"""Report of a training step that diverged: the values, the structures and the batch."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from equinet.data import frame_of_graph, frame_to_atoms
from equinet.errors import EquinetError
from equinet.evaluation import source_of
from equinet.files import whole_file
from equinet.training.processes import gather, rank_and_world

_ADVICE = (
    "lower optim.lr, check the data with `equinet data lint`, or find the operation with "
    "trainer.detect_anomaly=true"
)
_SHOWN = 3


class TrainingDivergedError(EquinetError):
    """A loss, a gradient, a weight or a validation error is NaN or infinite.

    Args:
        message: Sentence that says which values are not finite, where, and what to try.
        file: Name of the file for the batch of the step, the same on all processes; empty where
            no training step failed.
        batch: Batch to write, on the one process that writes it; None on all others.

    Example:
        >>> str(TrainingDivergedError("training diverged at step 3"))
        'training diverged at step 3'
    """

    def __init__(self, message: str, file: str = "", batch: Any = None) -> None:
        super().__init__(message)
        self.file = file
        self.batch = batch


def diverged(
    quantity: str,
    batch: Any,
    batch_idx: int,
    *,
    trainer: Any,
    predicted: Mapping[str, Tensor],
    here: bool = True,
    joint: bool = False,
) -> TrainingDivergedError:
    """Describe a training step that diverged; all processes call it together.

    Args:
        quantity: Quantity that is not finite, ``loss`` or ``gradient``.
        batch: Batch of this process in this step.
        batch_idx: Number of the batch in the epoch.
        trainer: Trainer, which knows the step, the epoch and the loader.
        predicted: Predictions for the batch, or their errors, by name.
        here: Whether the quantity is not finite on this process.
        joint: Whether the quantity is computed from the batches of all processes together.

    Returns:
        An error with the same sentence on all processes, and with the batch on the first process
        where the quantity is not finite.
    """
    rank, _ = rank_and_world()
    own = None
    if here:
        own = _sentence(quantity, batch, predicted, _sources(trainer, batch, batch_idx))
    found = gather(own)
    first = next(place for place, each in enumerate(found) if each is not None)
    process = f" on process {first} of {len(found)}" if len(found) > 1 and not joint else ""
    if len(found) > 1 and joint:
        process = f" on process 0, one of {len(found)} that share the gradient"
    place = f"epoch {trainer.current_epoch}, batch {batch_idx}{process}"
    message = (
        f"training diverged at step {trainer.global_step} ({place}): {found[first]}; {_ADVICE}"
    )
    return TrainingDivergedError(message, _file_of(batch), batch if rank == first else None)


def keep_batch(batch: Any, path: Path) -> None:
    """Write a batch in a plain format.

    Args:
        batch: Batch of graphs, or a tuple of tensors that begins with images.
        path: Path of the file to write: structures of atoms if it ends in ``.extxyz``, else the
            arrays of the batch in the format ``.npz``.
    """
    if path.suffix == ".extxyz":
        with whole_file(path) as partial:
            for number, graph in enumerate(batch.cpu().to_data_list()):
                frame = frame_of_graph(graph, source=f"structure {number} of the batch")
                atoms: Any = frame_to_atoms(frame)
                atoms.write(partial, format="extxyz", append=number > 0)
        return
    arrays: dict[str, Any] = {name: t.detach().cpu().numpy() for name, t in _fields(batch).items()}
    with whole_file(path) as partial, partial.open("wb") as file:
        np.savez(file, **arrays)


def _file_of(batch: Any) -> str:
    # Molecules without a cell are no frames.
    is_frame = {"atomic_numbers", "cell"} <= _fields(batch).keys()
    return "diverged.extxyz" if is_frame else "diverged.npz"


def _fields(batch: Any) -> dict[str, Tensor]:
    """Return the tensors of a batch by name."""
    if isinstance(batch, tuple | list):
        return dict(zip(("images", "labels"), batch, strict=False))
    return {name: value for name, value in batch.to_dict().items() if torch.is_tensor(value)}


def _sources(trainer: Any, batch: Any, batch_idx: int) -> list[str]:
    """Name the structures of a batch, by their frames if the loader knows them."""
    loader = trainer.train_dataloader
    batches = getattr(loader, "epoch_batches", None)
    indices = [] if batches is None else batches.indices(batch_idx)
    if len(indices) != _count(batch):
        return [f"structure {index} of the batch" for index in range(_count(batch))]
    return [source_of(loader, index) for index in indices]


def _count(batch: Any) -> int:
    return len(batch[0]) if isinstance(batch, tuple | list) else int(batch.num_graphs)


def _sentence(
    quantity: str, batch: Any, predicted: Mapping[str, Tensor], sources: Sequence[str]
) -> str:
    """Say which values are not finite, and for which structures."""
    given = {
        n: value for n, value in _fields(batch).items() if value.ndim and value.is_floating_point()
    }
    data = [name for name, value in given.items() if not value.isfinite().all()]
    model = [name for name, value in predicted.items() if not value.isfinite().all()]
    words = [f"the {name} in the data" for name in data]
    words += [f"the predicted {name}" for name in model if name not in data]
    guilty = _structures(batch, [given[name] for name in data] or [predicted[n] for n in model])
    names = [sources[index] for index in guilty] or list(sources)
    where = " and ".join(names[:_SHOWN])  # not commas, which names may contain
    where += f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    because = f", because of {' and '.join(words)}" if words else ""
    return f"the {quantity} is not finite for {where}{because}"


def _structures(batch: Any, values: Sequence[Tensor]) -> list[int]:
    """Return the places in the batch of the structures with a value that is not finite."""
    found: set[int] = set()
    owners = _fields(batch).get("batch")
    for value in values:
        rows = (~value.reshape(len(value), -1).isfinite().all(dim=1)).nonzero().flatten()
        if len(value) == _count(batch):
            found |= set(rows.tolist())
        elif owners is not None and len(value) == len(owners):
            found |= set(owners[rows].tolist())
    return sorted(found)
