"""Train a model: ``python -m equinet.train +experiment=NAME [data.root=DIR] [any.key=value]``."""

import contextlib
import logging
import os
import sys
import traceback
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import Timer

from equinet import config, training
from equinet.errors import ConfigError
from equinet.run_directory import RunDirectory, close_log, open_log

_log = logging.getLogger(__name__)

# What data modules tell models, each its own part of it.
_MEASURED = (
    *("average_neighbors", "elements", "reference_energies", "scale", "shift", "cutoff"),
    *("max_neighbors", "tie_tolerance"),
    *("in_scalars", "in_vectors", "in_edge_scalars", "out_scalars", "out_vectors", "level"),
    "classes",
)


def check(tree: Mapping[str, Any]) -> None:
    """Compare all groups with the constructors they name, before anything is read or built.

    Raises:
        ConfigError: A forbidden target, an unknown option or a missing one, or a value of another
            kind than is taken.
    """
    config.check_kind(tree["seed"], int, "seed")
    if not 0 <= tree["seed"] < 2**32:
        raise ConfigError(f"seed: {tree['seed']} is not between 0 and 2**32 - 1")
    config.check_kind(tree["run"]["tf32"], bool, "run.tf32")
    config.check_kind(tree["run"]["probe"], int, "run.probe")
    for name in ("checkpoint_minutes", "log_seconds"):
        config.check_kind(tree["run"][name], float, f"run.{name}")
    config.check(tree["data"], "data")
    config.check(tree["model"], "model", provided=_MEASURED)
    config.check(tree["optim"], "optim")
    config.check(tree["schedule"], "schedule")
    config.check(tree["task"], "task", provided=("model", "optimizer"))
    config.check(tree["trainer"], "trainer")
    config.check(tree["callbacks"], "callbacks")
    for name, node in (tree["logger"] or {}).items():
        config.check(node, f"logger.{name}", provided=("save_dir",))
    if (tree["trainer"].get("gradient_clip_val") or 0) < 0:
        # Torch would turn the gradient round.
        raise ConfigError(
            f"trainer.gradient_clip_val: {tree['trainer']['gradient_clip_val']} is negative; "
            "say null for no clipping"
        )
    if tree["trainer"].get("precision") in {"bf16-true", "16-true"}:
        raise ConfigError(
            f"trainer.precision: {tree['trainer']['precision']} would round the positions; "
            "use bf16-mixed, which keeps the geometry in float64"
        )


def run(tree: Mapping[str, Any]) -> dict[str, Any]:
    """Train what a plain configuration with the groups of ``configs/train.yaml`` describes.

    With ``run.probe`` only so many steps are taken, and the run directory is left alone.

    Returns:
        The content of ``metrics.json``, or what :func:`equinet.training.probe` found; empty on
        processes other than the first.

    Raises:
        ConfigError: As :func:`check`, or the run directory belongs to another configuration.
        EquinetError: Data, model or checkpoint cannot be used; the message says why.
    """
    check(tree)
    directory = RunDirectory(Path(tree["run"]["dir"]).resolve())
    if tree["run"]["probe"] is not None:
        return _probe(tree, directory)
    if config.process_rank() != 0:
        return _train(tree, directory)
    # The first process holds the directory for all of the run.
    with directory.held():
        previous = config.load_yaml(directory.config) if directory.config.is_file() else None
        directory.claim(tree, previous)
        config.save_yaml(tree, directory.config)
        handler = open_log(directory.log)
        try:
            return _train(tree, directory)
        except BaseException:
            _log.debug("%s", traceback.format_exc())
            raise
        finally:
            close_log(handler)


def _train(tree: Mapping[str, Any], directory: RunDirectory) -> dict[str, Any]:
    seed, options = tree["seed"], tree["run"]
    data = _data(tree)
    stamp = config.stamp(seed=seed, fingerprint=data.fingerprint())
    if config.process_rank() == 0:
        directory.write_stamp(stamp)
    task = _task(tree, data)
    loggers = [_logger(node, name, directory) for name, node in (tree["logger"] or {}).items()]
    return training.fit(
        task,
        data,
        make_trainer=partial(
            _make_trainer,
            _trainer_settings(tree),
            [logger for logger in loggers if logger],
            directory,
        ),
        callbacks=_callbacks(tree),
        directory=directory,
        stamp=stamp,
        seed=seed,
        checkpoint_minutes=options["checkpoint_minutes"],
        log_seconds=options["log_seconds"],
    )


