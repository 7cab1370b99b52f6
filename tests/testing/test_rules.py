"""The checks themselves: correct rules pass, and each kind of mistake is caught in words."""

import random
import re
import types
from pathlib import Path

import cases
import keras
import numpy as np
import pytest
import tensorflow as tf

import tf_alignment as ta

ROOT = Path(__file__).parents[2]
FEW = ["dense", "conv2d", "separable1d"]
register = keras.saving.register_keras_serializable(package="tests.testing")


@register
class Lasso(ta.primitives.Primitive):
    """A primitive as it should be, with an argument."""

    def __init__(self, sharpness=1.0):
        self.sharpness = sharpness

    def value(self, local):
        return tf.reduce_sum(tf.abs(local.feedback)) * self.sharpness

    def gradient(self, local):
        return ta.primitives.Gradient(direct=tf.sign(local.feedback) * self.sharpness)

    def get_config(self):
        return {"sharpness": self.sharpness}


@register
class Noisy(ta.feedback.FeedbackAlignment):
    """A rule that draws, as it should be."""

    random = "replica"

    def send(self, c, dz):
        noise = tf.random.stateless_normal(tf.shape(dz), c.seed, dtype=tf.float32)
        return super().send(c, dz * (1 + 0.1 * tf.cast(noise, dz.dtype)))


def test_a_correct_rule_of_ones_own_passes_everything():
    report = ta.testing.check_rule(Lasso(0.5))
    assert not report.failed and str(report).startswith("<primitive lasso>: ")
    assert {check.name for check in report.checks} == set(ta.testing.CHECKS)
    assert not cases.skipped(report)
    left_out = {check.where for check in report.skipped if "does not run here" in check.why}
    assert {check.where for check in report.passed} == set(ta.testing.LAYERS) - left_out


def test_a_correct_rule_that_only_sends_passes_everything_where_it_can():
    report = ta.testing.check_rule(Noisy(), layers=[*FEW, "lstm"])
    assert {check.name for check in report.checks} == set(ta.testing.CHECKS)
    assert {check.why for check in cases.skipped(report)} == {"the rule has no loss of its own"}
    report = ta.testing.check_rule(Noisy(), checks=["forward"])
    apart = {check.where for check in report.skipped if "inputs of their own" in check.why}
    assert apart == {"gru-before", "convlstm1d", "convlstm2d", "convlstm3d"}
    left_out = {c.where for c in report.skipped if "does not run here" in c.why} | apart
    assert {check.where for check in report.passed} == set(ta.testing.LAYERS) - left_out


@register
class WrongSign(Lasso):
    def gradient(self, local):
        return ta.primitives.Gradient(direct=-tf.sign(local.feedback) * self.sharpness)


@register
class WrongFactor(ta.primitives.Amp):
    def gradient(self, local):
        return ta.primitives.Gradient(hebb=2.0)


@register
class NoMean(ta.primitives.Primitive):
    def value(self, local):
        return tf.square(local.feedback)

    def gradient(self, local):
        return ta.primitives.Gradient(direct=2 * local.feedback)


@register
class WrongLoss(ta.feedback.SymmetricAlignment):
    def align(self, activity, weights):
        return {name: 2 * g for name, g in super().align(activity, weights).items()}


@register
class ForDense(ta.feedback.FeedbackAlignment):
    def send(self, c, dz):
        return tf.matmul(dz, c.weights["feedback_kernel"], transpose_b=True), {}


@register
class WrongShape(ta.feedback.FeedbackAlignment):
    def send(self, c, dz):
        return super().send(c, dz)[0][:, :1], {}


@register
class Transport(ta.feedback.Feedback):
    def feedback_kernel(self, c):
        return tf.identity(c.kernel)


@register
class Copies(ta.feedback.FeedbackAlignment):
    def build(self, setup):
        def same(shape, dtype=None):
            return tf.convert_to_tensor(setup.kernel)

        setup.add("feedback_kernel", setup.kernel.shape, same, trainable=False)

    def feedback_kernel(self, c):
        return -super().feedback_kernel(c)


@register
class Counts(ta.feedback.FeedbackAlignment):
    def __init__(self):
        self.calls = 0

    def feedback_kernel(self, c):
        self.calls += 1
        return c.weights["feedback_kernel"] * (1.0 + self.calls % 2)


