"""What `check_rule` says of a mistake: once, and with the cause that fits."""

import keras
import pytest
import tensorflow as tf

import tf_alignment as ta

register = keras.saving.register_keras_serializable(package="tests.hints")


@register
class MixesTypes(ta.primitives.Primitive):
    def value(self, local):
        return 0.5 * local.mean(tf.reduce_sum(tf.square(local.projection)))

    def gradient(self, local):
        return ta.primitives.Gradient(to_projection=local.map.apply(local.x, local.feedback))


@register
class Transposes(ta.feedback.FeedbackAlignment):
    def feedback_kernel(self, c):
        return tf.transpose(c.weights["feedback_kernel"])


@register
class Sums(ta.feedback.FeedbackAlignment):
    learns = "alignment"

    def build(self, setup):
        setup.add("feedback_kernel", setup.kernel.shape, setup.draw, True, aligned=True)

    def loss(self, activity, weights):
        return 0.5 * tf.reduce_sum(tf.square(weights["feedback_kernel"]))

    def align(self, activity, weights):
        return {"feedback_kernel": tf.reduce_sum(weights["feedback_kernel"], 0, keepdims=True)}


def failures(rule, strategy):
    with pytest.raises(ta.testing.CheckFailed) as raised:
        ta.testing.check_rule(rule, layers=["dense"], strategy=strategy)
    return raised.value.report.failed


def test_a_primitive_in_half_precision_is_told_what_is_in_which_type(two_replicas):
    found = failures(MixesTypes(), two_replicas)
    assert [check.name for check in found] == ["mixed_float16", "mixed_bfloat16"]
    for check in found:
        assert "cast the kernels to `local.x.dtype`" in check.cause


@pytest.mark.parametrize(("rule", "shape"), [(Transposes(), "(5, 6)"), (Sums(), "(1, 5)")])
def test_a_wrong_shape_is_one_mistake(rule, shape, two_replicas):
    [check] = failures(rule, two_replicas)
    assert check.name == "gradients"
    assert "shape (6, 5)" in check.expected and shape in check.received


def test_a_primitive_without_a_name_is_told_so_once(two_replicas):
    class Nameless(ta.primitives.Primitive):
        def value(self, local):
            return 0.5 * tf.reduce_sum(tf.square(local.feedback))

        def gradient(self, local):
            return ta.primitives.Gradient(direct=local.feedback)

    [check] = failures(Nameless(), two_replicas)
    assert "register_keras_serializable" in check.cause


def test_a_wrong_shape_is_one_mistake_in_recurrent_layers_too():
    names = ["dense", "lstm", "gru-before", "convlstm1d"]
    with pytest.raises(ta.testing.CheckFailed) as raised:
        ta.testing.check_rule(Transposes(), layers=names, checks=["forward", "gradients"])
    failed = raised.value.report.failed
    assert {(check.name, check.cause[:20]) for check in failed} == {
        ("gradients", "a transpose too many")
    }
    assert [check.where for check in failed] == names
