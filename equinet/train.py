"""Train a model: ``python -m equinet.train +experiment=NAME [data.root=DIR] [any.key=value]``."""

import io
import logging
import os
import sys
import traceback
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hydra.core.hydra_config import HydraConfig
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import Timer

from equinet import configuration, training
from equinet.arguments import Count, NotNegative, Positive
from equinet.configuration import RunDirectory, process_rank
from equinet.errors import ConfigError
from equinet.files import reading, write_bytes

_log = logging.getLogger(__name__)

OPTIONS: Mapping[str, Any] = {
    "seed": int,
    "init": str | None,
    "init_train": str | Sequence[str] | None,
    "run.tf32": bool,
    "run.probe": Count | None,
    "run.checkpoint_minutes": Positive,
    "run.log_seconds": NotNegative,
}
"""Options of the command, which belong to no class, with the values they take."""


def check(tree: Mapping[str, Any]) -> None:
    """Compare all groups with the constructors they name, before anything is read or built.

    Args:
        tree: Plain configuration with the groups of ``configs/train.yaml``.

    Raises:
        ConfigError: A target is not allowed, an option is unknown or missing, a value has the wrong
            type or is out of range, or a device does not exist.

    Example:
        >>> check(configuration.compose("train", ["+experiment=nbody"]))
    """
    for name in ("data", "model", "task", "optim", "trainer"):
        if not isinstance(tree.get(name), Mapping) or not tree[name].get("_target_"):
            raise ConfigError(f"{name}: a run needs one; choose {name}=NAME")
    _check_own(tree)
    configuration.check(tree["data"], "data")
    configuration.check(tree["model"], "model", provided=configuration.told_by_data(tree))
    configuration.check(tree["optim"], "optim")
    configuration.check(tree.get("schedule"), "schedule")
    told = ("model", "optimizer", *configuration.told_by_data(tree, "task"))
    _refuse_data_without_task(tree, told)
    configuration.check(tree["task"], "task", provided=told)
    for name, node in (tree.get("callbacks") or {}).items():
        _check_target(node, f"callbacks.{name}")
        configuration.check(node, f"callbacks.{name}")
    for name, node in (tree.get("logger") or {}).items():
        _check_target(node, f"logger.{name}")
        configuration.check(node, f"logger.{name}", provided=("save_dir",))
    _check_trainer(tree["trainer"])


def _refuse_data_without_task(tree: Mapping[str, Any], told: Sequence[str]) -> None:
    """Refuse data that cannot tell a task what it needs to know of them."""
    task = configuration.locate(tree["task"]["_target_"], "task._target_")
    for name, parameter in configuration.options(task).items():
        if parameter.default is parameter.empty and name not in {*told, *tree["task"]}:
            data = str(tree["data"]["_target_"]).rpartition(".")[2]
            raise ConfigError(
                f"task: {task.__name__} needs {name!r}, which {data} does not give; choose other "
                "data, such as data=qm9 for task=property"
            )


def _check_own(tree: Mapping[str, Any]) -> None:
    """Check the options that belong to no constructor."""
    configuration.check_options(tree, OPTIONS)
    if not 0 <= tree["seed"] < 2**32:
        raise ConfigError(f"seed: {tree['seed']} is not between 0 and 2**32 - 1")
    if tree.get("init_train") is not None and tree.get("init") is None:
        raise ConfigError("init_train: names parts of the model of init, which is not given")


def _check_target(node: object, path: str) -> None:
    if node is not None and not (isinstance(node, Mapping) and node.get("_target_")):
        raise ConfigError(f"{path}: no class is named; write {path}=null to leave it out")


def _check_trainer(settings: Mapping[str, Any]) -> None:
    configuration.check(settings, "trainer")
    for name, advice in configuration.SET_BY_PROGRAM.items():
        if name in settings:
            raise ConfigError(f"trainer.{name}: the program sets this itself; {advice}")
    if (settings.get("gradient_clip_val") or 0) < 0:
        # torch would reverse the sign of the gradient.
        raise ConfigError(
            f"trainer.gradient_clip_val: {settings['gradient_clip_val']} is negative; "
            "say null for no clipping"
        )
    if settings.get("precision") in {"bf16-true", "16-true"}:
        raise ConfigError(
            f"trainer.precision: {settings['precision']} would round the positions; "
            "use bf16-mixed, which keeps the geometry in float64"
        )
    if settings.get("accelerator") in {"gpu", "cuda"} and not torch.cuda.is_available():
        raise ConfigError(
            "trainer.accelerator: there is no GPU that torch can use here; say trainer=cpu"
        )
    configuration.duration(settings.get("max_time"))


def run(tree: Mapping[str, Any], typed: Sequence[str] = ()) -> dict[str, Any]:
    """Train the model that a plain configuration describes.

    With ``run.probe`` only that many steps are taken, and nothing is written to the run directory.

    Args:
        tree: Plain configuration with the groups of ``configs/train.yaml``.
        typed: Overrides as typed, which must not contradict the model that ``init`` names.

    Returns:
        The content of ``metrics.json``, or the findings of :func:`equinet.training.probe`; empty on
        processes other than the first.

    Raises:
        ConfigError: :func:`check` refuses the configuration, or the run directory belongs to
            another one.
        EquinetError: Data, model or checkpoint cannot be used; the message says why.
    """
    if tree.get("init") is not None:
        tree = training.prepare_initial(tree, typed)
    check(tree)
    tree = configuration.complete(tree)
    directory = RunDirectory(Path(tree["run"]["dir"]).resolve())
    if tree["run"]["probe"] is not None:
        return _probe(tree, directory)
    if process_rank() != 0:
        return _train(tree, directory)
    # The first process holds the directory on behalf of all processes of the run.
    with directory.held():
        directory.claim(tree, _previous(directory))
        configuration.save_yaml(tree, directory.config)
        handler = configuration.open_log(directory.log)
        try:
            return _train(tree, directory)
        except BaseException:
            _log.debug("%s", traceback.format_exc())
            raise
        finally:
            configuration.close_log(handler)


