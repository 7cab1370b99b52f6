"""Keras layers that learn without weight transport.

    import keras
    import tf_alignment as ta

    model = ta.convert(stock_model, "sa")
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(ta.optimizers.split("sgd"), loss)
    model.fit(x, y, callbacks=[ta.callbacks.AlignmentMonitor(probe_data=(x[:64], y[:64]))])

`layers` has the drop-in layers, `feedback` the methods, `primitives` the terms of alignment rules,
`phases` learning of feedback weights between training steps, `spiking` networks of spiking neurons,
`metrics` measures of alignment, and `callbacks` the Keras callbacks that run phases and monitor
training. `optimizers` has optimizers for feedback weights, `studies` comparisons of methods,
`testing` checks of rules and layers, and `data` and `models` small datasets and networks.
"""

import importlib as _importlib
import importlib.util as _importlib_util
import os as _os
import sys as _sys

from tf_alignment._support import startup as _startup


def _check_backend() -> None:
    """Fail with the remedy if TensorFlow is missing or Keras runs on another backend."""
    if _importlib_util.find_spec("tensorflow") is None:
        raise ImportError(
            "tf_alignment needs TensorFlow, which is not installed. Install it with one of\n"
            "    pip install tensorflow\n"
            "    pip install tensorflow-cpu           without support of GPUs\n"
            '    pip install "tensorflow[and-cuda]"   with the libraries that GPUs need\n'
            "    pip install tensorflow-tpu"
        )
    backend = _os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    if backend == "tensorflow":  # another may not even be installed: Keras would fail first
        import keras

        backend = keras.config.backend()
    if backend != "tensorflow":
        raise ImportError(
            f"tf_alignment needs Keras on TensorFlow. Received: backend '{backend}'. Set the "
            "environment variable KERAS_BACKEND=tensorflow before Keras is imported."
        )


if _startup.is_command():
    with _startup.quiet():
        _check_backend()
        _importlib.import_module("tensorflow")  # here, where it may say what it likes
else:
    _check_backend()

from tf_alignment import (  # noqa: E402
    analysis,
    callbacks,
    constraints,
    data,
    distribute,
    feedback,
    layers,
    maps,
    metrics,
    models,
    optimizers,
    phases,
    plots,
    primitives,
    probe,
    schedules,
    spiking,
    studies,
    testing,
)
from tf_alignment._support.names import show_public_names as _show_public_names  # noqa: E402
from tf_alignment._support.noise import Noise  # noqa: E402
from tf_alignment._support.session import clear_session  # noqa: E402
from tf_alignment._version import __version__  # noqa: E402
from tf_alignment.conversion import (  # noqa: E402
    convert,
    fuse_batch_normalization,
    load_model,
    strip,
    summary,
    unfuse_batch_normalization,
)
from tf_alignment.layers.modulation import modulate  # noqa: E402

__all__ = [
    "Noise",
    "__version__",
    "analysis",
    "callbacks",
    "clear_session",
    "constraints",
    "convert",
    "data",
    "distribute",
    "feedback",
    "fuse_batch_normalization",
    "layers",
    "load_model",
    "maps",
    "metrics",
    "models",
    "modulate",
    "optimizers",
    "phases",
    "plots",
    "primitives",
    "probe",
    "schedules",
    "spiking",
    "strip",
    "studies",
    "summary",
    "testing",
    "unfuse_batch_normalization",
]

_show_public_names(_sys.modules[__name__])
