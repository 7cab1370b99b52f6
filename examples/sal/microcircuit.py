r"""Train a cortical microcircuit by a teacher while SAL aligns its feedback weight.

python -m examples.sal.microcircuit --quick

The circuit has three neurons in a chain, input, hidden and output, and an interneuron beside the
output. The apical compartment of the hidden neuron receives the output with weight B and the
interneuron with weight −B. The interneuron mirrors the output as it would be without a teacher, so
that the difference in the apical compartment is an error:

    input   u = pattern
    hidden  u = b + v_bas + λ_api v_api,   v_bas = W₁ PSP(input)
            v_api = B (PSP(output) − PSP(interneuron))
    inter   u = b + v_bas,                 v_bas = W₂ PSP(hidden)
    output  u = b + v_bas + λ_nudge (u_target − v̄_bas − b)

The teacher has the same chain with W = 2 and b = −1 and no feedback. After each pattern of 2000
steps, ΔW = η (φ(ū) − φ(v̄_bas + b)) times the mean PSP below, with φ = σ and means over the pattern.
On 5 of the 20 patterns of an epoch there is no teacher: λ_api is 1, the interneuron is
disconnected, and SAL changes B, here with exponential traces that are not cut off. With `fa`, B
stays fixed; with `copy`, B is equal to W₂; both have the teacher on all patterns.

Patterns are biases of the input neuron. Many students with W and B ~ U(−3, 3) run at once.
"""

from __future__ import annotations

import argparse
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from examples import command_line
from examples.sal.files import common, new_parser, write
from tf_alignment.spiking.sampling import (
    Neuron,
    State,
    initial_state,
    step,
    uniforms,
)

NEURONS = Neuron(tau=10)
STEPS = 2000  # per pattern
PATTERNS, WITH_SAL = 20, 5
LAMBDA_API, LAMBDA_NUDGE = 0.02, 0.6
TEACHER, BIAS = 2.0, -1.0
RATES = 0.2, 0.003  # learning rates of W₁ and W₂, per spike of the neuron below
RATE_SAL = 0.001  # learning rate of B, per pair of spikes with trace 1
RANGE = 3.0  # largest absolute value of initial W and B, and of the patterns
AVERAGE = 0.005  # rate of the running mean v̄_bas per step: 20 refractory times
METHODS = ("sal", "fa", "copy")
INPUT, HIDDEN, OUTPUT, INTER = range(4)


class Students(NamedTuple):
    """Weights and neurons of all students, which learn side by side.

    Attributes:
        lower: W₁ from input to hidden neuron, `(students,)`.
        upper: W₂ from hidden neuron to output, `(students,)`.
        feedback: B, `(students,)`.
        neurons: State of the four neurons, `(students, 4)`.
        average: Running mean of v_bas of the output, `(students,)`.
    """

    lower: tf.Tensor
    upper: tf.Tensor
    feedback: tf.Tensor
    neurons: State
    average: tf.Tensor


