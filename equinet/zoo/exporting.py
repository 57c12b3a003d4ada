"""Compile a potential ahead of time into one file that runs without equinet, also from C++."""

import copy
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import equinet
from equinet.elements import symbol
from equinet.errors import BackendError, ConfigError
from equinet.models import Potential
from equinet.ops import native

# Sizes of the example inputs: primes, since the tracer identifies sizes that are equal.
_ATOMS, _EDGES, _GRAPHS = 1009, 20011, 13


def export(model: Potential, path: str | Path, *, stress: bool = False) -> None:
    """Write a potential with its forces as an AOTInductor package.

    The package is compiled for the type of processor or GPU that the model is on, and takes any
    number of atoms, edges and structures. Its inputs are the tensors of a graph in this order, in
    the layout of the conventions page: ``atomic_numbers`` [N], ``pos`` [N, 3], ``cell`` [G, 3, 3],
    ``batch`` [N], ``edge_index`` [2, E], ``edge_shift`` [E, 3], floating-point ones in float64 and
    all others in int64. Their strides are free, and another type or shape is a RuntimeError; only a
    package without the native engine takes all of them for granted. It returns ``energy`` [G] in
    eV, ``forces`` [N, 3] in eV/Å and, if ``stress`` is true, ``stress`` [G, 3, 3] in eV/Å³; for a
    committee, the spreads follow. An element that the model does not know raises a RuntimeError.
    The caller builds the edges; the metadata of the package hold ``elements`` (atomic numbers),
    ``cutoff`` in Å and, if the model has them, ``max_neighbors`` and ``tie_tolerance`` in Å².

    The native engine must be loaded before the package, by ``equinet.ops.native.load()``, without
    equinet by ``torch.ops.load_library("…/equinet/ops/native/libequinet.so")``, in C++ by
    ``dlopen``. A model made with ``backend="grid"`` does not need it.

    Args:
        model: Potential to export; it is not changed.
        path: Path of the file to write, ending in ``.pt2``.
        stress: Whether the package also returns the stress.

    Raises:
        ConfigError: ``path`` has another ending, or its folder does not exist.
        BackendError: No C++ compiler is installed.

    Example:
        >>> from equinet import zoo
        >>> model = zoo.load("mace-gaunt-3bpa")
        >>> zoo.export(model, "3bpa.pt2")  # doctest: +SKIP
        >>> equinet.ops.native.load()  # doctest: +SKIP
        >>> run = torch._inductor.aoti_load_package("3bpa.pt2")  # doctest: +SKIP
        >>> run(atomic_numbers, pos, cell, batch, edge_index, edge_shift)  # doctest: +SKIP
    """
    from torch._inductor import aoti_compile_and_package
    from torch._inductor.exc import InductorError, InvalidCxxCompiler

    path = Path(path)
    if path.suffix != ".pt2" or not path.parent.is_dir():
        raise ConfigError(f"path must end in .pt2 and lie in a folder that exists, found {path}")
    configs = {
        # Number of threads of the machine that runs the package, not of this one.
        "cpp.dynamic_threads": True,
        "aot_inductor.metadata": {
            "equinet": equinet.__version__,
            "elements": " ".join(map(str, model.elements)),
            **{name: str(value) for name, value in model.neighborhood.arguments().items()},
        },
    }
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # torch's, of torch
            program = trace(model, stress=stress)
            aoti_compile_and_package(program, package_path=str(path), inductor_configs=configs)
    except (InductorError, InvalidCxxCompiler) as error:
        if "InvalidCxxCompiler" not in f"{type(error)} {error}":
            raise
        raise BackendError(
            "exporting needs a C++ compiler, and none works here; install g++, or name one in the "
            "environment variable CXX"
        ) from error


