"""Turn a model of mace-torch into one of equinet: arguments of the network, and its weights."""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from equinet.elements import COVALENT_RADII
from equinet.models import MACE
from equinet.zoo.mace.reading import ModelFile, dtype_of

_MODELS = "mace.modules.models."
_BLOCKS = "mace.modules.blocks."
_RADIAL = "mace.modules.radial."
_SILU = ("torch.nn.functional.silu", "torch._C._nn.silu")


class Block(NamedTuple):
    """Kind of an interaction block.

    Attributes:
        residual: Whether a map of its input is added to the result.
        density: Whether sums are divided by a learned number of neighbors.
    """

    residual: bool
    density: bool


_INTERACTIONS = {
    "RealAgnosticInteractionBlock": Block(residual=False, density=False),
    "RealAgnosticResidualInteractionBlock": Block(residual=True, density=False),
    "RealAgnosticDensityInteractionBlock": Block(residual=False, density=True),
    "RealAgnosticDensityResidualInteractionBlock": Block(residual=True, density=True),
}
# Constants of mace-torch, which equinet's AgnesiTransform and PairRepulsion have as well.
_AGNESI = {"q": [0.9183], "p": [4.5791], "a": [1.0805]}
_REPULSION = {"c": [0.1818, 0.5099, 0.2802, 0.02817], "a_exp": [0.3], "a_prefactor": [0.4543]}
# Attributes of the model that change the network, with the only value that is understood.
_SWITCHES = {
    "use_so3": False,
    "use_agnostic_product": False,
    "use_last_readout_only": False,
    "use_edge_irreps_first": False,
    "apply_cutoff": True,
}
_PARTS = {"joint_embedding", "embedding_readout", "les"}


def convert(file: ModelFile, head: str | None = None) -> MACE:
    """Build the network of a model file, with its weights.

    Args:
        file: Content of the file.
        head: Name of the head to take; None for the only one.

    Returns:
        The network, in evaluation mode and the floating-point type of the file.

    Raises:
        DataError: The model has a part that equinet's network lacks, or several heads of which none
            was chosen.
    """
    _check_parts(file)
    number = _head(file, head)
    heads = len(_heads(file))
    arguments = _arguments(file, number, heads)
    with torch.random.fork_rng(devices=()):
        model = MACE(**arguments)
    state = _Weights(file, model, number, heads).state()
    expected = {name: tuple(each.shape) for name, each in model.state_dict().items()}
    found = {name: tuple(each.shape) for name, each in state.items()}
    found["reference_energies.energies"] = expected["reference_energies.energies"]
    if found != expected:
        wrong = sorted(
            name for name in expected.keys() | found.keys() if found.get(name) != expected.get(name)
        )
        raise file.refusal(f"its weights do not fit its irreps, first those of {wrong[0]}")
    model = model.double()
    model.load_state_dict(state, strict=False)
    return model.to(dtype_of(file, "node_embedding.linear.weight")).eval()


def _check_parts(file: ModelFile) -> None:
    kind = file.kind("")
    if kind not in {f"{_MODELS}MACE", f"{_MODELS}ScaleShiftMACE"}:
        raise file.refusal(f"it is a {kind}, and only MACE and ScaleShiftMACE are known")
    for name, expected in _SWITCHES.items():
        if file.value("", name, expected) != expected:
            raise file.refusal(f"it was made with {name}={not expected}, which equinet lacks")
    for name in sorted(_PARTS):
        if name in file.modules:
            raise file.refusal(f"it has the part {name} ({file.kind(name)}), which equinet lacks")
    for place, module in file.modules.items():
        _check_kind(file, place, str(module["class"]))
    for name in ("cueq_config", "oeq_config"):
        if any(file.value(place, name) for place in file.modules):
            raise file.refusal(f"it was converted for another engine ({name})")


_KINDS = {
    r"radial_embedding\.bessel_fn": f"{_RADIAL}BesselBasis",
    r"radial_embedding\.cutoff_fn": f"{_RADIAL}PolynomialCutoff",
    r"radial_embedding\.distance_transform": f"{_RADIAL}AgnesiTransform",
    "pair_repulsion_fn": f"{_RADIAL}ZBLBasis",
    r"products\.\d+": f"{_BLOCKS}EquivariantProductBasisBlock",
    r"products\.\d+\.symmetric_contractions": (
        "mace.modules.symmetric_contraction.SymmetricContraction"
    ),
    r".*\.conv_tp_weights": "e3nn.nn._fc.FullyConnectedNet",
}


