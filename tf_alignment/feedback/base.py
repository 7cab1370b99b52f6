"""Base class of all feedback methods, and the descriptions of a connection that they receive."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Literal

import keras
import tensorflow as tf

from tf_alignment.maps.base import LinearMap

__all__ = ["Activity", "Backward", "Feedback", "Setup"]

Response = Callable[[tf.Tensor], tf.Tensor]


@dataclasses.dataclass(frozen=True)
class Setup:
    """Information with which a method creates the weights of one connection.

    Attributes:
        map: Bilinear map of the connection.
        kernel: Freshly initialised forward kernel, a Keras variable.
        draw: Function `draw(shape, dtype=None, of=None)` that draws float32 numbers from the
            layer's `feedback_initializer`. The seeds differ from the forward kernel's seed, and a
            weight that nevertheless equals the forward kernel is refused. `of` is the map that the
            weight belongs to; by default the map of the connection.
        add: Function `add(name, shape, initializer, trainable, aligned=False)` that creates a
            weight. `initializer` is a function of shape and dtype. With `aligned=True` the weight
            is updated by the feedback optimizer of `tf_alignment.optimizers.split`; the gradient of
            the weight comes from `align` if `learns == "alignment"`, and from `send` if
            `learns == "error"`. A trainable weight gets the layer's feedback regularizer and
            constraint.
        seed: Function `seed()` that returns an integer which belongs to this connection and can be
            reproduced from the kernel's seed.
        input_channels: Shape of a weight per input channel, broadcastable to the input.
        output_channels: Shape of a weight per unit, broadcastable to the response: `(1, 8)` in a
            dense layer of eight units, `(1, 1, 1, 8)` in a convolution of eight filters; a
            depthwise convolution has one entry per input channel and filter.

    Example:
    >>> import tf_alignment as ta
    >>> class Doubled(ta.feedback.FeedbackAlignment):
    ...     \"\"\"FA whose B is drawn twice as large.\"\"\"
    ...     def build(self, setup):
    ...         def draw(shape, dtype=None):
    ...             return 2.0 * setup.draw(shape, dtype)
    ...         setup.add("feedback_kernel", setup.kernel.shape, draw, trainable=False)
    >>> layer = ta.layers.Dense(8, feedback=Doubled())
    >>> layer.build((None, 4))
    >>> tuple(layer.feedback_weights["feedback_kernel"].shape)
    (4, 8)
    """

    map: LinearMap
    kernel: keras.Variable
    draw: Callable[..., tf.Tensor]
    add: Callable[..., keras.Variable]
    seed: Callable[[], int]
    input_channels: tuple[int, ...]
    output_channels: tuple[int, ...]

    @property
    def units(self) -> int:
        """Number of output channels."""
        return math.prod(self.output_channels)


@dataclasses.dataclass(frozen=True)
class Backward:
    """Backward pass of one connection, in the form in which a method receives it.

    Attributes:
        map: Bilinear map of the connection.
        x: Input of the connection, `(batch, ...)`, in the compute dtype.
        kernel: Forward kernel, in the compute dtype.
        weights: Weights of the method, `{name: tensor}`, cast to the compute dtype.
        seed: Two int32 numbers, new at every training step, if the method is `random`.
        z: Linear response `x · W`, before the bias; None if no error is sent, for instance in a
            call of `effective_feedback_kernel`.
        add_bias: Function that adds the layer's bias to a response; the identity if the layer has
            no bias.
        activation: Activation of the layer.
        modulator: Signal that all layers receive, a float32 scalar, if the method is `modulated`
            (see `tf_alignment.modulate`).

    Example:
    >>> import tensorflow as tf, tf_alignment as ta
    >>> class Mixed(ta.feedback.FeedbackAlignment):
    ...     \"\"\"Sends the error half through W, half through a random B.\"\"\"
    ...     def feedback_kernel(self, c):
    ...         return 0.5 * (c.kernel + c.weights["feedback_kernel"])
    >>> layer = ta.layers.Dense(8, feedback=Mixed())
    >>> layer.build((None, 4))
    >>> bool(ta.metrics.weight_angle(layer.kernel, layer.effective_feedback_kernel()) < 80)
    True
    """

    map: LinearMap
    x: tf.Tensor
    kernel: tf.Tensor
    weights: Mapping[str, tf.Tensor]
    seed: tf.Tensor | None = None
    z: tf.Tensor | None = None
    add_bias: Response = tf.identity
    activation: Response = tf.identity
    modulator: tf.Tensor | None = None

    @property
    def output(self) -> tf.Tensor:
        """The layer's output, `activation(z + bias)`; in a recurrent cell, of one connection."""
        return self.activation(self.add_bias(self.z))


