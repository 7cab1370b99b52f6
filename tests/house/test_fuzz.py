"""Nonsense is refused where it is given: every public constructor and factory, every argument.

`ROWS` has valid arguments of each; one argument at a time is replaced by values that are wrong for
its kind, which its annotation tells, or for itself (`BAD`). Each must raise a ValueError or
TypeError that names the argument. What is legitimately accepted is in `FINE`, with the reason.
"""

import functools
import inspect
import math
import types

import keras
import numpy as np
import pytest
import tensorflow as tf

import tf_alignment as ta
from tf_alignment.layers.base import FEEDBACK_ARGUMENTS

NAN, INF = math.nan, math.inf
THING = object()
NUMBER = [True, "1", NAN, INF, -INF, 1e308, 10**400, 1j, [1.0], np.ones(2), {}, THING]
COUNT = [*NUMBER, 1.5, 0, -1, 2.0]
TEXT = ["", "nonsense", 0, 1.5, True, b"fa", ["fa"], {}, THING]
NAMES = ["hidden", 3, True, [3], [None], {"a": 1}, THING]
KINDS = {  # by annotation; "| None" adds None to what is right
    "float": NUMBER,
    "int": COUNT,
    "bool": [0, 1, "yes", "", NAN, [], [True], THING],
    "str": TEXT,
    "Sequence[str]": NAMES,
    "Coefficient": NUMBER,
    "float | LearningRateSchedule": [*NUMBER, keras.optimizers.SGD],
    "str | os.PathLike[str]": ["", 3, True, NAN, [], {}, b"", THING],
    "tuple[int, int, int]": [
        *(3, "abc", (), (8, 8), (8, 8, 0), (8, -8, 1), (8, 8.5, 1), (8, 8, True), (8, 8, "1")),
        *((8, 8, None), (NAN, 8, 1), np.ones(3), np.array(3), (8, 8, 1, 1), {}, THING),
    ],
    "Sequence[int]": [
        *(5, "ab", (), (0, 2), (-1, 2), (2, 1.5), (True, 2), ("2", 2), (None, 2)),
        *((NAN, 2), {"a": 1}, np.array(3), THING),
    ],
    "keras.Model": [None, 3, "model", True, keras.layers.Dense(2), keras.Model, [], THING],
}
OPTIMIZER = [3, "nonsense", True, NAN, [], {}, keras.optimizers.SGD, THING]
FEEDBACK = [3, "nonsense", True, NAN, [], {}, {"class_name": "nonsense"}, dict, THING]
ARRAY = [None, "text", ["text"], {}, THING, [[1.0], [1.0, 2.0]]]
TENSORS = "tensors, made and checked by what calls it"
OWN = "for code of one's own: a record that the library fills"


@functools.cache
def model(compiled=True):
    built = keras.Sequential(
        [keras.Input((4,)), keras.layers.Dense(3), ta.layers.Dense(2, feedback="fa")]
    )
    if compiled:
        built.compile("sgd", "mse")
    return built


LOSS = keras.losses.MeanSquaredError(reduction=None)
X, Y = np.ones((8, 4), "float32"), np.ones((8, 2), "float32")
SCHEDULE = keras.optimizers.schedules.ExponentialDecay(1.0, 9, 0.9)
PICTURES = tf.data.Dataset.from_tensor_slices((np.zeros((4, 8, 8, 3), np.uint8), np.arange(4)))
NEURON, SAMPLER = ta.spiking.lif.Neuron(), ta.spiking.sampling.Neuron(5)
GRADED = {"dataset": [3, "data", True, X, [X, Y], (X,), (None, Y), (X, None), THING]}
GRADED |= {"loss": [None, 3, "mse", True, keras.losses.MeanSquaredError(), [], {}, THING]}
GRADED |= {"solver": OPTIMIZER, "form": ["pfa"]}
PICTURE = tf.zeros((8, 8, 3), tf.uint8)
IMAGES = ta.data.Images(PICTURES, PICTURES, 4, 8)

