"""Cosines and sines of the multiples of an angle, from the cosine and sine of the angle."""

import torch
from jaxtyping import Float
from torch import Tensor


def angle_multiples(
    lmax: int, cosine: Float[Tensor, "1 *batch"], sine: Float[Tensor, "1 *batch"]
) -> tuple[Float[Tensor, "order *batch"], Float[Tensor, "order *batch"]]:
    """Return Re and Im of ``(cosine + i sine)^m`` for m = 1 to ``lmax`` (at least one).

    On the unit circle these are the cosines and sines of the multiples of an angle, which is not
    computed.

    Args:
        lmax: Highest power, at least 0; one power is returned for 0 as well.
        cosine: Real parts [1, ...].
        sine: Imaginary parts [1, ...].

    Returns:
        Real and imaginary parts, each [max(lmax, 1), ...].

    Example:
        >>> angle_multiples(2, torch.zeros(1), torch.ones(1))
        (tensor([ 0., -1.]), tensor([1., 0.]))
    """
    cosines, sines = cosine, sine
    while len(cosines) < lmax:
        # The highest power times the lower ones doubles the number of powers known.
        more = min(len(cosines), lmax - len(cosines))
        c, s, c_top, s_top = cosines[:more], sines[:more], cosines[-1:], sines[-1:]
        c, s = c_top * c - s_top * s, s_top * c + c_top * s
        cosines, sines = torch.cat([cosines, c]), torch.cat([sines, s])
    return cosines, sines
