"""The faults are faults: each one changes the text, and the changed text still compiles."""

import ast
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from changes import native_changes, python_changes

TEXT = '''
"""A module."""
from math import pi  # é, which takes two bytes

WIDTH: int = 3


def area(radius, count=1):
    """Do not change 3 + 4 in here."""
    if not radius < 0 and count >= 2:
        raise ValueError(f"{radius + 1} is too much")
    return max(pi * radius**2, join(radius, count)) - WIDTH
'''


def test_every_change_compiles_and_differs():
    changes = python_changes(TEXT)
    assert len(changes) == len(set(changes)) > 10
    for change in changes:
        changed = change.applied_to(TEXT)
        assert ast.dump(ast.parse(changed)) != ast.dump(ast.parse(TEXT))
        assert change.before.split("\n")[0] in TEXT.split("\n")[change.line - 1]


@pytest.mark.parametrize(
    "expected",
    [
        "not radius < 0  ->  (radius < 0)",
        "radius < 0  ->  (radius <= 0)",
        "count >= 2  ->  (count > 2)",
        "join(radius, count)  ->  join(count, radius)",
        "pi * radius**2  ->  (pi / radius ** 2)",
        "pi * radius**2  ->  (pi)",
        "3  ->  4",
        "not radius < 0 and count >= 2  ->  (not radius < 0 or count >= 2)",
    ],
)
def test_kinds_of_faults(expected):
    assert expected in {str(change) for change in python_changes(TEXT)}


def test_messages_docstrings_and_annotations_stay():
    changed = "\n".join(change.applied_to(TEXT) for change in python_changes(TEXT))
    assert changed.count("3 + 4 in here") == changed.count("too much")
    assert "radius + 1" in changed
    assert "radius - 1" not in changed


def test_comments_and_the_preprocessor_of_native_code_stay():
    text = "#if A < 2\nint f(int a) { return a + 2 * a; }  // a + b\n"
    changes = native_changes(text)
    assert {str(change) for change in changes} >= {"+  ->  -", "2 *  ->  "}
    assert all(change.line == 2 for change in changes)
