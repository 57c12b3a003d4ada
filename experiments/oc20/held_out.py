"""Train on the sample of OC20 without four of its systems, and validate on these.

    python experiments/oc20/held_out.py +experiment=oc20_mace data.root=STORES trainer=cpu ...

Takes the overrides of equinet.train. Held out are the systems whose elements all remain in others;
every fourth of their training frames is validated on, in place of the validation split. The errors
after every epoch are in the run's metrics.csv; prints those of zero forces.
"""

import dataclasses

import numpy as np

from equinet import train
from equinet.data import OC20, Splits

# Al-Mn, Al-Os, Cu-Au, Rb; with their adsorbates of H, C, N and O.
SURFACES = [{13, 25}, {13, 76}, {29, 79}, {37}]


_read = OC20.read


def read_held_out(data: OC20) -> Splits:
    """Move the systems from training to validation."""
    splits = _read(data)
    surfaces = [set(frame.numbers.tolist()) - {1, 6, 7, 8} for frame in splits.train]
    held = np.array([surface in SURFACES for surface in surfaces])
    training = splits.train.part(np.flatnonzero(~held))
    validation = splits.train.part(np.flatnonzero(held)[::4]).of_elements(training.elements)
    forces = np.concatenate([frame.forces[~frame.fixed] for frame in validation])
    print(f"{len(validation)} frames, zero forces {1e3 * np.abs(forces).mean():.1f} meV/Å")
    return dataclasses.replace(splits, train=training, val=validation)


if __name__ == "__main__":
    OC20.read = read_held_out
    train.main()