POSITIONAL = {"EinsumDense": ("ab,bc->ac", 3), "MultiHeadAttention": (2, 4), "Dense": (3,)}
POSITIONAL |= dict.fromkeys(("DepthwiseConv1D", "DepthwiseConv2D"), (3,))
POSITIONAL |= dict.fromkeys(("SimpleRNN", "LSTM", "GRU"), (3,))
POSITIONAL |= dict.fromkeys(("SimpleRNNCell", "LSTMCell", "GRUCell"), (3,))
POSITIONAL |= {"GroupQueryAttention": (4, 2, 2)}
OF_LAYERS = {
    "feedback": [*FEEDBACK, "dfa"],
    "feedback_initializer": [
        *(3, "nonsense", True, NAN, {"class_name": "nonsense"}, THING),
        *(np.ones((4, 2)), np.float32(1.0), tf.ones((4, 2)), tf.Variable(tf.ones((4, 2)))),
    ],
    "feedback_regularizer": [3, "nonsense", True, NAN, {"class_name": "nonsense"}, THING],
    "feedback_constraint": [3, "nonsense", True, NAN, {"class_name": "nonsense"}, THING],
}
NOISE = [0.0, -1.0, True, NAN, INF, "nonsense", [], {}, THING]

# {namespace.name: (valid arguments, further bad values by argument)}
ROWS = {
    "feedback.Alignment": (
        {"terms": {"amp": 1.0}},
        {
            "terms": [
                *(None, 3, True, "amp", {}, [], {"nonsense": 1.0}, {"amp": NAN}, {"amp": "1"}),
                *({"amp": True}, {3: 1.0}, [(ta.primitives.amp,)], THING),
            ],
            "noise": NOISE,
            "feedback_activation": [3, "nonsense", True, {}, THING],
        },
    ),
    "feedback.Imperfect": (
        {"method": "fa"},
        {
            "method": [*FEEDBACK, None, "dfa"],
            "bits": [-1, 33],
            "error_bits": [-1, 33],
            "noise": [-1.0],
            "mismatch": [-1.0],
            "density": [0.0, -0.5, 1.5],
            "rank": [-1],
            "stuck_off": [-0.1, 1.1],
            "stuck_on": [-0.1, 1.1],
            "excitatory": [-0.1, 1.1],
        },
    ),
    "feedback.ActivationAlignment": ({}, {}),
    "feedback.InformationAlignment": ({}, {}),
    "feedback.SymmetricAlignment": ({}, {}),
    "feedback.WeightMirror": ({}, {}),
    "feedback.BatchRandomSignSymmetry": ({}, {}),
    "feedback.DirectFeedback": ({}, {"over_space": [None, 3, "nonsense", True, {}, THING]}),
    "feedback.ProductFeedback": (
        {},
        {"expansion": [0.0, -1.0], "fixed_initializer": OF_LAYERS["feedback_initializer"]},
    ),
    "feedback.get": ({"identifier": "fa"}, {"identifier": FEEDBACK}),
    "layers.feedback_layers": ({"model": model}, {"model": [None, 3, "model", THING]}),
    "phases.Phase": ({}, {}),
    "phases.Alignment": (
        {"rule": "wm"},
        {
            "rule": [None, 3, "nonsense", "fa", True, {}, [], {"nonsense": 1.0}, THING],
            "dataset": [3, "data", True, [], {}, THING],
            "noise": NOISE,
            "optimizer": OPTIMIZER,
        },
    ),
    "phases.NodePerturbation": ({"loss": LOSS}, {**GRADED, "noise": NOISE}),
    "phases.SyntheticGradient": ({"loss": LOSS}, GRADED),
    "phases.NormalizedLMS": ({}, {"gain": [0.0, -1.0, 1.5]}),
    "phases.Ridge": ({}, {"gamma": [0.0, -1.0], "forgetting": [0.0, -0.1, 1.5]}),
    "phases.RDD": (
        {},
        {
            "duration": [0.0, -1.0],
            "estimator": [None],
            "gamma": [0.0, -1.0],
            **dict.fromkeys(("neuron", "drive", "window"), (3, "nonsense", True, SAMPLER, THING)),
        },
    ),
    "phases.SAL": (
        {},
        {"rate": [0.0, -1.0], "steps": [99], "block": [3], "lobe_mismatch": [-1.0]}
        | {"synapse_mismatch": [-1.0], "neuron_mismatch": [-1.0], "interval": [4]},
    ),
    "phases.interleave": (
        {"model": model, "phase": None},
        {"phase": [3, "nonsense", True, ta.phases.RDD(), ta.phases.Alignment, THING]},
    ),
    "callbacks.AlignmentMonitor": (
        {},
        {
            "probe_data": [3, "data", True, (), (X,), X, (X, None), (None, Y), THING],
            "max_norm_ratio": [1.0, 0.0, -1.0],
            "max_growth": [1.0, 0.0, -1.0],
        },
    ),
    "callbacks.FeedbackCallback": (
        {"phase": ta.phases.Phase()},
        {
            "phase": [None, 3, "sal", True, ta.phases.SAL, [], THING],
            "every": [*COUNT, "", "nonsense"],
            "every_batches": COUNT,
            "verbose": [*NUMBER, "nonsense", None, -1, 3],
        },
    ),
    "callbacks.Resume": (
        {"backup_dir": "backup"},
        {"data": [3, "data", True, X, THING], "phases": [3, "rdd", True, [3], [None], THING]},
    ),
    "optimizers.split": (
        {"forward": "sgd"},
        {"forward": [*OPTIMIZER, None], "feedback": OPTIMIZER},
    ),
    "optimizers.check": ({"model": model}, {"model": [keras.Sequential()]}),
    "optimizers.ReplicatedSGD": (
        {"learning_rate": 0.5},
        {"learning_rate": [True, "1", [1.0], {}, THING, None]},
    ),
    "optimizers.NoisyUpdates": (
        {"optimizer": "sgd"},
        {
            "optimizer": [*OPTIMIZER, None],
            "variance": [-1.0],
            "noise": NOISE,
            "name": [3, True, [], THING],
        },
    ),
    "models.ChannelPadding": ({"filters": 4, "strides": 2}, {}),
    "models.CropAndFlip": ({}, {}),
    "models.alexnet": (
        {"input_shape": (63, 63, 3), "classes": 2, "width": 0.01},
        {"feedback": FEEDBACK, "width": [0.0, -1.0], "input_shape": [(62, 63, 3)]},
    ),
    "models.convnet": (
        {"filters": 2, "units": (2, 2)},
        {"feedback": FEEDBACK, "augment": [3, "nonsense", True, [3], THING]}
        | {"input_shape": [(8, 8, 1)]},
    ),
    "models.lenet": ({}, {"feedback": FEEDBACK, "input_shape": [(3, 3, 1)]}),
    "models.perceptron": (
        {"sizes": (4, 3)},
        {"feedback": FEEDBACK, "activation": [None], "sizes": [(4,)]},
    ),
    "models.resnet": (
        {"depth": 8, "width": 2},
        {
            "feedback": FEEDBACK,
            "depth": [21, 7, 2],
            "input_shape": [(None, 8, 3), (8, 8), 8, THING],
            "version": [0, 3],
            "momentum": [-0.1, 1.5],
            "kernel_initializer": [3, "nonsense", True, NAN, THING],
            "weights": [3, "nonsense", True, NAN, [], THING],
            "augment": [3, "nonsense", True, [], THING],
        },
    ),
    "data.EpochShuffled": (
        {"x": X, "y": Y, "batch_size": 4},
        {"x": [*ARRAY, 3, [], X[:3]], "y": [*ARRAY, 3, [], Y[:3]]},
    ),
    "data.Images": (
        {"train": PICTURES, "test": PICTURES, "examples": 4},
        dict.fromkeys(("train", "test"), (None, 3, "train", X, THING)),
    ),
    "data.Stream": (
        {"images": IMAGES, "batch_size": 2},
        {"images": [None, 3, "images", X, PICTURES, THING], "batch_size": [5]}
        | {"strategy": [3, "mirrored", True, THING]},
    ),
    "data.images": ({}, {}),
    "data.load": ({"name": "digits"}, {"name": [None]}),
    "data.central_crop": (
        {"image": PICTURE, "size": 4},
        {"image": [*ARRAY, tf.zeros((8, 8)), tf.zeros((1, 8, 8, 3))]},
    ),
    "data.random_crop": (
        {"image": PICTURE, "size": 4, "seed": tf.constant([1, 2], tf.int64)},
        {
            "image": [*ARRAY, tf.zeros((8, 8)), tf.zeros((1, 8, 8, 3))],
            "seed": [*ARRAY, 3, [1, 2, 3], [0.5, 1.5], [[1, 2]]],
            "least_area": [0.0, -0.1, 1.5],
        },
    ),
    "distribute.strategy": ({}, {"name": [None, "default:x", "mirrored:0"]}),
    "distribute.worker": (
        {"of": tf.distribute.get_strategy()},
        {"of": [None, 3, "mirrored", True, THING]},
    ),
    "schedules.Between": (
        {"value": 1.0},
        {"start": [-1], "stop": [0, -1]},
    ),
    "schedules.Triangular": (
        {"schedule": SCHEDULE, "period": 4},
        {"schedule": [None, 3, 1.0, "linear", True, THING], "period": [1]},
    ),
    "metrics.GradientProbe": ({"model": model}, {"loss": [3, "nonsense", True, [], {}, THING]}),
    "metrics.gradient_angle": (
        {"model": model, "x": X, "y": Y},
        {"loss": [3, "nonsense", True, [], {}, THING]},
    ),
    "spiking.lif.Drive": (
        {},
        dict.fromkeys(("rate", "weight", "hold", "psi"), (0.0, -1.0))
        | {"fraction": [0.0, -1.0, 1.5]},
    ),
    "spiking.lif.Neuron": (
        {},
        dict.fromkeys(
            ("dt", "leak", "dendritic", "threshold", "refractory", "tau_short"), (0.0, -1.0)
        )
        | {"reset": [1.0, 2.0], "tau_long": [3.0, 1.0, 0.0]},
    ),
    "spiking.lif.Window": ({}, dict.fromkeys(("alpha", "length"), (0.0, -1.0))),
    "spiking.lif.Paradigm": (
        {},
        dict.fromkeys(("neuron", "drive", "window"), (None, 3, "nonsense", True, SAMPLER, THING)),
    ),
    "spiking.lif.poisson": (
        {"uniforms": tf.zeros(3), "mean": 1.0},
        {"uniforms": ARRAY, "mean": [0.0, -1.0, 30.0]},
    ),
    "spiking.lif.scaled_kernel": (
        {"kernel": tf.eye(2), "psi": 0.2},
        {"kernel": [*ARRAY, tf.ones(3)], "psi": [0.0, -1.0]},
    ),
    "spiking.lif.simulate": (
        {"current": tf.zeros((3, 1))},
        {"current": [*ARRAY, 3.0], "neuron": [3, "nonsense", True, SAMPLER, THING]},
    ),
    "spiking.lif.respond": (
        {"spikes": tf.zeros((3, 1))},
        {"spikes": [*ARRAY, 3.0], "neuron": [3, "nonsense", True, SAMPLER, THING]},
    ),
    "spiking.lif.estimators.Line": ({}, {"ridge": [-1.0]}),
    "spiking.lif.estimators.Mirror": ({}, {"decay": [-1.0, 1.0]}),
    "spiking.lif.estimators.Pooled": ({}, {"offset": [0.0, -1.0], "forgetting": [-0.1, 1.1]}),
    "spiking.lif.estimators.SGD": ({}, {"learning_rate": [0.0, -1.0]}),
    "spiking.lif.estimators.get": ({"estimator": "line"}, {"estimator": [None]}),
    "spiking.sampling.Neuron": ({}, {"interval": [9]}),
    "spiking.sampling.SpikeAlignment": (
        {},
        {"cut": [0.0, -1.0], "lobe_mismatch": [-1.0], "synapse_mismatch": [-1.0]},
    ),
    "spiking.sampling.LayeredNetwork": (
        {"sizes": (2, 3)},
        {"connections": [3, "ab", [3], [(0, 2)], [(0, 0)], [(0, 0.5)], [("0", 1)], [(True, 0)]]},
    ),
    "spiking.sampling.FeedbackLearning": (
        {
            "network": ta.spiking.sampling.LayeredNetwork((2, 3)),
            "neurons": SAMPLER,
            "rule": ta.spiking.sampling.SpikeAlignment(5),
        },
        {
            "network": [None, 3, "nonsense", True, THING],
            "neurons": [None, 3, True, NEURON, ta.spiking.sampling.Neuron(6), THING],
            "rule": [None, 3, "exponential", True, THING],
            "rate": [0.0, -1.0],
            "neuron_mismatch": [-1.0],
        },
    ),
    "spiking.sampling.exponential": ({"tau": 3.0}, {"tau": [0.0, -1.0], "cut": [0.0, -1.0]}),
    "spiking.sampling.hebbian": ({"tau": 3}, {"tau": [1]}),
    "spiking.sampling.triangular": ({"tau": 3}, {"tau": [1]}),
    "spiking.sampling.initial_state": (
        {"shape": (2, 3), "neuron": SAMPLER},
        {"neuron": [None, 3, "nonsense", True, NEURON, THING]},
    ),
    "Noise": (
        {},
        {"kind": [None, 3, "nonsense", True, [], THING], "stddev": [0.0, -1.0, True, NAN]},
    ),
    "convert": (
        {"model": model, "feedback": "fa"},
        {
            "feedback": [*FEEDBACK, None],
            "include": [3, "(", [3], ["("], THING, "no such layer", tf.Variable(1.0)],
            "exclude": [3, "(", [3], ["("], THING, "no such layer"],
            "feedback_initializer": OF_LAYERS["feedback_initializer"],
        },
    ),
    "strip": ({"model": model}, {}),
    "summary": ({"model": model}, {"print_fn": [3, "print", True, THING]}),
}
NOT_LAYERS = ("layers.BatchNormalization", "layers.RNN", "layers.TimeDistributed")
"""Layers without feedback of their own."""
OWN_CELLS = ("ALIFCell", "LeakyRNNCell")  # of which Keras has no version
for _kind in ta.layers.__all__:
    if _kind not in ("FeedbackLayer", "feedback_layers") and f"layers.{_kind}" not in NOT_LAYERS:
        if _kind in OWN_CELLS:
            ROWS[f"layers.{_kind}"] = ({"units": 3}, OF_LAYERS)
            continue
        ROWS[f"layers.{_kind}"] = ({"": POSITIONAL.get(_kind, (3, 3))}, OF_LAYERS)
