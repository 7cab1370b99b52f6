"""`check_layer` itself: a correct layer class passes, and each kind of mistake is caught."""

import inspect
import re

import keras
import pytest
import tensorflow as tf

import tf_alignment as ta

register = keras.saving.register_keras_serializable(package="tests.testing")


class _OwnDense(ta.layers.base.FeedbackLayer, keras.layers.Dense):
    def _connect(self):
        return [self._connection(ta.maps.Matmul())]


@register
class GoodDense(_OwnDense):
    """A layer class as it should be."""


@register
class OtherMap(_OwnDense):
    def _connect(self):
        class Half(ta.maps.Matmul):
            def apply(self, x, kernel):
                return 0.5 * super().apply(x, kernel)

        return [self._connection(Half())]


@register
class WrongDown(_OwnDense):
    def _connect(self):
        class Negative(ta.maps.Matmul):
            def transpose(self, dz, kernel, like):
                return -super().transpose(dz, kernel, like)

        return [self._connection(Negative())]


@register
class NoFeedback(_OwnDense):
    def call(self, inputs, training=None):
        return keras.layers.Dense.call(self, inputs)


@register
class OwnForward(_OwnDense):
    def call(self, inputs, training=None):
        return super().call(inputs, training=training) * 1.5


@register
class LosesConfig(_OwnDense):
    def __init__(self, units, activation=None, **arguments):
        super().__init__(units, **arguments)
        self.activation = keras.activations.get(activation)

    def get_config(self):
        return super().get_config() | {"activation": None}


@register
class OwnSignature(_OwnDense):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)


OwnSignature.__signature__ = ta.layers.Conv2D.__signature__


@register
class Surprise(_OwnDense):
    def __init__(self, surprise, units=3, **kwargs):
        super().__init__(units, **kwargs)


@register
class SameNumbers(_OwnDense):
    def build(self, input_shape):
        super().build(input_shape)
        if self.feedback is not None and "feedback_kernel" in self.feedback_weights:
            self.feedback_weights["feedback_kernel"].assign(self.kernel)


class UnregisteredDense(_OwnDense):
    pass


@register
class CastsInCall(_OwnDense):
    def call(self, inputs, training=None):
        return tf.cast(super().call(inputs, training=training), tf.float32)


@pytest.mark.parametrize("given", [GoodDense, GoodDense(5, activation="tanh", name="mine")])
def test_a_correct_layer_class_passes(given):
    arguments = {"units": 5} if given is GoodDense else None
    report = ta.testing.check_layer(given, arguments=arguments)
    assert not report.failed
    [skipped] = report.skipped  # it needs a class of the same name
    assert skipped.name == "weight_files"
    assert "not called Dense" in skipped.why
    assert len(report.passed) == len(ta.testing.LAYER_CHECKS) - 1


@pytest.mark.parametrize(
    ("layer", "check", "words"),
    [
        (OtherMap, "forward", r"output of the Keras layer, bit for bit.*`_connect`"),
        (WrongDown, "backprop", r"with 'fa' for the error.*-1 times that.*`_connect`"),
        (NoFeedback, "gradients", r"a gradient for `feedback_kernel_aligned`.*None"),
        (OwnForward, "stock", r"the output what Keras gives, bit for bit.*1\.5 times"),
        (LosesConfig, "stock", r"parent's config.*\['activation'\]"),
        (OwnSignature, "signature", r"parent's arguments \['units'.*received: \['filters'"),
        (Surprise, "signature", r"parent's arguments \['units'.*received: \['surprise', 'units'"),
        (SameNumbers, "numbers", r"numbers of their own.*cosine of 1\.000"),
        (UnregisteredDense, "save", r"`UnregisteredDense`.*register_keras_serializable"),
        (CastsInCall, "mixed_float16", r"an output in float16.*received: float32"),
    ],
)
def test_a_broken_layer_class_is_caught_in_words(layer, check, words):
    arguments = {"units": 5, "activation": "tanh"}
    with pytest.raises(ta.testing.CheckFailed) as raised:
        ta.testing.check_layer(layer, arguments=arguments, checks=[check])
    said = " ".join(str(raised.value).split())
    assert re.search(words, said), said
    assert f"{check} failed on {layer.__name__}" in said


def test_a_constructor_that_passes_everything_on_keeps_the_parents_signature():
    class Passes(ta.layers.Dense):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)

    assert inspect.signature(Passes) == inspect.signature(ta.layers.Dense)
    assert ta.testing.check_layer(Passes, arguments={"units": 3}, checks=["signature"])

    class Inherits(Surprise):
        pass

    assert list(inspect.signature(Inherits).parameters) == ["surprise", "units", "kwargs"]


def test_where_the_keras_layer_does_not_run_there_is_nothing_to_compare(monkeypatch):
    def call(self, inputs, training=None):
        raise tf.errors.UnimplementedError(None, None, "not on this processor")

    monkeypatch.setattr(keras.layers.Dense, "call", call)
    layer = ta.testing.check_layer(GoodDense, arguments={"units": 3}, input_shape=(2, 4))
    rule = ta.testing.check_rule("fa", layers=["dense"])
    for report in (layer, rule):  # neither raised
        why = {check.name: check.why for check in report.skipped}
        for name in {"stock", "forward", "gradients", "save"} & set(why) | {"forward"}:
            assert "does not run here" in why[name]
