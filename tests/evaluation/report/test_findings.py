"""What a report shows of a set: reduced numbers agree with the predictions they come from."""

import dataclasses
import json

import numpy as np
import pytest

from equinet.evaluation import Parity
from equinet.evaluation.report import Findings
from equinet.evaluation.report.findings import Panel


@pytest.fixture
def found(predictions, loader) -> Findings:
    return Findings.of("test", parity=predictions.parity, predictions=predictions, loader=loader)


def test_parity_tells_the_error_of_all_values(predictions, found):
    energies, forces = found.panels
    assert energies.rmse == pytest.approx(0.001)
    assert energies.count == 25
    assert 1000 * forces.rmse == pytest.approx(np.sqrt((24 * 10**2 + 500**2) / 25))
    assert forces.count == 225
    assert np.allclose(forces.true, predictions.true_forces.ravel(), rtol=1e-5)


def test_many_points_are_thinned_but_the_largest_errors_stay():
    true = np.linspace(0, 1, 50_000)
    predicted = true.copy()
    predicted[[7, 43_210]] += 9.0
    (panel,) = Findings.of("a", parity=[Parity("x", true, predicted)]).panels
    assert len(panel.true) < 4000
    errors = np.sort(np.subtract(panel.predicted, panel.true))
    assert errors[-2:] == pytest.approx([9.0, 9.0], rel=1e-4)
    assert panel.rmse == pytest.approx(9 * np.sqrt(2 / 50_000))
    assert panel.count == 50_000


def test_force_errors_by_element_and_by_size(predictions, found):
    errors = 1000 * (predictions.forces - predictions.true_forces)
    by_element = {group.label: group for group in found.elements}
    assert list(by_element) == ["H", "O"]
    oxygen = errors[predictions.numbers == 8]
    assert by_element["O"].atoms == 25
    assert by_element["O"].rmse == pytest.approx(np.sqrt(np.square(oxygen).mean()))
    assert by_element["H"].mae == pytest.approx(np.abs(errors[predictions.numbers == 1]).mean())
    lengths = np.linalg.norm(predictions.true_forces, axis=1)
    by_size = {group.label: group for group in found.sizes}
    inside = (lengths > 1) & (lengths <= 3)
    assert by_size["1 to 3"].atoms == inside.sum()
    assert by_size["1 to 3"].rmse == pytest.approx(np.sqrt(np.square(errors[inside]).mean()))
    assert sum(group.atoms for group in found.sizes) == 75


def test_the_order_of_the_file_is_kept(found):
    forces, energies = found.traces
    assert forces.places == tuple(range(25))
    assert forces.means[7] == pytest.approx(500)
    assert forces.means[8] == pytest.approx(10)
    assert energies.unit == "meV/atom"
    assert np.allclose(energies.means, 1.0)


def test_long_files_are_averaged_over_neighbors(predictions, loader):
    count = 1001
    repeated = dataclasses.replace(
        predictions,
        energy=np.where(np.arange(count) % 2, 0.003, -0.003),
        true_energy=np.zeros(count),
        atoms=np.full(count, 3),
        forces=np.zeros((3 * count, 3)),
        true_forces=np.full((3 * count, 3), np.nan),
        counted=np.zeros(3 * count, dtype=bool),
        numbers=None,
    )
    found = Findings.of("long", parity=(), predictions=repeated)
    (energies,) = found.traces
    assert len(energies.places) <= 300
    assert energies.places[:3] == (0, 4, 8)
    assert energies.means[0] == pytest.approx(0)
    assert (energies.lowest[0], energies.highest[0]) == pytest.approx((-1, 1))
    (spread,) = found.spreads
    assert spread.median == pytest.approx(1.0)  # of the absolute errors
    assert found.elements == found.sizes == ()


def test_percentiles_name_the_worst_structure(found):
    forces, energies = found.spreads
    assert forces.median == pytest.approx(10)
    assert forces.worst == pytest.approx(500)
    assert forces.source.endswith("frame 7")
    assert energies.worst == pytest.approx(1)


def test_the_worst_structures_come_first(predictions, loader, found):
    assert len(found.worst) == 10
    first, second = found.worst[:2]
    frame = loader.dataset.frames[7]
    assert first.source == frame.source
    assert first.formula == "H2O"
    assert first.value == pytest.approx(500)
    assert first.errors == pytest.approx([round(500 * np.sqrt(3), 2)] * 3)
    assert np.allclose(first.positions, frame.positions, atol=1e-3)
    assert first.energy == pytest.approx(1.0)
    assert first.cell == ()
    assert second.value == pytest.approx(10)


def test_fixed_atoms_count_nowhere(predictions, loader):
    counted = np.tile([False, True, True], 25)
    found = Findings.of(
        "free",
        parity=(),
        predictions=dataclasses.replace(predictions, counted=counted),
        loader=loader,
    )
    assert [group.label for group in found.elements] == ["H"]
    assert sum(group.atoms for group in found.sizes) == 50
    assert found.worst[0].errors[0] is None


def test_energies_rank_where_no_force_is_known(predictions, loader):
    energy = predictions.energy.copy()
    energy[3] -= 1
    without = dataclasses.replace(
        predictions,
        energy=energy,
        true_forces=np.full((75, 3), np.nan),
        counted=np.zeros(75, dtype=bool),
    )
    found = Findings.of("energies", parity=(), predictions=without, loader=loader)
    assert found.elements == found.sizes == ()
    assert [spread.label for spread in found.spreads] == ["energy error"]
    assert found.worst[0].source.endswith("frame 3")
    assert found.worst[0].unit == "meV/atom"
    assert set(found.worst[0].errors) == {None}


def test_large_structures_are_drawn_around_the_largest_error(predictions, loader):
    from equinet.evaluation.report.worst import _near_worst

    positions = np.zeros((1000, 3))
    positions[:, 0] = np.arange(1000)
    errors = np.zeros(1000)
    errors[900] = 5
    drawn = _near_worst(positions, errors)
    assert len(drawn) == 400
    assert 900 in drawn
    assert 400 not in drawn


def test_findings_of_other_models_are_their_parity_alone():
    found = Findings.of("val", parity=[Parity("x (eV)", np.array([1.0, np.nan]), np.zeros(2))])
    assert found.panels == (Panel("x (eV)", (1.0,), (0.0,), 1.0, 1),)
    assert found.worst == ()


def test_findings_survive_a_file(found):
    read = Findings.read(json.loads(json.dumps(found.plain())))
    assert json.dumps(read.plain()) == json.dumps(found.plain())
