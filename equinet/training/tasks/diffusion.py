"""Lightning task that trains a denoiser, from which molecules are sampled."""

from collections.abc import Callable, Iterable
from typing import Any, ClassVar, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from equinet.diffusion import NoiseLevels, NoisyMolecules, add_noise, center, loss_weights
from equinet.errors import ConfigError, DataError
from equinet.evaluation import LOSS, Error, SummedErrors, refuse_not_finite
from equinet.lie import random_rotations
from equinet.models import PonitaDenoiser
from equinet.training.processes import mean_over_processes
from equinet.training.tasks.rotations import rotate_graphs
from equinet.training.tasks.task import Evaluation, Task

DIFFUSION_ERRORS: tuple[Error, ...] = (
    LOSS,
    Error(
        "position_loss",
        "positions",
        of="position_error",
        digits=4,
        word="positions",
        log=".4f",
        curve="weighted squared error of positions",
    ),
    Error(
        "type_loss",
        "types",
        of="type_error",
        digits=4,
        word="types",
        log=".4f",
        curve="weighted squared error of types",
    ),
    Error(
        "element_accuracy",
        "elements",
        "%",
        digits=1,
        of="right_element",
        word="elements",
        log=".1f",
        curve="atoms with the right element",
    ),
)
"""Errors of denoised molecules, in the order of ``metrics.csv``."""


class DiffusionErrors(SummedErrors):
    """Weighted squared errors of denoised positions and types, and how many elements are right.

    The ``loss`` is the sum of ``position_loss`` and ``type_loss``. Each is a mean over atoms and
    components, in units in which predicting the mean of the data at all noise levels costs one.

    Args:
        shared: Whether sums are added up over processes; False where only one of them evaluates.

    Example:
        >>> errors = DiffusionErrors()
        >>> one = torch.ones(2, 3)
        >>> errors.update(one, 2 * one, torch.tensor([True, False]))
        >>> {name: float(value) for name, value in errors.compute().items()}
        {'position_loss': 1.0, 'type_loss': 2.0, 'element_accuracy': 50.0, 'loss': 3.0}
    """

    declared: tuple[Error, ...] = DIFFUSION_ERRORS

    def update(
        self,
        position_error: Float[Tensor, "atom 3"],
        type_error: Float[Tensor, "atom element"],
        right_element: Tensor,
    ) -> None:
        """Add one batch.

        Args:
            position_error: Weighted squared errors of the coordinates [N, 3].
            type_error: Weighted squared errors of the types [N, elements].
            right_element: Whether the largest type of each atom is that of its element [N].
        """
        self.add(position_error=position_error, type_error=type_error, right_element=right_element)

    def compute(self) -> dict[str, Tensor]:
        """Return the errors by name, and their sum as the loss."""
        found = super().compute()
        return {**found, "loss": found["position_loss"] + found["type_loss"]}


