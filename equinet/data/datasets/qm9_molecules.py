"""Data module of the molecules of QM9 without properties, to learn to make such molecules."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from equinet.data.datasets.qm9 import ELEMENTS, QM9

_MEASURED = 20_000  # training molecules whose size in space is measured


class QM9Molecules(QM9):
    """Molecules of :class:`equinet.data.QM9` for a denoiser, with all of their atoms joined.

    Args:
        root: Folder of the CSV files of qm9pack, or of others of the same format; None takes the
            installed package.
        train_size: Number of training molecules; None takes all.
        val_size: Number of validation molecules, of which the first ones are taken; None takes all.
        test_size: Number of test molecules, of which the first ones are taken; None takes all.
        batch_size: Number of molecules per training batch, at least 1.
        eval_batch_size: Number of molecules per validation or test batch, at least 1.
        seed: Seed of the choice of training molecules and of their order, at least 0.
        num_workers: Number of loading processes; 0 loads in the main process.
        cache: Folder for the converted tables; None takes the user's cache.

    Raises:
        DataError: A size is out of range; or, when the data are prepared, the tables are missing,
            broken or not the published ones.

    Example:
        >>> QM9Molecules.tells
        ('elements', 'sizes', 'position_deviation')
    """

    tells: ClassVar[tuple[str, ...]] = ("elements", "sizes", "position_deviation")
    tells_task: ClassVar[tuple[str, ...]] = ()

    def __init__(
        self,
        *,
        root: str | Path | None = None,
        train_size: int | None = None,
        val_size: int | None = None,
        test_size: int | None = None,
        batch_size: int = 64,
        eval_batch_size: int = 200,
        seed: int = 0,
        num_workers: int = 0,
        cache: str | Path | None = None,
    ) -> None:
        super().__init__(
            root=root,
            train_size=train_size,
            val_size=val_size,
            test_size=test_size,
            batch_size=batch_size,
            eval_batch_size=eval_batch_size,
            seed=seed,
            num_workers=num_workers,
            cache=cache,
        )
        self.properties = ()

    def model_arguments(self) -> dict[str, Any]:
        """Return elements, the histogram of sizes and the extent of molecules."""
        train = self._graphs()
        counts = train.molecules.counts[train.chosen]
        return {
            "elements": list(ELEMENTS),
            "sizes": (np.bincount(counts) / len(counts)).tolist(),
            "position_deviation": round(self._deviation(), 3),
        }

    def task_arguments(self) -> dict[str, Any]:
        """Return the arguments of a task that depend on the data, which are none."""
        return {}

    def describe(self) -> str:
        """Describe the data in one line: origin, number of molecules, sizes."""
        train = self._graphs()
        counts = train.molecules.counts[train.chosen]
        return (
            f"{self.sets.about}: {self.counts()} molecules of {counts.min()} to {counts.max()} "
            "atoms; lengths in Å"
        )

    def training_inchi(self) -> Sequence[str]:
        """Return the InChI of the training molecules."""
        train = self._graphs()
        return [text.decode() for text in train.molecules.texts["inchi"][train.chosen].tolist()]

    def _deviation(self) -> float:
        """Return the root mean square coordinate about the centers of training molecules, Å."""
        train = self._graphs()
        chosen = train.chosen[:_MEASURED]
        molecules = train.molecules
        positions = np.asarray(molecules.positions[molecules.atoms_of(chosen)])
        counts = molecules.counts[chosen]
        starts = np.cumsum(counts) - counts
        centers = np.add.reduceat(positions, starts) / counts[:, None]
        return float(np.sqrt(np.square(positions - np.repeat(centers, counts, axis=0)).mean()))
