"""Errors of committees of the first 1, 2, 3, ... of some runs, and what their spread tells.

python experiments/3bpa/committee.py runs/3bpa/members/{1,2,3,4} --data PATH \
  --out experiments/3bpa/committee.json

The runs differ in nothing but their seed, which also draws their validation frames. Of the forces'
spread it measures the rank correlation with the length of the error over all atoms, and the error
of the twentieth of all atoms where members differ most. Train members first:

python -m equinet.train +experiment=3bpa data.root=PATH trainer.max_time=00:00:30:00 seed=1 ...
"""

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import spearmanr

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from record import hardware

from equinet import zoo
from equinet.data import ThreeBPA, evaluation_loader
from equinet.models import Committee, Potential
from equinet.training import Predictions, predict


def measure(found: Predictions) -> Iterator[tuple[str, float, str]]:
    """Name, value and unit of each figure."""
    yield "energy_rmse", found.errors["energy_rmse"], "meV"
    yield "forces_rmse", found.errors["forces_rmse"], "meV/Å"
    if found.forces_spread is not None:
        lengths = np.linalg.norm(found.forces - found.true_forces, axis=1)
        yield "spread_correlation", float(spearmanr(found.forces_spread, lengths).statistic), ""
        uncertain = found.forces_spread > np.quantile(found.forces_spread, 0.95)
        rmse = 1e3 * np.sqrt((lengths[uncertain] ** 2).mean() / 3)
        yield "forces_rmse_where_spread_is_largest", float(rmse), "meV/Å"


def settings(stamp: dict[str, Any]) -> list[str]:
    """The command of a run without what may differ between members."""
    return [word for word in stamp["command"] if not word.startswith(("seed=", "run.dir="))]


def provenance(runs: list[Path], note: str) -> dict[str, Any]:
    """What all figures of a committee of these runs share."""
    stamps = [json.loads((run / "stamp.json").read_text()) for run in runs]
    trained = [json.loads((run / "metrics.json").read_text()) for run in runs]
    for run, stamp in zip(runs, stamps, strict=True):
        if stamp["commit"] != stamps[0]["commit"] or settings(stamp) != settings(stamps[0]):
            raise SystemExit(
                f"{run} and {runs[0]} differ in more than seed and folder; give runs of one commit "
                "and one command"
            )
    return {
        "run": f"{len(runs)} members" if len(runs) > 1 else "1 alone",
        "train_command": "\n".join(" ".join(stamp["command"]) for stamp in stamps),
        "train_seconds": sum(each["train_seconds"] for each in trained),
        "steps": sum(each["steps"] for each in trained),
        "hardware": hardware(),
        "torch": stamps[0]["versions"]["torch"],
        "date": stamps[0]["time"][:10],
        "commit": stamps[0]["commit"],
        "dirty": any(stamp["dirty"] for stamp in stamps),
        "evaluate_command": "python " + " ".join(sys.argv),
        "note": note,
    }


def evaluate(models: list[Potential], data: ThreeBPA) -> Iterator[dict[str, Any]]:
    """Yield figures of the committee of these models, or of the one there is, on all test sets."""
    model = Committee.of(models) if len(models) > 1 else models[0]
    for name, dataset in data.tests.items():
        for metric, value, unit in measure(predict(model, evaluation_loader(dataset, 32))):
            yield {
                "metric": metric,
                "value": float(f"{value:.4g}"),
                "unit": unit,
                "split": name,
                "structures": len(dataset),
                "data_sha256": dataset.fingerprint(),
            }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--note", default="")
    arguments = parser.parse_args()
    models = [zoo.load(run) for run in arguments.runs]
    if not all(isinstance(model, Potential) for model in models):
        raise SystemExit("a run is no potential; give runs of +experiment=3bpa")
    data = ThreeBPA(root=arguments.data, cutoff=models[0].cutoff)
    data.prepare()
    counts = range(1, len(models) + 1)
    origins = [provenance(arguments.runs[:count], arguments.note) for count in counts]
    results = []
    for count, origin in zip(counts, origins, strict=True):
        for entry in evaluate(models[:count], data):
            results.append({**entry, **origin})
            print(f"{count} {entry['split']:<12} {entry['metric']:<38} {entry['value']:g}")
    arguments.out.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
