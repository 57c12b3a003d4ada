"""Worked examples: inputs of a trained model and its results, by which copies of it are checked."""

import copy
from collections.abc import Mapping
from typing import Any

import numpy as np

from equinet.diffusion import generate, sampling_levels
from equinet.errors import DataError
from equinet.models import Model, PonitaDenoiser, Potential

_LENGTHS = (5, 8)
_STEPS = 12
# Results in float64 differ between processors by rounding, which sampling amplifies.
_TOLERANCE = 1e-4


def work_out(model: Model) -> dict[str, Any] | None:
    """Evaluate a model on structures of its elements, in float64.

    Args:
        model: Trained model, which is not changed.

    Returns:
        For a potential, two chains of atoms with their energies, eV, and forces, eV/Å. For a
        denoiser of molecules, two molecules that it makes, Å. All of it can be written as JSON, for
        the entry ``example`` of a card. None for models of other kinds.

    Example:
        >>> from equinet import zoo
        >>> example = work_out(zoo.load("mace-gaunt-3bpa"))
        >>> [len(each["numbers"]) for each in example["structures"]]
        [5, 8]
    """
    wide = copy.deepcopy(model).double().eval()
    if isinstance(wide, Potential):
        return {"kind": "potential", "structures": _evaluated(wide, _chains(wide.elements))}
    if isinstance(wide, PonitaDenoiser):
        return {"kind": "denoiser", "structures": _made(wide)}
    return None


def check(model: Model, example: Mapping[str, Any]) -> str:
    """Work an example out anew and compare.

    Args:
        model: Model that is checked, which is not changed.
        example: Result of :func:`work_out` when the model was saved.

    Returns:
        Sentence with the largest difference.

    Raises:
        DataError: The results are others, or the example cannot be read.

    Example:
        >>> from equinet import zoo
        >>> model = zoo.load("mace-gaunt-3bpa")
        >>> check(model, work_out(model))
        '2 structures evaluated as when it was saved, to 0.0e+00'
    """
    wide = copy.deepcopy(model).double().eval()
    try:
        expected = example["structures"]
        if isinstance(wide, Potential):
            found = _evaluated(wide, expected)
        elif isinstance(wide, PonitaDenoiser):
            found = _made(wide)
        else:
            raise DataError(f"a {type(model).__name__} has no worked example")
        differences = [_difference(*pair) for pair in zip(found, expected, strict=True)]
        difference = float(np.max(differences))
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"the worked example in the card cannot be read: {error!r}") from error
    if not difference <= _TOLERANCE:
        raise DataError(
            f"the model does not give the results of its worked example: they differ by "
            f"{difference:.3g}, and {_TOLERANCE:g} is allowed; fetch it anew, or run equinet doctor"
        )
    return f"{len(expected)} structures evaluated as when it was saved, to {difference:.1e}"


def _chains(elements: tuple[int, ...]) -> list[dict[str, Any]]:
    """Return two bent chains of atoms of some elements in turn, with bonds of about 1.4 Å."""
    chains = []
    for count in _LENGTHS:
        places = np.arange(count)
        bends = np.stack([1.2 * places, 0.7 * (places % 2), 0.3 * (places % 3)], axis=1)
        numbers = [elements[place % len(elements)] for place in range(count)]
        chains.append({"numbers": numbers, "positions": bends.tolist()})
    return chains


def _evaluated(model: Potential, structures: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return structures with the energies and forces of a potential."""
    # Reading and writing structures, which only this needs, is slow to import.
    from equinet.data import Frame

    frames = [
        Frame(
            np.array(each["numbers"]),
            np.array(each["positions"], dtype=float),
            np.zeros((3, 3)),
            np.zeros(3, dtype=bool),
            source="the worked example",
        )
        for each in structures
    ]
    return [
        {
            "numbers": list(each["numbers"]),
            "positions": each["positions"],
            "energy": float(results["energy"]),
            "forces": np.asarray(results["forces"]).tolist(),
        }
        for each, results in zip(structures, model.evaluate_many(frames), strict=True)
    ]


def _made(model: PonitaDenoiser) -> list[dict[str, Any]]:
    """Return molecules that a denoiser makes from the seed zero."""
    import torch

    numbers = [0, 1]
    made = generate(model, numbers, sampling_levels(_STEPS), seed=0, dtype=torch.float64)
    return [
        {"numbers": each.numbers.tolist(), "positions": each.positions.tolist()} for each in made
    ]


def _difference(found: Mapping[str, Any], expected: Mapping[str, Any]) -> float:
    """Return the largest difference of any number; infinite where there are other atoms."""
    if found["numbers"] != expected["numbers"]:
        return float("inf")
    differences = [
        np.abs(np.subtract(found[name], expected[name])).ravel()
        for name in found
        if name != "numbers"
    ]
    return float(np.max(np.concatenate(differences)))
