r"""Figure 6 of "Two Routes": how well networks of different rules predict cortical responses.

    python -m examples.two_routes.neural_predictivity --models results/two_routes/models/*.keras \
        --sessions 190923 210325 --data-dir ~/tensorflow_datasets
    python -m examples.two_routes.neural_predictivity --models results/two_routes/models/*.keras \
        --stimuli images.npy --responses it.npy --ceiling it_ceiling.npy
    python -m examples.two_routes.neural_predictivity --quick

A network predicts a neuron with the correlation r. `--sessions` names recordings in area V4
(`recordings.py`), whose neurons are pooled. Their r is not divided by a noise ceiling, since only
one session has the repeats from which a ceiling is computed; the neurons of this session have a
column of their own, with r as a part of the ceiling.

Other data are given as arrays. `--stimuli` has shape `(images, height, width, channels)`, with the
image size and preprocessing with which the networks were trained. `--responses` has shape
`(images, neurons)`, with each neuron's mean over time and repeated presentations, and rows in the
order of the images. `--ceiling`, which may be left out, has shape `(neurons,)`: the largest r that
a perfect model could reach, by which r is divided.

The paper takes responses in V4 and IT of macaques to pictures of objects, published by Majaj et al.
2015, "Simple learned weighted sums of inferior temporal neuronal firing rates accurately predict
human core object recognition performance" (J. Neurosci. 35). These data come from the DiCarlo
laboratory, whose Brain-Score project has made a part of them public. Nothing here downloads them.

For each split of the images, a network is judged by the layer that predicts best within the
training part, so that the test images do not influence the choice. The network "random" is the
first network with new random weights: a lower bound. `--quick` makes artificial responses from a
layer of a network that was trained with another seed.

Paper: Kunin et al. 2020.
"""

from __future__ import annotations

import argparse
import dataclasses
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
from sklearn.model_selection import ShuffleSplit

import tf_alignment as ta
from examples import command_line, common
from examples.two_routes import recordings, residual
from examples.two_routes.residual import arguments_of, settings_of

QUICK_METHODS = ("backprop", "sa")


def best_layers(
    features: dict[str, np.ndarray],
    responses: np.ndarray,
    ceiling: Any,
    arguments: argparse.Namespace,
) -> tuple[np.ndarray, list[str]]:
    """Choose a layer per split of the images, and correlate its predictions with test responses.

    Args:
        features: Features of each layer, `{name of the layer: (images, features)}`.
        responses: Responses of the neurons, `(images, neurons)`.
        ceiling: Largest correlation of each neuron, `(neurons,)`, or None.
        arguments: Parsed command line.

    Returns:
        Correlation of each neuron, averaged over the splits, `(neurons,)`, NaN for neurons whose
        responses do not vary; and the name of the layer that was chosen in each split.
    """
    options = {"components": arguments.components, "ceiling": ceiling}
    found, chosen = [], []
    outer = ShuffleSplit(arguments.splits, test_size=0.25, random_state=arguments.seed)
    for train, test in outer.split(responses):
        within = {
            name: ta.analysis.neural_predictivity(
                f[train], responses[train], splits=arguments.inner_splits, **options
            ).median
            for name, f in features.items()
        }
        best = max(within, key=within.__getitem__)
        chosen.append(best)
        held_out = ta.analysis.neural_predictivity(
            features[best], responses, splits=[(train, test)], **options
        )
        found.append(held_out.r)
    return np.ma.masked_invalid(found).mean(0).filled(np.nan), chosen


def judge(
    model: keras.Model,
    sources: list[recordings.Recording],
    arguments: argparse.Namespace,
) -> common.Numbers:
    """Measure how well a network predicts the neurons of all recordings.

    Args:
        model: Network.
        sources: Recordings, whose neurons are pooled.
        arguments: Parsed command line.

    Returns:
        Numbers of the network's row in the table, and the correlation `r` of every neuron.
    """
    layers = arguments.layers or ends_of_blocks(model)
    parts, chosen, ceilings = [], [], []
    for images, responses, ceiling in sources:
        if arguments.sessions:  # pooled neurons are judged by r itself
            ceilings.append(np.full(responses.shape[1], np.nan) if ceiling is None else ceiling)
            ceiling = None
        features = ta.analysis.layer_activations(
            model, images, layers, width=arguments.features, seed=arguments.seed
        )
        part, names = best_layers(features, responses, ceiling, arguments)
        parts.append(part)
        chosen += names
    r = np.concatenate(parts)
    found = ta.analysis.Predictivity(r)
    [(layer, count)] = Counter(chosen).most_common(1)
    pooled = np.concatenate(ceilings) if ceilings else np.full(r.shape, np.nan)
    return {
        "median": found.median,
        "standard_error": found.standard_error,
        "neurons": found.neurons,
        "layer": layer,
        "chosen": f"{count} of {len(chosen)}",
        "r": [None if np.isnan(value) else float(value) for value in r],
        **({"of_ceiling": of_ceiling(r, pooled)} if np.any(pooled > 0) else {}),
    }


