"""An ASE calculator: any trained potential in relaxations, dynamics and everything else of ASE."""

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import torch

from equinet import zoo
from equinet.data import frame_from_atoms, to_graph
from equinet.errors import BackendError, ConfigError
from equinet.models import Potential

try:
    from ase.calculators.calculator import Calculator, PropertyNotImplementedError, all_changes
    from ase.stress import full_3x3_to_voigt_6_stress
except ImportError as error:
    raise BackendError(
        "the ASE calculator needs ASE, which is not installed: pip install 'equinet[atoms]'"
    ) from error

if TYPE_CHECKING:
    import ase


class EquinetCalculator(Calculator):
    """Energy, forces and stress of a trained potential.

    The forces are raw: ASE applies constraints itself. The stress is there for structures that are
    periodic in all three directions, with ASE's sign, as xx, yy, zz, yz, xz, xy.

    Args:
        model_or_name: A potential (the calculator takes a copy), a run directory, a model folder,
            or a name from the zoo.
        device: Where to compute.
        dtype: ``torch.float32`` or ``torch.float64``; None keeps the model's. Positions are
            float64 in either case; relaxations to tight tolerances and long runs at constant
            energy want float64 throughout.
        **options: Of :class:`ase.calculators.calculator.Calculator`, such as ``atoms``.

    Raises:
        ConfigError: ``dtype`` is another, or there is no such model or device.
        DataError: The model cannot be read; on evaluation: an element that the model was not
            trained for, positions that are not finite, or a cell without volume.

    Example:
        >>> from ase.build import molecule  # doctest: +SKIP
        >>> atoms = molecule("CH3CH2OH")
        >>> atoms.calc = EquinetCalculator("runs/3bpa")
        >>> atoms.get_potential_energy()
    """

    implemented_properties: ClassVar[list[str]] = ["energy", "free_energy", "forces", "stress"]
    # The models know nothing of charges and magnetic moments.
    ignored_changes: ClassVar[set[str]] = {"initial_charges", "initial_magmoms"}

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
        if isinstance(model_or_name, Potential):
            model = copy.deepcopy(model_or_name).to(device=device, dtype=dtype).eval()
        else:
            model = zoo.load(model_or_name, device=device, dtype=dtype)
        if not isinstance(model, Potential):
            raise ConfigError(f"{model_or_name} is no potential but a {type(model).__name__}")
        self.model = model.requires_grad_(requires_grad=False)
        self.device = torch.device(device)

    def calculate(
        self,
        atoms: "ase.Atoms | None" = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = tuple(all_changes),
    ) -> None:
        """Evaluate the model; energy and forces always, the stress wherever it is defined.

        Args:
            atoms: The structure; None takes the one of the previous call.
            properties: What is asked for.
            system_changes: What changed since the previous call.

        Raises:
            DataError: An element that the model was not trained for, see the class.
            PropertyNotImplementedError: The stress of a structure that is not periodic in all
                three directions.
        """
        super().calculate(atoms, list(properties), list(system_changes))
        self.results = {}
        is_bulk = bool(self.atoms.pbc.all())
        if "stress" in properties and not is_bulk:
            raise PropertyNotImplementedError(
                f"the stress needs three periodic directions, found pbc {self.atoms.pbc.tolist()}"
            )
        frame = frame_from_atoms(self.atoms, source="atoms")
        graph = to_graph(frame, self.model.cutoff).to(self.device)
        found = self.model(graph, forces=True, stress=is_bulk)
        energy = found["energy"].item()
        self.results = {
            "energy": energy,
            "free_energy": energy,
            "forces": found["forces"].detach().cpu().numpy(),
        }
        if is_bulk:
            stress = found["stress"][0].detach().cpu().numpy()
            self.results["stress"] = full_3x3_to_voigt_6_stress(stress)
