"""Training continues a trained potential on other data, elements and energies."""

import json

import numpy as np
import pytest
import torch
from torch_geometric.data import Batch

from equinet import train, zoo
from equinet.configuration import hydra_command
from equinet.data import Frame, to_graph
from equinet.errors import ConfigError, DataError
from equinet.models import Committee, MACEGaunt, extended, most_alike
from equinet.training import prepare_initial

NETWORK = {"channels": 2, "layers": 2, "lmax_filter": 1, "lmax_hidden": 1}


def compose(*overrides):
    return hydra_command.compose("train", ["data=files", *overrides])


def molecule(symbols, number, offset=0.0):
    """Text of a diatomic molecule; ``offset`` is added for each atom."""
    length = 1.053 + 0.01 * number
    pull = 60 * (length - 1.1)
    total = -2000 + 30 * (length - 1.1) ** 2 + 2 * offset
    places = ((symbols[0], 0, pull), (symbols[1], length, -pull))
    rows = [f"{s} 0 0 {z} 0 0 {f:.6f}" for s, z, f in places]
    head = f'Properties=species:S:1:pos:R:3:forces:R:3 energy={total:.8f} pbc="F F F"'
    return "\n".join(["2", head, *rows, ""])


def make(elements=(7, 8), **changes):
    torch.manual_seed(0)
    return MACEGaunt(
        elements=list(elements),
        cutoff=4.0,
        reference_energies=[-1000.0] * len(elements),
        average_neighbors=1.0,
        shift=-1.5,
        **{**NETWORK, **changes},
    ).eval()


@pytest.fixture
def saved(tmp_path):
    zoo.save(make(), tmp_path / "old", {"theory": "PBE"})
    return tmp_path / "old"


@pytest.fixture
def sulfides(tmp_path):
    path = tmp_path / "new.xyz"
    path.write_text("".join(molecule("NS" if k % 2 else "NO", k, 3.0) for k in range(12)))
    return path


def graph_of(numbers):
    frame = Frame(
        np.array(numbers),
        np.array([[0.0, 0, 0], [0, 0.3, 1.1], [1.0, 0, 0.2]])[: len(numbers)],
        np.zeros((3, 3)),
        np.zeros(3, dtype=bool),
    )
    return Batch.from_data_list([to_graph(frame, 4.0)])


def test_old_elements_keep_their_energies_and_a_new_one_starts_like_its_kin():
    old = make()
    new = extended(
        old, elements=[7, 8, 16], reference_energies=[-1000.0, -1000.0, -5000.0], shift_by=0.25
    )
    graph = graph_of([7, 8, 7])
    torch.testing.assert_close(new(graph)["forces"], old(graph)["forces"])
    torch.testing.assert_close(new(graph)["energy"], old(graph)["energy"] + 0.75)
    difference = new(graph_of([7, 16, 7]))["energy"] - new(graph)["energy"]
    torch.testing.assert_close(difference, torch.tensor([-4000.0], dtype=torch.float64))
    assert new.arguments["elements"] == [7, 8, 16]
    pairs = extended(make(pair_radial=True), elements=[7, 8, 6], reference_energies=[0.0, 0.0, 0.0])
    assert pairs.pairs.shape == (3, 3, 8)
    with pytest.raises(ValueError, match="elements must begin with those of the model"):
        extended(old, elements=[8, 7], reference_energies=[0.0, 0.0])


def test_committees_are_extended_member_by_member():
    both = Committee.of([make(), make()])
    new = extended(both, elements=[7, 8, 9], reference_energies=[-1000.0, -1000.0, 1.0])
    assert new.elements == (7, 8, 9)
    graph = graph_of([7, 8])
    torch.testing.assert_close(new(graph)["energy"], both(graph)["energy"])


def test_likeness_of_elements():
    assert most_alike(35, [1, 6, 9, 26]) == 9
    assert most_alike(19, [1, 6, 12]) == 1
    assert most_alike(79, [6, 28, 29, 47]) == 47
    assert most_alike(2, [1, 4, 10]) == 10
    assert most_alike(64, [1, 39, 26]) == 39