def of_ceiling(r: np.ndarray, ceiling: np.ndarray) -> common.Numbers:
    """Return the median of r divided by the noise ceiling, over the neurons that have a ceiling.

    Args:
        r: Correlation of each neuron.
        ceiling: Largest correlation of each neuron, NaN where it is not known.
    """
    known = ceiling > 0
    found = ta.analysis.Predictivity(r[known] / ceiling[known])
    return {
        "median": found.median,
        "standard_error": found.standard_error,
        "neurons": found.neurons,
        "ceiling": float(np.median(ceiling[known])),
    }


def ends_of_blocks(model: keras.Model) -> list[str]:
    """Return names of layers: the ends of residual blocks, or else all layers with weights."""
    names = [layer.name for layer in model.layers]
    ends = [name for name in names if name.endswith(("_out", "avg_pool"))]
    return ends or [layer.name for layer in model.layers if layer.weights]


def untrained(model: keras.Model, seed: int) -> keras.Model:
    """Return a copy of a network with new random weights."""
    keras.utils.set_random_seed(seed)
    return keras.models.clone_model(model)


def networks(files: list[Path], seed: int) -> Iterator[tuple[str, keras.Model]]:
    """Yield name and network of each file, and finally the first network with random weights."""
    for file in files:
        yield file.stem, keras.saving.load_model(file, safe_mode=True)
    yield "random", untrained(keras.saving.load_model(files[0], safe_mode=True), seed)


def table(found: dict[str, common.Numbers]) -> str:
    """Return a Markdown table with a row per network, the best network first.

    Args:
        found: Numbers of `judge`, `{name of the network: numbers}`.
    """
    head = ("network", "median r", "s.e.m.", "neurons", "r / ceiling", "layer", "chosen in")
    rows = []
    for name in sorted(found, key=lambda name: -found[name]["median"]):
        of = found[name]
        numbers = (f"{of['median']:.3f}", f"{of['standard_error']:.3f}", str(of["neurons"]))
        part = of.get("of_ceiling")
        share = f"{part['median']:.3f} ± {part['standard_error']:.3f}" if part else "-"
        rows.append((name, *numbers, share, f"`{of['layer']}`", f"{of['chosen']} splits"))
    return common.markdown(head, rows)


def draw(found: dict[str, common.Numbers]) -> Any:
    """Draw a bar per network: its median r and standard error over the neurons.

    A network that was saved by `residual` is labelled by its method and depth.

    Args:
        found: Numbers of `judge`, `{name of the network: numbers}`.
    """
    labels = [re.sub(r"^.*-v\d-(\d+)-(.+)-\d+$", r"\2\ndepth \1", name) for name in found]
    methods = [label.partition("\n")[0] for label in labels]
    looks = ta.plots.styles(methods)
    figure, [[panel]] = common.new_figure(1, 1, height=3.0)
    for place, (method, of) in enumerate(zip(methods, found.values(), strict=True)):
        colour = "0.6" if method == "random" else looks[method].colour
        panel.bar(place, of["median"], yerr=of["standard_error"], color=colour, capsize=3)
    panel.set_xticks(range(len(found)), labels, fontsize=8)
    panel.set_ylabel("median Pearson r")
    panel.grid(visible=False, axis="x")
    panel.set_axisbelow(True)
    [neurons] = {of["neurons"] for of in found.values()}
    common.caption(figure, f"{neurons} neurons, one network each; bars: ± 1 standard error")
    return figure


