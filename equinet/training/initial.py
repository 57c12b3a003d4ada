"""Continue a trained potential on other data."""

import inspect
import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from equinet import configuration, zoo
from equinet.data import AtomicDataset, Frame, evaluation_loader, nearest_energies
from equinet.elements import symbol
from equinet.errors import ConfigError
from equinet.evaluation import predict
from equinet.files import reading
from equinet.models import Committee, Fallback, Potential, extended, find_model
from equinet.training.tasks import PotentialTask

_log = logging.getLogger(__name__)

_SLOWER = 0.3  # factor of the usual learning rate
_FITTED = 200  # largest number of frames to which reference energies are fitted
_NEIGHBORHOOD = ("cutoff", "max_neighbors", "tie_tolerance")


def prepare_initial(tree: Mapping[str, Any], typed: Sequence[str] = ()) -> dict[str, Any]:
    """Adapt a configuration to the model that its ``init`` names.

    Network and neighborhood become those of the model, and the learning rate three tenths of the
    usual one, unless it was typed.

    Args:
        tree: Plain configuration with ``init``, a run directory, a model folder or a file in one,
            or a name from the zoo.
        typed: Overrides as typed, which are refused where they contradict the model.

    Returns:
        The adapted configuration.

    Raises:
        ConfigError: The model cannot be continued by this task, or the command asks for another
            network, neighborhood or level of theory.
        DataError: The card of a committee does not describe its members.

    Example:
        >>> from equinet.configuration import compose
        >>> words = ["data=files", "data.train=a.xyz", "init=mace-gaunt-3bpa"]
        >>> prepare_initial(compose("train", words))["model"]["channels"]
        64
    """
    name = _place(str(tree["init"]))
    card = zoo.load_card(name)
    kind = find_model(str(card["class"]))
    if kind is None or not issubclass(kind, Potential) or issubclass(kind, Fallback):
        raise ConfigError(f"init: {name} is a {card['class']}; only potentials can be continued")
    if not issubclass(configuration.locate(tree["task"]["_target_"], "task"), PotentialTask):
        raise ConfigError(f"init: {name} is a potential; take task=potential or task=s2ef")
    if tree["task"].get("members", 1) != 1:
        raise ConfigError(f"task.members: init={name} continues what there is; leave it out")
    theory, own = card.get("theory"), tree["data"].get("theory")
    if theory and own and theory != own:
        raise ConfigError(
            f"data.theory: {own} is not {theory}, of which {name} is by its card; leave out "
            "data.theory to move the network to another level of theory"
        )
    words = dict(word.lstrip("+").split("=", 1) for word in typed if "=" in word)
    arguments = card["arguments"]
    first = arguments
    if issubclass(kind, Committee):
        with reading(name, "a committee"):
            first = dict(arguments["members"][0]["arguments"])
    changed = {
        **tree,
        "init": name,
        "model": _network(tree, kind, arguments, words, name),
        "data": {**tree["data"], **_neighborhood(tree, first, words, name)},
    }
    rate = tree["optim"].get("lr")
    if rate is not None and "optim.lr" not in words:
        changed["optim"] = {**tree["optim"], "lr": _SLOWER * rate}
    return changed


def initial_model(tree: Mapping[str, Any], data: Any) -> Potential:
    """Load the model that ``init`` names, and adapt it to the data.

    Reference energies are those of isolated atoms where the data have them, and otherwise the old
    ones with the smallest change that fits what the model leaves of the energies. Elements that the
    model does not know are added, see :func:`equinet.models.extended`.

    Args:
        tree: Configuration from :func:`prepare_initial`.
        data: Atomistic data module.

    Returns:
        The model, whose parameters outside of ``init_train`` need no gradient.

    Raises:
        ConfigError: The network has no part of a name in ``init_train``.

    Example:
        >>> from dataclasses import replace
        >>> from ase.build import molecule
        >>> from equinet.data import AtomicDataModule, Splits, frame_from_atoms
        >>> water = replace(frame_from_atoms(molecule("H2O")), energy=-2079.0)
        >>> class Water(AtomicDataModule):
        ...     def read(self):
        ...         return Splits([water], [water], {}, "water")
        >>> model = initial_model({"init": "mace-gaunt-3bpa"}, Water())
        >>> round(float(model(Water().train[0])["energy"].detach()), 3)
        -2079.0
    """
    old = zoo.load(tree["init"])
    if not isinstance(old, Potential):
        raise ConfigError(
            f"init: {tree['init']} is a {type(old).__name__}, from which no potential can start; "
            "give the run or the name of a potential"
        )
    elements = [*old.elements, *(z for z in data.train.elements if z not in old.elements)]
    measured = dict(zip(data.statistics.elements, data.statistics.reference_energies, strict=True))
    before = dict(zip(old.elements, old.reference_energies.energies.tolist(), strict=True))
    prior = np.array([before.get(z, measured.get(z, 0.0)) for z in elements])
    model = extended(old, elements=elements, reference_energies=prior.tolist())
    labeled = [frame for frame in data.train.sample() if frame.energy is not None]
    change, shift = np.zeros(len(elements)), 0.0
    if labeled:
        change, shift = _fit(model, labeled, data.given_energies, prior)
    model = extended(
        old, elements=elements, reference_energies=(prior + change).tolist(), shift_by=shift
    )
    _say(str(tree["init"]), old, model, before, shift)
    parts = tree.get("init_train")
    train_parts(model, str(parts) if isinstance(parts, int | float) else parts)  # YAML reads 5 so
    return model.train()


