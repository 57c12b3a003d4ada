"""Measuring the operations: problems to run, rivals to race, pictures of the result."""

OPS = (
    "gaunt_product",
    "bracket_product",
    "gaunt_powers",
    "gaunt_convolution",
    "orientation_convolution",
)
"""The ops with several backends, which doctor checks and bench times."""
