"""Sample molecules: ``python -m equinet.sample checkpoint=RUN_OR_ZOO_NAME n=1000 seed=0``."""

import logging
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
from tqdm import tqdm

from equinet import configuration, zoo
from equinet.arguments import Count, NotNegative, Range
from equinet.configuration import (
    RunDirectory,
    device_named,
    find_run,
    make_stamp,
    relative,
    write_json,
)
from equinet.data import Frame, QM9Molecules, frame_to_atoms
from equinet.diffusion import Molecule, generate, sampling_levels
from equinet.errors import BackendError, ConfigError, DataError, EquinetError
from equinet.evaluation import units
from equinet.evaluation.molecules import (
    MOLECULE_FIGURES,
    bond_orders,
    contact_sheet,
    figures,
    inchi_keys,
    molecule_table,
    survey,
    to_rdkit,
)
from equinet.evaluation.molecules import rdkit_library as rdkit
from equinet.files import (
    hold,
    read_sealed_json,
    reading,
    remove_partials,
    whole_file,
    write_sealed_json,
    writing,
)
from equinet.models import PonitaDenoiser

_log = logging.getLogger("equinet.sample")

_Many = Annotated[int, Range("from 1 to 1000000", least=1, most=1_000_000)]
# Beyond these, numbers in single precision overflow or vanish.
_Noise = Annotated[float, Range("from 1e-6 to 1e6 (Å)", least=1e-6, most=1e6)]
_DTYPES = {"float32": torch.float32, "float64": torch.float64}
OPTIONS: Mapping[str, Any] = {
    "checkpoint": str,
    "reference": str | None,
    "output": str | None,
    "device": str,
    "dtype": Literal["float32", "float64"] | None,
    "n": _Many,
    "seed": int,
    "steps": Count,
    "churn": NotNegative,
    "highest_noise": _Noise,
    "lowest_noise": _Noise,
    "batch_size": Count,
}
"""Options of the command that must have values of some kind."""

_COMPARED = 10_000  # molecules of the data that are surveyed
_DRAWN = 25  # molecules on the contact sheet


def run(tree: Mapping[str, Any]) -> dict[str, Any]:
    """Sample molecules from the model that a plain configuration names, and judge them.

    Writes ``molecules.extxyz``, ``molecules.png``, ``metrics.json``, ``stamp.json`` and, where
    RDKit is installed, ``molecules.sdf``. The same command goes on where it was interrupted, and
    with a higher ``n`` adds molecules to those that are there.

    Args:
        tree: Plain configuration with the keys of ``configs/sample.yaml``.

    Returns:
        The content of ``metrics.json``.

    Raises:
        ConfigError: There is no such model or device, the model does not denoise molecules, an
            option is out of range, or the folder holds samples of other settings.
        DataError: Samples of an earlier command cannot be read.
    """
    configuration.check_options(tree, OPTIONS)
    directory = find_run(str(tree["checkpoint"]))
    reference = _reference_data(tree["reference"], directory)
    model = _load(tree, directory)
    output = _output(tree, directory)
    with hold(output, "samples"), writing(output):
        remove_partials(output, held=True)
        start = time.perf_counter()
        molecules = _sample(tree, model, output)
        seconds = time.perf_counter() - start
        _write(molecules, output)
        return _judge(tree, reference, molecules, seconds, output)


def _load(tree: Mapping[str, Any], directory: RunDirectory | None) -> PonitaDenoiser:
    name = str(tree["checkpoint"])
    model = zoo.load(directory.trained_model() if directory else name)
    if not isinstance(model, PonitaDenoiser):
        raise ConfigError(
            f"checkpoint: {name} is a {type(model).__name__}, which makes no molecules; give a run "
            "of +experiment=qm9_generate"
        )
    return model if tree["dtype"] is None else model.to(_DTYPES[tree["dtype"]])


def _output(tree: Mapping[str, Any], directory: RunDirectory | None) -> Path:
    base = directory.path if directory else Path.cwd()
    given = tree["output"]
    return Path(given).expanduser() if given else base / "samples" / f"seed{tree['seed']}"


