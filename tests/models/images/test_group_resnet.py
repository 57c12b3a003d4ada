"""Networks on matrix groups, end to end."""

import pytest
import torch
from torch import nn

from equinet.models import DenseGroupResNet, GroupResNet
from equinet.training import multiply_adds

GROUPS = {
    "se2": {},
    "sim2": {"scales": 2},
    "sl2": {"stretches": 5},
    "gl2": {"stretches": 5, "scales": 2},
}


def digits(count: int = 3) -> torch.Tensor:
    """Random strokes in a black frame."""
    ink = (torch.rand(count, 1, 22, 18) > 0.6).float()
    return nn.functional.pad(ink, [11, 11, 9, 9])


def small(group: str, **options) -> GroupResNet:
    sizes = {"channels": 4, "blocks": 1, "rotations": 4, "hidden": 16, "dropout": 0.0}
    return GroupResNet(group=group, **sizes, **GROUPS[group], **options)


@pytest.mark.parametrize(
    ("group", "separable"), [*[(group, True) for group in GROUPS], ("se2", False), ("sim2", False)]
)
@pytest.mark.parametrize("random_frames", [False, True])
def test_quarter_turns_are_exact_in_training_and_evaluation(
    group: str, separable: bool, random_frames: bool
) -> None:
    model, x = small(group, separable=separable, random_frames=random_frames), digits()
    for training in (True, False):
        model.train(training)
        torch.manual_seed(0)
        expected = model(x)
        assert expected.std(0).max() > 1e-4
        for quarters in (1, 2, 3):
            torch.manual_seed(0)
            turned = model(x.rot90(quarters, (-2, -1)))
            torch.testing.assert_close(turned, expected, rtol=1e-5, atol=1e-5)


def test_moving_by_whole_maps_is_exact() -> None:
    model, x = small("gl2").eval(), digits()
    moved = model(x.roll((4, -4), (-2, -1)))
    still = model(x)
    assert (moved - still).abs().max() < 0.02 * still.std(0).mean()


@pytest.mark.parametrize("group", GROUPS)
def test_frozen_network_has_the_same_logits(group: str) -> None:
    model, x = small(group).eval(), digits()
    frozen = model.freeze()
    with torch.no_grad():
        first, second = model(x), model(x)
        torch.testing.assert_close(frozen(x), first, rtol=1e-5, atol=1e-5)
    assert torch.equal(first, second)
    kinds = {type(module).__name__ for module in frozen.modules()}
    assert not kinds & {"LiftingConv", "GroupConv", "GroupLayerNorm"}


def test_random_frames_move_training_alone() -> None:
    model, x = small("gl2", random_frames=True), digits()
    assert not torch.allclose(model(x), model(x))
    torch.manual_seed(3)
    first = model(x)
    torch.manual_seed(3)
    assert torch.equal(model(x), first)
    fixed = small("gl2")
    fixed.load_state_dict(model.state_dict())
    assert torch.equal(model.eval()(x), fixed.eval()(x))


def test_every_weight_gets_a_gradient() -> None:
    model = small("sl2", random_frames=True)
    model(digits()).square().sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name


def test_volumes() -> None:
    sizes = {"channels": 2, "blocks": 1, "rotations": 24, "hidden": 8, "dropout": 0.0}
    model = GroupResNet(group="se3", expansion=1, **sizes).eval()
    x = nn.functional.pad((torch.rand(1, 1, 8, 8, 8) > 0.5).float(), [2] * 6)
    with torch.no_grad():
        expected = model(x)
        for axes in ((-1, -2), (-1, -3)):
            torch.testing.assert_close(model(x.rot90(1, axes)), expected, rtol=1e-5, atol=1e-5)


def test_the_published_network_with_a_product_rule_is_exact_too() -> None:
    model = DenseGroupResNet(channels=4, rotations=4, stretches=5, rule="product", kernel_width=8)
    model.eval()
    x = digits()
    expected = model(x)
    assert expected.std(0).max() > 1e-4
    torch.testing.assert_close(model(x.rot90(1, (-2, -1))), expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(model.freeze()(x), expected, rtol=1e-5, atol=1e-5)


def test_the_published_network_has_the_published_size() -> None:
    """339 102 parameters, 400 of them gains and 60 for the second of two rotation coordinates."""
    model = DenseGroupResNet()
    gains = 40 * 5
    assert sum(p.numel() for p in model.parameters()) == 339_102 + gains + 3 * 60


def test_separable_kernels_take_a_tenth_of_the_work() -> None:
    image = torch.zeros(1, 40, 40)
    dense, separable = (
        multiply_adds(DenseGroupResNet(separable=choice), image) for choice in (False, True)
    )
    assert dense > 10 * separable
    assert 11.0e9 < dense < 11.5e9  # 11.2e9 by hand


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"group": "sl4"}, "group 'sl4' is unknown"),
        ({"group": "sl2", "stretches": 4}, r"1 \+ 4 k, found 4"),
        ({"pool": "median"}, "pool must be one of mean, max, logsumexp, found 'median'"),
        ({"stretch_window": 0.0}, "stretch of the window must be above 0"),
    ],
)
def test_bad_options_are_named(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        GroupResNet(**options)


def test_images_that_are_too_small_are_refused() -> None:
    with pytest.raises(ValueError, match=r"3 × 3 pixels .* smaller than the kernel"):
        DenseGroupResNet(channels=2, rotations=4, kernel_width=4)(torch.zeros(1, 1, 3, 3))
