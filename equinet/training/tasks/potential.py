"""Lightning task that trains a potential on energies, forces and optionally stresses."""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar, cast

import torch
from jaxtyping import Float
from lightning.pytorch.utilities.seed import isolate_rng
from torch import Tensor, nn

from equinet.arguments import Count, Fraction, NotNegative, Positive
from equinet.configuration import relative
from equinet.errors import ConfigError, DataError
from equinet.evaluation import (
    LABELED_ERRORS,
    POTENTIAL_ERRORS,
    Error,
    Loss,
    LossWeights,
    PotentialErrors,
    Residuals,
    absent,
    predict,
    residuals,
)
from equinet.lie import random_rotations
from equinet.models import Committee, Potential
from equinet.training.processes import mean_over_processes
from equinet.training.schedules import progress
from equinet.training.tasks.compiling import obstacle_to_compiling, pays_to_compile, reason
from equinet.training.tasks.rotations import rotate_graphs
from equinet.training.tasks.task import Evaluation, Task

_log = logging.getLogger(__name__)


class PotentialTask(Task):
    """Trains ``model(graph) -> {"energy", "forces"}`` on labeled structures.

    Args:
        model: Potential, see :class:`equinet.models.Potential`.
        optimizer: Function of parameter groups that builds the optimizer, such as
            ``functools.partial(torch.optim.Adam, lr=0.01)``. Its weight decay acts on matrices
            only, see :class:`equinet.training.Task`.
        energy_weight: Weight of the energy errors in the loss, see
            :class:`~equinet.training.LossWeights`. Losses of validation, and with them the choice
            of the best checkpoint, always have this weight.
        forces_weight: Weight of the force errors in the loss.
        stress_weight: Weight of the stress errors in the loss; zero leaves the stress out.
        loss: Kind of loss: ``squared``, ``huber``, or ``absolute`` as in OC20, see
            :class:`~equinet.training.LossWeights`.
        huber_delta: Threshold above which Huber's loss is linear, eV and eV/Å.
        free_atoms_only: Whether atoms marked ``fixed`` are left out of the force loss and the force
            errors.
        random_rotations: Whether every structure is rotated at random in training, for models that
            are not exactly invariant.
        early_energy_weight: Weight of the energy errors in the training loss until the fraction
            ``early_share`` of the budget is spent; None for ``energy_weight`` throughout. With a
            low weight the forces are learned first and better, and the energies after them.
        early_share: Fraction of the training budget, between 0 and 1, for which
            ``early_energy_weight`` holds.
        members: Number of networks like ``model`` that are trained side by side as one
            :class:`equinet.models.Committee`, each from its own random initial weights; those of
            ``model`` are ignored. Each network has its own loss and clipped gradient. Training
            errors are averaged over members, and validation errors are those of their mean. A step
            takes ``members`` times as long and as much memory.
        compiled: Whether the networks are compiled before the first step, see
            :meth:`equinet.models.Potential.compile`. Compiling takes one to four minutes, and
            steps of small networks on a CPU then take two thirds to three quarters of the time.
            None compiles networks that are :attr:`~equinet.models.Potential.quick_to_compile` if
            one process trains on a CPU, ``trainer.max_time`` leaves ten minutes or more,
            ``trainer.max_steps`` is not set, and a C++ compiler is there; where that compiler
            fails, a warning says so and the networks are trained as they are.

    Raises:
        ValueError: :class:`~equinet.training.LossWeights` refuses a weight, a number is out of
            range, or ``members`` is above 1 and the model is itself made of other models.

    Source: Kovács et al., J. Chem. Theory Comput. 2021 (the loss and errors of 3BPA); Chanussot et
    al., ACS Catal. 2021 (free atoms).

    Example:
        >>> from functools import partial
        >>> from equinet import zoo
        >>> model = zoo.load("mace-gaunt-3bpa")
        >>> task = PotentialTask(model=model, optimizer=partial(torch.optim.Adam, lr=0.01))
        >>> task.units["forces_rmse"]
        'meV/Å'
    """

    declared: tuple[Error, ...] = POTENTIAL_ERRORS
    ops: ClassVar[tuple[str, ...]] = ("gaunt_product", "gaunt_powers", "gaunt_convolution")

    def __init__(
        self,
        *,
        model: Potential,
        optimizer: Callable[[Iterable[Any]], torch.optim.Optimizer],
        energy_weight: NotNegative = 1000.0,
        forces_weight: NotNegative = 1000.0,
        stress_weight: NotNegative = 0.0,
        loss: Loss = "squared",
        huber_delta: Positive = 0.5,
        free_atoms_only: bool = False,
        random_rotations: bool = False,
        early_energy_weight: NotNegative | None = 100.0,
        early_share: Fraction = 0.7,
        members: Count = 1,
        compiled: bool | None = None,
    ) -> None:
        if not 0 <= early_share <= 1:
            raise ValueError(f"early_share must be between 0 and 1, found {early_share}")
        if members < 1:
            raise ValueError(f"members must be at least 1, found {members}")
        if members > 1:
            model = Committee.like(model, members)
        weights = LossWeights(energy_weight, forces_weight, stress_weight, loss, huber_delta)
        super().__init__(
            model=model,
            optimizer=optimizer,
            train_errors=PotentialErrors(weights),
            val_errors=PotentialErrors(weights),
        )
        self.weights = weights
        self.early_weights = weights
        if early_energy_weight is not None:
            self.early_weights = replace(weights, energy=early_energy_weight)
        self.early_share = early_share
        self.free_atoms_only = free_atoms_only
        self.random_rotations = random_rotations
        self.compiled = compiled
        self._rehearsing = False

    @property
    def networks(self) -> Sequence[Potential]:
        """Networks with a loss of their own: the members of a committee, else the model."""
        if isinstance(self.model, Committee):
            return cast("list[Potential]", list(self.model.members))
        return [cast("Potential", self.model)]

    def on_train_start(self) -> None:
        """Compile the networks if that was asked for or pays.

        Raises:
            ConfigError: ``compiled`` is true, and there is no compiler that works.
        """
        super().on_train_start()
        wanted = self.compiled
        if wanted is None:
            wanted = pays_to_compile(self.networks, self.trainer)
        if not wanted:
            return
        obstacle = obstacle_to_compiling()
        if obstacle is not None:
            self._leave_as_written(obstacle)
            return
        _log.info(
            "Compile  the first step takes minutes, all others less time; task.compiled=false "
            "leaves it out"
        )
        self._rehearsing = True
        try:
            for network in self.networks:
                network.compile(on_failure=self._not_compiled)
        # Compilers fail with errors of many classes.
        except Exception as error:  # noqa: BLE001
            self._not_compiled(error)

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Rehearse the first step of networks that were compiled, since all of it is compiled then.

        The forward pass and the derivatives of the loss are computed and forgotten, so where a
        compiler fails the weights and the random numbers are those of a run without it.

        Raises:
            ConfigError: ``compiled`` is true, and the compiler fails.
        """
        if not self._rehearsing:
            return
        self._rehearsing = False
        with isolate_rng(), self.trainer.precision_plugin.train_step_context():
            for network in self.networks:
                loss = self.weights.loss(self.errors(batch, network))
                try:
                    torch.autograd.grad(loss, list(network.parameters()), allow_unused=True)
                except Exception as error:  # noqa: BLE001 - as above
                    self._not_compiled(error)

    def _not_compiled(self, error: Exception) -> None:
        """Evaluate all networks as written, since the compiler failed."""
        self._rehearsing = False
        for network in self.networks:
            network.uncompile()
        self._leave_as_written(reason(error))

    def _leave_as_written(self, obstacle: str) -> None:
        """Say that networks are not compiled, or refuse where they shall be."""
        if self.compiled:
            raise ConfigError(
                f"task.compiled=true: torch cannot compile here ({obstacle}); install a C++ "
                "compiler, or leave out task.compiled"
            )
        _log.warning("Compile  not possible here, so steps take longer: %s", obstacle)

    def forward(self, graph: Any, network: nn.Module | None = None) -> dict[str, Tensor]:
        """Evaluate a network with the derivatives that the loss needs.

        Args:
            graph: Batch of structures.
            network: Model, or a member of it; None for the model.
        """
        network = network or self.model
        options = {"forces": "forces" in graph, "stress": self.weights.stress > 0}
        results: dict[str, Tensor] = network(graph, **options)
        return results

    def errors(self, graph: Any, network: nn.Module | None = None) -> Residuals:
        """Evaluate a network and compare it with the labels of a batch.

        Args:
            graph: Batch of structures.
            network: Model, or a member of it; None for the model.
        """
        return residuals(self(graph, network), graph, free_atoms_only=self.free_atoms_only)

    def training_step(self, graph: Any, batch_idx: int) -> Float[Tensor, ""]:
        """Return the loss of one batch; the progress bar shows its errors with units."""
        if self.random_rotations:
            graph = rotate_graphs(graph, random_rotations(graph.num_graphs))
        found = [self(graph, network) for network in self.networks]
        errors = [residuals(f, graph, free_atoms_only=self.free_atoms_only) for f in found]
        graphs, components = self._mean_counts(errors[0])
        weights = self._training_weights()
        losses = [weights.loss(e, graphs=graphs, components=components) for e in errors]
        for each in errors:
            self.train_errors.update(each)
        apart = {name: torch.stack([f[name] for f in found], dim=1) for name in found[0]}
        shown = {
            f"{name}_rmse": 1000 * torch.stack(each).detach().square().mean().sqrt()
            for name, each in (
                ("energy", [e.energy for e in errors]),
                ("forces", [e.forces for e in errors]),
            )
            if each[0].numel()
        }
        return self.finish_step(
            torch.stack(losses).sum(),  # the sum gives each member the gradient that it has alone
            graph,
            batch_idx,
            count=graph.num_graphs,
            errors=shown,
            predicted=apart,
        )

    def validation_step(self, graph: Any, batch_idx: int) -> None:
        """Add the errors of one validation batch."""
        self.val_errors.update(self.errors(graph))

    def evaluate(self, loader: Iterable[Any], device: torch.device) -> Evaluation:
        """Predict energies and forces, and stresses if they are labeled."""
        found = predict(self.model, loader, device=device, free_atoms_only=self.free_atoms_only)
        return Evaluation(
            len(found.energy),
            found.errors,
            found.parity,
            per_structure=found.per_structure,
            predictions=found,
        )

    def check_data(self, *sets: Any) -> None:
        """Refuse data without labels that the loss needs, and a model without stress."""
        if self.weights.stress > 0 and not getattr(self.model, "conservative", True):
            raise ConfigError(
                f"task.stress_weight is set, but this {type(self.model).__name__} has direct "
                "forces and no stress; set task.stress_weight=0 or model.forces=gradient"
            )
        if self.weights.stress > 0 and any("stress" not in each[0] for each in sets):
            raise DataError(
                "task.stress_weight is set, but not all training and validation frames have a "
                "stress; give its name as data.stress_key (a virial must first be written as "
                "-virial / volume), or set task.stress_weight=0"
            )
        for label, weight, other in (
            ("forces", self.weights.forces, "energy"),
            ("energy", self.weights.energy, "forces"),
        ):
            without = [each for each in sets if label not in each[0]]
            if weight > 0 and without:
                frame = without[0].frames[0]
                there = ", ".join(frame.unread) or "no other values"
                raise DataError(
                    f"{frame.source}: no {label}, beside the {other} there are {there}; give the "
                    f"right name as data.{label}_key, or set task.{label}_weight=0"
                )

    def table(self, rows: Sequence[Mapping[str, Any]]) -> str:
        """Lay out errors with their units, and say which sets lack a label.

        Args:
            rows: Sets, as in :meth:`Task.table`.
        """
        return "\n".join([Task.table(self, rows), *absent(rows, LABELED_ERRORS)])

    def next_step(self, run: str, data: Any) -> str:
        """Return the command that evaluates the run on its test file, or on a file to name."""
        file = next((relative(path) for path in data.files.values()), "FILE")
        return f"python -m equinet.evaluate checkpoint={run} data.file={file}"

    def _training_weights(self) -> LossWeights:
        if self.early_weights == self.weights:
            return self.weights
        spent = progress(self.trainer)
        if spent is None:
            raise ConfigError(
                "task.early_energy_weight needs a budget; "
                "give trainer.max_time, trainer.max_epochs or trainer.max_steps"
            )
        return self.early_weights if spent < self.early_share else self.weights

    def _mean_counts(self, errors: Residuals) -> tuple[float, float]:
        """Return the mean numbers of structures and of force components on a process.

        Gradients are averaged over processes. If each process divides by the mean count instead of
        its own, that average is the gradient of the loss of the joint batch.
        """
        counts = [float(errors.energy.numel()), float(errors.forces.numel())]
        graphs, components = mean_over_processes(counts, self.device)
        return graphs or 1.0, components or 1.0
