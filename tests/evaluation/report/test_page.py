"""The page: what it shows, in which order, and that no text of others becomes markup."""

import base64
import json
import logging
import re
from html.parser import HTMLParser

import pytest

from equinet import __main__ as entry
from equinet.errors import ConfigError, DataError
from equinet.evaluation.report import Report, attempt_report, write_report

_EMPTY = {"meta", "img", "br"}


class Page(HTMLParser):
    """Texts, attributes and titles of a page, whose elements must all be closed."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.titles: list[str] = []
        self.text = ""
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in _EMPTY:
            self.open.append(tag)
        if tag == "h2":
            self.titles.append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] == "h2":
            self.titles[-1] += data
        if not {"style", "script"} & set(self.open):
            self.text += data


def page_of(folder) -> Page:
    return Page(write_report(folder).read_text(encoding="utf-8"))


def test_sections_come_in_order(folder):
    assert page_of(folder).titles == [
        "Data",
        "Learning curves",
        "Predicted against true values",
        "Pictures",
        "Force errors by element",
        "Force errors by the size of the force",
        "Errors along the file",
        "Errors of single structures",
        "Structures with the largest errors",
        "Checks on the first batch",
        "Times",
        "How to reproduce it",
    ]


def test_the_page_shows_what_the_folder_holds(folder, hostile):
    page = page_of(folder)
    for words in (
        f"Evaluated on {hostile}.",
        f"25 structures of {hostile}",
        "E RMSE",
        "100.50",  # the error of the set, with the digits of its declaration
        "MACE-Gaunt",
        "Luo et al. 2024",
        "this model",
        "energy RMSE (meV)",
        "force RMSE (meV/Å)",
        "RMSE 1.00 meV/atom, 25 values",
        "force RMSE 500.0 meV/Å",
        "energy error +1.00 meV/atom",
        f"{hostile}, frame 7",
        "energy under a rotation",
        "1h02m",
        "EPYC",
        "H200",
        "torch 2.10",
        "c0ffee with changes that are not committed",
        "equinet train trainer.max_epochs=9",
        f"data.file={hostile}",
    ):
        assert words in page.text, words
    pictures = [value for name, value in page.attributes if name == "src"]
    content = base64.b64encode(b"\x89PNG mistakes").decode()
    assert pictures == [f"data:image/png;base64,{content}"]
    drawings = [value for name, value in page.attributes if name == "class"].count("structure")
    assert drawings == 10


def test_texts_of_others_never_become_markup(folder):
    page = page_of(folder)
    assert page.tags.count("script") == 1
    assert set(page.tags) <= {
        *("html", "head", "meta", "title", "style", "body", "main", "header", "section", "script"),
        *("h1", "h2", "h3", "p", "ul", "li", "b", "br", "small", "span", "div", "pre"),
        *("table", "thead", "tbody", "tr", "th", "td", "dl", "dt", "dd"),
        *("figure", "figcaption", "img", "svg", "path", "text", "circle", "line", "defs"),
        *("lineargradient", "radialgradient", "stop"),
    }
    assert not [name for name, _ in page.attributes if name.startswith("on")]


def test_the_page_loads_nothing(folder):
    text = write_report(folder).read_text(encoding="utf-8")
    page = Page(text)
    loading = {"src", "href", "xlink:href", "srcset", "data", "action", "poster"}
    loaded = [value for name, value in page.attributes if name in loading]
    assert all(value.startswith("data:") for value in loaded)
    assert not re.search(r"@import|url\((?!#)|https?:|fetch\(|XMLHttp|import\(", text)
    assert "link" not in page.tags


def test_identifiers_are_unique_and_known(folder):
    page = page_of(folder)
    names = [value for name, value in page.attributes if name == "id"]
    assert len(names) == len(set(names))
    used = {value for name, value in page.attributes if name == "fill" and "url" in value}
    assert used == {f"url(#{name})" for name in names}


def test_colors_follow_the_screen_and_paper_is_light(folder):
    text = write_report(folder).read_text(encoding="utf-8")
    assert "@media screen and (prefers-color-scheme: dark)" in text
    assert "@media print" in text
    assert 'name="viewport"' in text


def test_empty_reports_have_no_empty_sections(tmp_path):
    Report("Ponita").save(tmp_path)
    page = page_of(tmp_path)
    assert page.titles == []
    assert "no set was evaluated" in page.text


def test_folders_of_earlier_versions_are_reported_on(tmp_path):
    metrics = {
        "sets": {"val": {"structures": 9, "forces_rmse": 12.5, "mse": 0.25}},
        "units": {"forces_rmse": "meV/Å"},
        "data": "water: 90 training frames",
    }
    (tmp_path / "metrics.json").write_text(json.dumps(metrics))
    (tmp_path / "parity.png").write_bytes(b"\x89PNG parity")
    page = page_of(tmp_path)
    assert page.titles == ["Data", "Pictures"]
    for words in ("forces rmse", "meV/Å", "12.50", "0.25", "water: 90 training frames"):
        assert words in page.text


def test_evaluations_of_earlier_versions_are_reported_on(tmp_path):
    metrics = {
        "file": "a/hot.xyz",
        "structures": 4,
        "errors": {"energy_mae": 3.0},
        "units": {"energy_mae": "meV"},
    }
    (tmp_path / "metrics.json").write_text(json.dumps(metrics))
    text = page_of(tmp_path).text
    assert "hot" in text
    assert "3.00" in text


def test_a_folder_without_anything_is_refused(tmp_path, capsys):
    with pytest.raises(ConfigError, match=r"holds no report\.json"):
        write_report(tmp_path)
    assert entry.main(["report", str(tmp_path)]) == 1
    assert len(capsys.readouterr().err.splitlines()) == 1


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("report.json", '{"title": "a"'),
        ("report.json", '{"title": "a", "errors": [], "findings": [{}], "published": {}}'),
        ("metrics.csv", "step\nx\xff"),
        ("stamp.json", "[]"),
    ],
)
def test_damaged_files_are_named(folder, name, content):
    (folder / name).write_text(content, encoding="latin-1")
    with pytest.raises(DataError, match=re.escape(name)):
        write_report(folder)


@pytest.mark.parametrize("odd", [None, "many", [1]])
def test_a_record_with_values_of_another_kind_is_named(folder, capsys, odd):
    record = json.loads((folder / "report.json").read_text())
    unsealed = {key: value for key, value in record.items() if key not in {"seal", "sealed"}}
    unsealed["findings"][0]["spreads"] = [
        {**spread, "median": odd} for spread in unsealed["findings"][0]["spreads"]
    ]
    (folder / "report.json").write_text(json.dumps(unsealed))
    assert entry.main(["report", str(folder)]) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"equinet: {folder}")
    assert "cannot be read as" in error
    assert error.count("\n") == 1


def test_the_command_draws_the_report_anew(folder, capsys):
    first = write_report(folder).read_bytes()
    (folder / "report.html").unlink()
    assert entry.main(["report", str(folder)]) == 0
    assert capsys.readouterr().out.strip() == str(folder / "report.html")
    assert (folder / "report.html").read_bytes() == first


def test_an_error_while_drawing_is_a_warning(tmp_path, caplog):
    def fail() -> Report:
        raise ValueError("no such color\nat all")

    with caplog.at_level(logging.WARNING, "equinet"):
        attempt_report(fail, tmp_path)
    assert [record.message for record in caplog.records] == [
        "report.html is not written: ValueError: no such color"
    ]
    assert not list(tmp_path.iterdir())


def test_numbers_that_json_cannot_hold_are_left_out(tmp_path):
    rows = [{"name": "val", "structures": 1, "mse": float("nan")}]
    Report("Ponita", rows=rows).save(tmp_path)
    assert Report.read(tmp_path).rows[0]["mse"] is None
    assert "val" in page_of(tmp_path).text