@dataclasses.dataclass(frozen=True)
class Activity:
    """Forward pass of one connection, in the form in which an alignment rule receives it.

    Attributes:
        map: Bilinear map of the connection.
        x: Input of the connection, `(batch, ...)`.
        z: Linear response `x · W`, before the bias.
        kernel: Forward kernel, in the compute dtype.
        add_bias: Function that adds the layer's bias to a response; the identity if the layer has
            no bias.
        activation: Activation of the layer.
        seed: Two int32 numbers, new at every step and different on each replica, or None.
        step: Training step, an int32 scalar, or None if no coefficient needs it.
        modulator: Signal that all layers receive, a float32 scalar, if the method is `modulated`
            (see `tf_alignment.modulate`).
        stored: All weights of the method as they are stored, `{name: tensor}` in float32, including
            weights that do not learn by alignment.

    Example:
    >>> import tensorflow as tf, tf_alignment as ta
    >>> layer = ta.layers.Dense(3, feedback="sa")
    >>> activity = ta.testing.activity(layer, tf.ones((2, 4)))
    >>> activity.x.shape, activity.z.shape, activity.kernel.shape
    (TensorShape([2, 4]), TensorShape([2, 3]), TensorShape([4, 3]))
    """

    map: LinearMap
    x: tf.Tensor
    z: tf.Tensor
    kernel: tf.Tensor
    add_bias: Response
    activation: Response
    seed: tf.Tensor | None = None
    step: tf.Tensor | None = None
    modulator: tf.Tensor | None = None
    stored: Mapping[str, tf.Tensor] = dataclasses.field(default_factory=dict)

    @property
    def output(self) -> tf.Tensor:
        """The layer's output, `activation(z + bias)`; in a recurrent cell, of one connection."""
        return self.activation(self.add_bias(self.z))


