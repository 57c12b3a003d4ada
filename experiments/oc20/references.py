"""Leave one composition out at a time: what do reference energies fitted to the others say of it?

python experiments/oc20/references.py STORE

Compares energies per element, fitted by least squares to the frames of all other compositions, with
taking energies as they are: mean absolute errors per atom, every composition counting once.
"""

import argparse
from pathlib import Path

import numpy as np

from equinet.data import fit_reference_energies
from equinet.data.store import FrameStore


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("store", type=Path)
    store = FrameStore(parser.parse_args().store)
    groups: dict[bytes, list] = {}
    for frame in store[:]:
        composition = np.bincount(frame.numbers, minlength=120)
        groups.setdefault(composition.tobytes(), []).append(frame)
    fitted, as_they_are = [], []
    for key, group in groups.items():
        others = [frame for other, frames in groups.items() if other != key for frame in frames]
        references = dict(
            zip(store.elements, fit_reference_energies(others, store.elements), strict=True)
        )
        numbers = group[0].numbers
        guess = sum(references[z] for z in numbers.tolist())
        energies = np.array([frame.energy for frame in group])
        fitted.append(np.abs(energies - guess).mean() / len(numbers))
        as_they_are.append(np.abs(energies).mean() / len(numbers))
    print(
        f"{len(groups)} compositions of {len(store.elements)} elements: fitted "
        f"{1e3 * np.mean(fitted):.0f} meV per atom, as they are {1e3 * np.mean(as_they_are):.0f}"
    )


if __name__ == "__main__":
    main()
