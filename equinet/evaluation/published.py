"""Published errors on known test sets, to print beside those of a model."""

from dataclasses import dataclass


@dataclass(frozen=True)
class PublishedRow:
    """Errors that a publication reports for one test set.

    Attributes:
        model: Name of the model, as published.
        energy_rmse: RMSE of the total energies of structures, meV.
        forces_rmse: RMSE of the force components, meV/Å.
        source: Publication that reports the errors.
    """

    model: str
    energy_rmse: float
    forces_rmse: float
    source: str


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
        PublishedRow(model, pair[0], pair[1], source)
        for model, source, errors in _THREE_BPA
        if (pair := errors[index]) is not None
    ]
