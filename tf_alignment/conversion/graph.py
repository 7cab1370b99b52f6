"""Graph of a Keras model as a list of calls, with the layers of nested models in place.

Conversion has to know which layers lie below and above each layer. Keras offers no public view of
the graph, but `clone_model` passes every call of a layer to a function that can record it. The
clone is thrown away; its layers are stand-ins, so that no weights are made for it.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable
from typing import Any

import keras

from tf_alignment.layers.inspection import feedback_layers, walk

__all__ = [
    "Call",
    "Graph",
    "Ref",
    "borrows",
    "clone_operation",
    "copy_weights",
    "fresh_inputs",
    "functional_class",
    "parts",
    "record",
    "takes_training",
    "transparent",
    "uncompiled",
]


@dataclasses.dataclass(frozen=True, eq=False)
class Ref:
    """Placeholder of one tensor of the recorded model.

    Attributes:
        spec: `KerasTensor` with the tensor's shape and type, where the model has one.
    """

    spec: Any = None


@dataclasses.dataclass(frozen=True, eq=False)
class Call:
    """One call of a layer or operation.

    Attributes:
        layer: Layer of the original model.
        scope: Names of the nested models that contain the layer, outermost first.
        args, kwargs: Arguments of the call, with a `Ref` for every tensor.
        outputs: Results of the call, with a `Ref` for every tensor.
    """

    layer: Any
    scope: tuple[str, ...]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    outputs: Any

    @property
    def inputs(self) -> list[Ref]:
        """Tensors among the arguments."""
        return [a for a in keras.tree.flatten((self.args, self.kwargs)) if isinstance(a, Ref)]

    @property
    def specs(self) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        """The arguments with a `KerasTensor` for every tensor, or None where one is not known."""
        if any(ref.spec is None for ref in self.inputs):
            return None
        return keras.tree.map_structure(
            lambda a: a.spec if isinstance(a, Ref) else a, (self.args, self.kwargs)
        )

    @property
    def variables(self) -> list[keras.Variable]:
        """Variables among the arguments, as in `keras.ops.matmul(x, layer.kernel)`."""
        flat = keras.tree.flatten((self.args, self.kwargs))
        return [a for a in flat if isinstance(a, keras.Variable)]

    @property
    def path(self) -> str:
        """Scope and name of the layer."""
        return "/".join((*self.scope, self.layer.name))

    @property
    def weights(self) -> list[Any]:
        """Weights of the layer without seeds; empty for an operation."""
        return list(getattr(self.layer, "weights", ()))

    @property
    def learns(self) -> bool:
        """Whether the layer has trainable weights."""
        return bool(getattr(self.layer, "trainable_weights", ()))


@dataclasses.dataclass(frozen=True)
class Graph:
    """Calls of a model, in an order in which they can be carried out.

    Attributes:
        inputs, outputs: Structures of `Ref`, like `model.input` and `model.output`.
        calls: Calls of the layers and operations.
    """

    inputs: Any
    calls: list[Call]
    outputs: Any

    def learns_below(
        self,
        learns_itself: Callable[[Call], bool] | None = None,
        stops: Callable[[Call], bool] = lambda call: False,
    ) -> dict[Ref, bool]:
        """Whether a tensor depends on a weight that learns, for every tensor.

        Args:
            learns_itself: Function that says whether the layer of a call has weights that learn; by
                default, whether it has trainable weights.
            stops: Function that says whether a call lets no error through.
        """
        own = learns_itself or (lambda call: call.learns)
        learns: dict[Ref, bool] = dict.fromkeys(keras.tree.flatten(self.inputs), False)
        for call in self.calls:
            below = own(call) or any(learns[ref] for ref in call.inputs)
            below = below and not stops(call)
            learns.update(dict.fromkeys(keras.tree.flatten(call.outputs), below))
        return learns

    def replay(
        self, inputs: Any, run: Callable[[int, Call, tuple[Any, ...], dict[str, Any]], Any]
    ) -> Any:
        """Carry out the calls on `inputs`, each by `run(index, call, args, kwargs)`.

        Returns:
            Outputs in the structure of `self.outputs`.
        """
        value: dict[Ref, Any] = {}

        def bind(refs: Any, tensors: Any) -> None:
            flat = zip(keras.tree.flatten(refs), keras.tree.flatten(tensors), strict=True)
            value.update(dict(flat))

        def fill(structure: Any) -> Any:
            return keras.tree.map_structure(
                lambda a: value[a] if isinstance(a, Ref) else a, structure
            )

        bind(self.inputs, inputs)
        for index, call in enumerate(self.calls):
            bind(call.outputs, run(index, call, fill(call.args), fill(call.kwargs)))
        return fill(self.outputs)


@functools.cache
def functional_class() -> Any:
    """Class of functional models, which Keras does not export by name."""
    x = keras.Input((1,))
    return type(keras.Model(x, keras.layers.Identity()(x)))


def transparent(model: Any) -> bool:
    """Whether a model is functional or Sequential and has no `call` of its own.

    Args:
        model: Keras model or layer.
    """
    if isinstance(model, keras.Sequential):
        return type(model).call is keras.Sequential.call
    return isinstance(model, functional_class()) and type(model).call is functional_class().call


def record(model: keras.Model, scope: tuple[str, ...] = ()) -> Graph:
    """Record a built functional or Sequential model.

    Args:
        model: Built model, which is not changed.
        scope: Names of the models that contain it, outermost first.

    Returns:
        `Graph` of the model's own layers, with the layers of nested models in place.
    """
    if isinstance(model, keras.Sequential):
        inputs = ref = Ref()
        calls = []
        for layer in model.layers:
            calls.append(Call(layer, scope, (ref,), {}, Ref()))
            ref = calls[-1].outputs
        graph = Graph(inputs, calls, ref)
    else:
        graph = _record_functional(model, scope)
    return _lay_open(graph)


def fresh_inputs(model: keras.Model) -> Any:
    """New input tensors with the names, shapes, types and structure of a model's inputs."""
    own = model.inputs[0] if isinstance(model, keras.Sequential) else model.input
    optional = {
        id(x): getattr(getattr(x, "_keras_history", (None,))[0], "optional", False)
        for x in keras.tree.flatten(own)
    }

    def fresh(x: Any) -> Any:
        kind = {"sparse": True} if x.sparse else {"ragged": True} if x.ragged else {}
        return keras.Input(
            batch_shape=x.shape, dtype=x.dtype, name=x.name, optional=optional[id(x)], **kind
        )

    return keras.tree.map_structure(fresh, own)


