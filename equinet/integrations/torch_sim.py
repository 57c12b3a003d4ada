"""Trained potentials in torch-sim: dynamics and relaxations of many systems at once."""

import copy
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch_geometric.data import Batch

from equinet import zoo
from equinet.data import Frame, to_graph
from equinet.errors import BackendError, ConfigError
from equinet.models import Potential, fastest

try:
    from torch_sim.models.interface import ModelInterface
except ImportError as error:
    raise BackendError(
        "this module needs torch-sim, which is not installed: pip install '.[torchsim]' in the "
        "clone, with Python 3.12 or newer"
    ) from error

if TYPE_CHECKING:
    from torch_sim.state import SimState


class TorchSimModel(ModelInterface):
    """Energies, forces and stresses of the systems of a torch-sim state.

    The systems of a state are evaluated as one batch, with neighbor lists from the CPU. Weights
    are fixed: results cannot be differentiated.

    Args:
        model_or_name: Potential, of which a copy is taken; or a run directory, a model folder,
            or a name from the zoo.
        device: Device on which to compute.
        dtype: Floating-point type of the parameters and of the states, ``torch.float32`` or
            ``torch.float64``; None keeps that of the model.

    Raises:
        ConfigError: The model or device does not exist, or the model is not a potential.
        DataError: The model cannot be read. On evaluation: a system has an element that the model
            does not know, or two atoms at one place.

    Example:
        >>> import torch_sim
        >>> from ase.build import molecule
        >>> model = TorchSimModel("mace-gaunt-3bpa")
        >>> state = torch_sim.initialize_state(
        ...     [molecule("CH4"), molecule("H2O")], device=model.device, dtype=model.dtype
        ... )
        >>> {name: list(found.shape) for name, found in model(state).items()}
        {'energy': [2], 'forces': [8, 3], 'stress': [2, 3, 3]}
    """

    def __init__(
        self,
        model_or_name: Potential | str | Path,
        *,
        device: torch.device | str = "cpu",
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        if isinstance(model_or_name, str | Path):
            model: Any = zoo.load(model_or_name, device=device, dtype=dtype)
        else:
            model = copy.deepcopy(model_or_name).to(device=device, dtype=dtype)
        if not isinstance(model, Potential):
            raise ConfigError(f"{model_or_name} is no potential but a {type(model).__name__}")
        self.model = model.eval().requires_grad_(requires_grad=False)
        self._evaluate = fastest(self.model)
        self._device = torch.device(device)
        self._dtype = self.model.dtype
        self._compute_forces = True
        self._compute_stress = self.model.conservative

    def forward(self, state: "SimState", **_: Any) -> dict[str, Tensor]:
        """Evaluate all systems of a state.

        Args:
            state: Positions [N, 3] and cells, Å, of one or more systems.

        Returns:
            Mapping of ``energy`` [systems], eV; ``forces`` [N, 3], eV/Å; and, if the model is
            conservative, ``stress`` [systems, 3, 3], eV/Å³, zero for systems without a cell.
        """
        graph = self._graph(state)
        found = self._evaluate(graph, forces=True, stress=self._compute_stress)
        names = ["energy", "forces", *(["stress"] if self._compute_stress else [])]
        return {name: found[name].detach().to(state.positions) for name in names}

    def _graph(self, state: "SimState") -> Batch:
        """Return the systems of a state as one batch of graphs."""
        numbers = state.atomic_numbers.cpu().numpy()
        positions = state.positions.detach().double().cpu().numpy()
        cells = state.row_vector_cell.detach().double().cpu().numpy()
        pbc = state.pbc.cpu().numpy()
        system = state.system_idx.cpu().numpy()
        graphs = []
        for number, cell in enumerate(cells):
            own = system == number
            frame = Frame(numbers[own], positions[own], cell, pbc, source=f"system {number}")
            graphs.append(to_graph(frame, self.model.neighborhood))
        return Batch.from_data_list(graphs).to(self._device)
