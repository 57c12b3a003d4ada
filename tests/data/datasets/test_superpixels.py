"""Superpixels of images, their graphs, the cache; MNIST from files, a download or a stand-in."""

import io
import logging
import sys
import zipfile
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import torch

from equinet.data import SuperpixelGraphs, SuperpixelMNIST, Superpixels, make_superpixels
from equinet.data.digits.superpixels import cached_superpixels
from equinet.errors import BackendError, DataError

pytest.importorskip("skimage", reason="superpixels are cut by scikit-image")


def images(count: int, seed: int = 0) -> np.ndarray:
    """Blobs of light at random places."""
    rng = np.random.default_rng(seed)
    row, column = np.mgrid[:28, :28]
    centers = rng.uniform(8, 20, size=(count, 2, 1, 1))
    distance = (row - centers[:, 0]) ** 2 + (column - centers[:, 1]) ** 2
    return np.round(255 * np.exp(-distance / 30)).astype(np.uint8)


@pytest.fixture(scope="module")
def cut() -> Superpixels:
    return make_superpixels(images(3))


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("mnist")
    labels = np.arange(40, dtype=np.uint8) % 10
    np.savez(
        folder / "mnist.npz",
        x_train=images(40),
        y_train=labels,
        x_test=images(6, seed=1),
        y_test=labels[:6],
    )
    return folder


@pytest.fixture
def offline(monkeypatch):
    def refuse(url: str, timeout: float) -> None:
        raise URLError("no network")

    monkeypatch.setattr("urllib.request.urlopen", refuse)


def test_superpixels_cover_the_image(cut):
    assert (cut.counts > 40).all()
    assert (cut.counts <= 100).all()
    assert cut.counts.sum() == len(cut.positions) == len(cut.values) == len(cut.neighbors)
    spacing = np.sqrt(28 * 28 / 75)
    assert cut.positions[:, 0].min() * spacing >= 0
    assert cut.positions[:, 0].max() * spacing <= 27
    # Image rows count downwards, y counts upwards.
    assert cut.positions[:, 1].max() <= 0
    assert cut.positions[:, 1].min() * spacing >= -27


def test_the_brightest_superpixel_is_where_the_light_is(cut):
    first = slice(0, cut.counts[0])
    row, column = np.unravel_index(images(3)[0].argmax(), (28, 28))
    brightest = cut.positions[first][cut.values[first].argmax()] * np.sqrt(28 * 28 / 75)
    assert abs(brightest - (column, -row)).max() < 3


def test_superpixels_are_the_same_every_time_and_for_each_image_alone(cut):
    again = make_superpixels(images(3))
    for name in Superpixels.__annotations__:
        np.testing.assert_array_equal(getattr(cut, name), getattr(again, name))
    alone = make_superpixels(images(3)[:1])
    np.testing.assert_array_equal(alone.positions, cut.positions[: cut.counts[0]])


def test_processes_change_nothing(monkeypatch):
    # More images than the threshold below which processes are not worth starting.
    many = np.repeat(images(1), 1001, axis=0)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1}, raising=False)
    shared = make_superpixels(many)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0}, raising=False)
    one = make_superpixels(many[:1])
    np.testing.assert_array_equal(shared.positions[-one.counts[0] :], one.positions)


def test_neighbors_are_the_nearest_others(cut):
    graph = SuperpixelGraphs(cut, np.arange(3))[1]
    distances = torch.cdist(graph.pos, graph.pos).fill_diagonal_(torch.inf)
    sender, receiver = graph.edge_index
    assert torch.equal(receiver, torch.arange(graph.num_nodes).repeat_interleave(8))
    assert (sender != receiver).all()
    found = distances[receiver, sender].reshape(-1, 8)
    torch.testing.assert_close(found, distances.sort(dim=1).values[:, :8], rtol=1e-6, atol=1e-6)


def test_superpixels_in_one_place_are_not_their_own_neighbors():
    places = np.zeros((12, 2), dtype=np.float32)
    found = Superpixels.of([places], [np.zeros(12, dtype=np.float32)], 8)
    assert found.neighbors.shape == (12, 8)
    assert (found.neighbors != np.arange(12)[:, None]).all()
    assert all(len(set(row)) == 8 for row in found.neighbors.tolist())