for _name in ("alignment_cost", "correlation", "norm_ratio", "path_angle", "relative_error"):
    ROWS[f"metrics.{_name}"] = ({}, {})
for _name in ("sign_agreement", "weight_angle"):
    ROWS[f"metrics.{_name}"] = ({}, {})
for _name in [name for name in ROWS if name.startswith("metrics.") and ROWS[name] == ({}, {})]:
    _names = list(inspect.signature(getattr(ta.metrics, _name.split(".")[1])).parameters)
    ROWS[_name] = (
        dict.fromkeys(_names, np.ones(3)),
        dict.fromkeys(_names, (*ARRAY, np.ones(2), np.ones((3, 1)))),
    )

# What needs no row: {name: reason}.
NO_ROW = {
    **dict.fromkeys(("feedback.Activity", "feedback.Backward", "feedback.Setup"), OWN),
    **dict.fromkeys(("primitives.Gradient", "primitives.Local"), OWN),
    **dict.fromkeys(("data.Arrays", "data.Split"), OWN),
    **dict.fromkeys(("spiking.lif.Events", "spiking.lif.State", "spiking.lif.SynapseState"), OWN),
    **dict.fromkeys(("spiking.lif.AboveState", "spiking.lif.DrivenState"), OWN),
    **dict.fromkeys(("spiking.lif.WindowState", "spiking.sampling.LearningState"), OWN),
    "spiking.sampling.State": OWN,
    **{
        f"spiking.lif.{name}": TENSORS
        for name in ("membrane_step", "step", "synapse_step", "window_step")
    },
    **{
        f"spiking.sampling.{name}": TENSORS
        for name in ("chance", "pair_sums", "sample", "step", "uniforms")
    },
    "layers.FeedbackLayer": "a mixin: its arguments are those of the layers",
    "layers.TimeDistributed": "Keras checks its argument",
    "layers.RNN": "Keras checks its arguments",
    "layers.BatchNormalization": "Keras checks its arguments",
    "optimizers.SGD": "Keras checks its arguments",
    "spiking.lif.estimators.Estimator": "abstract",
    "phases.CompiledPhase": "abstract",
    "callbacks.DivergenceError": "an exception",
}

