"""Save a denoiser with fresh weights and the sizes of another, to see what the figures make of it.

python experiments/qm9_generate/untrained.py runs/qm9_generate/RUN runs/qm9_generate/untrained
python -m equinet.sample checkpoint=runs/qm9_generate/untrained n=1000 reference=qm9_molecules
"""

import argparse

import torch

from equinet import zoo


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("trained", help="run directory, model folder or name of a denoiser")
    parser.add_argument("folder", help="folder to write the untrained one to")
    given = parser.parse_args()
    trained = zoo.load(given.trained)
    torch.manual_seed(0)
    zoo.save(type(trained)(**trained.arguments), given.folder, {"data": "none"})


if __name__ == "__main__":
    main()