@pytest.mark.parametrize("count", [8, 257])
def test_too_few_or_too_many_superpixels_are_refused(count):
    places = np.random.default_rng(0).normal(size=(count, 2)).astype(np.float32)
    with pytest.raises(DataError, match=f"image 0 has {count} superpixels"):
        Superpixels.of([places], [places[:, 0]], 8)


def test_graphs_are_a_sequence(cut):
    graphs = SuperpixelGraphs(cut, np.array([7, 8, 9]), np.array([2, 0]))
    assert len(graphs) == 2
    assert [int(graph.y) for graph in graphs] == [9, 7]
    assert int(graphs[1:][0].y) == 7
    assert graphs[-1].pos.dtype == graphs[-1].x.dtype == torch.float64
    with pytest.raises(IndexError):
        graphs[2]
    with pytest.raises(DataError, match="3 images have 2 labels"):
        SuperpixelGraphs(cut, np.arange(2))


def test_the_cache_is_used_and_made_anew_when_broken(tmp_path, monkeypatch, caplog):
    first = cached_superpixels(images(2), 75, 8, name="blobs", cache=tmp_path)
    (path,) = tmp_path.rglob("*.npz")
    with monkeypatch.context() as patch:
        patch.setattr("equinet.data.digits.superpixels.make_superpixels", None)
        again = cached_superpixels(images(2), 75, 8, name="blobs", cache=tmp_path)
    np.testing.assert_array_equal(first.positions, again.positions)
    path.write_bytes(path.read_bytes()[:-100])
    with caplog.at_level(logging.WARNING):
        cached_superpixels(images(2), 75, 8, name="blobs", cache=tmp_path)
    assert "making" in caplog.text
    cached_superpixels(images(2), 75, 7, name="blobs", cache=tmp_path)
    cached_superpixels(images(2, seed=1), 75, 8, name="blobs", cache=tmp_path)
    assert len(list(tmp_path.rglob("*.npz"))) == 3


def test_without_scikit_image_the_message_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "skimage.segmentation", None)
    with pytest.raises(BackendError, match=r"pip install '\.\[images\]'"):
        make_superpixels(images(1))


def test_splits_of_a_file(root, tmp_path):
    module = SuperpixelMNIST(root=root, val_size=0.25, cache=tmp_path)
    module.prepare()
    assert [len(module.sets.train), len(module.sets.val)] == [30, 10]
    assert len(module.sets.tests["test"]) == 6
    assert str(root / "mnist.npz") in module.describe()
    assert "NOT" not in module.describe()
    few = SuperpixelMNIST(root=root / "mnist.npz", val_size=10, train_size=5, test_size=2)
    few.cache = tmp_path
    assert [len(few.sets.train), len(few.sets.val), len(few.sets.tests["test"])] == [5, 10, 2]
    assert few.sets.val.fingerprint() == module.sets.val.fingerprint()
    other = SuperpixelMNIST(root=root, val_size=10, seed=1, cache=tmp_path)
    assert other.sets.val.fingerprint() != module.sets.val.fingerprint()


def test_model_arguments_fit_the_graphs(root, tmp_path):
    module = SuperpixelMNIST(root=root, cache=tmp_path)
    arguments = module.model_arguments()
    assert module.sets.train[0].x.shape[1] == arguments["in_scalars"]
    assert arguments["out_scalars"] == 10
    assert arguments["level"] == "graph"


def test_broken_files_are_named(tmp_path, root):
    with pytest.raises(DataError, match=r"there is no file .*mnist\.npz"):
        SuperpixelMNIST(root=tmp_path, cache=tmp_path).prepare()
    (tmp_path / "mnist.npz").write_bytes(b"nothing")
    with pytest.raises(DataError, match=r"mnist\.npz cannot be read"):
        SuperpixelMNIST(root=tmp_path, cache=tmp_path).prepare()
    arrays = dict(np.load(root / "mnist.npz"))
    np.savez(tmp_path / "mnist.npz", **{**arrays, "x_test": arrays["x_test"] / 255})
    with pytest.raises(DataError, match=r"x_test must be uint8 of shape \[6, 28, 28\]"):
        SuperpixelMNIST(root=tmp_path, cache=tmp_path).prepare()


