"""Kernels that convolutions on groups keep in evaluation."""

import copy

import pytest
import torch
from torch import nn

from equinet.lie import SL, Window, group_quadrature
from equinet.nn import GroupConv, GroupProjection, GroupTensor, LiftingConv

RULE = group_quadrature(SL(2), 4, 5, window=Window(stretch=0.3, scale=0.3))


def images() -> torch.Tensor:
    """Random ink in the middle of a black frame."""
    return nn.functional.pad(torch.rand(2, 1, 8, 8), [4, 4, 4, 4])


@pytest.mark.parametrize("layer", ["lifting", "convolution", "projection"])
def test_kept_kernels_are_those_of_the_present_weights_and_precision(layer: str) -> None:
    rule = RULE
    nets = {
        "lifting": LiftingConv(1, 3, 6, rule, radius=2.0),
        "convolution": GroupConv(3, 4, 3, rule, radius=1.0),
        "projection": GroupProjection(3, 4, 3, rule, radius=1.0),
    }
    net = nets[layer].eval()
    x = images() if layer == "lifting" else GroupTensor(torch.randn(2, 3, len(rule), 8, 8), rule)

    def copied(module: nn.Module) -> nn.Module:
        return copy.deepcopy(module, {id(rule): rule})

    def evaluate(module: nn.Module) -> torch.Tensor:
        found = module(x)
        return found.values if isinstance(found, GroupTensor) else found

    with torch.no_grad():
        first = evaluate(net)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            lowered = evaluate(net)
        assert lowered.dtype == torch.bfloat16
        assert torch.equal(evaluate(net), first), "kernels of another precision are kept"
        for parameter in net.parameters():
            parameter.data.copy_(1.3 * parameter.data + 0.05)
        assert torch.equal(evaluate(net), evaluate(copied(net)))
        assert not torch.equal(evaluate(net), first)
        for step in range(5):
            # Each round's weights are likely to lie where those of the last one were.
            weights = {name: p.detach() + 0.1 * step for name, p in net.named_parameters()}
            fresh = copied(net)
            fresh.load_state_dict(weights, strict=False)
            found = torch.func.functional_call(net, weights, (x,))
            found = found.values if isinstance(found, GroupTensor) else found
            assert torch.equal(found, evaluate(fresh))
            del weights, fresh


def test_kernels_are_evaluated_once_while_nothing_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    net = LiftingConv(1, 3, 6, RULE, radius=2.0).eval()
    calls = []
    weights = net.weights
    monkeypatch.setattr(net, "weights", lambda samples: calls.append(0) or weights(samples))
    with torch.no_grad():
        net(images())
        net(images())
    assert len(calls) == 1


def test_models_of_inference_mode_can_be_called() -> None:
    with torch.inference_mode():
        net = LiftingConv(1, 3, 6, RULE, radius=2.0).eval()
        x = images()
        assert torch.equal(net(x).values, net(x).values)