EVENTS = []


@register
class Outside(ta.feedback.FeedbackAlignment):
    def feedback_kernel(self, c):
        EVENTS.append(1)
        return c.weights["feedback_kernel"] * float(len(EVENTS))


@register
class BranchesInPython(ta.feedback.FeedbackAlignment):
    def send(self, c, dz):
        return super().send(c, dz / np.abs(dz.numpy()).max())


@register
class HoldsVariable(ta.feedback.FeedbackAlignment):
    def __init__(self):
        self.scale = tf.Variable(1.0)


@register
class ChangesForward(ta.feedback.FeedbackAlignment):
    def couple(self, kernel, weights, linear_map):
        return 1.001 * kernel


@register
class StopsKernel(ta.feedback.FeedbackAlignment):
    def couple(self, kernel, weights, linear_map):
        return tf.stop_gradient(kernel)


@register
class Forgets(ta.feedback.FeedbackAlignment):
    def __init__(self, gain=1.0):
        self.gain = gain


@register
class Rounds(ta.feedback.FeedbackAlignment):
    def __init__(self, gain=1.0):
        self.gain = gain

    def get_config(self):
        return {"gain": round(self.gain)}


@register
class NotSerialisable(ta.feedback.FeedbackAlignment):
    def __init__(self, gain=1.0):
        self.gain = gain

    def get_config(self):
        return {"gain": object()}


class Unregistered(ta.feedback.FeedbackAlignment):
    pass


@register
class CastsKernel(ta.feedback.FeedbackAlignment):
    def feedback_kernel(self, c):
        return 0.5 * tf.cast(c.weights["feedback_kernel"], tf.float32)


@register
class SendsFloat32(ta.feedback.FeedbackAlignment):
    def send(self, c, dz):
        dx, found = super().send(c, dz)
        return tf.cast(dx, tf.float32), found


@register
class SameNoiseEverywhere(ta.feedback.FeedbackAlignment):
    random = "replica"

    def send(self, c, dz):
        noise = tf.random.stateless_normal(tf.shape(dz), [1, 3], dtype=dz.dtype)
        return super().send(c, dz + noise)


@register
class SaysShared(Noisy):
    random = "shared"


@register
class DrawsByItself(ta.feedback.FeedbackAlignment):
    def send(self, c, dz):
        return super().send(c, dz + tf.random.normal(tf.shape(dz), dtype=dz.dtype))


@register
class SendsElsewhere(ta.feedback.FeedbackAlignment):
    def send(self, c, dz):
        return -super().send(c, dz)[0], {}


@register
class LearnsNothing(ta.feedback.Feedback):
    def build(self, setup):
        setup.add("feedback_kernel", setup.kernel.shape, setup.draw, trainable=True)

    def feedback_kernel(self, c):
        return c.weights["feedback_kernel"]


@register
class Divides(ta.feedback.FeedbackAlignment):
    def feedback_kernel(self, c):
        return c.weights["feedback_kernel"] / tf.zeros((), c.kernel.dtype)


