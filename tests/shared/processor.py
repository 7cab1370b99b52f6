"""What TensorFlow can do on the processor that the tests run on."""

import functools

import tensorflow as tf


@functools.cache
def channels_first_runs():
    """Whether there are channels-first convolutions: on a CPU, only those of oneDNN."""
    try:
        tf.nn.conv2d(tf.ones((1, 1, 3, 3)), tf.ones((3, 3, 1, 1)), 1, "VALID", data_format="NCHW")
    except tf.errors.UnimplementedError:
        return False
    return True
