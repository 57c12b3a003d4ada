"""Sets with energies alone can be trained on and evaluated."""

import pytest

from equinet import evaluate, train
from equinet.configuration import hydra_command
from equinet.errors import DataError

TINY = (
    *("model.channels=2", "model.layers=1", "model.lmax_filter=1", "model.lmax_hidden=0"),
    *("trainer.max_steps=2", "trainer=cpu", "data.val=3"),
)


def compose(name, *overrides):
    return hydra_command.compose(name, list(overrides))


@pytest.fixture
def energies(tmp_path):
    frames = [
        f'2\nProperties=species:S:1:pos:R:3 energy={-1 - 0.1 * i} dipole="0 0 1" pbc="F F F"\n'
        f"N 0 0 0\nN 0 0 {1.05 + 0.02 * i}\n"
        for i in range(12)
    ]
    (tmp_path / "cc.xyz").write_text("".join(frames))
    return tmp_path / "cc.xyz"


def test_training_and_evaluation(energies, tmp_path):
    command = ("data=files", f"data.train={energies}", f"run.dir={tmp_path / 'run'}", *TINY)
    with pytest.raises(DataError, match=r"no forces, .*dipole; .*data.forces_key.*forces_weight=0"):
        train.run(compose("train", *command))
    metrics = train.run(compose("train", *command, "task.forces_weight=0"))
    assert metrics["sets"]["val"]["energy_rmse"] > 0
    assert not [name for name in metrics["sets"]["val"] if name.startswith("forces")]
    found = evaluate.run(
        compose("evaluate", f"checkpoint={tmp_path / 'run'}", f"data.file={energies}")
    )
    assert found["errors"]["energy_mae"] > 0
    assert not [name for name in found["errors"] if name.startswith("forces")]
