"""The paper's convolutional network, and spiking copies of its dense layers."""

from __future__ import annotations

from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf

import tf_alignment as ta

__all__ = ["DENSE", "activities", "convolutional", "spike_rates"]

DENSE = ("dense1", "dense2", "output")


def convolutional(
    size: int, channels: int, classes: int, filters: int = 64, units: Sequence[int] = (384, 192)
) -> keras.Model:
    """Table 1 of the paper, with random crops and flips in front.

    Crops are of images in [-1, 1] with 4 pixels of -1 around them, as shifts.

    Returns:
        A model from `(batch, size, size, channels)` to logits.
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


def activities(model: keras.Model, x: np.ndarray) -> list[np.ndarray]:
    """What the features and the dense layers answer to images, after ReLU.

    Returns:
        Arrays `(images, units)`, from the features to the output.
    """
    outputs = [model.get_layer(name).output for name in ("features", *DENSE)]
    found = keras.Model(model.inputs, outputs).predict(x, verbose=0)
    return [np.maximum(a, 0.0) for a in found]


def spike_rates(
    kernels: Sequence[tf.Tensor], features: np.ndarray, seconds: float = 0.5, seed: int = 0
) -> list[np.ndarray]:
    """Spike rates of the dense layers as a network of LIF units.

    What enters them are Poisson processes whose rates are as the features, 200 Hz for the largest.

    Args:
        kernels: Forward kernels of the dense layers.
        features: What enters them, `(images, units)`, none below 0.
        seconds: Simulated time.
        seed: Of the Poisson processes.

    Returns:
        Rates in Hz, `(images, units)`, of each dense layer.
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
