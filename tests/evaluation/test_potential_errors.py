"""Errors as sums: independent of how a set is cut into batches."""

from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from equinet.evaluation import POTENTIAL_ERRORS, units
from equinet.training import LossWeights, PotentialErrors, Residuals


def _residuals(graphs: int, seed: int = 0) -> list[Residuals]:
    generator = torch.Generator().manual_seed(seed)
    made = []
    for index in range(graphs):
        atoms = 1 + index % 3
        made.append(
            Residuals(
                torch.randn(1, generator=generator, dtype=torch.float64),
                torch.tensor([float(atoms)], dtype=torch.float64),
                torch.randn(atoms, 3, generator=generator, dtype=torch.float64),
                torch.randn(1, 3, 3, generator=generator, dtype=torch.float64),
            )
        )
    return made


def _join(parts: list[Residuals]) -> Residuals:
    return Residuals(
        *(
            torch.cat([getattr(p, f) for p in parts])
            for f in ("energy", "atoms", "forces", "stress")
        )
    )


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(0, 6), max_size=3), st.sampled_from(["squared", "absolute"]))
def test_any_batching_gives_the_errors_of_the_whole(cuts, kind):
    parts = _residuals(7)
    weights = LossWeights(2.0, 3.0, 4.0, kind)
    metric = PotentialErrors(weights)
    borders = [0, *sorted(cuts), 7]
    for start, stop in pairwise(borders):
        if start < stop:
            metric.update(_join(parts[start:stop]))
    whole = _join(parts)
    found = metric.compute()
    expected = {
        "energy_rmse": 1000 * whole.energy.square().mean().sqrt(),
        "energy_mae": 1000 * whole.energy.abs().mean(),
        "energy_rmse_per_atom": 1000 * (whole.energy / whole.atoms).square().mean().sqrt(),
        "energy_mae_per_atom": 1000 * (whole.energy / whole.atoms).abs().mean(),
        "forces_rmse": 1000 * whole.forces.square().mean().sqrt(),
        "forces_mae": 1000 * whole.forces.abs().mean(),
        "stress_rmse": 1000 * whole.stress.square().mean().sqrt(),
        "stress_mae": 1000 * whole.stress.abs().mean(),
        "loss": weights.loss(whole),
    }
    assert found.keys() == expected.keys() == units(POTENTIAL_ERRORS).keys()
    for name, value in expected.items():
        assert float(found[name]) == pytest.approx(float(value), rel=1e-12), name


def test_sums_stay_in_float64_when_the_module_is_cast():
    metric = PotentialErrors().float()
    metric.update(_residuals(1)[0])
    assert metric.sums.dtype == torch.float64


def test_columns_carry_ascii_units():
    columns = {error.name: error.column for error in POTENTIAL_ERRORS}
    assert columns["energy_rmse_per_atom"] == "energy_rmse_per_atom_meV"
    assert columns["loss"] == "loss"
    assert all(column.isascii() for column in columns.values())
