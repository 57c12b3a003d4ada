"""Data module of molecules with properties in files of your own."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from equinet.data.loading import GraphSets
from equinet.data.molecules import (
    MoleculeGraphs,
    MoleculeModule,
    Molecules,
    Pooling,
    Property,
    read_molecules,
)
from equinet.errors import DataError


class MoleculeFiles(MoleculeModule):
    """Data module of molecules in your own files, with scalars, vectors, tensors or atom values.

    Files are ``.xyz`` (extended), ``.db`` of ASE or ``.npz``, see
    :func:`equinet.data.molecules.read_molecules`. What kind a target is follows from its shape: one
    value a molecule is a scalar, three are a vector, nine a symmetric tensor, and as many as atoms
    are values of the atoms.

    Args:
        train: Path of the file of training molecules.
        val: Path of the file of validation molecules; None sets some of the training molecules
            aside.
        test: Path of the file of test molecules; None for no test.
        target: Name of a property in the files, or list of names.
        units: Unit of each target by name, for tables; those that are in eV are shown in meV. A
            unit that is not given is that of the file, if it has one.
        intensive: Names of scalars that are means over the atoms and do not grow with a molecule,
            such as energies of orbitals; all others are sums.
        val_size: Number of training molecules set aside at random where there is no ``val``; a
            number below 1 is a fraction.
        cutoff: Distance beyond which atoms have no edge, Å; None connects all atoms of a molecule.
        batch_size: Number of graphs per training batch, at least 1.
        eval_batch_size: Number of graphs per validation or test batch, at least 1.
        seed: Seed of the validation split and of the order of training, at least 0.
        num_workers: Number of loading processes; 0 loads in the main process.

    Raises:
        DataError: A number is out of range; or, when the data are prepared, a file is missing or
            broken, or a molecule lacks a target or has an element that no training molecule has.

    Example:
        >>> MoleculeFiles(train="mine.xyz", target="dipole").cutoff is None  # prepare() reads it
        True
    """

    def __init__(
        self,
        *,
        train: str | Path,
        val: str | Path | None = None,
        test: str | Path | None = None,
        target: str | Sequence[str],
        units: Mapping[str, str] | None = None,
        intensive: Sequence[str] = (),
        val_size: float | int = 0.1,
        cutoff: float | None = None,
        batch_size: int = 32,
        eval_batch_size: int = 200,
        seed: int = 0,
        num_workers: int = 0,
    ) -> None:
        super().__init__(
            properties=(),
            elements=(),
            cutoff=cutoff,
            batch_size=batch_size,
            eval_batch_size=eval_batch_size,
            seed=seed,
            num_workers=num_workers,
        )
        self.targets = (target,) if isinstance(target, str) else tuple(target)
        if not self.targets or len(set(self.targets)) < len(self.targets):
            raise DataError(f"data.target must name properties, each once, got {self.targets}")
        for option, names in (("intensive", intensive), ("units", units or {})):
            unknown = [name for name in names if name not in self.targets]
            if unknown:
                raise DataError(f"data.{option}: {unknown[0]!r} is not among data.target")
        if val_size <= 0 or (val_size >= 1 and val_size != int(val_size)):
            raise DataError(
                f"val_size must be a fraction (below 1) or a whole number, got {val_size}"
            )
        self.files = {
            name: Path(path).expanduser()
            for name, path in (("train", train), ("val", val), ("test", test))
            if path is not None
        }
        self.units = dict(units or {})
        self.intensive = tuple(intensive)
        self.val_size = val_size

    def load(self) -> GraphSets:
        """Read the files, and set validation molecules aside where there is no file of them."""
        found: dict[str, Molecules] = {}
        units: dict[str, str] = {}
        for split, path in self.files.items():
            found[split], own = read_molecules(path, self.targets)
            units = {**own, **units}
        train = found["train"]
        self.elements = tuple(np.unique(train.numbers).tolist())
        self.properties = tuple(
            self._property(name, train, {**units, **self.units}.get(name, ""))
            for name in self.targets
        )
        chosen = {split: np.arange(len(molecules)) for split, molecules in found.items()}
        if "val" not in found:
            chosen["train"], chosen["val"] = self._divided(len(train))
            found["val"] = train
        sets = {
            split: MoleculeGraphs(
                molecules,
                chosen[split],
                elements=self.elements,
                properties=self.properties,
                cutoff=self.cutoff,
                name=str(self.files.get(split, self.files["train"])),
            )
            for split, molecules in found.items()
        }
        tests = {"test": sets["test"]} if "test" in sets else {}
        return GraphSets(f"molecules of {self.files['train']}", sets["train"], sets["val"], tests)

    def _property(self, name: str, molecules: Molecules, unit: str) -> Property:
        """Declare a target by the shape of its values."""
        pooling: Pooling = "mean" if name in self.intensive else "sum"
        if molecules.of_atoms(name):
            pooling = "atoms"
        elif molecules.values[name].ndim > 1:
            pooling = "vector" if molecules.values[name].ndim == 2 else "tensor"
        if name in self.intensive and pooling != "mean":
            raise DataError(f"data.intensive: {name} is no scalar of molecules; leave it out")
        return Property(name, unit, pooling, f"{name} of {self.files['train']}")

    def _divided(self, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Set validation molecules aside at random."""
        is_fraction = self.val_size < 1
        aside = max(1, round(self.val_size * count)) if is_fraction else int(self.val_size)
        if aside >= count:
            raise DataError(
                f"{self.files['train']} has {count} molecules, of which {aside} cannot be set "
                "aside; lower data.val_size"
            )
        order = np.random.default_rng(self.seed).permutation(count)
        return order[aside:], order[:aside]
