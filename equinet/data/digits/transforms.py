"""Random affine maps and homographies of digits, which regenerate affNIST and homNIST.

Every copy of every digit has its own random numbers from a counter-based generator, so that a part
of a set is the same whether it is made alone or with the rest.
"""

import hashlib
import logging
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float64, UInt8
from torch import Tensor

from equinet.data.arrays import read_array, write_array
from equinet.data.cache import cache_place
from equinet.errors import DataError

_log = logging.getLogger(__name__)

ROTATION, SHEAR, SCALES = 20.0, 0.2, (0.8, 1.2)
"""Bounds of affNIST: rotation in degrees, shear along x (1 is 45°), scales of both axes."""

# Deviations of homNIST in the basis E11-I/3, E12, E13, E21, E22-I/3, E23, E31, E32 of sl(3).
_HOM_DEVIATIONS = np.array([0.15, 0.35, 0.17, 0.35, 0.15, 0.17, 0.15, 0.15])
_CHUNK = 2000

Images = UInt8[Tensor, "image 40 40"]
Transform = Callable[[Images, int, int], Images]


def affine_copy(images: Images, copy: int, seed: int) -> Images:
    """Make one affNIST copy of every digit, by the protocol ``affnist-regen-v1``.

    The map consists of a rotation by at most 20°, a shear along x by at most 0.2, and scalings of
    each axis by 0.8 to 1.2, all uniform and about the center, followed by a translation, which is
    uniform among those that keep all ink in the frame. Images are interpolated bilinearly and
    rounded to bytes.

    Args:
        images: Images of the digits.
        copy: Number of the copy, from 0.
        seed: Seed of the set, which must differ from those of other sets.

    Returns:
        The transformed images, one for each image.

    Source:
        Tieleman, affNIST (2013); this package chose the order of the maps and the interpolation.

    Example:
        >>> digit = torch.zeros(1, 40, 40, dtype=torch.uint8)
        >>> digit[0, 10:30, 18:22] = 255
        >>> bool((affine_copy(digit, 0, seed=1).sum() > 0).all())
        True
    """
    parameters = affine_parameters(images, copy, seed)
    matrices = affine_matrices(parameters)
    center = (images.shape[-1] - 1) / 2
    inverse = torch.linalg.inv(torch.from_numpy(matrices))
    shift = torch.from_numpy(parameters[:, 4:])
    line = torch.arange(images.shape[-1], dtype=torch.float64) - center
    rows, columns = torch.meshgrid(line, line, indexing="ij")
    points = torch.stack([columns, rows], dim=-1)

    def sources(chosen: slice) -> Tensor:
        moved = points - shift[chosen, None, None]
        return torch.einsum("nij,nhwj->nhwi", inverse[chosen], moved) / center

    return _warp(images, sources, padding="zeros")


def affine_parameters(images: Images, copy: int, seed: int) -> Float64[np.ndarray, "image 6"]:
    """Draw the parameters of the maps of :func:`affine_copy`.

    Args:
        images: Images of the digits.
        copy: Number of the copy, from 0.
        seed: Seed of the set.

    Returns:
        Rotation (degrees), shear, vertical and horizontal scale, horizontal and vertical
        translation (pixels) of every image.
    """
    center = (images.shape[-1] - 1) / 2
    found = np.empty((len(images), 6))
    boxes = _ink_boxes(images)
    for index, box in enumerate(boxes):
        draws = _generator(seed, copy, index)
        while True:
            uniform = draws.random(6)
            rotation = ROTATION * (2 * uniform[0] - 1)
            shear = SHEAR * (2 * uniform[1] - 1)
            vertical, horizontal = SCALES[0] + (SCALES[1] - SCALES[0]) * uniform[2:4]
            found[index, :4] = rotation, shear, vertical, horizontal
            corners = (box - center) @ affine_matrices(found[index : index + 1])[0].T
            # Interpolation spreads a pixel of ink by less than one pixel.
            low = -1 - center - corners.min(0)
            high = center + 1 - corners.max(0)
            if (low <= high).all():
                break
        found[index, 4:] = low + (high - low) * uniform[4:]
    return found


