"""Published numbers."""

import pytest

from equinet.evaluation.published import published_rows


def test_rows_at_room_temperature():
    rows = {row.model: row for row in published_rows("test_300K.xyz")}
    assert (rows["MACE-Gaunt"].energy_rmse, rows["MACE-Gaunt"].forces_rmse) == (2.9, 9.2)
    assert (rows["MACE L=2"].energy_rmse, rows["MACE L=2"].forces_rmse) == (3.0, 8.8)


def test_missing_numbers_are_left_out():
    assert "GAP" not in {row.model for row in published_rows("test_dih.xyz")}
    assert len(published_rows("test_dih.xyz")) == 5


@pytest.mark.parametrize("name", ["", "train_300K.xyz", "mine.xyz"])
def test_other_files_have_none(name):
    assert published_rows(name) == []