def trace(model: Potential, *, stress: bool = False) -> torch.export.ExportedProgram:
    """Trace a potential with its derivatives, see :func:`export`; sizes are symbolic.

    Args:
        model: Potential to trace; it is not changed.
        stress: Whether the program also returns the stress.

    Returns:
        A program of plain operations, for :func:`torch.export.save` or other compilers.
    """
    from torch.fx.experimental.proxy_tensor import make_fx

    program = _Program(copy.deepcopy(model).eval().requires_grad_(requires_grad=False), stress)
    inputs = _example(next(model.parameters()).device)
    # Two steps: torch.export alone turns tensors that the gradient saves into constants
    # (https://github.com/pytorch/pytorch/issues/187907).
    graph = make_fx(program, tracing_mode="symbolic", _allow_non_fake_inputs=True)(*inputs)
    atoms, graphs = (torch.export.Dim(name, min=1) for name in ("atoms", "graphs"))
    edges = torch.export.Dim("edges", min=0)
    sizes = ({0: atoms}, {0: atoms}, {0: graphs}, {0: atoms}, {1: edges}, {0: edges})
    return torch.export.export(graph, inputs, dynamic_shapes=sizes, strict=False)


class _Program(nn.Module):
    """Potential as a function of tensors that includes the check of the elements."""

    def __init__(self, model: Potential, stress: bool) -> None:
        super().__init__()
        self.model = model
        self.stress = stress
        self.checks_inputs = _calls_the_engine(model)
        self.message = (
            "the structure holds an element that the model was not trained for; it knows "
            + ", ".join(symbol(z) for z in model.elements)
        )

    def forward(
        self,
        atomic_numbers: Tensor,
        pos: Tensor,
        cell: Tensor,
        batch: Tensor,
        edge_index: Tensor,
        edge_shift: Tensor,
    ) -> dict[str, Tensor]:
        if self.checks_inputs:
            # Compiled code would read other types, strides and shapes as if they were declared.
            atoms, graphs, edges = pos.shape[0], cell.shape[0], edge_index.shape[1]
            atomic_numbers, pos, cell, batch, edge_index, edge_shift = (
                torch.ops.equinet.as_declared(tensor, name, not tensor.is_floating_point(), shape)
                for name, tensor, shape in (
                    ("atomic_numbers", atomic_numbers, (atoms,)),
                    ("pos", pos, (atoms, 3)),
                    ("cell", cell, (graphs, 3, 3)),
                    ("batch", batch, (atoms,)),
                    ("edge_index", edge_index, (2, edges)),
                    ("edge_shift", edge_shift, (edges, 3)),
                )
            )
        known = self.model.species.by_number
        species = known[atomic_numbers.clamp(0, known.shape[0] - 1)]
        torch._assert_async((species >= 0).all(), self.message)  # noqa: SLF001 - torch has no public name for it
        return self.model.evaluate(
            species.clamp(min=0),  # the check may run after this line on a GPU
            pos.detach().requires_grad_(),
            cell,
            batch,
            edge_index,
            edge_shift,
            torch.zeros_like(cell).requires_grad_() if self.stress else None,
        )


def _calls_the_engine(model: nn.Module) -> bool:
    """Return whether a package of a model needs the native engine in any case."""
    backends = {getattr(layer, "backend", None) for layer in model.modules()} - {None}
    is_portable = bool(backends) and "auto" not in backends and "native" not in backends
    return not (is_portable or native.load())


def _example(device: torch.device) -> tuple[Any, ...]:
    """Return inputs of the right shapes and types; their values are arbitrary."""

    def integers(*shape: int) -> Tensor:
        return torch.zeros(shape, dtype=torch.int64, device=device)

    def numbers(*shape: int) -> Tensor:
        return torch.zeros(shape, dtype=torch.float64, device=device)

    # All tensors are distinct, since the tracer would merge inputs that are the same tensor.
    return (
        integers(_ATOMS),
        numbers(_ATOMS, 3),
        numbers(_GRAPHS, 3, 3),
        integers(_ATOMS),
        integers(2, _EDGES),
        numbers(_EDGES, 3),
    )
