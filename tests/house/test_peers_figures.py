"""Gradients are those of BioTorch, another library for fixed and sign-based feedback.

Its numbers are in `peers_biotorch.json`, with the weights and the batch they were computed from;
`benchmarks/peers.py --fixture` writes the file. Nothing here needs torch.
"""

import functools
import importlib
import json
import math
import re
from pathlib import Path

import numpy as np
import pytest

import tf_alignment as ta

ROOT = Path(__file__).parents[2]
NETWORKS = ("tiny_dense", "tiny_deep", "tiny_conv")
METHODS = ("backprop", "fa", "dfa", "usf", "brsf", "frsf")


@functools.cache
def recorded():
    return json.loads(Path(__file__).with_name("peers_biotorch.json").read_text(encoding="utf-8"))


def weights(name):
    stored = recorded()["networks"][name]
    return {
        key: np.array(value, np.int64 if key == "y" else np.float32).reshape(stored["shapes"][key])
        for key, value in stored["arrays"].items()
    }


def biotorch(name, method):
    stored = recorded()["networks"][name]
    found = {}
    for key, value in stored["biotorch"][method].items():
        shape = () if key.endswith("scale") else stored["shapes"][key.replace("draw", "kernel")]
        found[key] = np.array(value, np.float32).reshape(shape)
    return found


@pytest.fixture
def benchmarks(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    return importlib.import_module("peers"), importlib.import_module("peers_networks")


def test_what_was_recorded():
    assert set(recorded()["networks"]) == set(NETWORKS)
    versions = recorded()["versions"]
    assert set(versions) == {"biotorch", "torch", "numpy", "python"}
    pinned = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert f'"biotorch=={versions["biotorch"]}"' in pinned
    assert f'"torch=={versions["torch"].split("+")[0]}"' in pinned


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", NETWORKS)
def test_gradients_agree(benchmarks, name, method):
    peers, networks = benchmarks
    theirs = biotorch(name, method)
    ours = peers.gradients(networks.NETWORKS[name], method, weights(name), theirs)
    assert set(ours) == {key for key in theirs if key.endswith(("kernel", "bias"))}
    assert max(peers.differences(ours, theirs).values()) < 1e-5


@pytest.mark.parametrize("name", NETWORKS)
def test_methods_are_told_apart(benchmarks, name):
    """Below the output every method has another gradient: agreement of one is not that of all."""
    peers, _ = benchmarks
    found = {method: biotorch(name, method) for method in METHODS}
    lowest = next(iter(found["fa"]))
    for i, one in enumerate(METHODS):
        for other in METHODS[:i]:
            different = peers.differences({lowest: found[one][lowest]}, found[other])
            assert different[lowest] > 0.05, (one, other)


@pytest.mark.parametrize("name", NETWORKS)
def test_their_usf_scale_is_the_formula_of_glorot(name):
    scales = {k: v for k, v in biotorch(name, "usf").items() if k.endswith("scale")}
    assert scales
    for key, scale in scales.items():
        *field, fan_in, fan_out = weights(name)[key.replace("scale", "kernel")].shape
        expected = math.sqrt(2 / (math.prod(field) * (fan_in + fan_out)))
        assert scale == pytest.approx(expected, rel=1e-6)


def test_our_usf_scale_is_theirs_for_a_glorot_kernel():
    layer = ta.layers.Dense(300, feedback="usf")
    layer.build((None, 200))
    # the deviation of 60 000 uniform numbers, measured: its own standard error is 0.2 %
    assert float(layer.feedback_weights["feedback_scale"]) == pytest.approx(
        math.sqrt(2 / 500), rel=0.01
    )


@pytest.mark.parametrize("name", NETWORKS)
def test_their_brsf_copies_signs(name):
    for key, draw in biotorch(name, "brsf").items():
        if key.endswith("draw"):
            kernel = weights(name)[key.replace("draw", "kernel")]
            np.testing.assert_array_equal(np.sign(draw), np.sign(kernel))
            *field, fan_in, fan_out = kernel.shape
            assert np.abs(draw).max() <= math.sqrt(6 / (math.prod(field) * (fan_in + fan_out)))


def test_direct_feedback_to_a_convolution_is_a_matrix(benchmarks):
    """Against loops: output k at every position of a 2x2 convolution, sent through its kernel."""
    peers, networks = benchmarks
    network = networks.NETWORKS["tiny_conv"]
    kernel = weights("tiny_conv")["conv2.direct"]
    expected = np.zeros((3, 3, 3, 3), np.float32)  # height, width, channels below; outputs
    for row, column in np.ndindex(2, 2):
        expected[row : row + 2, column : column + 2] += kernel
    matrix = peers.direct_matrix(network, network.layers[1], kernel)
    np.testing.assert_allclose(matrix, expected.reshape(27, 3), rtol=1e-6, atol=1e-7)


def test_a_network_that_is_timed_only(benchmarks):
    """ResNet-20 is an entry like the others: a batch to draw, and a model for what is timed."""
    peers, networks = benchmarks
    assert peers.MEASURED == ["mlp", "lenet", "resnet20"]
    assert {name for name in networks.NETWORKS if name not in peers.MEASURED} == set(NETWORKS)
    network = networks.NETWORKS["resnet20"]
    arrays = networks.draw(network, 0)
    assert {name: array.shape for name, array in arrays.items()} == {
        "x": (128, 32, 32, 3),
        "y": (128,),
    }
    assert set(arrays["y"]) == set(range(10))
    assert {"backprop", "fused_sa"} < set(network.ways["tf_alignment"])
    for way, feedback in (("backprop", "backprop"), ("fused_sa", "sa")):
        layers = peers.build(network, way).layers
        assert {one.feedback.id for one in layers if getattr(one, "feedback", None)} == {feedback}
        fused = any(isinstance(one, ta.layers.BatchNormalization) for one in layers)
        assert fused == (way == "fused_sa")


def test_the_page_has_the_measured_tables(benchmarks):
    peers, _ = benchmarks
    page = (ROOT / "docs" / "results" / "biotorch.md").read_text(encoding="utf-8")
    report = json.loads(
        (ROOT / "docs" / "results" / "biotorch" / "peers.json").read_text(encoding="utf-8")
    )
    for table in peers.tables(report):
        assert table in page
    for name in ("biotorch", "torch", "tensorflow", "keras"):
        assert re.search(rf"\b{re.escape(report['versions'][name])}", page), name
