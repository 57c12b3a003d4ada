"""Names that a user types, and which were probably meant."""

import pytest

from equinet.names import did_you_mean, named, nearest


def test_the_most_similar_name_is_suggested():
    options = ["channels", "layers", "lmax_filter"]
    assert nearest("chanels", options) == ["channels"]
    assert did_you_mean("lmax_filer", options) == "; did you mean 'lmax_filter'?"
    assert did_you_mean("something else", options) == ""


def test_capitals_do_not_hide_a_similar_name():
    assert nearest("ev", ["eV", "Hartree"]) == ["eV"]
    assert nearest("HARTREE", ["eV", "Hartree"]) == ["Hartree"]


def test_a_name_stands_for_its_option_or_is_refused():
    options = {"mean": 1, "max": 2}
    assert named("max", options, "pooling") == 2
    with pytest.raises(ValueError, match="pooling 'maen' is unknown: did you mean 'mean', of mean"):
        named("maen", options, "pooling")
    with pytest.raises(ValueError, match="pooling 'q' is unknown: choose from mean, max"):
        named("q", options, "pooling")
