"""Run Keras' own tests of its layers with the layers of this library instead.

    python -m benchmarks.keras_tests [dense conv ...] [--feedback fa] [--version 3.15.1]

The tests are part of Keras' source distribution, which is downloaded into a temporary folder and
deleted afterwards. With `--feedback none`, a layer should pass all tests that its Keras parent
passes. With a method, Keras' checks of the number of weights are left out, and some tests fail by
design, for the reasons in `BY_DESIGN`. Tests that fail are repeated with Keras' own layers: if they
fail there too, the failure is not due to this library.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Container
from pathlib import Path

FILES = {
    "dense": "core/dense_test.py",
    "einsum_dense": "core/einsum_dense_test.py",
    "reversible_embedding": "core/reversible_embedding_test.py",
    "conv": "convolutional/conv_test.py",
    "conv_transpose": "convolutional/conv_transpose_test.py",
    "depthwise_conv": "convolutional/depthwise_conv_test.py",
    "separable_conv": "convolutional/separable_conv_test.py",
    "multi_head_attention": "attention/multi_head_attention_test.py",
    "group_query_attention": "attention/grouped_query_attention_test.py",
    "batch_normalization": "normalization/batch_normalization_test.py",
    "simple_rnn": "rnn/simple_rnn_test.py",
    "lstm": "rnn/lstm_test.py",
    "gru": "rnn/gru_test.py",
    "conv_lstm1d": "rnn/conv_lstm1d_test.py",
    "conv_lstm2d": "rnn/conv_lstm2d_test.py",
    "conv_lstm3d": "rnn/conv_lstm3d_test.py",
    "bidirectional": "rnn/bidirectional_test.py",
    "time_distributed": "rnn/time_distributed_test.py",
}

ALWAYS = {
    r"TimeDistributedTest::test_basics: .*output dtype": "the layer inside has a dtype of its own",
}
"""Reason for each failure by design, by a regular expression of the text `test: error`."""

BY_DESIGN = {
    r"cannot be quantized with a feedback method": "a quantized call would bypass feedback",
    r"a feedback method under a quantized dtype policy": "a quantized call would bypass feedback",
    r"LoRA is not supported on layer .* with a feedback method": "LoRA would bypass feedback",
    r"cannot have both LoRA and a feedback method": "LoRA would bypass feedback",
    r"test_dense_sparse: AssertionError: <tf.Tensor": "a sparse input is made dense",
    r"`use_cudnn` must not be True with a feedback method": "cuDNN has a backward pass of its own",
    r"You called `set_weights.*was expecting": "a list of all weights has the feedback weights too",
}
"""Reason for each failure by design with a feedback method, in the form of `ALWAYS`."""

_PLUGIN = """
import inspect
import keras
import tf_alignment as ta
from keras import layers
from keras.src import layers as source
from keras.src.testing import TestCase

FEEDBACK = {feedback!r}


def replaced(name):
    ours = getattr(ta.layers, name)
    if FEEDBACK is None or "feedback" not in inspect.signature(ours).parameters:
        return ours

    class Layer(ours):
        def __init__(self, *args, **kwargs):
            kwargs.setdefault("feedback", FEEDBACK)
            super().__init__(*args, **kwargs)

    Layer.__name__ = Layer.__qualname__ = name
    return keras.saving.register_keras_serializable("keras_tests")(Layer)


for name in ta.layers.__all__:
    if hasattr(layers, name):
        ours = replaced(name)
        for module in (layers, source):
            setattr(module, name, ours)

run_layer_test = TestCase.run_layer_test


def without_counts(self, *args, **kwargs):
    if FEEDBACK is not None:  # a layer has feedback weights then
        kwargs = {{k: v for k, v in kwargs.items() if not (k.startswith("expected_num_") and
                  k.endswith(("_weights", "_variables")))}}
    return run_layer_test(self, *args, **kwargs)


