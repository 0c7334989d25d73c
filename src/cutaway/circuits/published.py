"""Circuits that others have published, as data with their sources.

Wang et al. 2022 (IOI), Hanna, Liu and Variengien 2023 (greater-than), Heimersheim and Janiak 2023
(docstring), and the induction heads of GPT-2 small. Each is one JSON file in the package, with
authors, section and address; facts only, and what is not sure is left out and said in its notes.
compare.py puts a found circuit beside one of them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from .circuit import Circuit

if TYPE_CHECKING:
    from ..model.config import ModelConfig
    from ..model.transformer import HookedTransformer

Nodes = tuple[str, ...]

_FILES = {
    "ioi": "ioi.json",
    "greater-than": "greater_than.json",
    "docstring": "docstring.json",
    "induction": "induction.json",
}

PUBLISHED = tuple(_FILES)
"""The names that `published` knows."""


@dataclass(frozen=True)
class Source:
    """Where a fact comes from."""

    citation: str
    """Authors, year and title."""
    where: str
    """Section or figure, and what is taken from it."""
    url: str
    """Its address."""


@dataclass(frozen=True)
class PublishedModel:
    """The model that a circuit was published for, by its name and shape."""

    name: str
    n_layers: int
    n_heads: int
    """Heads in each layer."""
    d_model: int
    """Width of the residual stream."""
    attn_only: bool
    """There are no MLPs."""

    @property
    def heads(self) -> Nodes:
        """The name of every head, layer by layer."""
        heads = range(self.n_heads)
        return tuple(f"{layer}.{head}" for layer in range(self.n_layers) for head in heads)

    @property
    def mlps(self) -> Nodes:
        """The name of every MLP."""
        return () if self.attn_only else tuple(f"mlp{layer}" for layer in range(self.n_layers))


@dataclass(frozen=True)
class PublishedCircuit:
    """A circuit as its authors report it: which nodes, in which classes, acting where.

    Example:
        >>> published("ioi").classes["name mover"]
        ('9.9', '10.0', '9.6')
    """

    name: str
    """What `published` calls it."""
    model: PublishedModel
    """Of which model."""
    task: str
    """On which task."""
    sources: tuple[Source, ...]
    """Where the facts come from, the paper itself first."""
    classes: Mapping[str, Nodes]
    """Class -> its heads and MLPs, named as `Graph` names senders. No node is in two classes."""
    positions: Mapping[str, Nodes]
    """Class -> names of the positions at which it acts; a class without an entry has none named."""
    further: Mapping[str, Nodes]
    """Nodes that a source names without counting them as part of the circuit, by what it says of
    them. They count neither for nor against a found circuit."""
    notes: tuple[str, ...]
    """What a reader has to know."""

    @property
    def nodes(self) -> Nodes:
        """All nodes of all classes."""
        return tuple(node for nodes in self.classes.values() for node in nodes)

    @property
    def heads(self) -> Nodes:
        """The nodes that are attention heads."""
        return tuple(node for node in self.nodes if not node.startswith("mlp"))

    @property
    def mlps(self) -> Nodes:
        """The nodes that are MLPs."""
        return tuple(node for node in self.nodes if node.startswith("mlp"))

    def class_of(self, node: str) -> str:
        """The class of a node; "" where it is in none."""
        return next((kind for kind, nodes in self.classes.items() if node in nodes), "")

    def in_model(self, model: HookedTransformer, mlps: bool = True) -> Circuit:
        """The published circuit as one that can be run alone and evaluated, in its model.

        It has all edges between its nodes, each node at the positions that its class names.

        Args:
            model: of the published model's shape.
            mlps: take all MLPs into it, as is done where a paper's circuit is one of heads and
                MLPs stay as they are (Wang et al. 2022); False takes only those that are named.

        Raises:
            ValueError: a model of another shape.

        Example:
            >>> circuit = published("ioi").in_model(model)
            >>> ca.circuits.evaluate(model, task, circuit, outside=Mean(abc), level="nodes")
        """
        self.check_fits(model.cfg)
        with_mlps = mlps and not model.cfg.attn_only
        more = [f"mlp{layer}" for layer in range(model.cfg.n_layers)] if with_mlps else []
        at = {
            node: self.positions[kind]
            for kind, nodes in self.classes.items()
            for node in nodes
            if kind in self.positions
        }
        return Circuit.of_nodes(
            model,
            dict.fromkeys([*self.nodes, *more]),
            positions=at,
            task=self.task,
            method=f"{self.name} ({self.sources[0].citation.split(',')[0]} et al.)",
        )

    def check_fits(self, cfg: ModelConfig) -> None:
        """Names such as "9.9" mean this circuit's heads only in a model of its shape.

        The shape is all that is checked: whether the weights are those of the published model is
        for the caller to know.

        Raises:
            ValueError: a model of another shape.
        """
        have = (cfg.n_layers, cfg.n_heads, cfg.d_model, cfg.attn_only)
        model = self.model
        want = (model.n_layers, model.n_heads, model.d_model, model.attn_only)
        if have != want:
            raise ValueError(
                f"the circuit {self.name!r} was published for {model.name} ({_shape(*want)}), and "
                f"{cfg.model_name} has another shape ({_shape(*have)}): its heads are not the same "
                "heads."
            )


def _shape(n_layers: int, n_heads: int, d_model: int, attn_only: bool) -> str:
    mlps = "no MLPs" if attn_only else "MLPs"
    return f"{n_layers} layers of {n_heads} heads, d_model {d_model}, {mlps}"


@cache
def published(name: str) -> PublishedCircuit:
    """A published circuit, read from the package.

    Args:
        name: one of `PUBLISHED`.

    Raises:
        ValueError: no circuit of that name is carried.

    Example:
        >>> len(published("ioi").heads)
        26
    """
    if name not in _FILES:
        raise ValueError(f"no published circuit {name!r}: there are {', '.join(PUBLISHED)}.")
    file = resources.files("cutaway") / "assets" / "published" / _FILES[name]
    data: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return PublishedCircuit(
        name=data["name"],
        model=PublishedModel(**data["model"]),
        task=data["task"],
        sources=tuple(Source(**source) for source in data["sources"]),
        classes=_frozen(data["classes"]),
        positions=_frozen(data["positions"]),
        further=_frozen(data["further"]),
        notes=tuple(data["notes"]),
    )


def _frozen(lists: Mapping[str, list[str]]) -> Mapping[str, Nodes]:
    return MappingProxyType({key: tuple(values) for key, values in lists.items()})
