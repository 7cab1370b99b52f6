"""Base of all layers with feedback: the feedback arguments, `build` and `call`.

A layer has one or more connections (`SeparableConv2D` has two). Each connection is a bilinear map
with a forward kernel; see `tf_alignment.layers.connection`.
"""

from __future__ import annotations

import functools
import inspect
import warnings
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from tf_alignment import feedback as methods
from tf_alignment._support.seeds import named_initializer, per_replica
from tf_alignment._support.whereabouts import trains
from tf_alignment.layers.connection import Connection, FeedbackWeights
from tf_alignment.maps.base import LinearMap

__all__ = ["FEEDBACK_ARGUMENTS", "FeedbackLayer"]

FEEDBACK_ARGUMENTS: dict[str, Any] = {
    "feedback": None,
    "feedback_initializer": "glorot_uniform",
    "feedback_regularizer": None,
    "feedback_constraint": None,
}


class _OfClass:
    """Attribute of a class that its instances do not have."""

    def __init__(self, value: Any) -> None:
        self._value = value

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        if instance is not None:
            raise AttributeError("an instance has the signature of its `__call__`")
        return self._value


class FeedbackLayer(keras.layers.Layer):
    """Mixin that gives a Keras layer a `feedback` argument.

    It comes before the Keras class among the base classes. A subclass returns its connections from
    `_connect` and may override `_bias`. Shapes are the same as in the Keras class.

    Example:
    >>> import tf_alignment as ta
    >>> isinstance(ta.layers.Conv2D(4, 3, feedback="fa"), ta.layers.FeedbackLayer)
    True
    """

    # of the class too: a layer whose class was exchanged has not run the constructor
    _connections: tuple[Connection, ...] = ()
    _on_training: Callable[[], None] | None = None
    _told = False
    needs_shape = True
    """Whether the feedback weights depend on the shape of the input, besides the kernels."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Set the signature of the class, which tools and `help` show.

        It is the signature of the Keras class plus the feedback arguments, unless the constructor
        names its arguments.
        """
        super().__init_subclass__(**kwargs)
        own = list(inspect.signature(cls.__init__).parameters.values())[1:]
        if any(p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD) for p in own):
            cls.__signature__ = _OfClass(inspect.Signature(own))
            return
        parent = next(base for base in cls.__mro__[1:] if base.__module__.startswith("keras."))
        cls.__signature__ = _OfClass(signature_with_feedback(parent))

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        given = {name: kwargs.pop(name) for name in FEEDBACK_ARGUMENTS if name in kwargs}
        super().__init__(*args, **kwargs)
        set_feedback_arguments(self, **given)

    def on_training(self, hook: Callable[[], None] | None) -> None:
        """Set the function that is called when the layer is next traced for training, or None.

        Checks of a model that depend on its optimizer use this hook, since a layer does not know
        the optimizer.
        """
        self._on_training = hook

    def begin_training(self) -> None:
        """Call the hook set by `on_training`; the hook may set another one or None."""
        if self._on_training is not None:
            with tf.init_scope():  # a step is being traced; a check may read variables
                self._on_training()
        if self.feedback.modulated:
            self._check_signal()

    def _connect(self) -> list[Connection]:
        """Connections of the built layer."""
        raise NotImplementedError(f"{type(self).__name__} does not define `_connect`.")

    def _connection(
        self,
        linear_map: LinearMap,
        prefix: str = "kernel",
        name: str = "",
        kernel: keras.Variable | None = None,
    ) -> Connection:
        """Connection of a kernel whose initializer, regularizer ... have names with `prefix`."""
        if kernel is None:
            kernel = getattr(self, f"{name}_kernel" if name else "kernel")
        return Connection(
            self,
            name,
            linear_map,
            kernel,
            *(
                getattr(self, f"{prefix}_{what}")
                for what in ("initializer", "regularizer", "constraint")
            ),
        )

    def build(self, input_shape: Any) -> None:
        """Create the parent's weights, then the method's."""
        super().build(input_shape)
        if self.feedback is None:
            return
        self._build_feedback(tuple(input_shape))

    def _input_shapes(self, input_shape: tuple[int | None, ...]) -> list[tuple[int | None, ...]]:
        """Input shape of each connection of the built layer."""
        return [input_shape] * len(self._connect())

    def _build_feedback(self, input_shape: tuple[int | None, ...]) -> None:
        """Create the method's weights for a built layer, or for one whose class was exchanged."""
        method = self.feedback
        store = FeedbackWeights(name="feedback", dtype=self.dtype_policy, trainable=self.trainable)
        connections = tuple(self._connect())
        shapes = self._input_shapes(input_shape)

        def create() -> None:
            for connection, shape in zip(connections, shapes, strict=True):
                connection.build(store, shape)
            if method.scheduled:
                store.add_weight(
                    name="step",
                    shape=(),
                    initializer="zeros",
                    dtype="int32",
                    trainable=False,
                    autocast=False,
                    aggregation="only_first_replica",
                )
            if method.modulated:
                store.add_weight(
                    name="modulation",
                    shape=(3,),
                    initializer="zeros",
                    trainable=False,
                    autocast=False,
                    aggregation="mean",
                )

        if method.random:
            seed = next(connections[0].seeds("steps"))
            self.seed_generator = keras.random.SeedGenerator(seed)
        store.populate(create, self.seed_generator if method.random else None)
        if store.weights or method.random:
            self.feedback_store = store
        self._connections = connections

    @property
    def connections(self) -> tuple[Connection, ...]:
        """Connections of the layer; empty with `feedback=None` or before the layer is built."""
        return self._connections

    @property
    def feedback_weights(self) -> dict[str, keras.Variable]:
        """Weights that the method stores, `{name: variable}`; empty if there are none."""
        return {
            f"{c.name}_{name}" if c.name else name: weight
            for c in self._connections
            for name, weight in c.weights.items()
        }

    def effective_feedback_kernel(self) -> Any:
        """Kernel that carries the error at present (signed, `R B` ...), in the kernel's shape.

        Returns:
            Tensor shaped like `layer.kernel`; for a layer with two connections, a dict of such
            tensors by the name of the connection.

        Raises:
            ValueError: If the layer is not built, has no feedback method, or its method has no
                effective kernel (DFA, brSF).
        """
        if self.feedback is None or not self._connections:
            raise ValueError(
                "`effective_feedback_kernel` needs a built layer with a feedback method. Received: "
                f"layer '{self.name}' with built={self.built}, feedback={self.feedback!r}"
            )
        kernels = {c.name: c.feedback_kernel() for c in self._connections}
        return kernels.get("", kernels)

    @property
    def modulation(self) -> keras.Variable | None:
        """Signal, running mean of the loss, and step count of a `modulated` rule; otherwise None.

        See `tf_alignment.modulate`.
        """
        if self.feedback is None or not self.feedback.modulated or not self._connections:
            return None
        return next(w for w in self.feedback_store.weights if w.name == "modulation")

    def expect_signal(self, told: bool) -> None:
        """Declare whether a `modulated` rule is given its signal; if not, training warns."""
        self._told = told

    def read_modulator(self) -> tf.Tensor | None:
        """Present value of the signal, a float32 scalar, or None."""
        return None if self.modulation is None else tf.convert_to_tensor(self.modulation)[0]

    def draw_seed(self, training: bool | None) -> tf.Tensor:
        """Two int32 numbers, new at every training step, and per replica if the method says so.

        If `training` is unset, as in some custom training loops, or False only for a part of a
        model, the layer takes a forward pass under a gradient tape for a training step.
        """
        generator = self.seed_generator
        seed = generator.next() if trains(training) else generator.state.value
        seed = tf.cast(tf.convert_to_tensor(seed), tf.int32)
        return per_replica(seed) if self.feedback.random == "replica" else seed

    def _check_signal(self) -> None:
        """Warn if the rule needs a signal and none is given."""
        if self.feedback.modulated and not self._told:
            self._told = True
            warnings.warn(
                f"The feedback rule {self.feedback!r} of layer '{self.name}' waits for a signal "
                "that nobody gives. Call `ta.modulate(model)` before training.",
                stacklevel=2,
            )

    def _count_step(self, training: bool | None) -> tf.Tensor | None:
        """Number of training steps so far, if a coefficient depends on it.

        Further calls of the layer in the same forward pass (shared, or unrolled over time) belong
        to the same step.
        """
        if not self.feedback.scheduled:
            return None
        [counter] = [w for w in self.feedback_store.weights if w.name == "step"]
        step = tf.identity(tf.convert_to_tensor(counter))
        if not trains(training):
            return step
        if any(connection.has_aligned() for connection in self._connections):
            return step - 1
        counter.assign(step + 1)
        return step

    def _bias(self) -> tf.Tensor | None:
        """Bias of the layer, broadcastable to the response, or None."""
        return None if self.bias is None else tf.convert_to_tensor(self.bias)

    def _bias_adder(self) -> Callable[[tf.Tensor], tf.Tensor]:
        """Function that adds the bias, which is read now, inside the autocast scope."""
        bias = self._bias()
        return lambda z: z if bias is None else keras.ops.add(z, bias)

    def _activate(self, z: tf.Tensor) -> tf.Tensor:
        return z if self.activation is None else self.activation(z)

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """Forward pass of the Keras layer, with the method's backward pass."""
        if self.feedback is None:
            return super().call(inputs)
        add_bias, step = self._bias_adder(), self._count_step(training)
        z = self._connections[0].run(self._tensor(inputs), add_bias, self._activate, training, step)
        return self._activate(add_bias(z))

    def _tensor(self, inputs: Any) -> tf.Tensor:
        """Input as a dense tensor, with integers, which autocast does not cast, as floats.

        A sparse tensor could not hold the error of its empty entries.
        """
        if isinstance(inputs, tf.SparseTensor):
            dense = tf.sparse.to_dense(inputs, validate_indices=False)
            inputs = tf.ensure_shape(dense, inputs.shape)
        x = tf.convert_to_tensor(inputs)
        return x if x.dtype.is_floating else tf.cast(x, self.compute_dtype)

    def rematerialized_call(self, layer_call: Any, *args: Any, **kwargs: Any) -> Any:
        """Call the layer under rematerialisation, unless its feedback learns by alignment.

        A recomputed forward pass loses the loss that it adds, so that B would not learn.
        """
        call = functools.partial(layer_call, **kwargs)  # recomputed in graphs by position alone
        again = super().rematerialized_call(call, *args)
        if again is call:
            return layer_call
        if any(connection.aligned for connection in self._connections):
            warnings.warn(
                f"Layer '{self.name}' is not rematerialised: its feedback weights learn from a "
                "loss of the forward pass, which would be lost.",
                stacklevel=2,
            )
            return layer_call
        return lambda *a, **_: again(*a)

    def quantize(self, mode: Any = None, type_check: bool = True, **options: Any) -> Any:
        """Quantize as in Keras; refused with a feedback method, which would be bypassed."""
        if self.feedback is not None:
            raise ValueError(
                f"Layer '{self.name}' cannot be quantized with a feedback method: the quantized "
                "call would bypass it. Call `tf_alignment.strip(model)` first. Received: "
                f"feedback={self.feedback!r}"
            )
        ours = type(self).__module__.startswith("tf_alignment.")  # no subclass of a user's own
        return super().quantize(mode, type_check=type_check and not ours, **options)

    def enable_lora(self, *args: Any, **kwargs: Any) -> Any:
        """Enable LoRA as in Keras; refused with a feedback method."""
        if self.feedback is not None:
            raise ValueError(
                f"LoRA is not supported on layer '{self.name}' with a feedback method. Call "
                "`tf_alignment.strip(model)` first, or exclude the layer from the conversion. "
                f"Received: feedback={self.feedback!r}"
            )
        return super().enable_lora(*args, **kwargs)

    def get_config(self) -> dict[str, Any]:
        """Config of the Keras layer plus the feedback arguments."""
        return {**super().get_config(), **feedback_config(self)}


