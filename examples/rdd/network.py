"""Convolutional network of the paper, and spike rates of spiking copies of its dense layers."""

from __future__ import annotations

from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf

import tf_alignment as ta

__all__ = ["DENSE", "activities", "convolutional", "feedback_of", "spike_rates"]

DENSE = ("dense1", "dense2", "output")


def convolutional(
    size: int, channels: int, classes: int, filters: int = 64, units: Sequence[int] = (384, 192)
) -> keras.Model:
    """Return the network of table 1 of the paper, with random crops and flips of training images.

    A crop from an image with a border of 4 pixels is made as a shift by up to 4 pixels, with -1 at
    the border.

    Args:
        size: Height and width of the images, in pixels.
        channels: Number of channels of the images.
        classes: Number of classes.
        filters: Number of filters of each convolution.
        units: Number of units of each hidden dense layer.

    Returns:
        Model from `(batch, size, size, channels)`, in [-1, 1], to logits.
    """
    shift = 4 / size
    augment = [
        keras.layers.RandomTranslation(
            shift, shift, fill_mode="constant", interpolation="nearest", fill_value=-1.0
        ),
        keras.layers.RandomFlip("horizontal"),
    ]
    shape = (size, size, channels)
    return ta.models.convnet(shape, classes, filters, units, augment=augment)


def feedback_of(convolution: str, dense: str) -> dict[str, str]:
    """Return the feedback of the network for `ta.convert`.

    Args:
        convolution: Method of the second convolution; no layer below the first one learns.
        dense: Method of the dense layers.
    """
    return {"conv2": convolution, **dict.fromkeys(DENSE, dense)}


def activities(model: keras.Model, x: np.ndarray) -> list[np.ndarray]:
    """Return the activities of the features and the dense layers for images, after ReLU.

    Args:
        model: Network of `convolutional`.
        x: Images, `(images, size, size, channels)`.

    Returns:
        Arrays `(images, units)`, from the features to the output.
    """
    outputs = [model.get_layer(name).output for name in ("features", *DENSE)]
    found = keras.Model(model.inputs, outputs).predict(x, verbose=0)
    return [np.maximum(a, 0.0) for a in found]


def spike_rates(
    kernels: Sequence[tf.Tensor], features: np.ndarray, seconds: float = 0.5, seed: int = 0
) -> list[np.ndarray]:
    """Simulate the dense layers as a network of leaky integrate-and-fire units.

    The inputs are Poisson processes whose rates are proportional to the features, with 200 Hz for
    the largest feature.

    Args:
        kernels: Forward kernels of the dense layers.
        features: Input of the dense layers, `(images, units)`, not negative.
        seconds: Simulated time, in seconds.
        seed: Seed of the Poisson processes.

    Returns:
        Spike rates of each dense layer, `(images, units)`, in Hz.
    """
    neuron, drive = ta.spiking.lif.Neuron(), ta.spiking.lif.Drive()
    mean = drive.rate * neuron.dt / 1000.0 * features / features.max()
    steps = neuron.steps(1000.0 * seconds)
    counts = np.random.default_rng(seed).poisson(mean, (steps, *mean.shape))
    spikes, rates = tf.constant(counts, tf.float32), []
    for kernel in kernels:
        scaled = ta.spiking.lif.scaled_kernel(tf.convert_to_tensor(kernel), drive.psi)
        current = tf.tensordot(ta.spiking.lif.respond(spikes, neuron), scaled, 1)
        spikes = ta.spiking.lif.simulate(current, neuron)
        rates.append(1000.0 / neuron.dt * tf.reduce_mean(spikes, 0).numpy())
    return rates
