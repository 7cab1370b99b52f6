"""Figure 3 of the paper: how well the product path aligns with W, against the expansion ratio.

    python -m examples.product_feedback.expansion
    python -m examples.product_feedback.expansion --quick

Without training, the script computes the eigenvalues of `BᵀB` for random B, and the angle between W
and the path `R B` if `R = W Bᵀ`, to which product feedback converges when it has forgotten its
start. With training, it measures this angle in networks that have learned handwritten digits.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

import tf_alignment as ta
from examples import command_line, common
from examples.curves import last, with_deviation
from examples.product_feedback import study
from examples.product_feedback.mnist import DIGITS, network

INPUTS, OUTPUTS = 256, 100
EXPANSIONS = np.logspace(0, 2, 11)
TRAINED = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0)
SPECTRA = (2.0, 10.0)
# Strong decay until the start is forgotten, then little decay, so that the network learns the task.
RECIPE = study.Recipe(15, 16, 0.05, (13,), 0.2, 0.1, 1e-4, coupled=False, first_epochs=10)
QUICK = study.Recipe(4, 16, 0.05, (3,), 0.2, 0.4, 1e-4, coupled=False, first_epochs=3)


def fixed_kernel(rng: np.random.Generator, expansion: float, outputs: int) -> np.ndarray:
    """Draw a random B as the layers do: uniform with variance 1/population.

    Args:
        rng: Random generator.
        expansion: Number of units of the extra population divided by the number of outputs.
        outputs: Number of outputs of the layer.

    Returns:
        B, `(population, outputs)`.
    """
    population = max(1, round(expansion * outputs))
    limit = np.sqrt(3.0 / population)
    return rng.uniform(-limit, limit, (population, outputs))


def simulate(expansion: float, draws: int, outputs: int = OUTPUTS, seed: int = 0) -> common.Numbers:
    """Draw random W and B, set `R = W Bᵀ`, and compare the path with W.

    Args:
        expansion: Number of units of the extra population divided by the number of outputs.
        draws: Number of draws.
        outputs: Number of outputs of the layer.
        seed: Seed of the draws.

    Returns:
        Expansion, and for each draw the path angle in degrees, the norm ratio, and mean and
        deviation of the eigenvalues of `BᵀB`.
    """
    rng = np.random.default_rng((seed, round(1000 * expansion), outputs))
    found: dict[str, list[float]] = {
        name: [] for name in ("angle", "norm_ratio", "eigenvalue_mean", "eigenvalue_deviation")
    }
    for _ in range(draws):
        forward = rng.standard_normal((INPUTS, outputs))
        fixed = fixed_kernel(rng, expansion, outputs)
        path = (forward @ fixed.T) @ fixed
        eigenvalues = np.linalg.eigvalsh(fixed.T @ fixed)
        found["angle"].append(float(ta.metrics.path_angle(forward, path)))
        found["norm_ratio"].append(float(ta.metrics.norm_ratio(forward, path)))
        found["eigenvalue_mean"].append(float(eigenvalues.mean()))
        found["eigenvalue_deviation"].append(float(eigenvalues.std()))
    return {"expansion": float(expansion), **found}


def spectrum(expansion: float, draws: int, seed: int = 1) -> np.ndarray:
    """Return the eigenvalues of `BᵀB` of several random B, `(draws * 100,)`.

    Args:
        expansion: Number of units of the extra population divided by the number of outputs, 100.
        draws: Number of random B.
        seed: Seed of the draws.
    """
    rng = np.random.default_rng((seed, round(1000 * expansion)))
    kernels = (fixed_kernel(rng, expansion, OUTPUTS) for _ in range(draws))
    return np.concatenate([np.linalg.eigvalsh(fixed.T @ fixed) for fixed in kernels])


def train(arguments: Any, expansions: tuple[float, ...]) -> list[common.Numbers]:
    """Train networks on digits with product feedback, with each expansion and seed.

    Args:
        arguments: Parsed command line.
        expansions: Expansion ratios.

    Returns:
        Runs, see `study.runs_of`.
    """
    recipe, ending = (QUICK, "-quick") if arguments.quick else (RECIPE, "")
    return study.runs_of(
        f"expansion{ending}",
        functools.partial(network, 64, 256),
        study.data,
        recipe,
        [
            study.variant("pfa", recipe, name=f"expansion{each:g}{ending}", expansion=each)
            for each in expansions
        ],
        arguments,
        settings=DIGITS,
        compiled=False,
    )


def at_end(runs: list[common.Numbers], layer: str) -> dict[float, dict[str, np.ndarray]]:
    """Return the measures of a layer after training, `{expansion: {measure: (seeds,)}}`.

    Args:
        runs: Runs of `train`.
        layer: Name of the layer.
    """
    return {
        expansion: {
            "angle": last(own, f"{layer}/angle"),
            "norm_ratio": last(own, f"{layer}/norm_ratio"),
            "settled": np.array([run["settled_angle"][layer] for run in own]),
            "accuracy": last(own, "accuracy", 100),
        }
        for expansion, own in common.grouped(runs, "expansion").items()
    }


def table(runs: list[common.Numbers], few: dict[float, common.Numbers]) -> str:
    """Return a Markdown table of theory and measurement after training, with a row per expansion.

    Args:
        runs: Runs of `train`.
        few: Numbers of `simulate` for ten outputs, by expansion.
    """
    columns = (
        "expansion",
        "theory °",
        "layer2 (256 units) °",
        "layer3 (10 units) °",
        "layer3 settled °",
        "random, 10 units °",
        "norm ratio, theory",
        "layer2",
        "test accuracy %",
    )
    rows = []
    high = at_end(runs, "layer3")
    for expansion, low in at_end(runs, "layer2").items():
        rows.append(
            (
                f"{expansion:g}",
                f"{float(ta.analysis.product_path_angle(expansion)):.2f}",
                with_deviation(low["angle"], 1),
                with_deviation(high[expansion]["angle"], 1),
                with_deviation(high[expansion]["settled"], 1),
                with_deviation(few[expansion]["angle"], 1),
                f"{float(ta.analysis.product_norm_ratio(expansion)):.3f}",
                with_deviation(low["norm_ratio"], 3),
                with_deviation(low["accuracy"], 1),
            )
        )
    return common.markdown(columns, rows)


def draw(
    simulated: list[common.Numbers],
    spectra: dict[float, np.ndarray],
    runs: list[common.Numbers],
) -> Any:
    """Draw eigenvalues and path angle against the expansion, and spectra of `BᵀB`.

    The spectra are compared with the law of Marchenko and Pastur.

    Args:
        simulated: Numbers of `simulate`, one dict per expansion.
        spectra: Eigenvalues of `spectrum`, by expansion.
        runs: Runs of `train`.
    """
    figure, axes = common.new_figure(2, 2)
    fine = np.logspace(0, 2, 200)
    ratios = np.array([one["expansion"] for one in simulated])
    mean = np.array([np.mean(one["eigenvalue_mean"]) for one in simulated])
    deviation = np.array([np.mean(one["eigenvalue_deviation"]) for one in simulated])
    panel = axes[0, 0]
    panel.plot(ratios, mean, color="black", marker="o", markersize=3, label="mean")
    panel.fill_between(ratios, mean - deviation, mean + deviation, alpha=0.2, label="± deviation")
    for sign, label in ((1, "theory, 1 ± √λ"), (-1, None)):
        panel.plot(fine, 1 + sign / np.sqrt(fine), "k--", linewidth=0.8, label=label)
    panel.set(xscale="log", xlabel="expansion", ylabel="eigenvalues of BᵀB")
    panel.legend(frameon=False)
    panel = axes[0, 1]
    angle = np.array([one["angle"] for one in simulated])
    panel.plot(fine, ta.analysis.product_path_angle(fine), "k--", linewidth=0.8, label="theory")
    panel.errorbar(
        ratios, angle.mean(1), angle.std(1, ddof=1), fmt="ko", markersize=3, label="R = W Bᵀ"
    )
    for layer, colour in (("layer2", "#D55E00"), ("layer3", "#56B4E9")):
        trained = at_end(runs, layer)
        panel.errorbar(
            list(trained),
            [one["angle"].mean() for one in trained.values()],
            [one["angle"].std(ddof=1) for one in trained.values()],
            fmt="s",
            color=colour,
            markersize=5,
            fillstyle="none",
            label=f"trained, {layer}",
        )
    panel.set(xscale="log", xlabel="expansion", ylabel="path angle (degrees)", ylim=(0, 55))
    panel.legend(frameon=False)
    for panel, (expansion, eigenvalues) in zip(axes[1], spectra.items(), strict=True):
        panel.hist(eigenvalues, bins=60, density=True, color="#56B4E9", alpha=0.6)
        low, high = ta.analysis.marchenko_pastur_support(expansion)
        v = np.linspace(low, high, 400)
        panel.plot(v, ta.analysis.marchenko_pastur_density(v, expansion), "k--", linewidth=1)
        panel.set(xlabel=f"eigenvalues of BᵀB, expansion {expansion:g}", ylabel="density")
    draws, seeds = angle.shape[1], len({run["seed"] for run in runs})
    common.caption(
        figure,
        f"means of {draws} draws, trained: of {seeds} seeds; bars: ± 1 standard deviation (n - 1)",
    )
    return figure


def main() -> None:
    """Simulate random weights, train the networks, and write table and figure."""
    parser = command_line.new_parser(__doc__, "product_feedback", seeds=3, jobs=True, data=False)
    parser.number("--draws", "random W and B", 100, 10)
    arguments = parser.parse_args()
    draws = arguments.draws
    simulated = [simulate(expansion, draws) for expansion in EXPANSIONS]
    for one in simulated:
        print(
            f"expansion {one['expansion']:6.2f}  angle {np.mean(one['angle']):5.2f}° "
            f"± {np.std(one['angle'], ddof=1):.2f}, theory "
            f"{float(ta.analysis.product_path_angle(one['expansion'])):5.2f}°",
            flush=True,
        )
    spectra = {expansion: spectrum(expansion, draws) for expansion in SPECTRA}
    expansions = (1.0, 10.0) if arguments.quick else TRAINED
    runs = train(arguments, expansions)
    few = {expansion: simulate(expansion, draws, outputs=10) for expansion in expansions}
    print("", table(runs, few), sep="\n")
    name = "expansion-quick" if arguments.quick else "expansion"
    numbers = {"simulated": simulated, "ten_outputs": list(few.values()), "runs": runs}
    common.write(arguments.output / name, numbers, draw(simulated, spectra, runs))


if __name__ == "__main__":
    command_line.run(main)
