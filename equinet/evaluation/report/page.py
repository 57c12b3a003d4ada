"""The page around the sections of a report."""

from pathlib import Path

from equinet.evaluation.report import circumstances, sections
from equinet.evaluation.report.contents import Contents
from equinet.evaluation.report.markup import Markup, element
from equinet.evaluation.report.style import SCRIPT, STYLE
from equinet.files import reading, write_bytes

PAGE = "report.html"
"""Name of the report in the folder of a run or of an evaluation."""

_SECTIONS = (
    sections.headline,
    sections.data,
    sections.learning,
    sections.parity,
    sections.pictures,
    sections.elements,
    sections.sizes,
    sections.traces,
    sections.spreads,
    sections.worst,
    circumstances.checks,
    circumstances.timings,
    circumstances.reproduction,
)


def render(contents: Contents) -> str:
    """Write the page of a report.

    Args:
        contents: Content of the report.

    Returns:
        HTML that refers to no other file.
    """
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("title", contents.report.title),
        element("style", Markup(STYLE)),
    )
    main = element("main", *(section(contents) for section in _SECTIONS))
    body = element("body", main, element("script", Markup(SCRIPT)))
    return f"<!doctype html>\n{element('html', head, body, lang='en').text}\n"


def write_report(folder: Path) -> Path:
    r"""Write ``report.html`` from the files of a run or of an evaluation.

    Args:
        folder: Directory of a run, or output folder of an evaluation.

    Returns:
        Path of the report.

    Raises:
        ConfigError: The folder is that of no run and no evaluation.
        DataError: A file in the folder is damaged.
        WriteError: The report cannot be written.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as name:
        ...     folder = Path(name)
        ...     _ = folder.joinpath("metrics.csv").write_text("epoch,step,val_loss\n1,5,0.5\n")
        ...     write_report(folder).name
        'report.html'
    """
    contents = Contents.of(folder)
    with reading(folder, "a run or an evaluation"):
        page = render(contents)
    write_bytes(page.encode(), folder / PAGE)
    return folder / PAGE
