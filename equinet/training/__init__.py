"""Training on Lightning: tasks, losses, metrics, schedules, checkpoints, reports."""

from equinet.training.check import FirstBatchCheck, ModelCheckError, measure
from equinet.training.checkpoints import RunCheckpoint, StepSeed, TrainingInterruptedError
from equinet.training.classification import ClassificationErrors
from equinet.training.classification_task import ClassificationTask
from equinet.training.evaluation import Predictions, predict, table
from equinet.training.image_task import ImageClassification, ImageErrors, multiply_adds
from equinet.training.loader import EpochLoader
from equinet.training.losses import LossWeights, Residuals, residuals
from equinet.training.metrics import PotentialErrors
from equinet.training.muon import Muon
from equinet.training.position_task import PositionErrors, PositionTask
from equinet.training.potential_task import PotentialTask
from equinet.training.probe import probe, probe_settings
from equinet.training.progress import ErrorBar, MetricsTable
from equinet.training.relaxation import Relaxed, relax
from equinet.training.relaxed_energy_task import RelaxedEnergyTask
from equinet.training.s2ef_task import S2EFTask
from equinet.training.schedules import Cosine, Plateau
from equinet.training.session import fit, seed_everything
from equinet.training.task import Evaluation, Task
from equinet.training.transmutation import transmutable, transmute

__all__ = [
    "ClassificationErrors",
    "ClassificationTask",
    "Cosine",
    "EpochLoader",
    "ErrorBar",
    "Evaluation",
    "FirstBatchCheck",
    "ImageClassification",
    "ImageErrors",
    "LossWeights",
    "MetricsTable",
    "ModelCheckError",
    "Muon",
    "Plateau",
    "PositionErrors",
    "PositionTask",
    "PotentialErrors",
    "PotentialTask",
    "Predictions",
    "Relaxed",
    "RelaxedEnergyTask",
    "Residuals",
    "RunCheckpoint",
    "S2EFTask",
    "StepSeed",
    "Task",
    "TrainingInterruptedError",
    "fit",
    "measure",
    "multiply_adds",
    "predict",
    "probe",
    "probe_settings",
    "relax",
    "residuals",
    "seed_everything",
    "table",
    "transmutable",
    "transmute",
]