# Values that are right although their kind has them: {argument or "name: argument": (values, why)}.
FINE = {
    "seed": ([0], "seeds count from 0"),
    "phases.SAL: delay": ([0], "no delay"),
    "spiking.sampling.Neuron: delay": ([0], "no delay"),
    "data.EpochShuffled: epoch": ([0], "epochs count from 0"),
    "data.EpochShuffled: x": ([["text"]], "networks for texts take strings"),
    "data.EpochShuffled: y": ([["text"]], "likewise"),
    "callbacks.FeedbackCallback: warmup": ([0], "none"),
    "models.CropAndFlip: padding": ([0], "no crops: it only mirrors"),
    "schedules.Between: start": ([0], "steps count from 0"),
    **{f"phases.{name}: name": (["nonsense"], "any name will do") for name in ta.phases.__all__},
    "optimizers.ReplicatedSGD: name": (["nonsense", "", 0, {}, None], "Keras checks it"),
    "optimizers.NoisyUpdates: name": (["nonsense", "", 0, {}], "Keras checks it"),
    "data.images: name": (["nonsense", ""], "TensorFlow Datasets looks it up"),
    "data.images: data_dir": (["nonsense"], "a path"),
    "data.load: data_dir": (["nonsense"], "a path"),
}
# Arguments that another library checks, or that say so elsewhere.
NOT_OURS = {
    "models.perceptron: activation": "Keras checks it",
    "metrics.gradient_angle: x": "the model checks it",
    "metrics.gradient_angle: y": "the loss checks it",
    "metrics.gradient_angle: sample_weight": "Keras checks it",
}
# What errors call an argument that is handed on: {name: argument: name in the message}.
CALLED = {
    "feedback.get: identifier": "feedback",
    "feedback.Alignment: terms": "amp",
}


