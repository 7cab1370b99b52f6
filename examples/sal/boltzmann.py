r"""Train asymmetric sampling networks on a Boltzmann distribution, with and without SAL.

python -m examples.sal.boltzmann --quick

Wake-sleep learning compares how often two neurons are active together under the target and when the
network runs freely, ΔW_ij = η (⟨z_i z_j⟩_target − ⟨z_i z_j⟩_sampled). This update is the same for
both directions of a pair, so that an asymmetry of the initial weights persists. SAL draws the two
weights of a pair towards each other.

There are K = 7 neurons. The target has W*, b* ~ U(−1, 1). W starts as symmetric N(0, 0.2) plus
N(0, asymmetry) for each entry, clipped at ±2. The wake statistics are exact, the sleep statistics
are those of the spikes of one iteration: 1000 refractory times over all chains. Both learning rates
are 0.01. All networks (asymmetries, seeds, rules) run at once. The figure shows
KL(target ‖ sampled), measured in long runs.

Neurons spike at intervals of at least τ steps, with which sampling is exact. The published network
has intervals of at least τ + 1 (`--interval 51`), which at τ = 10 would increase the divergence
more than asymmetry does. An interrupted run is continued after its last point of the curves when it
is started with the same arguments.
"""

from __future__ import annotations

import argparse
import itertools
import json
import zlib
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from examples import command_line
from examples.sal.files import common, new_parser, unfinished, write
from tf_alignment.spiking.sampling import (
    Neuron,
    State,
    initial_state,
    step,
    uniforms,
)

K = 7
CLIP = 2.0
ITERATION = 1000  # refractory times per iteration, over all chains
WIDTH = 0.2  # standard deviation of the symmetric part of W at the start
ASYMMETRIES = (0.0, 0.2, 0.5, 1.0)


class Networks(NamedTuple):
    """Weights, biases and neurons of all networks, which learn side by side.

    Attributes:
        weights: Weights from neuron i to neuron j, `(networks, K, K)`.
        biases: Biases of the neurons, `(networks, K)`.
        neurons: State of the neurons, `(networks, chains, K)`.
    """

    weights: tf.Tensor
    biases: tf.Tensor
    neurons: State


