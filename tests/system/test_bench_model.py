"""The race of potentials by size: fair structures, turns, who is left out, and a sane record."""

import json
import sys
from pathlib import Path

import pytest
from ase.data import atomic_numbers

from equinet import __main__ as entry
from equinet import zoo
from equinet.bench.potentials import Point, Worker, race, race_sizes, structure_of, widths_of
from equinet.bench.potentials.workers import installed_rivals
from equinet.command_line import bench_model
from equinet.data import neighbor_list
from equinet.errors import BackendError
from equinet.neighborhood import Neighborhood

NEAR = Neighborhood(3.0)
FAKE = """
import json, sys
library, model, device = sys.argv[1:]
answer = lambda value: print(json.dumps(value), flush=True)
answer({library: "1.0"})
for line in sys.stdin:
    action = json.loads(line)[0]
    answer({"seconds": %s, "peak": %s} if action == "step" else {})
"""


def numbers(*symbols):
    return [atomic_numbers[symbol] for symbol in symbols]


@pytest.mark.parametrize(
    "elements",
    [numbers("H", "C", "N", "O"), numbers("H", "O"), numbers("Cu"), numbers("Cu", "Au", "O")],
    ids=str,
)
@pytest.mark.parametrize("size", [1, 100, 1000])
def test_structures_have_the_size_the_elements_and_the_density_of_matter(elements, size):
    atoms = structure_of(elements, size)
    unit = len(structure_of(elements, 1))
    side = (size / unit) ** (1 / 3)
    assert abs(len(atoms) - size) <= unit * max(1, (side + 1) * side)
    assert set(atoms.numbers.tolist()) <= set(elements)
    assert size < 100 or set(atoms.numbers.tolist()) == set(elements)
    assert atoms.pbc.all()
    assert 8 < atoms.get_volume() / len(atoms) < 20
    # Displaced by 0.05 Å from the shortest bond, of hydrogen, that is still no clash.
    edges, _ = neighbor_list(atoms.positions, atoms.cell.array, atoms.pbc, 0.7)
    assert edges.size == 0
    assert size < 100 or atoms.cell.lengths().max() < 3 * atoms.cell.lengths().min()
    assert structure_of(elements, size) == atoms


def test_rivals_get_the_widths_of_the_model():
    model = zoo.load("mace-gaunt-3bpa")
    widths = widths_of(model)
    assert json.loads(json.dumps(widths)) == widths
    given = {name: widths[name] for name in ("channels", "lmax_hidden", "correlation", "layers")}
    assert given == {"channels": 64, "lmax_hidden": 2, "correlation": 3, "layers": 2}
    assert widths["elements"] == list(model.elements)
    assert len(widths["reference_energies"]) == len(model.elements)
    assert widths_of(zoo.load("mace-gaunt-3bpa-committee")) is None


@pytest.fixture
def fake(tmp_path, monkeypatch):
    """Make workers that answer with given times and peaks."""

    started = []

    def make(library, seconds="0.25", peak="10**6"):
        file = tmp_path / f"{library}.py"
        file.write_text(FAKE % (seconds, peak))
        monkeypatch.setattr(Path, "with_name", lambda *_: file)
        started.append(Worker(library, sys.executable, "{}", "cpu", tmp_path))
        return started[-1]

    yield make
    for worker in started:
        worker.close()


def test_libraries_take_turns_at_each_size(fake):
    ours, theirs = fake("equinet"), fake("mace-torch", "0.5")
    assert ours.versions == {"equinet": "1.0"}
    found = list(race_sizes([ours, theirs], numbers("Cu"), NEAR, [100, 30]))
    assert [[point.library for point in points] for points in found] == [
        ["equinet", "mace-torch"]
    ] * 2
    assert [points[0].atoms for points in found] == [32, 108]
    assert found[0][0].ms == 250.0
    assert found[0][1].us_per_atom == pytest.approx(500_000 / 32)
    assert found[1][0].kb_per_atom == pytest.approx(1000 / 108)
    assert found[1][0].neighbors == pytest.approx(12, abs=1)


@pytest.mark.parametrize(
    ("seconds", "peak", "reason"),
    [
        ("61.0", "0", "a step of 32 atoms took 61 s"),
        ("0.1", "10**15", "it would need 3375000.0 GB, and "),
        ("sys.exit(3)", "0", "mace-torch stopped; its last words are above"),
    ],
)
def test_who_cannot_go_on_is_left_out_with_a_reason(fake, seconds, peak, reason):
    workers = [fake("equinet"), fake("mace-torch", seconds, peak)]
    found = list(race_sizes(workers, numbers("Cu"), NEAR, [30, 100]))
    (said,) = [each for each in found if isinstance(each, str)]
    assert said.startswith("mace-torch is left out from ")
    assert reason in said
    points = [each for each in found if not isinstance(each, str)]
    assert [point.library for point in points[-1]] == ["equinet"]


def test_a_python_that_does_not_start_is_refused():
    with pytest.raises(BackendError, match="MACE_PYTHON names '/nowhere', which is no Python"):
        installed_rivals("/nowhere")


def test_rows_say_how_many_times_faster_we_are():
    ours = Point("equinet", 100, 40.0, 2.0, (1.0, 3.0), 5, 10**6)
    theirs = Point("mace-torch", 100, 40.0, 30.0, (29.0, 31.0), 5, 10**7)
    first, second = bench_model.table_rows([ours, theirs])
    assert first.split() == ["100", "40.0", "equinet", "2.00", "20.0", "10.0"]
    assert second.split() == ["mace-torch", "30.00", "300.0", "100.0", "15.0×", "as", "fast"]
    (alone,) = bench_model.table_rows([theirs])
    assert "fast" not in alone


def test_the_command_draws_the_curve_and_keeps_a_record(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(race, "_WARM_UP", 1)
    monkeypatch.setattr(race, "_MOST", 3)
    monkeypatch.delenv("MACE_PYTHON", raising=False)
    words = ["bench", "--model", "mace-gaunt-3bpa", "--atoms", "10", "--out", str(tmp_path)]
    assert entry.main(words) == 0
    said = capsys.readouterr().out
    assert "Not compared: mace-torch and symmetrix-xl" in said
    record = json.loads((tmp_path / "bench_model.json").read_text())
    (point,) = record["points"]
    assert (point["library"], point["atoms"], point["rounds"]) == ("equinet", 9, 3)
    assert point["us_per_atom"] == pytest.approx(1000 * point["ms"] / 9)
    assert point["peak_bytes"] > 0
    assert set(record["versions"]["equinet"]) == {"equinet", "torch"}
    assert {"time", "command", "commit", "hardware", "model", "device"} <= set(record)
    assert (tmp_path / "bench_model.png").stat().st_size > 10_000


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--atoms", "10"), "--atoms has a meaning with --model alone; leave it out"),
        (("--model", "x", "--lmax", "2"), "--lmax has no meaning with --model; leave it out"),
        (("--model", "mace-gaunt-3bpa", "--atoms", "0"), "--atoms must be at least 1, found 0"),
        (("--model", "nowhere"), "there is no folder or zoo model 'nowhere'"),
    ],
)
def test_odd_requests_get_a_sentence(words, sentence, tmp_path, capsys):
    assert entry.main(["bench", "--out", str(tmp_path), *words]) == 1
    assert sentence in capsys.readouterr().err
