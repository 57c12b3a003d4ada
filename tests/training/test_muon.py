"""Muon: orthogonalized steps for matrices, Adam for the rest."""

import copy

import pytest
import torch
from torch import nn

from equinet.models import MACEGaunt
from equinet.nn import DegreeLinear, RadialNetwork
from equinet.training import Muon
from equinet.training.muon import orthogonalize
from equinet.training.tasks.task import channel_matrices, parameter_groups


def with_gradient(*shape: int, seed: int = 0) -> nn.Parameter:
    generator = torch.Generator().manual_seed(seed)
    parameter = nn.Parameter(torch.randn(shape, generator=generator))
    parameter.grad = torch.randn(shape, generator=generator)
    return parameter


@pytest.mark.parametrize("shape", [(8, 8), (3, 16, 8), (2, 3, 8, 16), (1, 5)])
def test_singular_values_come_near_one_and_the_directions_stay(shape):
    matrices = with_gradient(*shape).grad.double()
    result = orthogonalize(matrices)
    left, _, right = torch.linalg.svd(matrices, full_matrices=False)
    inner = left.mT @ result @ right.mT
    values = inner.diagonal(dim1=-2, dim2=-1)
    assert values.min() > 0.6
    assert values.max() < 1.25
    assert (inner - torch.diag_embed(values)).abs().max() < 1e-10


def test_the_length_of_the_gradient_does_not_matter():
    matrices = with_gradient(4, 6).grad.double()
    torch.testing.assert_close(orthogonalize(matrices), orthogonalize(1e-6 * matrices))


def test_no_gradient_no_step():
    assert torch.equal(orthogonalize(torch.zeros(2, 3, 4)), torch.zeros(2, 3, 4))
    parameter = with_gradient(4, 4)
    parameter.grad = None
    before = parameter.detach().clone()
    Muon([{"params": [parameter], "matrices": True}]).step()
    assert torch.equal(parameter.detach(), before)


def test_matrices_that_are_stepped_together_do_not_know_of_each_other():
    shapes = [(3, 6, 6), (6, 6), (2, 2, 6, 6), (6, 4)]
    together = [with_gradient(*shape, seed=seed) for seed, shape in enumerate(shapes)]
    alone = copy.deepcopy(together)
    for left, right in zip(together, alone, strict=True):
        right.grad = left.grad.clone()
        Muon([{"params": [right], "matrices": True}], lr=0.1).step()
    Muon([{"params": together, "matrices": True}], lr=0.1).step()
    for left, right in zip(together, alone, strict=True):
        torch.testing.assert_close(left, right)


@pytest.mark.parametrize("shape", [(16, 16), (4, 32), (32, 4)])
def test_entries_of_a_step_are_about_the_rate(shape):
    parameter = with_gradient(*shape)
    before = parameter.detach().clone()
    Muon([{"params": [parameter], "matrices": True}], lr=0.01, norm="free").step()
    size = (parameter.detach() - before).square().mean().sqrt()
    assert 0.007 < size < 0.013


def after_steps(norm: str, count: int = 30, size: float = 1.0) -> tuple[nn.Parameter, float]:
    """A parameter [3, 6, 4] after steps along one and the same gradient, and its first norm."""
    parameter = with_gradient(3, 6, 4)
    with torch.no_grad():
        parameter.mul_(size)
    before = float(parameter.detach().norm())
    optimizer = Muon([{"params": [parameter], "matrices": True}], lr=0.1, norm=norm)
    for _ in range(count):
        optimizer.step()
    return parameter, before


def test_a_fixed_norm_stays_and_the_direction_moves():
    parameter, before = after_steps("fixed")
    assert float(parameter.detach().norm()) == pytest.approx(before, rel=1e-5)
    start = with_gradient(3, 6, 4).detach()
    assert torch.cosine_similarity(start.flatten(), parameter.detach().flatten(), dim=0) < 0.5


def test_a_capped_norm_grows_by_a_fifth_and_a_free_one_beyond():
    parameter, before = after_steps("capped")
    assert float(parameter.detach().norm()) == pytest.approx(1.2 * before, rel=1e-5)
    parameter, before = after_steps("free")
    assert float(parameter.detach().norm()) > 2 * before


def test_a_matrix_that_begins_at_zero_is_free():
    parameter, _ = after_steps("fixed", size=0.0)
    assert parameter.isfinite().all()
    assert float(parameter.detach().norm()) > 1


