"""Published numbers."""

import pytest

from equinet.evaluation.published import published_properties, published_rows


def test_rows_at_room_temperature():
    rows = {row.model: row for row in published_rows("test_300K.xyz")}
    assert rows["MACE-Gaunt"].errors == {"energy_rmse": 2.9, "forces_rmse": 9.2}
    assert rows["MACE L=2"].errors == {"energy_rmse": 3.0, "forces_rmse": 8.8}


def test_missing_numbers_are_left_out():
    assert "GAP" not in {row.model for row in published_rows("test_dih.xyz")}
    assert len(published_rows("test_dih.xyz")) == 5


@pytest.mark.parametrize("name", ["", "train_300K.xyz", "mine.xyz"])
def test_other_files_have_none(name):
    assert published_rows(name) == []


def test_properties_have_the_rows_of_the_models_that_report_them():
    rows = {row.model: row.errors for row in published_properties(["mu", "U0"])}
    assert rows["EGNN"] == {"mu_mae": 0.029}
    assert rows["PONITA, lifted"] == {"mu_mae": 0.0115, "U0_mae": 9.20}
    assert "EGNN" not in {row.model for row in published_properties(["U0"])}
    assert published_properties(["dipole_vector"]) == []
