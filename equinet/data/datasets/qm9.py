"""Data module of QM9: small organic molecules with properties of quantum chemistry.

Source: Ramakrishnan, Dral, Rupp, von Lilienfeld, Sci. Data 1, 140022 (2014), CC0; split of
Gasteiger, Groß, Günnemann (ICLR 2020).
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Int64

from equinet.data.loading import GraphSets
from equinet.data.molecules import (
    MOLECULES,
    PUBLISHED,
    QM9_PROPERTIES,
    MoleculeGraphs,
    MoleculeModule,
    Property,
    find_tables,
    stored_tables,
)
from equinet.errors import DataError
from equinet.names import did_you_mean

ELEMENTS = (1, 6, 7, 8, 9)
"""Atomic numbers in QM9."""

_SEED = 42  # seed of the published split
_VAL, _TEST = 10_000, 10_831  # molecules of the published split; the rest is for training


class QM9(MoleculeModule):
    """Data module of the 130 831 characterized molecules of QM9.

    The tables of the package qm9pack are converted once and kept in the cache. Graphs have
    ``atomic_numbers`` [N], ``x`` [N, 5] (one-hot of H, C, N, O, F), ``pos`` [N, 3], Å,
    ``edge_index`` [2, E] sorted by receiver without loops, and ``y_NAME`` for each target; floats
    are float64. Targets are ``mu`` (D), ``alpha`` (a0³), ``homo``, ``lumo``, ``gap`` (eV), ``r2``
    (a0²), ``zpve``, ``U0``, ``U``, ``H``, ``G`` (eV, the last four relative to free atoms), ``Cv``
    (cal/(mol K)), ``dipole_vector`` [G, 3] (D, of the Mulliken charges) and
    ``charges`` [N] (e, Mulliken).

    The split is the published one: the permutation of seed 42, with 110 000 molecules for training,
    10 000 for validation and 10 831 for the test.

    Args:
        root: Folder of the CSV files of qm9pack, or of others of the same format, which are
            divided in the same proportions; None takes the installed package.
        target: Name of a target, or list of names.
        cutoff: Distance beyond which atoms have no edge, Å; None connects all atoms of a molecule.
        train_size: Number of training molecules, for learning curves; with the same seed a smaller
            set is contained in a larger one. None takes all.
        val_size: Number of validation molecules, of which the first ones are taken; None takes all.
        test_size: Number of test molecules, of which the first ones are taken; None takes all.
        batch_size: Number of graphs per training batch, at least 1.
        eval_batch_size: Number of graphs per validation or test batch, at least 1.
        seed: Seed of the choice of training molecules and of their order, at least 0.
        num_workers: Number of loading processes; 0 loads in the main process.
        cache: Folder for the converted tables; None takes the user's cache.

    Raises:
        DataError: A target is unknown or a size out of range; or, when the data are prepared, the
            tables are missing, broken or not the published ones.

    Example:
        >>> [each.unit for each in QM9(target=["mu", "alpha"]).properties]
        ['D', 'a0³']
    """

    def __init__(
        self,
        *,
        root: str | Path | None = None,
        target: str | Sequence[str] = "U0",
        cutoff: float | None = None,
        train_size: int | None = None,
        val_size: int | None = None,
        test_size: int | None = None,
        batch_size: int = 32,
        eval_batch_size: int = 200,
        seed: int = 0,
        num_workers: int = 0,
        cache: str | Path | None = None,
    ) -> None:
        super().__init__(
            properties=_chosen([target] if isinstance(target, str) else target),
            elements=ELEMENTS,
            cutoff=cutoff,
            batch_size=batch_size,
            eval_batch_size=eval_batch_size,
            seed=seed,
            num_workers=num_workers,
        )
        self.sizes = {"train": train_size, "val": val_size, "test": test_size}
        for split, size in self.sizes.items():
            if size is not None and size < 1:
                raise DataError(f"{split}_size must be at least 1, or null for all, got {size}")
        self.root = None if root is None else Path(root).expanduser()
        self.cache = cache
        self.is_published = False
        """Whether the test set is the published one, which is known when the data are read."""

    def load(self) -> GraphSets:
        """Read the tables, converting them on first use, and divide the molecules."""
        root = self.root or find_tables()
        if not root.is_dir():
            raise DataError(f"data.root: there is no folder {root}; give that of qm9pack's files")
        molecules, checksum = stored_tables(root, self.cache)
        about = "QM9, tables of qm9pack"
        if checksum != PUBLISHED:
            if self.root is None:
                raise DataError(
                    f"{root} holds {len(molecules)} molecules that are not the published "
                    f"{MOLECULES} of QM9: reinstall qm9pack 1.0.3, or give data.root={root}"
                )
            about = f"molecules of {root}, NOT the published QM9"
        self.is_published = checksum == PUBLISHED and self.sizes["test"] is None
        parts = split_of(len(molecules))
        order = np.random.default_rng(self.seed).permutation(parts["train"])
        parts["train"] = order if self.sizes["train"] else parts["train"]
        sets = {}
        for split, indices in parts.items():
            size = self.sizes[split]
            if size is not None and size > len(indices):
                raise DataError(
                    f"{split}_size: {size} molecules are asked for, and {root} has {len(indices)} "
                    f"for this part; lower data.{split}_size"
                )
            sets[split] = MoleculeGraphs(
                molecules,
                indices[:size],
                elements=ELEMENTS,
                properties=self.properties,
                cutoff=self.cutoff,
                name=f"{root}, {split}",
            )
        return GraphSets(about, sets["train"], sets["val"], {"test": sets["test"]})


def split_of(count: int) -> dict[str, Int64[np.ndarray, " molecule"]]:
    """Divide molecules as published, or in the same proportions if there are others.

    Args:
        count: Number of molecules in the tables.

    Returns:
        Indices of the molecules of ``train``, ``val`` and ``test``.

    Raises:
        DataError: There are fewer than three molecules.

    Source: Gasteiger, Groß, Günnemann, Directional message passing (ICLR 2020), whose code
    permutes the molecules with the seed 42.

    Example:
        >>> {name: len(part) for name, part in split_of(130_831).items()}
        {'train': 110000, 'val': 10000, 'test': 10831}
    """
    if count < 3:
        raise DataError(f"{count} molecules cannot be divided in three; give at least 3")
    order = np.random.RandomState(_SEED).permutation(count)
    val, test = (max(1, round(part * count / MOLECULES)) for part in (_VAL, _TEST))
    ends = np.cumsum([count - val - test, val])
    return dict(zip(("train", "val", "test"), np.split(order, ends), strict=True))


def _chosen(targets: Sequence[str]) -> tuple[Property, ...]:
    """Look the targets up by their names."""
    known = {each.name: each for each in QM9_PROPERTIES}
    for name in targets:
        if name not in known:
            hint = did_you_mean(str(name), known) or f"; choose from {', '.join(known)}"
            raise DataError(f"data.target: {name!r} is no property of QM9{hint}")
    if not targets or len(set(targets)) < len(targets):
        raise DataError(f"data.target must name at least one property, each once, got {targets}")
    return tuple(known[name] for name in targets)
