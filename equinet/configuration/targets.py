"""Classes that a configuration may build, group by group.

The table is exact: a target is one of the names listed here, spelled as listed, or a class with a
base class of its group that a module of the group's folder or of a registered package (see
:mod:`equinet.plugins`) defines. Functions and methods are never called, and names inside an allowed
class or module are not allowed themselves.
"""

import functools
import importlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from equinet import plugins
from equinet.arguments import BelowOne, Count, NotNegative, Positive, Range
from equinet.errors import ConfigError
from equinet.names import nearest


@dataclass(frozen=True)
class Group:
    """Classes that one group of the configuration may build.

    Attributes:
        names: Dotted names of the allowed classes.
        room: Module whose exported classes with one of the bases are allowed too; empty for none.
        folder: Folder of the room. Classes with one of the bases that its modules define, and that
            the room does not export, are allowed by the name of their module.
        bases: Dotted names of base classes, which are not built themselves. Classes of registered
            packages with one of these bases are allowed; an empty tuple allows none.

    Example:
        >>> GROUPS["model"].bases
        ('equinet.models.Model',)
    """

    names: tuple[str, ...] = ()
    room: str = ""
    folder: str = ""
    bases: tuple[str, ...] = ()


def _in(module: str, *names: str) -> tuple[str, ...]:
    return tuple(f"{module}.{name}" for name in names)


_OPTIMIZERS = (
    *("ASGD", "Adadelta", "Adafactor", "Adagrad", "Adam", "AdamW"),
    *("Adamax", "NAdam", "RAdam", "RMSprop", "Rprop", "SGD"),
)
_CALLBACKS = (
    *("DeviceStatsMonitor", "EMAWeightAveraging", "EarlyStopping"),
    *("GradientAccumulationScheduler", "LearningRateMonitor", "StochasticWeightAveraging"),
)
_SCHEDULES = _in("equinet.training", "Cosine", "Plateau")

_LIGHTNING = "lightning.pytorch"

GROUPS: Mapping[str, Group] = {
    "data": Group(
        room="equinet.data",
        folder="equinet.data.datasets",
        bases=_in("equinet.data", "GraphDataModule", "ImageDataModule"),
    ),
    "model": Group(
        room="equinet.models", folder="equinet.models", bases=_in("equinet.models", "Model")
    ),
    "task": Group(
        room="equinet.training",
        folder="equinet.training.tasks",
        bases=_in("equinet.training", "Task"),
    ),
    "optim": Group((*_in("equinet.training", "Muon"), *_in("torch.optim", *_OPTIMIZERS))),
    "schedule": Group(_SCHEDULES),
    "callbacks": Group(
        (
            *_SCHEDULES,
            *_in("equinet.training", "FirstBatchCheck"),
            *_in(f"{_LIGHTNING}.callbacks", *_CALLBACKS),
        ),
        bases=_in(f"{_LIGHTNING}.callbacks", "Callback"),
    ),
    "logger": Group(_in(f"{_LIGHTNING}.loggers", "CSVLogger", "TensorBoardLogger", "WandbLogger")),
    "trainer": Group(_in(_LIGHTNING, "Trainer")),
    "profiler": Group(
        _in(f"{_LIGHTNING}.profilers", "AdvancedProfiler", "PyTorchProfiler", "SimpleProfiler")
    ),
}
"""Groups of the configuration by name. A profiler is written below the trainer."""

SET_BY_PROGRAM = {
    "callbacks": "write the group callbacks",
    "logger": "choose logger=...",
    "default_root_dir": "give run.dir",
    "enable_checkpointing": "checkpoints are always written",
    "enable_model_summary": "train.log says what the model is",
    "enable_progress_bar": "it appears in a terminal",
    "inference_mode": "forces are gradients, which it would forbid",
    "num_sanity_val_steps": "the first batch is checked instead",
    "use_distributed_sampler": "the loaders share the batches themselves",
}
"""Options of the trainer that the program sets itself, each with the end of an error message."""

_INNER = {"trainer.profiler": "profiler"}

