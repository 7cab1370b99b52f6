"""Stacks of dense layers that follow each other: the parts of a model that become networks."""

from __future__ import annotations

import dataclasses
from typing import Any

import keras
from keras import layers

from tf_alignment.conversion.graph import Call, Ref, functional_class, record
from tf_alignment.layers.receiver import Receiver

__all__ = ["Stack", "stacks"]

# Layers whose output has the units of their input, in the same order.
_BY_UNIT = (
    layers.Activation,
    layers.ActivityRegularization,
    layers.AlphaDropout,
    layers.BatchNormalization,
    layers.Dropout,
    layers.ELU,
    layers.Flatten,
    layers.GaussianDropout,
    layers.GaussianNoise,
    layers.Identity,
    layers.LayerNormalization,
    layers.LeakyReLU,
    layers.Normalization,
    layers.PReLU,
    layers.ReLU,
    layers.Rescaling,
    layers.Softmax,
)


@dataclasses.dataclass(frozen=True)
class Stack:
    """Dense connections of which each but the first receives what an earlier one gives out.

    Attributes:
        connections: In an order in which each comes after the one below it.
        below: For each, the index of the population that it receives from: 0 are the inputs of the
            first connection, i + 1 the units of connection i.
    """

    connections: tuple[Receiver, ...]
    below: tuple[int, ...]

    @property
    def sizes(self) -> list[int]:
        """Units of each population."""
        first, *_ = self.connections
        return [first.kernel.shape[0], *(c.kernel.shape[1] for c in self.connections)]

    @property
    def edges(self) -> list[tuple[int, int]]:
        """Populations that each connection leads from and to."""
        return [(lower, upper) for upper, lower in enumerate(self.below, 1)]


def stacks(model: keras.Model, connections: list[Receiver]) -> list[Stack]:
    """Sort dense connections into stacks.

    Two follow each other where only layers that act on each unit by itself (activation,
    normalisation, dropout, flattening) lie between; any other layer begins a new stack. A model
    that is neither Sequential nor functional does not tell what follows what: there every
    connection is a stack by itself.

    Args:
        model: A built model.
        connections: Connections that act by one matrix product, in the model's order.

    Returns:
        The stacks, and every connection in exactly one.
    """
    by_layer = {id(c.layer): c for c in connections}
    parent = _parents(model, by_layer)
    children: dict[int, list[Receiver]] = {}
    for c in connections:
        children.setdefault(parent.get(id(c.layer), 0), []).append(c)
    found = []
    for first in children.get(0, []):
        members, below = [first], [0]
        for index, member in enumerate(members):  # grows while it is walked through
            for child in children.get(id(member.layer), []):
                members.append(child)
                below.append(index + 1)
        found.append(Stack(tuple(members), tuple(below)))
    return found


def _parents(model: keras.Model, by_layer: dict[int, Receiver]) -> dict[int, int]:
    """The layer below each, by id, where it is one of ours."""
    if not isinstance(model, keras.Sequential | functional_class()):
        return {}
    graph = record(model)
    made_by = {ref: call for call in graph.calls for ref in keras.tree.flatten(call.outputs)}
    found: dict[int, int] = {}
    seen = set()
    for call in graph.calls:
        key = id(call.layer)
        if key not in by_layer or key in seen:  # a layer called again: its first call counts
            continue
        seen.add(key)
        below = _source(call, made_by, by_layer)
        if below is not None and (by_layer[below].kernel.shape[1] == by_layer[key].kernel.shape[0]):
            found[key] = below
    return found


def _source(call: Call, made_by: dict[Ref, Call], ours: dict[int, Any]) -> int | None:
    """The layer that a call's input comes from, past operations on single units."""
    while len(call.inputs) == 1 and call.inputs[0] in made_by:
        call = made_by[call.inputs[0]]
        if id(call.layer) in ours:
            return id(call.layer)
        if not isinstance(call.layer, _BY_UNIT):
            return None
    return None
