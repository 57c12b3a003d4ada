"""A tiny labeled set and a tiny model."""

from springs import batch, make_model, tiny_data  # noqa: F401
