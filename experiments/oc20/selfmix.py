"""Ablation: what does the product of an atom's features with themselves do for EquiformerV2?

python experiments/oc20/selfmix.py OUTPUT --minutes 60 --seeds 0 1 2 [--data ROOT]
    [--settings gaunt ...] [--overrides key=value ...]

Trains the four settings none, cg, gaunt and gaunt+odd one after the other, each for the same time
and with the same number of parameters: what a setting lacks of the largest is given to the
feed-forward networks of ``none`` and to the channels inside the products of the others. Runs that
are finished are kept, an interrupted one goes on. Then prints a table, also OUTPUT/selfmix.md.
"""

import argparse
import json
import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from equinet.configuration import compose, instantiate

SETTINGS = ("none", "cg", "gaunt", "gaunt+odd")
# Enough for a count; every kind of atom adds the same to all settings.
MEASURED = {"elements": [1], "cutoff": 5.0, "reference_energies": [0.0], "average_neighbors": 1.0}


def model_options(overrides: Sequence[str]) -> dict[str, Any]:
    """Options of the model that the command would build."""
    tree = compose("train", ["+experiment=oc20", *overrides])
    options: dict[str, Any] = tree["model"]
    return options


def parameters(options: dict[str, Any]) -> int:
    """Number of parameters, without building them."""
    with torch.device("meta"):
        model = instantiate(options, "model", **MEASURED)
    return sum(parameter.numel() for parameter in model.parameters())


def nearest(count: Callable[[int], int], start: int, target: int) -> int:
    """Smallest width whose number of parameters is nearest to the target; counts rise with it."""
    width = start
    while count(width + 1) <= target:
        width += 1
    return min((width, width + 1), key=lambda each: abs(count(each) - target))


def matched(setting: str, overrides: Sequence[str]) -> tuple[list[str], int]:
    """Overrides that give a setting the size of the largest one, and its size."""
    base = model_options(overrides)
    target = max(parameters({**base, "selfmix": each}) for each in SETTINGS)
    name = "feed_forward_hidden" if setting == "none" else "selfmix_channels"
    start = base[name] or base["channels"]

    def count(width: int) -> int:
        return parameters({**base, "selfmix": setting, name: width})

    width = nearest(count, start, target)
    return [f"model.selfmix={setting}", f"model.{name}={width}"], count(width)


def train(folder: Path, overrides: Sequence[str]) -> dict[str, Any]:
    """Train in a run directory, unless that is done, and return its metrics."""
    if not (folder / "metrics.json").is_file():
        command = [sys.executable, "-m", "equinet.train", "+experiment=oc20", *overrides]
        subprocess.run([*command, f"run.dir={folder}"], check=True)  # noqa: S603
    metrics: dict[str, Any] = json.loads((folder / "metrics.json").read_text())
    return metrics


def table(runs: dict[str, list[dict[str, Any]]], sizes: dict[str, int]) -> str:
    """Means over seeds, and their standard deviations where there are several."""
    sets = list(next(iter(runs.values()))[0]["sets"])
    head = ["selfmix", "parameters", "steps"]
    head += [f"{name} {what}" for name in sets for what in ("E MAE meV", "F MAE meV/Å")]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for setting, found in runs.items():
        cells = [setting, f"{sizes[setting]:,}", spread([run["steps"] for run in found])]
        for name in sets:
            errors = [run["sets"][name] for run in found]
            cells += [
                spread([error[key] for error in errors]) for key in ("energy_mae", "forces_mae")
            ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def spread(values: Sequence[float]) -> str:
    """Mean and standard deviation of a sample."""
    mean = f"{statistics.mean(values):.1f}"
    return f"{mean} ± {statistics.stdev(values):.1f}" if len(values) > 1 else mean


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("output", type=Path)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--data", type=Path, help="folder of S2EF splits; else the embedded set")
    parser.add_argument("--settings", nargs="+", choices=SETTINGS, default=SETTINGS)
    parser.add_argument("--overrides", nargs="*", default=[], help="of the training command")
    arguments = parser.parse_args()
    seconds = round(60 * arguments.minutes)
    budget = f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
    common = [*arguments.overrides, f"trainer.max_time=00:{budget}", "trainer.max_epochs=-1"]
    if arguments.data:
        common.append(f"data.root={arguments.data}")
    runs: dict[str, list[dict[str, Any]]] = {}
    sizes: dict[str, int] = {}
    # Seed by seed, so that an ablation that is cut short still compares like with like.
    for seed in arguments.seeds:
        for setting in arguments.settings:
            options, _ = matched(setting, arguments.overrides)
            folder = arguments.output / f"{setting.replace('+', '-')}-{seed}"
            metrics = train(folder, [*common, *options, f"seed={seed}"])
            card = json.loads((folder / "model" / "card.json").read_text())
            sizes[setting] = card["parameters"]
            runs.setdefault(setting, []).append(metrics)
    text = table(runs, sizes)
    (arguments.output / "selfmix.md").write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()
