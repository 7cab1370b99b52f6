"""Any Keras model: `convert` gives it feedback, `strip` takes it away, `summary` tells."""

from __future__ import annotations

import dataclasses
import re
import warnings
import weakref
from collections.abc import Callable, Iterable
from typing import Any

import keras

from tf_alignment import feedback as methods
from tf_alignment import layers as drop_in
from tf_alignment import optimizers
from tf_alignment._support.seeds import named_initializer
from tf_alignment.conversion.direct import convert_direct, strip_direct
from tf_alignment.conversion.graph import (
    Call,
    Graph,
    Ref,
    clone_operation,
    copy_weights,
    fresh_inputs,
    functional_class,
    record,
    uncompiled,
)
from tf_alignment.layers.base import FEEDBACK_ARGUMENTS
from tf_alignment.layers.direct import OutputTap
from tf_alignment.layers.inspection import feedback_layers, output_taps

__all__ = ["LayerReport", "convert", "strip", "summary"]

Selector = str | re.Pattern[str] | Callable[[Any], bool]
_KINDS = [
    *("Dense", "EinsumDense", "Conv1D", "Conv2D", "Conv3D"),
    *("DepthwiseConv1D", "DepthwiseConv2D", "SeparableConv1D", "SeparableConv2D"),
    *("Conv1DTranspose", "Conv2DTranspose", "Conv3DTranspose", "MultiHeadAttention"),
]
WITH_FEEDBACK: dict[type, Any] = {
    getattr(keras.layers, kind): getattr(drop_in, kind) for kind in _KINDS
}
# their own first kernel learns from what their last kernel sends down
_SEVERAL_KERNELS = (
    keras.layers.SeparableConv1D,
    keras.layers.SeparableConv2D,
    keras.layers.MultiHeadAttention,
)
STOCK: dict[type, Any] = {ours: stock for stock, ours in WITH_FEEDBACK.items()}


def convert(
    model: keras.Model,
    feedback: Any,
    include: Selector | Iterable[Selector] | None = None,
    exclude: Selector | Iterable[Selector] | None = None,
    feedback_initializer: Any = None,
) -> keras.Model:
    """Give the layers of a Keras model feedback weights.

    The result is a new model with the same forward weights, whose outputs are the original's bit
    for bit. Layers are exchanged for those of `tf_alignment.layers`, in nested and shared
    models too. A layer below which nothing learns stays stock, since the error it would send down
    is used by nobody; name it in `include` to convert it all the same. A model that has feedback
    already gets the new method instead.

    "dfa" changes the network: the output error reaches the layers through one layer at the output,
    `tf_alignment.layers.direct.OutputTap`, which takes the logits and the output of every hidden
    block, and the ordinary path below each block is cut. A block is a layer with weights and what
    follows it up to the next fork, merge or layer with a kernel. Sequential and nested models
    become one flat functional model. Inside a layer with several kernels (separable, recurrent,
    attention) the error passes as in backprop.

    Args:
        model: A built functional or Sequential model.
        feedback: A method's id or a `tf_alignment.feedback.Feedback` object.
        include: Which layers to convert: a name, a regular expression (matched in full against
            the layer's name, or its path `nested/layer`), a function of the layer, or several. All,
            if `None`.
        exclude: Which layers to leave stock, likewise.
        feedback_initializer: Initializer of the feedback weights. `None`: that of each layer's
            kernel, with a seed of its own; for "dfa", whose feedback has other shapes than the
            kernels, Glorot's uniform one.

    Returns:
        A new model; compiled as the original, if that was, with a fresh optimizer, whether the
        original had feedback already or not.

    Raises:
        TypeError: If `model` is no Keras model.
        ValueError: If the model is not built, is a subclassed model, has train or test steps of its
            own, if a selector matches nothing, if `include` or `exclude` is given with "dfa", or if
            `feedback_initializer` is no initializer.

    Example:
    >>> import keras, tf_alignment as ta
    >>> layers = [keras.Input((4,)), keras.layers.Dense(8, "relu"), keras.layers.Dense(3)]
    >>> model = ta.convert(keras.Sequential(layers), "fa")
    >>> [type(layer).__module__.split(".")[0] for layer in model.layers]
    ['keras', 'tf_alignment']
    """
    method = methods.get(feedback)
    if method is None:
        raise ValueError(
            "Argument `feedback` must be a method; to take feedback away use "
            "`tf_alignment.strip(model)`. Received: feedback=None"
        )
    named_initializer("feedback_initializer", feedback_initializer)  # a check: each layer makes one
    _check_model(model)
    compilation = model.get_compile_config()
    if feedback_layers(model) or output_taps(model):
        model = strip(model)
    if isinstance(method, methods.DirectFeedback):
        if include is not None or exclude is not None:
            raise ValueError(
                "Arguments `include` and `exclude` do not go with 'dfa', which cuts and taps the "
                f"whole network. Received: include={include!r}, exclude={exclude!r}"
            )
        converted = convert_direct(model, feedback_initializer or "glorot_uniform")
    else:
        chosen = _choose(model, include, exclude)

        def swap(layer: Any) -> Any:
            if id(layer) not in chosen:
                return clone_operation(layer)
            return _with_feedback(layer, method, feedback_initializer)

        converted = _clone(model, swap)
    if compilation and not converted.compiled:  # Keras compiles clones of functional models
        converted.compile_from_config(compilation)
    _check_when_training_begins(converted)
    return converted


