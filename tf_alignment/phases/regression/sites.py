"""Sites: the tensors that noise is added to, and the errors that feedback turns into predictions.

A *site* is a tensor inside the model that noise is added to; the gradient of the loss for it is
the quantity that feedback has to predict. In the **FA form** a site is the input of a connection,
whose feedback kernel sends the connection's own error δ to it. In the **DFA form** a site is the
output of a tapped block, and the error is the error of the network's output.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

import keras
import tensorflow as tf

from tf_alignment.conversion.graph import Call, Ref, record, takes_training
from tf_alignment.layers.direct import OutputTap
from tf_alignment.layers.receiver import Receiver
from tf_alignment.probe import probe

__all__ = ["BlockOutputs", "ConnectionInputs", "Pass", "Perturb", "Sent", "Site", "Sites"]

Site = tuple[str, int]
"""Path of a connection, and the number of its call in the pass."""
Perturb = Callable[[Site, tf.Tensor], tf.Tensor]
"""`f(site, tensor)`: the tensor that the network computes with in place of the site's."""


class Pass(NamedTuple):
    """One forward pass.

    Attributes:
        y_pred: Output of the model.
        responses: `{site: {connection path: tensor}}`, the tensors whose gradients are the errors
            that feedback kernels send to the site.
        sites: `{site: tensor}`, the tensor of each site.
    """

    y_pred: Any
    responses: dict[Site, dict[str, tf.Tensor]]
    sites: dict[Site, tf.Tensor]


class Sent(NamedTuple):
    """The feedback sent to one site in the clean pass.

    Attributes:
        errors: `{connection path: δ}`.
        total: `Σ δ Bᵀ`, the predicted gradient, shaped like the site; float32.
    """

    errors: dict[str, tf.Tensor]
    total: tf.Tensor


class Sites(Protocol):
    """The sites of a model, in one of the two forms.

    Attributes:
        at_input: Paths of connections that were seen to receive the model's own input, and have no
            site.
    """

    at_input: set[str]

    @property
    def model(self) -> keras.Model:
        """The model."""

    @property
    def connections(self) -> Mapping[str, Receiver]:
        """`{path: connection}`, the connections that learn."""

    def groups(self) -> list[list[str]]:
        """Paths of the connections that send errors to the same site."""

    def run(
        self,
        x: Any,
        perturb: Perturb | None = None,
        tape: tf.GradientTape | None = None,
        backprop: bool = False,
    ) -> Pass:
        """Call the model in training mode.

        Args:
            x: Inputs of the model.
            perturb: A function that changes the sites.
            tape: A tape that is to watch sites and responses.
            backprop: Whether errors go through the transpose of the forward weights; then there
                are no responses.
        """

    def sent(self, tape: tf.GradientTape, loss: tf.Tensor, clean: Pass) -> dict[Site, Sent]:
        """The errors that the feedback sends to every site.

        Args:
            tape: The tape that watched the clean pass.
            loss: The loss of that pass, a scalar.
            clean: The clean pass.
        """


class ConnectionInputs:
    """FA form: noise on the input of every connection that learns, but for the model's own input.

    Below the model's input nobody receives an error, and its many units would only add noise.

    Args:
        model: A built model with feedback.
        connections: `{path: connection}`, the connections that learn.
    """

    def __init__(self, model: keras.Model, connections: Mapping[str, Receiver]) -> None:
        self.model = model
        self.connections = connections
        self.at_input: set[str] = set()
        self._paths = {connection: path for path, connection in connections.items()}

    def groups(self) -> list[list[str]]:
        """See `Sites`: each connection has a site of its own."""
        return [[path] for path in self.connections]

    def run(
        self,
        x: Any,
        perturb: Perturb | None = None,
        tape: tf.GradientTape | None = None,
        backprop: bool = False,
    ) -> Pass:
        """See `Sites`."""
        inputs = keras.tree.map_structure(tf.identity, x)
        own = keras.tree.flatten(inputs)

        def change(connection: Any, call: int, x: tf.Tensor) -> tf.Tensor:
            if connection not in self._paths:
                return x
            path = self._paths[connection]
            if _is_one_of(x, own):
                self.at_input.add(path)
            elif perturb is not None:
                return perturb((path, call), x)
            return tf.identity(x)  # with a gradient of its own

        with probe(backprop, change, tape) as seen:
            y_pred = self.model(inputs, training=True)
        sites: dict[Site, tf.Tensor] = {}
        responses: dict[Site, dict[str, tf.Tensor]] = {}
        for path, connection in self.connections.items():
            if path not in self.at_input:
                for i, arrived in enumerate(seen.inputs.get(connection, ())):
                    sites[path, i] = arrived
                    if not backprop:
                        responses[path, i] = {path: seen.responses[connection][i]}
        return Pass(y_pred, responses, sites)

    def sent(self, tape: tf.GradientTape, loss: tf.Tensor, clean: Pass) -> dict[Site, Sent]:
        """Differentiate the clean pass by the feedback network's own backward pass."""
        deltas, down = tape.gradient(
            loss, (clean.responses, clean.sites), unconnected_gradients="zero"
        )
        return {site: Sent(deltas[site], tf.cast(down[site], tf.float32)) for site in clean.sites}


