"""Configurations: where they lie, what they may build, and the record a run keeps of them.

The signature of a constructor is its schema. :func:`check` compares a configuration with the
signatures it names before anything is built, and only targets on a short allow-list are built.
"""

import difflib
import functools
import importlib
import inspect
import logging
import os
import platform
import re
import shutil
import socket
import subprocess
import sys
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import hydra
import torch
from hydra.errors import HydraException, MissingConfigException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from tqdm import tqdm
from yaml import YAMLError

from equinet.errors import ConfigError, EquinetError
from equinet.files import write_bytes

ALLOWED = ("equinet.", "torch.nn.", "torch.optim.", "lightning.", "torchmetrics.")
"""Prefixes of the targets that a configuration may name."""

_HERE = Path(__file__).resolve().parent
CONFIG_DIR = _HERE / "configs" if (_HERE / "configs").is_dir() else _HERE.parent / "configs"
"""The configuration tree: beside the package in a checkout, inside it in a wheel."""

_KEYWORDS = ("_target_", "_partial_")
_PACKAGES = ("torch", "lightning", "numpy", "e3nn", "torch-geometric", "hydra-core", "ase")


def plain(config: Any) -> dict[str, Any]:
    """Return a composed configuration as plain dictionaries with every reference resolved.

    Args:
        config: An OmegaConf ``DictConfig``, as Hydra composes it.

    Raises:
        ConfigError: A mandatory value is missing or a reference cannot be resolved.
    """
    try:
        missing = sorted(OmegaConf.missing_keys(config))
        if missing:
            raise ConfigError(f"{missing[0]} has no value; give {missing[0]}=...")
        tree = OmegaConf.to_container(config, resolve=True)
    except OmegaConfBaseException as error:
        raise ConfigError(_first_line(error)) from error
    if not isinstance(tree, dict):
        raise ConfigError("the configuration is not a mapping")
    return {str(key): value for key, value in tree.items()}


def save_yaml(tree: Mapping[str, Any], path: Path) -> None:
    """Write a plain configuration as YAML; the file is complete or absent, never half-written."""
    write_bytes(OmegaConf.to_yaml(OmegaConf.create(dict(tree))).encode(), path)


def load_yaml(path: Path) -> dict[str, Any]:
    """Read a plain configuration from YAML.

    Raises:
        ConfigError: The file cannot be parsed or holds something other than a mapping.
    """
    try:
        loaded = OmegaConf.create(path.read_text(encoding="utf-8"))
    except (OmegaConfBaseException, YAMLError, ValueError, OSError) as error:
        raise ConfigError(f"{path} cannot be read: {_first_line(error)}") from error
    if not isinstance(loaded, DictConfig):
        raise ConfigError(f"{path} holds no mapping")
    return plain(loaded)


def locate(target: object, path: str = "_target_") -> Any:
    """Import the class or function that a configuration names, if it is on the allow-list.

    The name is checked as written and again as the object it leads to calls itself, so that an
    allowed module cannot lend its own imports (``equinet.config.shutil.rmtree``).

    Args:
        target: Dotted name, such as ``torch.optim.AdamW``.
        path: Where in the configuration the name stands, for the message.

    Raises:
        ConfigError: The name is not allowed or does not exist.

    Example:
        >>> locate("torch.optim.AdamW").__name__
        'AdamW'
    """
    if not isinstance(target, str) or not target.startswith(ALLOWED):
        raise ConfigError(
            f"{path}: {target!r} is not allowed; targets begin with {', '.join(ALLOWED)}"
        )
    parts = target.split(".")
    if any(part.startswith("_") for part in parts):
        raise ConfigError(f"{path}: {target!r} is not allowed; it names something private")
    found, known = _import_longest(parts)
    for part in parts[known:]:
        if not hasattr(found, part):
            options = [name for name in dir(found) if not name.startswith("_")]
            raise ConfigError(f"{path}: there is no {target!r}{_nearest(part, options)}")
        found = getattr(found, part)
    own_name = f"{getattr(found, '__module__', '')}.{getattr(found, '__qualname__', '')}"
    if not callable(found) or not own_name.startswith(ALLOWED):
        raise ConfigError(f"{path}: {target!r} is not allowed; it leads to {own_name!r}")
    return found


