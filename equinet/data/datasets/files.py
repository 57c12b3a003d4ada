"""Data module of the user's own labeled files."""

import functools
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from equinet.arguments import Positive
from equinet.data.atoms import EnergyUnit, ForcesUnit, Frame, LengthUnit, Units
from equinet.data.loading import (
    AtomicDataModule,
    Splits,
    read_isolated_atoms,
    split_frames,
    split_off_atoms,
)
from equinet.data.structures import read_structures
from equinet.errors import ConfigError

Source = str | Path | Sequence[str | Path]

_log = logging.getLogger(__name__)


class AtomisticFiles(AtomicDataModule):
    r"""Data module of your own labeled structures: extxyz files and everything else that is read.

    Wherever a file is named, it may also be a folder, an LMDB file, a store or several of them, see
    :func:`equinet.data.read_structures`. All structures are kept in memory.

    Args:
        train: File of training frames, or several files.
        val: File of validation frames, or number of training frames that are set aside at random; a
            number below 1 is a fraction.
        test: File of test frames, or files by name of the test set; None makes no test set.
        root: Folder to which the paths are relative; None takes the working folder.
        isolated_atoms: File of single atoms with their energies, which become the reference
            energies. None takes those among the training frames, which are then no training frames
            (see :func:`equinet.data.loading.split_off_atoms`); without them, reference energies are
            fitted to the training set (see :func:`equinet.data.fit_reference_energies`).
        theory: Level of theory of the labels, such as PBE/def2-SVP, which the card of the model
            keeps; None says nothing.
        energy_key: Name of the energy in the files; None looks for common names.
        forces_key: Name of the forces in the files; None looks for common names.
        stress_key: Name of the stress in the files; None looks for common names.
        energy_unit: Unit of the energies in all files, which are converted into eV.
        length_unit: Unit of positions and lattice vectors, which are converted into Å.
        forces_unit: Unit of the forces, which are converted into eV/Å; None for the unit of energy
            per unit of length.
        allow_zero_forces: Whether forces that are all exactly zero are accepted, as in perfect
            crystals.
        replay: File of earlier training frames, some of which are trained on as well, so that a
            model that is continued on new frames does not forget; None replays nothing.
        replay_fraction: Number of replayed frames as a fraction of that of the training frames.
        cutoff: Cutoff radius, Å.
        batch_size: Number of graphs per training batch, at least 1.
        eval_batch_size: Number of graphs per validation or test batch, at least 1.
        seed: Seed of the validation split and of the order of training, at least 0.
        num_workers: Number of loading processes; 0 loads in the main process.

    Raises:
        ConfigError: ``train``, ``replay`` or a test set names no file.
        DataError: A file cannot be read (see :func:`equinet.data.read_structures`), when the data
            are prepared.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder, "hydrogen.xyz")
        ...     _ = path.write_text("2\nenergy=-31.7\nH 0 0 0\nH 0 0 0.74\n" * 10)
        ...     data = AtomisticFiles(train=path, val=2)
        ...     data.counts()
        '8 training, 2 validation'
    """

    def __init__(
        self,
        *,
        train: Source,
        val: Source | float | int = 0.1,
        test: Mapping[str, Source] | Source | None = None,
        root: str | Path | None = None,
        isolated_atoms: str | Path | None = None,
        theory: str | None = None,
        energy_key: str | None = None,
        forces_key: str | None = None,
        stress_key: str | None = None,
        energy_unit: EnergyUnit = "eV",
        length_unit: LengthUnit = "angstrom",
        forces_unit: ForcesUnit | None = None,
        allow_zero_forces: bool = False,
        replay: Source | None = None,
        replay_fraction: Positive = 0.5,
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
        given = {"train": train, **({} if replay is None else {"replay": replay})}
        for name, source in {**given, **self.test_files}.items():
            if not source:
                raise ConfigError(f"data: {name} names no file; give the path of one")
        self._energy_key = energy_key
        self._units = Units(energy_unit, length_unit, forces_unit)
        self._read_file = functools.partial(
            read_structures,
            energy_key=energy_key,
            forces_key=forces_key,
            stress_key=stress_key,
            allow_zero_forces=allow_zero_forces,
            units=self._units,
        )
        self.theory = theory
        self._replay, self._replay_fraction = replay, replay_fraction
        self._train, self._val, self._isolated_atoms = train, val, isolated_atoms

    @property
    def units(self) -> Units:
        """Units of the files, which are converted."""
        return self._units

    def read(self) -> Splits:
        """Read the files.

        Returns:
            The frames of all files.
        """
        train, references = split_off_atoms(self._read(self._train), self.neighborhood)
        if isinstance(self._val, float | int):
            train, val = split_frames(train, self._val, self.seed)
        else:
            val = self._read(self._val)
        if self._replay is not None:
            train += self._replayed(len(train))
        tests = {name: self._read(path) for name, path in self.test_files.items()}
        if self._isolated_atoms is not None:
            references = read_isolated_atoms(
                self._place(self._isolated_atoms), energy_key=self._energy_key, units=self._units
            )
        first, *others = self._places(self._train)
        more = f" and {len(others)} more" if others else ""
        about = f"{first}{more} (your own files, no benchmark)"
        files = {name: self._places(path)[0] for name, path in self.test_files.items()}
        return Splits(train, val, tests, about, references, files)

    def _replayed(self, trained: int) -> list[Frame]:
        """Draw some of the earlier frames."""
        frames, _ = split_off_atoms(self._read(self._replay or ""), self.neighborhood)
        count = min(len(frames), max(1, round(self._replay_fraction * trained)))
        chosen = np.random.default_rng([self.seed, 2]).permutation(len(frames))[:count]
        _log.info("Data     %d of %d frames of %s are replayed", count, len(frames), self._replay)
        return [frames[index] for index in np.sort(chosen)]

    def _places(self, source: Source) -> list[Path]:
        if isinstance(source, Sequence) and not isinstance(source, str):
            return [self._place(path) for path in source]
        return [self._place(source)]

    def _place(self, path: str | Path) -> Path:
        # A configuration may name a file by a number.
        return self.root / Path(str(path)).expanduser()

    def _read(self, source: Source) -> list[Frame]:
        return self._read_file(*self._places(source))
