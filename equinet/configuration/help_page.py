"""Help pages of ``--help``: usage, examples, experiments, groups, and every option."""

import inspect
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import hydra
from omegaconf import OmegaConf

from equinet.arguments import described
from equinet.configuration import config, targets

_USAGE = {
    "train": """Train a model.

Usage: python -m equinet.train +experiment=NAME [data.root=DIR] [GROUP=NAME] [KEY=VALUE] ...

Examples:
  python -m equinet.train data.train=mine.xyz
  python -m equinet.train +experiment=3bpa trainer.max_time=30m
  python -m equinet.train +experiment=oc20 data.root=DOWNLOADS trainer=gpu
  python -m equinet.train +experiment=nbody model.channels=64 optim.lr=0.005 run.dir=runs/mine
  python -m equinet.train --multirun +experiment=3bpa seed=1,2,3,4

The same command with the same run.dir resumes. Options of another choice are shown by naming it:
python -m equinet.train --help data=oc20.
""",
    "evaluate": """Evaluate a model on a file of labeled structures.

Usage: python -m equinet.evaluate CHECKPOINT FILE [KEY=VALUE] ...

Examples:
  python -m equinet.evaluate runs/mine test.xyz
  python -m equinet.evaluate checkpoint=runs/mine data.file=test.xyz output=tables
  python -m equinet.evaluate mace-gaunt-3bpa test.xyz dtype=float64
  python -m equinet.evaluate runs/mine test.xyz data.energy_key=REF_energy
  python -m equinet.evaluate runs/mine test.xyz device=cpu batch_size=8
""",
    "sample": """Sample molecules from a denoiser, and judge them.

Usage: python -m equinet.sample CHECKPOINT [n=1000] [KEY=VALUE] ...

Examples:
  python -m equinet.sample runs/mine n=1000 seed=0
  python -m equinet.sample checkpoint=runs/mine n=10000 output=samples batch_size=500
  python -m equinet.sample runs/mine n=100 steps=20 churn=0

The same command goes on where it was interrupted, and a higher n adds molecules.
""",
}
_WIDTH = 100
_INDENT = 34


def write(name: str, overrides: Sequence[str]) -> str:
    """Write the help of a command.

    Args:
        name: Name of the command, ``train``, ``evaluate`` or ``sample``.
        overrides: Arguments of the command; the choices they make are described.

    Returns:
        The page, with a final line break.

    Raises:
        HydraException: A choice is unknown.

    Example:
        >>> "data.file" in write("evaluate", [])
        True
    """
    text = (config.CONFIG_DIR / f"{name}.yaml").read_text(encoding="utf-8")
    own = "".join(_line(*each) for each in _commented(text))
    if name != "train":
        return f"{_USAGE[name]}\nOptions:\n{own}"
    words = [w for w in overrides if re.match(r"\+?[a-z_/]+=", w)]
    with hydra.initialize_config_dir(str(config.CONFIG_DIR), version_base="1.3"):
        composed = hydra.compose(name, words)
    tree: Any = OmegaConf.to_container(composed)
    told = config.told_by_data(tree)
    return (
        f"{_USAGE[name]}\nExperiments (+experiment=NAME):\n{''.join(_experiments())}"
        f"\nGroups (GROUP=NAME):\n{''.join(_groups())}"
        f"\nOptions of the command:\n{own}{''.join(_options(tree, told))}"
    )


def _experiments() -> Iterator[str]:
    for path in sorted((config.CONFIG_DIR / "experiment").glob("*.yaml")):
        yield _entry(path.stem, _first_comment(path.read_text(encoding="utf-8")))


def _groups() -> Iterator[str]:
    for folder in sorted(path for path in config.CONFIG_DIR.iterdir() if path.is_dir()):
        found = sorted(path.stem for path in folder.glob("*.yaml"))
        if found and folder.name != "experiment":
            yield _entry(folder.name, ", ".join(found))


def _first_comment(text: str) -> str:
    """Return the first sentence of the comments at the head of a file."""
    lines = []
    for line in text.splitlines():
        if not line.startswith("#"):
            break
        if "@package" not in line:
            lines.append(line.removeprefix("#").strip())
    return _first_sentence(" ".join(lines))