def clone_operation(operation: Any) -> Any:
    """New layer or operation with the same configuration; the same object if it is a `Lambda`."""
    if isinstance(operation, keras.layers.Lambda):
        return operation  # stateless, and not to be rebuilt from its config in safe mode
    return operation.__class__.from_config(operation.get_config())


class _StandIn(keras.Operation):
    """Stand-in for a layer, which computes the output shapes and has no weights."""

    def __init__(self, original: Any) -> None:
        super().__init__(name=original.name)
        self.original = original

    def compute_output_spec(self, *args: Any, **kwargs: Any) -> Any:
        return self.original.compute_output_spec(*args, **kwargs)


def _record_functional(model: Any, scope: tuple[str, ...]) -> Graph:
    refs: dict[int, Ref] = {}
    calls: list[Call] = []
    keep: list[Any] = []  # ids are only unique while the tensors live

    def to_refs(structure: Any) -> Any:
        def one(a: Any) -> Any:
            if not isinstance(a, keras.KerasTensor):
                return a
            keep.append(a)
            return refs.setdefault(id(a), Ref(a))

        return keras.tree.map_structure(one, structure)

    def call(layer: _StandIn, *args: Any, **kwargs: Any) -> Any:
        outputs = layer(*args, **kwargs)
        made = (to_refs(args), to_refs(kwargs), to_refs(outputs))
        calls.append(Call(layer.original, scope, *made))
        return outputs

    inputs = fresh_inputs(model)
    copy = keras.models.clone_model(
        uncompiled(model), clone_function=_StandIn, call_function=call, input_tensors=inputs
    )
    return Graph(to_refs(inputs), calls, to_refs(copy.output))


def uncompiled(model: Any) -> Any:
    """Model with the same graph that is not compiled, since a clone would be compiled too."""
    if not model.compiled:
        return model
    return functional_class()(model.input, model.output, name=model.name)


