"""Files from which the tests of the store convert."""

import pytest
from oc20_files import slab, write_pair


@pytest.fixture
def pairs(tmp_path):
    """Three pairs of 4, 3 and 5 frames; 10 comes after 9."""
    folder = tmp_path / "s2ef_train_tiny"
    for stem, count in ((9, 4), (10, 3), (2, 5)):
        write_pair(folder, stem, [slab(100 * stem + i, metals=4 + i) for i in range(count)])
    return folder