TestCase.run_layer_test = without_counts
"""


def main() -> int:
    """Download and run the tests, and report failures.

    Returns:
        Exit status: 1 if a test fails that passes with Keras' layers and does not fail by design.
    """
    import keras

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("layers", nargs="*", help=f"out of {sorted(FILES)}; all by default")
    parser.add_argument("--feedback", default="none", help="a method's id, or none")
    parser.add_argument("--version", default=keras.__version__)
    parser.add_argument("-k", default="", help="tests to run, as pytest selects them")
    arguments = parser.parse_args()
    feedback = None if arguments.feedback == "none" else arguments.feedback
    with tempfile.TemporaryDirectory() as folder:
        tests = fetched(arguments.version, Path(folder))
        (Path(folder) / "in_place.py").write_text(_PLUGIN.format(feedback=feedback))
        files = [str(tests / FILES[name]) for name in arguments.layers or FILES]
        output = run(folder, ["-p", "in_place", "-k", arguments.k, *files])
        failed = failures(output)
        theirs = failures(run(folder, list(failed))) if failed else {}
    return report(output, failed, theirs, ALWAYS | (BY_DESIGN if feedback else {}))


def run(folder: str, arguments: list[str]) -> str:
    """Run pytest in a folder, and return its output.

    Args:
        folder: Folder with the plugin that replaces the layers.
        arguments: Further arguments of pytest.
    """
    command = [sys.executable, "-m", "pytest", "-q", "--tb=line", "-rf", "--rootdir", folder]
    found = subprocess.run(
        [*command, "-c", os.devnull, *arguments],
        # a wide terminal, since pytest shortens lines to the width of the terminal
        env={**os.environ, "PYTHONPATH": os.pathsep.join([folder, *sys.path]), "COLUMNS": "500"},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    return found.stdout or found.stderr


def failures(output: str) -> dict[str, str]:
    """Extract the failures from the output of pytest, `{test: first line of the error}`."""
    lines = [line for line in output.splitlines() if line.startswith(("FAILED ", "ERROR "))]
    found = (line.split(" ", 1)[1].partition(" - ") for line in lines)
    return {name: message for name, _, message in found}


def fetched(version: str, folder: Path) -> Path:
    """Download Keras' source distribution, and return the folder with the tests of its layers.

    Args:
        version: Version of Keras.
        folder: Folder to download to.
    """
    download = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    target = ["--dest", str(folder), "--no-binary", ":all:", "--no-build-isolation"]
    subprocess.run([*download, *target, f"keras=={version}"], check=True)
    [archive] = folder.glob("keras-*.tar.gz")
    with tarfile.open(archive) as source:
        source.extractall(folder, filter="data")
    return folder / f"keras-{version}" / "keras" / "src" / "layers"


def report(
    output: str, failed: dict[str, str], theirs: Container[str], design: dict[str, str]
) -> int:
    """Print the failures with their reasons and errors, and count them.

    Args:
        output: Output of pytest.
        failed: Failures with the layers of this library, `{test: error}`.
        theirs: Tests that fail with Keras' layers too.
        design: Reasons of failures by design, in the form of `ALWAYS`.

    Returns:
        Exit status, see `main`; also 1 if no test passed.
    """
    count = {"in Keras too": 0, "by design": 0, "FAILED": 0}
    for name, message in failed.items():
        short = name.split("::", 1)[-1]
        text = f"{short}: {message}"
        reasons = [why for pattern, why in design.items() if re.search(pattern, text)]
        kind = "in Keras too" if name in theirs else "by design" if reasons else "FAILED"
        count[kind] += 1
        print(f"{kind}  {short}: {reasons[0] if kind == 'by design' else message}")
    last = output.strip().splitlines()[-1]
    print(f"{last}; of the failures {', '.join(f'{n} {kind}' for kind, n in count.items())}")
    return int(bool(count["FAILED"]) or "passed" not in last)


if __name__ == "__main__":
    sys.exit(main())