def train_parts(model: Potential, parts: str | Iterable[str] | None) -> None:
    """Restrict training to some parts of a network.

    Args:
        model: Potential or committee.
        parts: Names of modules and parameters of the network, such as ``readouts``; None for all.

    Raises:
        ConfigError: The network has no part of a name.

    Example:
        >>> model = zoo.load("mace-gaunt-3bpa")
        >>> train_parts(model, ["readouts"])
        >>> sorted({name.split(".")[0] for name, p in model.named_parameters() if p.requires_grad})
        ['readouts']
    """
    if parts is None:
        return
    wanted = [parts] if isinstance(parts, str) else list(parts)
    networks: Iterable[nn.Module] = model.members if isinstance(model, Committee) else [model]
    for network in networks:
        named = dict(network.named_parameters())
        known = list(dict.fromkeys(name.split(".", 1)[0] for name in named))
        for part in wanted:
            if part not in known:
                raise ConfigError(
                    f"init_train: {part!r} is no part of a {type(network).__name__}; its parts are "
                    f"{', '.join(known)}"
                )
        for name, parameter in named.items():
            parameter.requires_grad_(name.split(".", 1)[0] in wanted)


def _place(name: str) -> str:
    """Return the folder of a file of a model or a checkpoint; any other name as it is."""
    path = Path(name).expanduser()
    if not path.is_file():
        return str(path) if path.exists() else name
    return str(path.parent.parent if path.suffix == ".ckpt" else path.parent)


def _network(
    tree: Mapping[str, Any],
    kind: type[Any],
    arguments: Mapping[str, Any],
    words: Mapping[str, str],
    name: str,
) -> dict[str, Any]:
    """Return the options of the network, and refuse those that were typed and differ."""
    told = configuration.told_by_data(tree)
    network = {key: value for key, value in arguments.items() if key not in told}
    defaults = inspect.signature(kind).parameters
    if "model" in words and not str(tree["model"]["_target_"]).endswith(f".{kind.__name__}"):
        raise ConfigError(
            f"model={words['model']}: init={name} continues a {kind.__name__}; leave out model"
        )
    for word in words:
        option = word.removeprefix("model.")
        if option == word:
            continue
        has = network.get(option, getattr(defaults.get(option), "default", None))
        if option in told or tree["model"].get(option) != has:
            found = f"has {has}" if option not in told else "brings its own"
            raise ConfigError(
                f"{word}={words[word]}: the network of init={name} {found}; leave out {word}"
            )
    is_own = find_model(kind.__name__) is kind
    target = f"{'equinet.models' if is_own else kind.__module__}.{kind.__name__}"
    return {"_target_": target, **network}


def _neighborhood(
    tree: Mapping[str, Any], arguments: Mapping[str, Any], words: Mapping[str, str], name: str
) -> dict[str, Any]:
    """Return the options by which the data module builds the graphs of the model."""
    options = inspect.signature(configuration.locate(tree["data"]["_target_"], "data")).parameters
    found: dict[str, Any] = {}
    for key in _NEIGHBORHOOD:
        value = arguments.get(key)
        word = f"data.{key}"
        if word in words and tree["data"].get(key) != value:
            raise ConfigError(
                f"{word}={words[word]}: init={name} has {key} {value}; leave out {word}"
            )
        if key in options:
            found[key] = value
        elif value is not None:
            raise ConfigError(
                f"init: {name} has {key}={value}, which {tree['data']['_target_']} cannot build; "
                "take data=oc20"
            )
    return found


def _fit(
    model: Potential,
    frames: Sequence[Frame],
    given: Mapping[int, float] | None,
    prior: np.ndarray,
) -> tuple[np.ndarray, float]:
    """Fit the changes of reference energies and shift to what the model leaves of the energies."""
    places = np.unique(np.linspace(0, len(frames) - 1, _FITTED).astype(int))
    some = AtomicDataset([frames[place] for place in places], model.neighborhood, mixed_labels=True)
    found = predict(model, evaluation_loader(some, 32))
    counts = np.array(
        [[np.count_nonzero(f.numbers == z) for z in model.elements] for f in some.frames],
        dtype=np.float64,
    )
    rest = found.true_energy - found.energy
    if given is None:
        change = nearest_energies(counts, rest, np.zeros_like(prior))
    else:
        change = np.array(
            [given.get(z, old) - old for z, old in zip(model.elements, prior, strict=True)]
        )
    return change, float(((rest - counts @ change) / counts.sum(axis=1)).mean())


def _say(
    name: str, old: Potential, model: Potential, before: Mapping[int, float], shift: float
) -> None:
    added = [symbol(z) for z in model.elements if z not in before]
    new = f"; new elements: {', '.join(added)}" if added else ""
    _log.info("Init     %s, a %s%s", name, type(old).__name__, new)
    energies = model.reference_energies.energies.tolist()
    for element, energy in zip(model.elements, energies, strict=True):
        was = before.get(element)
        text = "unknown" if was is None else f"{was:.3f}"
        _log.info(
            "         reference energy of %s: %s before, %.3f eV now", symbol(element), text, energy
        )
    _log.info("         shift: %+.4f eV an atom beyond the one before", shift)
