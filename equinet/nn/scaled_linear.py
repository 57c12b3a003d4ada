"""Linear maps whose weights stay at unit variance."""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn


class ScaledLinear(nn.Module):
    """Apply a linear map whose weights have unit variance and are scaled in the call.

    They are divided by the square root of the number of inputs whenever they are used. Kernels of
    convolutions are treated alike, so that one learning rate fits all parameters.

    Args:
        inputs: Number of inputs.
        outputs: Number of outputs.

    Example:
        >>> ScaledLinear(4, 3)(torch.zeros(2, 4))
        tensor([[0., 0., 0.],
                [0., 0., 0.]], grad_fn=<AddmmBackward0>)
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs))
        self.bias = nn.Parameter(torch.zeros(outputs))

    def channel_matrices(self) -> list[Tensor]:
        """Return the weight."""
        return [self.weight]

    def forward(self, x: Float[Tensor, "*batch input"]) -> Float[Tensor, "*batch output"]:
        """Apply the map."""
        return nn.functional.linear(x, self.weight / math.sqrt(x.shape[-1]), self.bias)
