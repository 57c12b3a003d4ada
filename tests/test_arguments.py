"""What signatures say about values: kinds, choices and ranges."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pytest

from equinet.arguments import (
    BelowOne,
    Count,
    Fraction,
    NotNegative,
    Positive,
    Range,
    check_arguments,
    check_choice,
    refusal,
)
from equinet.models import EquiformerV2, MACEGaunt, Ponita, PonitaPotential
from equinet.training import Cosine, Muon, Plateau

SIZES = {"in_scalars": 1, "out_scalars": 1, "channels": 2, "layers": 1}
MEASURED = {"elements": [1], "reference_energies": [0.0], "average_neighbors": 1.0, "cutoff": 3.0}


@pytest.mark.parametrize(
    ("value", "annotation"),
    [
        (1, int),
        (np.int64(3), Count),
        (1, float),
        (None, float),
        ("a", Literal["a", "b"]),
        ("3", Path | str),
        (5, str),
        ([1, 2], Sequence[int]),
        ({"a": "b"}, Mapping[str, str] | str),
        (0.5, Fraction),
        (0, NotNegative),
        ("anything", Any),
        ("anything", type),
        ("anything", "float"),
        (32, Literal[16, 32, "16-mixed"]),
    ],
)
def test_values_that_suit(value, annotation):
    assert not refusal(value, annotation)


@pytest.mark.parametrize(
    ("value", "annotation", "reason"),
    [
        (True, int, "True is not a whole number"),
        (1.5, Count, "1.5 is not a whole number"),
        (float("nan"), float, "nan is not a number"),
        (float("inf"), Positive, "inf is not a finite number above 0"),
        (0, Positive, "0 is not a finite number above 0"),
        (1, BelowOne, "1 is not at least 0 and below 1"),
        (2, Annotated[int, Range("at most 1", most=1)], "2 is not at most 1"),
        ([1, 0], Sequence[Count], "0 is not at least 1"),
        ([1], str | Path | None, "[1] is not a path"),
        ("b", Literal["a"], "'b' is not one of a"),
        ("hubr", Literal["huber", "b"], "not one of huber, b; did you mean 'huber'?"),
        (1, bool, "1 is not true or false"),
    ],
)
def test_values_that_do_not_suit(value, annotation, reason):
    assert reason in refusal(value, annotation)


def test_sentences_of_direct_calls():
    def f(*, mode: Literal["box", "disk"], width: Count = 1, free: int = 0) -> None: ...

    check_arguments(f, {"mode": "disk", "width": 3, "free": "left to the function", "other": 1})
    for arguments, sentence in (
        ({"mode": "disc"}, "mode must be one of box, disk, found 'disc'; did you mean 'disk'?"),
        ({"width": 0}, "width must be at least 1, found 0"),
    ):
        with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
            check_arguments(f, arguments)
    with pytest.raises(ValueError, match="mode must be one of box, disk, found 'x'"):
        check_choice("mode", "x", ("box", "disk"))


@pytest.mark.parametrize(
    ("build", "sentence"),
    [
        (lambda: MACEGaunt(**MEASURED, channels=0), "channels must be at least 1, found 0"),
        (
            lambda: MACEGaunt(**MEASURED | {"cutoff": -1.0}),
            "cutoff must be a finite number above 0, found -1.0",
        ),
        (
            lambda: MACEGaunt(**MEASURED | {"cutoff": float("nan")}),
            "cutoff must be a finite number above 0, found nan",
        ),
        (lambda: MACEGaunt(**MEASURED | {"average_neighbors": 0.0}), "average_neighbors must be"),
        (lambda: EquiformerV2(**MEASURED, selfmix="gunt"), "did you mean 'gaunt'?"),
        (
            lambda: Ponita(in_scalars=1, out_scalars=1, channels=2, layers=1, level="x"),
            "level must",
        ),
        (lambda: PonitaPotential(**MEASURED, kernel="full", mode="lifted"), "needs mode='bundle'"),
        (
            lambda: PonitaPotential(**MEASURED, kernel="zonal", mode="position"),
            "needs mode='bundle'",
        ),
        (lambda: Plateau(factor=1.0), "factor must be above 0 and below 1"),
        (lambda: Cosine(final_fraction=2.0), "final_fraction must be between 0 and 1, found 2.0"),
        (lambda: Muon([], lr=-1.0), "lr must be a finite number of at least 0"),
        (lambda: Muon([], betas=(0.9, 1.0)), "betas must be at least 0 and below 1"),
    ],
)
def test_constructors_refuse_what_the_configuration_refuses(build, sentence):
    with pytest.raises(ValueError, match=re.escape(sentence)):
        build()


@pytest.mark.parametrize("mode", ["bundle", "lifted", "position"])
def test_every_mode_has_a_kernel_of_its_own_by_default(mode):
    model = PonitaPotential(**MEASURED, mode=mode, channels=2, layers=1)
    assert model.arguments["mode"] == mode
