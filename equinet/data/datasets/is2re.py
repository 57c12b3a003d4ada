"""Data module of OC20's IS2RE task: the energy of the relaxed structure from the initial structure.

Source: Chanussot et al., ACS Catal. 11, 6059 (2021), doi 10.1021/acscatal.0c04525 (CC BY 4.0).
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

from equinet.data.atoms import Frame, make_relaxations
from equinet.data.cache import cached_splits
from equinet.data.datasets.oc20 import OC20
from equinet.data.loading import Splits


class IS2RE(OC20):
    """Data module of initial structures, labeled with the energies of the relaxed structures.

    If ``root`` is given, the splits are read from that folder: the downloaded and unpacked folders
    that contain ``data.lmdb`` (``is2re/all`` with ``train``, ``val_id``, ``val_ood_ads`` and so
    on), or stores made from them. LMDB files are converted into the cache on first use, by a reader
    that does not run code in them. Frames have no forces.

    Without ``root``, slabs with adsorbates are generated once and relaxed with ASE's EMT potential;
    :meth:`describe` says that they are not OC20.

    Arguments and errors are those of :class:`equinet.data.OC20`. The name of a split can be a path
    below ``root``, such as ``train="10k/train"`` and ``val="all/val_id"``.

    Example:
        >>> data = IS2RE(root="is2re/all", cutoff=5.0, max_neighbors=50)  # prepare() reads files
        >>> data.neighborhood.max_neighbors
        50
    """

    _train_names: ClassVar[tuple[str, ...]] = ("is2re_train", "train")
    _val_names: ClassVar[tuple[str, ...]] = ("is2re_val_id", "val_id")
    _test_names: ClassVar[tuple[str, ...]] = ("is2re_val_ood", "val_ood")
    _relaxed: ClassVar[bool] = True

    def _embedded(self) -> Splits:
        names = ("train", "val", "test_id", "test_ood")
        made = cached_splits("relaxations-v2", make_relaxations, names, cache=self.cache)
        about = "generated EMT relaxations, NOT OC20 (give its folder as data.root)"
        tests = {name: _without_forces(made[name]) for name in names[2:]}
        return Splits(_without_forces(made["train"]), _without_forces(made["val"]), tests, about)


def _without_forces(frames: Sequence[Frame]) -> list[Frame]:
    return [replace(frame, forces=None) for frame in frames]
