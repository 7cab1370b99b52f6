"""Direct feedback alignment by a change of the model's graph.

One layer at the output takes the logits and the output of every hidden block and sends the errors
to the blocks; `Cut` layers keep the ordinary error from passing down. Of four designs that were
tried, this is the one that is correct wherever stock Keras works: eager, graph, XLA, two replicas,
several heads, saving and loading.

A *block* is a layer with a kernel and the operations that follow it in a single line, through batch
normalisation, activation, dropout and pooling, up to a fork, a merge or the next kernel. The end of
the block is tapped: a tap on the kernel layer itself would leave gamma and beta of a batch
normalisation without a gradient. A layer with weights after a merge starts a new block. A block
from which only operations without weights lead to an output receives the true error of that output
and needs no tap. Frozen kernels count as kernels: no error passes them.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Container
from typing import Any

import keras

from tf_alignment._support.seeds import reseeded
from tf_alignment.conversion.copies import carry, copy_layer
from tf_alignment.conversion.graph import (
    Call,
    Graph,
    Ref,
    borrows,
    clone_operation,
    copy_weights,
    fresh_inputs,
    parts,
    record,
    transparent,
)
from tf_alignment.conversion.registry import is_stock
from tf_alignment.conversion.sites import matrices
from tf_alignment.layers.direct import Cut, OutputTap
from tf_alignment.layers.inspection import layers_of, walk

__all__ = ["convert_direct", "strip_direct"]

# What may lie between logits and output: it acts on each entry, or only reshapes.
_AFTER_LOGITS = (
    keras.layers.Activation,
    keras.layers.Flatten,
    keras.layers.LeakyReLU,
    keras.layers.ReLU,
    keras.layers.Reshape,
    keras.layers.Softmax,
)
_OPERATIONS_AFTER_LOGITS = {"LogSoftmax", "Relu", "Reshape", "Sigmoid", "Softmax", "Tanh"}
# Layers whose `activation` is the last thing they do, so that it can be taken off and put behind.
_ENDS_IN_ACTIVATION = (
    keras.layers.Conv1D,
    keras.layers.Conv2D,
    keras.layers.Conv3D,
    keras.layers.Dense,
    keras.layers.EinsumDense,
)


@dataclasses.dataclass
class _Plan:
    """Positions at which the graph is cut and tapped.

    Attributes:
        heads: Indices of the calls whose inputs are cut.
        taps: Tensors to tap, `{logits: [(tensor, name), ...]}`.
        split: Ids of the layers whose activation is moved behind the tap.
        names: Names of the layers in the new model, `{id of layer: name}`.
    """

    heads: set[int]
    taps: dict[Ref, list[tuple[Ref, str]]]
    split: set[int]
    names: dict[int, str]


def convert_direct(
    model: keras.Model, feedback_initializer: Any, over_space: str = "each"
) -> tuple[keras.Model, dict[int, keras.Variable]]:
    """Rebuild a model with direct feedback; see `tf_alignment.convert`.

    Args:
        model: Functional or Sequential model.
        feedback_initializer: Initializer of the feedback weights.
        over_space: See `tf_alignment.feedback.DirectFeedback`.

    Returns:
        The new model, not compiled, and `{id of a weight: its copy}`.
    """
    graph = _graph(model)
    plan = _plan(graph)
    learns = graph.learns_below()
    outputs = _refs(graph.outputs)
    # losses may go by the name of an output: then the last of the layers there has to bear it
    by_name = isinstance(graph.outputs, dict) or len(outputs) > 1
    layers: dict[int, Any] = {}
    tensors: dict[Ref, Any] = {}
    taken, used = set(plan.names.values()), set[str]()

    def unique(name: str) -> str:
        name = _free_name(name, taken)
        taken.add(name)
        return name

    placed: list[OutputTap] = []

    def run(index: int, call: Call, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        name = plan.names[id(call.layer)]
        if id(call.layer) not in layers:
            last = id(call.layer) in plan.split or any(r in plan.taps for r in _refs(call.outputs))
            renamed = by_name and last and _refs(call.outputs)[0] in outputs
            own = unique(f"{name}_kernel") if renamed else name
            layers[id(call.layer)] = _clone_named(call, own, id(call.layer) in plan.split)
        if index in plan.heads:
            cut = Cut(name=unique(f"{name}_cut"))
            args, kwargs = keras.tree.map_structure(
                lambda ref, value: cut(value) if isinstance(ref, Ref) and learns[ref] else value,
                (call.args, call.kwargs),
                (args, kwargs),
            )
        result = layers[id(call.layer)](*args, **kwargs)
        tensors.update(zip(_refs(call.outputs), keras.tree.flatten(result), strict=True))
        for ref in _refs(call.outputs):
            tensors[ref] = finish(ref, call, name)
        return keras.tree.map_structure(lambda ref: tensors[ref], call.outputs)

    def initializer_of(tap: int) -> Any:
        """Initializer of one tap: each tap draws other numbers, also if the user set a seed."""
        if not tap:
            return feedback_initializer
        first = placed[0].feedback_initializer
        return reseeded(first, getattr(first, "seed", None) or 0, tap)

    def finish(ref: Ref, call: Call, name: str) -> Any:
        value, split = tensors[ref], id(call.layer) in plan.split
        own = layers[id(call.layer)].name != name and name not in used  # the name is free
        if ref in plan.taps:
            hidden = [tapped for _, tapped in plan.taps[ref]]
            tap_name = name if own and not split else unique(f"{name}_output_tap")
            used.add(tap_name)
            tap = OutputTap(hidden, initializer_of(len(placed)), over_space, name=tap_name)
            placed.append(tap)
            value = tap([value, *(tensors[h] for h, _ in plan.taps[ref])])
        if split:
            after = name if own else unique(f"{name}_activation")
            used.add(after)
            dtype = call.layer.dtype_policy
            value = keras.layers.Activation(call.layer.activation, name=after, dtype=dtype)(value)
        return value

    return _rebuilt(model, graph, run, layers)


def _rebuilt(
    model: keras.Model, graph: Graph, run: Any, layers: dict[int, Any]
) -> tuple[keras.Model, dict[int, keras.Variable]]:
    """Model made by carrying out the calls of a graph, and `{id of a weight: its copy}`."""
    inputs = fresh_inputs(model)
    new = keras.Model(inputs, graph.replay(inputs, run), name=model.name)
    new.dtype_policy = model.dtype_policy  # `compile` asks it whether to scale the loss
    weights: dict[int, keras.Variable] = {}
    for call in graph.calls:
        if id(call.layer) in layers:
            new_layer = layers[id(call.layer)]
            weights.update(copy_weights(call.layer, new_layer))
            if isinstance(new_layer, keras.layers.Layer):
                for a, b in zip(layers_of(call.layer), layers_of(new_layer), strict=True):
                    carry(a, b)
    return new, weights


def _graph(model: keras.Model) -> Graph:
    """Graph of a model, if all of it can be cut and tapped."""
    if not transparent(model):
        raise ValueError(
            "Direct feedback cuts and taps the graph of a functional or Sequential model; nobody "
            "can see that of a model with a `call` of its own. Build it functionally, or take a "
            f"method of single layers. Received: model '{model.name}' of class "
            f"{type(model).__name__}"
        )
    graph = record(model)
    _refuse_composite(graph)
    _refuse_borrowed(graph, parts(model))
    return graph


def _refuse_borrowed(graph: Graph, own: set[int]) -> None:
    """Raise for operations that use a layer's weight: they would use it in the new model too."""
    found = [c.path for c in graph.calls if borrows(c.layer, (c.args, c.kwargs), own)]
    if found:
        raise ValueError(
            "Direct feedback rebuilds the graph of a model, and cannot rebuild operations that "
            "use a layer or weight of the model outside of that layer's call. Take a method of "
            f"single layers, with `inplace=True`. Received: {found}"
        )


