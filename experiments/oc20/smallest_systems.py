"""Copy the frames of small systems out of released S2EF splits, for runs of minutes.

python experiments/oc20/smallest_systems.py SOURCE OUTPUT --atoms 40 [--splits s2ef_train ...]

SOURCE holds folders of N.extxyz.xz with N.txt.xz. OUTPUT gets folders of the same names and layout,
with all frames of systems of at most so many atoms, unchanged.
"""

import argparse
import lzma
import sys
from collections.abc import Iterator
from pathlib import Path


def frames(file: Path) -> Iterator[tuple[str, str]]:
    """Yield each frame's line of N.txt.xz and its lines of N.extxyz.xz."""
    labels = file.with_name(file.name.replace(".extxyz.xz", ".txt.xz"))
    with lzma.open(file, "rt") as lines, lzma.open(labels, "rt") as rows:
        for row in rows:
            count = next(lines)
            yield row, count + "".join(next(lines) for _ in range(int(count) + 1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--atoms", type=int, default=40, help="of a system, at most")
    parser.add_argument("--splits", nargs="+", default=["s2ef_train", "s2ef_val_id"])
    arguments = parser.parse_args()
    for split in arguments.splits:
        kept, count = [], 0
        files = sorted((arguments.source / split).glob("*.extxyz.xz"))
        folder = arguments.output / split
        if not files:
            sys.exit(f"smallest_systems.py: {arguments.source / split} holds no *.extxyz.xz")
        if folder.exists():
            sys.exit(f"smallest_systems.py: {folder} exists; name another OUTPUT")
        for file in files:
            for row, frame in frames(file):
                count += 1
                if int(frame.partition("\n")[0]) <= arguments.atoms:
                    kept.append((row, frame))
        folder.mkdir(parents=True)
        for ending, part in ((".txt.xz", 0), (".extxyz.xz", 1)):
            with lzma.open(folder / f"0{ending}", "wt") as out:
                out.writelines(each[part] for each in kept)
        systems = {row.partition(",")[0] for row, _ in kept}
        print(f"{split}: {len(kept)} of {count} frames, {len(systems)} systems")


if __name__ == "__main__":
    main()
