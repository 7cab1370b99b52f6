"""The simulation behind regression discontinuity, spike for spike against plain Python."""

import numpy as np
import pytest
import tensorflow as tf
from plain_rounds import Seen, drawn, dyadic_kernel, simulated, windows

from tf_alignment.spiking.lif import Drive, Neuron, Paradigm, Window

PARADIGMS = {
    "paper": Paradigm(),
    "other": Paradigm(
        Neuron(dt=0.5, leak=0.2, dendritic=0.8, reset=-0.5, refractory=2.0, tau_long=8.0),
        Drive(rate=300.0, weight=3.5, fraction=0.3, hold=40.0),
        Window(alpha=0.15, length=21.0),
    ),
    "free drive": Paradigm(window=Window(free_drive=True)),
}


def plain_round(paradigm, kernel, sets, uniforms):
    """One round as the paper tells it: every unit of both layers, one time step after another.

    Spike responses are sums over all earlier spikes (equations 14 and 15), voltage and drive take
    Euler steps (3 and 4), windows open near the threshold and last T (section 4.4).

    Args:
        sets: `(sets, units of a set)`.
        uniforms: `(time, sets, units of a set)`.

    Returns:
        Spikes of both layers, `(time, units)`, and the windows that closed.
    """
    neuron, drive, window = paradigm.neuron, paradigm.drive, paradigm.window
    dt, (units, above) = neuron.dt, kernel.shape
    hold, length = round(drive.hold / dt), round(window.length / dt)
    steps = len(sets) * hold + length
    elapsed = dt * np.arange(steps)
    kappa = np.exp(-elapsed / neuron.tau_long) - np.exp(-elapsed / neuron.tau_short)
    kappa /= neuron.tau_long - neuron.tau_short
    input_spikes, spikes, spikes_above = (np.zeros((steps, n)) for n in (units, units, above))
    v, u, v_above = np.zeros(units), np.zeros(units), np.zeros(above)
    last, last_above = np.full(units, -1e9), np.full(above, -1e9)
    ends, began = np.full(units, -1), np.full(units, -1)
    opened, largest = np.zeros(units, int), np.zeros(units)
    before, total = np.zeros((units, above)), np.zeros((units, above))
    found = []
    for t in range(steps):
        s = t // hold
        if s < len(sets) and t == s * hold:
            began[sets[s]], ends[sets[s]] = t, t + hold
        for row, i in enumerate(sets[s] if s < len(sets) else []):
            input_spikes[t, i] = np.searchsorted(
                poisson_steps(drive.rate * dt / 1000.0),
                uniforms[t - s * hold, s, row],
                side="right",
            )
        history = kappa[t::-1]  # of spikes at times 0 ... t
        for i in range(units):
            active = began[i] >= 0 and t < ends[i] + length
            current = drive.weight * (history @ input_spikes[: t + 1, i]) if active else 0.0
            v[i] += dt * (-neuron.leak * v[i] + neuron.dendritic * (current - v[i]))
            u[i] += dt * (-neuron.leak * u[i] + neuron.dendritic * (current - u[i]))
            if active and v[i] >= neuron.threshold and (t - last[i]) * dt >= neuron.refractory:
                spikes[t, i], v[i], last[i] = 1.0, neuron.reset, t
            if not active:
                v[i] = u[i] = 0.0
        p = history @ spikes[: t + 1]
        v_above += dt * (-neuron.leak * v_above + neuron.dendritic * (p @ kernel - v_above))
        fires = (v_above >= neuron.threshold) & ((t - last_above) * dt >= neuron.refractory)
        spikes_above[t, fires], v_above[fires], last_above[fires] = 1.0, neuron.reset, t
        q = history @ spikes_above[: t + 1]
        for i in range(units):
            if opened[i] > 0:
                total[i] += q
                opened[i] -= 1
                if opened[i] == 0:
                    response = total[i] / length - before[i]
                    found.append(Seen(i, t, largest[i], response))
                else:
                    largest[i] = max(largest[i], u[i])
            if opened[i] == 0:
                u[i] = u[i] if window.free_drive else v[i]
                near = abs(v[i] - neuron.threshold) < window.alpha
                if near and t < ends[i]:  # what opens without drive would close without a state
                    opened[i], largest[i] = length, u[i]
                    before[i], total[i] = q, 0.0
    return spikes, spikes_above, found


