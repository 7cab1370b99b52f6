"""Run Keras' own tests of its layers with the layers of this library in their place.

    python -m benchmarks.keras_tests [dense conv ...] [--feedback fa] [--version 3.15.1]

The tests come with Keras' wheel for the installed version or, where that has none, with its source
distribution; they are fetched into a temporary folder and nothing of them is kept. With
`--feedback none` a layer is to pass whatever its parent passes. With a method, tests that look at
numbers of weights, LoRA and quantization fail by design: `BY_DESIGN` says which and why.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

FILES = {
    "dense": "core/dense_test.py",
    "einsum_dense": "core/einsum_dense_test.py",
    "conv": "convolutional/conv_test.py",
    "conv_transpose": "convolutional/conv_transpose_test.py",
    "depthwise_conv": "convolutional/depthwise_conv_test.py",
    "separable_conv": "convolutional/separable_conv_test.py",
    "multi_head_attention": "attention/multi_head_attention_test.py",
    "time_distributed": "rnn/time_distributed_test.py",
}

BY_DESIGN = {
    r"quantiz|int4|int8|float8|gptq|awq|calibration": "a quantized call would bypass feedback",
    r"lora": "LoRA would bypass feedback",
    r"sparse": "a sparse input is made dense: the output of a sparse activation is too",
    r"basics": "Keras counts weights; a layer with feedback has more, and trainable ones in KP",
    r"timestep_dimension|constrained": "called once on all steps, with the mask folded",
}

_PLUGIN = """
import sys
import keras
import tf_alignment as ta
from keras import layers
from keras.src import layers as source

FEEDBACK = {feedback!r}


def replaced(name):
    ours = getattr(ta.layers, name)
    if FEEDBACK is None or not issubclass(ours, ta.layers.FeedbackLayer):
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
"""


def main() -> int:
    """Fetch, run and report. The status is 1 if a test fails that no entry of BY_DESIGN names."""
    import keras

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("layers", nargs="*", help=f"out of {sorted(FILES)}; all by default")
    parser.add_argument("--feedback", default="none", help="a method's id, or none")
    parser.add_argument("--version", default=keras.__version__)
    arguments = parser.parse_args()
    feedback = None if arguments.feedback == "none" else arguments.feedback
    with tempfile.TemporaryDirectory() as folder:
        tests = fetched(arguments.version, Path(folder))
        (Path(folder) / "in_place.py").write_text(_PLUGIN.format(feedback=feedback))
        files = [str(tests / FILES[name]) for name in arguments.layers or FILES]
        command = [sys.executable, "-m", "pytest", "-q", "-p", "in_place", "--tb=line", "-rf"]
        found = subprocess.run(
            [*command, "--rootdir", folder, "-c", os.devnull, *files],
            env={**os.environ, "PYTHONPATH": os.pathsep.join([folder, *sys.path])},
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
        )
    return report(found.stdout, found.stderr)


def fetched(version: str, folder: Path) -> Path:
    """The folder of the tests of Keras' layers."""
    download = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    target = ["--dest", str(folder), "--no-binary", ":all:", "--no-build-isolation"]
    subprocess.run([*download, *target, f"keras=={version}"], check=True)
    [archive] = folder.glob("keras-*.tar.gz")
    with tarfile.open(archive) as source:
        source.extractall(folder, filter="data")
    return folder / f"keras-{version}" / "keras" / "src" / "layers"


def report(output: str, errors: str) -> int:
    """Print the failures with their reasons, those without one last."""
    failed = [line for line in output.splitlines() if line.startswith("FAILED")]
    unexplained = []
    for line in failed:
        name = line.split("::", 1)[1].split(" - ")[0]
        reasons = [why for pattern, why in BY_DESIGN.items() if re.search(pattern, name)]
        if reasons:
            print(f"by design  {name}: {reasons[0]}")
        else:
            unexplained.append(line)
    print(*unexplained, sep="\n")
    print(output.strip().splitlines()[-1] if output.strip() else errors)
    return int(bool(unexplained) or not output.strip())


if __name__ == "__main__":
    sys.exit(main())