def test_norms_of_vectors_are_free():
    parameter = with_gradient(5)
    before = float(parameter.detach().norm())
    optimizer = Muon([parameter], lr=0.5, norm="fixed")
    for _ in range(20):
        optimizer.step()
    assert float(parameter.detach().norm()) > 2 * before


def test_a_resumed_optimizer_keeps_the_first_norm():
    first = with_gradient(4, 4)
    groups = [{"params": [first], "matrices": True}]
    optimizer = Muon(groups, lr=0.1, norm="capped")
    for _ in range(9):
        optimizer.step()
    second = nn.Parameter(first.detach().clone())
    second.grad = first.grad
    restored = Muon([{"params": [second], "matrices": True}], lr=0.1, norm="capped")
    restored.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    for _ in range(9):
        optimizer.step()
        restored.step()
    assert torch.equal(first, second)


def test_the_others_are_stepped_as_adam_steps_them():
    ours, theirs = with_gradient(5), with_gradient(5)
    muon, adam = Muon([ours], lr=0.02), torch.optim.Adam([theirs], lr=0.02)
    for seed in range(4):
        ours.grad = with_gradient(5, seed=seed).grad
        theirs.grad = ours.grad.clone()
        muon.step()
        adam.step()
    torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("matrices", [True, False])
def test_weight_decay_shrinks_by_its_share(matrices):
    parameter = with_gradient(4, 4)
    parameter.grad.zero_()
    before = parameter.detach().clone()
    groups = [{"params": [parameter], "matrices": matrices}]
    Muon(groups, lr=0.1, weight_decay=0.5, norm="free").step()
    torch.testing.assert_close(parameter.detach(), 0.95 * before)


def test_a_restored_optimizer_goes_on_to_the_bit():
    def groups(parameters):
        return [{"params": parameters[:1], "matrices": True}, {"params": parameters[1:]}]

    first = [with_gradient(4, 4), with_gradient(3)]
    optimizer = Muon(groups(first), lr=0.1)
    optimizer.step()
    second = [nn.Parameter(p.detach().clone()) for p in first]
    restored = Muon(groups(second), lr=0.1)
    restored.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    for left, right in zip(first, second, strict=True):
        right.grad = left.grad.clone()
    optimizer.step()
    restored.step()
    for left, right in zip(first, second, strict=True):
        assert torch.equal(left, right)


def test_a_closure_is_evaluated_with_gradients():
    parameter = nn.Parameter(torch.ones(3))

    def closure() -> float:
        parameter.square().sum().backward()
        return 3.0

    assert Muon([parameter], lr=0.1).step(closure) == 3.0
    assert (parameter < 1).all()


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"lr": -1.0}, "lr must be a finite number of at least 0, found -1.0"),
        (
            {"weight_decay": float("nan")},
            "weight_decay must be a finite number of at least 0, found nan",
        ),
        ({"momentum": 1.0}, "momentum must be at least 0 and below 1, found 1.0"),
        ({"betas": (0.9, 1.5)}, "betas must be at least 0 and below 1, found 1.5"),
    ],
)
def test_settings_out_of_range_are_named(settings, sentence):
    with pytest.raises(ValueError, match=sentence):
        Muon([with_gradient(2, 2)], **settings)


def test_a_vector_is_no_matrix():
    with pytest.raises(ValueError, match=r"a matrix needs two dimensions, found shape \[3\]"):
        Muon([{"params": [with_gradient(3)], "matrices": True}])


def test_layers_name_their_matrices():
    model = nn.ModuleList(
        [DegreeLinear(2, 4, 4), RadialNetwork(8, 2, 4, (16,)), nn.Linear(4, 3), nn.Linear(4, 1)]
    )
    expected = [model[0].weight, *model[1].weights, model[2].weight]
    assert [id(p) for p in channel_matrices(model)] == [id(p) for p in expected]


def test_groups_of_a_potential_hold_each_parameter_once():
    model = MACEGaunt(
        elements=(1, 8),
        cutoff=3.0,
        reference_energies=(0.0, 0.0),
        average_neighbors=3.0,
        channels=4,
        radial_hidden=(8,),
    )
    groups = parameter_groups(model)
    assert sorted(id(p) for g in groups for p in g["params"]) == sorted(map(id, model.parameters()))
    in_matrices = {id(p) for g in groups if g["matrices"] for p in g["params"]}
    assert id(model.embedding) not in in_matrices
    assert id(model.interactions[0].many_body.weight) not in in_matrices
    assert id(model.interactions[0].update.weight) in in_matrices
