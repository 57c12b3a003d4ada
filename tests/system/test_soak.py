"""The soak finds work that a kill or a full disk tears, and passes work that is whole."""

from collections.abc import Callable
from pathlib import Path

import pytest
from soak.deeds import Deed, files_of
from soak.disk import filled
from soak.kills import chains
from soak.load import growth
from soak.table import Row, table

from equinet.errors import EquinetError
from equinet.files import remove_partials, write_bytes

CONTENT = b"0123456789" * 100


def whole(folder: Path) -> None:
    remove_partials(folder)
    for name in "abc":
        write_bytes(CONTENT, folder / name)


def torn(folder: Path) -> None:
    """Believes that a file that is there is whole, and writes it in two pieces."""
    for name in "abc":
        if not (folder / name).exists():
            try:
                (folder / name).write_bytes(CONTENT[:500])
                with (folder / name).open("ab") as file:
                    file.write(CONTENT[500:])
            except OSError as error:
                raise EquinetError("no room") from error


def traceback(folder: Path) -> None:
    for name in "abc":
        (folder / name).write_bytes(CONTENT)


def deed(do: Callable[[Path], None]) -> Deed:
    def broken(folder: Path) -> str:
        wrong = [path.name for path in folder.glob("?") if path.read_bytes() != CONTENT]
        return f"{wrong} are torn" if wrong else ""

    return Deed(do.__name__, do, files_of, broken)


@pytest.mark.parametrize("try_all", [chains, filled])
def test_whole_work_passes(try_all: Callable[..., Row], tmp_path: Path) -> None:
    row = try_all(deed(whole), 6, tmp_path, 0)
    assert row.faults == []
    assert row.cases >= 6


@pytest.mark.parametrize("do", [torn, traceback])
def test_torn_work_and_tracebacks_on_a_full_disk_are_found(
    do: Callable[[Path], None], tmp_path: Path
) -> None:
    row = filled(deed(do), 6, tmp_path, 0)
    assert row.faults
    assert all(do.__name__ in fault for fault in row.faults)


def test_kills_at_operations_on_files_find_torn_work(tmp_path: Path) -> None:
    folders = [tmp_path / str(seed) for seed in range(4)]
    for folder in folders:
        folder.mkdir()
    # Where a busy machine is slow, all kills of a seed can miss the moment.
    rows = (chains(deed(torn), 24, folder, seed) for seed, folder in enumerate(folders))
    assert any("torn" in fault for row in rows for fault in row.faults)


def test_growth_is_told_from_warm_up() -> None:
    assert growth([50, *[100] * 39]) == 0.0
    assert growth([100 + number for number in range(40)]) > 0.1


def test_the_table_lists_failures() -> None:
    text = table([Row("kills", "train", 3, ["one"], 1.5), Row("disk", "train", 2, [], 0.5)])
    assert "  FAILURE one" in text
    assert text.splitlines()[-1].split() == ["all", "5", "1", "2.0"]
