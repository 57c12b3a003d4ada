"""Compare a finished run with zero forces and element references, split by split.

python experiments/oc20/against_baselines.py RUN STORES

STORES holds the converted splits ``s2ef_train``, to which references are fitted, ``s2ef_val_id``
and ``s2ef_val_ood``. Frames with elements that the model does not know are left out.
"""

import argparse
from pathlib import Path

import numpy as np

from equinet import zoo
from equinet.data.atoms.statistics import fit_reference_energies
from equinet.data.store import FrameStore
from equinet.data.store.dataset import StoredDataset, StoredFrames
from equinet.evaluation.oc20.splits import predict_split

BATCH = 16


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run")
    parser.add_argument("stores", type=Path)
    arguments = parser.parse_args()
    model = zoo.load(arguments.run)
    fitted = fit_reference_energies(FrameStore(arguments.stores / "s2ef_train")[:], model.elements)
    references = dict(zip(model.elements, fitted, strict=True))
    print("| split | frames | | E MAE meV | per atom | F MAE meV/Å |\n|---|---|---|---|---|---|")
    for split in ("s2ef_val_id", "s2ef_val_ood"):
        frames = StoredFrames(FrameStore(arguments.stores / split)).of_elements(model.elements)
        dataset = StoredDataset(frames, model.neighborhood)
        found, _ = predict_split(model, dataset, batch_size=BATCH)
        atoms = np.array([len(frame) for frame in frames])
        true = np.array([frame.energy for frame in frames])
        compositions = [sum(references[z] for z in frame.numbers.tolist()) for frame in frames]
        free = np.concatenate([~frame.fixed for frame in frames])
        wanted = np.concatenate([frame.forces for frame in frames])[free]
        rows = {
            "model": (found.energy, found.forces[free]),
            "references, zero forces": (np.array(compositions), np.zeros_like(wanted)),
        }
        for name, (energy, force) in rows.items():
            error = 1e3 * np.abs(energy - true)
            cells = f"{error.mean():.0f} | {(error / atoms).mean():.1f}"
            print(
                f"| {split} | {len(frames)} | {name} | {cells} "
                f"| {1e3 * np.abs(force - wanted).mean():.1f} |"
            )


if __name__ == "__main__":
    main()
