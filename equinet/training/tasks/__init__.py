"""Lightning modules, one for each type of prediction, with its loss and errors."""

from equinet.training.tasks.diffusion import DiffusionErrors, DiffusionTask
from equinet.training.tasks.graph_classes import ClassificationTask
from equinet.training.tasks.image_classes import ImageClassification, ImageErrors, multiply_adds
from equinet.training.tasks.is2re import RelaxedEnergyTask
from equinet.training.tasks.position import PositionErrors, PositionTask
from equinet.training.tasks.potential import PotentialTask
from equinet.training.tasks.property import PropertyTask
from equinet.training.tasks.s2ef import S2EFTask
from equinet.training.tasks.task import Evaluation, Task
from equinet.training.tasks.transmutation import transmutable, transmute

__all__ = [
    "ClassificationTask",
    "DiffusionErrors",
    "DiffusionTask",
    "Evaluation",
    "ImageClassification",
    "ImageErrors",
    "PositionErrors",
    "PositionTask",
    "PotentialTask",
    "PropertyTask",
    "RelaxedEnergyTask",
    "S2EFTask",
    "Task",
    "multiply_adds",
    "transmutable",
    "transmute",
]