def _sample(tree: Mapping[str, Any], model: PonitaDenoiser, output: Path) -> list[Molecule]:
    """Make the molecules that the folder does not hold yet, batch by batch, and read all."""
    _claim(tree, output)
    device = device_named(tree["device"])
    dtype = next(model.parameters()).dtype
    levels = sampling_levels(
        tree["steps"], highest=tree["highest_noise"], lowest=tree["lowest_noise"]
    )
    found = _read(output, model.elements)
    missing = [number for number in range(tree["n"]) if number not in found]
    size = tree["batch_size"]
    batches = [missing[first : first + size] for first in range(0, len(missing), size)]
    if found:
        _log.info("Resume   %d of %d molecules are there", tree["n"] - len(missing), tree["n"])
    model = model.to(device)
    with tqdm(total=len(batches) * tree["steps"], unit="step", disable=None) as bar:
        for numbers in batches:
            made = generate(
                model,
                numbers,
                levels,
                seed=tree["seed"],
                churn=float(tree["churn"]),
                device=device,
                dtype=dtype,
                after_step=bar.update,
            )
            _refuse_not_finite(numbers, made)
            _keep(numbers, made, output)
            found |= dict(zip(numbers, made, strict=True))
    return [found[number] for number in range(tree["n"])]


def _claim(tree: Mapping[str, Any], output: Path) -> None:
    """Refuse a folder that holds molecules of another model or of other settings."""
    card = zoo.load_card(str(tree["checkpoint"]))
    names = ("seed", "steps", "churn", "highest_noise", "lowest_noise", "dtype")
    wanted = {"weights": card["sha256"], **{name: tree[name] for name in names}}
    path = output / "settings.json"
    if not path.is_file():
        write_sealed_json(wanted, path)
        return
    given = read_sealed_json(path, "settings of samples")
    for name, value in wanted.items():
        if given.get(name) != value:
            raise ConfigError(
                f"output: {relative(output)} holds samples with {name}={given.get(name)} instead "
                f"of {value}; give output=..., another folder"
            )


def _keep(numbers: Sequence[int], molecules: Sequence[Molecule], output: Path) -> None:
    arrays: dict[str, Any] = {
        "samples": np.array(numbers),
        "counts": np.array([len(each.numbers) for each in molecules]),
        "numbers": np.concatenate([each.numbers for each in molecules]),
        "positions": np.concatenate([each.positions for each in molecules]),
    }
    folder = output / "parts"
    with writing(folder):
        folder.mkdir(exist_ok=True)
    with whole_file(folder / f"{numbers[0]:07d}.npz") as partial, partial.open("wb") as file:
        np.savez(file, **arrays)


def _refuse_not_finite(numbers: Sequence[int], molecules: Sequence[Molecule]) -> None:
    for number, each in zip(numbers, molecules, strict=True):
        if not np.isfinite(each.positions).all():
            raise EquinetError(
                f"molecule {number} has positions that are not finite; take a lower highest_noise, "
                "or another model"
            )


def _read(output: Path, elements: Sequence[int]) -> dict[int, Molecule]:
    """Return the molecules that earlier commands kept, by number.

    A damaged part is removed, since its molecules are made again as they were.
    """
    found: dict[int, Molecule] = {}
    for path in sorted((output / "parts").glob("*.npz")):
        try:
            with reading(path, "a part of the samples"):
                found |= _read_part(path, elements)
        except DataError as error:
            _log.warning("%s; its molecules are made again", error)
            path.unlink()
    return found


def _read_part(path: Path, elements: Sequence[int]) -> dict[int, Molecule]:
    with path.open("rb") as file, np.load(file, allow_pickle=False) as part:
        samples, counts = part["samples"], part["counts"]
        numbers, positions = part["numbers"], part["positions"]
    if not (samples.dtype.kind == counts.dtype.kind == "i" and counts.sum() == len(numbers)):
        raise ValueError("it does not count its atoms")
    if positions.shape != (len(numbers), 3) or not np.isfinite(positions).all():
        raise ValueError("it holds something other than positions")
    if not np.isin(numbers, elements).all():
        raise ValueError("it holds elements that the model does not make")
    ends = counts.cumsum()[:-1]
    rows = zip(samples, np.split(numbers, ends), np.split(positions, ends), strict=True)
    return {int(sample): Molecule(*each) for sample, *each in rows}


