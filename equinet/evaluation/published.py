"""Published errors on known test sets, to print beside those of a model."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from equinet.evaluation.errors import Error, tabulated
from equinet.evaluation.tables import lay_out


@dataclass(frozen=True)
class PublishedRow:
    """Errors that a publication reports for one test set.

    Attributes:
        model: Name of the model, as published.
        errors: Errors by name, in the units of their declarations.
        source: Publication that reports the errors.
        training: Data that the model was trained on.

    Example:
        >>> row = PublishedRow("MACE", {"energy_rmse": 3.0, "forces_rmse": 8.8}, "NeurIPS 2022")
        >>> row.errors["forces_rmse"]
        8.8
    """

    model: str
    errors: Mapping[str, float]
    source: str
    training: str = "train_300K"


_ALLEGRO = "Musaelian et al. 2023"
_MACE = "Batatia et al. 2022"
_GAUNT = "Luo et al. 2024"
_RACE = "BAM README"

_Pair = tuple[float, float]

# Energy and force RMSE on test_300K, test_600K, test_1200K, test_dih; every model was trained on
# train_300K. None where the publication has no number.
_THREE_BPA: tuple[tuple[str, str, tuple[_Pair | None, ...]], ...] = (
    ("GAFF-form force field", _ALLEGRO, ((60.8, 302.8), (136.8, 407.9), (325.5, 670.9), None)),
    ("sGDML", _ALLEGRO, ((9.1, 46.2), (484.8, 439.2), (774.5, 711.1), None)),
    ("GAP", _ALLEGRO, ((22.8, 87.3), (61.4, 151.9), (166.8, 305.5), None)),
    ("ANI fine-tuned", _ALLEGRO, ((23.5, 42.8), (37.8, 71.7), (76.8, 129.6), None)),
    ("ACE", _ALLEGRO, ((7.1, 27.1), (24.0, 64.3), (85.3, 187.0), None)),
    ("Allegro L=3", _ALLEGRO, ((3.84, 12.98), (12.07, 29.11), (42.57, 82.96), None)),
    ("NequIP L=3", _ALLEGRO, ((3.28, 10.77), (11.16, 26.37), (38.52, 76.18), None)),
    ("RACE", _RACE, ((3.4, 12.1), (11.7, 31.8), (37.5, 115.3), None)),
    ("BOTNet L=3", _MACE, ((3.1, 11.0), (11.5, 26.7), (39.1, 81.1), (16.3, 20.0))),
    ("MACE L=0", _MACE, ((4.5, 14.6), (13.7, 33.3), (37.1, 81.6), (12.3, 26.1))),
    ("MACE L=1", _MACE, ((3.4, 10.3), (9.9, 24.6), (31.7, 67.8), (11.5, 19.3))),
    ("MACE L=2", _MACE, ((3.0, 8.8), (9.7, 21.8), (29.8, 62.0), (7.8, 16.5))),
    ("MACE-Gaunt", _GAUNT, ((2.9, 9.2), (10.6, 22.2), (30.4, 63.1), (9.9, 17.7))),
)
_TESTS = ("test_300K.xyz", "test_600K.xyz", "test_1200K.xyz", "test_dih.xyz")


def published_rows(official_name: str) -> list[PublishedRow]:
    """Return the published errors on an official test file of 3BPA, worst first.

    Args:
        official_name: Name of the file in the official set, such as ``test_300K.xyz``.

    Returns:
        Rows; none for files without published numbers.

    Example:
        >>> published_rows("test_300K.xyz")[-1].model
        'MACE-Gaunt'
    """
    if official_name not in _TESTS:
        return []
    index = _TESTS.index(official_name)
    return [
        PublishedRow(model, {"energy_rmse": pair[0], "forces_rmse": pair[1]}, source)
        for model, source, errors in _THREE_BPA
        if (pair := errors[index]) is not None
    ]


_PONITA = "PONITA README, Bekkers et al. 2024"
_EGNN = "Satorras et al. 2021"
_TARGETS = ("mu", "alpha", "homo", "lumo", "gap", "r2", "zpve", "U0", "U", "H", "G", "Cv")

# MAE in D, a0³, meV, a0² and cal/(mol K), in the order of the targets; None where the publication
# has no number. G is in eV in the README, whose baseline has none of its own.
_QM9: tuple[tuple[str, str, tuple[float | None, ...]], ...] = (
    (
        "SchNet",
        _EGNN,
        (0.033, 0.235, 41, 34, 63, None, None, None, None, 14, 14, 0.033),
    ),
    (
        "Cormorant",
        _EGNN,
        (0.038, 0.085, 34, 38, 61, None, None, None, None, 21, 20, 0.026),
    ),
    (
        "EGNN",
        _EGNN,
        (0.029, 0.071, 29, 25, 48, None, None, None, None, 12, 12, 0.031),
    ),
    (
        "PNITA",
        _PONITA,
        (0.0207, 0.0602, 26.1, 21.9, 43.4, 0.149, 1.53, 10.71, 10.63, 11.00, 11.2, 0.0307),
    ),
    (
        "PONITA, lifted",
        _PONITA,
        (0.0115, 0.0446, 18.6, 15.3, 33.5, 0.227, 1.29, 9.20, 9.00, 8.54, 9.5, 0.0250),
    ),
    (
        "PONITA, 16 orientations",
        _PONITA,
        (0.0121, 0.0375, 16.0, 14.5, 30.4, 0.235, 1.29, 8.31, 8.67, 8.04, 8.63, 0.0242),
    ),
)


def published_properties(names: Iterable[str]) -> list[PublishedRow]:
    """Return the published errors on the test set of QM9, of models trained on 110 000 molecules.

    Args:
        names: Names of the properties that are of interest.

    Returns:
        Rows with the mean absolute errors of these properties, without models that report none.

    Example:
        >>> published_properties(["gap"])[-1].errors
        {'gap_mae': 30.4}
    """
    wanted = set(names)
    rows = []
    for model, source, values in _QM9:
        found = {
            f"{name}_mae": value
            for name, value in zip(_TARGETS, values, strict=True)
            if name in wanted and value is not None
        }
        if found:
            rows.append(PublishedRow(model, found, source, "110 000 molecules"))
    return rows


def published_table(name: str, published: Sequence[PublishedRow], declared: Sequence[Error]) -> str:
    """Lay out published errors as those of a run are.

    Args:
        name: Name of the set that the errors refer to.
        published: Rows of models that were trained on the same data, at least one.
        declared: Declarations of the errors.

    Example:
        >>> print(published_table("test", published_properties(["gap"])[-1:],
        ...                       [Error("gap_mae", "gap MAE", "meV", digits=1)]))
        published on test, trained on 110 000 molecules:
        set                      structures      gap MAE
                                                     meV
        PONITA, 16 orientations                     30.4
    """
    rows = [{"name": row.model, "structures": "", **row.errors} for row in published]
    head = f"published on {name}, trained on {published[0].training}:"
    return f"{head}\n{lay_out(rows, tabulated(declared, rows))}"
