"""Draw docs/race.png and print the table of README.md: python experiments/race/picture.py."""

import json
import statistics
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib import pyplot as plt
from matplotlib.ticker import NullFormatter, ScalarFormatter

FOLDER = Path(__file__).parent
SETS = {"test_300K": "3BPA, 300 K", "1200K_probe": "3BPA, 1200 K"}
COLORS = {"equinet": "#0b6e99", "mace-torch": "#c8553d"}


def grouped(entries: Sequence[dict[str, Any]]) -> dict[str, dict[float, list[dict[str, Any]]]]:
    """Return the entries by competitor and minutes."""
    found: dict[str, dict[float, list[dict[str, Any]]]] = defaultdict(lambda: defaultdict(list))
    for each in entries:
        name = f"{each['code']}, {each['settings']} ({each['channels']} channels)"
        found[name][each["minutes"]].append(each)
    return found


def spread(runs: Sequence[dict[str, Any]], split: str, metric: str) -> tuple[float, float]:
    """Return mean and standard deviation over the seeds; zero deviation for one seed."""
    values = [each["value"] for each in runs if (each["split"], each["metric"]) == (split, metric)]
    return statistics.mean(values), statistics.stdev(values) if len(values) > 1 else 0.0


def draw(entries: Sequence[dict[str, Any]], path: Path) -> None:
    """Draw force errors against minutes, a panel a test set."""
    mpl.rcParams["font.size"] = 11
    figure, panels = plt.subplots(1, len(SETS), figsize=(10, 4), layout="constrained")
    for panel, (name, title) in zip(panels, SETS.items(), strict=True):
        for competitor, budgets in grouped(entries).items():
            code = competitor.split(",")[0]
            minutes = sorted(budgets)
            errors = [spread(budgets[each], name, "forces_rmse") for each in minutes]
            panel.errorbar(
                minutes,
                [mean for mean, _ in errors],
                yerr=[deviation for _, deviation in errors],
                marker="o",
                capsize=3,
                color=COLORS[code],
                linestyle="-" if "published" not in competitor else "--",
                label=competitor,
            )
        panel.set(xscale="log", yscale="log", title=title, xlabel="minutes of one core")
        panel.set_xticks([5, 10, 30, 120] if len(minutes) > 3 else [5, 10, 30])
        for axis in (panel.xaxis, panel.yaxis):
            axis.set_major_formatter(ScalarFormatter())
            axis.set_minor_formatter(NullFormatter())
        panel.grid(visible=True, which="both", alpha=0.25)
    panels[0].set_yticks([10, 20, 50, 100, 200])
    panels[1].set_yticks([100, 200, 500])
    panels[0].set_ylabel("RMSE of forces, meV/Å")
    panels[0].legend(frameon=False)
    figure.savefig(path, dpi=150)


def table(entries: Sequence[dict[str, Any]]) -> str:
    """Lay out the errors of every competitor and budget."""
    lines = [
        "| code, settings | minutes | seeds | steps | 300 K: E, meV | F, meV/Å | 1200 K: F |",
        "|---|--:|--:|--:|--:|--:|--:|",
    ]
    for competitor, budgets in grouped(entries).items():
        for minutes, runs in sorted(budgets.items()):
            seeds = len({each["seed"] for each in runs})
            cells = [
                "{:.1f} ± {:.1f}".format(*found) if seeds > 1 else f"{found[0]:.1f}"
                for found in (
                    spread(runs, "test_300K", "energy_rmse"),
                    spread(runs, "test_300K", "forces_rmse"),
                    spread(runs, "1200K_probe", "forces_rmse"),
                )
            ]
            steps = round(statistics.mean(each["steps"] for each in runs))
            row = [competitor, f"{minutes:g}", str(seeds), str(steps), *cells]
            lines.append(f"| {' | '.join(row)} |")
    return "\n".join(lines)


def main() -> None:
    entries = json.loads((FOLDER / "results.json").read_text())
    draw(entries, FOLDER.parents[1] / "docs" / "race.png")
    print(table(entries))


if __name__ == "__main__":
    main()
