"""Turn test digits by quarters, and see how far the logits of a finished run change.

python experiments/affnist/quarter_turns.py RUN FOLDER_OF_MNIST [--images 100]

In evaluation, and as in training: on the same random samples, but without dropout, which draws anew
for every image.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from torch import nn

from equinet import zoo


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run")
    parser.add_argument("root", type=Path)
    parser.add_argument("--images", type=int, default=100)
    arguments = parser.parse_args()
    digits = np.load(arguments.root / "mnist.npz")["x_test"][: arguments.images]
    images = nn.functional.pad(torch.from_numpy(digits)[:, None].float() / 255, [6] * 4)
    model = zoo.load(arguments.run)
    print("| mode | turn | change of the logits, over their deviation between images |")
    print("|---|---|---|")
    for training in (False, True):
        model.train(training)
        for module in model.modules():
            if isinstance(module, nn.Dropout):
                module.eval()
        still, *turned = (logits(model, images.rot90(turn, (-2, -1))) for turn in range(4))
        spread = root_mean_square(still - still.mean(0))
        for turn, found in enumerate(turned, start=1):
            change = root_mean_square(found - still) / spread
            mode = "training" if training else "evaluation"
            print(f"| {mode} | {90 * turn}° | {change:.1e} |")


def logits(model: nn.Module, images: torch.Tensor) -> torch.Tensor:
    """Logits, on the same random samples in every call."""
    torch.manual_seed(0)
    with torch.no_grad():
        found: torch.Tensor = model(images)
    return found


def root_mean_square(x: torch.Tensor) -> float:
    """Root of the mean of squares."""
    return float(x.square().mean().sqrt())


if __name__ == "__main__":
    main()
