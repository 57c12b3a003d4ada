"""Read, write, check and complete configurations, and build the objects that they describe.

The signature of a constructor is its schema. :func:`check` compares a configuration with the
signatures it names, :func:`complete` adds the options that it leaves at their defaults, and only
classes in the table of :mod:`equinet.configuration.targets` are built.
"""

import functools
import inspect
import operator
import typing
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from equinet.arguments import refusal, takes_none
from equinet.configuration import targets
from equinet.errors import ConfigError, EquinetError
from equinet.files import reading, write_bytes
from equinet.names import did_you_mean

_PACKAGE = Path(__file__).resolve().parents[1]
_INSTALLED = _PACKAGE / "configs"
CONFIG_DIR = _INSTALLED if _INSTALLED.is_dir() else _PACKAGE.parent / "configs"
"""The configuration tree: beside the package in a checkout, inside it in a wheel."""

_KEYWORDS = ("_target_", "_partial_")
_NAMED = {inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY}


def plain(config: Any) -> dict[str, Any]:
    """Return a composed configuration as plain dictionaries with every reference resolved.

    Args:
        config: Configuration as Hydra composes it, an OmegaConf ``DictConfig``.

    Raises:
        ConfigError: A mandatory value is missing or a reference cannot be resolved.

    Example:
        >>> plain(OmegaConf.create({"seed": 3, "data": {"seed": "${seed}"}}))
        {'seed': 3, 'data': {'seed': 3}}
    """
    try:
        missing = sorted(OmegaConf.missing_keys(config))
        if missing:
            raise ConfigError(f"{missing[0]} has no value; give {missing[0]}=...")
        tree = OmegaConf.to_container(config, resolve=True)
    except OmegaConfBaseException as error:
        raise ConfigError(first_line(error)) from error
    if not isinstance(tree, dict):
        raise ConfigError("the configuration is not a mapping")
    return {str(key): value for key, value in tree.items()}


def save_yaml(tree: Mapping[str, Any], path: Path) -> None:
    """Write a plain configuration as a YAML file that is complete or absent.

    Args:
        tree: Plain configuration to write.
        path: Final name of the file.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_yaml({"seed": 3}, Path(folder, "config.yaml"))
        ...     load_yaml(Path(folder, "config.yaml"))
        {'seed': 3}
    """
    write_bytes(OmegaConf.to_yaml(OmegaConf.create(dict(tree))).encode(), path)


def load_yaml(path: Path) -> dict[str, Any]:
    """Read a plain configuration from YAML.

    Args:
        path: Path of the file.

    Raises:
        ConfigError: The file cannot be parsed or holds something other than a mapping.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder, "config.yaml")
        ...     _ = path.write_text("optim: {lr: 0.01}")
        ...     load_yaml(path)
        {'optim': {'lr': 0.01}}
    """
    with reading(path, "a configuration", error=ConfigError):
        text = path.read_text(encoding="utf-8")
        # A few lines of aliases of aliases unfold to more than any memory holds.
        if "*" in text and any(isinstance(each, yaml.AliasEvent) for each in yaml.parse(text)):
            raise ValueError("it has aliases, which no configuration of equinet needs")
        loaded = OmegaConf.create(text)
        if not isinstance(loaded, DictConfig):
            raise TypeError("it holds no mapping")
        return plain(loaded)


def load_choice(group: str, name: str) -> dict[str, Any]:
    """Read one choice of a group, outside of the configuration of a command.

    References to other parts of a configuration take their defaults.

    Args:
        group: Name of the group, a folder of ``configs/``.
        name: Name of the choice.

    Raises:
        ConfigError: There is no such choice, or its file cannot be parsed.

    Example:
        >>> load_choice("data", "nbody")
        {'_target_': 'equinet.data.NBody', 'seed': 0}
    """
    path = CONFIG_DIR / group / f"{name}.yaml"
    with reading(path, "a configuration", error=ConfigError):
        # Below its group, where names such as seed mean those of the whole configuration.
        tree = OmegaConf.create({group: OmegaConf.load(path)})
    found: dict[str, Any] = plain(tree)[group]
    return found