def _check_when_training_begins(model: keras.Model) -> None:
    """Have `tf_alignment.optimizers.check` look at the model, once."""
    reference = weakref.ref(model)

    def check() -> None:
        model = reference()
        if model is None or not model.compiled or model.optimizer is None:
            return
        for layer in feedback_layers(model):
            layer.on_training(None)
        optimizers.check(model)

    for layer in feedback_layers(model):
        layer.on_training(check)


def strip(model: keras.Model) -> keras.Model:
    """Turn a model with feedback back into a stock Keras model, for export and deployment.

    Args:
        model: A functional or Sequential model, made by `convert` or of layers of this library.

    Returns:
        A new model of stock Keras layers with the same forward weights; its outputs are the same
        bit for bit. Not compiled.

    Raises:
        TypeError, ValueError: As `convert`.

    Example:
    >>> import keras, tf_alignment as ta
    >>> model = keras.Sequential([keras.Input((4,)), ta.layers.Dense(3, feedback="fa")])
    >>> type(ta.strip(model).layers[0]).__module__
    'keras.src.layers.core.dense'
    """
    _check_model(model)
    if output_taps(model):
        model = strip_direct(model)
    stock = _clone(model if isinstance(model, keras.Sequential) else uncompiled(model), _to_stock)
    left = [layer.path for layer in feedback_layers(stock)]
    if left:
        raise ValueError(
            "Feedback inside layers of one's own cannot be stripped. Received: a model with "
            f"feedback in {left}"
        )
    return stock


@dataclasses.dataclass(frozen=True)
class LayerReport:
    """One row of `summary`.

    Attributes:
        path: Names of the nested models and of the layer.
        kind: Class name of the layer.
        method: Id of its method, or `"stock"`.
        weights: `{name: shape}` of the feedback weights.
        why: Why the layer is stock, or `""`.
    """

    path: str
    kind: str
    method: str
    weights: dict[str, tuple[int, ...]]
    why: str


def summary(model: keras.Model, print_fn: Callable[[str], Any] | None = print) -> list[LayerReport]:
    """Say which layers carry which method, which were left stock, and why.

    Args:
        model: A built functional or Sequential model.
        print_fn: Called with each line of the table, or `None` to print nothing.

    Returns:
        A `LayerReport` for each layer with trainable weights, in the order of calls.

    Raises:
        TypeError, ValueError: As `convert`.

    Example:
    >>> import keras, tf_alignment as ta
    >>> layers = [keras.Input((4,)), keras.layers.Dense(8, "relu"), keras.layers.Dense(3)]
    >>> rows = ta.summary(ta.convert(keras.Sequential(layers), "sa"), print_fn=None)
    >>> [(row.method, row.why) for row in rows]
    [('stock', 'nothing below it learns'), ('sa', '')]
    """
    _check_model(model)
    graph = record(model)
    learns = graph.learns_below()
    taps = [call.layer for call in graph.calls if isinstance(call.layer, OutputTap)]
    useful: dict[int, bool] = {}
    if not (print_fn is None or callable(print_fn)):
        raise TypeError(
            f"Argument `print_fn` must be a function or None. Received: print_fn={print_fn!r}"
        )
    rows: dict[int, LayerReport] = {}
    for call in graph.calls:
        layer = call.layer
        useful[id(layer)] = useful.get(id(layer), False) or _error_is_used(call, learns)
        if call.learns or isinstance(layer, OutputTap):
            rows[id(layer)] = _report(layer, call.path, useful[id(layer)], bool(taps))
    if print_fn is not None:
        _print_table(list(rows.values()), print_fn)
    return list(rows.values())


