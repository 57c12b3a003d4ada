"""Markup: texts and attributes stay texts."""

from html.parser import HTMLParser

from hypothesis import given
from hypothesis import strategies as st

from equinet.evaluation.report.markup import Markup, element, join


class Reader(HTMLParser):
    """Collects what a browser reads."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data


# What a parser normalizes in any text is no matter of escaping.
TEXTS = st.text(st.characters(exclude_categories=("Cc", "Cs"))).map(str.strip)


@given(TEXTS, TEXTS)
def test_any_text_is_read_back_as_it_was_given(content, attribute):
    found = Reader(element("p", content, data_name=attribute).text)
    assert found.tags == [("p", {"data-name": attribute})]
    assert found.text == content


def test_elements_nest_and_leave_out_what_is_none():
    inner = element("b", 3, title=None)
    assert element("p", inner, None, " < 4", class_="note").text == (
        '<p class="note"><b>3</b> &lt; 4</p>'
    )
    assert element("br").text == "<br>"
    assert join(inner, Markup("<br>")).text == "<b>3</b><br>"


def test_coordinates_are_short():
    assert element("circle", cx=1 / 3, cy=2.0, r=-0.5).text == (
        '<circle cx="0.33" cy="2" r="-0.5"></circle>'
    )