class Target:
    """Boltzmann distribution over K binary units, with random weights and biases.

    Args:
        seed: Seed of weights and biases.

    Attributes:
        states: All states of the units, `(2**K, K)`.
        p: Probability of each state, `(2**K,)`.
        means: Probability that a unit is active, `(K,)`.
        pairs: Probability that two units are active together, `(K, K)`.
    """

    states = np.array(list(itertools.product([0, 1], repeat=K)))

    def __init__(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        weights = np.triu(rng.uniform(-1, 1, (K, K)), 1)
        energy = np.einsum("si,ij,sj->s", self.states, weights, self.states)
        p = np.exp(energy + self.states @ rng.uniform(-1, 1, K))
        self.p = p / p.sum()
        self.means = self.p @ self.states
        self.pairs = np.einsum("s,si,sj->ij", self.p, self.states, self.states)

    def divergence(self, counts: np.ndarray) -> float:
        """Return KL(target ‖ sampled) for the counts of the states, `(2**K,)`, in nats.

        Half a count is added to each state, so that no sampled probability is 0.
        """
        q = (counts + 0.5) / (counts + 0.5).sum()
        return float(np.sum(self.p * np.log(self.p / q)))


class Study:
    """Networks with their targets, and the compiled functions that simulate them.

    Args:
        arguments: Parsed command line.

    Attributes:
        parameters: Time constants of the neurons.
        chains: Number of parallel simulations of each network.
        seed: Seed of the spikes in learning.
        rate: Learning rate of wake-sleep and of SAL.
        steps: Number of time steps per iteration.
        rows: Asymmetry, whether there is SAL, and seed of each network.
        targets: Target of each network.
    """

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.parameters = Neuron(arguments.tau, arguments.interval)
        self.chains, self.seed, self.rate = arguments.chains, arguments.seed, arguments.rate
        self.steps = ITERATION * arguments.tau // arguments.chains
        seeds = range(arguments.seed, arguments.seed + arguments.seeds)
        self.rows = list(itertools.product(arguments.asymmetries, (False, True), seeds))
        targets = {seed: Target(seed) for seed in seeds}
        self.targets = [targets[seed] for _, _, seed in self.rows]
        # a seed that differs from the seed of learning, so that evaluation has other random numbers
        drawn = np.random.SeedSequence([abs(self.seed), zlib.crc32(b"evaluation")])
        self._evaluation = int(drawn.generate_state(1)[0] >> 1)
        self._means = tf.constant([t.means for t in self.targets], tf.float32)
        self._pairs = tf.constant([t.pairs for t in self.targets], tf.float32)
        self._sal = tf.constant([[[float(sal)]] for _, sal, _ in self.rows], tf.float32)

    def start(self) -> Networks:
        """Return the networks before learning, whose weights are the same with and without SAL."""
        weights = []
        for asymmetry, _, seed in self.rows:
            rng = np.random.default_rng(seed + 1000)
            symmetric = np.triu(rng.normal(0, WIDTH, (K, K)), 1)
            start = symmetric + symmetric.T + asymmetry * rng.normal(size=(K, K))
            np.fill_diagonal(start, 0.0)
            weights.append(np.clip(start, -CLIP, CLIP))
        shape = (len(self.rows), self.chains, K)
        return Networks(
            tf.constant(np.array(weights), tf.float32),
            tf.zeros((len(self.rows), K)),
            initial_state(shape, self.parameters),
        )

    @tf.function(jit_compile=True)
    def learn(self, networks: Networks, first: tf.Tensor, iterations: tf.Tensor) -> Networks:
        """Learn for some wake-sleep iterations.

        Args:
            networks: Networks before these iterations.
            first: Number of the first iteration.
            iterations: Number of iterations.
        """

        def body(number: tf.Tensor, networks: Networks) -> tuple[tf.Tensor, Networks]:
            return number + 1, self._iteration(networks, number)

        last = first + iterations
        return tf.while_loop(lambda number, _: number < last, body, (first, networks))[1]

    def _iteration(self, networks: Networks, number: tf.Tensor) -> Networks:
        ages, spikes, neurons = self._run(networks, tf.stack([self.seed, number]))
        tau, samples = self.parameters.tau, self.steps * self.chains
        z = tf.cast(ages <= tau, tf.float32)
        together = tf.einsum("tnci,tncj->nij", z, z) / samples
        # `pair_sums` of the library adds up networks with the same weights; here each has its own.
        # The trace of the nearest earlier spike, 1 − |Δt| / τ, is known from its age.
        traces = tf.nn.relu(1 - ages / tau)
        earlier = tf.einsum("tnci,tncj->nij", traces, spikes) * (tau / samples)
        # SAL weakens a synapse from i to j if i spikes before j, and strengthens it otherwise
        sal = tf.linalg.matrix_transpose(earlier) - earlier
        change = self._pairs - together + self._sal * sal
        off_diagonal = 1 - tf.eye(K)
        return Networks(
            tf.clip_by_value(networks.weights + self.rate * off_diagonal * change, -CLIP, CLIP),
            networks.biases + self.rate * (self._means - tf.reduce_mean(z, (0, 2))),
            neurons,
        )

    @tf.function(jit_compile=True)
    def sample(self, networks: Networks, number: tf.Tensor) -> tuple[tf.Tensor, State]:
        """Sample the states of the networks, twice per refractory time.

        Args:
            networks: Networks, whose weights stay fixed.
            number: Number of the sample, which selects the random numbers.

        Returns:
            States as binary numbers, `(samples, networks, chains)`, and the neurons afterwards.
        """
        ages, _, neurons = self._run(networks, tf.stack([self._evaluation, number]))
        z = tf.cast(ages[:: max(1, self.parameters.tau // 2)] <= self.parameters.tau, tf.int32)
        return tf.reduce_sum(z * 2 ** tf.range(K - 1, -1, -1), -1), neurons

    def _run(self, networks: Networks, seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, State]:
        """Simulate the networks for one iteration.

        Returns:
            Ages of the neurons before each step and spikes in each step, both
            `(steps, networks, chains, K)`, and the neurons afterwards.
        """
        shape = networks.neurons.age.shape
        draws = uniforms((self.steps, *shape), seed, compiled=True)

        def potential(psp: tf.Tensor) -> tf.Tensor:
            return tf.matmul(psp, networks.weights) + networks.biases[:, None]

        def advance(before: tuple[State, tf.Tensor], uniform: tf.Tensor) -> Any:
            return step(potential, before[0], uniform, self.parameters)[::-1]

        start = networks.neurons
        states, spikes = tf.scan(advance, draws, (start, tf.zeros(shape)))
        ages = tf.concat([start.age[None], states.age[:-1]], 0)
        return ages, spikes, tf.nest.map_structure(lambda x: x[-1], states)

    def divergences(self, networks: Networks, iterations: int, number: int) -> list[float]:
        """Return the divergence of each network from its target, in nats.

        Args:
            networks: Networks, whose weights stay fixed.
            iterations: Number of iterations in which states are counted.
            number: Number of the point of the curves, which selects the random numbers.
        """
        counts = np.zeros((len(self.rows), 2**K))
        for i in range(iterations):
            codes, neurons = self.sample(networks, tf.constant(number * iterations + i))
            networks = networks._replace(neurons=neurons)
            for row, found in enumerate(np.moveaxis(codes.numpy(), 1, 0)):
                counts[row] += np.bincount(found.ravel(), minlength=2**K)
        return [t.divergence(c) for t, c in zip(self.targets, counts, strict=True)]


def asymmetry_of(weights: tf.Tensor) -> list[float]:
    """Return the root mean square of W_ij − W_ji of each network."""
    w = weights.numpy()
    return [float(np.sqrt(np.mean((m - m.T)[np.triu_indices(K, 1)] ** 2))) for m in w]


def draw(results: dict[str, Any]) -> Any:
    """Draw the divergence over training, with a panel per asymmetry, as means over the seeds.

    Args:
        results: Iterations and curves of the networks.
    """
    asymmetries = list(dict.fromkeys(row["asymmetry"] for row in results["networks"]))
    figure, [panels] = common.new_figure(1, len(asymmetries))
    for panel in panels[1:]:
        panel.sharey(panels[0])
    for panel, asymmetry in zip(panels, asymmetries, strict=True):
        for sal in (False, True):
            curves = [
                row["divergence"]
                for row in results["networks"]
                if (row["asymmetry"], row["sal"]) == (asymmetry, sal)
            ]
            label = "with SAL" if sal else "without"
            panel.semilogy(results["iterations"], np.mean(curves, 0), label=label)
        panel.set(title=f"asymmetry {asymmetry:g}", xlabel="iterations")
    panels[0].set_ylabel("KL(target ‖ sampled), nats")
    handles = panels[0].get_legend_handles_labels()
    figure.legend(*handles, loc="outside upper center", ncols=2, fontsize=8)
    common.caption(figure, common.of_seeds({len(curves)}))
    return figure


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = new_parser(__doc__)
    parser.number("--tau", "refractory time in steps", 50, 10)
    parser.number("--interval", "fewest steps between spikes (the refractory time)")
    parser.number("--iterations", "of wake and sleep", 20000, 2000)
    parser.number("--rate", "of both rules", 0.01, 0.1, kind=float)
    parser.add_argument("--asymmetries", type=float, nargs="+", default=ASYMMETRIES)
    parser.number("--chains", "parallel runs", 100)
    parser.number("--seeds", "targets and starts", 1)
    return parser.parse_args()


def learn(study: Study, arguments: argparse.Namespace) -> dict[str, list[Any]]:
    """Learn, and measure the networks several times on the way.

    Args:
        study: Networks.
        arguments: Parsed command line.

    Returns:
        `iterations` at which is measured, and `divergence` and `asymmetry` of every network at each
        of them.
    """
    networks = study.start()
    curves: dict[str, list[Any]] = {"iterations": [], "divergence": [], "asymmetry": []}
    points, long = (4, 200) if arguments.quick else (10, 200)
    part = arguments.iterations // points
    folder = unfinished(arguments, "boltzmann")
    file = folder.with_name(f"{folder.name}.json")
    if file.exists():
        stored = json.loads(file.read_text())
        curves = stored["curves"]
        weights, biases, age = (tf.constant(a, tf.float32) for a in stored["networks"])
        networks = Networks(weights, biases, networks.neurons._replace(age=age))
    for point in range(len(curves["iterations"]), points + 1):
        if point:
            first = tf.constant((point - 1) * part)
            networks = study.learn(networks, first, tf.constant(part))
        curves["iterations"].append(point * part)
        curves["divergence"].append(study.divergences(networks, long, point))
        curves["asymmetry"].append(asymmetry_of(networks.weights))
        state = networks.weights, networks.biases, networks.neurons.age
        arrays = [a.numpy().tolist() for a in state]
        common.write_json(file, {"curves": curves, "networks": arrays})
        print(f"iteration {point * part:>6}/{arguments.iterations}", flush=True)
    return curves


def main() -> None:
    """Train the networks, print the table, and write numbers and figure."""
    arguments = parse()
    study = Study(arguments)
    curves = learn(study, arguments)
    rows = [
        {
            "asymmetry": asymmetry,
            "sal": sal,
            "seed": seed,
            "divergence": [d[i] for d in curves["divergence"]],
            "rms of W - W transposed": [a[i] for a in curves["asymmetry"]],
        }
        for i, (asymmetry, sal, seed) in enumerate(study.rows)
    ]
    results = {"iterations": curves["iterations"], "networks": rows}
    table = []
    for asymmetry, sal in itertools.product(arguments.asymmetries, (False, True)):
        chosen = [r for r in rows if (r["asymmetry"], r["sal"]) == (asymmetry, sal)]
        ends = [
            np.mean([r[name][-1] for r in chosen])
            for name in ("divergence", "rms of W - W transposed")
        ]
        rule = "wake-sleep and SAL" if sal else "wake-sleep"
        table.append((f"{asymmetry:g}", rule, f"{ends[0]:.4f}", f"{ends[1]:.3f}"))
    head = ("asymmetry", "rule", "KL at the end", "rms of W − Wᵀ")
    print("", common.markdown(head, table), sep="\n")
    write(arguments, "boltzmann", results, draw(results))


if __name__ == "__main__":
    command_line.run(main)