def _report(layer: Any, path: str, useful: bool, direct: bool) -> LayerReport:
    inner = layer.layer if isinstance(layer, keras.layers.Wrapper) else layer
    method = getattr(inner, "feedback", None)
    weights = getattr(inner, "feedback_weights", {}) if method is not None else {}
    shapes = {name: tuple(weight.shape) for name, weight in weights.items()}
    why = ""
    if method is None:
        kernel = type(inner) in WITH_FEEDBACK or type(inner) in STOCK
        if direct:
            why = "the output error comes from the output tap, its own input is cut"
        elif not kernel:
            why = "sends its error with no kernel that has a feedback version"
        elif not useful:
            why = "nothing below it learns"
        else:
            why = "excluded, or never converted"
    name = "stock" if method is None else method.id
    return LayerReport(path, type(inner).__name__, name, shapes, why)


def _print_table(rows: list[LayerReport], print_fn: Callable[[str], Any]) -> None:
    header = ("layer", "kind", "method", "feedback weights, or why stock")
    cells = [header]
    for row in rows:
        weights = ", ".join(f"{name} {shape}" for name, shape in row.weights.items())
        cells.append((row.path, row.kind, row.method, weights or row.why))
    widths = [max(len(line[i]) for line in cells) for i in range(3)]
    for line in cells:
        start = "  ".join(text.ljust(width) for text, width in zip(line[:3], widths, strict=True))
        print_fn(f"{start}  {line[3]}".rstrip())


def _check_model(model: Any) -> None:
    if not isinstance(model, keras.Model):
        raise TypeError(
            f"Argument `model` must be a Keras model. Received: {model!r} of type "
            f"{type(model).__name__}"
        )
    if not isinstance(model, keras.Sequential | functional_class()):
        raise ValueError(
            f"Subclassed models cannot be converted. Received: model '{model.name}' of class "
            f"{type(model).__name__}. Build it functionally, or use the layers of "
            "`tf_alignment.layers` in its constructor."
        )
    if not model.built or (isinstance(model, keras.Sequential) and not model.inputs):
        raise ValueError(
            f"The model must be built before it is converted. Received: model '{model.name}' with "
            f"built={model.built}. Start it with `keras.Input(shape)`, or call `model.build(...)`."
        )
    own = [
        name
        for name in ("train_step", "test_step", "predict_step", "compute_loss", "call")
        if getattr(type(model), name) is not getattr(_plain_class(model), name)
    ]
    if own:
        raise ValueError(
            f"The class of the model overrides {own}, which a converted model would lose. "
            f"Received: model '{model.name}' of class {type(model).__name__}. Convert a plain "
            "functional model and add the method to the result."
        )


def _plain_class(model: keras.Model) -> type:
    return keras.Sequential if isinstance(model, keras.Sequential) else functional_class()


def _choose(
    model: keras.Model,
    include: Selector | Iterable[Selector] | None,
    exclude: Selector | Iterable[Selector] | None,
) -> set[int]:
    """Ids of the layers to convert."""
    graph = record(model)
    learns = graph.learns_below()
    included, excluded = (
        _selectors(name, value, graph)
        for name, value in (("include", include), ("exclude", exclude))
    )
    used: set[int] = set()
    chosen: set[int] = set()

    def matches(call: Any, selectors: list[Selector]) -> bool:
        hits = [s for s in selectors if _matches(s, call.layer, call.path)]
        used.update(id(s) for s in hits)
        return bool(hits)

    for call in graph.calls:
        if _kernel_layer(call.layer) is None:
            continue
        named = matches(call, included)
        if matches(call, excluded) or (included and not named):
            continue
        if named or _error_is_used(call, learns):
            chosen.add(id(call.layer))
    for name, selectors in (("include", included), ("exclude", excluded)):
        for selector in selectors:
            if isinstance(selector, str | re.Pattern) and id(selector) not in used:
                known = sorted({c.path for c in graph.calls if _kernel_layer(c.layer) is not None})
                raise ValueError(
                    f"Argument `{name}` must match layers that can be converted: {known}. "
                    f"Received: {selector!r}, which matches none"
                )
    if not chosen:
        warnings.warn(
            f"No layer of model '{model.name}' was converted: it will learn as stock Keras does. "
            "See `tf_alignment.summary(model)`.",
            stacklevel=3,
        )
    return chosen


