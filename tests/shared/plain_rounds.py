"""Rounds of the spiking simulation, drawn for a few units, and where their windows are."""

import dataclasses

import numpy as np
import tensorflow as tf


def dyadic_kernel(units, above, seed=0):
    """Weights whose sums are exact in float32, so that the order of additions does not count."""
    return np.random.default_rng(seed).integers(-64, 65, (units, above)) / 8.0


@dataclasses.dataclass
class Seen:
    """A window of the plain simulation."""

    unit: int
    time: int
    drive: float
    response: np.ndarray


def drawn(paradigm, units, rounds=1, seed=3):
    sets, uniforms = paradigm.draw(units, rounds, tf.constant([seed, 5]))
    return sets.numpy(), uniforms.numpy()


def windows(events):
    """The windows of an `Events`, by set and unit in the order of their closing."""
    closed = np.argwhere(events.peak.numpy() > -np.inf)
    return {
        (s, i, t): (events.peak.numpy()[t, s, i], events.response.numpy()[s, t])
        for t, s, i in closed
    }
