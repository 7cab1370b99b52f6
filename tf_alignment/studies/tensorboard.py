"""Export of a study's runs to TensorBoard, with its table of hyperparameters."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import tensorflow as tf

from tf_alignment._support.optional import require

__all__ = ["write_tensorboard"]


def write_tensorboard(results: Any, directory: str | os.PathLike[str]) -> Path:
    """Write the curves of every run, with the run's case, method, seed and tuned values.

    Args:
        results: `Results` of the study.
        directory: Directory for `tensorboard --logdir`.

    Returns:
        Path of the directory.

    Raises:
        ImportError: If TensorBoard is not installed.
    """
    api = require("tensorboard.plugins.hparams.api", "Writing hyperparameters")
    directory = Path(directory)
    for run in results.runs:
        with tf.summary.create_file_writer(str(directory / run["name"])).as_default(step=0):
            values = {"method": run["variant"], "model": run["case"], "seed": run["seed"]}
            values |= {k: v if v is not None else "-" for k, v in run.get("values", {}).items()}
            api.hparams(values, trial_id=run["name"])
            for name, curve in run["curves"].items():
                for epoch, value in enumerate(curve):
                    if value is not None:
                        tf.summary.scalar(name, value, step=epoch)
    return directory
