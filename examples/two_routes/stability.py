r"""Figure 2 of "Two Routes": stable, diverging and collapsing flows, and layers of these kinds.

    python -m examples.two_routes.stability --data-dir ~/tensorflow_datasets
    python -m examples.two_routes.stability --model results/two_routes/models/NAME.keras
    python -m examples.two_routes.stability --quick

The upper panels show the symmetrised flow of the scalar theory for x = 1: of a weight mirror with
λ = β/α below, at and above x² and, beyond the paper, of the other rules. The lower panels show
feedback weights against forward weights of a network that was trained with a weight mirror without
division by the power of its input: on the layers' own activity or, with `--input-noise` as in the
paper, on Gaussian noise. The script trains this network unless `--model` names one that `train.py`
saved. The first convolution sends no error down and has no feedback weights, so that the first
panel shows the second convolution.

The table tests whether the theory predicts which layers diverge. x² is the mean square of an entry
of the layer's input, times the number of positions of a convolution, over which the mirror sums. It
is measured in an untrained copy of the network and in the trained network. A third prediction
takes into account that inputs are not white, so that for fixed W, B rests at xᵀx W / (λ N): it uses
‖xᵀx W‖ / (N ‖W‖) in place of x². For noise, all three are the variance of the noise times the
number of positions. The predicted ratio is x²/λ, the measured ratio is ‖B‖/‖W‖. A ratio that
differs from 1 by at most the factor `--factor` counts as stable. Training continues when a kernel
diverges or collapses, as long as the loss is finite.

Paper: Kunin et al. 2020.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

import tf_alignment as ta
from examples import command_line, common
from examples.two_routes import residual
from examples.two_routes.residual import Settings, arguments_of, settings_of

FLOWS = {
    "WM, λ = 0.5": {"amp": 1.0, "decay": 0.5},
    "WM, λ = 1": {"amp": 1.0, "decay": 1.0},
    "WM, λ = 2": {"amp": 1.0, "decay": 2.0},
    "IA, λ = 0.5, γ = α": {"amp": 1.0, "decay": 0.5, "null": 1.0},
    "IA, λ = 2, γ = α": {"amp": 1.0, "decay": 2.0, "null": 1.0},
    "SA and AA, α = β": {"self": 1.0, "decay": 1.0},
}
"""Coefficients of the rule in each panel of a flow, by title of the panel."""
HEAD = ("layer", "λ", "by x² before", "by x² after", "by xᵀx W after", "‖B‖/‖W‖", "angle")


@dataclasses.dataclass(frozen=True)
class Row:
    """Measurements of a layer for a row of the table.

    Attributes:
        layer: Name of the layer.
        ratio: Ratio of norms ‖B‖ / ‖W‖.
        slope: Slope of the regression of B on W through the origin.
        angle: Angle between W and B, in degrees.
        decay: Ratio λ = β/α of the coefficients of the layer's rule.
        before: x² in the untrained network.
        after: x² in the trained network.
        along: ‖xᵀx W‖ / (N ‖W‖) in the trained network.
    """

    layer: str
    ratio: float
    slope: float
    angle: float
    decay: float
    before: float
    after: float
    along: float


def measure(model: keras.Model, images: Any) -> list[Row]:
    """Measure each layer whose feedback weights a mirror has trained.

    Args:
        model: Trained network.
        images: Input images.

    Raises:
        ValueError: If there are fewer than three such layers, or the network has weights or
            activities that are not finite.
    """
    layers = [layer for layer in model.layers if is_mirror(getattr(layer, "feedback", None))]
    if len(layers) < 3:
        raise ValueError(
            "The network must have three layers with a weight mirror, normalize=None. "
            f"Received: {len(layers)}"
        )
    before, after = (powers(m, images) for m in (keras.models.clone_model(model), model))
    if not all(
        np.isfinite(values).all()
        for values in (*map(np.array, after.values()), *model.get_weights())
    ):
        raise ValueError(
            "The network has blown up: nothing is left to measure. Train with a larger --beta or a "
            "smaller --alpha."
        )
    rows = []
    for layer in layers:
        w, b = weights_of(layer)
        coefficients = {primitive.name: c for primitive, c in layer.feedback.terms}
        rows.append(
            Row(
                layer.name,
                ratio=float(ta.metrics.norm_ratio(w, b)),
                slope=float((w * b).sum() / (w * w).sum()),
                angle=float(ta.metrics.weight_angle(w, b)),
                decay=coefficients["decay"] / coefficients["amp"],
                before=before[layer.name][0],
                after=after[layer.name][0],
                along=after[layer.name][1],
            )
        )
    return rows


def powers(model: keras.Model, images: Any) -> dict[str, tuple[float, float]]:
    """Measure the power of the input of each layer with feedback weights.

    Args:
        model: Network.
        images: Input images.

    Returns:
        `{name of the layer: (x², along)}`: the mean square of an entry of the layer's input times
        the number of positions, and ‖xᵀx W‖ / (N ‖W‖). For a mirror on noise, both are the
        variance of the noise times the number of positions.
    """
    with ta.probe.probe() as seen:
        model(images, training=True)  # an untrained network has no statistics for normalisation yet
    found = {}
    for layer in model.layers:
        if getattr(layer, "feedback", None) is not None:
            [activity] = seen.activities[layer.connections[0]]
            x, z, w = activity.x, activity.z, activity.kernel
            positions = float(activity.map.pairs(x, z, w.shape)) / len(images)
            noise = getattr(layer.feedback, "noise", None)
            if noise is not None:
                found[layer.name] = (noise.variance * positions,) * 2
                continue
            power = float(tf.reduce_mean(tf.square(x))) * positions
            hebb = activity.map.outer(x, z, w) / len(images)
            found[layer.name] = power, float(ta.metrics.norm_ratio(w, hebb))
    return found


def is_mirror(feedback: Any) -> bool:
    """Whether a feedback rule is that of the theory: a mirror without normalisation."""
    return isinstance(feedback, ta.feedback.WeightMirror) and feedback.normalize is None


def weights_of(layer: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return the forward and the feedback kernel of a layer."""
    return np.asarray(layer.kernel), np.asarray(layer.effective_feedback_kernel())


