"""The base of all feedback methods, and what a method is told about its connection."""

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
    """The information with which a method creates the weights of one connection.

    Attributes:
        map: The connection's bilinear map.
        kernel: The forward kernel as it was initialised, a Keras variable.
        draw: `draw(shape, dtype=None, of=None)`, the layer's `feedback_initializer`: float32
            numbers of its own: seeds differ from the forward kernel's, and a weight that equals it
            all the same is refused. `of` is the map that the weight belongs to, if not the
            connection's.
        add: `add(name, shape, initializer, trainable, aligned=False)` creates a weight; the
            initializer is a function of shape and dtype. `aligned` gives the weight the feedback
            optimizer of `tf_alignment.optimizers.split`; its gradient comes from `align` if
            `learns == "alignment"`, from `send` if `learns == "error"`. A trainable weight gets the
            layer's feedback regularizer and constraint.
        seed: `seed()` gives an integer of the connection's own, reproducible from the kernel's.
        input_channels: Shape of a weight per input channel, broadcastable to the input.
        output_channels: Shape of a weight per unit, broadcastable to the response: `(1, 8)` in a
            dense layer of eight units, `(1, 1, 1, 8)` in a convolution of eight filters, and in a
            depthwise one a weight per input channel and filter.

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
        """The number of output channels."""
        return math.prod(self.output_channels)


@dataclasses.dataclass(frozen=True)
class Backward:
    """The backward pass of one connection, as a method sees it.

    Attributes:
        map: The connection's bilinear map.
        x: Input of the connection, `(batch, ...)`, in the compute dtype.
        kernel: Forward kernel, in the compute dtype.
        weights: `{name: tensor}`, the method's own weights, cast to the compute dtype.
        seed: Two int32 numbers, new at every training step, if the method is `random`.
        z: Linear response `x · W`, before the bias; None where no error is sent, as when the
            effective feedback kernel is asked for.
        add_bias: Adds the layer's bias to a response (the identity if it has none).
        activation: The layer's activation.
        modulator: The signal that all layers receive, a float32 scalar, if the method is
            `modulated` (see `tf_alignment.modulate`).

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
        """The layer's output, `activation(z + bias)`."""
        return self.activation(self.add_bias(self.z))


@dataclasses.dataclass(frozen=True)
class Activity:
    """One forward pass of a connection, as an alignment rule sees it.

    Attributes:
        map: The connection's bilinear map.
        x: Input, `(batch, ...)`.
        z: Linear response `x · W`, before the bias.
        kernel: Forward kernel, in the compute dtype.
        add_bias: Adds the layer's bias to a response (the identity if it has none).
        activation: The layer's activation.
        seed: Two int32 numbers, new at every step and different on each replica, or None.
        step: Training step, an int32 scalar, or None if no coefficient needs it.
        modulator: As of `Backward`.
        stored: `{name: tensor}`, all weights of the method as they are stored, in float32: those
            too that do not learn by alignment.

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
        """The layer's output, `activation(z + bias)`."""
        return self.activation(self.add_bias(self.z))


class Feedback:
    """How the error gets past a connection, and how the feedback weights learn.

    A method is stateless configuration: its constructor's arguments, returned by `get_config`. The
    layer owns the variables. Most methods override `build` and `feedback_kernel` and nothing else;
    one that does something else with the error overrides `send`. Register the class
    (`keras.saving.register_keras_serializable`) if models with it are to be saved, and let
    `tf_alignment.testing.check_rule` look for mistakes.

    Attributes:
        id: The method's string id.
        learns: `None` if the weights are fixed, `"error"` if they learn from δ like the forward
            kernel (and belong to its optimizer), `"alignment"` if they learn from a loss of their
            own.
        random: `None`, or whether the seed drawn at every training step is `"shared"` by all
            replicas of a strategy or each `"replica"` has its own.
        scheduled: Whether the method counts training steps.
        linear: Whether the weights learn rightly only under an optimizer that is linear in gradient
            and weights, as SGD is.
        weights_only: Whether weights that learn by alignment see nothing but weights, so that all
            replicas of a strategy compute the same gradient.
        modulated: Whether the rule reads a signal that all layers receive: `modulator` of
            `Backward` and `Activity`, given by `tf_alignment.modulate`.
        through_time: Whether an error travels back in time along recurrent kernels. Methods of
            which it does not belong to recurrent layers.

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
        """Whether one kernel of the forward kernel's shape carries the error: `feedback_kernel`."""
        return type(self).feedback_kernel is not Feedback.feedback_kernel

    def build(self, setup: Setup) -> None:
        """Create the weights of one connection through `setup.add`. Default: none."""

    def couple(
        self, kernel: tf.Tensor, weights: Mapping[str, tf.Tensor], linear_map: LinearMap
    ) -> tf.Tensor:
        """The forward kernel as the forward pass uses it: the same numbers (see Kolen-Pollack).

        Args:
            kernel: The forward kernel, in the compute dtype.
            weights: The method's weights as they are stored, by name.
            linear_map: The connection's bilinear map.
        """
        return kernel

    def feedback_kernel(self, c: Backward) -> tf.Tensor:
        """The kernel that carries the error, in the forward kernel's shape and the compute dtype.

        Raises:
            ValueError: If the method has no such kernel.
        """
        raise ValueError(
            f"The feedback method '{self.id}' has no effective feedback kernel"
            f"{self.no_kernel_because()}."
        )

    def no_kernel_because(self) -> str:
        """The end of the error message of a method without an effective feedback kernel."""
        return ""

    def send(self, c: Backward, dz: tf.Tensor) -> tuple[tf.Tensor, Mapping[str, tf.Tensor]]:
        """Turn `δ` into the error for the layer below.

        Args:
            c: The connection.
            dz: `δ`, the error at the pre-activation, `(batch, ...)`.

        Returns:
            `dx`, shaped like `c.x`, and the gradients of weights that learn from δ, by name.
        """
        return c.map.transpose(dz, self.feedback_kernel(c), c.x), {}

    def carrier(self, c: Backward) -> tf.Tensor | None:
        """The kernel through which `send` sends errors, if that is all that it does.

        Recurrent layers make it once per training step and use it at every time step. Where it is
        None, as by default for a rule with a `send` of its own, they call `send` every time.

        Args:
            c: The connection; its `x` is empty.

        Returns:
            A tensor of the forward kernel's shape and type, or None.
        """
        return self.feedback_kernel(c) if type(self).send is Feedback.send else None

    def align(
        self, activity: Activity, weights: Mapping[str, tf.Tensor]
    ) -> Mapping[str, tf.Tensor]:
        """Gradient of the alignment loss for every weight in `weights`, if `learns == "alignment"`.

        Args:
            activity: The forward pass.
            weights: The weights created with `aligned=True`, in float32, by name.

        Returns:
            `{name: gradient}` for every name in `weights`.
        """
        raise NotImplementedError(f"{type(self).__name__} does not define `align`.")

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments, serialisable."""
        return {}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Feedback:
        """The method that `get_config` described."""
        return cls(**config)

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self.get_config() == other.get_config()

    def __hash__(self) -> int:
        return hash((type(self).__name__, repr(self.get_config())))

    def __repr__(self) -> str:
        arguments = ", ".join(f"{k}={v!r}" for k, v in self.get_config().items())
        return f"{type(self).__name__}({arguments})"