def locate(target: object, path: str = "_target_") -> type[Any]:
    """Return the class that a configuration names, if it is allowed at its place.

    Args:
        target: Dotted name, as written under ``_target_``.
        path: Dotted place in the configuration; its first part, such as ``model``, is the group.
            Below any other name the classes of all groups are allowed.

    Raises:
        ConfigError: The group does not allow the name; the message gives the nearest allowed one.

    Example:
        >>> locate("torch.optim.AdamW").__name__
        'AdamW'
    """
    place = path.removesuffix("._target_")
    if place.split(".", 1)[0] not in targets.GROUPS:
        return targets.locate(target, path)
    group = targets.group_of(place)
    if not group:
        raise ConfigError(f"{path}: {target!r} is not allowed; nothing is built at this place")
    return targets.locate(target, path, group=group)


def check(node: Any, path: str = "config", provided: Iterable[str] = ()) -> None:
    """Compare every target below ``node`` with its signature, without building anything.

    Args:
        node: Plain configuration of mappings, sequences and values.
        path: Dotted place of ``node`` in the configuration, for the messages.
        provided: Arguments of ``node``'s own target that the program adds.

    Raises:
        ConfigError: A target is not allowed, an option is unknown or missing, or a value does not
            match the signature.

    Example:
        >>> check({"_target_": "torch.optim.AdamW", "lr": 0.001}, "optim", provided=["params"])
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
        node: Mapping with ``_target_``, its arguments, and optionally ``_partial_: true`` to get a
            :class:`functools.partial` instead of an instance.
        path: Dotted place of ``node`` in the configuration, see :func:`locate`.
        extra: Further arguments of the target; arguments in the configuration override them.

    Raises:
        ConfigError: :func:`check` refuses the configuration, or the constructor refuses a value.

    Example:
        >>> instantiate({"_target_": "equinet.training.Plateau", "patience": 3}).patience
        3
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
    target: Any = locate(node["_target_"], f"{path}._target_")
    if node.get("_partial_"):
        return functools.partial(target, **arguments)
    try:
        return target(**arguments)
    except EquinetError:
        raise
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{path}: {target.__name__}: {first_line(error)}") from error


def told_by_data(tree: Mapping[str, Any], group: str = "model") -> tuple[str, ...]:
    """List the arguments that the data module of a configuration provides.

    Args:
        tree: Plain configuration with the group ``data``.
        group: Group whose arguments are listed, ``model`` or ``task``.

    Raises:
        ConfigError: The class of the data module is not allowed.

    Example:
        >>> "elements" in told_by_data({"data": {"_target_": "equinet.data.ThreeBPA"}})
        True
    """
    data = locate(tree["data"].get("_target_"), "data._target_")
    told: tuple[str, ...] = data.tells_task if group == "task" else data.tells
    return told


def taken(node: Mapping[str, Any], path: str, told: Mapping[str, Any]) -> dict[str, Any]:
    """Return those of the arguments that the data provide which a constructor takes.

    A data module that suits several networks provides the arguments of all of them.

    Args:
        node: Configuration of what is built, with ``_target_``.
        path: Dotted place of the configuration.
        told: Arguments by name.

    Example:
        >>> taken({"_target_": "equinet.training.Plateau"}, "schedule", {"patience": 3, "level": 1})
        {'patience': 3}
    """
    target = locate(node.get("_target_"), f"{path}._target_")
    names = told if is_open_ended(target) else options(target)
    return {name: value for name, value in told.items() if name in names}


def complete(tree: Mapping[str, Any]) -> dict[str, Any]:
    """Add to a configuration every option that it leaves at the default of its signature.

    Options of classes of torch and Lightning, and arguments of the model that the data module
    provides, are left out.

    Args:
        tree: Plain configuration with the groups of ``configs/train.yaml``.

    Returns:
        A configuration that builds the same objects even if defaults change later.

    Raises:
        ConfigError: A target is not allowed.

    Example:
        >>> complete({"schedule": {"_target_": "equinet.training.Cosine"}})["schedule"].keys()
        dict_keys(['_target_', 'warmup_steps', 'final_fraction'])
    """
    filled = {}
    for name, node in tree.items():
        is_told = name == "model" and isinstance(tree.get("data"), Mapping)
        omitted = told_by_data(tree) if is_told else ()
        filled[name] = _complete(node, name, omitted)
    return filled


def options(target: type[Any]) -> dict[str, inspect.Parameter]:
    """Return the named parameters of a class's constructor.

    Args:
        target: Class whose constructor is described.

    Example:
        >>> list(options(Path))
        []
    """
    parameters = inspect.signature(target).parameters
    return {name: each for name, each in parameters.items() if each.kind in _NAMED}


def is_open_ended(target: type[Any]) -> bool:
    """Tell whether a constructor takes further keywords that its signature does not name.

    Args:
        target: Class whose constructor is described.

    Example:
        >>> class Open:
        ...     def __init__(self, **options): ...
        >>> is_open_ended(Open), is_open_ended(complex)
        (True, False)
    """
    parameters = inspect.signature(target).parameters.values()
    return any(each.kind is each.VAR_KEYWORD for each in parameters)


def _complete(node: Any, path: str, omitted: Iterable[str] = ()) -> Any:
    if not isinstance(node, Mapping):
        return node
    given = {key: _complete(value, f"{path}.{key}") for key, value in node.items()}
    target = node.get("_target_")
    if target is None or path.split(".", 1)[0] not in targets.GROUPS:
        return given
    if str(target).startswith(("torch.", "lightning.")):
        return given
    keywords = {key: given[key] for key in _KEYWORDS if key in given}
    parameters = options(locate(target, f"{path}._target_"))
    filled = {
        name: given[name] if name in given else _as_yaml(parameter.default)
        for name, parameter in parameters.items()
        if name in given
        or (parameter.default is not inspect.Parameter.empty and name not in omitted)
    }
    return {**keywords, **filled, **given}


def _as_yaml(default: Any) -> Any:
    if isinstance(default, tuple | list):
        return [_as_yaml(value) for value in default]
    return str(default) if isinstance(default, Path) else default


def _check_signature(node: Mapping[str, Any], path: str, provided: Iterable[str]) -> None:
    name = node["_target_"]
    target = locate(name, f"{path}._target_")
    named = options(target)
    given = {str(key) for key in node if key not in _KEYWORDS}
    for key in sorted(given):
        if key not in named and not is_open_ended(target):
            raise ConfigError(
                f"{path}: {target.__name__} has no option {key!r}{did_you_mean(key, named)}"
            )
        if key in named:
            check_kind(node[key], named[key].annotation, f"{path}.{key}")
        if key in targets.LIMITS.get(name, {}):
            check_kind(node[key], targets.LIMITS[name][key], f"{path}.{key}")
    if node.get("_partial_"):
        return
    for key, parameter in named.items():
        required = parameter.default is inspect.Parameter.empty
        given_null = key in given and node[key] is None and not takes_none(parameter)
        if given_null or (required and key not in given | {*provided}):
            raise ConfigError(f"{path}: {target.__name__} needs {key!r}; give {path}.{key}=...")


def check_kind(value: object, annotation: Any, path: str) -> None:
    """Refuse a value whose type, choice or range does not match an annotation.

    None, and values of annotations other than numbers, switches, texts, paths, lists, mappings and
    choices, are accepted here and checked by the constructor.

    Args:
        value: Value as given in the configuration.
        annotation: Annotation of the parameter that receives the value.
        path: Dotted place in the configuration, for the message.

    Raises:
        ConfigError: The value does not match the annotation.

    Example:
        >>> check_kind(0.5, float | None, "optim.lr")
    """
    reason = refusal(value, annotation)
    if reason:
        raise ConfigError(f"{path}: {reason}")


def check_options(tree: Mapping[str, Any], kinds: Mapping[str, Any]) -> None:
    """Refuse values of options that belong to no class.

    Args:
        tree: Configuration as plain mappings, lists and numbers.
        kinds: Annotations of the options by their dotted keys.

    Raises:
        ConfigError: A value does not match its annotation, or is null where that means nothing.

    Example:
        >>> check_options({"run": {"tf32": True}}, {"run.tf32": bool, "init": str | None})
    """
    for key, annotation in kinds.items():
        *groups, name = key.split(".")
        node = functools.reduce(operator.getitem, groups, tree)
        value = node.get(name)
        if value is None and type(None) not in typing.get_args(annotation):
            raise ConfigError(f"{key}: null is no value for it; leave it out for its default")
        check_kind(value, annotation, key)


def first_line(error: Exception) -> str:
    r"""Return the first line of an error's message, and the second if the first ends in a colon.

    Args:
        error: Exception whose message is shortened.

    Example:
        >>> first_line(ValueError("one\ntwo")), first_line(ValueError("one:\ntwo"))
        ('one', 'one: two')
    """
    lines = str(error).strip().split("\n")
    return " ".join(lines[:2]) if lines[0].endswith(":") else lines[0]