class Feedback:
    """Feedback method: how the error passes a connection, and how the feedback weights learn.

    A method object is configuration without state: it holds the arguments of its constructor, which
    `get_config` returns. The layer owns the variables. Most methods override only `build` and
    `feedback_kernel`; a method that does something else with the error overrides `send`. Register
    the class (`keras.saving.register_keras_serializable`) if models with the method are to be
    saved, and test the method with `tf_alignment.testing.check_rule`.

    Attributes:
        id: String id of the method.
        learns: Signal from which the feedback weights learn: `None` if they are fixed, `"error"` if
            they learn from δ like the forward kernel (with the optimizer of the forward kernel),
            `"alignment"` if they learn from an alignment loss.
        random: `None`, or who shares the seed that is drawn at every training step: `"shared"`
            means one seed for all replicas of a strategy, `"replica"` a different seed on each.
        scheduled: Whether the method counts training steps.
        linear: Whether the weights learn correctly only under an optimizer that is linear in
            gradient and weights, such as SGD.
        weights_only: Whether the alignment loss depends on nothing but weights, so that all
            replicas of a strategy compute the same gradient.
        modulated: Whether the rule reads a signal that all layers receive: `modulator` of
            `Backward` and `Activity`, set by `tf_alignment.modulate`.
        through_time: Whether an error travels back in time along recurrent kernels. A method with
            `through_time=False` belongs to recurrent layers.

    Example:
    >>> import tensorflow as tf, tf_alignment as ta
    >>> class HalfSign(ta.feedback.Feedback):
    ...     \"\"\"Sends the error through sign(W) / 2.\"\"\"
    ...     def feedback_kernel(self, c):
    ...         return 0.5 * tf.sign(c.kernel)
    >>> layer = ta.layers.Dense(2, feedback=HalfSign())
    >>> layer(tf.ones((1, 3))).shape
    TensorShape([1, 2])
    """

    id: ClassVar[str] = "feedback"
    learns: ClassVar[Literal["alignment", "error"] | None] = None
    random: Literal["shared", "replica"] | None = None
    scheduled: bool = False
    linear: bool = False
    weights_only: bool = False
    modulated: bool = False
    through_time: bool = True

    @property
    def has_kernel(self) -> bool:
        """Whether the error passes one kernel of the forward kernel's shape, `feedback_kernel`."""
        return type(self).feedback_kernel is not Feedback.feedback_kernel

    @property
    def unwrapped(self) -> Feedback:
        """The method itself, or the method that it wraps, as `Imperfect` does."""
        return self

    def build(self, setup: Setup) -> None:
        """Create the weights of one connection with `setup.add`; by default there are none."""

    def couple(
        self, kernel: tf.Tensor, weights: Mapping[str, tf.Tensor], linear_map: LinearMap
    ) -> tf.Tensor:
        """Forward kernel with unchanged values, whose gradient may reach feedback weights too.

        Kolen-Pollack uses it to give B the gradient of the forward kernel.

        Args:
            kernel: Forward kernel, in the compute dtype.
            weights: Weights of the method as they are stored, by name.
            linear_map: Bilinear map of the connection.
        """
        return kernel

    def feedback_kernel(self, c: Backward) -> tf.Tensor:
        """Kernel that carries the error, with the forward kernel's shape and the compute dtype.

        Raises:
            ValueError: If the method has no such kernel.
        """
        raise ValueError(
            f"The feedback method '{self.id}' has no effective feedback kernel"
            f"{self.no_kernel_because()}."
        )

    def no_kernel_because(self) -> str:
        """End of the error message of a method that has no effective feedback kernel."""
        return ""

    def send(self, c: Backward, dz: tf.Tensor) -> tuple[tf.Tensor, Mapping[str, tf.Tensor]]:
        """Turn `δ` into the error for the layer below.

        Args:
            c: Backward pass of the connection.
            dz: Error `δ` at the pre-activation, `(batch, ...)`.

        Returns:
            Error `dx` for the layer below, shaped like `c.x`, and a dict of the gradients of the
            weights that learn from δ, by name.
        """
        return c.map.transpose(dz, self.feedback_kernel(c), c.x), {}

    def carrier(self, c: Backward) -> tf.Tensor | None:
        """Kernel through which `send` sends errors, if `send` does nothing else.

        Recurrent layers compute the kernel once per training step and use it at every time step. If
        it is None, which is the default for a rule with a `send` of its own, they call `send` at
        every time step.

        Args:
            c: Backward pass of the connection, whose `x` is empty.

        Returns:
            Tensor of the forward kernel's shape and type, or None.
        """
        return self.feedback_kernel(c) if type(self).send is Feedback.send else None

    def align(
        self, activity: Activity, weights: Mapping[str, tf.Tensor]
    ) -> Mapping[str, tf.Tensor]:
        """Gradient of the alignment loss for every weight in `weights`, if `learns == "alignment"`.

        Args:
            activity: Forward pass of the connection.
            weights: Weights created with `aligned=True`, in float32, by name.

        Returns:
            Dict `{name: gradient}` for every name in `weights`.
        """
        raise NotImplementedError(f"{type(self).__name__} does not define `align`.")

    def get_config(self) -> dict[str, Any]:
        """Arguments of the constructor, in serialisable form."""
        return {}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Feedback:
        """Method object from a config that `get_config` returned."""
        return cls(**config)

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self.get_config() == other.get_config()

    def __hash__(self) -> int:
        return hash((type(self).__name__, repr(self.get_config())))

    def __repr__(self) -> str:
        arguments = ", ".join(f"{k}={v!r}" for k, v in self.get_config().items())
        return f"{type(self).__name__}({arguments})"
