"""What the depth-wise convolutions of position-orientation networks have in common."""

import torch
from torch import Tensor, nn


class DepthwiseConvolution(nn.Module):
    """Base of convolutions that keep channels apart and can be calibrated."""

    def calibrate(self, x: Tensor, *geometry: Tensor) -> None:
        """Rescale the kernels so that the output varies as much as the input does.

        Where a node has a weight of its own, its neighbors together get as much as it has.

        Depends on the arguments alone: ranks that are given the same batch agree, a second call
        changes nothing, and the weights are saved as any others.

        Args:
            x: Features, as in a call.
            *geometry: The other arguments of a call.

        Raises:
            ValueError: The features do not vary.
        """
        raise NotImplementedError

    @property
    def neighbor_weights(self) -> Tensor:
        """The parameter that all that comes from neighbors is proportional to."""
        raise NotImplementedError


def calibration_gain(before: Tensor, after: Tensor) -> float:
    """Return the factor that gives ``after`` the standard deviation of ``before``.

    Args:
        before: Features in front of a linear map.
        after: Features behind it.

    Raises:
        ValueError: One of the two does not vary.
    """
    deviations = [x.double().std(correction=0).item() for x in (before, after)]
    if min(deviations) == 0:
        raise ValueError(
            "calibrate needs features that vary before and after a convolution, found standard "
            f"deviations {deviations[0]:.3g} and {deviations[1]:.3g}; give it a batch of the data"
        )
    return deviations[0] / deviations[1]


def balance(x: Tensor, itself: Tensor, neighbors: Tensor, own: Tensor, kernel: Tensor) -> Tensor:
    """Rescale two weights so that a node and its neighbors vary alike, their sum as ``x``.

    Args:
        x: Features of the nodes.
        itself: What a node gets from itself, proportional to ``own``.
        neighbors: Sums over their neighbors, proportional to ``kernel``.
        own: Weight of the node itself.
        kernel: Weight of the neighbors.

    Returns:
        The sum, as it is after rescaling.
    """
    share = calibration_gain(itself, neighbors)
    summed = itself + share * neighbors
    gain = calibration_gain(x, summed)
    scale_parameter(gain, own)
    scale_parameter(gain * share, kernel)
    return gain * summed


def scale_parameter(factor: float, parameter: Tensor) -> None:
    """Multiply a parameter in place, outside of autograd."""
    with torch.no_grad():
        parameter.mul_(factor)