def verdict(ratio: float, factor: float) -> str:
    """Classify a ratio, that of norms or x²/λ.

    Args:
        ratio: Ratio, 1 where B equals W in size.
        factor: Factor by which the ratio may differ from 1 in a stable layer.

    Returns:
        `"diverging"`, `"stable"` or `"collapsing"`.
    """
    if ratio > factor:
        return "diverging"
    return "collapsing" if ratio < 1 / factor else "stable"


def table(rows: list[Row], factor: float) -> str:
    """Return a Markdown table of the layers, and how often each prediction was right.

    Args:
        rows: Measurements of the layers.
        factor: Factor by which a ratio may differ from 1 in a stable layer.
    """
    cells = []
    right = np.zeros(3, int)
    for row in rows:
        ratios = np.array([row.before, row.after, row.along, row.ratio]) / [*[row.decay] * 3, 1]
        verdicts = [verdict(ratio, factor) for ratio in ratios]
        right += [predicted == verdicts[-1] for predicted in verdicts[:-1]]
        said = [f"{ratio:.3g} {what}" for ratio, what in zip(ratios, verdicts, strict=True)]
        cells.append((f"`{row.layer}`", f"{row.decay:.4g}", *said, f"{row.angle:.1f}°"))
    total = f"{right[0]}, {right[1]} and {right[2]} of {len(rows)} layers as predicted"
    return f"{common.markdown(HEAD, cells)}\n\n{total}"


def draw_flow(panel: Any, title: str, rule: Any) -> Any:
    """Draw the flow of a rule as arrows on colours of its magnitude, with fixed points in red.

    Args:
        panel: Matplotlib axes.
        title: Title of the panel.
        rule: Coefficients of the rule, `{name: value}`.

    Returns:
        Matplotlib artist of the magnitudes, for a colour bar.
    """
    verdict = ta.analysis.flow_verdict(rule)
    side = np.linspace(-1.5, 1.5, 61)
    ground = panel.pcolormesh(
        side, side, np.hypot(*ta.analysis.flow_field(rule, *np.meshgrid(side, side)))
    )
    w, b = np.meshgrid(side[4::4], side[4::4])
    flow = np.array(ta.analysis.flow_field(rule, w, b))
    length = np.hypot(*flow)
    arrows = np.divide(flow, length, out=np.full_like(flow, np.nan), where=length > 1e-9)
    panel.quiver(w, b, *arrows, color="w", pivot="mid", scale=18, width=0.008)
    points = ta.analysis.flow_fixed_points(rule)
    all_rest = verdict == "stable" and len(points) == 1
    style = {"color": "C3"} if all_rest else {"color": "w", "linestyle": ":"}
    panel.axline((0, 0), slope=1, linewidth=1.2, **style)
    panel.plot(points, points, "o", color="C3", markersize=5)
    panel.grid(visible=False)
    panel.set(xlabel="$w$", ylabel="$b$", aspect="equal", xlim=(-1.5, 1.5), ylim=(-1.5, 1.5))
    panel.set_title(f"{title}\n{verdict}", fontsize=9)
    return ground