_Limits = Mapping[str, Any]
# Lightning takes a whole number for a count and any other for a fraction.
_Batches = (
    Annotated[int, Range("at least 1", least=1)]
    | Annotated[float, Range("above 0 and at most 1", above=0, most=1)]
)
_FROM_MINUS_ONE = Annotated[int, Range("at least -1", least=-1)]
LIMITS: Mapping[str, _Limits] = {
    **{
        f"torch.optim.{name}": {
            "lr": Positive,
            **({} if name == "Rprop" else {"weight_decay": NotNegative}),
        }
        for name in _OPTIMIZERS
    },
    "equinet.models.EquiformerV2": {"drop_path": BelowOne},
    "equinet.models.GroupResNet": {"scale_window": Positive, "stretch_window": Positive},
    "equinet.training.Muon": {"lr": Positive},
    "lightning.pytorch.Trainer": {
        "accumulate_grad_batches": Count,
        "check_val_every_n_epoch": Count,
        "limit_train_batches": _Batches,
        "limit_val_batches": _Batches,
        "log_every_n_steps": Count,
        "max_epochs": _FROM_MINUS_ONE,
        "max_steps": _FROM_MINUS_ONE,
        "num_nodes": Count,
        "overfit_batches": NotNegative,
    },
    "lightning.pytorch.callbacks.EMAWeightAveraging": {"decay": BelowOne},
    "lightning.pytorch.callbacks.EarlyStopping": {"patience": Count},
}
"""Ranges of options whose own signatures have none or a wider one, by the name of the class."""


def group_of(path: str) -> str:
    """Name the group that a place of the configuration belongs to.

    Args:
        path: Dotted place in the configuration, such as ``callbacks.ema``.

    Returns:
        The name of the group; empty where nothing is built at this place.

    Example:
        >>> group_of("callbacks.ema"), group_of("trainer.profiler"), group_of("somewhere")
        ('callbacks', 'profiler', '')
    """
    if path in _INNER:
        return _INNER[path]
    head, _, rest = path.partition(".")
    depth = len([part for part in rest.split(".") if part])
    allowed = 1 if head in {"callbacks", "logger"} else 0
    return head if head in GROUPS and depth <= allowed else ""


def locate(target: object, path: str, *, group: str | None = None) -> type[Any]:
    """Return the class that a configuration names, if the table has it.

    Args:
        target: Dotted name, as written under ``_target_``.
        path: Dotted place of the target in the configuration, for the message.
        group: Name of the group whose classes are allowed; None allows those of all groups.

    Raises:
        ConfigError: The name is not in the table; the message gives the nearest one that is.

    Example:
        >>> locate("torch.optim.AdamW", "optim").__name__
        'AdamW'
    """
    groups = tuple(GROUPS) if group is None else (group,)
    found = find(target, groups) if isinstance(target, str) else None
    if found is None:
        raise ConfigError(f"{path}: {target!r} is not allowed{_advice(target, groups)}")
    return found


def find(target: str, groups: Iterable[str]) -> type[Any] | None:
    """Return the class of a name, if one of some groups allows it.

    Args:
        target: Dotted name of a class.
        groups: Names of the groups whose classes are allowed.

    Returns:
        The class; None where no group allows it.

    Example:
        >>> find("os.system", GROUPS) is None
        True
    """
    for group in groups:
        if target in names(group):
            return _load(target)
        bases = bases_of(group) if plugins.is_registered(target) else ()
        found = plugins.find_class(target, bases) if bases else None
        if found is not None:
            return found
    return None


@functools.cache
def names(group: str) -> tuple[str, ...]:
    """List the targets of a group that come with equinet, sorted.

    Args:
        group: Name of the group, a key of :data:`GROUPS`.

    Example:
        >>> names("schedule")
        ('equinet.training.Cosine', 'equinet.training.Plateau')
    """
    entry = GROUPS[group]
    found = list(entry.names)
    if entry.room:
        found += plugins.classes_of(entry.room, entry.folder, bases_of(group))
    return tuple(sorted(found))


def all_targets() -> dict[str, type[Any]]:
    """Import all classes that come with equinet or are listed by name, by their dotted names.

    Example:
        >>> all_targets()["torch.optim.AdamW"].__name__
        'AdamW'
    """
    return {name: _load(name) for group in GROUPS for name in names(group)}


def bases_of(group: str) -> tuple[type[Any], ...]:
    """Return the base classes of a group's classes; empty where only listed names are allowed.

    Args:
        group: Name of the group, a key of :data:`GROUPS`.

    Example:
        >>> [base.__name__ for base in bases_of("model")]
        ['Model']
    """
    return tuple(map(_load, GROUPS[group].bases))


def _load(name: str) -> type[Any]:
    module, _, attribute = name.rpartition(".")
    found: type[Any] = getattr(importlib.import_module(module), attribute)
    return found


def _advice(target: object, groups: Iterable[str]) -> str:
    """Write the end of a refusal, which suggests the nearest name by its last part or by all."""
    if not isinstance(target, str):
        return "; a target is the dotted name of a class"
    options = sorted({name for group in groups for name in names(group)})
    by_end = {name.rpartition(".")[2]: name for name in options}
    near = nearest(target.rpartition(".")[2], by_end)
    guess = by_end[near[0]] if near else nearest(target, options, likeness=0.0)[0]
    return f"; the nearest name that is allowed is {guess!r}"