class Study:
    """Simulation of the students of all methods.

    Args:
        students: Number of students per method.
        seed: Seed of patterns, initial weights and spikes.

    Attributes:
        rows: Method of each student.
        seed: Seed of the spikes.
        patterns: Biases of the input neuron, `(PATTERNS,)`.
        start: Students before learning.
    """

    def __init__(self, students: int, seed: int) -> None:
        self.rows = np.repeat(METHODS, students)
        self.seed = seed
        rng = np.random.default_rng(seed)
        self.patterns = tf.constant(rng.uniform(-RANGE, RANGE, PATTERNS), tf.float32)
        starts = rng.uniform(-RANGE, RANGE, (3, students))
        w1, w2, b = (np.tile(a, len(METHODS)) for a in starts)
        b = np.where(self.rows == "copy", w2, b)
        n = len(self.rows)
        self.start = Students(
            tf.constant(w1, tf.float32),
            tf.constant(w2, tf.float32),
            tf.constant(b, tf.float32),
            initial_state((n, 4), NEURONS),
            tf.zeros(n),
        )
        self._sal = tf.constant(self.rows == "sal")
        self._copy = tf.constant(self.rows == "copy")

    @tf.function(jit_compile=True)
    def epoch(self, students: Students, number: tf.Tensor) -> Students:
        """Present all patterns once; in the first `WITH_SAL` patterns SAL changes B.

        Args:
            students: Students before the epoch.
            number: Number of the epoch.
        """

        def body(pattern: tf.Tensor, students: Students) -> tuple[tf.Tensor, Students]:
            return pattern + 1, self._pattern(students, pattern, number * PATTERNS + pattern)

        return tf.while_loop(lambda p, _: p < PATTERNS, body, (tf.constant(0), students))[1]

    def _pattern(self, students: Students, pattern: tf.Tensor, count: tf.Tensor) -> Students:
        drive = self.patterns[pattern]
        # students without SAL have a teacher on all patterns
        aside = self._sal & (pattern < WITH_SAL)
        taught = tf.cast(~aside, tf.float32)
        target = BIAS + TEACHER * tf.sigmoid(BIAS + TEACHER * tf.sigmoid(drive))
        w1, w2, b = students.lower, students.upper, students.feedback
        draws = uniforms((STEPS, len(self.rows), 4), tf.stack([self.seed, count]), compiled=True)

        def body(t: tf.Tensor, carried: Any) -> tuple[tf.Tensor, Any]:
            neurons, average, sums, api, pairs, trace = carried

            def potential(psp: tf.Tensor) -> tf.Tensor:
                v_api = b * (psp[:, OUTPUT] - taught * psp[:, INTER])
                v_bas = w2 * psp[:, HIDDEN]
                nudge = LAMBDA_NUDGE * taught * (target - average - BIAS)
                gain = tf.where(aside, 1.0, LAMBDA_API)
                hidden = BIAS + w1 * psp[:, INPUT] + gain * v_api
                return tf.stack(
                    [tf.fill(w1.shape, drive), hidden, BIAS + v_bas + nudge, BIAS + v_bas], 1
                )

            psp = tf.cast(neurons.age <= NEURONS.tau, tf.float32)
            spikes, neurons = step(potential, neurons, draws[t], NEURONS)
            average += AVERAGE * (w2 * psp[:, HIDDEN] - average)
            # `pair_sums` of the library sums over networks, but each student has its own B
            up = trace[:, HIDDEN] * spikes[:, OUTPUT] - spikes[:, HIDDEN] * trace[:, OUTPUT]
            api += b * (psp[:, OUTPUT] - psp[:, INTER])
            nudges = sums[1] + LAMBDA_NUDGE * (target - average - BIAS)
            trace = np.exp(-1 / NEURONS.tau) * (trace + spikes)
            return t + 1, (neurons, average, (sums[0] + psp, nudges), api, pairs + up, trace)

        zero, zeros = tf.zeros_like(w1), tf.zeros((len(self.rows), 4))
        start = students.neurons, students.average, (zeros, zero), zero, zero, zeros
        _, (neurons, average, (psp, nudge), api, pairs, _) = tf.while_loop(
            lambda t, _: t < STEPS, body, (tf.constant(0), start)
        )
        psp, nudge, api = psp / STEPS, nudge / STEPS, LAMBDA_API * api / STEPS
        basal = BIAS + w1 * psp[:, INPUT], BIAS + w2 * psp[:, HIDDEN]
        spikes = psp * (STEPS / NEURONS.tau)
        rises = tf.sigmoid(basal[0] + api) - tf.sigmoid(basal[0])
        w1 += RATES[0] * taught * rises * spikes[:, INPUT]
        rises = tf.sigmoid(basal[1] + nudge) - tf.sigmoid(basal[1])
        w2 += RATES[1] * taught * rises * spikes[:, HIDDEN]
        b = tf.where(aside, b + RATE_SAL * pairs, tf.where(self._copy, w2, b))
        return Students(w1, w2, b, neurons, average)

    def errors(self, students: Students) -> np.ndarray:
        """Return the error of each student, `(students,)`.

        The error is the root mean square, over the patterns, of the difference between the rates of
        the student's output and of the teacher's output.
        """
        drive = self.patterns.numpy()[None]

        def output(w1: Any, w2: Any) -> np.ndarray:
            hidden = sigmoid(BIAS + np.reshape(w1, (-1, 1)) * sigmoid(drive))
            return sigmoid(BIAS + np.reshape(w2, (-1, 1)) * hidden)

        difference = output(students.lower, students.upper) - output(TEACHER, TEACHER)
        return np.sqrt(np.mean(difference**2, 1))


