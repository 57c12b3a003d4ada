"""The command line that Hydra composes: options are checked, errors are one sentence each."""

import logging
import os
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hydra
from hydra._internal.utils import get_args_parser
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException, MissingConfigException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from tqdm import tqdm

from equinet.configuration import config, help_page
from equinet.configuration.config import CONFIG_DIR, first_line
from equinet.configuration.early import check_early
from equinet.configuration.table_of_options import OPEN, option_table
from equinet.errors import ConfigError, EquinetError
from equinet.names import did_you_mean

OPTIONAL = ("callbacks", "logger", "schedule")
"""Groups that a run can do without."""

_PLACES = {"evaluate": ("checkpoint", "data.file"), "sample": ("checkpoint",)}
_BASIC = "hydra._internal.core_plugins.basic_{0}.Basic{1}"
_QUIET = {"version": 1, "root": None, "disable_existing_loggers": False}
# Nodes that Hydra builds or applies itself, with their defaults.
_HYDRA = {
    "callbacks": {},
    "launcher": {"_target_": _BASIC.format("launcher", "Launcher")},
    "sweeper": {
        "_target_": _BASIC.format("sweeper", "Sweeper"),
        "max_batch_size": None,
        "params": None,
    },
    "hydra_logging": _QUIET,
    "job_logging": _QUIET,
}


_SAFE_TO_DROP = ("debug", "experiment")


@dataclass(frozen=True)
class Request:
    """Command line in the form that Hydra takes.

    Attributes:
        name: Name of the configuration, ``train``, ``evaluate`` or ``sample``.
        overrides: Overrides for Hydra; options that only a signature has are prefixed ``++``.
        known: Dotted keys that the chosen groups have, for suggestions.
        removed: Groups that the command leaves out, as by ``callbacks=null``.
    """

    name: str
    overrides: tuple[str, ...]
    known: tuple[str, ...]
    removed: tuple[str, ...]

    def plain(self, composed: Any) -> dict[str, Any]:
        """Turn what Hydra composed into a plain configuration.

        Args:
            composed: Configuration as Hydra composes it.

        Raises:
            ConfigError: A mandatory value is missing.
        """
        if self.name == "train" and "data.train" in OmegaConf.missing_keys(composed):
            raise ConfigError(
                "data.train has no value; give data.train=FILE, a file of labeled structures, or "
                f"name an experiment: +experiment=..., one of {_files('experiment')}"
            )
        tree = config.plain(composed)
        if self.name == "train":
            tree |= {each: None for each in OPTIONAL if each in self.removed or each not in tree}
        return tree

    def complete(self, tree: Mapping[str, Any]) -> dict[str, Any]:
        """Add the options that a plain configuration leaves at their defaults.

        Args:
            tree: Configuration of :meth:`plain`.

        Raises:
            ConfigError: A target is not allowed.
        """
        return config.complete(tree) if self.name == "train" else dict(tree)


