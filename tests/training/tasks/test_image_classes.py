"""The task of classifying images."""

from pathlib import Path

import pytest
import torch
from torch import nn

from equinet.data import ImageBatch, ImageDataset
from equinet.errors import ConfigError, DataError
from equinet.evaluation.plots import classified
from equinet.models import GroupResNet
from equinet.training import ImageClassification, ImageErrors, multiply_adds


def task(model: nn.Module, **options: float) -> ImageClassification:
    return ImageClassification(model=model, optimizer=torch.optim.SGD, **options)


def test_errors_are_those_of_all_images_together() -> None:
    logits, labels = torch.randn(10, 4), torch.randint(0, 4, (10,))
    errors = ImageErrors(shared=False)
    errors.update(logits[:7], labels[:7])
    errors.update(logits[7:], labels[7:])
    found = errors.compute()
    right = int((logits.argmax(1) == labels).sum())
    assert float(found["accuracy"]) == pytest.approx(10 * right)
    expected = nn.functional.cross_entropy(logits.double(), labels)
    torch.testing.assert_close(found["loss"], expected)


def test_evaluation_uses_the_frozen_network_and_shows_mistakes(tmp_path: Path) -> None:
    model = GroupResNet(channels=4, blocks=1, rotations=4, hidden=8)
    images, labels = torch.rand(9, 1, 40, 40), torch.arange(9)
    images[..., :8] = 0
    images[..., :8, :] = 0
    batches = [ImageBatch(images[:5], labels[:5]), ImageBatch(images[5:], labels[5:])]
    found = task(model).evaluate(batches, torch.device("cpu"))
    with torch.no_grad():
        logits = model.eval()(images)
    accuracy = float((logits.argmax(1) == labels).float().mean())
    assert found.structures == 9
    assert found.errors["accuracy"] == pytest.approx(100 * accuracy)
    assert found.errors["loss"] == pytest.approx(
        float(nn.functional.cross_entropy(logits, labels)), rel=1e-4
    )
    assert found.errors["images_per_second"] > 0
    shown = found.classified
    assert shown is not None
    assert len(shown.images) == 2
    assert (shown.true != shown.predicted).all()
    classified(shown, tmp_path / "mistakes.png", "test")
    assert (tmp_path / "mistakes.png").stat().st_size > 1000


def test_multiply_adds_are_those_of_the_plain_convolutions() -> None:
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten(), nn.Linear(4 * 36, 5))
    assert multiply_adds(model, torch.zeros(1, 8, 8)) == 4 * 9 * 36 + 4 * 36 * 5


def test_bad_settings_and_data_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"from 0 to below 1, got 1\.0"):
        task(nn.Flatten(), label_smoothing=1.0)
    with pytest.raises(DataError, match="list holds no labeled images; choose data=affnist"):
        task(nn.Flatten()).check_data([])
    with pytest.raises(DataError, match="empty: found 0 images and 0 labels"):
        ImageDataset(
            torch.zeros(0, 4, 4, dtype=torch.uint8), torch.zeros(0, dtype=torch.int64), name="empty"
        )