class DiffusionTask(Task):
    """Trains a denoiser on molecules with noise of all levels.

    The loss is the squared error of the denoised positions and types, each weighted by
    :func:`equinet.diffusion.loss_weights`. Every molecule is rotated at random in training and has
    a noise level of its own. In validation and tests the noise and its levels follow from the
    number of the batch, so that errors of different epochs can be compared.

    Args:
        model: Denoiser of molecules, see :class:`equinet.models.PonitaDenoiser`.
        optimizer: Function of parameter groups that builds the optimizer, see :class:`Task`.
        log_mean: Mean of the logarithm of the noise level in Å.
        log_deviation: Standard deviation of the logarithm of the noise level.

    Raises:
        ConfigError: The model is of another class than :class:`equinet.models.PonitaDenoiser`.

    Source: Karras et al., Elucidating the design space of diffusion-based generative models
    (NeurIPS 2022), for the loss; Hoogeboom et al. (ICML 2022) for molecules.

    Example:
        >>> from functools import partial
        >>> model = PonitaDenoiser(elements=[1, 8], sizes=[0, 0, 1], position_deviation=1.0,
        ...                        channels=8, layers=1)
        >>> task = DiffusionTask(model=model, optimizer=partial(torch.optim.Adam, lr=0.01))
        >>> task.column("element_accuracy")
        'element_accuracy_percent'
    """

    ops: ClassVar[tuple[str, ...]] = ("orientation_convolution",)
    declared: tuple[Error, ...] = DIFFUSION_ERRORS

    def __init__(
        self,
        *,
        model: nn.Module,
        optimizer: Callable[[Iterable[Any]], torch.optim.Optimizer],
        log_mean: float = -1.0,
        log_deviation: float = 1.4,
    ) -> None:
        super().__init__(
            model=model,
            optimizer=optimizer,
            train_errors=DiffusionErrors(),
            val_errors=DiffusionErrors(),
        )
        if not isinstance(model, PonitaDenoiser):
            raise ConfigError(
                f"task: a {type(model).__name__} denoises no molecules, which task=diffusion "
                "trains; choose model=ponita_denoiser"
            )
        self.noise_levels = NoiseLevels(log_mean, log_deviation)

    @property
    def denoiser(self) -> PonitaDenoiser:
        """The model, as the type that it was found to be."""
        return cast("PonitaDenoiser", self.model)

    def training_step(self, graph: Any, batch_idx: int) -> Float[Tensor, ""]:
        """Return the loss of one batch whose molecules are rotated at random."""
        graph = rotate_graphs(graph, random_rotations(graph.num_graphs, 3))
        errors = self._errors(graph)
        self.train_errors.update(*errors)
        atoms = len(graph.pos)
        # The mean count makes the mean over processes of gradients that of the joint batch.
        (share,) = mean_over_processes([float(atoms)], self.device)
        positions, types = (each.mean() * atoms / share for each in errors[:2])
        return self.finish_step(
            positions + types,
            graph,
            batch_idx,
            count=graph.num_graphs,
            errors={"position_loss": positions.detach(), "type_loss": types.detach()},
            predicted={"errors of positions": errors[0], "errors of types": errors[1]},
        )

    def validation_step(self, graph: Any, batch_idx: int) -> None:
        """Add the errors of one validation batch."""
        self.val_errors.update(*self._errors(graph, seed=batch_idx))

    def evaluate(self, loader: Iterable[Any], device: torch.device) -> Evaluation:
        """Denoise all batches, with the same noise in every evaluation."""
        self.to(device).eval()
        errors = DiffusionErrors(shared=False).to(device)
        graphs = 0
        with torch.no_grad():
            for index, batch in enumerate(loader):
                graph = batch.to(device)
                found = self._errors(graph, seed=index)
                refuse_not_finite(
                    {"denoised positions": found[0]}, graph.batch, loader=loader, before=graphs
                )
                errors.update(*found)
                graphs += graph.num_graphs
        values = {name: float(value) for name, value in errors.compute().items() if name != "loss"}
        return Evaluation(graphs, values)

    def check_data(self, *sets: Any) -> None:
        """Refuse graphs that are no molecules of the model's elements."""
        elements = len(self.denoiser.elements)
        for each in sets:
            x = each[0].get("x")
            if x is None or x.shape[1] != elements or not (x.sum(1) == 1).all():
                raise DataError(
                    f"the graphs have no one-hot x of {elements} elements, which task=diffusion "
                    "needs; choose data=qm9_molecules"
                )

    def calibrate(self, graph: Any) -> None:
        """Let the denoiser scale its layers on a batch with noise."""
        self.denoiser.calibrate(self._noisy(graph, seed=0)[0])

    def next_step(self, run: str, data: Any) -> str:
        """Return the command that samples molecules from a finished run."""
        return f"python -m equinet.sample checkpoint={run} n=1000"

    def _noisy(self, graph: Any, seed: int | None) -> tuple[NoisyMolecules, Tensor, Tensor]:
        """Return molecules with noise, and their positions and types without."""
        generator = None if seed is None else torch.Generator().manual_seed(seed)
        graphs = graph.num_graphs
        types = self.denoiser.types(graph.x)
        pos = center(graph.pos, graph.batch, graphs).to(types)
        noise = self.noise_levels.draw(graphs, generator).to(types)
        noisy = add_noise(pos, types, noise, graph.edge_index, graph.batch, generator)
        return noisy, pos, types

    def _errors(self, graph: Any, seed: int | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """Return weighted squared errors of positions and types, and which elements are right."""
        noisy, pos, types = self._noisy(graph, seed)
        found = self.model(noisy)
        noise = noisy.noise.index_select(0, noisy.batch).unsqueeze(1)
        position_weights = loss_weights(noise, self.denoiser.position_deviation)
        type_weights = loss_weights(noise, self.denoiser.type_deviation)
        return (
            position_weights * (found["pos"] - pos).square(),
            type_weights * (found["types"] - types).square(),
            found["types"].argmax(1) == types.argmax(1),
        )