def _probe(tree: Mapping[str, Any], directory: RunDirectory) -> dict[str, Any]:
    data = _data(tree)
    settings = _trainer_settings(tree)
    return training.probe(
        _task(tree, data),
        data,
        make_trainer=partial(_make_trainer, training.probe_settings(settings), [], directory),
        callbacks=_callbacks(tree),
        settings=settings,
        steps=tree["run"]["probe"],
        seed=tree["seed"],
    )


def _data(tree: Mapping[str, Any]) -> Any:
    """The data, ready; everything random that follows depends on the seed."""
    training.seed_everything(tree["seed"], tf32=tree["run"]["tf32"])
    data = config.instantiate(tree["data"], "data")
    data.prepare()
    return data


def _task(tree: Mapping[str, Any], data: Any) -> Any:
    model = config.instantiate(tree["model"], "model", **data.model_arguments())
    optimizer = config.instantiate(tree["optim"], "optim")
    return config.instantiate(tree["task"], "task", model=model, optimizer=optimizer)


def _callbacks(tree: Mapping[str, Any]) -> list[Any]:
    nodes = {**tree["callbacks"], "schedule": tree["schedule"]}
    return [config.instantiate(node, f"callbacks.{name}") for name, node in nodes.items() if node]


def _trainer_settings(tree: Mapping[str, Any]) -> dict[str, Any]:
    return {"max_epochs": -1, **tree["trainer"], "enable_model_summary": False}


def _make_trainer(
    settings: Mapping[str, Any], loggers: list[Any], directory: RunDirectory, callbacks: list[Any]
) -> Any:
    settings = dict(settings)
    try:
        # Always a timer: the seconds of metrics.csv and the cosine count from it.
        timer = Timer(duration=settings.pop("max_time"), verbose=False)
        return config.instantiate(
            settings,
            "trainer",
            callbacks=[timer, *callbacks],
            logger=loggers or False,
            default_root_dir=directory.path,
            enable_progress_bar=any(isinstance(c, training.ErrorBar) for c in callbacks),
            inference_mode=False,  # forces are gradients, also in validation
            num_sanity_val_steps=0,  # the first batch is checked instead
            use_distributed_sampler=False,  # EpochLoader shares the batches
        )
    except MisconfigurationException as error:
        raise ConfigError(f"trainer: {error}") from error


def _logger(node: Mapping[str, Any], name: str, directory: RunDirectory) -> Any:
    try:
        return config.instantiate(node, f"logger.{name}", save_dir=directory.path)
    except ModuleNotFoundError:
        _log.info("Logger   %s is not installed and left out: pip install 'equinet[log]'", name)
        return None


def _job(composed: Any) -> None:
    # Hydra's directory, not run.dir: it is numbered in a sweep, and Lightning hands the first
    # process's choice to the others.
    chosen = Path(HydraConfig.get().runtime.output_dir).resolve()
    launched = "TORCHELASTIC_RUN_ID" in os.environ or os.environ.get("SLURM_NTASKS", "1") != "1"
    if launched and not any(word.startswith("run.dir=") for word in sys.argv):
        raise ConfigError(
            "give run.dir=...: processes started by torchrun or srun must agree on it"
        )
    for console in logging.getLogger("lightning.pytorch").handlers:
        console.setLevel(logging.ERROR)  # what it says goes to train.log
    try:
        tree = config.plain(composed)
        tree["run"]["dir"] = str(chosen)
        run(tree)
    finally:
        # Hydra made it; nothing is in it after a mistake in the configuration or a probe. Another
        # process of the run may be quicker.
        with contextlib.suppress(OSError):
            chosen.rmdir()


def main() -> None:
    """Run the command line and exit with 0, 1 (data, model), 2 (configuration) or 130 (Ctrl-C)."""
    sys.exit(config.command("train", _job))


if __name__ == "__main__":
    main()
