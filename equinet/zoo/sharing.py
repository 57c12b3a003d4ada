"""Share models as folders: weights, card, checksums and a README, as model hubs lay them out."""

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from equinet.data import fetch
from equinet.errors import ConfigError, DataError, EquinetError
from equinet.files import write_bytes, writing
from equinet.zoo.card import CARD, WEIGHTS, read_card
from equinet.zoo.index import find
from equinet.zoo.saving import load, read_weights

README = "README.md"
"""Name of the page that model hubs show."""

_LARGEST = {CARD: 1 << 24, WEIGHTS: 1 << 31}  # bytes
_TIMEOUT = 60  # seconds
_BEGINNING = """---
library_name: equinet
tags: [equinet, equivariant, safetensors]
---
"""


def push(name_or_path: str | Path, folder: str | Path) -> Path:
    """Copy a model into a folder of its own, with a README that says what it is.

    The folder can be uploaded as it is to a model hub or a web server, from which :func:`pull`
    takes it again.

    Args:
        name_or_path: Path of a run directory or a model folder, or a name from the zoo.
        folder: Folder to write, which must not exist.

    Returns:
        Path of the folder.

    Raises:
        ConfigError: There is no such model, or the folder exists.
        DataError: The model is damaged.
        WriteError: The disk is full, or the folder cannot be written.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as place:
        ...     shared = push("mace-gaunt-3bpa", Path(place, "mine"))
        ...     sorted(path.name for path in shared.iterdir())
        ['README.md', 'card.json', 'model.safetensors']
    """
    source = find(name_or_path)
    with _new_folder(Path(folder)) as (target, partial):
        card = _checked(partial, _copy(source, partial))
        page = "\n".join(_page(target.name, card))
        write_bytes(f"{_BEGINNING}{page}\n".encode(errors="replace"), partial / README)
    return target


def pull(source: str | Path, folder: str | Path, *, sha256: str | None = None) -> Path:
    """Take a model from a folder or from the web, check it, and keep it in a folder.

    Nothing is kept of a model that does not pass all checks of :func:`equinet.zoo.load`. They tell
    that card and weights belong together; that they are the ones that somebody meant, only
    ``sha256`` can tell.

    Args:
        source: Model folder, or its address on the web, as in
            ``https://huggingface.co/OWNER/MODEL/resolve/main``.
        folder: Folder to write, which must not exist.
        sha256: SHA-256 that the weights must have, hexadecimal; None accepts any.

    Returns:
        Path of the folder.

    Raises:
        ConfigError: The folder exists, or the address does not begin with ``https://``.
        DataError: The model cannot be read, is damaged, or has another checksum.
        WriteError: The disk is full, or the folder cannot be written.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as place:
        ...     shared = push("mace-gaunt-3bpa", Path(place, "shared"))
        ...     load(pull(shared, Path(place, "mine"))).elements
        (1, 6, 7, 8)
    """
    with _new_folder(Path(folder)) as (target, partial):
        if "://" in str(source):
            _download(str(source), partial)
        else:
            _copy(Path(source).expanduser(), partial)
        found = _checked(partial, source)["sha256"]
        if sha256 is not None and sha256.lower() != found:
            raise DataError(
                f"{source}: the weights have the SHA-256 {found}, not {sha256}; ask the owner "
                "which is right"
            )
    return target


@contextmanager
def _new_folder(folder: Path) -> Iterator[tuple[Path, Path]]:
    """Make a folder that appears under its name only once it is complete.

    Yields:
        The final path of the folder, and the path at which it is made.
    """
    target = folder.expanduser()
    with writing(target, *target.parents):
        if target.exists():
            raise ConfigError(f"{target} is there already; give another folder, or remove it")
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}.") as place:
            partial = Path(place, target.name)
            partial.mkdir()
            with writing(target, partial):
                yield target, partial
                partial.rename(target)


def _copy(source: Path, partial: Path) -> Path:
    """Copy card and weights of a model folder, which another process may be saving into."""
    if not (source / CARD).is_file():
        raise DataError(
            f"{source / CARD} cannot be read: there is no such file; give the folder or the "
            "address that holds it"
        )
    if (source / CARD).stat().st_size > _LARGEST[CARD]:
        raise DataError(f"{source / CARD} is larger than {_LARGEST[CARD]} bytes; it is no card")
    card = read_card(source)
    write_bytes((source / CARD).read_bytes(), partial / CARD)
    write_bytes(read_weights(source, card["sha256"]), partial / WEIGHTS)
    return source


def _download(source: str, partial: Path) -> None:
    if not source.startswith("https://"):
        raise ConfigError(f"{source}: the address of a model begins with https://; give such a one")
    for name, largest in _LARGEST.items():
        place = f"{source.rstrip('/')}/{name}"
        try:
            fetch(place, partial / name, largest=largest, timeout=_TIMEOUT)
        except EquinetError:
            raise
        except (OSError, ValueError) as error:
            raise DataError(
                f"{place} cannot be read ({error}); give the folder or the address that holds it"
            ) from error


def _checked(partial: Path, source: str | Path) -> dict[str, Any]:
    """Load a model from its temporary place, and return its card; errors name where it is from."""
    try:
        load(partial)
        return read_card(partial)
    except DataError as error:
        raise DataError(str(error).replace(str(partial), str(source))) from error


def _page(name: str, card: Mapping[str, Any]) -> Iterator[str]:
    """Yield the lines of a README in Markdown."""
    yield f"# {name}"
    yield ""
    yield f"{card['class']}, {card['parameters']:,} parameters in {card['dtype']}."
    if "data" in card:
        yield f"Trained on {_one_line(card['data'])}."
    for key in ("theory", "command", "commit"):
        if card.get(key):
            yield f"\n{key.capitalize()}: `{_one_line(card[key])}`"
    metrics = _errors_by_set(card.get("metrics"))
    columns = sorted({key for errors in metrics.values() for key in errors})
    if columns:
        units = card["units"]
        heads = (f"{key} ({units[key]})" if key in units else key for key in columns)
        yield ""
        yield f"| set | {' | '.join(heads)} |"
        yield f"|---|{'---|' * len(columns)}"
        for key, errors in metrics.items():
            cells = (_figure(errors.get(column)) for column in columns)
            yield f"| {key} | {' | '.join(cells)} |"
    yield ""
    yield "```bash"
    yield f"equinet zoo pull ADDRESS --out {name} --sha256 {card['sha256']}"
    yield f"equinet evaluate {name} test.xyz"
    yield "```"


def _errors_by_set(metrics: Any) -> dict[str, Mapping[str, Any]]:
    """Return the entries of metrics that are errors by name, which other programs need not keep."""
    if not isinstance(metrics, Mapping):
        return {}
    return {key: each for key, each in metrics.items() if isinstance(each, Mapping)}


def _one_line(value: Any) -> str:
    """Write a value so that it stays within a line, and within quotes, of Markdown."""
    return " ".join(str(value).split()).replace("`", "'")


def _figure(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, int | float) else "–"
