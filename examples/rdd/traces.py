"""Figure 2 C-D of the paper: windows of one neuron, and the fit around the threshold of a synapse.

    python -m examples.rdd.traces --output docs/results/rdd
    python -m examples.rdd.traces --quick

192 units drive 10, with Gaussian weights, in the paradigm of `ta.phases.RDD`: the last two layers
of the paper's network, untrained. C: voltage v and drive u of one unit that is driven for 100 ms;
the windows in which its drive is compared with the threshold; the feedback q from one unit above.
D: every window of one synapse, its largest drive against what the feedback gained, and a line on
either side of the threshold. The synapses are those of the largest and of the smallest weight, so
that a jump can be seen; with `--seconds` simulated.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from examples import command_line, common
from tf_alignment.spiking import lif

UNITS, ABOVE = 192, 10
HERTZ = 1000.0  # the simulation counts in 1/ms
BINS = 8  # on either side of the threshold


class Traces(NamedTuple):
    """What a set of driven units and the layer above do, one row a time step.

    Attributes:
        v: Voltages after each step, `(time, units)`.
        u: Drives, likewise.
        spikes: Likewise.
        open: Whether a window is open after the step, likewise.
        peak: The largest drive of a window that closes, minus infinity elsewhere, likewise.
        q: Feedback of the units above, `(time, above)`, in Hz.
    """

    v: np.ndarray
    u: np.ndarray
    spikes: np.ndarray
    open: np.ndarray
    peak: np.ndarray
    q: np.ndarray


class Fit(NamedTuple):
    """A line on each side of the threshold, by least squares; feedback in Hz.

    Attributes:
        left: Value at the threshold, slope, and standard error of the value, below it.
        right: Likewise, from it on.
        windows: How many there are on either side.
    """

    left: tuple[float, float, float]
    right: tuple[float, float, float]
    windows: tuple[int, int]

    @property
    def jump(self) -> tuple[float, float]:
        """β, and its standard error."""
        return self.right[0] - self.left[0], float(np.hypot(self.right[2], self.left[2]))


def gaussian(seed: int) -> np.ndarray:
    """Weights of the two layers, at the scale of the spiking network."""
    drawn = np.random.default_rng(seed).standard_normal((UNITS, ABOVE)).astype("float32")
    return np.asarray(lif.scaled_kernel(drawn))


def record(paradigm: lif.Paradigm, kernel: np.ndarray, bits: tf.Tensor) -> Traces:
    """Simulate a set of units for as long as it is driven, and a window's length after.

    Args:
        paradigm: Constants.
        kernel: Weights of the set's units, `(units, above)`.
        bits: Of the units, `(time, units)`, see `Paradigm.draw`.
    """
    neuron, window, drive = paradigm.neuron, paradigm.window, paradigm.drive
    rest, rest_above = tf.zeros(kernel.shape[0]), tf.zeros(kernel.shape[1])
    synapse, unit = lif.SynapseState(rest, rest), lif.State(rest, rest)
    state = lif.WindowState(rest, rest, rest)
    below, feedback = (lif.SynapseState(rest_above, rest_above) for _ in range(2))
    above = lif.State(rest_above, rest_above)
    rows = []
    for own in tf.pad(bits, ((0, neuron.steps(window.length)), (0, 0))):
        uniform = (tf.cast(own, tf.float32) + 0.5) / 2.0**16
        arrived = lif.poisson(uniform, drive.rate * neuron.dt / 1000.0)
        response, synapse = lif.synapse_step(arrived, synapse, neuron)
        current = drive.weight * response
        spikes, unit = lif.step(current, unit, neuron)
        peak, state = lif.window_step(current, unit.v, state, neuron, window)
        response, below = lif.synapse_step(tf.linalg.matvec(kernel, spikes, True), below, neuron)
        spikes_above, above = lif.step(response, above, neuron)
        q, feedback = lif.synapse_step(spikes_above, feedback, neuron)
        rows.append((unit.v, state.u, spikes, state.left > 0, peak, HERTZ * q))
    return Traces(*(np.stack(column) for column in zip(*rows, strict=True)))


def windows(events: lif.Events, unit: int, above: int) -> tuple[np.ndarray, np.ndarray]:
    """Every window of a synapse: its largest drive, and what the feedback gained in it, in Hz."""
    peak, time = np.asarray(events.peak), np.asarray(events.time)
    sets, place = np.nonzero(np.asarray(events.sets) == unit)
    peak, time = peak[:, sets, place], time[:, sets, place]
    gained = np.asarray(events.response[..., above])[sets, time]
    closed = np.isfinite(peak)
    return peak[closed], HERTZ * gained[closed]


def fit(peak: np.ndarray, gained: np.ndarray, threshold: float) -> Fit:
    """Two lines by least squares."""
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
    """Means of x and y, and the standard error of y, of equal parts in the order of x."""
    parts = np.array_split(np.argsort(x), BINS)
    means = [(x[p].mean(), y[p].mean(), y[p].std(ddof=1) / len(p) ** 0.5) for p in parts]
    return tuple(np.array(column) for column in zip(*means, strict=True))  # type: ignore[return-value]


def draw(traces: Traces, unit: int, above: int, fits: dict[str, Any], paradigm: Any) -> Any:
    """Traces of a unit with its windows, and a panel for each synapse."""
    figure, axes = common.new_figure(2, 2, height=2.4)
    threshold, dt = paradigm.neuron.threshold, paradigm.neuron.dt
    time = dt * np.arange(1, 1 + len(traces.v))
    length = paradigm.neuron.steps(paradigm.window.length)
    top, bottom = axes[0]
    for panel in (top, bottom):
        panel.set_xlabel("time (ms)")
    closes = np.flatnonzero(np.isfinite(traces.peak[:, unit]))
    for number, close in enumerate(closes):
        # a window of n steps that closes in step t opened in step t - n
        first, last = time[close - length], time[close]
        for panel in (top, bottom):
            panel.axvspan(first, last, color="#56B4E9", alpha=0.2 + 0.15 * (number % 2), lw=0)
        largest = traces.peak[close, unit]
        top.plot([first, last], [largest] * 2, color="#D55E00", linewidth=1.2)
        before = traces.q[close - length, above]
        mean = traces.q[close - length + 1 : close + 1, above].mean()
        bottom.plot(first, before, "o", color="black", markersize=4)
        bottom.plot([first, last], [mean] * 2, color="#D55E00", linewidth=1.2)
    top.axhline(threshold, color="grey", linewidth=0.8)
    top.plot(time, traces.u[:, unit], color="black", linewidth=0.9, linestyle="dashed")
    top.plot(time, traces.v[:, unit], color="black", linewidth=1.1)
    fired = time[traces.spikes[:, unit] > 0]
    top.plot(
        fired, np.full(len(fired), 1.06 * max(2.0, traces.u[:, unit].max())), "k|", markersize=7
    )
    top.set_title("C: voltage, drive (dashed), windows", fontsize=10)
    top.set_ylabel("v, u")
    bottom.plot(time, traces.q[:, above], color="black", linewidth=1.1)
    bottom.set_title("C: feedback from one unit above", fontsize=10)
    bottom.set_ylabel("q (Hz)")
    for panel, (name, found) in zip(axes[1], fits.items(), strict=True):
        peak, gained, lines = found["peak"], found["gained"], found["fit"]
        panel.plot(peak, gained, ".", color="#999999", markersize=1.5, alpha=0.4)
        for side, (value, slope, _) in (
            (peak < threshold, lines.left),
            (peak >= threshold, lines.right),
        ):
            x, y, error = binned(peak[side], gained[side])
            panel.errorbar(x, y, error, fmt="o", color="#0072B2", markersize=3.5, linewidth=1)
            ends = np.array([threshold, x[0] if x[0] < threshold else x[-1]])
            panel.plot(ends, value + slope * (ends - threshold), color="#D55E00", linewidth=1.8)
        panel.axvline(threshold, color="grey", linewidth=0.8)
        panel.set(xlabel="largest drive in the window", ylabel="feedback gained (Hz)")
        panel.set_title("D: {}, jump {:.0f} ± {:.0f} Hz".format(name, *lines.jump), fontsize=10)
        low, high = np.percentile(gained, (1, 99))
        panel.set(ylim=(low, high), xlim=np.percentile(peak, (0.2, 99.5)))
    common.caption(figure, "points with bars: means of an eighth of the windows, ± standard error")
    return figure


def main() -> None:
    """Simulate, print, draw."""
    parser = command_line.new_parser(__doc__, "rdd", data=False)
    parser.number("--seconds", "simulated, of the fit", 1200.0, 60.0, kind=float)
    parser.number("--seed", "of all that is drawn", 1, kind=int)
    given = parser.parse_args()
    paradigm, kernel = lif.Paradigm(), gaussian(given.seed)
    rounds = max(1, round(given.seconds / paradigm.round_seconds(UNITS)))
    sets, bits = paradigm.draw(UNITS, rounds, tf.constant([given.seed, 0]))
    events = tf.function(lambda: paradigm.run(kernel, sets, bits).__dict__, autograph=False)
    found = lif.Events(**events())
    fits: dict[str, Any] = {}
    ends = {"largest weight": kernel.argmax(), "smallest weight": kernel.argmin()}
    rows = []
    for name, place in ends.items():
        unit, above = (int(i) for i in np.unravel_index(place, kernel.shape))
        peak, gained = windows(found, unit, above)
        lines = fit(peak, gained, paradigm.neuron.threshold)
        fits[name] = {"peak": peak, "gained": gained, "fit": lines, "at": (unit, above)}
        cells = [f"{value:.1f} ± {error:.1f}" for value, _, error in (lines.left, lines.right)]
        jump = "{:.1f} ± {:.1f}".format(*lines.jump)
        weight = f"{kernel[unit, above]:.2f}"
        rows.append((name, weight, *(str(n) for n in lines.windows), *cells, jump))
    head = ("synapse", "W", "windows below", "above", "gain at θ from below", "from above", "jump")
    print(common.markdown(head, rows))
    # of the times at which the unit of the largest weight is driven, the first with most windows
    unit, above = fits["largest weight"]["at"]
    driven = np.argwhere(np.asarray(found.sets) == unit)
    closed = np.isfinite(np.asarray(found.peak)).sum(0)
    row, column = (int(i) for i in max(driven, key=lambda at: closed[tuple(at)]))
    traces = record(paradigm, kernel[np.asarray(found.sets)[row]], bits[:, row])
    content = {
        "seconds": given.seconds,
        "units": (UNITS, ABOVE),
        "synapses": {
            name: {
                "W": float(kernel[one["at"]]),
                "from unit": one["at"][0],
                "to unit": one["at"][1],
                "windows below and above": one["fit"].windows,
                "value, slope, standard error below": one["fit"].left,
                "value, slope, standard error above": one["fit"].right,
                "jump, standard error": one["fit"].jump,
            }
            for name, one in fits.items()
        },
    }
    figure = draw(traces, column, above, fits, paradigm)
    common.write(given.output / "figure2", content, figure)


if __name__ == "__main__":
    command_line.run(main)
