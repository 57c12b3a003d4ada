"""Training with Lightning: tasks, losses, metrics, schedules, checkpoints and reports."""

from equinet.evaluation import (
    ClassificationErrors,
    LossWeights,
    PotentialErrors,
    Predictions,
    Relaxed,
    Residuals,
    predict,
    relax,
    residuals,
    table,
)
from equinet.training.check import FirstBatchCheck, ModelCheckError, measure
from equinet.training.checkpoints import RunCheckpoint, StepSeed, TrainingInterruptedError
from equinet.training.divergence import TrainingDivergedError
from equinet.training.initial import initial_model, prepare_initial, train_parts
from equinet.training.loader import EpochLoader
from equinet.training.muon import Muon
from equinet.training.probe import probe, probe_settings
from equinet.training.progress import ErrorBar, MetricsTable
from equinet.training.schedules import Cosine, Plateau
from equinet.training.session import fit, seed_everything
from equinet.training.tasks import (
    ClassificationTask,
    DiffusionErrors,
    DiffusionTask,
    Evaluation,
    ImageClassification,
    ImageErrors,
    PositionErrors,
    PositionTask,
    PotentialTask,
    PropertyTask,
    RelaxedEnergyTask,
    S2EFTask,
    Task,
    multiply_adds,
    transmutable,
    transmute,
)

__all__ = [
    "ClassificationErrors",
    "ClassificationTask",
    "Cosine",
    "DiffusionErrors",
    "DiffusionTask",
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
    "PropertyTask",
    "Relaxed",
    "RelaxedEnergyTask",
    "Residuals",
    "RunCheckpoint",
    "S2EFTask",
    "StepSeed",
    "Task",
    "TrainingDivergedError",
    "TrainingInterruptedError",
    "fit",
    "initial_model",
    "measure",
    "multiply_adds",
    "predict",
    "prepare_initial",
    "probe",
    "probe_settings",
    "relax",
    "residuals",
    "seed_everything",
    "table",
    "train_parts",
    "transmutable",
    "transmute",
]
