"""Links between the pages of the repository lead to files and to headings that are there."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("experiments/*/*.md")])
GENERATED = {ROOT / "docs" / name for name in ("options.md", "results.md")}


def prose(page: Path) -> str:
    """Text of a page without its blocks of code."""
    return re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)


def anchors(page: Path) -> set[str]:
    """Names of the headings of a page, as GitHub and the documentation make them."""
    headings = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    plain = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings)
    return {heading.replace(" ", "-") for heading in plain}


def links(page: Path) -> Iterator[tuple[str, str]]:
    """Paths and anchors that a page links to, without addresses on the web."""
    for link in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if not re.match(r"https?:|mailto:", link):
            path, _, anchor = link.partition("#")
            yield path, anchor


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    for path, anchor in links(page):
        target = (page.parent / path).resolve() if path else page
        assert target in GENERATED or target.exists(), f"{page.name} links to {path}"
        if anchor and target.suffix == ".md":
            assert anchor in anchors(target), f"{page.name} links to {path}#{anchor}"


def test_a_heading_is_found_under_its_name(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(
        "# What is `said`, first\n\n```bash\n# no heading\n```\n[a](b.md#c) [d](https://e)\n"
    )
    assert anchors(page) == {"what-is-said-first"}
    assert list(links(page)) == [("b.md", "c")]
