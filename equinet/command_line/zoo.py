"""``python -m equinet zoo``: which models there are, what they are, whether they are whole."""

import argparse
from collections.abc import Iterator, Mapping
from typing import Any

_MODEL = "a run directory, a model folder, or a name from the zoo"
_SHOWN_APART = ("schema", "class", "arguments", "units", "dtype", "parameters")


def add_parser(verbs: Any) -> None:
    """Add ``zoo list``, ``zoo info`` and ``zoo verify``."""
    parser = verbs.add_parser("zoo", help="list, describe and verify trained models")
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    listing = actions.add_parser("list", help="the models that come with equinet")
    listing.set_defaults(run=show_list)
    info = actions.add_parser("info", help="the card of a model")
    info.add_argument("model", help=_MODEL)
    info.set_defaults(run=show_info)
    verify = actions.add_parser("verify", help="check that models are whole and load")
    verify.add_argument("models", nargs="*", help=f"each {_MODEL}; none means the whole zoo")
    verify.set_defaults(run=verify_models)


def show_list(_: argparse.Namespace) -> Iterator[str]:
    """Yield a line for each model of the zoo."""
    from equinet import zoo

    entries = zoo.list()
    width = max((len(entry.name) for entry in entries), default=0)
    for entry in entries:
        yield f"{entry.name:<{width}}  {entry.summary}"
    if not entries:
        yield "The zoo is empty so far; run directories are models too (zoo info RUN)."


def show_info(arguments: argparse.Namespace) -> Iterator[str]:
    """Yield what a card says, for people.

    Raises:
        EquinetError: There is no such model, or its card is broken.
    """
    from equinet import zoo

    card = zoo.load_card(arguments.model)
    yield _headline(card)
    for name, value in card["arguments"].items():
        yield from _lines(name, _symbols(value) if name == "elements" else value, card["units"])
    for name, value in card.items():
        if name not in _SHOWN_APART:
            yield from _lines(name, value, card["units"])


def verify_models(arguments: argparse.Namespace) -> Iterator[str]:
    """Load models and yield a line for each that is whole.

    Raises:
        EquinetError: One is not; the message says why.
    """
    from equinet import zoo

    for model in arguments.models or [entry.name for entry in zoo.list()]:
        zoo.load(model)
        yield f"{model}: whole, {_headline(zoo.load_card(model))}"


def _headline(card: Mapping[str, Any]) -> str:
    return f"{card['class']}, {card.get('parameters', 0):,} parameters, {card['dtype']}"


def _symbols(elements: list[int]) -> str:
    from equinet.elements import symbol

    return " ".join(symbol(number) for number in elements)


def _lines(name: str, value: Any, units: Mapping[str, str], depth: int = 1) -> Iterator[str]:
    """Lay out an entry, nested ones indented below their name, numbers with their unit."""
    start = f"{'  ' * depth}{name}"
    if isinstance(value, Mapping):
        yield start
        for key, item in value.items():
            yield from _lines(key, item, units, depth + 1)
    else:
        unit = f" {units[name]}" if name in units else ""
        number = f"{value:.6g}" if isinstance(value, float) else str(value)
        yield f"{start:<26} {number}{unit}"
