"""`SimpleRNN`, `LSTM` and `GRU` with feedback, each with a cell of this library."""

from __future__ import annotations

import itertools
from typing import Any, ClassVar

import keras
import tensorflow as tf

from tf_alignment import probe as probing
from tf_alignment.layers.base import (
    FEEDBACK_ARGUMENTS,
    Connection,
    feedback_config,
    set_feedback_arguments,
    signature_with_feedback,
)
from tf_alignment.layers.recurrent.base import RecurrentCell
from tf_alignment.layers.recurrent.cells import GRUCell, LSTMCell, SimpleRNNCell

__all__ = ["GRU", "LSTM", "RNN", "Recurrent", "SimpleRNN", "document", "fed"]

_package = keras.saving.register_keras_serializable(package="tf_alignment")


def _of_cell(name: str, doc: str) -> Any:
    """Property that reads an attribute of the cell."""

    def get(self: Any) -> Any:
        return getattr(self.cell, name)  # no default: Keras does not set what is there already

    def put(self: Any, value: Any) -> None:
        setattr(self.cell, name, value)

    return property(get, put, doc=doc)


class Recurrent(keras.layers.Layer):
    """Mixin that gives a recurrent layer of Keras the feedback arguments.

    While the Keras class is constructed, its cell is exchanged for a cell of this library, which
    takes the feedback arguments. The attributes of the layer are read from the cell.

    Example:
    >>> import tf_alignment as ta
    >>> layer = ta.layers.LSTM(8, feedback="fa")
    >>> isinstance(layer, ta.layers.recurrent.Recurrent), type(layer.cell).__module__[:12]
    (True, 'tf_alignment')
    """

    cell_class: ClassVar[type]
    over_time = True

    feedback = _of_cell("feedback", "Feedback method, or None.")
    feedback_initializer = _of_cell("feedback_initializer", "Initializer of feedback weights.")
    feedback_regularizer = _of_cell("feedback_regularizer", "Regularizer of feedback weights.")
    feedback_constraint = _of_cell("feedback_constraint", "Constraint of feedback weights.")

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        parent = next(base for base in cls.__mro__[1:] if base.__module__.startswith("keras"))
        cls.__signature__ = signature_with_feedback(parent)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        given = {name: kwargs.pop(name) for name in FEEDBACK_ARGUMENTS if name in kwargs}
        super().__init__(*args, **kwargs)
        set_feedback_arguments(self.cell, **given)
        if self.feedback is None:
            return
        if getattr(self, "use_cudnn", None) is True:
            raise ValueError(
                "Argument `use_cudnn` must not be True with a feedback method: cuDNN has a "
                f"backward pass of its own. Received: use_cudnn=True, feedback={self.feedback!r}"
            )
        self.supports_jit = True  # Keras' class is without XLA where it may use cuDNN

    def __setattr__(self, name: str, value: Any) -> None:
        # The parent's constructor makes a stock cell. It is exchanged as it is assigned: later, the
        # stock one would stay tracked.
        if name == "cell" and type(value) is self.cell_class.__bases__[1]:
            value = with_feedback_arguments(value, self.cell_class)
        super().__setattr__(name, value)

    @property
    def connections(self) -> tuple[Connection, ...]:
        """Connections of the cell, input and recurrent; empty with `feedback=None`."""
        return getattr(self.cell, "connections", ())

    @property
    def feedback_weights(self) -> dict[str, keras.Variable]:
        """Weights that the method stores in the cell, `{name: variable}`; may be empty."""
        return getattr(self.cell, "feedback_weights", {})

    def effective_feedback_kernel(self) -> Any:
        """Kernels that carry the error at present, `{"input": tensor, "recurrent": tensor}`.

        Raises:
            ValueError: If the layer is not built, has no feedback method, or its method has no
                effective kernel (brSF).
        """
        return self.cell.effective_feedback_kernel()

    def call(
        self,
        sequences: Any,
        initial_state: Any = None,
        mask: Any = None,
        training: bool | None = False,
    ) -> Any:
        """Forward pass of the Keras layer, with the method's backward pass in the cell."""
        look = probing.current()
        if look is not None and self.connections and look.perturb is None:
            # the input of all time steps; inside the loop no gradient could be asked for
            sequences = look.record(self.connections[0], sequences)
        return super().call(sequences, initial_state=initial_state, mask=mask, training=training)

    def inner_loop(
        self, sequences: Any, initial_state: Any, mask: Any, training: bool | None = False
    ) -> Any:
        """Loop over time as in Keras; with a feedback method, without cuDNN."""
        if self.feedback is None:
            return super().inner_loop(sequences, initial_state, mask, training=training)
        _tell(self, sequences, mask)
        loop = keras.layers.RNN.inner_loop
        return loop(self, sequences, initial_state, mask, training=training)

    def get_config(self) -> dict[str, Any]:
        """Config of the Keras layer plus the feedback arguments."""
        return {**super().get_config(), **feedback_config(self)}


def _tell(layer: Any, sequences: Any, mask: Any) -> None:
    """Let the cells of a layer learn from the first time step that no mask hides."""
    mask = mask[0] if isinstance(mask, list | tuple) else mask
    cells = fed(layer.cell)
    if not any(cell.learns_from_inputs for cell in cells):
        return
    first = None if mask is None else _first_seen(sequences, mask, layer.go_backwards)
    cells[0].learn_from(first, cells[1:])


