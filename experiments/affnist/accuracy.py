"""Test a finished run on all transformed copies of the test digits.

python experiments/affnist/accuracy.py RUN FOLDER_OF_MNIST [--copies 32] [--cache FOLDER]
"""

import argparse

import torch

from equinet import zoo
from equinet.data import AffNIST, HomNIST
from equinet.training import ImageClassification


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run")
    parser.add_argument("root")
    parser.add_argument("--set", choices=("affnist", "homnist"), default="affnist")
    parser.add_argument("--copies", type=int, default=32)
    parser.add_argument("--cache")
    arguments = parser.parse_args()
    kind = {"affnist": AffNIST, "homnist": HomNIST}[arguments.set]
    data = kind(root=arguments.root, copies=arguments.copies, cache=arguments.cache)
    task = ImageClassification(model=zoo.load(arguments.run), optimizer=torch.optim.SGD)
    rows = []
    for name, loader in data.test_loaders().items():
        found = task.evaluate(loader, torch.device("cpu"))
        rows.append({"name": name, "structures": found.structures, **found.errors})
    print(data.describe())
    print(task.table(rows))


if __name__ == "__main__":
    main()
