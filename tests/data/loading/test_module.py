"""What data modules tell models is what they say that they tell."""

import numpy as np
import pytest
import torch
from ase.io import write as write_atoms

from equinet import data
from equinet.data import AffNIST, AtomisticFiles, DataModule, NBody, SuperpixelMNIST
from equinet.errors import DataError


class Digits(data.ImageDataModule):
    """Five black images."""

    def load(self):
        from equinet.data.loading import ImageSets

        images = torch.zeros(5, 8, 8, dtype=torch.uint8)
        found = data.ImageDataset(images, torch.arange(5))
        return ImageSets("black images", found, found, {"test": found})


class Capped(data.AtomicDataModule):
    """Generated molecules whose graphs are capped, or not."""

    frames: tuple[data.Frame, ...] = ()

    def read(self):
        return data.Splits(self.frames[:8], self.frames[8:], {}, "molecules")


def test_every_data_module_says_what_it_tells():
    classes = [getattr(data, name) for name in data.__all__]
    modules = [c for c in classes if isinstance(c, type) and issubclass(c, DataModule)]
    modules = [c for c in modules if not getattr(c, "__abstractmethods__", None)]
    assert {NBody, AffNIST, AtomisticFiles, SuperpixelMNIST} <= set(modules)
    for each in modules:
        assert each.tells, each
        assert len(set(each.tells)) == len(each.tells)


@pytest.mark.parametrize("options", [{}, {"speeds": False}, {"charge_products": False}])
def test_of_particles(options):
    assert set(NBody(**options).model_arguments()) == set(NBody.tells)


def test_of_images_and_superpixels():
    sizes = {"batch_size": 2, "eval_batch_size": 2}
    assert set(Digits(**sizes).model_arguments()) == set(Digits.tells)
    assert set(SuperpixelMNIST().model_arguments()) == set(SuperpixelMNIST.tells)


def test_of_atoms(molecules, monkeypatch):
    monkeypatch.setattr(Capped, "frames", molecules["train"][:12])
    capped = Capped(cutoff=4.0, max_neighbors=3, tie_tolerance=0.01)
    assert set(capped.model_arguments()) == set(Capped.tells)
    assert set(Capped.tells) - set(Capped(cutoff=4.0).model_arguments()) == {
        *("max_neighbors", "tie_tolerance")
    }


def test_images_and_graphs_share_their_base(caplog):
    digits = Digits(batch_size=2, eval_batch_size=3)
    assert digits.describe() == (
        "black images: 5 training, 5 validation, 5 test images of 8 × 8 pixels"
    )
    assert [len(batch.labels) for batch in digits.test_loaders()["test"]] == [3, 2]
    assert digits.fingerprint() == Digits(batch_size=1, eval_batch_size=1).fingerprint()
    for wrong in ({"batch_size": 0}, {"eval_batch_size": 0}, {"seed": -1}):
        with pytest.raises(DataError, match=next(iter(wrong))):
            Digits(**{"batch_size": 2, "eval_batch_size": 2, **wrong})


def test_a_training_set_without_edges_is_refused(tmp_path, make_water):
    images = []
    for place in range(6):
        atoms = make_water()
        atoms.positions /= 10  # nanometers
        atoms.info["REF_energy"] = -1.0 - place
        atoms.arrays["REF_forces"] = np.full((3, 3), 0.1)
        images.append(atoms)
    write_atoms(tmp_path / "nm.extxyz", images)
    module = AtomisticFiles(train=tmp_path / "nm.extxyz", val=2, cutoff=0.05)
    with pytest.raises(DataError, match=r"no two atoms are within the cutoff of 0\.05 Å"):
        module.prepare()
