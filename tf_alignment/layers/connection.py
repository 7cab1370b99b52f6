"""Connection: one forward kernel, the feedback weights that belong to it, and the error's path.

A connection runs the forward product with stock operations and attaches the method's backward pass
to it. It also adds the loss of value zero through which alignment rules learn.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import json
import random
import warnings
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import keras
import tensorflow as tf

from tf_alignment import feedback as methods
from tf_alignment import ops
from tf_alignment import probe as probing
from tf_alignment._support import watching
from tf_alignment._support.seeds import derived_seed, reseeded
from tf_alignment._support.whereabouts import check_whereabouts, trains
from tf_alignment.maps.base import LinearMap

__all__ = ["RECORD", "Connection", "FeedbackWeights"]

RECORD = "feedback.json"
"""Name of the entry in a model's file that records a layer's method."""

STREAM = "random_stream"  # in files

_ALIGNED = -(10**9)  # as a count of backward passes: never to be warned of


@keras.saving.register_keras_serializable(package="tf_alignment")
class FeedbackWeights(keras.layers.Layer):
    """Store of the feedback weights of one layer, separate from the layer's own weights.

    The store is a layer, so that the feedback weights are saved as a separate group. Files with the
    weights of stock layers therefore load into layers with feedback, and the other way round.
    """

    record: dict[str, Any] | None = None  # the method, of a layer whose class was exchanged
    untold: list[str] | None = None  # layers of the model of which its configuration does not tell

    def populate(
        self, create: Callable[[], None], stream: keras.random.SeedGenerator | None = None
    ) -> None:
        """Build the store: `create` adds the weights; the state of `stream` is saved with them."""
        self._create = create
        self.stream = tf.Module()  # Keras does not count it among the weights; checkpoints keep it
        self.stream.state = None if stream is None else stream.state
        self.build(())

    def build(self, input_shape: Any) -> None:
        """Add the weights, once, inside the layer's own name scope."""
        self._create()
        for weight in self.weights:  # `tf.train.Checkpoint` sees attributes alone
            setattr(self, f"weight_{weight.name}", weight)

    def quantize(self, *args: Any, **kwargs: Any) -> None:
        """Refuse on behalf of the layer: `model.quantize` calls only layers without sublayers.

        Raises:
            ValueError: Always.
        """
        raise ValueError(
            f"Layer '{self.path.rpartition('/')[0]}' cannot be quantized with a feedback method: "
            "the quantized call would bypass it. Call `tf_alignment.strip(model)` first; layers "
            "before this one may have been quantized by now. Received: a model with feedback "
            f"weights {[w.name for w in self.weights]}"
        )

    def save_own_variables(self, store: Any) -> None:
        """Save each weight under its name, and the state of the layer's random numbers."""
        for variable in self.weights:
            store[variable.name] = variable
        state = self.stream.state
        if state is not None:
            store[STREAM] = state

    def save_assets(self, dir_path: Any) -> None:
        """Save the record of the method, and warn if plain Keras would load stock layers."""
        if self.record is None:
            return
        Path(str(dir_path), RECORD).write_text(json.dumps(self.record), encoding="utf-8")
        if self.untold:
            some = ", ".join(f"'{path}'" for path in self.untold[:4])
            more = f" and {len(self.untold) - 4} more" if self.untold[4:] else ""
            warnings.warn(
                "Load the file with `tf_alignment.load_model`: plain Keras would load stock "
                f"layers in place of {some}{more}, since the configuration of what holds them does "
                "not tell of their feedback.",
                stacklevel=2,
            )

    def load_own_variables(self, store: Any) -> None:
        """Load each weight by name; warn if the file has none, like a file of stock layers."""
        found = set(store.keys())
        if not found and self.weights:
            warnings.warn(
                f"The file has no feedback weights for '{self.path}': it was saved from a stock "
                "layer. They keep the values they have.",
                stacklevel=2,
            )
            return
        expected = {variable.name for variable in self.weights}
        if found - {STREAM} != expected:
            raise ValueError(
                f"Layer '{self.path}' expects the feedback weights {sorted(expected)}; was the "
                f"model saved with another method? Received: {sorted(found)}"
            )
        for variable in self.weights:
            variable.assign(store[variable.name])
        state = self.stream.state
        if state is not None and STREAM in found:
            state.assign(store[STREAM])


class Valueless(keras.regularizers.Regularizer):
    """Regularizer with value zero and the gradient of another, so that losses stay comparable.

    Args:
        regularizer: Keras regularizer whose gradient is taken.
    """

    def __init__(self, regularizer: Any) -> None:
        self.regularizer = regularizer

    def __call__(self, x: Any) -> tf.Tensor:
        """Return zero, with the gradient of the regularizer."""
        value = self.regularizer(x)
        return value - tf.stop_gradient(value)

    def get_config(self) -> dict[str, Any]:
        """Config with the serialised regularizer."""
        return {"regularizer": keras.regularizers.serialize(self.regularizer)}


