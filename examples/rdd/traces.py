"""Figure 2 C-D of the paper: windows of a neuron, and the fit of a synapse around the threshold.

    python -m examples.rdd.traces --output docs/results/rdd
    python -m examples.rdd.traces --quick

192 units drive 10 units through Gaussian weights, in the paradigm of `ta.phases.RDD`. These are the
last two layers of the paper's network, untrained. Panels C show voltage v and drive u of one unit
that is driven for 100 ms, the windows in which its drive is compared with the threshold, and the
feedback q from one unit above. Panels D show all windows of one synapse in the simulated
`--seconds`: the gain of the feedback against the largest drive in the window, and a line on either
side of the threshold. The two synapses have the largest and the smallest weight, so that the jump
at the threshold is visible.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from examples import command_line, common
from tf_alignment.spiking import lif

UNITS, ABOVE = 192, 10
HERTZ = 1000.0  # factor from the rates of the simulation, in 1/ms, to Hz
BINS = 8  # number of bins on either side of the threshold


class Traces(NamedTuple):
    """Simulated variables of a set of driven units and the layer above, with a row per time step.

    Attributes:
        v: Voltages after each step, `(time, units)`.
        u: Drives after each step, `(time, units)`.
        spikes: Spikes in each step, `(time, units)`.
        open: Whether a window is open after each step, `(time, units)`.
        peak: Largest drive of a window that closes in this step, minus infinity in other steps,
            `(time, units)`.
        q: Feedback of the units above, `(time, above)`, in Hz.
    """

    v: np.ndarray
    u: np.ndarray
    spikes: np.ndarray
    open: np.ndarray
    peak: np.ndarray
    q: np.ndarray


class Fit(NamedTuple):
    """Lines on both sides of the threshold, fitted by least squares to feedback in Hz.

    Attributes:
        left: Line below the threshold: value at the threshold, slope, and standard error of the
            value.
        right: Line above the threshold, in the same form as `left`.
        windows: Numbers of windows below and above the threshold.
    """

    left: tuple[float, float, float]
    right: tuple[float, float, float]
    windows: tuple[int, int]

    @property
    def jump(self) -> tuple[float, float]:
        """Jump β of the feedback at the threshold, and its standard error, in Hz."""
        return self.right[0] - self.left[0], float(np.hypot(self.right[2], self.left[2]))


class Synapse(NamedTuple):
    """Synapse, its windows, and their fit.

    Attributes:
        name: Name of the synapse in figure and table.
        unit: Index of the driven unit.
        above: Index of the unit above.
        weight: Weight at the scale of the spiking network.
        peak: Largest drive in each window.
        gained: Gain of the feedback in each window, in Hz.
        fit: Lines fitted to `gained` against `peak`.
    """

    name: str
    unit: int
    above: int
    weight: float
    peak: np.ndarray
    gained: np.ndarray
    fit: Fit

    @property
    def numbers(self) -> common.Numbers:
        """Numbers of the synapse for the JSON file."""
        return {
            "W": self.weight,
            "from unit": self.unit,
            "to unit": self.above,
            "windows below and above": self.fit.windows,
            "value, slope, standard error below": self.fit.left,
            "value, slope, standard error above": self.fit.right,
            "jump, standard error": self.fit.jump,
        }


def gaussian(seed: int) -> np.ndarray:
    """Draw Gaussian weights between the layers, `(UNITS, ABOVE)`, scaled for spiking units."""
    drawn = np.random.default_rng(seed).standard_normal((UNITS, ABOVE)).astype("float32")
    return np.asarray(lif.scaled_kernel(drawn))


def record(paradigm: lif.Paradigm, kernel: np.ndarray, bits: tf.Tensor) -> Traces:
    """Simulate a set of units while it is driven, and for the length of a window afterwards.

    Args:
        paradigm: Constants of the simulation.
        kernel: Weights of the set's units, `(units, above)`.
        bits: Random bits that drive the units, `(time, units)`, see `Paradigm.draw`.
    """
    below = lif.DrivenState.at_rest(kernel.shape[:1])
    above = lif.AboveState.at_rest(kernel.shape[1:])
    rows = []
    for own in tf.pad(bits, ((0, paradigm.neuron.steps(paradigm.window.length)), (0, 0))):
        below, (spikes, peak) = paradigm.step_driven(below, own)
        above, (_, q) = paradigm.step_above(above, tf.linalg.matvec(kernel, spikes, True))
        window = below.window
        rows.append((below.unit.v, window.u, spikes, window.left > 0, peak, HERTZ * q))
    return Traces(*(np.stack(column) for column in zip(*rows, strict=True)))


def windows(events: lif.Events, unit: int, above: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the windows of a synapse.

    Args:
        events: Recorded events of the simulation.
        unit: Index of the driven unit.
        above: Index of the unit above.

    Returns:
        Largest drive in each window, and gain of the feedback in each window in Hz.
    """
    peak, time = np.asarray(events.peak), np.asarray(events.time)
    sets, place = np.nonzero(np.asarray(events.sets) == unit)
    peak, time = peak[:, sets, place], time[:, sets, place]
    gained = np.asarray(events.response[..., above])[sets, time]
    closed = np.isfinite(peak)
    return peak[closed], HERTZ * gained[closed]


