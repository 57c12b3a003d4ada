"""What follows from the declared errors of each task, to the letter."""

import pytest

from equinet.training import (
    ClassificationTask,
    ImageClassification,
    PositionTask,
    PotentialTask,
    RelaxedEnergyTask,
    S2EFTask,
)
from equinet.training.progress import line

TASKS = (
    *(PotentialTask, S2EFTask, RelaxedEnergyTask),
    *(PositionTask, ClassificationTask, ImageClassification),
)
COLUMNS = {
    PotentialTask: (
        "train_loss train_energy_rmse_meV train_forces_rmse_meV_per_A val_loss val_energy_rmse_meV "
        "val_energy_mae_meV val_energy_rmse_per_atom_meV val_energy_mae_per_atom_meV "
        "val_forces_rmse_meV_per_A val_forces_mae_meV_per_A val_stress_rmse_meV_per_A3 "
        "val_stress_mae_meV_per_A3"
    ),
    S2EFTask: (
        "train_loss train_energy_mae_meV train_forces_mae_meV_per_A val_loss val_energy_mae_meV "
        "val_forces_mae_meV_per_A val_forces_cosine val_efwt_percent val_ewt_percent "
        "val_forces_magnitude_error_meV_per_A"
    ),
    RelaxedEnergyTask: (
        "train_loss train_energy_mae_meV train_ewt_percent val_loss val_energy_mae_meV "
        "val_ewt_percent"
    ),
    PositionTask: "train_loss train_mse val_loss val_mse val_mse_averaged val_equivariance_error",
    ClassificationTask: (
        "train_loss train_cross_entropy train_error_percent val_loss val_cross_entropy "
        "val_cross_entropy_averaged val_accuracy_percent val_error_percent "
        "val_error_averaged_percent val_equivariance_error"
    ),
    ImageClassification: (
        "train_loss train_accuracy_percent train_images_per_second val_loss val_accuracy_percent"
    ),
}
LINES = {
    PotentialTask: "train E 0.2 meV F 0.4 meV/Å  val E 0.6 meV F 1.1 meV/Å",
    S2EFTask: ("train E 0.2 meV F 0.4 meV/Å  val E 0.6 meV F 0.7 meV/Å cos 0.864 EFwT 0.99 %"),
    RelaxedEnergyTask: "train E 0.2 meV EwT 0.37 %  val E 0.6 meV EwT 0.74 %",
    PositionTask: (
        "train MSE 0.24691  val MSE 0.49383 averaged 0.61728 equivariance error 7.4e-01"
    ),
    ClassificationTask: (
        "train error 0.37 % cross entropy 0.2469  val error 0.99 % averaged 1.11 % "
        "cross entropy 0.6173 equivariance error 1.2e+00"
    ),
    ImageClassification: "train 0.25 % loss 0.1235  val 0.62 % loss 0.4938",
}
HEADS = {
    PotentialTask: [
        *("E RMSE", "E MAE", "E RMSE/atom", "F RMSE", "F MAE", "S RMSE", "S MAE"),
        *("meV", "meV", "meV", "meV/Å", "meV/Å", "meV/Å³", "meV/Å³"),
    ],
    S2EFTask: ["E MAE", "F MAE", "F cosine", "EFwT", "meV", "meV/Å", "%"],
    RelaxedEnergyTask: ["E MAE", "EwT", "meV", "%"],
    PositionTask: ["MSE", "averaged", "equivariance"],
    ClassificationTask: [
        *("accuracy", "error", "averaged", "entropy", "equivariance"),
        *("%", "%", "%"),
    ],
    ImageClassification: ["accuracy", "loss", "images/s", "%"],
}
VALUES = {
    PotentialTask: "0.37 0.12 0.49 0.74 0.62 1.11 0.99",
    S2EFTask: "0.25 0.99 0.864 0.12",
    RelaxedEnergyTask: "0.12 0.25",
    PositionTask: "0.37037 0.49383 0.12346",
    ClassificationTask: "0.12 0.62 0.74 0.2469 0.49383",
    ImageClassification: "0.12 0.3704 0",
}
CURVES = {
    PotentialTask: {
        "energy_rmse_meV": "energy RMSE (meV)",
        "forces_rmse_meV_per_A": "force RMSE (meV/Å)",
    },
    S2EFTask: {
        "energy_mae_meV": "energy MAE (meV)",
        "forces_mae_meV_per_A": "force MAE (meV/Å)",
    },
    RelaxedEnergyTask: {"energy_mae_meV": "energy MAE (meV)"},
    PositionTask: {
        "mse": "MSE of the positions",
        "equivariance_error": "relative equivariance error",
    },
    ClassificationTask: {
        "error_percent": "error (%)",
        "cross_entropy": "cross entropy",
        "equivariance_error": "relative equivariance error",
    },
    ImageClassification: {"accuracy_percent": "accuracy (%)", "loss": "loss"},
}


@pytest.mark.parametrize("task", TASKS)
def test_columns_of_the_metrics_table(task):
    assert " ".join(task.columns) == COLUMNS[task]


@pytest.mark.parametrize("task", TASKS)
def test_lines_of_the_log(task):
    row = {"epoch": 1, "step": 9, "seconds": 65.0, "lr": 0.01}
    row |= {name: 0.1234567 * (place + 1) for place, name in enumerate(task.columns)}
    expected = f"epoch    1  step      9  {LINES[task]}  lr 1.0e-02  1m05s"
    assert line(row, task.shown) == expected


@pytest.mark.parametrize("task", TASKS)
def test_tables(task):
    values = {name: 0.1234567 * (place + 1) for place, name in enumerate(sorted(task.units))}
    *head, row = task.table(task, [{"name": "val", "structures": 7, **values}]).splitlines()
    words = " ".join(head).split()
    assert words == ["set", "structures", *" ".join(HEADS[task]).split()]
    assert row.split() == ["val", "7", *VALUES[task].split()]


@pytest.mark.parametrize("task", TASKS)
def test_learning_curves(task):
    assert list(task.curves.items()) == list(CURVES[task].items())


def test_no_error_is_declared_twice():
    for task in TASKS:
        names = [error.name for error in task.declared]
        assert len(names) == len(set(names)), task
