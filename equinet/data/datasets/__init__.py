"""Data modules of single data sets: how files are downloaded, generated and split."""

from equinet.data.datasets.affnist import AffNIST, HomNIST
from equinet.data.datasets.files import AtomisticFiles
from equinet.data.datasets.is2re import IS2RE
from equinet.data.datasets.molecule_files import MoleculeFiles
from equinet.data.datasets.nbody import NBody
from equinet.data.datasets.oc20 import OC20, read_s2ef
from equinet.data.datasets.qm9 import QM9
from equinet.data.datasets.qm9_molecules import QM9Molecules
from equinet.data.datasets.rmd17 import RMD17
from equinet.data.datasets.superpixel_mnist import SuperpixelMNIST
from equinet.data.datasets.three_bpa import ThreeBPA, official_3bpa_file

__all__ = [
    "IS2RE",
    "OC20",
    "QM9",
    "RMD17",
    "AffNIST",
    "AtomisticFiles",
    "HomNIST",
    "MoleculeFiles",
    "NBody",
    "QM9Molecules",
    "SuperpixelMNIST",
    "ThreeBPA",
    "official_3bpa_file",
    "read_s2ef",
]
