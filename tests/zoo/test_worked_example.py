"""Worked examples in cards: what a copy of a model must give again."""

import json
from typing import Any

import pytest
import torch

from equinet import zoo
from equinet.errors import DataError
from equinet.models import EquiformerV2, MACEGaunt, Model, PonitaDenoiser

COMMON = {"cutoff": 4.0, "average_neighbors": 4.0, "channels": 4}


def potential(elements: list[int]) -> MACEGaunt:
    torch.manual_seed(0)
    return MACEGaunt(**COMMON, elements=elements, reference_energies=[1.0] * len(elements))


def denoiser() -> PonitaDenoiser:
    torch.manual_seed(0)
    sizes = [0.0] * 5 + [1.0]
    return PonitaDenoiser(
        elements=[1, 8], sizes=sizes, position_deviation=1.0, channels=4, layers=1
    )


def direct() -> EquiformerV2:
    torch.manual_seed(0)
    small = {"blocks": 1, "lmax": 1, "mmax": 1, "heads": 2, "radial_basis": 8}
    return EquiformerV2(**COMMON, **small, elements=[1, 8], reference_energies=[0.0, 0.0])


@pytest.mark.parametrize(
    "make", [lambda: potential([1, 6, 8]), lambda: potential([79]), direct, denoiser]
)
def test_a_copy_gives_the_results_again_and_another_model_does_not(make: Any) -> None:
    model: Model = make()
    example = json.loads(json.dumps(zoo.work_out(model)))
    assert "evaluated as when it was saved" in zoo.check(model, example)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1.3)
    with pytest.raises(DataError, match="does not give the results of its worked example"):
        zoo.check(model, example)


def test_results_that_are_not_numbers_are_refused() -> None:
    model = potential([1, 8])
    example = zoo.work_out(model)
    assert example is not None
    example["structures"][0]["energy"] = float("nan")
    with pytest.raises(DataError, match="differ by nan"):
        zoo.check(model, example)


@pytest.mark.parametrize(
    "damaged", [{}, {"structures": 3}, {"structures": [{"numbers": [1]}]}, {"structures": []}]
)
def test_a_damaged_example_is_named(damaged: dict[str, Any]) -> None:
    with pytest.raises(DataError, match="worked example in the card cannot be read"):
        zoo.check(potential([1, 8]), damaged)


def test_models_of_other_kinds_have_none() -> None:
    class Other(Model):
        pass

    assert zoo.work_out(Other()) is None