def _refuse_composite(graph: Graph) -> None:
    """Raise for layers of users' own with several kernels: inside, the error would pass them."""
    found = {}
    for call in graph.calls:
        if not isinstance(call.layer, keras.layers.Layer) or is_stock(type(call.layer)):
            continue
        held = [path for path, count in _kernels_inside(call.layer) for _ in range(count)]
        if len(held) > 1:
            found[call.path] = held
    if found:
        raise ValueError(
            "Direct feedback cuts and taps the graph of a model, and cannot see into layers with a "
            "`call` of their own: inside them the error would pass the forward weights. Build "
            f"them functionally, or take a method of single layers. Received: {found}"
        )


def _kernels_inside(layer: Any) -> list[tuple[str, int]]:
    return [(inner.name, len(matrices(inner))) for inner, _ in walk(layer)]


def strip_direct(model: keras.Model) -> tuple[keras.Model, dict[int, keras.Variable]]:
    """Rebuild a model without taps and cuts.

    Args:
        model: Model with direct feedback.

    Returns:
        The new model, not compiled, and `{id of a weight: its copy}`.
    """
    graph = record(model)
    layers: dict[int, Any] = {}
    producer = {ref: call.layer for call in graph.calls for ref in _refs(call.outputs)}
    names: dict[int, str] = {}  # of layers that gave the tap theirs, see `convert_direct`
    for call in graph.calls:
        if isinstance(call.layer, OutputTap):
            below = producer.get(call.inputs[0])
            if below is not None and below.name == f"{call.layer.name}_kernel":
                names[id(below)] = call.layer.name

    def run(index: int, call: Call, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if isinstance(call.layer, Cut):
            return args[0]
        if isinstance(call.layer, OutputTap):
            return args[0][0]
        if id(call.layer) not in layers:
            name = names.get(id(call.layer), call.layer.name)
            layers[id(call.layer)] = _clone_named(call, name, split=False)
        return layers[id(call.layer)](*args, **kwargs)

    return _rebuilt(model, graph, run, layers)


def _refs(structure: Any) -> list[Ref]:
    return [ref for ref in keras.tree.flatten(structure) if isinstance(ref, Ref)]


def _plan(graph: Graph) -> _Plan:
    calls = graph.calls
    learns = graph.learns_below()
    outputs = _refs(graph.outputs)
    names = _unique_names(graph)
    producer = {ref: i for i, call in enumerate(calls) for ref in _refs(call.outputs)}
    consumers: dict[Ref, list[int]] = {}
    for i, call in enumerate(calls):
        for ref in call.inputs:
            consumers.setdefault(ref, []).append(i)
    ends = _blocks(calls, producer, consumers, outputs)
    above = _ancestors(calls, producer)
    taps: dict[Ref, list[tuple[Ref, str]]] = {}
    at_logits: dict[int, list[int]] = {}
    for output in outputs:
        logits, index = _logits(output, calls, producer, consumers)
        if index is None:
            continue
        at_logits.setdefault(id(calls[index].layer), []).append(index)
        free = _leads_to(output, calls, consumers)
        hidden = taps.setdefault(logits, [])
        for head, last in ends.items():
            [tapped, *more] = _refs(calls[last].outputs)
            if free.get(tapped) or last not in above[index] or tapped in [t for t, _ in hidden]:
                continue
            if not any(call.learns for i, call in enumerate(calls) if i in (head, last)) and (
                not learns[tapped]
            ):
                continue  # nothing in or below the block learns
            if more:
                raise ValueError(
                    "Direct feedback needs blocks with one output. Received: layer "
                    f"'{calls[last].path}' with {1 + len(more)}"
                )
            name = _free_name(names[id(calls[head].layer)], {other for _, other in hidden})
            hidden.append((tapped, name))
    _refuse_outputs_on_the_way(calls, producer, ends, taps)
    split = {layer for layer, found in at_logits.items() if _can_split(layer, found, calls)}
    heads = {i for i in ends if any(learns[ref] for ref in calls[i].inputs)}
    return _Plan(heads, {logits: hidden for logits, hidden in taps.items() if hidden}, split, names)


def _refuse_outputs_on_the_way(
    calls: list[Call],
    producer: dict[Ref, int],
    ends: dict[int, int],
    taps: dict[Ref, list[tuple[Ref, str]]],
) -> None:
    """Raise for an output inside a block that another output taps.

    The tap of such an output would take the error that comes to its block from the other output for
    an error of its own, and send it on by its own feedback weights.
    """
    found = []
    for logits, hidden in taps.items():
        index = producer[logits]
        others = {ref for other, tapped in taps.items() if other != logits for ref, _ in tapped}
        if hidden and any(
            others.intersection(_refs(calls[last].outputs))
            and _in_block(calls, producer, head, last, index)
            for head, last in ends.items()
        ):
            found.append(calls[index].path)
    if found:
        raise ValueError(
            "Direct feedback needs outputs that lead to no other output: the error of the other "
            "output would be sent on by the feedback weights of the one on its way. Take such "
            "features from a second model, `keras.Model(model.inputs, features)`. Received: "
            f"outputs at {found}"
        )


def _in_block(
    calls: list[Call], producer: dict[Ref, int], head: int, last: int, index: int
) -> bool:
    """Whether a call belongs to the block that goes in a single line from `head` to `last`."""
    while last != index and last != head:
        last = producer[calls[last].inputs[0]]
    return last == index


def _blocks(
    calls: list[Call],
    producer: dict[Ref, int],
    consumers: dict[Ref, list[int]],
    outputs: list[Ref],
) -> dict[int, int]:
    """Blocks of the graph, `{index of the first call: index of the last call}`."""
    block: dict[int, int] = {}
    end: dict[int, int] = {}
    for i, call in enumerate(calls):
        head = None
        if len(call.inputs) == 1 and not _has_kernel(call):
            [below] = call.inputs
            if len(consumers[below]) == 1 and below not in outputs:
                head = block.get(producer.get(below, -1))
        if head is not None:
            block[i] = head
        elif call.weights:
            block[i] = i
        if i in block:
            end[block[i]] = i
    return end


def _has_kernel(call: Call) -> bool:
    """Whether the layer has a weight with more than one axis, unlike a normalisation."""
    return any(len(weight.shape) > 1 for weight in call.weights)


def _leads_to(output: Ref, calls: list[Call], consumers: dict[Ref, list[int]]) -> dict[Ref, bool]:
    """Whether a path without weights leads to `output`, for every tensor."""
    free: dict[Ref, bool] = {}
    for call in reversed(calls):
        for ref in _refs(call.outputs):
            onward = [calls[j] for j in consumers.get(ref, ()) if not calls[j].weights]
            free[ref] = ref is output or any(free[r] for c in onward for r in _refs(c.outputs))
    return free


def _can_split(layer: int, found: list[int], calls: list[Call]) -> bool:
    """Whether the layer's activation can be moved behind the tap."""
    uses = [i for i, call in enumerate(calls) if id(call.layer) == layer]
    original = calls[uses[0]].layer
    return (
        type(original) in _ENDS_IN_ACTIVATION
        and original.activation not in (None, keras.activations.linear)
        and original.activity_regularizer is None
        and set(uses) == set(found)
    )


def _logits(
    output: Ref, calls: list[Call], producer: dict[Ref, int], consumers: dict[Ref, list[int]]
) -> tuple[Ref, int | None]:
    """Logits of an output: the tensor before its activations and reshapes, and its call."""
    ref = output
    while True:
        index = producer.get(ref)
        if index is None or len(calls[index].inputs) != 1:
            return ref, index
        layer, below = calls[index].layer, calls[index].inputs[0]
        known = isinstance(layer, _AFTER_LOGITS) or type(layer).__name__ in _OPERATIONS_AFTER_LOGITS
        if not known or len(consumers[below]) != 1 or below not in producer:
            return ref, index
        ref = below


def _ancestors(calls: list[Call], producer: dict[Ref, int]) -> list[set[int]]:
    above: list[set[int]] = []
    for call in calls:
        direct = {producer[ref] for ref in call.inputs if ref in producer}
        above.append(direct.union(*(above[i] for i in direct)))
    return above


def _free_name(name: str, taken: Container[str]) -> str:
    while name in taken:
        name += "_again"
    return name


def _unique_names(graph: Graph) -> dict[int, str]:
    """Unique names of the layers; equal names get the names of the nested models before them."""
    names: dict[int, str] = {}
    for call in graph.calls:
        if id(call.layer) in names:
            continue
        name = call.layer.name
        if name in names.values():
            name = "_".join((*call.scope, name))
        names[id(call.layer)] = _free_name(name, names.values())
    return names


def _clone_named(call: Call, name: str, split: bool) -> Any:
    layer = call.layer
    if name == layer.name and not split:
        return copy_layer(layer)
    if not isinstance(layer, keras.layers.Layer) or isinstance(layer, keras.layers.Lambda):
        return clone_operation(layer)
    if hasattr(layer, "adapt"):
        copied = copy.deepcopy(layer)
        copied.name = name
        return copied
    config = {**layer.get_config(), "name": name}
    if split:
        config["activation"] = None
    return type(layer).from_config(config)
