"""Files of every kind, damaged at random: each ends in a sentence, never in a crash or a traceback.

Where a file carries a checksum, it is also never read with another content. ``make soak`` tries
many more.
"""

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from damage import WAYS, digest, faults, verdict
from damaged_files import OPEN, SEALED, Kind

MUTANTS = len(WAYS)
SECONDS = 60


@pytest.mark.parametrize("make", [*SEALED, *OPEN], ids=lambda make: make.__name__)
def test_damage_ends_in_a_sentence(make: Callable[[Path], Kind], tmp_path: Path) -> None:
    assert faults(make, tmp_path, range(MUTANTS), seconds=SECONDS) == []


def careless(folder: Path) -> Kind:
    """A reader that crashes, hangs or raises on what it does not expect, and believes the rest."""
    path = folder / "a.txt"
    path.write_text("0123456789" * 10)

    def read() -> str:
        text = path.read_text(encoding="latin-1")
        if not text.strip("\0 \n"):
            os.abort()
        if len(text) > 150:
            time.sleep(60)
        return str(int(text))

    return path, read


def test_the_fuzzer_finds_what_is_wrong(tmp_path: Path) -> None:
    found = faults(careless, tmp_path, range(MUTANTS), seconds=1)
    for word in ("ends the process: SIGABRT", "takes over 1 s", "raises ValueError"):
        assert [line for line in found if word in line], word
    sealed = verdict(Path("a"), lambda: 1, digest(2), sealed=True)
    assert sealed == "is read with other content"
