"""The common interface of both kinds of connections: a feedback kernel that someone may set."""

from __future__ import annotations

from typing import Any, Protocol

import keras

from tf_alignment.maps.base import LinearMap

__all__ = ["Receiver"]


class Receiver(Protocol):
    """A place where an error goes down through a feedback kernel.

    `tf_alignment.layers.connection.Connection` sends the layer's own error to the layer's input;
    `tf_alignment.layers.direct.DirectConnection` sends the error of the network's output to a
    hidden layer. A phase that only sets feedback kernels needs not know which.
    """

    @property
    def path(self) -> str:
        """A name; connections of nested models may have the same."""

    @property
    def layer_name(self) -> str:
        """The name of the layer that receives the feedback."""

    @property
    def over_time(self) -> bool:
        """Whether it acts inside a recurrent layer's loop, where no other layer sees its input."""

    @property
    def layer(self) -> Any:
        """The layer that holds the feedback kernel."""

    @property
    def map(self) -> LinearMap:
        """The linear map whose transpose carries the error."""

    @property
    def kernel(self) -> Any:
        """The forward kernel, a Keras variable; None where feedback comes from the output."""

    @property
    def weights(self) -> dict[str, keras.Variable]:
        """`{name: variable}`, the stored feedback weights, `"feedback_kernel"` among them."""