def fed(cell: Any) -> list[RecurrentCell]:
    """Cells with a method, from the lowest up, as far as there is none without between them.

    Args:
        cell: Cell of a recurrent layer, or cells stacked.
    """
    cells = getattr(cell, "cells", [cell])
    has = lambda c: isinstance(c, RecurrentCell) and c.feedback is not None  # noqa: E731
    return list(itertools.takewhile(has, cells))


def _first_seen(sequences: Any, mask: Any, go_backwards: bool) -> tf.Tensor:
    """The first time step of each example that the mask does not hide, in the loop's order."""
    seen = tf.cast(mask, tf.int32)
    last = tf.shape(seen)[1] - 1
    at = last - tf.argmax(seen[:, ::-1], 1, tf.int32) if go_backwards else tf.argmax(seen, 1)
    return tf.gather(sequences, at, axis=1, batch_dims=1)


def with_feedback_arguments(stock: Any, cell_class: Any) -> Any:
    """Cell of this library with the initializers, seeds and numbers of a fresh stock cell."""
    config = stock.get_config()
    for what in ("kernel_initializer", "recurrent_initializer", "bias_initializer"):
        config[what] = getattr(stock, what)  # the object: its seed is already drawn
    config["dtype"] = stock.dtype_policy
    for what in ("implementation", "rank"):  # which the config lacks
        if hasattr(stock, what):
            config[what] = getattr(stock, what)
    drawn = keras.ops.convert_to_numpy(stock.seed_generator.state)  # of dropout: not drawn again
    cell = cell_class(**config | {"seed": int(drawn[0])})
    cell.seed = stock.seed
    return cell


_DOC = """

With `feedback=None` the layer behaves like `keras.layers.{name}`, including its fast kernels. All
weights, forward and feedback, belong to the cell, `layer.cell`.

Args:
    {first}, ...: Arguments of `keras.layers.{name}`.
    feedback, feedback_initializer, feedback_regularizer, feedback_constraint: See
        `tf_alignment.layers.Dense`; each of the two kernels has its own feedback weights.

Input shape, output shape:
    The same as in `keras.layers.{name}`.

Raises:
    ValueError: See `tf_alignment.layers.Dense`, and `tf_alignment.layers.{cell}`.

Example:

>>> import tensorflow as tf, tf_alignment as ta
>>> layer = ta.layers.{name}({arguments}, feedback="fa")
>>> layer(tf.ones({shape})).shape
TensorShape({output})
>>> sorted(layer.feedback_weights)
['input_feedback_kernel', 'recurrent_feedback_kernel']
"""


def document(cls: type) -> type:
    """Write the docstring of a recurrent layer; the text is common, names and shapes differ."""
    name = cls.__name__
    rank = int(name[-2]) if name.startswith("Conv") else 0
    cls.__doc__ = f"{cls.__doc__}" + _DOC.format(
        name=name,
        cell="LSTMCell" if rank else f"{name}Cell",
        first="filters, kernel_size" if rank else "units",
        arguments="4, 3" if rank else "4",
        shape=(1, 3, *(5,) * rank, 2),
        output=[1, *(3,) * rank, 4],
    )
    return cls


@_package
@document
class SimpleRNN(Recurrent, keras.layers.SimpleRNN):
    """`keras.layers.SimpleRNN` whose errors travel through feedback weights, down and in time."""

    cell_class = SimpleRNNCell


@_package
@document
class LSTM(Recurrent, keras.layers.LSTM):
    """`keras.layers.LSTM` whose errors travel through feedback weights, down and in time."""

    cell_class = LSTMCell


@_package
@document
class GRU(Recurrent, keras.layers.GRU):
    """`keras.layers.GRU` whose errors travel through feedback weights, down and in time."""

    cell_class = GRUCell


@_package
class RNN(keras.layers.RNN):
    """`keras.layers.RNN` that tells its cells which time steps a mask hides.

    Rules that learn by alignment from what a cell receives are applied once per forward pass. Here
    they use the first time step of each example that the mask does not hide; cells in
    `keras.layers.RNN` use the first time step of the batch, which in sequences padded in front is
    padding. The outputs are those of `keras.layers.RNN`. `tf_alignment.convert` exchanges Keras'
    layer for this one where its cells need it.

    Args:
        cell, ...: Arguments of `keras.layers.RNN`; a cell with feedback or without, or a list of
            cells.

    Input shape, output shape:
        The same as in `keras.layers.RNN`.

    Raises:
        ValueError: See `keras.layers.RNN`.

    Example:
    >>> import tensorflow as tf, tf_alignment as ta
    >>> layer = ta.layers.RNN(ta.layers.GRUCell(4, feedback="aa"))
    >>> mask = tf.constant([[False, True, True], [True, True, True]])
    >>> layer(tf.ones((2, 3, 5)), mask=mask).shape
    TensorShape([2, 4])
    """

    def call(
        self,
        sequences: Any,
        initial_state: Any = None,
        mask: Any = None,
        training: bool | None = False,
    ) -> Any:
        """Forward pass of the Keras layer."""
        _tell(self, sequences, mask)  # of stacked cells Keras calls all but the last before a loop
        return super().call(sequences, initial_state=initial_state, mask=mask, training=training)