def quick(arguments: argparse.Namespace) -> tuple[list[Path], list[recordings.Recording]]:
    """Train small networks on digits, and make artificial neurons from one of them.

    A neuron is a random linear combination of the activity at the end of the last stage of a
    network that was trained with another seed, plus noise of the same variance.

    Args:
        arguments: Parsed command line.

    Returns:
        Files of the networks to judge, and a list of one recording: images and artificial neurons.
    """
    settings = settings_of(arguments)
    network = residual.case(f"depth {settings.depth}", settings, None)
    made = [("backprop", 1), *((method, 0) for method in QUICK_METHODS)]
    residual.runs(arguments, [network], list(map(residual.variant, QUICK_METHODS)), [0, 1])
    brain, *files = [
        residual.model_file(arguments.output, dataclasses.replace(settings, method=m, seed=seed))
        for m, seed in made
    ]
    images = residual.arrays(settings, None).test.x
    model = keras.saving.load_model(brain, safe_mode=True)
    [activity] = ta.analysis.layer_activations(model, images, ["conv4_block1_out"]).values()
    rng = np.random.default_rng(0)
    signal = activity @ rng.standard_normal((activity.shape[1], 40))
    signal = (signal - signal.mean(0)) / signal.std(0)
    responses = signal + rng.standard_normal(signal.shape)
    ceiling = np.full(responses.shape[1], 0.5**0.5)
    return files, [recordings.Recording(images, responses, ceiling)]


def parse() -> argparse.Namespace:
    """Read the command line, and refuse flags that have no effect together."""
    parser = arguments_of(__doc__)
    parser.add_argument("--models", nargs="+", type=Path, help="networks that train.py has saved")
    parser.add_argument("--stimuli", type=Path, help=".npy, (images, height, width, channels)")
    parser.add_argument("--responses", type=Path, help=".npy, (images, neurons)")
    parser.add_argument("--ceiling", type=Path, help=".npy, (neurons,)")
    parser.add_argument(
        "--sessions",
        nargs="+",
        choices=recordings.SESSIONS,
        metavar="SESSION",
        help="V4, see above",
    )
    parser.add_argument("--layers", nargs="+", help="default: where residual blocks end")
    parser.number("--components", "of the map", 25)
    parser.number("--splits", "of the images", 5)
    parser.number("--inner-splits", "to choose by", 2)
    parser.number("--features", "kept of a layer, at most", 2000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    known = arguments.sessions or (arguments.stimuli and arguments.responses)
    if not arguments.quick and not (arguments.models and known):
        parser.error("--models with --sessions or --stimuli and --responses are needed, or --quick")
    files = {"stimuli", "responses", "ceiling"}
    if arguments.quick:
        parser.refuse({"models", "sessions", *files}, "--quick")
    else:  # the networks are loaded, so that flags of the training have no effect
        used = {"models", "layers", "components", "splits", "inner_splits", "features", "seed"}
        used |= {"sessions", "dataset", "data_dir"} if arguments.sessions else files
        flag = "--sessions" if arguments.sessions else "--stimuli"
        parser.refuse(parser.given - used - {"output"}, flag)
    if arguments.quick:  # enough training for the networks to learn something
        arguments.epochs, arguments.rate = arguments.epochs or 10, arguments.rate or 0.8
    return arguments


def read(arguments: argparse.Namespace) -> tuple[list[Path], list[recordings.Recording]]:
    """Return the files of the networks, and read the recordings, that the command line names."""
    if arguments.sessions:
        settings = settings_of(arguments)
        size = keras.saving.load_model(arguments.models[0], safe_mode=True).input_shape[1]
        # the networks' training data were normalised by these numbers, see `common.normalised`
        x = ta.data.load(settings.dataset, arguments.data_dir).train.x
        mean, deviation = x.mean((0, 1, 2)), x.std((0, 1, 2))
        sources = []
        for session in arguments.sessions:
            source = recordings.read(session, arguments.data_dir, size)
            shown = ((source.images - mean) / deviation).astype(np.float32)
            sources.append(source._replace(images=shown))
        return arguments.models, sources
    images, responses = (
        np.load(file, allow_pickle=False) for file in (arguments.stimuli, arguments.responses)
    )
    ceiling = None
    if arguments.ceiling is not None:
        ceiling = np.load(arguments.ceiling, allow_pickle=False)
    return arguments.models, [recordings.Recording(images, responses, ceiling)]


def main() -> None:
    """Measure how well each network predicts the neurons, print the table, and draw the figure."""
    arguments = parse()
    files, sources = quick(arguments) if arguments.quick else read(arguments)
    found = {
        name: judge(model, sources, arguments) for name, model in networks(files, arguments.seed)
    }
    print("", table(found), sep="\n")
    images = sum(len(source.images) for source in sources)
    numbers = {"images": images, "components": arguments.components, "networks": found}
    common.write(arguments.output / "neural-predictivity", numbers, draw(found))


if __name__ == "__main__":
    command_line.run(main)