def check(node: Any, path: str = "config", provided: Iterable[str] = ()) -> None:
    """Compare every target below ``node`` with its signature; build nothing.

    Args:
        node: A plain configuration: mappings, sequences and values.
        path: Dotted place of ``node`` in the configuration, for the messages.
        provided: Arguments of ``node``'s own target that the program adds.

    Raises:
        ConfigError: A forbidden target, an unknown option or a missing one, or a value of another
            kind than the signature takes.
    """
    if isinstance(node, Mapping):
        if node.get("_target_") is not None:
            _check_signature(node, path, provided)
        for key, value in node.items():
            check(value, f"{path}.{key}")
    elif isinstance(node, list | tuple):
        for index, value in enumerate(node):
            check(value, f"{path}[{index}]")


def instantiate(node: Mapping[str, Any], path: str = "config", **extra: Any) -> Any:
    """Check a configuration and build what it describes, inner targets first.

    Args:
        node: Mapping with ``_target_``, its arguments, and ``_partial_: true`` to get a
            :class:`functools.partial` instead of the call's result.
        path: Dotted place of ``node`` in the configuration, for the messages.
        extra: Further arguments; what the configuration says itself wins.

    Raises:
        ConfigError: As :func:`check`; also if the constructor refuses a value.

    Example:
        >>> instantiate({"_target_": "torch.nn.Linear", "in_features": 2}, out_features=3)
        Linear(in_features=2, out_features=3, bias=True)
    """
    check(node, path, provided=extra)
    return _build(node, path, extra)


def _build(node: Any, path: str, extra: Mapping[str, Any]) -> Any:
    if isinstance(node, list | tuple):
        return [_build(value, f"{path}[{index}]", {}) for index, value in enumerate(node)]
    if not isinstance(node, Mapping):
        return node
    arguments = {
        **extra,
        **{
            str(key): _build(value, f"{path}.{key}", {})
            for key, value in node.items()
            if key not in _KEYWORDS
        },
    }
    if node.get("_target_") is None:
        return arguments
    target = locate(node["_target_"], f"{path}._target_")
    if node.get("_partial_"):
        return functools.partial(target, **arguments)
    try:
        return target(**arguments)
    except EquinetError:
        raise
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{path}: {target.__name__}: {_first_line(error)}") from error


def _check_signature(node: Mapping[str, Any], path: str, provided: Iterable[str]) -> None:
    target = locate(node["_target_"], f"{path}._target_")
    parameters = inspect.signature(target).parameters
    open_ended = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    named = [n for n, p in parameters.items() if p.kind not in {p.VAR_KEYWORD, p.VAR_POSITIONAL}]
    given = {str(key) for key in node if key not in _KEYWORDS}
    for key in sorted(given):
        if key not in named and not open_ended:
            raise ConfigError(
                f"{path}: {target.__name__} has no option {key!r}{_nearest(key, named)}"
            )
        if key in named:
            check_kind(node[key], parameters[key].annotation, f"{path}.{key}")
    if node.get("_partial_"):
        return
    for name in named:
        required = parameters[name].default is inspect.Parameter.empty
        given_null = name in given and node[name] is None and not _takes_none(parameters[name])
        if given_null or (required and name not in given | {*provided}):
            raise ConfigError(f"{path}: {target.__name__} needs {name!r}; give {path}.{name}=...")


def _takes_none(parameter: inspect.Parameter) -> bool:
    annotation = parameter.annotation
    if annotation in {inspect.Parameter.empty, Any} or isinstance(annotation, str):
        return True  # not said
    return type(None) in {annotation, *typing.get_args(annotation)}


