"""One run from start to end."""

import pytest
import torch
from lightning.pytorch import Callback

from equinet import zoo
from equinet.errors import ConfigError, EquinetError
from equinet.models import Committee, MACEGaunt
from equinet.training import LossWeights, Plateau, PotentialTask, seed_everything
from equinet.training.tasks import compiling


def test_training_helps(whole, run_fit):
    short = run_fit(max_steps=1)
    test = [run.metrics["sets"]["test"]["forces_rmse"] for run in (short, whole)]
    assert test[1] < test[0]


def test_memory_errors_say_what_to_change(run_fit, monkeypatch):
    def full(*_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr("equinet.training.PotentialTask.training_step", full)
    with pytest.raises(EquinetError, match=r"lower data\.batch_size"):
        run_fit()


def test_fewer_batches_than_processes_are_refused(run_fit, monkeypatch):
    from lightning.pytorch import Trainer

    monkeypatch.setattr(Trainer, "world_size", 8)
    with pytest.raises(ConfigError, match="5 training batches for 8 processes"):
        run_fit()


def test_seeding_is_repeatable_and_sets_the_precision_of_products():
    draws = []
    for tf32 in (True, False):
        seed_everything(5, tf32=tf32)
        draws.append(torch.rand(3).tolist())
        assert torch.get_float32_matmul_precision() == ("high" if tf32 else "highest")
    assert draws[0] == draws[1]


def test_calibrated_once_on_the_first_batch_of_the_run(run_fit, tiny_data, monkeypatch):
    seen = []
    monkeypatch.setattr(PotentialTask, "calibrate", lambda _, graph: seen.append(graph))
    run_fit(max_steps=1)
    run_fit(max_steps=2)
    (graph,) = seen
    assert torch.equal(graph.pos, next(iter(tiny_data.train_loader())).pos)


def test_a_committee_is_trained_in_one_run_and_loaded(run_fit, batch):
    run = run_fit("committee", max_epochs=2, members=2)
    model = zoo.load(run.directory.path)
    assert isinstance(model, Committee)
    found = model(batch)
    apart = [member(batch)["energy"] for member in model.members]
    torch.testing.assert_close(found["energy"], torch.stack(apart).mean(0))
    assert (found["energy_spread"] > 0).all()


def test_energies_weigh_little_until_most_of_the_budget_is_spent(run_fit, monkeypatch):
    weights = []
    plain = LossWeights.loss

    def seen(self, errors, **options):
        weights.append(self.energy)
        return plain(self, errors, **options)

    monkeypatch.setattr(LossWeights, "loss", seen)
    run = run_fit(max_steps=10, early_energy_weight=0.25)
    assert weights == [0.25] * 7 + [1000.0] * 3
    # The loss that chooses the best checkpoint never changes its weights.
    assert run.task.val_errors.weights.energy == 1000.0
    weights.clear()
    run_fit("resumed", max_steps=8, early_energy_weight=0.25)
    run_fit("resumed", max_steps=10, early_energy_weight=0.25)
    assert weights[-2:] == [1000.0, 1000.0]


def test_an_early_weight_needs_a_budget(run_fit):
    with pytest.raises(ConfigError, match=r"task\.early_energy_weight needs a budget"):
        run_fit(early_energy_weight=0.25, max_epochs=-1, schedule=Plateau())


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_a_share_beyond_the_whole_is_refused(make_model, share):
    with pytest.raises(ValueError, match="early_share must be between 0 and 1"):
        PotentialTask(model=make_model(), optimizer=torch.optim.SGD, early_share=share)


@pytest.fixture
def seen(monkeypatch):
    """Networks that were compiled; a compiler is there."""
    seen = []

    def noted(network, **_):
        seen.append(network)

    monkeypatch.setattr(MACEGaunt, "compile", noted)
    monkeypatch.setattr(compiling.torch, "compile", lambda function: function)
    return seen


@pytest.mark.parametrize(
    ("compiled", "budget", "expected"),
    [
        (True, {}, 2),
        (False, {"max_time": {"minutes": 20}}, 0),
        (None, {"max_time": {"minutes": 20}}, 2),
        (None, {"max_time": {"minutes": 10}}, 2),
        (None, {"max_time": {"minutes": 9}}, 0),
        (None, {"max_time": {"minutes": 20}, "max_steps": 3}, 0),
        (None, {}, 0),
    ],
)
def test_every_network_is_compiled_before_the_first_step(
    short_run, tmp_path, monkeypatch, seen, compiled, budget, expected
):
    steps = []
    forward = MACEGaunt.forward

    def counted(self, *arguments, **options):
        steps.append(len(seen))
        return forward(self, *arguments, **options)

    monkeypatch.setattr(MACEGaunt, "forward", counted)
    run = short_run(tmp_path / "run", members=2, compiled=compiled, max_epochs=1, **budget)
    assert len(seen) == expected
    assert all(network in run.task.model.members for network in seen)
    assert steps[-1] == expected


def test_networks_that_take_long_to_compile_are_trained_as_they_are(run_fit, monkeypatch, seen):
    monkeypatch.setattr(MACEGaunt, "quick_to_compile", False)
    run_fit(compiled=None, max_time={"minutes": 20}, max_epochs=1)
    assert not seen


def test_without_a_compiler_only_a_request_for_one_is_refused(run_fit, monkeypatch, seen, caplog):
    def broken(_):
        raise RuntimeError("no C++ compiler\nand a long explanation")

    monkeypatch.setattr(compiling.torch, "compile", broken)
    with pytest.raises(ConfigError, match=r"cannot compile here \(no C\+\+ compiler\); install"):
        run_fit(compiled=True, max_epochs=1)
    with caplog.at_level("INFO", "equinet"):
        run_fit(compiled=None, max_time={"minutes": 20}, max_epochs=1)
    assert "not possible here, so steps take longer: no C++ compiler" in caplog.text
    assert not seen


class _NoGradient(torch.autograd.Function):
    """The identity, with a derivative that no compiler can make."""

    @staticmethod
    def forward(_, x):
        return x.clone()

    @staticmethod
    def backward(_, _gradient):
        raise RuntimeError("backend='x' raised:\nno memory for the gradient")


def _fails_at_once(*_, **__):
    raise RuntimeError("no C++ compiler")


def _fails_when_called(_):
    return _fails_at_once


def _fails_in_validation(evaluate):
    def compiled(*tensors, **wanted):
        if not evaluate.__self__.training:
            raise RuntimeError("no C++ compiler")
        return evaluate(*tensors, **wanted)

    return compiled


def _fails_when_differentiated(evaluate):
    def compiled(*tensors, **wanted):
        return {name: _NoGradient.apply(x) for name, x in evaluate(*tensors, **wanted).items()}

    return compiled


@pytest.fixture
def failing(monkeypatch):
    """Set what is compiled at the second call, after the small function that is tried first."""

    def set_failure(broken):
        calls = []

        def compile_once(function, **_):
            calls.append(function)
            return function if len(calls) == 1 else broken(function)

        monkeypatch.setattr(compiling.torch, "compile", compile_once)

    return set_failure


@pytest.mark.parametrize("members", [1, 2])
@pytest.mark.parametrize(
    ("broken", "said"),
    [
        (_fails_at_once, "no C++ compiler"),
        (_fails_when_called, "no C++ compiler"),
        (_fails_when_differentiated, "no memory for the gradient"),
        (_fails_in_validation, "no C++ compiler"),
    ],
)
def test_where_the_compiler_fails_later_the_run_is_the_one_without_it(
    run_fit, failing, caplog, broken, said, members
):
    if broken is _fails_in_validation and members > 1:
        pytest.skip("committees are validated as written")
    budget = {"max_time": {"minutes": 20}, "max_epochs": 1, "members": members}
    failing(broken)
    with caplog.at_level("WARNING", "equinet"):
        found = run_fit("compiled", compiled=None, **budget)
    (warning,) = [text for text in caplog.messages if text.startswith("Compile")]
    assert warning.endswith(f"so steps take longer: {said}")
    expected = run_fit("plain", compiled=False, **budget)
    weights = expected.task.state_dict()
    for name, value in found.task.state_dict().items():
        assert torch.equal(value, weights[name]), name


@pytest.mark.parametrize("broken", [_fails_at_once, _fails_when_called, _fails_when_differentiated])
def test_a_request_to_compile_is_refused_where_the_compiler_fails_later(run_fit, failing, broken):
    failing(broken)
    with pytest.raises(ConfigError, match=r"task\.compiled=true: torch cannot compile here \(no "):
        run_fit(compiled=True, max_epochs=1)


def test_ctrl_c_before_the_first_step_stays_ctrl_c(run_fit):
    """Lightning would exit with 1, as after a failure."""

    class Interrupts(Callback):
        def on_fit_start(self, *_):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_fit(extra=(Interrupts(),))
