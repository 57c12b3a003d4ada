"""Compare many small structures, evaluated at once, with one large structure of the same atoms.

    python experiments/speed/many_structures.py --data PATH_OF_3BPA --out FILE

Molecules of 3BPA are evaluated by ``evaluate_many``, and as one structure in which they stand too
far apart to be neighbors, so that both have the same edges, by one call of the same function.
Neighbor lists are part of both. The times are those of the processor, summed over the threads, so
that other programs disturb them little; the least of all rounds counts.
"""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

import ase.io
import numpy as np

from equinet import zoo
from equinet.configuration import hardware, make_stamp

DISTANCE = 25.0  # Å between the centers of neighboring molecules


def spread_out(molecules: list[ase.Atoms]) -> ase.Atoms:
    """Put the molecules on a cubic lattice, in one structure."""
    side = int(np.ceil(len(molecules) ** (1 / 3)))
    whole = ase.Atoms()
    for index, molecule in enumerate(molecules):
        place = np.array(np.unravel_index(index, (side, side, side)))
        placed = ase.Atoms(molecule.numbers, molecule.positions - molecule.positions.mean(axis=0))
        placed.positions += DISTANCE * place
        whole += placed
    return whole


def seconds(call: Callable[[], object]) -> float:
    start = time.process_time()
    call()
    return time.process_time() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--model", default="mace-gaunt-3bpa")
    parser.add_argument("--molecules", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    model = zoo.load(arguments.model)
    molecules = ase.io.read(arguments.data / "test_300K.xyz", f":{arguments.molecules}")
    whole = spread_out(molecules)
    model.evaluate_many(molecules[:20])
    many, one = [], []
    for _ in range(arguments.rounds):
        many.append(seconds(lambda: model.evaluate_many(molecules)))
        one.append(seconds(lambda: model.evaluate_many([whole])))
        print(f"{many[-1]:.2f} s for all molecules, {one[-1]:.2f} s for one structure", flush=True)
    stamp = make_stamp(seed=None, fingerprint="")
    found = {
        "model": arguments.model,
        "structures": len(molecules),
        "atoms": len(whole),
        "many, atoms per second of processor": len(whole) / min(many),
        "one, atoms per second of processor": len(whole) / min(one),
        "ratio": min(one) / min(many),
        "seconds": {"many": many, "one": one},
        "hardware": hardware(),
        "versions": stamp["versions"],
        "command": " ".join(["python", *stamp["command"]]),
        "date": stamp["time"][:10],
        "commit": stamp["commit"],
        "dirty": stamp["dirty"],
    }
    print(json.dumps(found, indent=1))
    if arguments.out:
        arguments.out.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
