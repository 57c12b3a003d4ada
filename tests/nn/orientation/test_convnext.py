"""The residual block of position-orientation networks."""

import torch
from orientation_layers import EDGES, draw

from equinet.nn import (
    ConvNeXtBlock,
    PositionConv,
)


def test_block_adds_its_input():
    layer = PositionConv(4, 5).double()
    block = ConvNeXtBlock(layer, 4).double()
    x, basis = draw(6, 4), draw(20, 5)
    for parameter in block.mixing[-1].parameters():
        torch.nn.init.zeros_(parameter)
    assert torch.equal(block(x, basis, EDGES), x)