def draw_scatter(panel: Any, model: keras.Model, row: Row) -> None:
    """Draw feedback against forward weights of a layer, one dot per entry of the kernel.

    Of large kernels, a random sample of the entries is drawn.

    Args:
        panel: Matplotlib axes.
        model: Trained network.
        row: Measurements of the layer.
    """
    w, b = (weights.ravel() for weights in weights_of(model.get_layer(row.layer)))
    shown = np.random.default_rng(0).permutation(w.size)[:4000]
    panel.plot(w[shown], b[shown], ".", markersize=2, alpha=0.5, rasterized=True)
    panel.axline((0, 0), slope=1, color="k", linestyle=":", linewidth=0.9)
    for limit, values in ((panel.set_xlim, w), (panel.set_ylim, b)):
        side = 1.1 * np.abs(values).max()
        limit(-side, side)
    panel.set(xlabel="forward weight", ylabel="feedback weight")
    panel.locator_params(axis="x", nbins=3)
    title = f"{row.layer}\n‖B‖/‖W‖ {row.ratio:.2g}, slope {row.slope:.2g}"
    panel.set_title(title, fontsize=9)


def draw(model: keras.Model, rows: list[Row]) -> Any:
    """Draw the flows and the weights of three layers.

    The layers are the first, the last, and of those between the one with ‖B‖ closest to ‖W‖.

    Args:
        model: Trained network.
        rows: Measurements of the layers.
    """
    figure, axes = common.new_figure(3, 3)
    for panel, (title, rule) in zip(axes[:2].flat, FLOWS.items(), strict=True):
        figure.colorbar(draw_flow(panel, title, rule), ax=panel, label="magnitude", shrink=0.6)
    between = min(rows[1:-1], key=lambda row: abs(np.log(row.ratio)))
    for panel, row in zip(axes[2], (rows[0], between, rows[-1]), strict=True):
        draw_scatter(panel, model, row)
    return figure


def train(given: argparse.Namespace) -> tuple[Settings, Path]:
    """Train a network with the mirror, and return its settings and its file."""
    name, noise = f"wm-published-{given.alpha:g}-{given.beta:g}", None
    if given.input_noise is not None:
        name += f"-noise-{given.input_noise:g}"
        noise = ta.Noise("gaussian", given.input_noise)
    rule = ta.feedback.WeightMirror(
        given.alpha, given.beta, noise=noise, normalize=None, response_bias=True
    )
    settings = settings_of(given, method=name)
    network = residual.case(f"depth {settings.depth}", settings, given.data_dir)
    variant = residual.variant(name, keras.saving.serialize_keras_object(rule))
    [found] = residual.runs(given, [network], [variant], [given.seed], on_divergence="warn")
    accuracy = 100 * found["curves"]["val_accuracy"][-1]
    print(f"{settings.name}: {accuracy:.1f} %{', diverged' if found['diverged'] else ''}\n")
    return settings, residual.model_file(given.output, settings)


def settings_file(model: Path) -> Path:
    """Return the file to which `train.py` writes the settings of a network."""
    return model.with_suffix(".json")


def settings_beside(arguments: argparse.Namespace) -> Settings:
    """Return the settings with which the network of `--model` was trained.

    They are read from the file beside the network or, if there is none, from the command line.
    """
    file = settings_file(arguments.model)
    if not file.exists():
        return settings_of(arguments)
    return Settings(**json.loads(file.read_text())["settings"])


def parse() -> argparse.Namespace:
    """Read the command line, and refuse flags that have no effect together."""
    parser = arguments_of(__doc__)
    parser.add_argument("--model", type=Path, help="a network that train.py has saved")
    parser.number("--depth", "default: 20")
    parser.add_argument("--seed", type=int, default=0)
    parser.number("--alpha", "of amp in training", 2e-5, 0.01, kind=float)
    parser.number("--beta", "of decay in training", 0.2, kind=float)
    parser.number(
        "--input-noise",
        "standard deviation of Gaussian noise that the mirror learns from (default: own activity)",
        kind=float,
    )
    parser.number("--factor", "up to which all is stable", 3.0, kind=float)
    arguments = parser.parse_args()
    if arguments.model is not None:  # no training, so that flags of the training have no effect
        used = {"model", "quick", "output", "data_dir", "factor"}
        if not settings_file(arguments.model).exists():
            used |= {"dataset", "version", "size", "held_out", "seed"}
        parser.refuse(parser.given - used, "--model")
    if arguments.epochs is None and not arguments.quick:
        arguments.epochs = 5
    return arguments


def main() -> None:
    """Train or load the network, measure its layers, print the table, and draw the figure."""
    arguments = parse()
    if arguments.model is None:
        settings, file = train(arguments)
    else:
        settings, file = settings_beside(arguments), arguments.model
    keras.utils.set_random_seed(settings.seed)
    model = keras.saving.load_model(file, safe_mode=True)
    x, _ = residual.probe(settings, arguments.data_dir)
    rows = measure(model, x)
    print(table(rows, arguments.factor))
    content = {"settings": settings.kept, "layers": [dataclasses.asdict(row) for row in rows]}
    common.write(arguments.output / f"stability-{file.stem}", content, draw(model, rows))


if __name__ == "__main__":
    command_line.run(main)
