"""Digits and their transformed copies."""

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.io import savemat
from scipy.ndimage import affine_transform

from equinet.data import AffNIST, HomNIST
from equinet.data.datasets.affnist import read_affnist
from equinet.data.digits import mnist, transforms
from equinet.data.digits.mnist import load_digits
from equinet.data.digits.transforms import (
    affine_copy,
    affine_matrices,
    affine_parameters,
    cached_copies,
    homographies,
    homography_copy,
)
from equinet.errors import DataError


def strokes(count: int = 20) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    images = torch.zeros(count, 40, 40, dtype=torch.uint8)
    ink = torch.randint(0, 256, (count, 20, 16), generator=generator)
    images[:, 10:30, 12:28] = (ink * (ink > 100)).to(torch.uint8)
    return images


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError("no network")

    monkeypatch.setattr(mnist, "fetch", refuse)


def test_affine_copies_are_the_maps_of_their_parameters_and_lose_no_ink() -> None:
    """Against scipy, in a frame with room around it that must stay empty."""
    images = strokes()
    found = affine_copy(images, 3, seed=1)
    parameters = affine_parameters(images, 3, seed=1)
    room = 12
    center = np.full(2, 19.5 + room)
    for index, matrix in enumerate(affine_matrices(parameters)):
        # scipy has rows first, and maps output to input.
        inverse = np.linalg.inv(matrix[::-1, ::-1])
        shift = parameters[index, [5, 4]]
        wide = np.pad(images[index].numpy().astype(float), room)
        expected = affine_transform(wide, inverse, center - inverse @ (center + shift), order=1)
        inner = expected[room:-room, room:-room]
        assert np.abs(found[index].numpy() - inner).max() <= 0.5 + 1e-6
        assert expected.sum() == pytest.approx(inner.sum(), rel=1e-12)


def ramp() -> torch.Tensor:
    """An image that tells its four sides apart."""
    image = torch.zeros(1, 40, 40, dtype=torch.uint8)
    image[0, 14:24, 16:30] = torch.arange(40, 180, dtype=torch.uint8).reshape(10, 14)
    return image


def test_affine_maps_scale_first_then_shear_then_rotate() -> None:
    # A quarter turn, x to y, of x + y / 2 after 3 x and 2 y.
    found = affine_matrices(np.array([[90.0, 0.5, 2.0, 3.0, 0.0, 0.0]]))
    np.testing.assert_allclose(found, [[[0, -2], [3, 1]]], rtol=0, atol=1e-15)


def test_the_sets_of_version_1_stay_as_they_are() -> None:
    """Other numbers are another protocol: ``affnist-regen-v1``, ``homnist-regen-v1``."""
    parameters = affine_parameters(ramp(), 0, seed=1)
    expected = [
        *(-7.857278627729656, 0.139483499874311, 0.862453911217389, 0.812442574781751),
        *(8.357687472085132, -12.319294152596209),
    ]
    np.testing.assert_allclose(parameters, [expected], rtol=1e-12)
    expected = [[0.80481509616665, 0.237071278092562], [-0.11106573864278, 0.837911444330153]]
    np.testing.assert_allclose(affine_matrices(parameters), [expected], rtol=1e-12)
    pixels = affine_copy(ramp(), 0, seed=1)[0, 2:14:3, 27:36:4]
    assert pixels.tolist() == [[18, 50, 13], [83, 97, 111], [130, 144, 158], [42, 0, 0]]
    expected = [
        [1.00029128719789, 0.287914004496371, -0.014967269538523],
        [-0.06217676230987, 1.061431017299642, 0.05629184577161],
        [-0.130132391935191, -0.172399920836191, 0.921258698655806],
    ]
    np.testing.assert_allclose(homographies(1, 0, seed=1), [expected], rtol=1e-12)
    pixels = homography_copy(ramp(), 0, seed=1)[0, 15:26:5, 20:31:5]
    assert pixels.tolist() == [[67, 56, 31], [133, 120, 108], [0, 90, 167]]


def test_affine_parameters_cover_their_ranges() -> None:
    parameters = affine_parameters(strokes(400), 0, seed=5)
    for column, (low, high) in enumerate(((-20, 20), (-0.2, 0.2), (0.8, 1.2), (0.8, 1.2))):
        values = parameters[:, column]
        assert low <= values.min() < low + 0.05 * (high - low)
        assert high - 0.05 * (high - low) < values.max() <= high
        assert values.mean() == pytest.approx((low + high) / 2, abs=0.1 * (high - low))
    determinants = np.linalg.det(affine_matrices(parameters))
    assert determinants.min() >= 0.64 - 1e-12
    assert determinants.max() <= 1.44 + 1e-12


@pytest.mark.parametrize("transform", [affine_copy, homography_copy])
def test_copies_depend_on_seed_copy_and_index_alone(transform: transforms.Transform) -> None:
    images = strokes(6)
    whole = transform(images, 2, 7)
    assert torch.equal(transform(images[:4], 2, 7), whole[:4])
    for copy, seed in ((3, 7), (2, 8)):
        assert not torch.equal(transform(images, copy, seed), whole)


def test_the_identity_keeps_images(monkeypatch: pytest.MonkeyPatch) -> None:
    images = strokes(4)
    monkeypatch.setattr(
        transforms, "affine_parameters", lambda *_: np.tile([0, 0, 1, 1, 0, 0.0], (4, 1))
    )
    monkeypatch.setattr(transforms, "homographies", lambda *_: np.tile(np.eye(3), (4, 1, 1)))
    assert torch.equal(affine_copy(images, 0, 1), images)
    assert torch.equal(homography_copy(images, 0, 1), images)


