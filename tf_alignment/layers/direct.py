"""The two layers of direct feedback alignment; `tf_alignment.convert(model, "dfa")` places them."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import keras
import tensorflow as tf

from tf_alignment import feedback as methods
from tf_alignment import ops
from tf_alignment import probe as probing
from tf_alignment._support.memory import available_memory
from tf_alignment._support.seeds import named_initializer, reseeded
from tf_alignment.maps.dense import Matmul

__all__ = ["Cut", "DirectConnection", "OutputTap"]

_package = keras.saving.register_keras_serializable(package="tf_alignment")


@_package
class Cut(keras.layers.Layer):
    """Identity that no error passes in the backward pass.

    Input shape, output shape:
        Any shape.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(autocast=False, **kwargs)
        self.supports_masking = True

    def call(self, inputs: Any) -> Any:
        """Return `inputs` and stop their gradient."""
        look = probing.current()
        return inputs if look is not None and look.backprop else tf.stop_gradient(inputs)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Shape of the input."""
        return input_shape


@_package
class OutputTap(keras.layers.Layer):
    """Output layer that passes the logits on and sends `e_out B_lᵀ` to every hidden layer.

    The layer takes `[logits, h_1, ..., h_L]`. In the backward pass it receives the output error
    `e_out = ∂L/∂logits`, so it needs no registry and no custom training loop: the logits get
    `e_out`, each `h_l` gets `e_out B_lᵀ`, and `Cut` layers keep the error from going further down.

    Args:
        hidden: Names of the hidden layers that are tapped, in the order of the inputs.
        feedback_initializer: Initializer of every `B_l`, which has shape `(units, outputs)`. The
            units are all entries of the output of layer l for one example; without the axes of
            positions, if the logits have the same positions; or only the channels, with
            `over_space="shared"`.
        over_space: Form of the feedback to feature maps; see
            `tf_alignment.feedback.DirectFeedback`.

    Input shape:
        A list: logits `(batch, ..., outputs)` and hidden activities `(batch, ...)`. All axes must
        be static, except for the batch and positions that logits and activities share.

    Output shape:
        Shape of the logits, `(batch, ..., outputs)`.

    Raises:
        ValueError: If a shape is not static, or there is not enough memory for the feedback.

    Reference: Nøkland 2016, equation 6.
    """

    def __init__(
        self,
        hidden: list[str],
        feedback_initializer: Any = "glorot_uniform",
        over_space: str = "each",
        **kwargs: Any,
    ) -> None:
        super().__init__(autocast=False, **kwargs)
        if isinstance(hidden, str) or not isinstance(hidden, list | tuple):
            raise TypeError(
                f"Argument `hidden` must be a list of layer names. Received: hidden={hidden!r}"
            )
        self.hidden = list(hidden)
        self.feedback = methods.DirectFeedback(over_space)
        self.feedback_initializer = named_initializer("feedback_initializer", feedback_initializer)
        self.supports_masking = True

    def quantize(self, *args: Any, **kwargs: Any) -> None:
        """Refuse on behalf of the whole network.

        Raises:
            ValueError: Always.
        """
        raise ValueError(
            f"Model with output tap '{self.name}' cannot be quantized with a feedback method: call "
            "`tf_alignment.strip(model)` on a fresh model first; layers before the tap may have "
            f"been quantized by now. Received: feedback={self.feedback!r}"
        )

    def build(self, input_shape: Any) -> None:
        """Create one feedback kernel for each hidden layer."""
        if not isinstance(input_shape, list) or len(input_shape) != 1 + len(self.hidden):
            raise ValueError(
                f"`OutputTap` takes a list of logits and {len(self.hidden)} hidden activities. "
                f"Received: input_shape={input_shape}"
            )
        logits, *hidden = [tuple(shape[1:]) for shape in input_shape]
        joined = [self._joined(logits, shape) for shape in hidden]
        if any(d is None for pair in joined for shape in pair for d in shape):
            raise ValueError(
                "Direct feedback needs static shapes but for the batch and for positions that "
                "logits and layer share: a feedback kernel joins every output unit with every "
                f"hidden unit. Received: logits {logits}, hidden "
                f"layers {dict(zip(self.hidden, hidden, strict=True))}"
            )
        shapes = [
            (math.prod(d or 0 for d in units), math.prod(d or 0 for d in outputs))
            for units, outputs in joined
        ]
        _check_memory(dict(zip(self.hidden, shapes, strict=True)))
        base = getattr(self.feedback_initializer, "seed", None) or 0
        self._kernels = []
        for index, (name, shape) in enumerate(zip(self.hidden, shapes, strict=True)):
            kernel = self.add_weight(
                name=f"{name.replace('/', '_')}_feedback_kernel",
                shape=shape,
                # one instance would draw the same numbers for layers of the same shape
                initializer=reseeded(self.feedback_initializer, base, index),
                trainable=False,
            )
            self._kernels.append(kernel)
            setattr(self, f"kernel_{index}", kernel)  # `tf.train.Checkpoint` sees attributes alone

    def _joined(
        self, logits: tuple[int | None, ...], hidden: tuple[int | None, ...]
    ) -> tuple[tuple[int | None, ...], tuple[int | None, ...]]:
        """Axes of a hidden layer and of the logits that the feedback kernel connects."""
        positions = logits[:-1]
        if positions and hidden[: len(positions)] == positions and len(hidden) > len(positions):
            logits, hidden = logits[-1:], hidden[len(positions) :]
        if self.feedback.over_space == "shared":
            hidden = hidden[-1:]
        return hidden, logits

    @property
    def feedback_weights(self) -> dict[str, keras.Variable]:
        """Feedback weights, `{name of the hidden layer: B_l}`."""
        return dict(zip(self.hidden, self._kernels, strict=True))

    @property
    def direct_connections(self) -> list[DirectConnection]:
        """Connections, one for each hidden layer."""
        return [DirectConnection(self, index) for index in range(len(self.hidden))]

    def call(self, inputs: Any) -> Any:
        """Return the logits."""
        logits, *hidden = inputs
        look = probing.current()
        if look is not None and look.backprop:
            return logits
        kernels = [tf.convert_to_tensor(kernel) for kernel in self._kernels]
        shared = self.feedback.over_space == "shared"
        return ops.broadcast_error(logits, hidden, kernels, shared)

    def compute_mask(self, inputs: Any, previous_mask: Any) -> Any:
        """Mask of the logits."""
        return previous_mask[0] if isinstance(previous_mask, list) else previous_mask

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Shape of the logits."""
        return input_shape[0]

    def get_config(self) -> dict[str, Any]:
        """Arguments of the constructor."""
        initializer = keras.initializers.serialize(self.feedback_initializer)
        return {
            **super().get_config(),
            "hidden": self.hidden,
            "feedback_initializer": initializer,
            "over_space": self.feedback.over_space,
        }


