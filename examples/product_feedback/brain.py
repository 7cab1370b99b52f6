"""How symmetric are the weights of a network that learns well? Mixtures of synapses.

    python -m examples.product_feedback.brain
    python -m examples.product_feedback.brain --dataset mnist --data-dir ~/tensorflow_datasets
    python -m examples.product_feedback.brain --quick

In rat visual cortex, 31 % of connected pairs of neurons are connected in both directions, and the
strengths of the two synapses of such a pair correlate with r = 0.36 (Song et al. 2005). The script
first simulates the paper's model of this (appendix 1.2), in which r = 0.2, or 78 degrees, over all
pairs. It then trains networks that the paper proposes but does not train: some feedback synapses
follow Kolen-Pollack, some are fixed, and where there is none, the error takes the product path.
"""

from __future__ import annotations

import functools
from typing import Any

import keras
import numpy as np
import tensorflow as tf

import tf_alignment as ta
from examples import command_line, common
from examples.curves import last, with_deviation
from examples.product_feedback import study
from examples.product_feedback.mnist import DIGITS, MNIST, network

RECIPROCAL, CORRELATION = 0.31, 0.36
# Fractions of Kolen-Pollack synapses and of fixed synapses; all other pairs of neurons use the
# product path. The first mixtures are the pure kinds and even mixtures. In the others, 31 % of the
# pairs have a feedback synapse as in the cortex, with a growing fraction of Kolen-Pollack synapses:
# with 16 %, the weights are as symmetric as in the cortex.
MIXTURES = (
    (1.0, 0.0),
    (0.0, 1.0),
    (0.0, 0.0),
    (0.5, 0.5),
    (0.33, 0.33),
    (0.0, 0.31),
    (0.08, 0.23),
    (0.11, 0.20),
    (0.16, 0.15),
    (0.31, 0.0),
)
RECIPES = {
    "digits": study.Recipe(15, 16, 0.05, (13,), 0.2, 0.1, 1e-4, coupled=False, first_epochs=10),
    "mnist": study.Recipe(3, 64, 0.05, (), 1.0, 0.1, 1e-4, coupled=False),
}
QUICK = study.Recipe(4, 16, 0.05, (3,), 0.2, 0.4, 1e-4, coupled=False, first_epochs=3)


