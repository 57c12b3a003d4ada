"""Training on any labeled files."""

import functools
from collections.abc import Mapping
from pathlib import Path

from equinet.data.atoms import Frame, read_frames
from equinet.data.loading import AtomicDataModule, Splits, read_isolated_atoms, split_frames


class AtomisticFiles(AtomicDataModule):
    """Your own labeled files: extxyz or anything else that ASE reads, in Å, eV and eV/Å.

    Args:
        train: File of training frames.
        val: File of validation frames, or how much of the training frames to set aside at random:
            a share (below 1) or a number.
        test: A file, or files by name.
        root: Folder that the paths are relative to; None means the working folder.
        isolated_atoms: File of single atoms whose energies become the reference energies; None
            fits those to the training set by least squares.
        energy_key: Name of the energy where it is not a common one.
        forces_key: Name of the forces, likewise.
        stress_key: Name of the stress, likewise.
        allow_zero_forces: Accept frames whose forces are all exactly zero (perfect crystals).
        cutoff: Cutoff radius, Å.
        batch_size: Graphs per training batch.
        eval_batch_size: Graphs per validation or test batch.
        seed: Seed of the validation split and of the order of training.
        num_workers: Number of loading processes.

    Raises:
        DataError: As :func:`equinet.data.read_frames`, when the data are prepared.
    """

    def __init__(
        self,
        *,
        train: str | Path,
        val: str | Path | float | int = 0.1,
        test: Mapping[str, str | Path] | str | Path | None = None,
        root: str | Path | None = None,
        isolated_atoms: str | Path | None = None,
        energy_key: str | None = None,
        forces_key: str | None = None,
        stress_key: str | None = None,
        allow_zero_forces: bool = False,
        cutoff: float = 5.0,
        batch_size: int = 5,
        eval_batch_size: int = 32,
        seed: int = 0,
        num_workers: int = 0,
    ) -> None:
        super().__init__(
            cutoff=cutoff,
            batch_size=batch_size,
            eval_batch_size=eval_batch_size,
            seed=seed,
            num_workers=num_workers,
        )
        self.root = Path() if root is None else Path(root).expanduser()
        self.test_files = (
            dict(test) if isinstance(test, Mapping) else {} if test is None else {"test": test}
        )
        self._energy_key = energy_key
        self._read_file = functools.partial(
            read_frames,
            forces_required=False,  # the task says whether it needs them
            energy_key=energy_key,
            forces_key=forces_key,
            stress_key=stress_key,
            allow_zero_forces=allow_zero_forces,
        )
        self._train, self._val, self._isolated_atoms = train, val, isolated_atoms

    def read(self) -> Splits:
        """Read the files.

        Returns:
            Their frames.
        """
        train = self._read(self._train)
        if isinstance(self._val, str | Path):
            val = self._read(self._val)
        else:
            train, val = split_frames(train, self._val, self.seed)
        tests = {name: self._read(path) for name, path in self.test_files.items()}
        references = None
        if self._isolated_atoms is not None:
            references = read_isolated_atoms(
                self._place(self._isolated_atoms), energy_key=self._energy_key
            )
        about = f"{self._place(self._train)} (your own files, no benchmark)"
        files = {name: self._place(path) for name, path in self.test_files.items()}
        return Splits(train, val, tests, about, references, files)

    def _place(self, path: str | Path) -> Path:
        return self.root / Path(path).expanduser()

    def _read(self, path: str | Path) -> list[Frame]:
        return self._read_file(self._place(path))