def _write(molecules: Sequence[Molecule], output: Path) -> None:
    """Write the molecules as extxyz and SDF, and a picture of the first of them."""
    with whole_file(output / "molecules.extxyz") as partial:
        for each in molecules:
            cell, periodic = np.zeros((3, 3)), np.zeros(3, dtype=bool)
            atoms: Any = frame_to_atoms(Frame(each.numbers, each.positions, cell, periodic))
            atoms.write(partial, format="extxyz", append=True)
    contact_sheet(molecules[:_DRAWN], output / "molecules.png")
    try:
        Chem: Any = rdkit()
    except BackendError as error:
        _log.warning("%s; molecules.sdf, validity and novelty are left out", error)
        return
    with whole_file(output / "molecules.sdf") as partial, Chem.SDWriter(str(partial)) as writer:
        # A bond table says which bonds there are, also where they are not possible.
        writer.SetKekulize(False)
        for each in molecules:
            orders = bond_orders(each.numbers, each.positions)
            made = to_rdkit(each.numbers, orders, each.positions)
            made.UpdatePropertyCache(strict=False)
            writer.write(made)


def _judge(
    tree: Mapping[str, Any],
    reference: Any,
    molecules: Sequence[Molecule],
    seconds: float,
    output: Path,
) -> dict[str, Any]:
    found = survey(molecules)
    about, compared, known = _compared(reference)
    # One half of the data is what samples are compared with, the other half what is compared.
    expected, others = (survey(half) if half else None for half in (compared[::2], compared[1::2]))
    rows = [{"name": "samples", "structures": len(molecules), **figures(found, expected, known)}]
    if others is not None:
        row = figures(others, expected, known)
        rows.append({"name": "training set", "structures": len(others.sizes), **row})
    names = ("seed", "steps", "churn", "highest_noise", "lowest_noise")
    metrics = {
        "checkpoint": str(tree["checkpoint"]),
        "molecules": len(molecules),
        "settings": {name: tree[name] for name in names},
        "reference": about,
        "sets": {
            str(row["name"]): {key: value for key, value in row.items() if key != "name"}
            for row in rows
        },
        "units": {name: unit for name, unit in units(MOLECULE_FIGURES).items() if unit},
        "seconds": round(seconds, 1),
    }
    write_json(metrics, output / "metrics.json")
    write_json(make_stamp(seed=tree["seed"], fingerprint=""), output / "stamp.json")
    _log.info("%s", molecule_table(rows))
    _log.info("Written to %s", relative(output))
    return metrics


def _reference_data(name: str | None, directory: RunDirectory | None) -> Any:
    """Return the data module that samples are compared with; None where there is none."""
    if name is not None:
        folder = configuration.CONFIG_DIR / "data"
        known = sorted(path.stem for path in folder.glob("*molecules.yaml"))
        if name not in known:
            raise ConfigError(f"reference: there is no {name!r}; say one of {', '.join(known)}")
        node = configuration.load_choice("data", name)
    elif directory is not None:
        with reading(directory.config, "the configuration of a run"):
            node = dict(configuration.load_yaml(directory.config)["data"])
    else:
        return None
    return configuration.instantiate(node, "data")


def _compared(data: Any) -> tuple[str | None, list[Molecule], set[str] | None]:
    """Return a description of the data, some training molecules, and the names of all."""
    if data is None:
        _log.info("The samples are compared with no data; name them by reference=qm9_molecules")
        return None, [], None
    train = data.sets.train
    chosen = np.random.default_rng(0).permutation(len(train))[:_COMPARED]
    compared = [
        Molecule(graph.atomic_numbers.numpy(), graph.pos.numpy())
        for graph in (train[int(place)] for place in chosen)
    ]
    known = None
    with suppress(BackendError):
        known = inchi_keys(data.training_inchi()) if isinstance(data, QM9Molecules) else None
    return data.describe(), compared, known


def job(tree: dict[str, Any]) -> None:
    """Sample as the command line does, see :func:`run`.

    Args:
        tree: Plain configuration, see :func:`run`.
    """
    run(tree)


def main() -> None:
    """Run the command line and exit with 0, 1 (data, model), 2 (configuration) or 130 (Ctrl-C)."""
    sys.exit(configuration.command("sample", job))


if __name__ == "__main__":
    main()