@keras.saving.register_keras_serializable(package="product_feedback")
class MixedFeedback(ta.feedback.ProductFeedback):
    """Feedback rule in which every entry of the feedback kernel is of one of three random kinds.

    - Kolen-Pollack: a synapse that receives the updates of the forward synapse.
    - Fixed: a synapse that keeps its initial strength.
    - Product: no synapse; the error takes the path through the extra population.

    The path as a whole learns as in product feedback. Its use for only some entries is an
    idealisation, since a population cannot leave out single pairs of neurons.

    Args:
        kp: Fraction of Kolen-Pollack entries.
        fixed: Fraction of fixed entries.
        expansion: Number of units of the extra population divided by the number of outputs.
    """

    id = "mixed"

    def __init__(self, kp: float, fixed: float, expansion: float = 10.0) -> None:
        super().__init__(expansion)
        if not (kp >= 0 and fixed >= 0 and kp + fixed <= 1):
            raise ValueError(f"`kp` and `fixed` must be fractions. Received: {kp}, {fixed}")
        self.kp, self.fixed = kp, fixed

    def build(self, setup: ta.feedback.Setup) -> None:
        """Create the product path, both kinds of synapses, and the random kind of each entry."""
        super().build(setup)
        shape, seed = tuple(setup.kernel.shape), setup.seed()

        def kinds(shape: Any, dtype: Any = None) -> tf.Tensor:
            draw = np.random.default_rng(seed).random(shape)
            kind = np.where(draw < self.kp, 0.0, np.where(draw < self.kp + self.fixed, 1.0, 2.0))
            return tf.constant(kind, tf.float32)

        setup.add("kinds", shape, kinds, trainable=False)
        setup.add("feedback_kernel", shape, setup.draw, trainable=True)
        setup.add("fixed_kernel", shape, setup.draw, trainable=False)

    def feedback_kernel(self, c: ta.feedback.Backward) -> tf.Tensor:
        """Return the kernel that sends the error: synapses, and the product path elsewhere."""
        direct = direct_synapses(c.weights)
        return tf.where(c.weights["kinds"] == 2.0, super().feedback_kernel(c), direct)

    def send(
        self, c: ta.feedback.Backward, dz: tf.Tensor
    ) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        """Return the error `dx`, and the gradients of product path and Kolen-Pollack synapses."""
        _, gradients = super().send(c, dz)
        dx = c.map.transpose(dz, self.feedback_kernel(c), c.x)
        return dx, {**gradients, "feedback_kernel": c.map.outer(c.x, dz, c.kernel)}

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of the constructor."""
        return {"kp": self.kp, "fixed": self.fixed, "expansion": self.expansion}


def direct_synapses(weights: Any) -> tf.Tensor:
    """Return the feedback synapses of `MixedFeedback`, 0 where a pair of neurons has none."""
    kinds = tf.convert_to_tensor(weights["kinds"])
    plastic = tf.convert_to_tensor(weights["feedback_kernel"])
    fixed = tf.convert_to_tensor(weights["fixed_kernel"])
    return tf.where(kinds == 0.0, plastic, tf.where(kinds == 1.0, fixed, tf.zeros_like(fixed)))


def symmetry(run: Any) -> common.Numbers:
    """Measure how the forward weights of each layer correlate with the feedback synapses.

    Returns:
        `{"correlation": {name of the layer: numbers of correlations}}`.
    """
    mixed = [layer for layer in run.model.layers if getattr(layer, "feedback", None) is not None]
    return {
        "correlation": {
            layer.name: correlations(
                layer.kernel.numpy().ravel(),
                direct_synapses(layer.feedback_weights).numpy().ravel(),
            )
            for layer in mixed
        }
    }


def correlations(forward: np.ndarray, backward: np.ndarray) -> common.Numbers:
    """Correlate forward and backward synapses of pairs of neurons.

    Args:
        forward: Strengths of the forward synapses, `(pairs,)`.
        backward: Strengths of the backward synapses, `(pairs,)`, 0 where there is no synapse.

    Returns:
        Correlation over `all` pairs, correlation over `reciprocal` pairs (None if there are none),
        and `fraction` of reciprocal pairs.
    """
    both = backward != 0.0

    def of(pairs: np.ndarray) -> float | None:
        if not pairs.any():
            return None
        return round(float(ta.metrics.correlation(forward[pairs], backward[pairs])), 6)

    return {
        "all": of(np.ones_like(both)),
        "reciprocal": of(both),
        "fraction": round(float(both.mean()), 6),
    }


def simulate(pairs: int, seed: int = 0) -> common.Numbers:
    """Simulate the paper's model of the cortex by drawing pairs of neurons.

    Args:
        pairs: Number of pairs.
        seed: Seed of the strengths.

    Returns:
        Correlation and angle (degrees) over all pairs, simulated and by formula.
    """
    rng = np.random.default_rng(seed)
    forward, other = rng.standard_normal((2, pairs))
    correlated = CORRELATION * forward + np.sqrt(1 - CORRELATION**2) * other
    backward = np.where(rng.random(pairs) < RECIPROCAL, correlated, 0.0)
    formula = float(ta.analysis.reciprocal_correlation(RECIPROCAL, CORRELATION))
    return {
        "pairs": pairs,
        "correlation": float(ta.metrics.correlation(forward, backward)),
        "angle": float(ta.metrics.weight_angle(forward, backward)),
        "correlation_by_formula": formula,
        "angle_by_formula": float(np.degrees(np.arccos(formula))),
    }


def summarise(runs: list[common.Numbers], layer: str) -> dict[str, np.ndarray]:
    """Return measures of a mixture after training, `{measure: (seeds,)}`.

    Args:
        runs: Runs of the mixture, one per seed.
        layer: Name of the layer whose weights are measured.
    """
    found = [run["correlation"][layer] for run in runs]
    return {
        "accuracy": last(runs, "accuracy", 100),
        "angle": last(runs, f"{layer}/angle"),
        "gradient_angle": last(runs, "layer1/gradient_angle"),
        "all": np.array([one["all"] for one in found]),
        "reciprocal": np.array([one["reciprocal"] for one in found if one["reciprocal"]]),
        "fraction": np.array([one["fraction"] for one in found]),
    }


def table(mixtures: dict[tuple[float, float], list[common.Numbers]]) -> str:
    """Return a Markdown table of accuracy and correlations in the wide layer, a row per mixture.

    Args:
        mixtures: Runs of each mixture, `{(fraction of Kolen-Pollack, fraction fixed): runs}`.
    """
    head = (
        "kp / fixed / product %",
        "test accuracy %",
        "r, all pairs",
        "weight angle °",
        "r, reciprocal pairs",
        "angle of all feedback °",
        "gradient angle, layer1 °",
    )
    rows = []
    for (kp, fixed), runs in mixtures.items():
        found = summarise(runs, "layer2")
        rows.append(
            (
                f"{100 * kp:.0f} / {100 * fixed:.0f} / {100 * (1 - kp - fixed):.0f}",
                with_deviation(found["accuracy"], 2),
                with_deviation(found["all"], 3),
                with_deviation(np.degrees(np.arccos(found["all"])), 1),
                with_deviation(found["reciprocal"], 3),
                with_deviation(found["angle"], 1),
                with_deviation(found["gradient_angle"], 1),
            )
        )
    return common.markdown(head, rows)


def draw(mixtures: dict[tuple[float, float], list[common.Numbers]], model: Any) -> Any:
    """Draw accuracy and gradient angle against the weight correlation of all pairs.

    Args:
        mixtures: Runs of each mixture, `{(fraction of Kolen-Pollack, fraction fixed): runs}`.
        model: Numbers of `simulate`.
    """
    figure, axes = common.new_figure(1, 2, height=3.0)
    for panel, (measure, label) in zip(
        axes[0],
        (("accuracy", "test accuracy (%)"), ("gradient_angle", "gradient angle, layer1 (degrees)")),
        strict=True,
    ):
        for (kp, fixed), runs in mixtures.items():
            found = summarise(runs, "layer2")
            panel.errorbar(
                found["all"].mean(),
                found[measure].mean(),
                found[measure].std(ddof=1) if len(runs) > 1 else None,
                fmt="o",
                markersize=5,
                label=f"{100 * kp:.0f} / {100 * fixed:.0f} / {100 * (1 - kp - fixed):.0f}",
            )
        panel.axvline(model["correlation"], color="black", linestyle="--", linewidth=0.8)
        panel.set(xlabel="weight correlation, all pairs", ylabel=label)
    figure.legend(
        *axes[0, 0].get_legend_handles_labels(),
        title="kp / fixed / product %",
        fontsize=8,
        loc="outside right upper",
    )
    seeds = max(map(len, mixtures.values()))
    spread = (
        f"means over {seeds} seeds, ± 1 standard deviation (n - 1)" if seeds > 1 else "one seed"
    )
    common.caption(figure, f"{spread}; dashed: rat visual cortex")
    return figure


def main() -> None:
    """Simulate the model of the cortex, train the mixtures, and write table and figure."""
    parser = command_line.new_parser(__doc__, "product_feedback", seeds=3, jobs=True)
    parser.add_argument("--dataset", choices=sorted(RECIPES), default="digits")
    arguments = parser.parse_args()
    settings, width = (MNIST, 512) if arguments.dataset == "mnist" else (DIGITS, 256)
    inputs = study.load(settings, arguments.data_dir).train.x.shape[1]
    model = simulate(1_000_000)
    print(
        f"{100 * RECIPROCAL:.0f} % of pairs reciprocal with r = {CORRELATION}: over all pairs r = "
        f"{model['correlation']:.3f}, {model['angle']:.1f}° (formula "
        f"{model['correlation_by_formula']:.3f}, {model['angle_by_formula']:.1f}°)",
        flush=True,
    )
    name = "brain-quick" if arguments.quick else f"brain-{arguments.dataset}"
    recipe = QUICK if arguments.quick else RECIPES[arguments.dataset]
    rows = {
        f"{name}-{100 * kp:.0f}-{100 * fixed:.0f}": (kp, fixed)
        for kp, fixed in (((0.0, 0.0), (0.16, 0.15)) if arguments.quick else MIXTURES)
    }
    runs = study.runs_of(
        name,
        functools.partial(network, inputs, width),
        study.data,
        recipe,
        # "pfa" selects the weight decay of product feedback, which the mixtures need too
        [
            study.variant("pfa", recipe, name=row, feedback=MixedFeedback(*fractions))
            for row, fractions in rows.items()
        ],
        arguments,
        settings=settings,
        compiled=arguments.dataset == "mnist",
        finish=[symmetry],
    )
    mixtures = {rows[row]: own for row, own in common.grouped(runs, "study").items()}
    print("", table(mixtures), sep="\n")
    numbers = {"model": model, "runs": [run for own in mixtures.values() for run in own]}
    common.write(arguments.output / name, numbers, draw(mixtures, model))


if __name__ == "__main__":
    command_line.run(main)