def affine_matrices(parameters: Float64[np.ndarray, "image 6"]) -> Float64[np.ndarray, "image 2 2"]:
    """Return the matrices rotation · shear · scalings, which act on columns (x right, y down).

    Args:
        parameters: Parameters from :func:`affine_parameters`; translations are not used.

    Example:
        >>> affine_matrices(np.array([[0.0, 0.0, 1.0, 2.0, 0.0, 0.0]])).tolist()
        [[[2.0, 0.0], [0.0, 1.0]]]
    """
    angle = np.radians(parameters[:, 0])
    cosine, sine = np.cos(angle), np.sin(angle)
    turn = np.stack([cosine, -sine, sine, cosine], -1).reshape(-1, 2, 2)
    zero, one = np.zeros_like(angle), np.ones_like(angle)
    shear = np.stack([one, parameters[:, 1], zero, one], -1).reshape(-1, 2, 2)
    scale = np.stack([parameters[:, 3], zero, zero, parameters[:, 2]], -1).reshape(-1, 2, 2)
    return turn @ shear @ scale


def homography_copy(images: Images, copy: int, seed: int) -> Images:
    """Make one homNIST copy of every digit, by the published procedure.

    Args:
        images: Images of the digits.
        copy: Number of the copy, from 0.
        seed: Seed of the set.

    Returns:
        The transformed images, one for each image, rounded to bytes.

    Source:
        MacDonald, Ramasinghe, Lucey (CVPR 2022), released code. The images have the same
        distribution as the published set, but are not identical.

    Example:
        >>> homography_copy(torch.zeros(1, 40, 40, dtype=torch.uint8), 0, seed=1).shape
        torch.Size([1, 40, 40])
    """
    inverse = torch.linalg.inv(torch.from_numpy(homographies(len(images), copy, seed)))
    line = torch.linspace(-1, 1, images.shape[-1], dtype=torch.float64)
    rows, columns = torch.meshgrid(line, line, indexing="ij")
    points = torch.stack([rows, columns, torch.ones_like(rows)], dim=-1)

    def sources(chosen: slice) -> Tensor:
        moved = torch.einsum("nij,hwj->nhwi", inverse[chosen], points)
        return (moved[..., :2] / moved[..., 2:]).flip(-1)

    return _warp(images, sources, padding="border")


def homographies(count: int, copy: int, seed: int) -> Float64[np.ndarray, "image 3 3"]:
    """Draw the matrices of :func:`homography_copy`, which have determinant 1.

    Each matrix is the exponential of a random walk in the Lie algebra, which ends at the first step
    that is accepted by the ratio of Haar densities.

    Args:
        count: Number of homographies.
        copy: Number of the copy, from 0.
        seed: Seed of the set.

    Example:
        >>> bool(np.allclose(np.linalg.det(homographies(3, 0, 1)), 1))
        True
    """
    found = np.empty((count, 3, 3))
    for index in range(count):
        draws = _generator(seed, copy, index)
        x = draws.normal(size=8) * 0.5 * _HOM_DEVIATIONS
        while True:
            step = x + draws.normal(size=8) * 0.5 * _HOM_DEVIATIONS
            accepted = draws.random() < _haar_density(step) / _haar_density(x)
            x = step
            if accepted:
                break
        found[index] = _traceless(x)
    return np.asarray(torch.linalg.matrix_exp(torch.from_numpy(found)))