def public():
    """Every public class and function that is ours, by name."""
    spaces = ("layers", "feedback", "primitives", "phases", "callbacks", "optimizers", "models")
    spaces += ("data", "distribute", "schedules", "metrics")
    found = {name: getattr(ta, name) for name in ("convert", "strip", "summary", "Noise")}
    pending = [(name, getattr(ta, name)) for name in (*spaces, "spiking")]
    while pending:
        space, module = pending.pop()
        for name in module.__all__:
            value = getattr(module, name)
            if isinstance(value, types.ModuleType):
                pending.append((f"{space}.{name}", value))
            elif callable(value) and not isinstance(value, types.GenericAlias):
                found[f"{space}.{name}"] = value
    return found


PUBLIC = public()


def parameters(name):
    """The arguments that are ours, `{argument: annotation}`."""
    found = inspect.signature(PUBLIC[name]).parameters
    if FEEDBACK_ARGUMENTS.keys() <= found.keys():
        return dict.fromkeys(FEEDBACK_ARGUMENTS, "Any")
    return {
        argument: str(parameter.annotation)
        for argument, parameter in found.items()
        if parameter.kind not in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL)
    }


def bad_values(name, argument, annotation):
    kind, _, rest = annotation.partition(" | None")
    values = [*KINDS.get(kind + rest, []), *ROWS[name][1].get(argument, [])]
    default = inspect.signature(PUBLIC[name]).parameters[argument].default
    if annotation in KINDS and default is not None:
        values.append(None)
    fine = [v for key in (argument, f"{name}: {argument}") for v in FINE.get(key, ([], ""))[0]]
    return [v for v in values if not any(type(v) is type(f) and v == f for f in fine)]