BROKEN = [
    # rule, check, layer on which it is caught, words of the message
    (WrongSign(), "closed_form", "dense", r"`WrongSign.value` by auto.*-1 times that.*a sign"),
    (WrongFactor(), "closed_form", "conv2d", r"`WrongFactor.value`.*2 times that.*a factor"),
    (NoMean(), "closed_form", "dense", r"float32 scalar.*shape \(6, 5\).*local\.mean"),
    (WrongLoss(), "closed_form", "dense", r"`WrongLoss.loss`.*2 times that"),
    (ForDense(), "gradients", "conv2d", r"no exception.*received: \w+.*map\.transpose"),
    (WrongShape(), "gradients", "dense", r"the shape \(4, 6\).*the shape \(4, 1\)"),
    (LearnsNothing(), "gradients", "dense", r"a gradient for `feedback_kernel`.*None.*`align`"),
    (Divides(), "gradients", "dense", r"finite numbers for the error.*NaN or infinity"),
    (StopsKernel(), "gradients", "dense", r"Keras' own gradient for `kernel`.*copy_gradient"),
    (Transport(), "transport", "dense", r"differs from backprop.*kernel is the forward kernel"),
    (Copies(), "transport", "conv2d", r"`feedback_kernel` equal to the forward kernel"),
    (SendsElsewhere(), "effective_kernel", "dense", r"an angle of 180°.*`send` was overridden"),
    (Counts(), "state", "dense", r"no attribute.*`calls`: \d+ became \d+.*traced"),
    (Outside(), "state", "dense", r"same gradients from the same state.*Python state outside"),
    (DrawsByItself(), "state", "dense", r"same gradients.*not drawn from the seed"),
    (HoldsVariable(), "state", "dense", r"no variables.*\['scale'\].*`setup.add`"),
    (SameNoiseEverywhere(), "state", "dense", r"new numbers at every training step.*c\.seed"),
    (Outside(), "graph", "dense", r"what eager mode gives.*Python"),
    (BranchesInPython(), "graph", "dense", r"no exception.*AttributeError.*runs once.*traced"),
    (BranchesInPython(), "xla", "conv2d", r"no exception.*XLA"),
    (ChangesForward(), "forward", "dense", r"bit for bit.*received: .*1.*`couple`"),
    (Forgets(2.0), "config", "dense", r"\['gain'\].*without \['gain'\].*`get_config`"),
    (Rounds(1.5), "config", "dense", r"same attributes.*`gain`: 1\.5 became 2"),
    (NotSerialisable(), "config", "dense", r"serialisable"),
    (Unregistered(), "save", "dense", r"`Unregistered`.*register_keras_serializable"),
    (CastsKernel(), "mixed_float16", "dense", r"no exception.*c\.kernel\.dtype"),
    (CastsKernel(), "mixed_bfloat16", "conv2d", r"no exception.*c\.kernel\.dtype"),
    (SendsFloat32(), "mixed_float16", "dense", r"the dtype float16.*received: float32"),
    (SameNoiseEverywhere(), "replicas", "dense", r"its own.*'replica'.*the same on both"),
]


@pytest.mark.parametrize(
    ("rule", "check", "layer", "words"),
    BROKEN,
    ids=[f"{type(rule).__name__}-{check}" for rule, check, *_ in BROKEN],
)
def test_a_broken_rule_is_caught_in_words(rule, check, layer, words):
    EVENTS.clear()
    with pytest.raises(ta.testing.CheckFailed) as raised:
        ta.testing.check_rule(rule, checks=[check], layers=[layer])
    said = " ".join(str(raised.value).split())
    assert re.search(words, said), said
    for part in (
        f"{check} failed on {layer}",
        "checked: ",
        "expected: ",
        "received: ",
        "usually: ",
    ):
        assert part in said
    [failed] = raised.value.report.failed
    assert (failed.name, failed.where) == (check, layer)


def test_one_error_says_all_that_failed_and_the_same_mistake_once():
    with pytest.raises(AssertionError) as raised:
        ta.testing.check_rule(
            ForDense(), checks=["forward", "gradients", "transport", "save"], layers=FEW
        )
    report = raised.value.report
    assert [c.where for c in report.passed if c.name == "forward"] == FEW
    assert [(c.name, c.where) for c in report.failed] == [
        ("gradients", "conv2d"),
        ("gradients", "separable1d"),
    ]
    said = str(report)
    assert said.count("gradients failed on") == 1
    assert "likewise: separable1d" in said
    # what needs the pass that raised is not reported as a second mistake
    assert {c.why for c in cases.skipped(report)} == {"it needs what failed in 'gradients'"}
    assert {c.name for c in cases.skipped(report)} == {"transport"}


