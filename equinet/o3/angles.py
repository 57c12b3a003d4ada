"""Cosines and sines of the multiples of an angle, without the angle."""

import torch
from jaxtyping import Float
from torch import Tensor


def angle_multiples(
    lmax: int, cosine: Float[Tensor, "1 *batch"], sine: Float[Tensor, "1 *batch"]
) -> tuple[Float[Tensor, "order *batch"], Float[Tensor, "order *batch"]]:
    """Return Re and Im of ``(cosine + i sine)^m`` for m = 1 to ``lmax`` (at least one).

    On the unit circle: the cosines and sines of the multiples of an angle, without the angle.
    """
    cosines, sines = cosine, sine
    while len(cosines) < lmax:
        # The highest power times the lower ones doubles the number of powers known.
        more = min(len(cosines), lmax - len(cosines))
        c, s, c_top, s_top = cosines[:more], sines[:more], cosines[-1:], sines[-1:]
        c, s = c_top * c - s_top * s, s_top * c + c_top * s
        cosines, sines = torch.cat([cosines, c]), torch.cat([sines, s])
    return cosines, sines