def _check_memory(shapes: dict[str, tuple[int, int]]) -> None:
    """Raise an error if the feedback kernels are larger than the free memory."""
    sizes = {name: 4 * units * outputs for name, (units, outputs) in shapes.items()}
    free = available_memory()
    if free is None or sum(sizes.values()) <= free:
        return
    largest = sorted(sizes, key=lambda name: -sizes[name])[:5]
    each = ", ".join(f"'{name}' {shapes[name]}: {sizes[name] / 1e9:.2f} GB" for name in largest)
    raise ValueError(
        f"Direct feedback needs {sum(sizes.values()) / 1e9:.2f} GB for its feedback weights, and "
        f"{free / 1e9:.2f} GB of memory are left. Its kernels join every unit of a feature map "
        "with every output; `tf_alignment.feedback.DirectFeedback(over_space='shared')` has one "
        f"small kernel for all places of a map. Received: the largest of {len(sizes)} layers {each}"
    )


class _FromOutput(Matmul):
    """Linear map between a flattened block output and the network's output."""

    def pairs(self, x: tf.Tensor, z: tf.Tensor, kernel_shape: tuple[int, ...]) -> tf.Tensor:
        """Number of examples, or of their positions: each unit has its own coefficients."""
        return tf.cast(tf.size(x) // kernel_shape[0], tf.float32)

    def outer(self, x: tf.Tensor, dz: tf.Tensor, like: tf.Tensor) -> tf.Tensor:
        units, outputs = like.shape
        return super().outer(tf.reshape(x, (-1, units)), tf.reshape(dz, (-1, outputs)), like)


@dataclasses.dataclass
class DirectConnection:
    """Connection from the network's output to one hidden layer; it has no forward kernel.

    Attributes:
        layer: Output tap that holds the feedback weights.
        index: Index of the hidden layer in the tap.
    """

    layer: OutputTap
    index: int
    map = _FromOutput()
    kernel = None
    over_time = False

    @property
    def path(self) -> str:
        """Path of the tap, followed by the name of the hidden layer."""
        return f"{self.layer.path}/{self.layer_name}"

    @property
    def layer_name(self) -> str:
        """Name of the hidden layer."""
        return self.layer.hidden[self.index]

    @property
    def weights(self) -> dict[str, keras.Variable]:
        """Feedback weights, `{"feedback_kernel": B_l}` of shape (units, outputs)."""
        return {"feedback_kernel": self.layer.feedback_weights[self.layer_name]}
