"""Detection of calls of a layer in contexts that would silently lose its backward pass.

TensorFlow has no public way to find this out. Each function here uses an internal one, and returns
False if a version of TensorFlow no longer has it; `tests/_support` detects this.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from types import FrameType
from typing import Any

import tensorflow as tf

__all__ = [
    "check_whereabouts",
    "in_forward_mode",
    "in_recomputation",
    "in_vectorized_map",
    "outermost_layer",
    "records",
    "trains",
]

_MAPPED = (os.path.join("parallel_for", "control_flow_ops.py"), ("_pfor_impl",))
_RECOMPUTED = (
    os.path.join("ops", "custom_gradient.py"),
    ("inner", "inner_recompute_grad"),
)
_LAYER_CALLED = (os.path.join("keras", "src", "layers", "layer.py"), ("__call__",))


def check_whereabouts(name: str, x: tf.Tensor, training: bool | None, aligns: bool) -> None:
    """Refuse to call a layer in a context that would lose an error.

    Args:
        name: Name of the layer.
        x: Input of the layer.
        training: Training mode of the call. In a call that is no step of training, see `trains`,
            only forward mode is refused.
        aligns: Whether the layer has feedback weights that learn by alignment.

    Raises:
        ValueError: In such a context; the message says what to do instead.
    """
    if in_forward_mode(x):
        raise ValueError(
            f"Layer '{name}' has feedback weights, and forward-mode differentiation would go "
            "through them: take `tf_alignment.strip(model)` for derivatives of the model's "
            "function. Received: a call inside `tf.autodiff.ForwardAccumulator`"
        )
    if trains(training) and in_vectorized_map():
        raise ValueError(
            f"Layer '{name}' cannot be trained inside `vectorized_map`, which drops its backward "
            "pass: no error would reach the layers below. Fold the mapped axis into the batch "
            "(`tf_alignment.layers.TimeDistributed` does), or use `tf.map_fn`. Received: a call "
            "inside `vectorized_map`, as of `keras.layers.TimeDistributed` with an unknown number "
            "of steps"
        )
    if aligns and (training is not False or trains(training)) and in_recomputation():
        raise ValueError(
            f"Layer '{name}' learns by a loss of its forward pass, which `tf.recompute_grad` "
            "loses: its feedback weights would stand still. Leave the layer out of the recomputed "
            "function, or take a method without alignment. Received: a call inside "
            "`tf.recompute_grad` (`keras.remat`, `keras.RematScope`)"
        )


def in_vectorized_map() -> bool:
    """Whether a function is being traced for `vectorized_map`, which drops custom gradients."""
    return _called_by(*_MAPPED)


def in_recomputation() -> bool:
    """Whether the call comes from `tf.recompute_grad`."""
    return _called_by(*_RECOMPUTED)


def in_forward_mode(x: tf.Tensor) -> bool:
    """Whether a `tf.autodiff.ForwardAccumulator` follows the tensor."""
    try:
        from tensorflow.python import pywrap_tfe

        return bool(pywrap_tfe.TFE_Py_PackJVPs([x])[1])
    except (ImportError, AttributeError):
        return False


def records() -> bool:
    """Whether a gradient tape may be recording."""
    try:
        from tensorflow.python.eager import record

        return bool(record.could_possibly_record())
    except (ImportError, AttributeError):
        return False


def trains(training: bool | None) -> bool:
    """Whether a layer is called in a step of training.

    A model may call layers with `training=False` while it is trained itself, to hold the statistics
    of batch normalisation, and Keras passes that on to all layers called later. What counts under a
    gradient tape is therefore what the outermost layer was told.

    Args:
        training: Training mode of the layer's own call.
    """
    if training or not records():
        return bool(training)
    return training is None or _told_outermost() is not False


def _told_outermost() -> bool | None:
    """Argument `training` of the outermost call of a layer; None if it was left out.

    False outside of all calls, and if Keras no longer has what is read here.
    """
    given: dict[str, Any] = {"training": False}
    # not Keras' own record of the outermost call, which a call that is traced on the way resets
    for frame in _calls(*_LAYER_CALLED):
        found = getattr(frame.f_locals.get("call_spec"), "user_arguments_dict", None)
        given = given if found is None else found
    return given.get("training")


def outermost_layer() -> Any:
    """The layer or model that is being called, and in which all others are called; or None."""
    try:
        from keras.src.backend.common import global_state

        context = global_state.get_global_attribute("current_call_ctx")
    except (ImportError, AttributeError):
        return None
    return getattr(context, "entry_layer", None)


def _called_by(file: str, functions: tuple[str, ...]) -> bool:
    return any(True for _ in _calls(file, functions))


def _calls(file: str, functions: tuple[str, ...]) -> Iterator[FrameType]:
    """The present calls of some functions of a file, from the innermost to the outermost."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if frame.f_code.co_name in functions and frame.f_code.co_filename.endswith(file):
            yield frame
        frame = frame.f_back
