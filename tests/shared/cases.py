"""The tables that the common tests run over: every layer in telling configurations, every method.

A new layer is a new row of `ta.testing.LAYERS`; a new method is in `METHODS`.
"""

import inspect

import keras
import pytest

from tf_alignment import feedback as methods
from tf_alignment.testing import LAYERS

# Older versions of Keras have no gate in attention.
GATED = "use_gate" in inspect.signature(keras.layers.MultiHeadAttention).parameters
GATE = {"use_gate": True} if GATED else {}

WITH_WEIGHTS_IN_LAYER = [m for m in methods.METHODS if m != "dfa"]
HAS_KERNEL = [m for m in WITH_WEIGHTS_IN_LAYER if methods.get(m).has_kernel]
RANDOM = [m for m in methods.METHODS if methods.get(m).random]
RECURRENT = [
    name for name, case in LAYERS.items() if "LSTM" in case.kind or case.kind[-2:] in ("NN", "RU")
]
AT_ONCE = [name for name in LAYERS if name not in RECURRENT]
SINGLE = [name for name in AT_ONCE if "separable" not in name]
COSTLY = ("dense", "conv2d", "conv2d-strided", "separable2d")  # `check_rule` checks more of these


def a_third(turn):
    """Layers to check a rule on that differs little from one that is checked on all of them.

    These are the layers of the costlier checks and, by turns, a third of the others, but for the
    one with groups: Keras compiles each of its calls by XLA.
    """
    others = [name for name in LAYERS if name not in (*COSTLY, "conv2d-grouped")]
    return [*COSTLY, *others[turn % 3 :: 3]]


def mostly_slow(values, *fast):
    """Values as parameters of a test that takes long: all but a few among the slow tests."""
    return [v if v in fast else pytest.param(v, marks=pytest.mark.slow) for v in values]


def inputs(name, seed=0):
    """Standard normal input for a layer of the table."""
    return LAYERS[name].inputs(seed)


def stock(row, **extra):
    """The Keras layer of a row."""
    return LAYERS[row].stock(**extra)


def ours(row, feedback, **extra):
    """The layer with feedback of a row."""
    return LAYERS[row].layer(feedback, **extra)


def pair(name, feedback, **extra):
    """A built Keras layer and a built layer with feedback with the same forward weights."""
    x = inputs(name)
    a, b = stock(name), ours(name, feedback, **extra)
    a(x), b(x)
    for source, target in zip(a.weights, b.weights, strict=False):
        target.assign(source)
    return a, b, x


def set_feedback_to_forward(layer):
    """Make B equal to W by hand, in every connection."""
    for connection in layer.connections:
        connection.weights["feedback_kernel"].assign(connection.kernel)


def skipped(report):
    """Checks that were skipped, but for layers that this processor, or this rule, cannot have."""
    known = "does not run here", "gates get inputs of their own"
    return [c for c in report.skipped if not any(why in c.why for why in known)]