def _check_kind(file: ModelFile, place: str, kind: str) -> None:
    for pattern, expected in _KINDS.items():
        if re.fullmatch(pattern, place) and kind != expected:
            raise file.refusal(f"its {place} is a {kind}, which equinet lacks")


def _heads(file: ModelFile) -> list[str]:
    return [str(each) for each in file.value("", "heads", None) or ["Default"]]


def _head(file: ModelFile, head: str | None) -> int:
    names = _heads(file)
    if head is None and len(names) > 1:
        raise file.refusal(f"it has the heads {', '.join(names)}; choose one with --head")
    if head is not None and head not in names:
        raise file.refusal(f"it has no head {head!r} but {', '.join(names)}")
    return names.index(head) if head is not None else 0


def _count(file: ModelFile, place: str) -> int:
    return sum(re.fullmatch(rf"{place}\.\d+", name) is not None for name in file.modules)


def _irreps(value: Any) -> list[tuple[int, int, int]]:
    """Return multiplicity, degree and parity of each part of irreps."""
    if isinstance(value, str):
        parts = re.findall(r"(\d+)x(\d+)([eo])", value)
        return [(int(mul), int(degree), 1 if p == "e" else -1) for mul, degree, p in parts]
    return [(int(mul), int(ir[0]), int(ir[1])) for mul, ir in value or ()]


def _uniform(file: ModelFile, place: str, name: str) -> tuple[int, int]:
    """Return channels and highest degree of irreps that have all degrees and natural parity."""
    irreps = _irreps(file.value(place, name))
    natural = [(irreps[0][0], degree, (-1) ** degree) for degree in range(len(irreps))]
    if not irreps or irreps != natural:
        raise file.refusal(
            f"its {place} has features of {name} {file.value(place, name)}, and only one number "
            "of channels for every degree from 0, each of natural parity, is known"
        )
    return irreps[0][0], len(irreps) - 1


def _decimal(value: Tensor, dtype: torch.dtype) -> float:
    """Return the shortest decimal number that a scalar of some type stands for."""
    number = value.item()
    return float(str(np.float32(number))) if dtype == torch.float32 else float(number)


def _arguments(file: ModelFile, head: int, heads: int) -> dict[str, Any]:
    layers = _count(file, "interactions")
    blocks = [file.kind(f"interactions.{i}").removeprefix(_BLOCKS) for i in range(layers)]
    for i, block in enumerate(blocks):
        if block not in _INTERACTIONS:
            raise file.refusal(f"its interactions.{i} is a {block}, which equinet lacks")
    known = [_INTERACTIONS[block] for block in blocks]
    if layers < 1 or len(set(known[1:])) > 1 or len({block.density for block in known}) > 1:
        raise file.refusal(f"it mixes the blocks {', '.join(blocks) or 'none'}")
    channels, _ = _uniform(file, "interactions.0", "node_feats_irreps")
    _, lmax_filter = _uniform(file, "interactions.0", "target_irreps")
    _, lmax_hidden = _uniform(file, "products.0.linear", "irreps_out")
    _check_layers(file, layers, channels, lmax_hidden)
    dtype = dtype_of(file, "r_max")
    cutoff = _decimal(file.tensor("r_max"), dtype)
    _check_basis(file, cutoff)
    is_scaled = file.kind("") == f"{_MODELS}ScaleShiftMACE"
    scale, shift = (
        _of_head(file.tensor(f"scale_shift.{name}"), head).item() if is_scaled else default
        for name, default in (("scale", 1.0), ("shift", 0.0))
    )
    readout = f"readouts.{layers - 1}.linear_1"
    return {
        "elements": [int(z) for z in file.tensor("atomic_numbers").tolist()],
        "cutoff": cutoff,
        "reference_energies": _energies(file, head),
        "average_neighbors": _average(file, layers),
        "scale": scale,
        "shift": shift,
        "channels": channels,
        "layers": layers,
        "lmax_filter": lmax_filter,
        "lmax_hidden": lmax_hidden if layers > 1 else 0,
        "correlation": _correlation(file),
        "radial_basis": len(file.tensor("radial_embedding.bessel_fn.bessel_weights")),
        "envelope_order": int(file.tensor("radial_embedding.cutoff_fn.p").item()),
        "radial_hidden": [int(n) for n in file.value("interactions.0.conv_tp_weights", "hs")[1:-1]],
        "residual_first": known[0].residual,
        "residual": known[-1].residual,
        "density": known[0].density,
        "transformed": _has_constants(file, "radial_embedding.distance_transform", _AGNESI),
        "repulsion": _has_constants(file, "pair_repulsion_fn", _REPULSION),
        "readout_hidden": (
            _irreps(file.value(readout, "irreps_out"))[0][0] // heads if layers > 1 else 1
        ),
    }