def test_every_public_name_has_a_row_or_a_reason():
    without_arguments = {name for name in PUBLIC if callable_without_arguments(name)}
    assert set(PUBLIC) - set(ROWS) - set(NO_ROW) - without_arguments == set()
    assert set(ROWS) <= set(PUBLIC) and set(NO_ROW) <= set(PUBLIC)


def callable_without_arguments(name):
    return not parameters(name) if name not in NO_ROW else False


@pytest.mark.parametrize("name", ROWS)
def test_nonsense_is_refused_by_the_name_of_its_argument(name):
    given = {k: v() if v is model else v for k, v in ROWS[name][0].items()}
    positional = given.pop("", ())
    problems = []
    for argument, annotation in parameters(name).items():
        if f"{name}: {argument}" in NOT_OURS:
            continue
        values = bad_values(name, argument, annotation)
        called = {argument, CALLED.get(f"{name}: {argument}", argument)}
        assert values, f"{argument}: {annotation} has no bad values"
        for value in values:
            try:
                PUBLIC[name](*positional, **{**given, argument: value})
            except (ValueError, TypeError) as error:
                if not any(f"`{word}`" in str(error) for word in called):
                    problems.append(f"{argument}={value!r}: {type(error).__name__}: {error}"[:200])
            except Exception as error:  # noqa: BLE001
                problems.append(f"{argument}={value!r}: {type(error).__name__}: {error}"[:200])
            else:
                problems.append(f"{argument}={value!r}: accepted")
    assert not problems, "\n".join(problems)


