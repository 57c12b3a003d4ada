"""ASE calculator for trained potentials, for relaxations, dynamics and all other tools of ASE."""

import copy
import functools
import logging
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from equinet import zoo
from equinet.data import Frame, MovingNeighborList, frame_from_atoms, to_graph
from equinet.data.survey import Coverage
from equinet.errors import BackendError, ConfigError, DataError
from equinet.models import Potential

try:
    from ase.calculators.calculator import Calculator, PropertyNotImplementedError, all_changes
    from ase.stress import full_3x3_to_voigt_6_stress
except ImportError as error:
    raise BackendError(
        "the ASE calculator needs ASE, which is not installed: pip install '.[atoms]' in the clone"
    ) from error

if TYPE_CHECKING:
    import ase

_log = logging.getLogger(__name__)

# Attributes of a structure that models read.
_READ = ("positions", "numbers", "cell", "pbc")


class _Lock:
    """Lock of one object; a copy of the object, in this process or another, has one of its own."""

    def __init__(self) -> None:
        self._lock = threading.RLock()

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    def __reduce__(self) -> tuple[type["_Lock"], tuple[()]]:
        return type(self), ()


class EquinetCalculator(Calculator):
    """Energy, forces and stress of a trained potential.

    Forces ignore constraints, which ASE applies itself. The stress is computed for structures that
    are periodic in all three directions, with ASE's sign, as xx, yy, zz, yz, xz, xy. Threads may
    share a calculator: it evaluates one structure after the other, and each thread gets the results
    of its own structure. A calculator for each thread is faster.

    Args:
        model_or_name: Potential, of which the calculator takes a copy; or a run directory, a model
            folder, or a name from the zoo.
        device: Device on which to compute.
        dtype: Floating-point type of the parameters, ``torch.float32`` or ``torch.float64``; None
            keeps that of the model. Positions are float64 in either case. Relaxations to tight
            tolerances and long runs at constant energy need ``torch.float64``.
        **options: Further options of :class:`ase.calculators.calculator.Calculator`, such as
            ``atoms``.

    Attributes:
        energy_spread: Spread of the energy over the members of a
            :class:`equinet.models.Committee`, eV, for the structure last evaluated; None for other
            models.
        forces_spread: Spread of the force on each atom [N] over the members of a
            :class:`equinet.models.Committee`, eV/Å; None for other models.
        familiar: Whether a :class:`equinet.models.Fallback` knows the elements of the structure
            last evaluated; None for other models.

    Raises:
        ConfigError: ``dtype`` is neither of the two, or there is no such model or device.
        DataError: The model cannot be read. On evaluation: the structure has an element that the
            model was not trained for, positions that are not finite, or a cell without volume; or
            the model's energy, forces or stress are not finite.

    Example:
        >>> from ase.build import molecule
        >>> from equinet.models import MACEGaunt
        >>> atoms = molecule("H2")
        >>> atoms.calc = EquinetCalculator(
        ...     MACEGaunt(elements=[1], cutoff=4, reference_energies=[-13.6], average_neighbors=1)
        ... )
        >>> atoms.get_forces().shape
        (2, 3)
    """

    implemented_properties = ["energy", "free_energy", "forces", "stress"]
    # No model reads charges or magnetic moments, so their changes need no new evaluation.
    ignored_changes = {"initial_charges", "initial_magmoms"}

    def __init__(
        self,
        model_or_name: Potential | str | Path,
        *,
        device: torch.device | str = "cpu",
        dtype: torch.dtype | None = None,
        **options: Any,
    ) -> None:
        if dtype not in (None, torch.float32, torch.float64):
            raise ConfigError(f"dtype must be torch.float32 or torch.float64, found {dtype}")
        super().__init__(**options)
        self._coverage: Coverage | None = None
        if isinstance(model_or_name, str | Path):
            self._coverage = Coverage.from_card(zoo.load_card(model_or_name))
            model = zoo.load(model_or_name, device=device, dtype=dtype)
        else:
            model = copy.deepcopy(model_or_name).to(device=device, dtype=dtype).eval()
        if not isinstance(model, Potential):
            raise ConfigError(f"{model_or_name} is no potential but a {type(model).__name__}")
        self.model = model.requires_grad_(requires_grad=False)
        self._moving = MovingNeighborList(self.model.neighborhood)
        self.device = torch.device(device)
        self._lock = _Lock()
        # Attributes instead of results, among which ASE refuses names that it does not know.
        self.energy_spread: float | None = None
        self.forces_spread: np.ndarray | None = None
        self.familiar: bool | None = None

    @functools.cached_property
    def _fixed(self) -> Any:
        """Form of the model for evaluation alone, made when first needed; None without one."""
        return self.model.fixed()

    def check_state(self, atoms: "ase.Atoms", tol: float = 0.0) -> list[str]:
        """List what has changed since the previous call: exactly, in a fraction of ASE's time.

        Args:
            atoms: Structure to compare with that of the previous call.
            tol: Largest difference between numbers that count as equal; 0 compares exactly.
        """
        known = self.atoms
        if known is None:
            return list(all_changes)
        return [
            name
            for name in _READ
            if not _are_equal(np.asarray(getattr(known, name)), getattr(atoms, name), tol)
        ]

    def get_property(
        self, name: str, atoms: "ase.Atoms | None" = None, allow_calculation: bool = True
    ) -> Any:
        """Return a property of a structure, evaluated if it is not that of the previous call.

        Args:
            name: Name of the property, such as ``forces``.
            atoms: Structure to evaluate; None takes that of the previous call.
            allow_calculation: Whether the structure may be evaluated; otherwise None is returned
                where that would be needed.

        Raises:
            DataError: The model cannot evaluate the structure, see the class.
            PropertyNotImplementedError: The model does not have the property.
        """
        # Comparing the structure, evaluating it and taking its result must be one step.
        with self._lock:
            method: Any = super().get_property
            return method(name, atoms, allow_calculation)

    def calculate(
        self,
        atoms: "ase.Atoms | None" = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = tuple(all_changes),  # noqa: ARG002 - ASE's signature
    ) -> None:
        """Evaluate energy and forces, and the stress if it is defined.

        Args:
            atoms: Structure to evaluate; None takes that of the previous call.
            properties: Names of the properties that are asked for, such as ``stress``.
            system_changes: Names of what changed since the previous call, such as ``positions``.

        Raises:
            DataError: The model cannot evaluate the structure, see the class.
            PropertyNotImplementedError: The stress is asked for, and the structure is not periodic
                in all three directions, or the forces of the model are no gradient of its energy.
        """
        if atoms is not None and self.check_state(atoms):
            self.atoms = atoms.copy()
        self.results = {}  # a failed evaluation must not leave results of the previous one
        self.energy_spread = self.forces_spread = self.familiar = None
        atoms = self.atoms if atoms is None else atoms
        if atoms is None:
            raise ValueError("atoms must be given, as the calculator has none yet")
        is_bulk = bool(atoms.pbc.all())
        if "stress" in properties and not is_bulk:
            raise PropertyNotImplementedError(
                f"the stress needs three periodic directions, found pbc {atoms.pbc.tolist()}"
            )
        if "stress" in properties and not self.model.conservative:
            raise PropertyNotImplementedError(
                f"this {type(self.model).__name__} has direct forces and no stress"
            )
        has_stress = is_bulk and self.model.conservative
        frame = frame_from_atoms(atoms, source="atoms")
        self._warn_of_unlike(frame)
        graph = to_graph(frame, self._moving.near, moving=self._moving)
        found = self._evaluate(graph, stress=has_stress)
        energy = found["energy"].item()
        self.results = {
            "energy": energy,
            "free_energy": energy,
            "forces": found["forces"],
        }
        if "energy_spread" in found:
            self.energy_spread = found["energy_spread"].item()
            self.forces_spread = found["forces_spread"]
        if "familiar" in found:
            self.familiar = bool(found["familiar"])
        if has_stress:
            self.results["stress"] = full_3x3_to_voigt_6_stress(found["stress"][0])

    def _evaluate(self, graph: Any, *, stress: bool) -> dict[str, np.ndarray]:
        """Evaluate a graph, and refuse results that are not finite."""
        if self.device.type != "cpu":
            graph = graph.to(self.device)
        evaluate = self.model if self.model.is_compiled else self._fixed or self.model
        found = {
            name: value.detach().cpu().numpy()
            for name, value in evaluate(graph, forces=True, stress=stress).items()
        }
        for name in ("energy", "forces", "stress"):
            if name in found and not np.isfinite(found[name]).all():
                raise DataError(
                    f"atoms: the model's {name} is not finite, as where two atoms are at one place "
                    "or far too close; correct the positions, or take a shorter time step"
                )
        return found

    def _warn_of_unlike(self, frame: Frame) -> None:
        """Warn of the first structure that is unlike those that the model was trained on."""
        reason = "" if self._coverage is None else self._coverage.unlike(frame.numbers)
        if reason:
            _log.warning("%s; do not trust the energy (this is said once)", reason)
            self._coverage = None


def _are_equal(known: np.ndarray, value: Any, tol: float) -> bool:
    """Tell whether two arrays are the same up to a difference."""
    array = np.asarray(value)
    if known.shape != array.shape:
        return False
    return bool((np.abs(np.subtract(known, array, dtype=float)) <= tol).all())