def _check_layers(file: ModelFile, layers: int, channels: int, lmax_hidden: int) -> None:
    for i in range(layers):
        is_last = i == layers - 1
        expected = {
            (f"interactions.{i}", "edge_irreps"): (channels, lmax_hidden if i else 0),
            (f"products.{i}.linear", "irreps_out"): (channels, 0 if is_last else lmax_hidden),
        }
        for (place, name), (width, lmax) in expected.items():
            if file.value(place, name) is not None and _uniform(file, place, name) != (width, lmax):
                raise file.refusal(f"its {place} has {name} {file.value(place, name)}")
        kind = "LinearReadoutBlock" if layers == 1 or not is_last else "NonLinearReadoutBlock"
        if file.kind(f"readouts.{i}") != f"{_BLOCKS}{kind}":
            raise file.refusal(
                f"its readouts.{i} is a {file.kind(f'readouts.{i}') or 'missing one'}, not a {kind}"
            )
    for place in file.modules:
        activation = file.value(place, "f")
        if activation is not None and activation not in _SILU:
            raise file.refusal(
                f"its {place} is the activation {activation}, and only SiLU is known"
            )


def _check_basis(file: ModelFile, cutoff: float) -> None:
    found = file.tensor("radial_embedding.bessel_fn.bessel_weights")
    expected = math.pi / cutoff * torch.arange(1, len(found) + 1, dtype=torch.float64)
    if not torch.allclose(found, expected, rtol=1e-5):
        raise file.refusal(
            "it has trained frequencies of its Bessel functions, which equinet lacks"
        )


def _has_constants(file: ModelFile, place: str, expected: Mapping[str, Sequence[float]]) -> bool:
    """Tell whether a model has a part, and refuse other constants than the usual ones in it."""
    if place not in file.modules:
        return False
    numbers = [int(z) for z in file.tensor("atomic_numbers").tolist()]
    radii = file.tensor(f"{place}.covalent_radii")[numbers]
    own = [COVALENT_RADII[z - 1] if z <= len(COVALENT_RADII) else math.nan for z in numbers]
    found = {**{name: file.tensor(f"{place}.{name}") for name in expected}, "radii": radii}
    for name, values in {**expected, "radii": own}.items():
        usual = torch.tensor(values, dtype=torch.float64)
        if not torch.allclose(found[name].reshape(-1), usual, rtol=1e-6):
            raise file.refusal(f"its {place} has other {name} than the usual {list(values)}")
    if f"{place}.p" in file.tensors and "p" not in expected:
        order = int(file.tensor("radial_embedding.cutoff_fn.p").item())
        if int(file.tensor(f"{place}.p").item()) != order:
            raise file.refusal(f"its {place} has another order of the envelope than {order}")
    return True


def _of_head(values: Tensor, head: int) -> Tensor:
    return values.reshape(-1)[head if values.numel() > 1 else 0]


def _energies(file: ModelFile, head: int) -> list[float]:
    energies = torch.atleast_2d(file.tensor("atomic_energies_fn.atomic_energies"))
    return [float(energy) for energy in energies[head if len(energies) > 1 else 0]]


def _average(file: ModelFile, layers: int) -> float:
    values = {
        float(found)
        for i in range(layers)
        if (found := file.value(f"interactions.{i}", "avg_num_neighbors")) is not None
    }
    if len(values) != 1:
        raise file.refusal(f"it has {len(values)} values of avg_num_neighbors instead of one")
    return values.pop()


def _correlation(file: ModelFile) -> int:
    values = {
        int(found)
        for place in file.modules
        if (found := file.value(place, "correlation")) is not None
    }
    if len(values) != 1 or not 1 <= min(values) <= 3:
        raise file.refusal(
            f"its layers have the correlations {sorted(values)}, and a model can have one, from 1 "
            "to 3"
        )
    return values.pop()