def test_a_run_goes_on_from_a_model(saved, sulfides, tmp_path, caplog):
    command = (
        *(f"data.train={sulfides}", "data.val=2", f"init={saved}", "trainer=cpu"),
        *("trainer.max_steps=3", f"run.dir={tmp_path / 'run'}"),
    )
    with caplog.at_level("INFO"):
        train.run(compose(*command, "init_train=[readouts]"))
    old, new = zoo.load(saved), zoo.load(tmp_path / "run")
    assert new.elements == (7, 8, 16)
    assert new.cutoff == 4.0
    torch.testing.assert_close(new.embedding[:2], old.embedding, rtol=0, atol=0)
    torch.testing.assert_close(new.embedding[2], old.embedding[1], rtol=0, atol=0)
    assert not torch.equal(new.readouts[0].weight, old.readouts[0].weight)
    assert "reference energy of N: -1000.000 before" in caplog.text
    assert "reference energy of S: unknown before" in caplog.text
    assert "new elements: S" in caplog.text
    errors = json.loads((tmp_path / "run" / "metrics.json").read_text())["sets"]["val"]
    assert errors["energy_rmse"] < 2000  # meV; the offset alone is 6 eV
    card = zoo.load_card(tmp_path / "run")
    assert card["training_set"]["pairs"] == [[7, 8], [7, 16]]
    train.run(compose(*command, "init_train=[readouts]", "trainer.max_steps=5"))  # resumes
    with pytest.raises(ConfigError, match=r"'readout' is no part of a MACEGaunt; .*readouts"):
        train.run(compose(*command[:-1], f"run.dir={tmp_path / 'r2'}", "init_train=readout"))
    with pytest.raises(ConfigError, match="init_train: '5' is no part of a MACEGaunt"):
        train.run(compose(*command[:-1], f"run.dir={tmp_path / 'r3'}", "init_train=5"))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["model.channels=8"], r"model.channels=8: the network of init=.* has 2; leave out"),
        (["model=equiformer_v2"], "model=equiformer_v2: init=.* continues a MACEGaunt"),
        (["data.cutoff=5.0"], r"data.cutoff=5.0: init=.* has cutoff 4.0; leave out"),
        (["data.theory=wB97X"], "data.theory: wB97X is not PBE, of which .* is by its card"),
        (["task=relaxed_energy"], "is a potential; take task=potential"),
        (["task.members=3"], "task.members: init=.* continues what there is"),
    ],
)
def test_what_contradicts_the_model_is_refused(saved, words, message):
    tree = compose("data.train=a.xyz", f"init={saved}", *words)
    with pytest.raises(ConfigError, match=message):
        prepare_initial(tree, words)


@pytest.mark.parametrize("members", [None, "x", [], [1], [{}]])
def test_a_card_without_members_is_named(saved, members):
    card = json.loads((saved / "card.json").read_text())
    odd = {"class": "Committee", "arguments": {"members": members}}
    (saved / "card.json").write_text(json.dumps(card | odd))
    with pytest.raises(DataError, match=f"{saved} cannot be read as a committee"):
        prepare_initial(compose("data.train=a.xyz", f"init={saved}"))


def test_what_fits_the_model_is_taken_from_it(saved):
    usual = compose("data.train=a.xyz")
    tree = prepare_initial(compose("data.train=a.xyz", f"init={saved / 'card.json'}"))
    assert tree["init"] == str(saved)
    assert tree["model"] == {"_target_": "equinet.models.MACEGaunt", **NETWORK}
    assert tree["data"]["cutoff"] == 4.0
    assert tree["optim"]["lr"] == pytest.approx(0.3 * usual["optim"]["lr"])
    words = ["optim.lr=0.5", "model.channels=2"]
    tree = prepare_initial(compose("data.train=a.xyz", f"init={saved}", *words), words)
    assert tree["optim"]["lr"] == 0.5


def test_earlier_frames_are_replayed(tmp_path, sulfides):
    from equinet.data import AtomisticFiles

    early = tmp_path / "early.xyz"
    early.write_text("".join(molecule("NO", k) for k in range(30)))
    module = AtomisticFiles(train=sulfides, val=2, replay=early, replay_fraction=0.5)
    module.prepare()
    sources = [frame.source for frame in module.train.frames]
    assert len(sources) == 15
    assert sum("early" in source for source in sources) == 5
    assert not any("early" in frame.source for frame in module.val.frames)