def _first_sentence(text: str) -> str:
    return re.split(r"(?<=[^.\d]\.)\s", text.strip(), maxsplit=1)[0]


def _commented(text: str) -> Iterator[tuple[str, str, str, str]]:
    """Yield the dotted keys of a YAML file with their values and the comments behind them."""
    path: list[str] = []
    for line in text.splitlines():
        found = re.fullmatch(r"( *)(\w+):(?: ([^#]*?))?(?:\s*# (.*))?", line)
        if not found:
            continue
        depth = len(found[1]) // 2
        path[depth:] = [found[2]]
        if found[3] and path[0] not in {"defaults", "hydra"}:
            yield ".".join(path), found[3].replace("???", "..."), "", found[4] or ""


def _options(tree: Mapping[str, Any], told: Sequence[str]) -> Iterator[str]:
    for group, node in tree.items():
        if group not in targets.GROUPS or not isinstance(node, Mapping):
            continue
        inner = {group: node} if "_target_" in node else node
        for name, each in inner.items():
            if isinstance(each, Mapping) and each.get("_target_"):
                place = group if name == group else f"{group}.{name}"
                target = config.locate(each["_target_"], f"{place}._target_")
                yield f"\nOptions of {place} ({each['_target_']}):\n"
                yield from _signature(place, target, each, told if place == "model" else ())


def _signature(
    place: str, target: type[Any], node: Mapping[str, Any], told: Sequence[str]
) -> Iterator[str]:
    about = descriptions(target)
    for name, parameter in config.options(target).items():
        default = parameter.default
        if name not in node and default is inspect.Parameter.empty:
            continue  # the program or the data module provides it
        if place == "trainer" and name in targets.SET_BY_PROGRAM:
            continue
        value = _as_typed(node.get(name, default))
        text = about.get(name, "")
        if name in told and name not in node:
            value, text = "...", f"{text} The data set it unless it is given."
        yield _line(f"{place}.{name}", value, described(parameter.annotation), text)


def _as_typed(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return f"[{','.join(map(_as_typed, value))}]"
    return "..." if value == "???" else str(value)


def descriptions(target: type[Any]) -> dict[str, str]:
    """Read the first sentence about each argument from the docstrings of a class and its bases.

    Args:
        target: Class with a section ``Args`` in its docstring or that of its constructor.

    Returns:
        Descriptions by the names of the arguments.

    Example:
        >>> from equinet.training import Cosine
        >>> sorted(descriptions(Cosine))
        ['final_fraction', 'warmup_steps']
    """
    found: dict[str, str] = {}
    for each in inspect.getmro(target):
        for owner in (each, vars(each).get("__init__")):
            for name, text in _arguments(inspect.getdoc(owner) or "").items():
                found.setdefault(name, text)
    return found


def _arguments(text: str) -> dict[str, str]:
    """Read the descriptions in the section ``Args`` of a docstring."""
    found: dict[str, str] = {}
    section = re.search(r"^Args:\n((?:[ \t]+.*\n?|\n)+)", text, re.MULTILINE)
    if not section:
        return found
    body = inspect.cleandoc(section[1])
    for part in re.split(r"\n(?=\S)", body):
        entry = re.match(r"(\w+)(?: \([^)]*\))?:\s+(.*)", part, re.DOTALL)
        if entry:
            plain = re.sub(r":\w+:`~?([^`]+)`", r"\1", " ".join(entry[2].split()))
            found[entry[1]] = _first_sentence(plain.replace("``", ""))
    return found


def _line(key: str, value: str, kind: str, about: str) -> str:
    note = f"({kind}) {about}" if kind else about
    return _entry(f"{key}={value}", note)


def _entry(name: str, about: str) -> str:
    """Lay out a name and its description, wrapped beside it."""
    lines: list[str] = []
    line = f"  {name}".ljust(_INDENT)
    if len(line) > _INDENT or not line.endswith(" "):
        lines.append(line.rstrip())
        line = " " * _INDENT
    for word in about.split():
        if len(line) + len(word) >= _WIDTH and line.strip():
            lines.append(line.rstrip())
            line = " " * _INDENT
        line += word if line.endswith("  ") or len(line) == _INDENT else f" {word}"
    lines.append(line.rstrip())
    return "".join(f"{each}\n" for each in lines if each)