def _error_is_used(call: Call, learns: dict[Ref, bool]) -> bool:
    """Whether something learns below the layer, or below one of several kernels inside it."""
    several = isinstance(call.layer, _SEVERAL_KERNELS) and call.learns
    return several or any(learns[ref] for ref in call.inputs)


def _selectors(name: str, value: Any, graph: Graph) -> list[Selector]:
    """The argument as a list, checked; names of layers need not be regular expressions."""
    if value is None:
        return []
    names = {own for call in graph.calls for own in (call.layer.name, call.path)}
    single = isinstance(value, str | re.Pattern) or callable(value)
    try:
        selectors = [value] if single else list(value)
    except TypeError:
        selectors = [value]
    for selector in selectors:
        try:
            re.compile(selector if isinstance(selector, str) and selector not in names else "")
        except re.error as error:
            raise ValueError(
                f"Argument `{name}` must be a name or a valid regular expression ({error}). "
                f"Received: {name}={selector!r}"
            ) from None
        if not (isinstance(selector, str | re.Pattern) or callable(selector)):
            raise TypeError(
                f"Argument `{name}` must be a name, a regular expression, a function of a layer, "
                f"or several of these. Received: {name}={value!r}"
            )
    return selectors


def _matches(selector: Selector, layer: Any, path: str) -> bool:
    if not isinstance(selector, str | re.Pattern):
        return bool(selector(layer))
    if selector in (layer.name, path):
        return True
    try:
        return any(re.fullmatch(selector, name) for name in (layer.name, path))
    except re.error:  # the name of another layer
        return False


def _kernel_layer(layer: Any) -> Any | None:
    """The layer, or what a `TimeDistributed` wraps, if it can be converted."""
    if type(layer) is keras.layers.TimeDistributed:
        shape = (layer.get_build_config() or {}).get("input_shape")
        # with a dynamic time axis Keras maps the layer in a way that loses its backward pass
        if shape is None or shape[1] is None:
            return None
        layer = layer.layer
    return layer if type(layer) in WITH_FEEDBACK else None


def _with_feedback(layer: Any, method: methods.Feedback, initializer: Any) -> Any:
    if isinstance(layer, keras.layers.TimeDistributed):
        inner = _with_feedback(layer.layer, method, initializer)
        config = {k: v for k, v in layer.get_config().items() if k != "layer"}
        return keras.layers.TimeDistributed(inner, **config)
    config = layer.get_config() | {"feedback": method, "feedback_initializer": initializer}
    return WITH_FEEDBACK[type(layer)].from_config(config)


def _to_stock(layer: Any) -> Any:
    if isinstance(layer, keras.layers.TimeDistributed) and type(layer.layer) in STOCK:
        config = {k: v for k, v in layer.get_config().items() if k != "layer"}
        return keras.layers.TimeDistributed(_to_stock(layer.layer), **config)
    if type(layer) not in STOCK:
        return clone_operation(layer)
    config = {k: v for k, v in layer.get_config().items() if k not in FEEDBACK_ARGUMENTS}
    return STOCK[type(layer)].from_config(config)


def _clone(model: keras.Model, swap: Callable[[Any], Any]) -> keras.Model:
    """A clone with layers made by `swap`, and the original's forward weights.

    It is compiled if the original is a functional model that was.
    """
    copies: dict[int, Any] = {}
    pairs: list[tuple[Any, Any]] = []

    def copy(layer: Any) -> Any:
        if id(layer) not in copies:
            if isinstance(layer, keras.Sequential | functional_class()):
                copies[id(layer)] = rebuild(layer)
            else:
                copies[id(layer)] = swap(layer)
                pairs.append((layer, copies[id(layer)]))
        return copies[id(layer)]

    def rebuild(model: keras.Model) -> keras.Model:
        if not isinstance(model, keras.Sequential):
            return keras.models.clone_model(model, clone_function=copy)
        # one inside another model has an input of its own only if it was given one
        first = [fresh_inputs(model)] if getattr(model, "inputs", None) else []
        layers = [*first, *(copy(layer) for layer in model.layers)]
        return keras.Sequential(layers, name=model.name, trainable=model.trainable)

    clone = rebuild(model)
    for old, new in pairs:
        copy_weights(old, new)
    return clone