def sigmoid(u: np.ndarray) -> np.ndarray:
    """Return the logistic function 1 / (1 + e^−u)."""
    return 1 / (1 + np.exp(-u))


def draw(results: dict[str, Any]) -> Any:
    """Draw error and distance of B from W₂ over the epochs, and B against W₂ after the last epoch.

    Args:
        results: Epochs, and curves and final weights of each method.
    """
    figure, [[error, distance, scatter]] = common.new_figure(1, 3)
    for name, curves in results["methods"].items():
        error.plot(results["epochs"], curves["error"], label=name)
        distance.plot(results["epochs"], curves["distance"], label=name)
        if name != "copy":
            scatter.plot(curves["W2"], curves["B"], ".", label=name)
    scatter.plot([-RANGE, 2 * RANGE], [-RANGE, 2 * RANGE], color="grey", lw=0.8)
    error.set(xlabel="epoch", ylabel="rms error of the output")
    distance.set(xlabel="epoch", ylabel="|B − W₂|, median")
    scatter.set(xlabel="W₂", ylabel="B")
    handles = error.get_legend_handles_labels()
    figure.legend(*handles, loc="outside upper center", ncols=3, fontsize=8)
    students = len(results["methods"]["sal"]["B"])
    common.caption(figure, f"{students} students from one seed; every dot is a student at the end")
    return figure


def main() -> None:
    """Train the students, print the table, and write numbers and figure."""
    arguments = parse()
    study = Study(arguments.students, arguments.seed)
    students = study.start
    curves: dict[str, dict[str, list[float]]] = {
        m: {"error": [], "distance": [], "same sign": []} for m in METHODS
    }

    def measure() -> None:
        errors, w2, b = study.errors(students), students.upper.numpy(), students.feedback.numpy()
        for method, found in curves.items():
            rows = study.rows == method
            found["error"].append(float(np.mean(errors[rows])))
            found["distance"].append(float(np.median(np.abs(b - w2)[rows])))
            found["same sign"].append(float(np.mean((b * w2 > 0)[rows])))

    measure()
    for epoch in range(arguments.epochs):
        students = study.epoch(students, tf.constant(epoch))
        measure()
        if (epoch + 1) % 10 == 0:
            print(f"epoch {epoch + 1:>4}/{arguments.epochs}", flush=True)
    table = []
    for method, found in curves.items():
        error, distance, sign = (found[n][-1] for n in ("error", "distance", "same sign"))
        table.append((method, f"{error:.4f}", f"{distance:.3f}", f"{100 * sign:.0f} %"))
        rows = study.rows == method
        found["W1"] = students.lower.numpy()[rows].astype(float).round(4).tolist()
        found["W2"] = students.upper.numpy()[rows].astype(float).round(4).tolist()
        found["B"] = students.feedback.numpy()[rows].astype(float).round(4).tolist()
    head = ("feedback", "rms error", "median of abs(B − W₂)", "same sign")
    print("", common.markdown(head, table), sep="\n")
    results = {"epochs": list(range(arguments.epochs + 1)), "methods": curves}
    write(arguments, "microcircuit", results, draw(results))


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = new_parser(__doc__)
    parser.number("--epochs", "of training", 150, 20)
    parser.number("--students", "of each method", 50)
    return parser.parse_args()


if __name__ == "__main__":
    command_line.run(main)
