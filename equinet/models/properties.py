"""Properties of molecules, pooled from what a network says of their atoms."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn

from equinet.errors import ConfigError
from equinet.models.base import Model
from equinet.models.catalog import find_model, name_of_model
from equinet.models.potential import Potential
from equinet.models.species import Species
from equinet.ops import segment_sum

_Pooling = Literal["sum", "mean", "extent", "norm", "vector", "tensor", "atoms"]

# Scalars and vectors of an atom that each pooling takes; vectors are used where the network has
# them.
_OUTPUTS: Mapping[str, tuple[int, int]] = {"tensor": (3, 2), "vector": (1, 1), "norm": (1, 1)}


@dataclass(frozen=True)
class _Head:
    """One property: what it takes of the network, and how its value follows."""

    name: str
    unit: str
    pooling: str
    scale: float
    scalars: slice
    vectors: slice


class PropertyModel(Model):
    r"""Properties of molecules, in their units, from scalars and vectors of the atoms.

    A network returns scalars :math:`s_i` and, if it can, vectors :math:`v_i` of the atoms. With the
    reference :math:`r_z` of each element and one scale a property, the value of an atom is
    :math:`a_i = \text{scale}\, s_i + r_{z_i}`, and :math:`d_i` is its place relative to the center
    of nuclear charge. A property follows from these by its pooling:

    - ``sum``: :math:`\sum_i a_i`, for extensive properties.
    - ``mean``: the mean of :math:`a_i`, for intensive ones.
    - ``extent``: :math:`\sum_i a_i d_i^2`.
    - ``vector``: :math:`\sum_i (a_i d_i + \text{scale}\, v_i)`, a dipole moment of charges and of
      atoms; ``norm`` is its length.
    - ``tensor``: :math:`\sum_i (a_i 1 + \text{scale}\,[b_i d_i d_i^T + c_i v_i v_i^T +
      u_i d_i^T + d_i u_i^T])` with further scalars :math:`b_i, c_i` and a second vector
      :math:`u_i`, a symmetric tensor.
    - ``atoms``: :math:`a_i` itself.

    All are exactly equivariant where the network is. Values are float64, and a network without
    vectors, such as :class:`equinet.models.Ponita` on positions alone, does without the terms that
    need them.

    Args:
        network: Description of the network: its ``class``, by name, and its ``arguments``. It has
            inputs ``x`` (one-hot elements) and the outputs of all properties, one after the other,
            at the level of nodes; or it is a :class:`equinet.models.Potential`, for one property of
            a scalar.
        elements: Atomic numbers that the model knows, in the order of the columns of ``x``.
        properties: Description of each property: ``name``, ``unit``, ``pooling``, ``references`` of
            the elements, and ``scale``.

    Raises:
        ValueError: A description is incomplete, the network has other outputs, or ``elements`` are
            not different atomic numbers.

    Source: Schütt et al., PaiNN (ICML 2021), for dipoles and polarizabilities; Schütt et al.,
    J. Chem. Theory Comput. 15, 448 (2019), for the extent.

    Example:
        >>> from equinet.models import Ponita
        >>> network = Ponita(in_scalars=2, out_scalars=1, channels=8, layers=1)
        >>> alpha = {"name": "alpha", "unit": "a0³", "pooling": "sum", "references": [1.0, 5.0],
        ...          "scale": 2.0}
        >>> PropertyModel.of(network, elements=[1, 8], properties=[alpha]).units
        {'alpha': 'a0³'}
    """

    references: Tensor

    def __init__(
        self,
        *,
        network: Mapping[str, Any],
        elements: Sequence[int],
        properties: Sequence[Mapping[str, Any]],
    ) -> None:
        super().__init__()
        self.species = Species(elements)
        self.elements = self.species.elements
        kind = find_model(str(network.get("class")))
        if kind is None or not isinstance(network.get("arguments"), Mapping):
            raise ValueError(
                f"network must have a known class and arguments, found {dict(network)}"
            )
        self.network = kind(**network["arguments"])
        self.ops: tuple[str, ...] = getattr(self.network, "ops", ())
        self.heads = _heads(properties, has_vectors=bool(getattr(self.network, "out_vectors", 0)))
        self._check_outputs()
        values = torch.tensor([list(each["references"]) for each in properties])
        if values.shape != (len(self.heads), len(self.elements)):
            raise ValueError(
                f"references must have one value for each of {len(self.elements)} elements, found "
                f"shape {list(values.shape)}"
            )
        self.register_buffer("references", values.double())

    @classmethod
    def of(
        cls, network: Model, *, elements: Sequence[int], properties: Sequence[Mapping[str, Any]]
    ) -> "PropertyModel":
        """Make a model of an existing network, which it holds from then on.

        Args:
            network: Network to use.
            elements: Atomic numbers in the order of the columns of ``x``.
            properties: Description of each property, as in the class.
        """
        described = {"class": name_of_model(type(network)), "arguments": network.arguments}
        # Initial weights are drawn and replaced, without advancing the caller's random numbers.
        with torch.random.fork_rng(devices=()):
            result = cls(network=described, elements=elements, properties=properties)
        result.network = network
        return result

    @property
    def units(self) -> dict[str, str]:
        """Unit of each property by name."""
        return {head.name: head.unit for head in self.heads}

    def forward(self, graph: Any) -> dict[str, Tensor]:
        """Predict the properties.

        Args:
            graph: A torch_geometric ``Batch``, or a single ``Data``, with ``atomic_numbers`` [N],
                ``pos`` [N, 3], Å, and ``edge_index`` [2, E].

        Returns:
            Values by name: [G] for scalars, [G, 3] and [G, 3, 3] for vectors and tensors, [N] for
            those of atoms.

        Raises:
            DataError: The model does not know an element.
        """
        species = self.species(graph.atomic_numbers)
        scalars, vectors = self._outputs(graph, species)
        batch = getattr(graph, "batch", None)
        graphs = 1 if batch is None else int(graph.num_graphs)
        if batch is None:
            batch = torch.zeros_like(species)
        molecules = _Molecules(batch, graphs, _displacements(graph, batch, graphs))
        found = {}
        for head, references in zip(self.heads, self.references, strict=True):
            own = head.scale * scalars[:, head.scalars].double()
            values = own[:, 0] + references[species]
            arrows = head.scale * vectors[:, head.vectors].double()
            found[head.name] = molecules.pooled(head.pooling, values, own[:, 1:], arrows)
        return found

    def calibrate(self, graph: Any) -> None:
        """Let the network scale its layers on a batch, if it has ``calibrate()``.

        Args:
            graph: Batch of the training data.
        """
        own: Any = getattr(self.network, "calibrate", None)
        if own is not None:
            own(self._placed(graph, self.species(graph.atomic_numbers)))

    def weight_decay_parameters(self) -> list[Tensor]:
        """Return the parameters of the network that decay: its own choice, or all matrices."""
        own: Any = getattr(self.network, "weight_decay_parameters", None)
        return list(own()) if own else [p for p in self.parameters() if p.ndim >= 2]

    def _outputs(self, graph: Any, species: Tensor) -> tuple[Tensor, Tensor]:
        """Return scalars [N, S] and vectors [N, V, 3] of the atoms."""
        if isinstance(self.network, Potential):
            sender, receiver = graph.edge_index
            vectors = (graph.pos[sender] - graph.pos[receiver]).to(self.network.dtype)
            values = self.network.atomic_energies(species, vectors, graph.edge_index)
            return values.unsqueeze(1), values.new_zeros(len(values), 0, 3)
        found = self.network(self._placed(graph, species))
        return found["scalars"], found["vectors"]

    def _placed(self, graph: Any, species: Tensor) -> Any:
        """Return a copy of the graph with one-hot elements as the inputs of the network."""
        placed = copy.copy(graph)
        placed.x = nn.functional.one_hot(species, len(self.elements)).to(graph.pos.dtype)
        return placed

    def _check_outputs(self) -> None:
        """Refuse a network whose outputs are not those that the properties take."""
        scalars = self.heads[-1].scalars.stop
        is_potential = isinstance(self.network, Potential)
        has = 1 if is_potential else getattr(self.network, "out_scalars", None)
        if has != scalars:
            names = ", ".join(head.name for head in self.heads)
            advice = "; take one such property, or another network" if is_potential else ""
            raise ConfigError(
                f"{type(self.network).__name__} returns {has} scalars an atom, and {names} need "
                f"{scalars}{advice}"
            )


def _heads(properties: Sequence[Mapping[str, Any]], *, has_vectors: bool) -> list[_Head]:
    """Divide the outputs of the network among the properties."""
    heads: list[_Head] = []
    first_scalar = first_vector = 0
    for each in properties:
        missing = {"name", "unit", "pooling", "references", "scale"} - each.keys()
        if missing or each["pooling"] not in get_args(_Pooling):
            raise ValueError(
                "properties must have name, unit, references, scale and a pooling among "
                f"{', '.join(get_args(_Pooling))}, found {dict(each)}"
            )
        scalars, vectors = _OUTPUTS.get(each["pooling"], (1, 0))
        vectors = vectors if has_vectors else 0
        heads.append(
            _Head(
                str(each["name"]),
                str(each["unit"]),
                str(each["pooling"]),
                float(each["scale"]),
                slice(first_scalar, first_scalar + scalars),
                slice(first_vector, first_vector + vectors),
            )
        )
        first_scalar, first_vector = first_scalar + scalars, first_vector + vectors
    if not heads:
        raise ValueError("properties must not be empty; describe at least one")
    return heads


@dataclass(frozen=True)
class _Molecules:
    """Owners and places of the atoms of a batch."""

    batch: Tensor
    count: int
    places: Tensor

    def pooled(self, pooling: str, values: Tensor, further: Tensor, vectors: Tensor) -> Tensor:
        """Compute a property from values, further scalars and vectors of the atoms."""
        if pooling == "atoms":
            return values
        if pooling == "mean":
            atoms = segment_sum(torch.ones_like(values), self.batch, self.count)
            return self._sum(values) / atoms
        if pooling == "extent":
            return self._sum(values * self.places.square().sum(1))
        if pooling == "tensor":
            return self._sum(self._tensors(values, further, vectors))
        if pooling in {"norm", "vector"}:
            dipole = self._sum(values.unsqueeze(1) * self.places + vectors.sum(1))
            # The length of a zero vector has no derivative.
            return dipole if pooling == "vector" else (dipole.square().sum(1) + 1e-12).sqrt()
        return self._sum(values)

    def _sum(self, values: Tensor) -> Tensor:
        return segment_sum(values, self.batch, self.count)

    def _tensors(
        self, values: Tensor, further: Tensor, vectors: Tensor
    ) -> Float[Tensor, "node 3 3"]:
        """Return the contribution of each atom to a symmetric tensor."""
        places = self.places
        along = further[:, 0, None, None] * places.unsqueeze(2) * places.unsqueeze(1)
        found = values[:, None, None] * torch.eye(3).to(values) + along
        if vectors.shape[1]:
            own, other = vectors.unbind(1)
            mixed = other.unsqueeze(2) * places.unsqueeze(1)
            squares = own.unsqueeze(2) * own.unsqueeze(1)
            found = found + further[:, 1, None, None] * squares + mixed + mixed.mT
        return found


def _displacements(graph: Any, batch: Tensor, graphs: int) -> Float[Tensor, "node 3"]:
    """Return the places of the atoms relative to the center of nuclear charge."""
    charges = graph.atomic_numbers.to(torch.float64).unsqueeze(1)
    places = graph.pos.double()
    centers = segment_sum(charges * places, batch, graphs) / segment_sum(charges, batch, graphs)
    return places - centers[batch]