class Owner(Protocol):
    """Interface of a layer (`tf_alignment.layers.FeedbackLayer`) that its connections use.

    Attributes:
        name, path: Name and path of the layer.
        feedback: Feedback method.
        feedback_initializer, feedback_regularizer, feedback_constraint: Arguments of the layer.
        trainable: Whether the layer is to learn.
        losses: Losses of the present forward pass.
    """

    name: str
    path: str
    feedback: Any
    feedback_initializer: Any
    feedback_regularizer: Any
    feedback_constraint: Any
    trainable: bool
    losses: list[Any]

    def draw_seed(self, training: bool | None) -> tf.Tensor:
        """Two int32 numbers, new at every training step."""

    @property
    def modulation(self) -> keras.Variable | None:
        """Signal, running mean of the loss, and step count, if the method is `modulated`."""

    def read_modulator(self) -> tf.Tensor | None:
        """Signal that all layers receive, if the method is `modulated`."""

    def begin_training(self) -> None:
        """Announce that the layer is being traced for training."""

    def add_loss(self, loss: tf.Tensor) -> None:
        """Add a loss to the losses of the present forward pass."""


@dataclasses.dataclass(eq=False)  # one is itself alone: paths may be equal
class Connection:
    """One forward kernel of a layer and the feedback weights that belong to it.

    Attributes:
        layer: Layer that owns the connection.
        name: Name of the connection: `""` if the layer has only one, otherwise `"depthwise"` or
            `"pointwise"`, `"input"` or `"recurrent"`.
        map: Bilinear map of input and kernel.
        kernel: Forward kernel, a Keras variable.
        initializer, regularizer, constraint: Initializer, regularizer and constraint of the forward
            kernel.
        weights: Weights that the method stores, `{name: variable}`.
        aligned: Names of the weights that learn by alignment.
    """

    layer: Owner
    name: str
    map: LinearMap
    kernel: keras.Variable
    initializer: Any
    regularizer: Any
    constraint: Any
    weights: dict[str, keras.Variable] = dataclasses.field(default_factory=dict)
    aligned: list[str] = dataclasses.field(default_factory=list)
    _zero: Callable[[], tf.Tensor | None] | None = None
    _reads: dict[str, Callable[[], tf.Tensor | None]] = dataclasses.field(default_factory=dict)
    # backward passes so far in which the alignment rule was not asked, and the graph of the last
    _sent: int = 0
    _sent_in: Any = None

    @property
    def path(self) -> str:
        """Path of the layer, followed by the connection's name if the layer has several.

        Layers of nested models may have equal paths; the functions in
        `tf_alignment.layers.inspection` give unique names.
        """
        return f"{self.layer.path}/{self.name}" if self.name else self.layer.path

    @property
    def over_time(self) -> bool:
        """Whether it acts inside a recurrent layer's loop over time, which hides its input."""
        return getattr(self.layer, "over_time", False)

    @property
    def layer_name(self) -> str:
        """Name of the layer."""
        return self.layer.name

    def feedback_kernel(self) -> tf.Tensor:
        """Kernel that carries the error at present, in the forward kernel's shape.

        Raises:
            ValueError: For methods that have no such kernel (DFA, brSF).
        """
        kernel = tf.convert_to_tensor(self.kernel)
        weights = {
            n: tf.cast(tf.convert_to_tensor(w), kernel.dtype) for n, w in self.weights.items()
        }
        empty = tf.zeros((0,), kernel.dtype)
        return self.layer.feedback.feedback_kernel(
            methods.Backward(self.map, empty, kernel, weights)
        )

    def build(self, store: FeedbackWeights, input_shape: tuple[int | None, ...]) -> None:
        """Create the weights of the method in `store`."""
        layer, method = self.layer, self.layer.feedback
        error = method.learns == "error"
        prefix = f"{self.name}_" if self.name else ""
        draw, seeds = self._draw(layer.feedback_initializer), self.seeds("method")

        def add(
            name: str,
            shape: tuple[int, ...],
            initializer: Callable[..., tf.Tensor],
            trainable: bool,
            aligned: bool = False,
        ) -> keras.Variable:
            follows = error and not aligned  # rides on δ: decays as the forward kernel does
            regularizer = layer.feedback_regularizer or (self.regularizer if follows else None)
            constraint = layer.feedback_constraint or (self.constraint if follows else None)
            weight = store.add_weight(
                name=f"{prefix}{name}" + ("_aligned" if aligned else ""),
                shape=tuple(shape),
                initializer=lambda shape, dtype: tf.cast(initializer(shape, dtype), dtype),
                regularizer=Valueless(regularizer) if trainable and regularizer else None,
                constraint=constraint if trainable else None,
                trainable=trainable,
                autocast=False,
            )
            if initializer is draw:
                self._refuse_copy(weight, draw)
            self.weights[name] = weight
            if aligned and not error:
                self.aligned.append(name)
            return weight

        channels_first = getattr(layer, "data_format", "channels_last") == "channels_first"
        axis = 1 if channels_first else len(input_shape) - 1
        inputs: list[Any] = [1] * len(input_shape)
        inputs[axis] = self.map.input_channels(tuple(self.kernel.shape)) or input_shape[axis]
        units = self.map.output_channels(tuple(self.kernel.shape), len(input_shape))
        seed = functools.partial(next, seeds)
        method.build(methods.Setup(self.map, self.kernel, draw, add, seed, tuple(inputs), units))

    def seeds(self, purpose: str) -> Iterator[int]:
        """Seeds that follow from the kernel's own, so that a seeded layer is reproducible."""
        base = getattr(self.initializer, "seed", None)
        if not isinstance(base, int):
            base = random.randint(1, 10**9)
        return (derived_seed(base, self.name, purpose, count) for count in itertools.count())

    def _draw(self, initializer: Any) -> Callable[..., tf.Tensor]:
        """Draw from the feedback initializer, with other numbers than the forward kernel's."""
        [seed] = itertools.islice(self.seeds("kernel"), 1)
        if initializer is None:
            initializer = self.initializer
            if not hasattr(initializer, "seed"):
                initializer = keras.initializers.GlorotUniform()  # constant: B would be W

        def draw(
            shape: tuple[int, ...], dtype: Any = None, of: LinearMap | None = None
        ) -> tf.Tensor:
            axes = (of or self.map).initializer_axes()
            own = reseeded(initializer, seed, **axes)
            drawn = tf.cast(own(tuple(shape), dtype="float32"), tf.float32)
            if tuple(drawn.shape) != tuple(shape):  # an array, or a function that draws as it likes
                raise ValueError(
                    "Argument `feedback_initializer` must give feedback weights of the shape "
                    f"{tuple(shape)} in layer '{self.path}'. Received: feedback_initializer="
                    f"{self.layer.feedback_initializer!r}, which gives {tuple(drawn.shape)}"
                )
            return drawn

        return draw

    def _refuse_copy(self, weight: keras.Variable, draw: Callable[..., tf.Tensor]) -> None:
        """Raise an error if a drawn feedback kernel equals the forward kernel.

        An initializer with a seed gets another seed. But a function, or an initializer without a
        seed, gives both kernels the same numbers, and feedback alignment would silently be
        backprop. Constant kernels are accepted, since they are not a mistake.
        """
        if not tf.executing_eagerly() or tuple(weight.shape) != tuple(self.kernel.shape):
            return
        kernel, drawn = (
            tf.cast(tf.convert_to_tensor(v), tf.float32) for v in (self.kernel, weight)
        )
        varied = tf.reduce_max(kernel) > tf.reduce_min(kernel)
        if not varied or tf.reduce_any(kernel != drawn):
            return
        if tf.reduce_any(draw(weight.shape) != drawn):  # a coincidence, of few numbers or signs
            return
        raise ValueError(
            "Argument `feedback_initializer` must draw other numbers than the kernel's "
            f"initializer, else the feedback of '{self.path}' is its forward kernel, and training "
            "is backprop. To begin with equal weights, assign them to the built layer. Received: "
            f"feedback_initializer={self.layer.feedback_initializer!r}, "
            f"kernel_initializer={self.initializer!r}"
        )

    def run(
        self,
        x: tf.Tensor,
        add_bias: Callable[[tf.Tensor], tf.Tensor],
        activation: Callable[[tf.Tensor], tf.Tensor],
        training: bool | None,
        step: tf.Tensor | None,
    ) -> tf.Tensor:
        """Forward product `x · W`, with the method's backward pass."""
        method = self.layer.feedback
        kernel = tf.convert_to_tensor(self.kernel)
        look = probing.current()
        if look is not None:
            x = look.record(self, x)
            if look.backprop:
                return self.map.apply(x, kernel)
        check_whereabouts(self.layer.name, x, training, bool(self.aligned))
        stored = self.stored()
        seed = self.layer.draw_seed(training) if method.random else None
        z = self.map.apply(tf.stop_gradient(x), method.couple(kernel, stored, self.map))
        # read before the optimizer changes them, see `ops`
        with tf.control_dependencies(list(stored.values())):
            z = tf.identity(z)

        def send(
            dz: tf.Tensor, x: tf.Tensor, weights: ops.Tensors
        ) -> tuple[tf.Tensor, ops.Gradients]:
            watching.note("sent", self)
            if training:
                self.count_sent()
            signal = self.layer.read_modulator()  # read here, the loss of this step is in it
            c = methods.Backward(
                self.map, x, kernel, weights, seed, z, add_bias, activation, signal
            )
            return method.send(c, dz)

        watching.note("called", self)
        activity = methods.Activity(
            self.map,
            x,
            z,
            kernel,
            add_bias,
            activation,
            seed,
            step,
            self.layer.read_modulator(),
            stored,
        )
        self.learn(activity, stored, training)
        cast = {name: tf.cast(weight, kernel.dtype) for name, weight in stored.items()}
        response = ops.send_error(z, x, cast, send)
        if look is not None:
            look.respond(self, response)
        return response

    def stored(self) -> dict[str, tf.Tensor]:
        """Feedback weights; in a graph, aligned weights are read once per forward pass.

        The gradient of aligned weights is computed at the first call of the layer, from the values
        that this call has read. A later call must not read again, since its read could take place
        after the update.
        """
        kept = {name: read() for name, read in self._reads.items()}
        known = [read for read in kept.values() if read is not None and _reaches_here(read)]
        if known and len(known) == len(self.weights) and self.has_aligned():
            return dict(zip(kept, known, strict=True))
        graph = tf.compat.v1.get_default_graph()
        with tf.control_dependencies([read for read in known if read.graph is graph]):
            reads = {name: tf.convert_to_tensor(w) for name, w in self.weights.items()}
        in_graph = self.aligned and not tf.executing_eagerly()
        self._reads = {name: weakref.ref(read) for name, read in reads.items()} if in_graph else {}
        return reads

    def learn(
        self, activity: methods.Activity, stored: dict[str, tf.Tensor], training: bool | None
    ) -> None:
        """Pass a forward pass to the open probe and to a rule that learns by alignment.

        Args:
            activity: Forward pass of the connection.
            stored: Feedback weights that the method `stored` returned in this pass.
            training: Whether the layer is called in training mode.
        """
        method, look = self.layer.feedback, probing.current()
        if look is not None:
            look.activities.setdefault(self, []).append(activity)
        if trains(training):
            self.layer.begin_training()
        if self.aligned and method.learns == "alignment" and not self.has_aligned():
            if look is None:
                self._check_aligned()

            def align(weights: ops.Tensors) -> ops.Gradients:
                watching.note("aligned", self)
                self._sent = _ALIGNED
                signal = self.layer.read_modulator()  # read here, the loss of this step is in it
                return method.align(dataclasses.replace(activity, modulator=signal), weights)

            learning = {name: stored[name] for name in self.aligned}
            zero = ops.alignment_loss(learning, align)
            self.layer.add_loss(zero)
            self._zero = weakref.ref(zero)

    def count_sent(self) -> None:
        """Count a backward pass in training; one of a compiled step is many.

        In a compiled step a loss that learns nothing is known at once: no operation takes it.
        """
        eager = tf.executing_eagerly()
        self._sent += 1 if eager else 2
        self._sent_in = None if eager else weakref.ref(tf.compat.v1.get_default_graph())
        zero = None if self._zero is None else self._zero()
        if zero is None or eager or watching.active() or not tf.is_symbolic_tensor(zero):
            return  # a step that is watched is reported when it ends
        if _reaches_here(zero) and not zero.consumers():
            self._warn_of_lost_loss()

    def _check_aligned(self) -> None:
        """Warn if errors have come back, and the loss through which B learns was left out."""
        eager = tf.executing_eagerly()
        here = None if eager else tf.compat.v1.get_default_graph()
        same = self._sent_in is not None and self._sent_in() is here  # it is not complete
        if self._sent < 2 or same:
            return
        self._warn_of_lost_loss()

    def _warn_of_lost_loss(self) -> None:
        if self._sent < 2 or not self.layer.trainable:
            return
        self._sent = _ALIGNED
        warnings.warn(
            f"Errors have come back to '{self.path}', and its feedback weights, which learn by "
            "alignment, stand still. If that was training, in a loop of one's own, add "
            "`sum(model.losses)` to the loss.",
            stacklevel=2,
        )

    def has_aligned(self) -> bool:
        """Whether the layer was called before in this forward pass.

        A layer aligns once per pass, at its first call: the gradients of all calls would add up to
        a step too long for B to be stable.
        """
        zero = self._zero() if self._zero is not None else None
        return zero is not None and any(loss is zero for loss in self.layer.losses)


def _reaches_here(tensor: tf.Tensor) -> bool:
    """Whether the graph that is being built has the tensor or can capture it."""
    graph = None if tf.executing_eagerly() else tf.compat.v1.get_default_graph()
    while graph is not None and graph is not tensor.graph:
        graph = getattr(graph, "outer_graph", None)
    return graph is not None