def fit(peak: np.ndarray, gained: np.ndarray, threshold: float) -> Fit:
    """Fit a line on each side of the threshold by least squares.

    Args:
        peak: Largest drive in each window.
        gained: Gain of the feedback in each window, in Hz.
        threshold: Threshold of the units.
    """
    lines = []
    sides = (peak < threshold, peak >= threshold)
    for side in sides:
        design = np.stack([np.ones(side.sum()), peak[side] - threshold], 1)
        found, *_ = np.linalg.lstsq(design, gained[side], rcond=None)
        rest = gained[side] - design @ found
        variance = rest @ rest / (side.sum() - 2) * np.linalg.inv(design.T @ design)
        lines.append((float(found[0]), float(found[1]), float(variance[0, 0] ** 0.5)))
    return Fit(lines[0], lines[1], (int(sides[0].sum()), int(sides[1].sum())))


def binned(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Average points in bins that have the same number of points, sorted by x.

    Returns:
        Mean of x, mean of y, and standard error of y, each `(BINS,)`.
    """
    parts = np.array_split(np.argsort(x), BINS)
    means = [(x[p].mean(), y[p].mean(), y[p].std(ddof=1) / len(p) ** 0.5) for p in parts]
    return tuple(np.array(column) for column in zip(*means, strict=True))  # type: ignore[return-value]


def draw(
    traces: Traces, unit: int, above: int, synapses: Sequence[Synapse], paradigm: lif.Paradigm
) -> Any:
    """Draw the traces of a unit with its windows, and a panel for each synapse.

    Args:
        traces: Traces of a set of units.
        unit: Place of the unit in its set.
        above: Index of the unit above.
        synapses: Synapses with their fits.
        paradigm: Constants of the simulation.
    """
    figure, (row, others) = common.new_figure(2, 2, height=2.4)
    draw_windows(row, traces, unit, above, paradigm)
    draw_voltages(row[0], traces, unit, paradigm.neuron)
    draw_feedback(row[1], traces, above, paradigm.neuron)
    for panel, synapse in zip(others, synapses, strict=True):
        draw_fit(panel, synapse, paradigm.neuron.threshold)
    common.caption(figure, "points with bars: means of an eighth of the windows, ± standard error")
    return figure


def times(traces: Traces, neuron: lif.Neuron) -> np.ndarray:
    """Return the time at the end of every step, in ms."""
    return neuron.dt * np.arange(1, 1 + len(traces.v))


def draw_windows(
    panels: Sequence[Any], traces: Traces, unit: int, above: int, paradigm: lif.Paradigm
) -> None:
    """Draw windows as coloured background, with the largest drive and the gain of the feedback.

    Args:
        panels: Matplotlib axes of the voltages and of the feedback.
        traces: Traces of a set of units.
        unit: Place of the unit in its set.
        above: Index of the unit above.
        paradigm: Constants of the simulation.
    """
    top, bottom = panels
    time, length = times(traces, paradigm.neuron), paradigm.neuron.steps(paradigm.window.length)
    for number, close in enumerate(np.flatnonzero(np.isfinite(traces.peak[:, unit]))):
        # a window of n steps that closes in step t opened in step t - n
        first, last = time[close - length], time[close]
        for panel in panels:
            panel.axvspan(first, last, color="#56B4E9", alpha=0.2 + 0.15 * (number % 2), lw=0)
        top.plot([first, last], [traces.peak[close, unit]] * 2, color="#D55E00", linewidth=1.2)
        before = traces.q[close - length, above]
        mean = traces.q[close - length + 1 : close + 1, above].mean()
        bottom.plot(first, before, "o", color="black", markersize=4)
        bottom.plot([first, last], [mean] * 2, color="#D55E00", linewidth=1.2)


def draw_voltages(panel: Any, traces: Traces, unit: int, neuron: lif.Neuron) -> None:
    """Draw voltage, drive and spikes of a unit."""
    time, u = times(traces, neuron), traces.u[:, unit]
    panel.axhline(neuron.threshold, color="grey", linewidth=0.8)
    panel.plot(time, u, color="black", linewidth=0.9, linestyle="dashed")
    panel.plot(time, traces.v[:, unit], color="black", linewidth=1.1)
    fired = time[traces.spikes[:, unit] > 0]
    panel.plot(fired, np.full(len(fired), 1.06 * max(2.0, u.max())), "k|", markersize=7)
    panel.set_title("C: voltage, drive (dashed), windows", fontsize=10)
    panel.set(xlabel="time (ms)", ylabel="v, u")


def draw_feedback(panel: Any, traces: Traces, above: int, neuron: lif.Neuron) -> None:
    """Draw the feedback from a unit above."""
    panel.plot(times(traces, neuron), traces.q[:, above], color="black", linewidth=1.1)
    panel.set_title("C: feedback from one unit above", fontsize=10)
    panel.set(xlabel="time (ms)", ylabel="q (Hz)")


def draw_fit(panel: Any, synapse: Synapse, threshold: float) -> None:
    """Draw the windows of a synapse, means in bins, and a line on either side of the threshold."""
    peak, gained, lines = synapse.peak, synapse.gained, synapse.fit
    panel.plot(peak, gained, ".", color="#999999", markersize=1.5, alpha=0.4)
    sides = ((peak < threshold, lines.left), (peak >= threshold, lines.right))
    for side, (value, slope, _) in sides:
        x, y, error = binned(peak[side], gained[side])
        panel.errorbar(x, y, error, fmt="o", color="#0072B2", markersize=3.5, linewidth=1)
        ends = np.array([threshold, x[0] if x[0] < threshold else x[-1]])
        panel.plot(ends, value + slope * (ends - threshold), color="#D55E00", linewidth=1.8)
    panel.axvline(threshold, color="grey", linewidth=0.8)
    panel.set(xlabel="largest drive in the window", ylabel="feedback gained (Hz)")
    panel.set_title("D: {}, jump {:.0f} ± {:.0f} Hz".format(synapse.name, *lines.jump), fontsize=10)
    panel.set(ylim=np.percentile(gained, (1, 99)), xlim=np.percentile(peak, (0.2, 99.5)))


def fitted(
    events: lif.Events, name: str, unit: int, above: int, weight: float, threshold: float
) -> Synapse:
    """Return a synapse with its windows and their fit.

    Args:
        events: Recorded events of the simulation.
        name: Name of the synapse in figure and table.
        unit: Index of the driven unit.
        above: Index of the unit above.
        weight: Weight at the scale of the spiking network.
        threshold: Threshold of the units.
    """
    peak, gained = windows(events, unit, above)
    return Synapse(name, unit, above, weight, peak, gained, fit(peak, gained, threshold))


def most_windows(events: lif.Events, unit: int) -> tuple[int, int]:
    """Find the set of units in which a unit has most windows.

    Args:
        events: Recorded events of the simulation.
        unit: Index of the driven unit.

    Returns:
        Index of the first such set, and place of the unit in this set.
    """
    driven = np.argwhere(np.asarray(events.sets) == unit)
    closed = np.isfinite(np.asarray(events.peak)).sum(0)
    row, column = max(driven, key=lambda at: closed[tuple(at)])
    return int(row), int(column)


def table(synapses: Sequence[Synapse]) -> str:
    """Return a Markdown table with a row per synapse.

    A row has the numbers of windows, both values of the feedback at the threshold, and the jump.
    """
    head = ("synapse", "W", "windows below", "above", "gain at θ from below", "from above", "jump")
    rows = []
    for one in synapses:
        pairs = (one.fit.left[::2], one.fit.right[::2], one.fit.jump)
        cells = [f"{value:.1f} ± {error:.1f}" for value, error in pairs]
        rows.append((one.name, f"{one.weight:.2f}", *map(str, one.fit.windows), *cells))
    return common.markdown(head, rows)


def main() -> None:
    """Simulate the units, print the table of synapses, and draw the figure."""
    parser = command_line.new_parser(__doc__, "rdd", data=False)
    parser.number("--seconds", "simulated, of the fit", 1200.0, 60.0, kind=float)
    parser.number("--seed", "of all that is drawn", 1, kind=int)
    given = parser.parse_args()
    paradigm, kernel = lif.Paradigm(), gaussian(given.seed)
    rounds = max(1, round(given.seconds / paradigm.round_seconds(UNITS)))
    sets, bits = paradigm.draw(UNITS, rounds, tf.constant([given.seed, 0]))
    simulate = tf.function(lambda: paradigm.run(kernel, sets, bits).__dict__, autograph=False)
    events = lif.Events(**simulate())
    synapses = []
    for name, place in (("largest", kernel.argmax()), ("smallest", kernel.argmin())):
        unit, above = (int(i) for i in np.unravel_index(place, kernel.shape))
        weight, threshold = float(kernel[unit, above]), paradigm.neuron.threshold
        synapses.append(fitted(events, f"{name} weight", unit, above, weight, threshold))
    print(table(synapses))
    shown = synapses[0]
    row, column = most_windows(events, shown.unit)
    traces = record(paradigm, kernel[np.asarray(events.sets)[row]], bits[:, row])
    content = {
        "seconds": given.seconds,
        "units": (UNITS, ABOVE),
        "synapses": {one.name: one.numbers for one in synapses},
    }
    figure = draw(traces, column, shown.above, synapses, paradigm)
    common.write(given.output / "figure2", content, figure)


if __name__ == "__main__":
    command_line.run(main)