class BlockOutputs:
    """DFA form: noise on the output of every tapped block.

    The model's graph is carried out call by call, since a block's output goes to other layers as
    well as to the tap.

    Args:
        model: A model converted with `"dfa"`.
        connections: `{path: connection}`, the connections that learn.
    """

    def __init__(self, model: keras.Model, connections: Mapping[str, Any]) -> None:
        self.model = model
        self.connections = connections
        self.at_input: set[str] = set()
        self.graph = record(model)
        self._tapped: dict[Ref, list[str]] = {}  # paths
        for call in self.graph.calls:
            for path, connection in connections.items():
                if connection.layer is call.layer:
                    ref = call.inputs[1 + connection.index]
                    self._tapped.setdefault(ref, []).append(path)

    def groups(self) -> list[list[str]]:
        """See `Sites`: several outputs send errors to the same block."""
        return list(self._tapped.values())

    def run(
        self,
        x: Any,
        perturb: Perturb | None = None,
        tape: tf.GradientTape | None = None,
        backprop: bool = False,
    ) -> Pass:
        """See `Sites`."""
        sites: dict[Site, tf.Tensor] = {}
        logits: dict[int, tf.Tensor] = {}

        def arrive(ref: Ref, value: Any) -> Any:
            if ref not in self._tapped:
                return value
            site = self._tapped[ref][0], 0
            sites[site] = value
            if tape is not None:
                tape.watch(value)
            return perturb(site, value) if perturb else value

        def run(index: int, call: Call, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            if takes_training(call.layer):
                kwargs = {"training": True, **kwargs}
            result = call.layer(*args, **kwargs)
            if isinstance(call.layer, OutputTap):
                if tape is not None:
                    tape.watch(result)
                logits[id(call.layer)] = result
            return keras.tree.map_structure(arrive, call.outputs, result)

        with probe(backprop):
            y_pred = self.graph.replay(x, run)
        responses = {
            (group[0], 0): {path: logits[id(self.connections[path].layer)] for path in group}
            for group in self._tapped.values()
        }
        return Pass(y_pred, responses, sites)

    def sent(self, tape: tf.GradientTape, loss: tf.Tensor, clean: Pass) -> dict[Site, Sent]:
        """Differentiate for the output errors, and send them to the sites."""
        deltas = tape.gradient(loss, clean.responses, unconnected_gradients="zero")
        found = {}
        for site, x in clean.sites.items():
            errors = {
                path: tf.reshape(
                    e, (-1, self.connections[path].weights["feedback_kernel"].shape[1])
                )
                for path, e in deltas[site].items()
            }
            parts = [
                tf.matmul(
                    tf.cast(e, tf.float32),
                    tf.convert_to_tensor(self.connections[path].weights["feedback_kernel"]),
                    transpose_b=True,
                )
                for path, e in errors.items()
            ]
            found[site] = Sent(errors, tf.reshape(tf.add_n(parts), tf.shape(x)))
        return found


def _is_one_of(x: tf.Tensor, tensors: list[tf.Tensor]) -> bool:
    """Whether `x` is one of the tensors, if need be cast or reshaped."""
    if not tf.is_symbolic_tensor(x):
        return any(x is tensor for tensor in tensors)
    names = {tensor.name for tensor in tensors if tf.is_symbolic_tensor(tensor)}
    while x.name not in names and x.op.type in ("Cast", "Identity", "Reshape"):
        x = x.op.inputs[0]
    return x.name in names
