"""The limit of open files is raised where that is allowed, and named where it is not."""

import resource

import pytest

from equinet.data import NBody
from equinet.data.loading.descriptors import allow_descriptors
from equinet.errors import DataError


@pytest.fixture
def limits(monkeypatch):
    """Limits as the system states them, kept from the test's own process."""
    state = {}
    monkeypatch.setattr(resource, "getrlimit", lambda _: state["limits"])
    monkeypatch.setattr(resource, "setrlimit", lambda _, found: state.update(limits=found))
    return state


@pytest.mark.parametrize(
    ("workers", "before", "after"),
    [(0, (64, 64), (64, 64)), (2, (64, 4096), (144, 4096)), (2, (1024, 4096), (1024, 4096))],
)
def test_the_limit_is_raised_as_far_as_needed(limits, workers, before, after):
    limits["limits"] = before
    allow_descriptors(workers)
    assert limits["limits"] == after


def test_too_low_a_limit_is_named_with_what_would_do(limits):
    limits["limits"] = (64, 100)
    with pytest.raises(
        DataError, match=r"2 loading .* 144 open files.* allows 100 .*num_workers=0"
    ):
        NBody(num_workers=2)
