"""Plain convolutions of torch in two and three dimensions."""

from jaxtyping import Float
from torch import Tensor, nn

CONVOLUTIONS = {2: nn.functional.conv2d, 3: nn.functional.conv3d}
MODULES: dict[int, type[nn.Conv2d | nn.Conv3d]] = {2: nn.Conv2d, 3: nn.Conv3d}


def plain_convolution(
    weight: Float[Tensor, "map_out map_in *space"], maps: int, *, stride: int = 1, padding: int = 0
) -> nn.Module:
    """Return a convolution of torch without bias that has given weights, in evaluation mode.

    Args:
        weight: Weights [C_out, C_in / groups, ...].
        maps: Number of maps C_in of the input; the number of groups follows from it.
        stride: Distance in pixels between two positions of the output.
        padding: Rows of zeros that are added on every side.

    Returns:
        The convolution, whose weights need no gradients.

    Example:
        >>> plain_convolution(torch.ones(4, 1, 3, 3), 4)
        Conv2d(4, 4, kernel_size=(3, 3), stride=(1, 1), groups=4, bias=False)
    """
    plain = MODULES[weight.ndim - 2](
        maps,
        weight.shape[0],
        weight.shape[-1],
        stride=stride,
        padding=padding,
        groups=maps // weight.shape[1],
        bias=False,
    )
    plain.weight = nn.Parameter(weight.detach().clone(), requires_grad=False)
    return plain.eval()
