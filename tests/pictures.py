"""Pictures of runs, whose drawing takes longer than the short trainings of tests."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(autouse=True, scope="module")
def _pictures_once() -> Iterator[None]:
    """Draw every kind of picture once for each file of tests; copy it where it is drawn again.

    Pictures are of one kind if they have the same name and the same number of panels.
    """
    from matplotlib.figure import Figure

    draw = Figure.savefig
    drawn: dict[tuple[str, int], bytes] = {}

    def save(figure: Figure, path: Path, **options: Any) -> None:
        kind = (Path(path).name.partition(".")[0], len(figure.axes))
        if kind in drawn:
            Path(path).write_bytes(drawn[kind])
            return
        draw(figure, path, **options)
        drawn[kind] = Path(path).read_bytes()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Figure, "savefig", save)
        yield