def _previous(directory: RunDirectory) -> dict[str, Any] | None:
    """Return the configuration in a run directory, completed with options that were added since."""
    if not directory.config.is_file():
        return None
    with reading(directory.config, "the configuration of a run"):
        return configuration.complete(configuration.load_yaml(directory.config))


def _train(tree: Mapping[str, Any], directory: RunDirectory) -> dict[str, Any]:
    seed, options = tree["seed"], tree["run"]
    data = _data(tree)
    stamp = configuration.make_stamp(
        seed=seed, fingerprint=data.fingerprint(), data=data.describe()
    )
    if process_rank() == 0:
        directory.write_stamp(stamp)
        keys = data.training_keys()
        if keys is not None:
            content = io.BytesIO()
            np.save(content, keys, allow_pickle=False)
            write_bytes(content.getvalue(), directory.training_structures)
    task = _task(tree, data)
    loggers = [
        _logger(node, name, directory) for name, node in (tree.get("logger") or {}).items() if node
    ]
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
        calibrate=tree.get("init") is None,
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
    """Seed all random numbers, then build the data module and prepare its data."""
    training.seed_everything(tree["seed"], tf32=tree["run"]["tf32"])
    data = configuration.instantiate(tree["data"], "data")
    data.prepare()
    return data


def _task(tree: Mapping[str, Any], data: Any) -> Any:
    if tree.get("init") is None:
        told = configuration.taken(tree["model"], "model", data.model_arguments())
        model = configuration.instantiate(tree["model"], "model", **told)
    else:
        model = training.initial_model(tree, data)
    optimizer = configuration.instantiate(tree["optim"], "optim")
    told = configuration.taken(tree["task"], "task", data.task_arguments())
    return configuration.instantiate(tree["task"], "task", model=model, optimizer=optimizer, **told)


def _callbacks(tree: Mapping[str, Any]) -> list[Any]:
    nodes = {**(tree.get("callbacks") or {}), "schedule": tree.get("schedule")}
    return [
        configuration.instantiate(node, f"callbacks.{name}") for name, node in nodes.items() if node
    ]


def _trainer_settings(tree: Mapping[str, Any]) -> dict[str, Any]:
    return {"max_epochs": -1, **tree["trainer"], "enable_model_summary": False}


def _make_trainer(
    settings: Mapping[str, Any], loggers: list[Any], directory: RunDirectory, callbacks: list[Any]
) -> Any:
    settings = dict(settings)
    try:
        # The times in metrics.csv and the cosine schedule read this timer, with or without a limit.
        timer = Timer(
            duration=configuration.duration(settings.pop("max_time", None)), verbose=False
        )
        return configuration.instantiate(
            settings,
            "trainer",
            callbacks=[timer, *callbacks],
            logger=loggers or False,
            default_root_dir=directory.path,
            enable_progress_bar=any(isinstance(c, training.ErrorBar) for c in callbacks),
            inference_mode=False,  # forces are gradients, also in validation
            num_sanity_val_steps=0,  # the first batch is checked instead
            use_distributed_sampler=False,  # EpochLoader distributes the batches
        )
    except MisconfigurationException as error:
        raise ConfigError(f"trainer: {error}") from error


def _logger(node: Mapping[str, Any], name: str, directory: RunDirectory) -> Any:
    try:
        return configuration.instantiate(node, f"logger.{name}", save_dir=directory.path)
    except ModuleNotFoundError:
        _log.info(
            "Logger   %s is not installed and left out: pip install '.[log]' in the clone", name
        )
        return None


def job(tree: dict[str, Any]) -> None:
    """Train as the command line does, in the directory that Hydra made.

    Args:
        tree: Plain configuration, see :func:`run`.

    Raises:
        EquinetError: See :func:`run`; or several processes do not agree on a directory.
    """
    # Hydra's directory instead of run.dir: in a sweep Hydra numbers it, and Lightning passes the
    # directory of the first process to the others.
    chosen = Path(HydraConfig.get().runtime.output_dir).resolve()
    launched = "TORCHELASTIC_RUN_ID" in os.environ or os.environ.get("SLURM_NTASKS", "1") != "1"
    if launched and not any(word.startswith("run.dir=") for word in sys.argv):
        raise ConfigError(
            "give run.dir=...: processes started by torchrun or srun must agree on it"
        )
    for console in logging.getLogger("lightning.pytorch").handlers:
        console.setLevel(logging.ERROR)  # other messages of Lightning go to train.log
    tree["run"]["dir"] = str(chosen)
    run(tree, HydraConfig.get().overrides.task)


def main() -> None:
    """Run the command line and exit with 0, 1 (data, model), 2 (configuration) or 130 (Ctrl-C)."""
    sys.exit(configuration.command("train", job))


if __name__ == "__main__":
    main()
