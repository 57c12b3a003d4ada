"""Preconditioning: the network sees and learns numbers of unit scale at every noise level."""

import pytest
import torch

from equinet.diffusion import loss_weights, noise_input, precondition

LEVELS = torch.tensor([0.01, 0.1, 1.0, 10.0], dtype=torch.float64)


@pytest.mark.parametrize("deviation", [0.1, 1.4])
def test_inputs_and_targets_have_unit_variance(deviation):
    generator = torch.Generator().manual_seed(0)
    data, noise = torch.randn(2, 200_000, 1, generator=generator, dtype=torch.float64)
    data = deviation * data
    skip, out, into = precondition(LEVELS, deviation)
    noisy = data + LEVELS * noise
    inputs, targets = into * noisy, (data - skip * noisy) / out
    for found in (inputs, targets):
        torch.testing.assert_close(found.std(0), torch.ones(4).double(), rtol=0.01, atol=0)
    # Inputs say nothing linear about targets: the best linear denoiser is the one without network.
    assert (inputs * targets).mean(0).abs().max() < 0.01


def test_weights_undo_the_factor_of_the_output_up_to_their_bound():
    _, out, _ = precondition(LEVELS[1:], 1.4)
    torch.testing.assert_close(loss_weights(LEVELS[1:], 1.4), out.square().reciprocal())
    assert loss_weights(LEVELS[:1], 1.4) == 1000


def test_the_network_is_told_a_quarter_of_the_logarithm():
    assert noise_input(torch.tensor(torch.e)).item() == pytest.approx(0.25)