@pytest.mark.parametrize(
    "wrong",
    [{"neighbors": 0}, {"train_size": 0}, {"test_size": -1}, {"val_size": 0}, {"val_size": 2.5}],
)
def test_sizes_out_of_range_are_refused(wrong):
    with pytest.raises(DataError, match=f"{next(iter(wrong))} must be"):
        SuperpixelMNIST(**wrong)


@pytest.mark.parametrize("sizes", [{"train_size": 40}, {"val_size": 40}, {"val_size": 41}])
def test_more_than_there_is_is_refused(root, tmp_path, sizes):
    with pytest.raises(DataError, match="there are 40 images, not"):
        SuperpixelMNIST(root=root, cache=tmp_path, **sizes).prepare()


def test_published_superpixels_are_downloaded_once(tmp_path, monkeypatch):
    generator = torch.Generator().manual_seed(0)

    def published(label: int) -> dict[str, torch.Tensor]:
        pos = 27 * torch.rand(20, 2, generator=generator)
        return {"x": pos[:, :1] / 27, "pos": pos, "y": torch.tensor([label])}

    sets = [[published(label) for label in labels] for labels in ((3, 1, 4, 1), (5, 9))]
    packed, stored = io.BytesIO(), io.BytesIO()
    torch.save(sets, stored)
    with zipfile.ZipFile(packed, "w") as file:
        file.writestr("MNISTSuperpixels.pt", stored.getvalue())
    asked = []

    def answer(url: str, timeout: float) -> io.BytesIO:
        asked.append(url)
        return io.BytesIO(packed.getvalue())

    monkeypatch.setattr("urllib.request.urlopen", answer)
    modules = [SuperpixelMNIST(cache=tmp_path, val_size=1) for _ in range(2)]
    assert modules[0].fingerprint() == modules[1].fingerprint()
    assert len(asked) == 1
    assert "by Monti et al." in modules[0].describe()
    test = modules[0].sets.tests["test"]
    assert [int(graph.y) for graph in test] == [5, 9]
    spacing = (28 * 28 / 75) ** 0.5
    torch.testing.assert_close(test[0].pos.float() * spacing, sets[1][0]["pos"])
    (tmp_path / "mnist-superpixels" / "MNISTSuperpixels.pt").write_bytes(b"nothing")
    with pytest.raises(DataError, match=r"MNISTSuperpixels\.pt cannot be read"):
        SuperpixelMNIST(cache=tmp_path).prepare()


@pytest.mark.usefixtures("offline")
def test_without_root_and_network_small_digits_stand_in(tmp_path, monkeypatch, caplog):
    datasets = pytest.importorskip("sklearn.datasets", reason="the digits come with scikit-learn")
    digits = datasets.load_digits()
    digits.images, digits.target = digits.images[:390], digits.target[:390]
    monkeypatch.setattr(datasets, "load_digits", lambda: digits)
    with caplog.at_level(logging.WARNING):
        module = SuperpixelMNIST(cache=tmp_path)
        module.prepare()
    assert "give the folder of mnist.npz as data.root" in caplog.text
    assert "NOT MNIST" in module.describe()
    assert len(module.sets.tests["test"]) == 360
    assert len(module.sets.train) + len(module.sets.val) == 30


@pytest.mark.usefixtures("offline")
def test_without_scikit_learn_the_message_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(BackendError, match=r"scikit-learn.*\.\[images\]"):
        SuperpixelMNIST(cache=tmp_path).prepare()


def test_real_images(shared_data, tmp_path):
    with np.load(shared_data / "mnist" / "mnist.npz") as arrays:
        some = {name: array[:30] for name, array in arrays.items()}
    np.savez(tmp_path / "mnist.npz", **some)
    module = SuperpixelMNIST(root=tmp_path, val_size=10, cache=tmp_path)
    sizes = [graph.num_nodes for graph in module.sets.train]
    assert 60 < np.mean(sizes) < 90
    assert {int(graph.y) for graph in module.sets.train} <= set(range(10))
