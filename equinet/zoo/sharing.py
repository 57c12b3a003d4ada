"""Share models as folders: weights, card, checksums and a README, as model hubs lay them out."""

import http.client
import shutil
import tempfile
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from equinet.errors import ConfigError, DataError
from equinet.files import write_bytes, writing
from equinet.zoo.card import CARD, WEIGHTS, load_card
from equinet.zoo.index import find
from equinet.zoo.saving import load

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
    source, target = find(name_or_path), _free(Path(folder))
    load(name_or_path)  # refuses damaged models
    page = "\n".join(_page(target.name, load_card(name_or_path)))
    with writing(target, *target.parents):
        target.mkdir(parents=True)
        for name in (WEIGHTS, CARD):
            write_bytes((source / name).read_bytes(), target / name)
        write_bytes(f"{_BEGINNING}{page}\n".encode(), target / README)
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
        ...     load_card(pull(shared, Path(place, "mine")))["class"]
        'MACEGaunt'
    """
    target = _free(Path(folder))
    with writing(target, *target.parents):
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}.") as place:
            partial = Path(place, target.name)
            partial.mkdir()
            for name in (CARD, WEIGHTS):
                write_bytes(_read(str(source), name), partial / name)
            load(partial)
            found = load_card(partial)["sha256"]
            if sha256 not in {None, found}:
                raise DataError(
                    f"{source}: the weights have the SHA-256 {found}, not {sha256}; ask the owner "
                    "which is right"
                )
            shutil.move(partial, target)
    return target


def _free(folder: Path) -> Path:
    folder = folder.expanduser()
    if folder.exists():
        raise ConfigError(f"{folder} is there already; give another folder, or remove it")
    return folder


def _read(source: str, name: str) -> bytes:
    """Read one file of a model folder, here or on the web."""
    place = f"{source.rstrip('/')}/{name}"
    if "://" in source and not source.startswith("https://"):
        raise ConfigError(f"{source}: the address of a model begins with https://; give such a one")
    try:
        if "://" not in source:
            return Path(place).expanduser().read_bytes()
        with urllib.request.urlopen(place, timeout=_TIMEOUT) as answer:  # noqa: S310 - https, see above
            content: bytes = answer.read(_LARGEST[name] + 1)
    except (OSError, http.client.HTTPException) as error:
        raise DataError(
            f"{place} cannot be read ({_reason(error)}); give the folder or the address that holds "
            "it"
        ) from error
    if len(content) > _LARGEST[name]:
        raise DataError(f"{place} is larger than {_LARGEST[name]} bytes, which no model here is")
    return content


def _reason(error: Exception) -> str:
    return (isinstance(error, OSError) and error.strerror) or str(error)


def _page(name: str, card: Mapping[str, Any]) -> Iterator[str]:
    """Yield the lines of a README in Markdown."""
    yield f"# {name}"
    yield ""
    yield f"{card['class']}, {card.get('parameters', 0):,} parameters in {card['dtype']}."
    if "data" in card:
        yield f"Trained on {card['data']}."
    for key in ("theory", "command", "commit"):
        if card.get(key):
            yield f"\n{key.capitalize()}: `{card[key]}`"
    metrics = card.get("metrics", {})
    columns = sorted({key for errors in metrics.values() for key in errors})
    if columns:
        units = card.get("units", {})
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


def _figure(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, int | float) else "–"