def check_kind(value: object, annotation: Any, path: str) -> None:
    """Refuse a value where numbers, switches or lists alone are taken and it is something else.

    Any other annotation is left to the constructor, and None to the constructor's default rules.

    Args:
        value: As given in the configuration.
        annotation: Of the parameter that takes it.
        path: Dotted place in the configuration, for the message.

    Raises:
        ConfigError: The value is of another kind.

    Example:
        >>> check_kind(0.5, float | None, "optim.lr")
    """
    is_union = typing.get_origin(annotation) in {typing.Union, types.UnionType}
    members = typing.get_args(annotation) if is_union else (annotation,)
    kinds = {typing.get_origin(each) or each for each in members} - {type(None), torch.Tensor}
    if value is None or not kinds:
        return
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if kinds == {int}:
        fits, wanted = is_number and isinstance(value, int), "a whole number"
    elif kinds <= {int, float}:
        fits, wanted = is_number, "a number"
    elif kinds == {bool}:
        fits, wanted = isinstance(value, bool), "true or false"
    elif kinds <= {list, tuple, Sequence}:
        fits, wanted = isinstance(value, list | tuple), "a list"
    else:
        return
    if not fits:
        raise ConfigError(f"{path}: {value!r} is not {wanted}")


def _import_longest(parts: list[str]) -> tuple[Any, int]:
    """Import the longest module prefix of a dotted name; return it and the parts it used."""
    for length in range(len(parts), 0, -1):
        name = ".".join(parts[:length])
        try:
            return importlib.import_module(name), length
        except ModuleNotFoundError as error:
            # A missing dependency of an existing module is a different mistake.
            if error.name is None or not name.startswith(error.name):
                raise
    raise ConfigError(f"there is no module {parts[0]!r}")


def stamp(*, seed: int, fingerprint: str) -> dict[str, Any]:
    """Record what a result depends on beside its configuration.

    Args:
        seed: Of the run.
        fingerprint: Checksum of the data.

    Returns:
        JSON-ready mapping: time, command, host, versions, commit and whether the checkout had
        uncommitted changes (``None`` outside a git checkout), seed, data checksum.
    """
    versions = {"python": platform.python_version(), "equinet": _equinet_version()}
    for name in _PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = "absent"
    commit, is_dirty = _git_state(_HERE)
    return {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": _command_line(),
        "hostname": socket.gethostname(),
        "platform": platform.platform(),
        "versions": versions,
        "commit": commit,
        "dirty": is_dirty,
        "seed": seed,
        "data_fingerprint": fingerprint,
    }


def _command_line() -> list[str]:
    """The command as typed: ``python -m`` shows in the arguments as the path of its module."""
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    if spec is None:
        return list(sys.argv)
    return ["python", "-m", spec.name.removesuffix(".__main__"), *sys.argv[1:]]


def _equinet_version() -> str:
    return str(importlib.import_module("equinet").__version__)


def _git_state(folder: Path) -> tuple[str | None, bool | None]:
    """Commit of the checkout that holds ``folder`` and whether it differs from it."""
    git = shutil.which("git")
    if git is None:
        return None, None

    def run(*arguments: str) -> str | None:
        done = subprocess.run(  # noqa: S603 - fixed arguments, no shell
            [git, "-C", str(folder), *arguments], capture_output=True, text=True, check=False
        )
        return done.stdout.strip() if done.returncode == 0 else None

    commit = run("rev-parse", "HEAD")
    # A package installed below somebody else's checkout must not borrow its commit.
    if commit is None or run("ls-files", "--error-unmatch", "config.py") is None:
        return None, None
    return commit, bool(run("status", "--porcelain", "--untracked-files=no"))


def explain(error: Exception, known: Iterable[str] = ()) -> str:
    """Say in one sentence what Hydra found wrong with a command line.

    Args:
        error: What Hydra or OmegaConf raised.
        known: Dotted keys that exist, for the suggestion.
    """
    text = str(error)
    if isinstance(error, MissingConfigException) and error.options:
        wanted = str(error.missing_cfg_file)
        group, _, name = wanted.rpartition("/")
        options = sorted(str(option) for option in error.options)
        return f"{group}: there is no {name!r}{_nearest(name, options)} ({', '.join(options)})"
    if found := re.search(r"Could not override '([^']+)'", text):
        key = found[1]
        if "No match in the defaults list" in text:
            return f"{key} is not set by default; write +{key}=... to choose one"
        return f"there is no key {key!r}{_nearest(key, known)} (+{key}=... would add it)"
    if found := re.search(r"You must specify '([^']+)'", text):
        group = found[1]
        options = sorted(path.stem for path in (CONFIG_DIR / group).glob("*.yaml"))
        return (
            f"no {group} is chosen; name an experiment (+experiment=...) or write {group}=..., "
            f"one of {', '.join(options)}"
        )
    return _first_line(error)