def poisson_steps(mean):
    """The distribution function of a Poisson number."""
    k = np.arange(20)
    factorial = np.cumprod(np.maximum(k, 1.0))
    return np.cumsum(np.exp(-mean) * mean**k / factorial)


@pytest.mark.parametrize("jit_compile", [False, True])
@pytest.mark.parametrize("name", PARADIGMS)
def test_spike_for_spike_a_plain_simulation(name, jit_compile):
    paradigm, units, above = PARADIGMS[name], 23, 6
    kernel = dyadic_kernel(units, above)
    sets, bits = drawn(paradigm, units, rounds=2)
    uniforms = (bits + 0.5) / 2**16
    events = simulated(paradigm, kernel, sets, bits, jit_compile)
    found, count = windows(events), sets.shape[1]
    hold = round(paradigm.drive.hold / paradigm.neuron.dt)
    length = round(paradigm.window.length / paradigm.neuron.dt)
    expected = {}
    for r in range(2):
        mine = slice(r * count, (r + 1) * count)
        spikes, spikes_above, seen = plain_round(paradigm, kernel, sets[r], uniforms[:, mine])
        per_second = 1000.0 / paradigm.neuron.dt
        for s, members in enumerate(sets[r]):
            driven = slice(s * hold, (s + 1) * hold)
            rate = per_second * spikes[driven][:, members].mean(0)
            np.testing.assert_allclose(events.rate[r * count + s], rate, rtol=1e-5)
            rate = per_second * spikes_above[driven].mean(0)
            np.testing.assert_allclose(events.rate_above[r * count + s], rate, rtol=1e-5)
        place = {unit: (s, i) for s, row in enumerate(sets[r]) for i, unit in enumerate(row)}
        for w in seen:
            s, i = place[w.unit]
            expected[r * count + s, i, w.time - s * hold - length] = (w.drive, w.response)
    assert found.keys() == expected.keys()
    assert len(found) > 30
    drives = np.array([drive for drive, _ in expected.values()])
    assert 0.1 < np.mean(drives >= paradigm.neuron.threshold) < 0.95
    for key, (drive, response) in expected.items():
        np.testing.assert_allclose(found[key][0], drive, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(found[key][1], response, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("name", PARADIGMS)
def test_sparse_products_give_the_same_input(name):
    paradigm = PARADIGMS[name]
    sets, bits = paradigm.draw(23, 2, tf.constant([3, 5]))
    sets = tf.reshape(sets, (-1, sets.shape[-1]))
    spikes, *_ = paradigm.driven(bits)
    kernel = tf.constant(dyadic_kernel(23, 6), tf.float32)
    dense, sparse = (paradigm.weighted(kernel, sets, spikes, sparse=s) for s in (False, True))
    assert float(tf.reduce_max(tf.abs(dense))) > 0
    np.testing.assert_array_equal(sparse, dense)


def test_bits_are_the_counts_of_their_uniform_numbers():
    bits = np.arange(2**16, dtype=np.uint16)
    for rate in (1e-4, 200.0, 3000.0):
        paradigm = Paradigm(drive=Drive(rate=rate))
        counts = paradigm.spikes_in(tf.constant(bits)).numpy()
        steps = poisson_steps(rate / 1000.0)
        np.testing.assert_array_equal(counts, np.searchsorted(steps, (bits + 0.5) / 2**16, "right"))


def test_nothing_drives_a_unit_after_its_time():
    """At 20 spikes per step no number of 16 bits stands for 0 spikes; the number 0 does."""
    paradigm = Paradigm(drive=Drive(rate=20000.0, weight=0.01))
    assert float(paradigm.spikes_in(tf.zeros(3, tf.uint16))[0]) == 0.0
