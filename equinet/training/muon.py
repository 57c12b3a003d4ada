"""Muon: steps along orthogonalized momentum for matrices, Adam for all other parameters."""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from equinet.arguments import BelowOne, NotNegative, check_arguments

# Coefficients of a quintic that maps every singular value in (0, 1] to about 0.7 … 1.2 in five
# rounds. Its steep slope at zero raises small singular values quickly.
_QUINTIC = (3.4445, -4.7750, 2.0315)
_ROUNDS = 5

Norm = Literal["fixed", "capped", "free"]
_CAP = 1.2  # largest ratio of a capped norm to its initial value


class Muon(torch.optim.Optimizer):
    r"""Momentum whose step on a matrix has all singular values near one.

    For a matrix :math:`W \in R^{m \times n}` with gradient :math:`G`,

    .. math:: M \leftarrow \mu M + (1 - \mu)\,G, \quad
              W \leftarrow W - \eta \sqrt{\max(m, n)}\;
              \mathrm{orth}\left((1 - \mu)\,G + \mu M\right)

    where orth replaces the singular values by one, approximately. The root makes the entries of a
    step about :math:`\eta` in size, as with Adam. Parameters of groups without ``matrices=True``
    are updated by Adam at the same rate. (``torch.optim.Muon`` supports neither stacks of matrices
    nor parameters that are not matrices.)

    Steps of equal size in all directions let a matrix grow as long as it is trained, and the output
    of a network of cubic products grows with the cube of its weights: large terms then cancel on
    the training set, but not elsewhere. With ``norm="fixed"`` each matrix parameter keeps the
    Frobenius norm that it had before its first step, so that a step also stays the same fraction of
    the matrix throughout training.

    The method suits weights best that have entries of order one for any width and are scaled in the
    forward pass, as those of :class:`equinet.nn.DegreeLinear`.

    Args:
        params: Groups of parameters. In a group with ``matrices=True`` the last two dimensions
            of a parameter are those of matrices, and all others count matrices.
        lr: Learning rate :math:`\eta` of all parameters, above 0.
        momentum: Decay :math:`\mu` of the average of the gradients of matrices, from 0 to below 1.
        betas: Decays of Adam's averages of gradients and of their squares, each from 0 to below 1.
        weight_decay: Fraction of the weights, times the rate, that is subtracted at every step. It
            has no effect on matrices of fixed norm.
        norm: Frobenius norm of each parameter in a group with ``matrices=True``: ``fixed`` at its
            initial value, ``capped`` at 1.2 times that value, or ``free``. A parameter that is zero
            before its first step is free.

    Raises:
        ValueError: A setting is out of range, or a matrix has fewer than two dimensions.

    Source: Jordan et al., Muon: an optimizer for hidden layers in neural networks (2024); the
    quintic iteration is theirs. Fixed norms of weights: Hyperball, arXiv 2606.16899.

    Example:
        >>> weight = torch.nn.Parameter(torch.zeros(3, 8, 8))
        >>> optimizer = Muon([{"params": [weight], "matrices": True}], lr=0.01)
        >>> weight.grad = torch.randn(3, 8, 8)
        >>> _ = optimizer.step()
        >>> bool(0.005 < weight.detach().square().mean().sqrt() < 0.015)
        True
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: NotNegative = 0.002,
        *,
        momentum: BelowOne = 0.99,
        betas: Sequence[BelowOne] = (0.9, 0.999),
        weight_decay: NotNegative = 0.0,
        norm: Norm = "fixed",
    ) -> None:
        given = {"lr": lr, "momentum": momentum, "betas": betas, "weight_decay": weight_decay}
        check_arguments(Muon, {**given, "norm": norm})
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "betas": tuple(betas),
            "weight_decay": weight_decay,
            "norm": norm,
            "matrices": False,
        }
        super().__init__(params, defaults)
        for group in self.param_groups:
            for parameter in group["params"]:
                if group["matrices"] and parameter.ndim < 2:
                    raise ValueError(
                        f"a matrix needs two dimensions, found shape {list(parameter.shape)}"
                    )

    @torch.no_grad()
    def step(  # type: ignore[override]  # torch declares two overloads
        self, closure: Callable[[], float | Tensor] | None = None
    ) -> float | Tensor | None:
        """Take one step.

        Args:
            closure: Function that computes and returns the loss and sets its gradients; None where
                the gradients are set already.

        Returns:
            The loss; None without a closure.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            parameters = [p for p in group["params"] if p.grad is not None]
            if not parameters:
                continue
            if group["matrices"]:
                self._keep_initial_norms(parameters)
            if group["weight_decay"]:
                torch._foreach_mul_(parameters, 1 - group["lr"] * group["weight_decay"])
            if group["matrices"]:
                self._step_matrices(parameters, group)
                self._hold_norms(parameters, group["norm"])
            else:
                self._step_others(parameters, group)
        return loss

    def _keep_initial_norms(self, parameters: list[Tensor]) -> None:
        for parameter in parameters:
            state = self.state[parameter]
            if not state:
                state["momentum"] = torch.zeros_like(parameter)
                state["norm"] = parameter.norm()

    def _hold_norms(self, parameters: list[Tensor], norm: Norm) -> None:
        if norm == "free":
            return
        initial = torch.stack([self.state[p]["norm"] for p in parameters])
        now = torch.stack([p.norm() for p in parameters])
        factors = initial / now
        if norm == "capped":
            factors = (_CAP * factors).clamp(max=1.0)
        # A parameter that is initially zero could never move with its norm fixed.
        factors = torch.where((initial > 0) & (now > 0), factors, 1.0)
        torch._foreach_mul_(parameters, list(factors.unbind()))

    def _step_matrices(self, parameters: list[Tensor], group: dict[str, Any]) -> None:
        stacks: dict[torch.Size, list[tuple[Tensor, Tensor]]] = {}
        for parameter in parameters:
            gradient = parameter.grad
            if gradient is None:
                continue
            state = self.state[parameter]
            state["momentum"].lerp_(gradient, 1 - group["momentum"])
            ahead = gradient.lerp(state["momentum"], group["momentum"])
            stacks.setdefault(ahead.shape[-2:], []).append((parameter, ahead))
        # Matrices of one shape are joined, since few large operations are faster than many small.
        for shape, members in stacks.items():
            joined = torch.cat([ahead.reshape(-1, *shape) for _, ahead in members])
            steps = orthogonalize(joined) * (-group["lr"] * math.sqrt(max(shape)))
            sizes = [ahead.numel() // (shape[0] * shape[1]) for _, ahead in members]
            for (parameter, _), step in zip(members, steps.split(sizes), strict=True):
                parameter.add_(step.view_as(parameter))

    def _step_others(self, parameters: list[Tensor], group: dict[str, Any]) -> None:
        beta1, beta2 = group["betas"]
        for parameter in parameters:
            gradient = parameter.grad
            if gradient is None:
                continue
            state = self.state[parameter]
            if not state:
                state["step"] = 0
                state["mean"] = torch.zeros_like(parameter)
                state["square"] = torch.zeros_like(parameter)
            state["step"] += 1
            state["mean"].lerp_(gradient, 1 - beta1)
            state["square"].mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
            size = (state["square"] / (1 - beta2 ** state["step"])).sqrt_().add_(1e-8)
            rate = group["lr"] / (1 - beta1 ** state["step"])
            parameter.addcdiv_(state["mean"], size, value=-rate)


def orthogonalize(matrices: Float[Tensor, "*batch m n"]) -> Float[Tensor, "*batch m n"]:
    """Replace all singular values by numbers near one, and keep the singular vectors.

    After five rounds of a quintic polynomial they lie between about 0.7 and 1.2, unless a singular
    value is below a thousandth of the Frobenius norm. A zero matrix stays zero.

    Args:
        matrices: Matrices [..., m, n].

    Example:
        >>> values = torch.linalg.svdvals(orthogonalize(torch.randn(16, 8)))
        >>> bool(values.min() > 0.6), bool(values.max() < 1.3)
        (True, True)
    """
    a, b, c = _QUINTIC
    tall = matrices.shape[-2] > matrices.shape[-1]
    x = matrices.mT if tall else matrices
    x = x.reshape(-1, *x.shape[-2:])
    x = x / x.norm(dim=(-2, -1), keepdim=True).clamp(min=torch.finfo(x.dtype).tiny)
    for _ in range(_ROUNDS):
        square = torch.bmm(x, x.mT)
        x = torch.baddbmm(x, torch.baddbmm(square, square, square, beta=b, alpha=c), x, beta=a)
    return (x.mT if tall else x).reshape(matrices.shape)