def keys(tree: Any, prefix: str = "") -> list[str]:
    """List the dotted keys of a plain configuration, groups included."""
    if not isinstance(tree, Mapping):
        return []
    found = []
    for name, value in tree.items():
        key = f"{prefix}.{name}".lstrip(".")
        found += [key, *keys(value, key)]
    return found


def _nearest(word: str, options: Iterable[str]) -> str:
    near = difflib.get_close_matches(word, list(options), 1)
    return f"; did you mean {near[0]!r}?" if near else ""


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n", 1)[0]


def command(name: str, job: Callable[[Any], None]) -> int:
    """Compose ``configs/<name>.yaml`` with the command line, run a job on it, return an exit code.

    A mistake that a user can mend ends in one sentence on standard error and no traceback.

    Args:
        name: Of the configuration.
        job: What to do with it.

    Returns:
        0; 2 for a mistake in the configuration, 1 for another of :class:`EquinetError`, 130 when
        interrupted.
    """
    # Hydra would print its own report and exit; we say it in one sentence instead.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    _speak()
    stopped: list[BaseException] = []

    started = False

    def guarded(composed: Any) -> None:
        nonlocal started
        started = True
        try:
            job(composed)
        except (EquinetError, KeyboardInterrupt) as error:
            stopped.append(error)

    try:
        hydra.main(version_base="1.3", config_path=str(CONFIG_DIR), config_name=name)(guarded)()
        if stopped:
            raise stopped[0]
    except (EquinetError, HydraException, OmegaConfBaseException, KeyboardInterrupt) as error:
        sentence, code = _verdict(error, name)
    except OSError as error:
        if started:
            raise
        # Hydra makes the run directory before it hands over.
        sentence, code = f"run.dir: cannot make {error.filename} ({error.strerror})", 2
    else:
        return 0
    sys.stderr.write(f"equinet.{name}: {sentence}\n")
    return code


def _verdict(error: BaseException, name: str) -> tuple[str, int]:
    """What to say about an error that a user can mend, and the exit code."""
    if isinstance(error, EquinetError):
        code = 2 if isinstance(error, ConfigError) else getattr(error, "exit_code", 1)
        return str(error), code
    if isinstance(error, HydraException | OmegaConfBaseException):
        return _without_plus() or explain(error, _known_keys(name)), 2
    return "interrupted", 130


def process_rank() -> int:
    """This process's number among those of the run, as its launcher says; 0 where it is alone."""
    for name in ("RANK", "SLURM_PROCID", "LOCAL_RANK"):
        if name in os.environ:
            return int(os.environ[name])
    return 0


class _Console(logging.Handler):
    """Standard output, above whatever progress bar is there."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one message."""
        tqdm.write(self.format(record))


def _speak() -> None:
    """Let equinet's own messages reach standard output, plain; warnings go to log files."""
    logger = logging.getLogger("equinet")
    logger.setLevel(logging.DEBUG)
    handler = _Console()
    handler.setLevel(logging.INFO if process_rank() == 0 else logging.ERROR)
    handler.setFormatter(logging.Formatter("%(message)s"))
    logger.handlers = [handler]
    logging.captureWarnings(capture=True)


def _without_plus() -> str:
    """The sentence for ``experiment=NAME``, which Hydra refuses for one reason or another."""
    given = next((word for word in sys.argv[1:] if word.startswith("experiment=")), None)
    return f"write +{given}, with a plus: no experiment is chosen by default" if given else ""


def _known_keys(name: str) -> list[str]:
    """Dotted keys of a configuration as the command line composed it, without its mistakes."""
    choices = [argument for argument in sys.argv[1:] if re.match(r"\+?[a-z/]+=", argument)]
    with hydra.initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
        try:
            composed = hydra.compose(name, choices)
        except (HydraException, OmegaConfBaseException):
            return []
    return keys(OmegaConf.to_container(composed))