def test_homographies_are_of_the_published_size() -> None:
    found = homographies(500, 0, 3)
    np.testing.assert_allclose(np.linalg.det(found), 1, rtol=1e-12)
    # One or more steps of half a deviation after the start of half a deviation.
    spread = (found - np.eye(3)).std(0)
    np.testing.assert_allclose(spread[0, 1], 0.71 * 0.35, rtol=0.2)
    np.testing.assert_allclose(spread[2, 0], 0.71 * 0.15, rtol=0.2)


def test_copies_are_kept_and_made_anew_where_broken(tmp_path: Path) -> None:
    images, calls = strokes(3), []

    def make(given: torch.Tensor, copy: int, seed: int) -> torch.Tensor:
        calls.append((copy, seed))
        return given + copy

    first = cached_copies("x-v1", make, images, copies=2, seed=4, cache=tmp_path)
    assert calls == [(0, 4), (1, 4)]
    assert torch.equal(first, torch.cat([images, images + 1]))
    assert torch.equal(cached_copies("x-v1", make, images, copies=2, seed=4, cache=tmp_path), first)
    assert len(calls) == 2
    min((tmp_path / "x-v1").iterdir()).write_bytes(b"broken")
    assert torch.equal(cached_copies("x-v1", make, images, copies=2, seed=4, cache=tmp_path), first)
    assert calls[2:] == [(0, 4)]


@pytest.mark.usefixtures("offline")
def test_without_network_small_digits_stand_in_and_say_so(tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    module = AffNIST(copies=2, cache=tmp_path)
    assert "NOT MNIST" in module.describe()
    sets = module.sets
    assert len(sets.tests["affnist-regen-v1"]) == 2 * len(sets.tests["centered"]) == 720
    assert len(sets.val) == 359
    assert module.model_arguments() == {"classes": 10}
    assert sets.train.images.shape[1:] == (40, 40)
    assert not sets.train.images[:, :10].any()


def test_official_mnist_is_recognized(shared_data: Path) -> None:
    found = load_digits(shared_data / "mnist")
    assert found.official
    assert found.about == "MNIST"
    assert len(found.images) == 60000
    assert not found.images[:, :6].any()
    assert found.images[:, 6:34, 6:34].float().mean() == pytest.approx(33.32, abs=0.01)


def write_digits(folder: Path, count: int = 12) -> None:
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (count, 28, 28), dtype=np.uint8)
    labels = np.arange(count) % 10
    arrays = {"x_train": images, "y_train": labels, "x_test": images[:4], "y_test": labels[:4]}
    np.savez(folder / "mnist.npz", **arrays)


def test_other_digits_are_taken_but_not_called_mnist(tmp_path: Path) -> None:
    write_digits(tmp_path)
    module = HomNIST(root=tmp_path, copies=3, val_size=2, batch_size=4, cache=tmp_path)
    assert "not MNIST" in module.describe()
    assert "homnist-regen-v1" in module.describe()
    assert [len(batch.labels) for batch in module.train_loader()] == [4, 4, 2]
    (batch,) = module.val_loader()
    assert batch.images.shape == (2, 1, 40, 40)
    assert batch.images.dtype == torch.float32
    assert float(batch.images.max()) <= 1
    loader = module.train_loader()
    first = torch.cat([batch.labels for batch in loader])
    loader.batch_sampler.sampler.set_epoch(1)
    assert not torch.equal(torch.cat([batch.labels for batch in loader]), first)
    again = HomNIST(root=tmp_path, copies=3, val_size=2, cache=tmp_path)
    assert again.fingerprint() == module.fingerprint()
    other = HomNIST(root=tmp_path, copies=2, val_size=2, cache=tmp_path)
    assert other.fingerprint() != module.fingerprint()


def write_official(path: Path, labels: list[int]) -> np.ndarray:
    """A file with the fields of the published ones."""
    pixels = np.random.default_rng(labels[0]).integers(0, 256, (1600, len(labels)), dtype=np.uint8)
    fields = {"image": pixels, "label_int": np.array([labels], dtype=np.uint8)}
    savemat(path, {"affNISTdata": fields})
    return pixels


def test_official_files_are_read_in_their_order(tmp_path: Path) -> None:
    write_digits(tmp_path)
    pixels = [write_official(tmp_path / f"{n}.mat", [n % 10, 1]) for n in (1, 2, 10)]
    module = AffNIST(root=tmp_path, official_files=tmp_path, copies=1, val_size=2, cache=tmp_path)
    test = module.sets.tests["affnist"]
    assert test.labels.tolist() == [1, 1, 2, 1, 0, 1]
    assert np.array_equal(test.images[0].numpy(), pixels[0][:, 0].reshape(40, 40))


def test_broken_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"mnist\.npz cannot be read as MNIST"):
        load_digits(tmp_path)
    np.savez(
        tmp_path / "mnist.npz", x_train=np.zeros((2, 8, 8)), y_train=[0, 1], x_test=0, y_test=0
    )
    with pytest.raises(DataError, match=r"x_train must have shape \[60000, 28, 28\]"):
        load_digits(tmp_path)
    path = tmp_path / "test.mat"
    savemat(path, {"something": 1})
    with pytest.raises(DataError, match=r"test\.mat cannot be read as affNIST"):
        read_affnist([path])
    path.write_bytes(b"no MATLAB file")
    with pytest.raises(DataError, match=r"test\.mat cannot be read as affNIST"):
        read_affnist([path])
    write_digits(tmp_path)
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(DataError, match=r"there are no \.mat files"):
        AffNIST(root=tmp_path, official_files=empty, copies=1, cache=tmp_path).prepare()
    with pytest.raises(DataError, match="copies must be at least 1, got 0"):
        AffNIST(copies=0)