def feedback_config(layer: Any) -> dict[str, Any]:
    """Feedback arguments of a layer, serialised."""
    initializer = layer.feedback_initializer
    return {
        "feedback": keras.saving.serialize_keras_object(layer.feedback),
        "feedback_initializer": None
        if initializer is None
        else keras.initializers.serialize(initializer),
        "feedback_regularizer": keras.regularizers.serialize(layer.feedback_regularizer),
        "feedback_constraint": keras.constraints.serialize(layer.feedback_constraint),
    }


def signature_with_feedback(parent: type) -> inspect.Signature:
    """Signature of a Keras layer plus the feedback arguments."""
    *own, rest = list(inspect.signature(vars(parent)["__init__"]).parameters.values())[1:]
    extra = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default)
        for name, default in FEEDBACK_ARGUMENTS.items()
    ]
    return inspect.Signature([*own, *extra, rest])


def set_feedback_arguments(
    layer: Any,
    feedback: Any = None,
    feedback_initializer: Any = "glorot_uniform",
    feedback_regularizer: Any = None,
    feedback_constraint: Any = None,
) -> None:
    """Check the feedback arguments and set them on a layer."""
    layer.feedback = check_feedback(feedback, layer)
    layer.feedback_initializer = named_initializer("feedback_initializer", feedback_initializer)
    for name, value, module in (
        ("feedback_regularizer", feedback_regularizer, keras.regularizers),
        ("feedback_constraint", feedback_constraint, keras.constraints),
    ):
        try:
            setattr(layer, name, module.get(value))
        except (TypeError, ValueError):
            kind = name.removeprefix("feedback_")
            raise ValueError(
                f"Argument `{name}` must be a Keras {kind}, its id or its config. "
                f"Received: {name}={value!r}"
            ) from None