def _lay_open(graph: Graph) -> Graph:
    """Replace each call of a nested model by the calls inside the nested model."""
    alias: dict[Ref, Ref] = {}
    calls: list[Call] = []

    resolve = functools.partial(_replace, alias)
    for call in graph.calls:
        args, kwargs = resolve(call.args), resolve(call.kwargs)
        if not transparent(call.layer):
            calls.append(dataclasses.replace(call, args=args, kwargs=kwargs))
            continue
        inner = record(call.layer, (*call.scope, call.layer.name))
        outer_inputs = [a for a in keras.tree.flatten((args, kwargs)) if isinstance(a, Ref)]
        inside = dict(zip(keras.tree.flatten(inner.inputs), outer_inputs, strict=True))

        enter = functools.partial(_replace, inside)

        # a nested model passes an explicit `training=` on to its layers; refs are made anew, since
        # a shared model is laid open once a call
        training = {k: v for k, v in kwargs.items() if k == "training"}
        for step in inner.calls:
            outputs = keras.tree.map_structure(lambda ref: Ref(ref.spec), step.outputs)
            step_args, step_kwargs = enter(step.args), enter(step.kwargs)
            if training and takes_training(step.layer):
                step_kwargs = {**training, **step_kwargs}
            calls.append(Call(step.layer, step.scope, step_args, step_kwargs, outputs))
            flat = zip(keras.tree.flatten(step.outputs), keras.tree.flatten(outputs), strict=True)
            inside.update(dict(flat))
        flat_outputs = keras.tree.flatten(enter(inner.outputs))
        alias.update(dict(zip(keras.tree.flatten(call.outputs), flat_outputs, strict=True)))
    return Graph(graph.inputs, calls, resolve(graph.outputs))


def _replace(other: dict[Ref, Ref], structure: Any) -> Any:
    """Structure in which some refs are exchanged for others."""
    return keras.tree.map_structure(
        lambda a: other.get(a, a) if isinstance(a, Ref) else a, structure
    )


def takes_training(layer: Any) -> bool:
    """Whether a layer's `call` has an argument `training`."""
    return "training" in inspect.signature(layer.call).parameters


def parts(model: keras.Model) -> set[int]:
    """Ids of the layers and weights of a model."""
    layers = [layer for layer, _ in walk(model)]
    return {id(part) for layer in layers for part in (layer, *layer._trainable_variables)}


def borrows(operation: Any, arguments: Any, own: set[int]) -> bool:
    """Whether an operation or `Lambda` uses parts of a model besides its inputs.

    Args:
        operation: Operation or layer in a graph.
        arguments: Arguments of its call.
        own: Ids of the `parts` of the model.
    """
    held = list(keras.tree.flatten(arguments))
    if isinstance(operation, keras.layers.Lambda) and inspect.isfunction(operation.function):
        held += inspect.getclosurevars(operation.function).nonlocals.values()
    return any(id(one) in own for one in held)


def copy_weights(old: Any, new: Any) -> dict[int, keras.Variable]:
    """Copy the forward weights of a layer into its clone, in their order.

    Returns:
        `{id of a weight: its copy}`.
    """
    if not isinstance(old, keras.layers.Layer):
        return {}
    if old is new:
        return {id(weight): weight for weight in old.weights}
    ours, theirs = _forward_weights(new), _forward_weights(old)
    if [w.shape for w in ours] != [w.shape for w in theirs]:
        raise ValueError(
            f"The clone of layer '{old.name}' has weights of other shapes. Expected "
            f"{[tuple(w.shape) for w in theirs]}. Received: {[tuple(w.shape) for w in ours]}"
        )
    for target, source in zip(ours, theirs, strict=True):
        target.assign(source)
    # preprocessing layers derive constants from weights
    if ours and hasattr(new, "finalize_state"):
        new.finalize_state()
    return {id(source): target for target, source in zip(ours, theirs, strict=True)}


def _forward_weights(layer: Any) -> list[keras.Variable]:
    feedback = {
        id(weight)
        for inner in feedback_layers(layer)
        if hasattr(inner, "feedback_store")
        for weight in inner.feedback_store.weights
    }
    return [weight for weight in layer.weights if id(weight) not in feedback]
