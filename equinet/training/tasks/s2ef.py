"""Lightning task of OC20's S2EF: energies and forces of structures, with OC20's errors."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from equinet.arguments import Count, Fraction, NotNegative, Positive
from equinet.errors import ConfigError
from equinet.evaluation import LOSS, POTENTIAL_ERRORS, Error, Loss, predict, residuals
from equinet.evaluation.oc20 import S2EF_ERRORS, S2EFErrors
from equinet.models import Potential
from equinet.training.tasks.potential import PotentialTask
from equinet.training.tasks.task import Evaluation, refuse_mixed_labels
from equinet.training.tasks.transmutation import transmutable, transmute

_NAMES = {error.name for error in (LOSS, *S2EF_ERRORS)}
_FURTHER = tuple(error.hidden() for error in POTENTIAL_ERRORS if error.name not in _NAMES)


class S2EFTask(PotentialTask):
    """Trains a potential by OC20's loss, and reports the four errors by which OC20 ranks models.

    These errors are the mean absolute errors of energies and of force components, the mean cosine
    between true and predicted forces, and EFwT. Only forces on free atoms count; see
    :class:`equinet.evaluation.oc20.S2EFErrors`.

    Args:
        model: Potential, see :class:`equinet.models.Potential`.
        optimizer: Function of parameter groups that builds the optimizer, see
            :class:`PotentialTask`.
        energy_weight: Weight of the mean absolute energy error of a structure, eV.
        forces_weight: Weight of the mean length of a force error, eV/Å.
        loss: Kind of loss: ``absolute``, ``squared`` or ``huber``, see
            :class:`~equinet.training.LossWeights`.
        huber_delta: Threshold above which Huber's loss is linear, eV and eV/Å.
        free_atoms_only: Whether atoms marked ``fixed`` are left out of the force loss.
        transmuted_surfaces: Fraction of the training structures whose surface is given random
            elements and zero forces, see :func:`equinet.training.transmute`. Training errors
            include these structures.
        transmuted_adsorbates: Fraction of the training structures whose adsorbate is given random
            elements and zero forces, drawn independently.
        members: Number of networks that are trained as a committee, see :class:`PotentialTask`.

    Raises:
        ValueError: A fraction is not between 0 and 1, or :class:`PotentialTask` refuses an
            argument.

    Source: Chanussot et al., ACS Catal. 11, 6059 (2021), doi 10.1021/acscatal.0c04525.

    Example:
        >>> from functools import partial
        >>> from equinet import zoo
        >>> model = zoo.load("mace-gaunt-3bpa")
        >>> task = S2EFTask(model=model, optimizer=partial(torch.optim.AdamW, lr=0.001))
        >>> task.units["efwt"]
        '%'
    """

    model: Potential
    declared: tuple[Error, ...] = (LOSS, *S2EF_ERRORS, *_FURTHER)

    def __init__(
        self,
        *,
        model: Potential,
        optimizer: Callable[[Iterable[Any]], torch.optim.Optimizer],
        energy_weight: NotNegative = 2.0,
        forces_weight: NotNegative = 100.0,
        loss: Loss = "absolute",
        huber_delta: Positive = 0.5,
        free_atoms_only: bool = True,
        transmuted_surfaces: Fraction = 0.0,
        transmuted_adsorbates: Fraction = 0.0,
        members: Count = 1,
    ) -> None:
        for name, fraction in (
            ("transmuted_surfaces", transmuted_surfaces),
            ("transmuted_adsorbates", transmuted_adsorbates),
        ):
            if not 0 <= fraction <= 1:
                raise ValueError(f"{name} must be between 0 and 1, found {fraction}")
        super().__init__(
            model=model,
            optimizer=optimizer,
            energy_weight=energy_weight,
            forces_weight=forces_weight,
            loss=loss,
            huber_delta=huber_delta,
            free_atoms_only=free_atoms_only,
            early_energy_weight=None,
            members=members,
            compiled=False,
        )
        self.transmuted = (transmuted_surfaces, transmuted_adsorbates)
        self.ranking_errors = S2EFErrors()

    def training_step(self, graph: Any, batch_idx: int) -> Float[Tensor, ""]:
        """Return the loss of one batch, a fraction of which is transmuted."""
        if any(self.transmuted):
            surfaces, adsorbates = (torch.rand(graph.num_graphs) < x for x in self.transmuted)
            graph = transmute(graph, surfaces, adsorbates, self.networks[0])
        return super().training_step(graph, batch_idx)

    def check_data(self, *sets: Any) -> None:
        """Refuse missing labels, and random elements where there are too few to draw from."""
        super().check_data(*sets)
        refuse_mixed_labels(*sets)
        for option, where, fraction, elements in zip(
            ("surfaces", "adsorbates"),
            ("beside H, C, N and O", "among H, C, N and O"),
            self.transmuted,
            transmutable(self.model),
            strict=True,
        ):
            if fraction and len(elements) < 2:
                raise ConfigError(
                    f"task.transmuted_{option} is set, but the training frames have fewer than two "
                    f"elements {where} to draw from; set task.transmuted_{option}=0"
                )

    def validation_step(self, graph: Any, batch_idx: int) -> None:
        """Add the errors of one validation batch."""
        predicted = self(graph)
        errors = residuals(predicted, graph, free_atoms_only=self.free_atoms_only)
        self.val_errors.update(errors)
        self.ranking_errors.update(predicted, graph)

    def pop_validation_errors(self) -> dict[str, Tensor]:
        """Return the errors of the validation batches, and reset their sums."""
        ranking = self.ranking_errors.compute()
        self.ranking_errors.reset()
        return {**super().pop_validation_errors(), **ranking}

    def evaluate(self, loader: Iterable[Any], device: torch.device) -> Evaluation:
        """Predict energies and forces, and compare them as OC20 does."""
        found = predict(
            self.model,
            loader,
            device=device,
            free_atoms_only=self.free_atoms_only,
            further=S2EFErrors(shared=False),
        )
        return Evaluation(
            len(found.energy),
            found.errors,
            found.parity,
            per_structure=found.per_structure,
            predictions=found,
        )