class _Weights:
    """Weights of the network from those of a file, whose factors differ.

    Args:
        file: Content of the file.
        model: Network that the weights are for.
        head: Number of the head.
        heads: Number of heads in the file.
    """

    def __init__(self, file: ModelFile, model: MACE, head: int, heads: int) -> None:
        self.file = file
        self.model = model
        self.head = head
        self.heads = heads
        self.kinds = len(model.elements)
        self.channels = model.embedding.shape[2]

    def state(self) -> dict[str, Tensor]:
        """Return the weights by the names of the network."""
        embedding = self.file.tensor("node_embedding.linear.weight")
        found = {"embedding": embedding.reshape(self.kinds, 1, -1) / math.sqrt(self.kinds)}
        for i in range(len(self.model.interactions)):
            for name, tensor in {**self._interaction(i), **self._product(i)}.items():
                found[f"interactions.{i}.{name}"] = tensor
            for name, tensor in self._readout(i).items():
                found[f"readouts.{i}.{name}"] = tensor
        return found

    def _interaction(self, i: int) -> dict[str, Tensor]:
        place = f"interactions.{i}"
        layer: Any = self.model.interactions[i]
        tensor = self.file.tensor
        found = {"up.weight": self._squares(tensor(f"{place}.linear_up.weight"))}
        gain = layer.radial.activation_gain
        for k in range(len(layer.radial.weights)):
            net = f"{place}.conv_tp_weights.layer"
            # e3nn normalizes activations by a factor from random numbers, near the exact one.
            factor = self._activation(f"{net}{k - 1}.act") / gain if k else 1.0
            found[f"radial.weights.{k}"] = tensor(f"{net}{k}.weight") * factor
        rows = [len(weight) for weight in layer.convolution.mixing]
        mixing = tensor(f"{place}.linear.weight").reshape(-1, self.channels)
        for degree, part in enumerate(mixing.split(self._checked(rows, len(mixing), place))):
            found[f"convolution.mixing.{degree}"] = part
        skip = tensor(f"{place}.skip_tp.weight")
        skip = skip.reshape(-1, self.channels, self.kinds, self.channels).transpose(1, 2)
        found["skip.weight"] = skip.flatten(1, 2) / math.sqrt(self.kinds)
        if layer.count is not None:
            found["count"] = tensor(f"{place}.density_fn.layer0.weight").flatten()
        return found

    def _product(self, i: int) -> dict[str, Tensor]:
        place = f"products.{i}"
        layer: Any = self.model.interactions[i]
        contraction = layer.contraction
        weight = torch.zeros_like(contraction.weight, dtype=torch.float64)
        lmax, lmax_out, correlation = contraction.sizes
        for degree in range(lmax_out + 1):
            for order in range(1, correlation + 1):
                where = f"{place}.symmetric_contractions.contractions.{degree}"
                basis, part = contraction.basis(degree, order)
                if not basis.paths:
                    continue
                couplings = self.file.tensor(f"{where}.U_matrix_{order}").numpy()
                shape = (2 * degree + 1, *((lmax + 1) ** 2,) * order, -1)
                coordinates = basis.coordinates_of_tensors(couplings.reshape(shape))
                if coordinates is None:
                    raise self.file.refusal(f"its {where} has couplings that are not equivariant")
                is_last = order == correlation
                name = "weights_max" if is_last else f"weights.{correlation - 1 - order}"
                given = self.file.tensor(f"{where}.{name}")
                weight[:, part] = torch.einsum("kf,sfc->skc", torch.tensor(coordinates), given)
        return {
            "contraction.weight": weight,
            "update.weight": self._squares(self.file.tensor(f"{place}.linear.weight")),
        }

    def _readout(self, i: int) -> dict[str, Tensor]:
        place, own = f"readouts.{i}", slice(self.head, self.head + 1)
        root = math.sqrt(self.channels)
        if f"{place}.linear.weight" in self.file.tensors:
            weight = self.file.tensor(f"{place}.linear.weight").reshape(-1, self.heads)
            return {"weight": weight[:, own].T / root}
        first = self.file.tensor(f"{place}.linear_1.weight").reshape(self.channels, self.heads, -1)
        second = self.file.tensor(f"{place}.linear_2.weight").reshape(self.heads, -1, self.heads)
        gain = self._activation(f"{place}.non_linearity.acts.0")
        size = second.shape[0] * second.shape[1]
        return {
            "0.weight": first[:, self.head].T / root,
            "2.weight": second[self.head][:, own].T * (gain / math.sqrt(size)),
        }

    def _squares(self, weight: Tensor) -> Tensor:
        """Return one matrix of channels for each degree."""
        return weight.reshape(-1, self.channels, self.channels)

    def _activation(self, place: str) -> float:
        gain = self.file.value(place, "cst")
        if not isinstance(gain, float):
            raise self.file.refusal(f"its activation {place} has no factor")
        return gain

    def _checked(self, rows: Sequence[int], count: int, place: str) -> list[int]:
        if sum(rows) != count:
            raise self.file.refusal(
                f"its {place}.linear mixes {count} channels of paths, and {sum(rows)} are expected"
            )
        return list(rows)
