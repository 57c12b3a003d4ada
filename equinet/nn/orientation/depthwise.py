"""The base of the depth-wise convolutions of position-orientation networks."""

import torch
from torch import Tensor, nn


class DepthwiseConv(nn.Module):
    """Base of convolutions that keep channels apart and can be calibrated.

    Example:
        >>> from equinet.nn import PositionConv
        >>> layer, edge_index = PositionConv(8, 4), torch.tensor([[1, 0], [0, 1]])
        >>> x, basis = torch.randn(2, 8), torch.randn(2, 4)
        >>> layer.calibrate(x, basis, edge_index)
        >>> bool((layer(x, basis, edge_index).std() / x.std() - 1).abs() < 1e-3)
        True
    """

    def calibrate(self, x: Tensor, *geometry: Tensor) -> None:
        """Rescale the kernels so that the output varies as much as the input does.

        If the layer has a weight for the node itself, this term and the sum over the neighbors are
        scaled to equal variance.

        The result depends on the arguments alone: processes that are given the same batch agree, a
        second call changes nothing, and the weights are saved as any others.

        Args:
            x: Features as in a call.
            *geometry: Other arguments of a call.

        Raises:
            ValueError: If the features do not vary.
        """
        raise NotImplementedError

    @property
    def neighbor_weights(self) -> Tensor:
        """Parameter to which the sum over the neighbors is proportional."""
        raise NotImplementedError


def calibration_gain(before: Tensor, after: Tensor) -> float:
    """Return the factor that gives ``after`` the standard deviation of ``before``.

    Args:
        before: Features in front of a linear map.
        after: Features behind the linear map.

    Raises:
        ValueError: If one of the two does not vary.
    """
    deviations = [x.double().std(correction=0).item() for x in (before, after)]
    if min(deviations) == 0:
        raise ValueError(
            "calibrate needs features that vary before and after a convolution, found standard "
            f"deviations {deviations[0]:.3g} and {deviations[1]:.3g}; give it a batch of the data"
        )
    return deviations[0] / deviations[1]


def balance(x: Tensor, itself: Tensor, neighbors: Tensor, own: Tensor, kernel: Tensor) -> Tensor:
    """Rescale two weights so that a node and its neighbors vary alike, and their sum like ``x``.

    Args:
        x: Features of the nodes.
        itself: Part of the output that comes from the node itself, proportional to ``own``.
        neighbors: Sums over the neighbors, proportional to ``kernel``.
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
    """Multiply a parameter in place, outside of autograd.

    Example:
        >>> weight = torch.ones(2, requires_grad=True)
        >>> scale_parameter(3.0, weight)
        >>> weight
        tensor([3., 3.], requires_grad=True)
    """
    with torch.no_grad():
        parameter.mul_(factor)
