"""Masks of images: zero on the black background, near one elsewhere."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from equinet.nn.group.kernel_basis import smooth_disc
from equinet.nn.group.plain import CONVOLUTIONS

_POOLS = {2: nn.functional.avg_pool2d, 3: nn.functional.avg_pool3d}


class Presence(nn.Module):
    """Map images to the fraction of each neighborhood that is not black, between 0 and 1.

    Features of deep networks spread a few pixels per layer into the black around an object, and
    normalization makes faint ones as strong as others. The border of the image cuts this halo off,
    differently for every position of the object. Features that are multiplied by this map, which
    moves with the image, stay where the object is.

    Args:
        n: Dimension of the images, 2 or 3.
        kernel_size: Number of taps in each direction of the smooth disc over which energies are
            averaged.
        stride: Distance in pixels between two positions of the disc.
        padding: Rows of zeros that are added on every side.
        pooling: Number of rows and columns of positions that are averaged in the end.
        radius: Distance in pixels at which the disc has fallen to zero, half of ``kernel_size`` by
            default.
        floor: Mean square of a neighborhood for which the result is one half.

    Example:
        >>> image = torch.zeros(1, 1, 40, 40)
        >>> image[..., 10:20, 10:20] = 1
        >>> presence = Presence(2, 8, stride=2, padding=3, pooling=2)(image)
        >>> presence.shape, presence[0, 0, 9, 9].item(), bool(presence[0, 0, 3, 3] > 0.9)
        (torch.Size([1, 1, 10, 10]), 0.0, True)
    """

    disc: Tensor

    def __init__(
        self,
        n: int,
        kernel_size: int,
        *,
        stride: int = 1,
        padding: int = 0,
        pooling: int = 1,
        radius: float | None = None,
        floor: float = 0.01,
    ) -> None:
        super().__init__()
        self.n = n
        self.stride = stride
        self.padding = padding
        self.pooling = pooling
        self.floor = floor
        line = torch.arange(kernel_size, dtype=torch.float64) - (kernel_size - 1) / 2
        grid = torch.meshgrid(*[line] * n, indexing="ij")
        squares = (
            torch.stack(grid).square().sum(0) / (kernel_size / 2 if radius is None else radius) ** 2
        )
        disc = smooth_disc(squares)
        disc = (disc / disc.sum()).to(torch.get_default_dtype())
        self.register_buffer("disc", disc[None, None], persistent=False)

    def forward(self, images: Float[Tensor, "batch channel *space"]) -> Tensor:
        """Return [B, 1, ...] of images [B, C, ...]."""
        energy = images.square().sum(1, keepdim=True)
        disc = self.disc.to(energy)
        mean = CONVOLUTIONS[self.n](energy, disc, stride=self.stride, padding=self.padding)
        return _POOLS[self.n](mean / (mean + self.floor), self.pooling)
