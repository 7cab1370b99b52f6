"""Common interface of both kinds of connections, which phases use to set feedback kernels."""

from __future__ import annotations

from typing import Any, Protocol

import keras

from tf_alignment.maps.base import LinearMap

__all__ = ["Receiver"]


class Receiver(Protocol):
    """Connection through whose feedback kernel an error is sent down.

    `tf_alignment.layers.connection.Connection` sends the layer's own error to the layer's input;
    `tf_alignment.layers.direct.DirectConnection` sends the error of the network's output to a
    hidden layer. A phase that only sets feedback kernels works with both.
    """

    @property
    def path(self) -> str:
        """Path of the connection; connections of nested models may have the same path."""

    @property
    def layer_name(self) -> str:
        """Name of the layer that receives the feedback."""

    @property
    def over_time(self) -> bool:
        """Whether it acts inside a recurrent layer's loop over time, which hides its input."""

    @property
    def layer(self) -> Any:
        """Layer that holds the feedback kernel."""

    @property
    def map(self) -> LinearMap:
        """Linear map whose transpose carries the error."""

    @property
    def kernel(self) -> Any:
        """Forward kernel, a Keras variable; None if the feedback comes from the output."""

    @property
    def weights(self) -> dict[str, keras.Variable]:
        """Stored feedback weights, `{name: variable}`, including `"feedback_kernel"`."""