def test_checks_and_layers_are_chosen_by_name():
    report = ta.testing.check_rule("fa", checks=["save", "forward"], layers=["conv3d", "einsum"])
    # saving runs on dense layers by itself, so here on the first
    found = [(check.name, check.where) for check in report.checks]
    assert found == [("save", "conv3d"), ("forward", "conv3d"), ("forward", "einsum")]


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda t: t.check_rule("fa", checks=["speed"]), ValueError, r"`checks`.*\['speed'\]"),
        (lambda t: t.check_rule("fa", layers=["gpt"]), ValueError, r"`layers`.*\['gpt'\]"),
        (lambda t: t.check_rule("fa", layers=[]), ValueError, r"`layers`.*Received: layers=\[\]"),
        (lambda t: t.check_rule("dfa"), ValueError, r"belongs to a network"),
        (lambda t: t.check_rule(None), TypeError, r"`rule`.*Received: rule=None"),
        (lambda t: t.check_rule(3), TypeError, r"Received: feedback=3"),
        (lambda t: t.check_layer(3), TypeError, r"`layer`.*Received: layer=3"),
    ],
)
def test_wrong_arguments_name_themselves(call, error, words):
    with pytest.raises(error, match=words):
        call(ta.testing)


def test_global_state_is_as_it_was():
    keras.config.set_dtype_policy("mixed_bfloat16")
    random.seed(5), np.random.seed(5)  # noqa: NPY002
    expected = random.random(), np.random.rand()  # noqa: NPY002
    name = keras.layers.Dense(1).name
    random.seed(5), np.random.seed(5)  # noqa: NPY002
    ta.testing.check_rule("wm", layers=["dense"])
    with pytest.raises(ta.testing.CheckFailed):
        ta.testing.check_rule(Divides(), layers=["dense"])
    assert (random.random(), np.random.rand()) == expected  # noqa: NPY002
    assert keras.config.dtype_policy().name == "mixed_bfloat16"
    number = int(name.rpartition("_")[2]) if "_" in name else 0
    assert keras.layers.Dense(1).name == f"dense_{number + 1}"


def test_a_seed_repeats_the_checks():
    def said(seed):
        with pytest.raises(ta.testing.CheckFailed) as raised:
            ta.testing.check_rule(
                ChangesForward(), checks=["forward"], layers=["einsum-ellipsis"], seed=seed
            )
        return str(raised.value)

    assert said(1) == said(1) != said(2)


def test_replicas_are_skipped_with_the_remedy_where_there_is_one_device(monkeypatch):
    one = types.SimpleNamespace(name="CPU:0")
    monkeypatch.setattr(tf.config, "list_logical_devices", lambda kind: [one] * (kind == "CPU"))
    mirrored = ta.testing.running_checks._mirrored
    monkeypatch.setattr(ta.testing.running_checks, "_mirrored", mirrored.__wrapped__)
    [check] = ta.testing.check_rule("fa", checks=["replicas"], layers=["dense"]).checks
    assert check.status == "skipped"
    assert "set_logical_device_configuration" in check.why


@pytest.mark.parametrize("rule", [SaysShared(), "brsf", "kp"])
def test_a_strategy_of_ones_own_is_used(rule, two_replicas):
    def check(**arguments):
        return ta.testing.check_rule(rule, checks=["replicas"], layers=["dense"], **arguments)

    assert check(strategy=two_replicas).passed
    [alone] = check(strategy=tf.distribute.OneDeviceStrategy("CPU:0")).checks
    assert (alone.status, alone.why) == ("skipped", "the strategy has one replica")


@pytest.mark.parametrize("rule", ["eprop", ta.feedback.Imperfect("eprop", mismatch=0.1)])
def test_a_rule_of_recurrent_layers_is_checked_on_these(rule):
    report = ta.testing.check_rule(rule, checks=["forward", "gradients", "effective_kernel"])
    over_time = {n for n, c in ta.testing.LAYERS.items() if hasattr(c.layer_class, "over_time")}
    assert {check.where for check in report.passed} == over_time > {"lstm", "convlstm1d"}


def blocks_that_check(page):
    """The code blocks of a page of the documentation in which a rule is checked."""
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / page).read_text("utf-8"), flags=re.DOTALL)
    return [code for code in blocks if "check_rule(" in code]


@pytest.mark.parametrize("block", range(7))
def test_the_rules_of_the_documentation_pass_the_checks(block):
    blocks = blocks_that_check("docs/own_rules.md")
    assert len(blocks) == 7
    code = "import functools, keras, tensorflow as tf, tf_alignment as ta\n" + blocks[block]
    code, count = re.subn(r"(check_rule\(\w+\(\))\)", r"\1, layers=['dense', 'conv2d'])", code)
    assert count == 1
    exec(code, {})
