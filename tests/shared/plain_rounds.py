"""Rounds of the spiking simulation, drawn for a few units, and where their windows are."""

import dataclasses

import numpy as np
import tensorflow as tf

from tf_alignment.spiking.lif import Events


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
    """Sets and random bits, of which the plain simulation makes numbers in (0, 1)."""
    sets, bits = paradigm.draw(units, rounds, tf.constant([seed, 5]))
    return sets.numpy(), bits.numpy()


def simulated(paradigm, kernel, sets, bits, jit_compile=False):
    """Events of rounds, simulated in one graph."""

    @tf.function(jit_compile=jit_compile, autograph=False)
    def run():
        events = paradigm.run(tf.constant(kernel, tf.float32), tf.constant(sets), bits)
        return [getattr(events, field.name) for field in dataclasses.fields(events)[:6]]

    return Events(*run(), paradigm.neuron.threshold, len(sets))


def windows(events):
    """The windows of an `Events`, by set, unit and the step of their closing."""
    peak, time, response = (x.numpy() for x in (events.peak, events.time, events.response))
    found = {}
    for k, s, i in np.argwhere(peak > -np.inf):
        t = time[k, s, i]
        found[s, i, t] = (peak[k, s, i], response[s, t])
    return found
