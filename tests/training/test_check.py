"""The first-batch check passes sound models and catches the three known ways to be unsound."""

import copy

import pytest
import torch
from torch import Tensor

from equinet.lie import random_rotations
from equinet.models import EquiformerV2
from equinet.models.potential import Potential
from equinet.training import FirstBatchCheck, ModelCheckError, measure
from equinet.training.check import rotated, smallest


class _Springs(Potential):
    """Pair energies of a distance, with ways to go wrong."""

    def __init__(self, fault: str = "", **arguments) -> None:
        super().__init__(**arguments)
        self.fault = fault
        self.strength = torch.nn.Parameter(torch.tensor(0.3))

    def atomic_energies(self, species, vectors, edge_index) -> Tensor:
        length = vectors.norm(dim=-1)
        if self.fault == "frame":
            length = (vectors * vectors.new_tensor([1.0, 1.1, 0.9])).norm(dim=-1)
        if self.fault == "handed":
            length = length * (1 + 0.01 * vectors.roll(1, 0).cross(vectors, -1).sum(-1))
        energy = self.strength * (length - 1.0).square()
        return energy.new_zeros(species.shape[0]).index_add(0, edge_index[1], energy)

    def forward(self, graph, **options):
        results = super().forward(graph, **options)
        if self.fault == "scaled":
            results["forces"] = results["forces"] * 1.01
        if self.fault == "zero":
            results["forces"] = results["forces"] * 0.0
        if self.fault == "nan":
            results["forces"] = results["forces"] * torch.nan
        return results


@pytest.fixture
def springs(tiny_data):
    def make(fault: str = "") -> _Springs:
        return _Springs(
            fault,
            elements=tiny_data.statistics.elements,
            reference_energies=tiny_data.statistics.reference_energies,
            cutoff=tiny_data.cutoff,
        )

    return make


def test_a_sound_model_passes_by_a_wide_margin(make_model, batch):
    graph = smallest(batch)
    found = measure(make_model(), graph)
    assert found.force_scale > 1e-3
    assert max(found.rotation_energy, found.rotation_forces, found.gradient) < 1e-8
    FirstBatchCheck().judge(found)


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("frame", "rotation or reflection"),
        ("handed", "rotation or reflection"),
        ("scaled", "differ from the gradient"),
        ("zero", "differ from the gradient"),
        ("nan", "not finite"),
    ],
)
def test_unsound_models_are_stopped(springs, batch, fault, words):
    found = measure(springs(fault), smallest(batch))
    with pytest.raises(ModelCheckError, match=words):
        FirstBatchCheck().judge(found)
    FirstBatchCheck().judge(measure(springs(), smallest(batch)))


def test_forces_that_are_no_gradient_may_be_declared(springs, batch):
    found = measure(springs("scaled"), smallest(batch))
    FirstBatchCheck(conservative=False).judge(found)


@pytest.mark.parametrize("forces", ["direct", "gradient"])
def test_a_model_is_taken_at_its_word(tiny_data, batch, forces):
    model = EquiformerV2(
        elements=tiny_data.statistics.elements,
        reference_energies=tiny_data.statistics.reference_energies,
        cutoff=tiny_data.cutoff,
        average_neighbors=3.0,
        **dict.fromkeys(("channels", "attention_hidden", "alpha_channels", "radial_basis"), 4),
        blocks=1,
        lmax=2,
        mmax=1,
        heads=2,
        edge_channels=4,
        forces=forces,
    )
    found = measure(model, smallest(batch))
    assert (found.gradient is None) == (forces == "direct")
    assert max(found.rotation_energy, found.rotation_forces) < 1e-4 * found.force_scale
    FirstBatchCheck().judge(found)
    model.mirror_symmetric = True  # it is not
    assert measure(model, smallest(batch)).rotation_forces > 1e-3 * found.force_scale


def test_a_run_with_an_unsound_model_stops_before_its_first_step(run_fit, monkeypatch):
    from equinet.models import MACEGaunt

    sound = MACEGaunt.forward

    def wrong(self, graph, **options):
        results = sound(self, graph, **options)
        return results | {"forces": results["forces"].flip(-1)}

    monkeypatch.setattr(MACEGaunt, "forward", wrong)
    with pytest.raises(ModelCheckError):
        run_fit(extra=(FirstBatchCheck(),))


def test_measuring_changes_nothing(make_model, batch):
    model = make_model().train()
    before = copy.deepcopy(model.state_dict())
    state = torch.get_rng_state()
    measure(model, smallest(batch))
    assert model.training
    assert torch.equal(torch.get_rng_state(), state)
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])
        assert value.dtype == before[name].dtype
    assert all(p.grad is None for p in model.parameters())


def test_rotating_keeps_edges_valid(batch):
    rotation = -random_rotations(1)[0]
    graph = batch.clone()
    graph.cell = torch.randn(batch.cell.shape, dtype=torch.float64)
    graph.edge_shift = torch.ones_like(batch.edge_shift)

    def lengths(g):
        sender, receiver = g.edge_index
        shift = torch.einsum("ei,eij->ej", g.edge_shift, g.cell[g.batch[receiver]])
        return (g.pos[sender] - g.pos[receiver] + shift).norm(dim=-1)

    assert torch.allclose(lengths(rotated(graph, rotation)), lengths(graph), atol=1e-12)


def test_smallest_structure_of_a_batch(batch):
    sizes = batch.batch.bincount()
    assert smallest(batch).pos.shape[0] == int(sizes.min())


def test_a_model_is_rotated_by_the_symmetries_it_names(springs, batch, monkeypatch):
    model, graph = springs("frame"), smallest(batch)
    assert measure(model, graph).rotation_energy > 1e-3
    flips = torch.diag_embed(torch.tensor([[1.0, -1, -1], [-1, 1, -1], [-1, -1, 1]]).double())
    monkeypatch.setattr(type(model), "symmetry", flips)
    assert measure(model, graph).rotation_energy < 1e-12
    monkeypatch.setattr(type(model), "symmetry", torch.cat([flips, -flips]))
    assert measure(model, graph).rotation_forces < 1e-12
