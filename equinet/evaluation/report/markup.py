"""Markup that is built from texts which can never become markup themselves."""

from dataclasses import dataclass
from html import escape

_EMPTY = {"br", "img", "meta"}


@dataclass(frozen=True)
class Markup:
    """Text in HTML, as :func:`element` makes it.

    Attributes:
        text: Source in HTML.

    Example:
        >>> Markup("<br>").text
        '<br>'
    """

    text: str


Content = Markup | str | int | None
"""What an element may hold: markup, a text that is escaped, a number, or None for nothing."""


def element(tag: str, *content: Content, **attributes: str | float | None) -> Markup:
    """Build an element whose texts and attributes are escaped.

    Args:
        tag: Name of the element, such as ``p``.
        content: Content of the element in its order.
        attributes: Attributes by name; a final underscore is dropped, others become hyphens, and
            None leaves the attribute out.

    Example:
        >>> element("td", "a < b", class_="name", data_label="set").text
        '<td class="name" data-label="set">a &lt; b</td>'
    """
    words = [
        f' {name.rstrip("_").replace("_", "-")}="{escape(_plain(value))}"'
        for name, value in attributes.items()
        if value is not None
    ]
    start = f"<{tag}{''.join(words)}>"
    return Markup(start if tag in _EMPTY else f"{start}{join(*content).text}</{tag}>")


def join(*content: Content) -> Markup:
    """Put contents one after another; texts are escaped.

    Args:
        content: Contents in their order.

    Example:
        >>> join("1 < 2", element("b", "sure")).text
        '1 &lt; 2<b>sure</b>'
    """
    parts = (
        part.text if isinstance(part, Markup) else escape(str(part))
        for part in content
        if part is not None
    )
    return Markup("".join(parts))


def _plain(value: str | float) -> str:
    """Write a number with at most two digits after the point, which suffices for coordinates."""
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)
