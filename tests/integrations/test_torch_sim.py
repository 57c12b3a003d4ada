"""Potentials in torch-sim: the results of ASE, in batches, and its own checks of a model."""

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule

from equinet.integrations.ase import EquinetCalculator
from equinet.models import EquiformerV2, MACEGaunt

torch_sim = pytest.importorskip("torch_sim", reason="torch-sim needs Python 3.12")

ELEMENTS = [1, 6, 8, 12, 14, 26]
COMMON = {
    "elements": ELEMENTS,
    "cutoff": 4.0,
    "reference_energies": list(range(6)),
    "average_neighbors": 20.0,
    "channels": 8,
}


def mace_gaunt(**options: float) -> MACEGaunt:
    torch.manual_seed(0)
    return MACEGaunt(**COMMON, **options).double()


def structures() -> list[Atoms]:
    """A sheared left-handed crystal, moved off its sites, and two molecules of unequal sizes."""
    crystal = bulk("MgO", "rocksalt", a=4.2).repeat(2)
    crystal.set_cell(crystal.cell[[1, 0, 2]] @ np.array([[1, 0.1, 0], [0, 1, 0], [0, 0.05, 1.1]]))
    crystal.rattle(0.1, seed=1)
    return [crystal, molecule("CH3OH"), molecule("H2O")]


@pytest.mark.parametrize("is_direct", [False, True])
def test_a_state_has_the_results_of_ase(is_direct: bool) -> None:
    from equinet.integrations.torch_sim import TorchSimModel

    if is_direct:
        sizes = {"blocks": 1, "lmax": 1, "mmax": 1, "heads": 2, "radial_basis": 8}
        potential = EquiformerV2(**COMMON, **sizes).double()
    else:
        potential = mace_gaunt()
    given = structures()
    model = TorchSimModel(potential)
    # A state has one periodicity for all of its systems.
    for atoms in (given[:1], given[1:]):
        found = model(torch_sim.initialize_state(atoms, device=model.device, dtype=torch.float64))
        start = 0
        for number, each in enumerate(atoms):
            each.calc = EquinetCalculator(potential)
            assert found["energy"][number].item() == pytest.approx(each.get_potential_energy())
            forces = found["forces"][start : start + len(each)]
            np.testing.assert_allclose(forces, each.get_forces(), atol=1e-10)
            start += len(each)
            if each.pbc.all() and not is_direct:
                stress = each.get_stress(voigt=False)
                np.testing.assert_allclose(found["stress"][number], stress, atol=1e-10)


def test_it_passes_the_checks_of_torch_sim() -> None:
    from torch_sim.models.interface import validate_model_outputs

    from equinet.integrations.torch_sim import TorchSimModel

    validate_model_outputs(TorchSimModel(mace_gaunt()), torch.device("cpu"), torch.float64)


def test_dynamics_keep_the_energy() -> None:
    from equinet.integrations.torch_sim import TorchSimModel

    model = TorchSimModel(mace_gaunt(scale=0.1))
    start = torch_sim.initialize_state(structures()[1:], device=model.device, dtype=torch.float64)
    state = torch_sim.nve_init(start, model, kT=torch.tensor(0.02, dtype=torch.float64))
    totals, kinetic = [], []
    for _ in range(40):
        kinetic.append(
            torch_sim.calc_kinetic_energy(
                masses=state.masses, momenta=state.momenta, system_idx=state.system_idx
            )
        )
        totals.append(state.energy + kinetic[-1])
        # 0.2 fs in the unit of time of eV, Å and atomic mass units.
        state = torch_sim.nve_step(state, model, dt=torch.tensor(0.2 * 0.0982269))
    change = torch.stack(totals).std(0)
    assert (change < 0.01 * torch.stack(kinetic).std(0)).all()
