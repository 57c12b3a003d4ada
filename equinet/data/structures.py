"""Read structures from whatever holds them: files, folders, tars, databases or stores."""

from collections.abc import Iterator
from pathlib import Path

from equinet.data.atoms import Frame, LabelKeys, Units, check_labels, read_frames
from equinet.data.store import (
    FrameStore,
    Record,
    Refusal,
    files_of_frames,
    find_parts,
    is_store,
)
from equinet.errors import ConfigError, DataError


def read_structures(
    *sources: str | Path,
    energy_key: str | None = None,
    forces_key: str | None = None,
    stress_key: str | None = None,
    allow_zero_forces: bool = False,
    units: Units | None = None,
) -> list[Frame]:
    r"""Read all structures of one or several sources, with the labels that they have.

    Args:
        *sources: Paths of files that :func:`equinet.data.read_frames` reads, and of everything else
            that ``python -m equinet data convert`` converts: folders of such files, LMDB files,
            folders or tars of S2EF pairs, and stores.
        energy_key: Name of the energy; None looks for common names. A store names its labels
            itself.
        forces_key: Name of the forces; None looks for common names.
        stress_key: Name of the stress; None looks for common names.
        allow_zero_forces: Whether forces that are all exactly zero are accepted.
        units: Units of the sources, which are converted; None for Å, eV, eV/Å and eV/Å³.

    Returns:
        Frames in the order of the sources, in Å, eV, eV/Å and eV/Å³. Each source has some energy or
        some forces, but not every frame has them.

    Raises:
        ConfigError: Names are given for the labels of a store, or other units.
        DataError: A source does not exist, holds no frames or no labels, or a frame of it cannot be
            used.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for name, energy in (("a.xyz", -13.6), ("b.xyz", -13.5)):
        ...         _ = Path(folder, name).write_text(f"1\nenergy={energy}\nH 0 0 0\n")
        ...     [frame.energy for frame in read_structures(folder)]
        [-13.6, -13.5]
    """
    keys = LabelKeys(energy_key, forces_key, stress_key)
    frames: list[Frame] = []
    for source in (Path(source).expanduser() for source in sources):
        files = files_of_frames(source)
        for file in files:
            frames += read_frames(
                file,
                energy_key=energy_key,
                forces_key=forces_key,
                stress_key=stress_key,
                mixed_labels=True,
                allow_zero_forces=allow_zero_forces,
                units=units,
            )
        if not files:
            keys = LabelKeys(energy_key, forces_key, stress_key)
            found = [_usable(record) for record in records_of(source, keys, units)]
            if not found:
                raise DataError(f"{source}: there are no frames; name a source that holds some")
            check_labels(found, source, keys)
            frames += found
    return frames


def records_of(
    source: Path, keys: LabelKeys, units: Units | None = None
) -> Iterator[Record | Refusal]:
    r"""Read the structures of a source one by one, and go on after those that cannot be used.

    Args:
        source: Path that :func:`read_structures` takes.
        keys: Names of the labels.
        units: Units of the source, which are converted; None for Å, eV, eV/Å and eV/Å³.

    Raises:
        ConfigError: Names are given for the labels of a store, or other units.
        DataError: The source does not exist.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder, "a.xyz")
        ...     _ = path.write_text("1\n\nH 0 0 0\n")
        ...     [record.number for record in records_of(path, LabelKeys())]
        [1]
    """
    if is_store(source):
        if any(vars(keys).values()):
            raise ConfigError(
                f"{source}: a store names its labels itself; leave out the names of energy, forces "
                "and stress, or convert its source with them"
            )
        if units is not None and not units.are_own:
            raise ConfigError(
                f"{source}: a store is in Å, eV and eV/Å; leave out the units, or convert its "
                "source with them"
            )
        store = FrameStore(source)
        for index in range(len(store)):
            yield store.record(index)
        return
    for part in find_parts(source):
        for record in part.records(keys):
            if isinstance(record, Record) and units is not None:
                yield record.converted(units)
            else:
                yield record


def _usable(record: Record | Refusal) -> Frame:
    if isinstance(record, Refusal):
        raise DataError(record.reason)
    return record.frame
