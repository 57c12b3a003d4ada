"""A cap on neighbors belongs to the model: whoever builds graphs for it follows it."""

import ase.io
import numpy as np
import pytest
import torch
from oc20_files import slab, write_pair
from torch_geometric.data import Batch

from equinet import __main__ as entry
from equinet import evaluate, train, zoo
from equinet.configuration import hydra_command
from equinet.data import frame_to_atoms, read_s2ef, to_graph
from equinet.integrations.ase import EquinetCalculator
from equinet.models import MACEGaunt, PonitaPotential
from equinet.neighborhood import Neighborhood

CAP = {"max_neighbors": 5, "tie_tolerance": 0.01}
TINY = (
    *("model.channels=4", "model.blocks=1", "model.lmax=2", "model.heads=2"),
    *("model.attention_hidden=4", "model.edge_channels=4", "model.radial_basis=8"),
)


def compose(name, *overrides):
    return hydra_command.compose(name, list(overrides))


@pytest.fixture(scope="module")
def download(tmp_path_factory):
    root = tmp_path_factory.mktemp("download")
    for place, (split, count) in enumerate((("s2ef_train", 10), ("s2ef_val_id", 4))):
        frames = [slab(100 * place + i, metals=4 + i % 5) for i in range(count)]
        write_pair(root / split, 0, frames)
    return root


@pytest.fixture(scope="module")
def trained(download, tmp_path_factory):
    """A run on capped graphs."""
    path = tmp_path_factory.mktemp("run") / "run"
    cap = [f"data.{name}={value}" for name, value in CAP.items()]
    tree = compose(
        *("train", "+experiment=oc20", f"data.root={download}", "data.val_size=2"),
        *("data.cutoff=4", "trainer=cpu", "trainer.max_epochs=3", "trainer.precision=64-true"),
        *("logger=csv", f"data.cache={path.parent}", f"run.dir={path}", *cap, *TINY),
    )
    train.run(tree)
    return path


@pytest.fixture(scope="module")
def frames(download):
    return read_s2ef(download / "s2ef_val_id")


@pytest.fixture(scope="module")
def expected(trained, frames):
    """Energies and forces from graphs that were capped by hand, and those of all neighbors."""
    model = zoo.load(trained)
    results = []
    for cap in (CAP, {}):
        batch = Batch.from_data_list([to_graph(frame, 4.0, **cap) for frame in frames])
        found = model(batch)
        results.append((found["energy"].detach().numpy(), found["forces"].detach().numpy()))
    (capped, forces), (whole, _) = results
    assert np.abs(capped - whole).max() > 1e-3, "the cap makes no difference, so nothing is tested"
    return capped, forces


def test_the_card_records_how_graphs_are_built(trained):
    model = zoo.load(trained)
    assert model.neighborhood == Neighborhood(4.0, **CAP)
    assert zoo.load_card(trained)["arguments"].items() >= CAP.items()


def test_evaluation_of_a_file(trained, frames, expected, tmp_path):
    ase.io.write(tmp_path / "held.extxyz", [frame_to_atoms(frame) for frame in frames])
    evaluate.run(
        compose("evaluate", f"checkpoint={trained}", f"data.file={tmp_path / 'held.extxyz'}")
    )
    images = ase.io.read(trained / "evaluate" / "held" / "predictions.extxyz", ":")
    found = [atoms.info["predicted_energy"] for atoms in images]
    assert np.allclose(found, expected[0], atol=1e-9)
    forces = np.concatenate([atoms.arrays["predicted_forces"] for atoms in images])
    assert np.allclose(forces, expected[1], atol=1e-7)  # the file holds eight decimals


def test_evaluation_of_a_store(download, trained, frames, expected, tmp_path, capsys):
    assert entry.main(["data", "convert", str(download), str(tmp_path), "--processes", "1"]) == 0
    file = tmp_path / "submission.npz"
    command = ["oc20", "evaluate", str(trained), str(tmp_path), "--submission", str(file)]
    assert entry.main(command) == 0
    with np.load(file) as found:
        order = np.argsort([f"{7000 + i}_{i}" for i in range(len(frames))])
        assert np.allclose(found["id_energy"], expected[0][order], atol=1e-5)  # float32


def test_calculator(trained, frames, expected):
    calculator = EquinetCalculator(trained)
    ends = np.cumsum([len(frame) for frame in frames])[:-1]
    for frame, energy, forces in zip(frames, expected[0], np.split(expected[1], ends), strict=True):
        atoms = frame_to_atoms(frame)
        atoms.calc = calculator
        assert atoms.get_potential_energy() == pytest.approx(energy, abs=1e-9)
        assert np.allclose(atoms.get_forces(apply_constraint=False), forces, atol=1e-9)


@pytest.mark.parametrize("kind", [MACEGaunt, PonitaPotential])
def test_every_potential_keeps_it(kind, tmp_path):
    sizes = {"channels": 4, "layers": 1}
    known = {"elements": [1], "reference_energies": [0.0], "average_neighbors": 3.0}
    model = kind(cutoff=3.0, **known, **sizes, **CAP)
    zoo.save(model, tmp_path, {})
    assert zoo.load(tmp_path).neighborhood == Neighborhood(3.0, **CAP)
    assert kind(cutoff=3.0, **known, **sizes).neighborhood.max_neighbors is None
    for wrong in ({"max_neighbors": 0}, {"tie_tolerance": 0.1}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            kind(cutoff=3.0, **known, **sizes, **wrong)


def test_old_cards_mean_no_cap(trained, tmp_path):
    torch.manual_seed(0)
    model = MACEGaunt(
        elements=[1], cutoff=3.0, reference_energies=[0.0], average_neighbors=3.0, channels=4
    )
    zoo.save(model, tmp_path, {})
    assert "max_neighbors" not in zoo.load_card(tmp_path)["arguments"]
    assert zoo.load(tmp_path).neighborhood.max_neighbors is None