# Theory takes whole arrays of numbers: what is out of range, for its arguments by name.
OUT_OF_RANGE = {
    "expansion": (2.0, [0.0, -1.0, NAN, INF, [2.0, NAN]]),
    "fraction": (0.5, [-0.1, 1.1, NAN, INF]),
    "correlation": (0.5, [-1.1, 1.1, NAN, INF]),
    "eigenvalues": (1.0, []),
}


@pytest.mark.parametrize("name", ta.analysis.__all__)
def test_theory_refuses_what_is_out_of_range(name):
    function = getattr(ta.analysis, name)
    names = set(inspect.signature(function).parameters)
    if not names <= set(OUT_OF_RANGE):
        pytest.skip("it takes other arguments than theory's")
    given = {argument: OUT_OF_RANGE[argument][0] for argument in names}
    for argument in names:
        for value in OUT_OF_RANGE[argument][1]:
            with pytest.raises(ValueError, match=f"`{argument}`"):
                function(**{**given, argument: value})


def test_numbers_of_numpy_are_numbers():
    for network in ("lenet", "convnet"):
        made = getattr(ta.models, network)(input_shape=np.array((32, 32, 3)), classes=np.int64(3))
        assert made.output_shape == (None, 3)
    assert ta.models.perceptron(np.array([4, 5, 3])).output_shape == (None, 3)