def compose(name: str, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """Compose a configuration as the command line does.

    Args:
        name: Name of the configuration, ``train``, ``evaluate`` or ``sample``.
        overrides: Arguments of the command, such as ``+experiment=3bpa`` or ``optim.lr=0.01``.

    Returns:
        A plain configuration with all of its options.

    Raises:
        ConfigError: An option is unknown, or a mandatory value is missing.
        HydraException: A choice is unknown, or an override has a syntax error.

    Example:
        >>> compose("train", ["data=3bpa", "model.channels=8"])["model"]["channels"]
        8
    """
    request = understand(name, overrides)
    with hydra.initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
        composed = hydra.compose(name, list(request.overrides))
    return request.complete(request.plain(composed))


def understand(name: str, words: Sequence[str], folder: Path | None = None) -> Request:
    """Check the overrides of a command line before Hydra applies them.

    Args:
        name: Name of the configuration, ``train``, ``evaluate`` or ``sample``.
        words: Overrides as typed.
        folder: Folder of further configurations, given by ``--config-dir``; None for none.

    Returns:
        The command line in the form that Hydra takes.

    Raises:
        ConfigError: An option is unknown, or an override would let Hydra itself build an object.
        HydraException: A choice is unknown, or an override has a syntax error.

    Example:
        >>> understand("train", ["data=files", "callbacks=null"]).removed
        ('callbacks',)
    """
    folders = [CONFIG_DIR, *([folder] if folder else [])]
    given = [word for word in map(_without_null, _parse(words)) if word]
    parsed = _parse(given)
    early = [each for each in parsed if _is_choice(each, folders) or each.is_hydra_override()]
    search = [f"hydra.searchpath=[file://{folder.resolve()}]"] if folder else []
    with hydra.initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
        chosen = [word for word in map(_without_sweep, early) if word]
        composed = hydra.compose(name, [*search, *chosen], return_hydra_config=True)
    tree: Any = OmegaConf.to_container(composed)
    _refuse_hydra_nodes(tree.pop("hydra"))
    late = [each for each in parsed if each not in early]
    for each in late:
        if each.key_or_group.endswith("._target_") and not each.is_delete():
            _put(tree, each.key_or_group, each.value())
    overrides = [
        _with_plus(each, tree) if each in late else str(each.input_line) for each in parsed
    ]
    removed = {each.key_or_group for each in early if each.value() == []}
    return Request(name, tuple(overrides), tuple(_known(tree)), tuple(sorted(removed)))


def _parse(words: Sequence[str]) -> list[Override]:
    for word in words:
        if "=" not in word and not word.startswith("~"):
            wanted = f"data.train={word}" if Path(word).exists() else "KEY=VALUE"
            raise ConfigError(f"{word!r} is no option; write {wanted}, or --help for all keys")
    return OverridesParser.create().parse_overrides([*words])


def _is_choice(override: Override, folders: Sequence[Path]) -> bool:
    """Tell whether an override chooses a file of a group rather than the value of an option."""
    return any((folder / override.key_or_group).is_dir() for folder in folders)


def _without_null(override: Override) -> str:
    """Write ``group=null`` and ``~group`` as the empty list of choices that Hydra understands.

    Raises:
        ConfigError: A run cannot do without the group.
    """
    word, group = str(override.input_line), override.key_or_group
    if not (CONFIG_DIR / group).is_dir():
        return word
    value = override.value()
    if isinstance(value, bool | int | float | dict):
        raise ConfigError(f"{word}: {group} is chosen by name; write one of {_files(group)}")
    if not (override.is_delete() or value is None or value == []):
        return word
    if group in OPTIONAL:
        return f"{group}=[]"
    if group in _SAFE_TO_DROP:
        return ""
    raise ConfigError(f"{word}: a run needs one; write {group}=..., one of {_files(group)}")


def _without_sweep(override: Override) -> str:
    """Replace several choices by the first of them; empty where only Hydra can list them."""
    if not override.is_sweep_override():
        return str(override.input_line)
    try:
        return f"{override.get_key_element()}={next(override.sweep_string_iterator())}"
    except HydraException:
        return ""


def _refuse_hydra_nodes(tree: Mapping[str, Any]) -> None:
    """Refuse nodes from which Hydra itself would build objects that the targets do not allow.

    Raises:
        ConfigError: A file or the command changes one of these nodes.
    """
    for name, usual in _HYDRA.items():
        if tree.get(name) != usual:
            raise ConfigError(
                f"hydra.{name} is not allowed to differ from Hydra's own default, since Hydra "
                f"builds what stands there; remove it from the configuration"
            )
    if tree["job"]["env_set"] or tree["job"]["env_copy"]:
        raise ConfigError(
            "hydra.job.env_set and env_copy are not allowed; set environment variables before the "
            "command"
        )


def _with_plus(override: Override, tree: Mapping[str, Any]) -> str:
    """Add ``++`` to an option that a signature has and the configuration files leave out.

    Raises:
        ConfigError: Neither the files nor the signature have the option.
    """
    word = str(override.input_line)
    if override.is_delete() or override.is_add() or override.is_force_add():
        return word
    path: list[str] = []
    node: Any = tree
    for part in override.key_or_group.split("."):
        if not isinstance(node, Mapping):
            return word
        if part not in node:
            return f"++{word}" if _is_option(node, path, part) else word
        node = node[part]
        path.append(part)
    return word


def _is_option(node: Mapping[str, Any], path: Sequence[str], name: str) -> bool:
    """Tell whether a node names a class whose signature has an option.

    Raises:
        ConfigError: The node names a class without this option.
    """
    if node.get("_target_") is None or name in {"_target_", "_partial_"}:
        return False
    place = ".".join(path)
    names = _options_of(node["_target_"], place)
    if name in names or OPEN in names:
        return True
    known = [f"{place}.{each}" for each in names]
    hint = did_you_mean(f"{place}.{name}", known) or f"; there are {', '.join(known)}"
    raise ConfigError(f"there is no key {f'{place}.{name}'!r}{hint}")


def _options_of(target: object, place: str) -> list[str]:
    """List the options of a class, and :data:`OPEN` if it takes others too."""
    if target in option_table():
        return list(option_table()[str(target)])
    found = config.locate(target, f"{place}._target_")
    return [*config.options(found), *([OPEN] if config.is_open_ended(found) else [])]


def _put(tree: dict[str, Any], key: str, value: Any) -> None:
    *parents, last = key.split(".")
    node = tree
    for parent in parents:
        inner = node.get(parent)
        node[parent] = inner if isinstance(inner, dict) else {}
        node = node[parent]
    node[last] = value


def _known(tree: Mapping[str, Any]) -> list[str]:
    """List the dotted keys of the files and of the signatures that they name."""
    found = keys(tree)
    for group, node in tree.items():
        if isinstance(node, Mapping) and node.get("_target_") is not None:
            found += [f"{group}.{name}" for name in _options_of(node["_target_"], group)]
    return list(dict.fromkeys(found))


def _files(group: str) -> str:
    return ", ".join(sorted(path.stem for path in (CONFIG_DIR / group).glob("*.yaml")))


def explain(error: Exception, known: Iterable[str] = ()) -> str:
    """Say in one sentence which mistake Hydra found in a command line.

    Args:
        error: Exception that Hydra or OmegaConf raised.
        known: Dotted keys that exist, for the suggestion.

    Example:
        >>> explain(ValueError("Could not override 'optim.lrr'."), ["optim.lr"])
        "there is no key 'optim.lrr'; did you mean 'optim.lr'?"
    """
    text = str(error)
    if isinstance(error, MissingConfigException) and error.options:
        wanted = str(error.missing_cfg_file)
        group, _, name = wanted.rpartition("/")
        options = sorted(str(option) for option in error.options)
        return f"{group}: there is no {name!r}{_nearest_file(name, options)} ({', '.join(options)})"
    if found := re.search(r"Could not override '([^']+)'", text):
        key = found[1]
        if "No match in the defaults list" in text:
            return f"{key} is not set by default; write +{key}=... to choose one"
        return f"there is no key {key!r}{did_you_mean(key, known)}"
    return first_line(error)


def _nearest_file(name: str, found: Sequence[str]) -> str:
    """Suggest a file with a similar name, or one that begins with the name as typed."""
    longer = [each for each in found if each.startswith(f"{name}_")]
    return did_you_mean(name, found) or (f"; did you mean {longer[0]!r}?" if longer else "")


def keys(tree: Any, prefix: str = "") -> list[str]:
    """List the dotted keys of a plain configuration, groups included.

    Args:
        tree: Plain configuration, or any value in it.
        prefix: Dotted place of ``tree`` in a larger configuration; empty for the whole.

    Example:
        >>> keys({"optim": {"lr": 0.1}})
        ['optim', 'optim.lr']
    """
    if not isinstance(tree, Mapping):
        return []
    found = []
    for name, value in tree.items():
        key = f"{prefix}.{name}".lstrip(".")
        found += [key, *keys(value, key)]
    return found


def command(
    name: str, job: Callable[[dict[str, Any]], None], words: Sequence[str] | None = None
) -> int:
    """Compose ``configs/<name>.yaml`` with the command line, run a job on it, return an exit code.

    A mistake that a user can mend is reported in one sentence on standard error, without traceback.

    Args:
        name: Name of the configuration, ``train``, ``evaluate`` or ``sample``.
        job: Function that is called with the plain configuration.
        words: Arguments of the command; None takes those of this process.

    Returns:
        0 on success, 2 for a mistake in the configuration, 1 for any other
        :class:`equinet.errors.EquinetError`, 130 when interrupted.

    Example:
        >>> command("train", print, ["no_such_option=1"])  # the error goes to standard error
        2
    """
    # Makes Hydra raise its errors; otherwise it prints a report of several lines and exits.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    _speak()
    stopped: list[BaseException] = []
    typed = list(sys.argv)
    known: tuple[str, ...] = ()
    started = False

    try:
        words = _with_places(name, typed[1:] if words is None else words)
        if {"-h", "--help"} & {*words}:
            sys.stdout.write(help_page.write(name, _overrides(words)))
            return 0
        given = get_args_parser().parse_args(words)
        folder = Path(given.config_dir) if given.config_dir else None
        request = understand(given.config_name or name, given.overrides, folder)
        known = request.known

        def guarded(composed: Any) -> None:
            nonlocal started
            started = True
            sys.argv = typed
            try:
                tree = request.plain(composed)
                check_early(name, tree)
                job(request.complete(tree))
            except (EquinetError, KeyboardInterrupt) as error:
                stopped.append(error)
            finally:
                if name == "train":
                    _remove_if_empty(HydraConfig.get().runtime.output_dir)

        flags = [word for word in words if word not in given.overrides]
        sys.argv = [typed[0], *flags, *request.overrides]
        hydra.main(version_base="1.3", config_path=str(CONFIG_DIR), config_name=name)(guarded)()
        if stopped:
            raise stopped[0]
    except (EquinetError, HydraException, OmegaConfBaseException, KeyboardInterrupt) as error:
        sentence, code = _verdict(error, known)
    except OSError as error:
        if started and error.filename is None:
            raise
        sentence, code = _refused(error, started=started)
    else:
        return 0
    finally:
        sys.argv = typed
    sys.stderr.write(f"equinet.{name}: {sentence}\n")
    return code


def _refused(error: OSError, *, started: bool) -> tuple[str, int]:
    """Return the sentence and the exit code for a path that cannot be used."""
    if started:
        return f"{error.filename}: {error.strerror}; give another path", 1
    # Hydra makes the run directory before it calls the job.
    return f"run.dir: cannot make {error.filename} ({error.strerror})", 2


def _remove_if_empty(directory: str) -> None:
    """Remove the run directory that Hydra made, after a mistake or a probe, which write nothing."""
    # Another process may have removed it already.
    with suppress(OSError):
        Path(directory).rmdir()


def _overrides(words: Sequence[str]) -> list[str]:
    return [word for word in words if "=" in word and not word.startswith("-")]


def _with_places(name: str, words: Sequence[str]) -> list[str]:
    """Add keys to arguments without one: first the checkpoint, for an evaluation then the file."""
    if name not in _PLACES:
        return list(words)
    places = iter(_PLACES[name])
    found = []
    for word in words:
        key = None if "=" in word or word.startswith(("-", "~")) else next(places, None)
        quoted = word.replace("\\", "\\\\").replace("'", "\\'")
        found.append(f"{key}='{quoted}'" if key else word)
    return found


def _verdict(error: BaseException, known: Iterable[str]) -> tuple[str, int]:
    """Return the sentence for an error that a user can mend, and the exit code."""
    if isinstance(error, EquinetError):
        code = 2 if isinstance(error, ConfigError) else getattr(error, "exit_code", 1)
        return str(error), code
    if isinstance(error, HydraException | OmegaConfBaseException):
        return _without_plus() or explain(error, known), 2
    return "interrupted", 130


def process_rank() -> int:
    """Return the rank of this process, as its launcher sets it; 0 where it is the only one.

    Example:
        >>> process_rank() >= 0
        True
    """
    for name in ("RANK", "SLURM_PROCID", "LOCAL_RANK"):
        if name in os.environ:
            return int(os.environ[name])
    return 0


class _Console(logging.Handler):
    """Handler that writes to standard output, above the progress bar if there is one."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one message."""
        tqdm.write(self.format(record))


def _speak() -> None:
    """Write equinet's messages to standard output without prefix; warnings go to log files only."""
    logger = logging.getLogger("equinet")
    logger.setLevel(logging.DEBUG)
    handler = _Console()
    handler.setLevel(logging.INFO if process_rank() == 0 else logging.ERROR)
    handler.setFormatter(logging.Formatter("%(message)s"))
    logger.handlers = [handler]
    logging.captureWarnings(capture=True)


def _without_plus() -> str:
    """Write the sentence for ``experiment=NAME`` without a plus, which Hydra refuses."""
    given = next((word for word in sys.argv[1:] if word.startswith("experiment=")), None)
    return f"write +{given}, with a plus: no experiment is chosen by default" if given else ""
