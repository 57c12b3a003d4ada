"""Whole commands draw few pictures."""

from pictures import _pictures_once  # noqa: F401 - a fixture