def cached_copies(
    name: str,
    transform: Transform,
    images: Images,
    *,
    copies: int,
    seed: int,
    cache: str | Path | None = None,
) -> UInt8[Tensor, "copy 40 40"]:
    """Make transformed copies of all digits, or read them from the cache.

    Args:
        name: Name of the set's folder in the cache, with the version of the protocol.
        transform: Function that makes one transformed copy of all digits.
        images: Images of the digits.
        copies: Number of copies of each digit.
        seed: Seed of the set.
        cache: Folder of the cache; None takes the user's cache.

    Returns:
        All images: first the first copies of all digits, then the second copies, and so on.

    Raises:
        DataError: The cache cannot be written.

    Example:
        >>> import tempfile
        >>> black = torch.zeros(1, 40, 40, dtype=torch.uint8)
        >>> with tempfile.TemporaryDirectory() as cache:
        ...     cached_copies("black", affine_copy, black, copies=3, seed=1, cache=cache).shape
        torch.Size([3, 40, 40])
    """
    source = hashlib.sha256(images.contiguous().numpy().tobytes()).hexdigest()[:12]
    folder = cache_place(name, cache)
    parts: list[Tensor] = []
    for copy in range(copies):
        path = folder / f"{source}-{seed}-{copy}.npy"
        part = _kept(path, images.shape)
        if part is None:
            if not parts:
                _log.info("making %s (once, about a second for 2000 images)", name)
            part = transform(images, copy, seed)
            try:
                folder.mkdir(exist_ok=True)
                write_array(part.numpy(), path)
            except OSError as error:
                raise DataError(
                    f"cannot write {path} ({error.strerror}); give another folder as data.cache"
                ) from error
        parts.append(part)
    return torch.cat(parts)


def _kept(path: Path, shape: torch.Size) -> Images | None:
    if not path.is_file():
        return None
    try:
        array = read_array(path, "images")
    except DataError as error:
        _log.warning("making %s anew, because its copy is broken: %s", path, error)
        return None
    fits = array.shape == tuple(shape) and array.dtype == np.uint8
    return torch.from_numpy(array) if fits else None


def _generator(seed: int, copy: int, index: int) -> np.random.Generator:
    # The generator advances the first word of the counter with every number.
    return np.random.Generator(np.random.Philox(key=seed, counter=[0, 0, copy, index]))


def _ink_boxes(images: Images) -> Float64[np.ndarray, "image 4 2"]:
    """Return the corners (x, y) of the pixels that ink can reach; of the center without ink."""
    ink = images.numpy() > 0
    found = np.empty((len(ink), 4, 2))
    for index, each in enumerate(ink):
        rows, columns = np.flatnonzero(each.any(1)), np.flatnonzero(each.any(0))
        if not len(rows):
            rows = columns = np.array([(each.shape[0] - 1) // 2])
        for corner, (x, y) in enumerate(
            (x, y) for x in (columns[0] - 1, columns[-1] + 1) for y in (rows[0] - 1, rows[-1] + 1)
        ):
            found[index, corner] = x, y
    return found


def _warp(images: Images, sources: Callable[[slice], Tensor], *, padding: str) -> Images:
    """Sample images at source points (x, y) in [-1, 1], from the middles of the border pixels."""
    parts: list[Tensor] = []
    for start in range(0, len(images), _CHUNK):
        chosen = slice(start, start + _CHUNK)
        sampled = torch.nn.functional.grid_sample(
            images[chosen, None].double(),
            sources(chosen),
            mode="bilinear",
            padding_mode=padding,
            align_corners=True,
        )
        parts.append(sampled[:, 0].round().clamp(0, 255).to(torch.uint8))
    return torch.cat(parts)


def _traceless(x: Float64[np.ndarray, " 8"]) -> Float64[np.ndarray, "3 3"]:
    matrix = np.zeros((3, 3))
    matrix.flat[:8] = x
    return matrix - np.trace(matrix) / 3 * np.eye(3)


def _haar_density(x: Float64[np.ndarray, " 8"]) -> float:
    """Return SL(3)'s Haar density in exponential coordinates: Π (sinh(d/2)/(d/2))², d = λi - λj."""
    values = np.linalg.eigvals(_traceless(x))
    density = 1.0
    for i, j in ((0, 1), (0, 2), (1, 2)):
        half = (values[i] - values[j]) / 2
        ratio = abs(np.sinh(half) / half) if abs(half) > math.sqrt(1e-16) else 1.0
        density *= ratio**2
    return density
