"""Weights that are no numbers are neither kept nor taken."""

import pytest
import torch

from equinet import zoo
from equinet.errors import DataError
from equinet.models import MACEGaunt
from equinet.zoo import saving


@pytest.fixture
def model():
    sizes = {"channels": 2, "layers": 1, "lmax_filter": 1, "lmax_hidden": 1, "correlation": 2}
    known = {"elements": [1], "cutoff": 3.0, "reference_energies": [-1.0], "average_neighbors": 1.0}
    return MACEGaunt(**known, **sizes)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(model, tmp_path, value, monkeypatch):
    name, parameter = next(iter(model.named_parameters()))
    with torch.no_grad():
        parameter.view(-1)[0] = value
    with pytest.raises(DataError, match=rf"not finite \({name}\)"):
        zoo.save(model, tmp_path / "model", {})
    assert not (tmp_path / "model").exists()
    with monkeypatch.context() as patch:
        patch.setattr(saving, "_refuse_not_finite", lambda *_: None)
        zoo.save(model, tmp_path / "model", {})
    with pytest.raises(
        DataError, match=rf"model\.safetensors has weights .* not finite \({name}\)"
    ):
        zoo.load(tmp_path / "model")


def test_names_of_all_that_is_not_finite():
    tensors = {"a": torch.zeros(2), "b": torch.tensor([1.0, float("inf")]), "c": torch.tensor([1])}
    assert zoo.not_finite(tensors) == ["b"]