def check_feedback(
    feedback: Any, layer: keras.layers.Layer, layer_class: type | None = None
) -> methods.Feedback | None:
    """Feedback method for the argument `feedback`, if a layer can have it.

    Args:
        feedback: Argument to check.
        layer: Layer that is to have the method.
        layer_class: Class that the layer is about to get, by default the class that it has.
    """
    method = methods.get(feedback)
    if method is None:
        return None
    if isinstance(method, methods.DirectFeedback):
        raise ValueError(
            "Argument `feedback` must be a method of one layer; 'dfa' belongs to a network: the "
            "output error has to reach every layer. Build the model with stock layers and call "
            f"`tf_alignment.convert(model, 'dfa')`. Received: feedback={feedback!r}"
        )
    if not method.through_time and not getattr(layer_class or type(layer), "over_time", False):
        raise ValueError(
            f"Argument `feedback` must not be '{method.id}' in layer '{layer.name}', which is not "
            "recurrent: the method belongs to recurrent layers and cells. To convert these alone, "
            f"name them in `include`. Received: feedback={feedback!r}"
        )
    if isinstance(layer.dtype_policy, keras.dtype_policies.QuantizedDTypePolicy):
        raise ValueError(
            f"Layer '{layer.name}' cannot have a feedback method under a quantized dtype policy: "
            f"the quantized call would bypass it. Received: dtype={layer.dtype_policy.name!r}, "
            f"feedback={feedback!r}"
        )
    if getattr(layer, "lora_rank", None):
        raise ValueError(
            f"Layer '{layer.name}' cannot have both LoRA and a feedback method. Exclude the layer "
            "from the conversion, or save the weights, into which Keras merges those of LoRA, and "
            "load them into a model without it. Received: "
            f"lora_rank={layer.lora_rank}, feedback={feedback!r}"
        )
    return method
