"""Base of all recurrent cells with feedback."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
import tensorflow as tf

from tf_alignment import probe as probing
from tf_alignment._support.whereabouts import check_whereabouts
from tf_alignment.feedback import Activity, Backward
from tf_alignment.layers.base import Connection, FeedbackLayer
from tf_alignment.layers.recurrent.steps import (
    EveryStep,
    NoCarrier,
    Pass,
    Plain,
    Steps,
    carrier,
    in_loop,
)
from tf_alignment.maps.base import LinearMap

__all__ = ["RecurrentCell", "masked"]

Gates = tuple[Sequence[Steps | Plain], Sequence[Steps | Plain]]


class RecurrentCell(FeedbackLayer):
    """Mixin of cells with an input and a recurrent connection, read once per loop over time.

    `keras.layers.RNN` asks a cell for its dropout mask before the loop over time, and resets the
    mask afterwards. Between these two calls the cell keeps the weights that it has read. A cell
    that is called outside such a layer reads its weights at every call.

    A rule that learns by alignment is applied once per pass, at the first time step. For the input
    kernel it uses the input of this step, for the recurrent kernel the output of this step. In the
    layers of this library, `RNN` included, it is the first time step of each example that no mask
    hides; `keras.layers.RNN` does not tell cells of masks, and it is the first of the batch.
    """

    over_time = True
    _seeds = "feedback_seed_generator"  # the parent's own draws dropout masks

    def _maps(self) -> tuple[LinearMap, LinearMap]:
        return EveryStep(), EveryStep()

    def _connect(self) -> list[Connection]:
        feed, recur = self._maps()
        found = [self._connection(feed, name="input", kernel=self.kernel)]
        if self.feedback.through_time:
            found.append(self._connection(recur, "recurrent", "recurrent", self.recurrent_kernel))
        return found

    def _input_shapes(self, input_shape: tuple[int | None, ...]) -> list[tuple[int | None, ...]]:
        return [input_shape, (input_shape[0], self.units)][: len(self._connect())]

    def _sizes(self) -> tuple[list[int], list[int]]:
        """Output channels of the parts of both kernels that have separate inputs."""
        raise NotImplementedError(f"{type(self).__name__} does not define `_sizes`.")

    def _biases(self) -> tuple[tf.Tensor | None, tf.Tensor | None]:
        """Biases of the responses to the input and to the state, for rules that use them."""
        return (None if self.bias is None else tf.convert_to_tensor(self.bias)), None

    def _gate_activation(self, z: tf.Tensor) -> tf.Tensor:
        """Activations of all gates."""
        raise NotImplementedError(f"{type(self).__name__} does not define `_gate_activation`.")

    def _advance(
        self, gates: Gates, inputs: tf.Tensor, states: Any, training: bool | None
    ) -> tuple[tf.Tensor, Any]:
        """Compute one time step, in the order of operations of the Keras cell."""
        raise NotImplementedError(f"{type(self).__name__} does not define `_advance`.")

    def _build_feedback(self, input_shape: tuple[int | None, ...]) -> None:
        super()._build_feedback(input_shape)
        self._pass = Pass()
        for connection, sizes in zip(self._connections, self._sizes(), strict=False):
            if len(sizes) > 1:
                self._refuse_send(connection)

    def _refuse_send(self, connection: Connection) -> None:
        """Raise an error if the method does more than send the error through a kernel."""
        method, kernel = self.feedback, tf.convert_to_tensor(connection.kernel)
        weights = {name: tf.cast(w, kernel.dtype) for name, w in connection.stored().items()}
        seed = tf.constant([0, 0]) if method.random else None
        c = Backward(connection.map, tf.zeros((0,), kernel.dtype), kernel, weights, seed)
        if carrier(method, c) is not None:
            return
        does = "waits for a signal" if method.modulated else "has a `send` of its own"
        raise NoCarrier(
            "Argument `feedback` must be a method that sends errors through a kernel alone "
            f"where gates get inputs of their own, as in '{self.name}'; {type(method).__name__} "
            f"{does}. Dense cells are without such gates for `implementation=2`, no "
            "`recurrent_dropout` and, in a GRU, `reset_after=True`. Received: "
            f"feedback={method!r}"
        )

    def get_dropout_mask(self, step_input: Any) -> Any:
        """Dropout mask of the Keras cell; Keras calls this before a loop over time begins."""
        if self._connections:
            if tf.is_tensor(step_input):  # inside the loop forward mode is out of sight
                check_whereabouts(self.name, step_input, training=False, aligns=False)
            self._pass.open()
        return super().get_dropout_mask(step_input)

    def reset_dropout_mask(self) -> None:
        """Reset the dropout mask; Keras calls this after a loop over time has ended."""
        super().reset_dropout_mask()
        if self._connections:
            self._pass.close()

    def _input_mask(self, inputs: tf.Tensor) -> Any:
        return super().get_dropout_mask(inputs)

    def call(  # type: ignore[override]
        self, inputs: Any, states: Any, training: bool | None = False
    ) -> Any:
        """Time step of the Keras cell, with the method's backward pass."""
        if self.feedback is None:
            return super(FeedbackLayer, self).call(inputs, states, training=training)
        x = self._tensor(inputs)
        held = self._pass.held()
        if held is not None:
            return self._advance(held, x, states, training)
        if self.feedback.learns == "alignment" and not self._pass.is_open() and in_loop():
            raise ValueError(
                f"Cell '{self.name}' must not be called in a TensorFlow loop of one's own: what "
                "its feedback weights learn from would be lost. Wrap it in `keras.layers.RNN`. "
                f"Received: feedback={self.feedback!r}"
            )
        aligns = any(connection.aligned for connection in self._connections)
        check_whereabouts(self.name, x, training, aligns)
        step = self._count_step(training)
        # the bias is read now: in the backward pass the autocast scope has been left
        adders = [_adder(bias) for bias in self._biases()]
        both = [
            Steps.begin(connection, training, add_bias, self._gate_activation)
            for connection, add_bias in zip(self._connections, adders, strict=False)
        ]
        steps: list[Steps | Plain] = [*both]
        if not self.feedback.through_time:
            look, kernel = probing.current(), tf.convert_to_tensor(self.recurrent_kernel)
            true = look is not None and look.backprop
            steps.append(Plain(self._maps()[1], kernel, cut=not true))
        feed, recur = (s.parts(sizes) for s, sizes in zip(steps, self._sizes(), strict=True))
        gates = feed, recur
        self._pass.keep(gates)
        output, after = self._advance(gates, x, states, training)
        received, first = (x, output), self._pass.first()
        if first is not None:  # a masked step leaves the state as it was
            shown, above = self._tensor(first[0]), first[1]
            received = shown, self._advance(gates, shown, states, training)[0]
            if above:
                above[0].learn_from(received[1], above[1:])
        self._learn(both, received, step, training)
        return output, after

    def learn_from(self, inputs: Any, above: Sequence[RecurrentCell] = ()) -> None:
        """Let rules learn, in the pass that begins, from other inputs than those of its first step.

        Args:
            inputs: Inputs of one time step, or None for those of the first step.
            above: Cells that receive the output of this cell, from the lowest up.
        """
        self._pass.begin_with(inputs, above)

    @property
    def learns_from_inputs(self) -> bool:
        """Whether the feedback weights learn from what the cell receives."""
        method = self.feedback
        return method is not None and method.learns == "alignment" and not method.weights_only

    def _learn(
        self,
        both: list[Steps],
        received: tuple[tf.Tensor, tf.Tensor],
        step: tf.Tensor | None,
        training: bool | None,
    ) -> None:
        """Apply rules that learn by alignment to the first time step."""
        for steps, x in zip(both, received, strict=False):
            if steps.backprop:
                continue
            c, x = steps.connection, tf.stop_gradient(x)
            activity = Activity(
                c.map,
                x,
                c.map.apply(x, steps.kernel),
                steps.kernel,
                steps.add_bias,
                steps.activation,
                steps.seed,
                step,
                self.read_modulator(),
                steps.stored,
            )
            c.learn(activity, steps.stored, training)

    def effective_feedback_kernel(self) -> Any:
        """Kernels that carry the error at present, `{"input": tensor, "recurrent": tensor}`.

        Raises:
            ValueError: If the cell is not built, has no feedback method, or its method has no
                effective kernel (brSF).
        """
        return super().effective_feedback_kernel()


def _adder(bias: tf.Tensor | None) -> Callable[[tf.Tensor], tf.Tensor]:
    return tf.identity if bias is None else lambda z: keras.ops.add(z, bias)


def masked(
    x: tf.Tensor, mask: Any, rate: float, training: bool | None, count: int
) -> Iterator[tf.Tensor]:
    """Input of each of `count` gates, with the gate's dropout mask in training."""
    dropped = training and 0.0 < rate < 1.0
    return (x * mask[i] if dropped else x for i in range(count))
