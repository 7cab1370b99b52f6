r"""Predictivity: the layers of a network predict the responses of neurons to the same images.

A linear map of few components leads from the activations of a layer to the neurons. It is fitted by
partial least squares to some of the images, and judged by its correlation with the responses to the
others.

    features = ta.analysis.layer_activations(model, images, ["conv3_block2_out"], width=2000)
    found = ta.analysis.neural_predictivity(features["conv3_block2_out"], responses)
    print(found.median, found.standard_error)

Source: Kunin et al. 2020, "Two Routes to Scalable Credit Assignment without Weight Symmetry",
figure 6, after Yamins et al. 2014, "Performance-optimized hierarchical models predict neural
responses in higher visual cortex".
"""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Iterable, Sequence
from typing import Any

import keras
import numpy as np

from tf_alignment._support.arguments import integer, number
from tf_alignment._support.optional import require

__all__ = ["Predictivity", "layer_activations", "neural_predictivity"]

PROJECTIONS = {"sparse": "SparseRandomProjection", "gaussian": "GaussianRandomProjection"}


@dataclasses.dataclass(frozen=True)
class Predictivity:
    """Predictivity of neurons.

    Attributes:
        r: Pearson correlation of prediction and response, `(neurons,)`; NaN where a neuron has
            none, because its response is constant.

    Example:
    >>> found = Predictivity(np.array([0.1, 0.5, 0.6, np.nan]))
    >>> print(f"{found.median:.2f} ± {found.standard_error:.2f} of {found.neurons} neurons")
    0.50 ± 0.15 of 3 neurons
    """

    r: np.ndarray

    @property
    def neurons(self) -> int:
        """Number of neurons that have a correlation."""
        return int(np.isfinite(self.r).sum())

    @property
    def median(self) -> float:
        """Median over the neurons that have a correlation."""
        return float(np.median(self.r[np.isfinite(self.r)]))

    @property
    def standard_error(self) -> float:
        """Standard error of the mean over these neurons, as in figure 6; NaN for a single one."""
        if self.neurons < 2:
            return float("nan")
        return float(np.nanstd(self.r, ddof=1) / self.neurons**0.5)


def neural_predictivity(
    features: Any,
    responses: Any,
    *,
    components: int = 25,
    splits: int | Iterable[tuple[Any, Any]] = 10,
    test_fraction: float = 0.25,
    ceiling: Any = None,
    scale: bool = False,
    seed: int = 0,
) -> Predictivity:
    r"""Correlation of neurons with what a layer predicts of them, on images not fitted to.

    For each split of the images, partial least squares from features to all neurons is fitted to
    the one part, and

    $$ r = \frac{\operatorname{cov}(\hat y, y)}{\sigma_{\hat y} \, \sigma_y} $$

    of prediction \(\hat y\) and response \(y\) is measured on the other; r is the mean over splits.

    Args:
        features: Activations, `(images, features)`.
        responses: Responses of neurons to the same images, `(images, neurons)`, means over trials.
        components: Components of the map; fewer where features vary, to single precision, in fewer
            directions.
        splits: Number of random splits that are drawn, or pairs `[(train, test), ...]` of indices
            of images.
        test_fraction: Share of the images that a drawn split keeps for the test.
        ceiling: The largest r that a perfect model could reach for each neuron, `(neurons,)`, above
            0 and at most 1, by which r is divided: the square root of the reliability of the mean
            over trials (the internal consistency).
        scale: Whether features and responses are divided by their standard deviations for the fit.
        seed: Seed of the drawn splits.

    Returns:
        A `Predictivity`. A split counts for the neurons that vary in both of its parts; one that
        varies in none has r = NaN and is left out of median and standard error.

    Raises:
        ImportError: If scikit-learn is not installed.
        ValueError: If an argument has another shape or range, features and responses are of
            different numbers of images, no neuron has a correlation, or a training part has no more
            images than components.

    Example:
    >>> rng = np.random.default_rng(0)
    >>> features = rng.standard_normal((400, 10))
    >>> signal = features @ rng.standard_normal((10, 5))
    >>> noise = signal.std() * rng.standard_normal(signal.shape)  # as strong: r = √½ at best
    >>> found = neural_predictivity(features, signal + noise, components=5, splits=4)
    >>> print(f"{found.median:.1f}", found.r.shape)
    0.7 (5,)

    Source: Kunin et al. 2020, figure 6.
    """
    x, y = _table("features", features), _table("responses", responses)
    if len(x) != len(y):
        raise ValueError(
            "`features` and `responses` must be of the same images. Received: "
            f"features.shape={x.shape}, responses.shape={y.shape}"
        )
    top = _ceiling(ceiling, y.shape[1])
    components = min(integer("components", components), x.shape[1])
    found = [
        _held_out(x, y, train, test, components, scale)
        for train, test in _splits(splits, len(x), test_fraction, seed)
    ]
    r = np.ma.masked_invalid(found).mean(0).filled(np.nan) / top
    if not np.isfinite(r).any():
        raise ValueError(
            "`features` and `responses` must vary in both parts of a split: no neuron has a "
            f"correlation. Received: features.shape={x.shape}, responses.shape={y.shape}"
        )
    return Predictivity(r)


def layer_activations(
    model: keras.Model,
    images: Any,
    layers: Sequence[str],
    *,
    batch_size: int = 64,
    width: int | None = None,
    projection: str = "sparse",
    seed: int = 0,
) -> dict[str, np.ndarray]:
    """Responses of layers of a model to images, flattened.

    Args:
        model: A functional or Sequential model of one input.
        images: Input of the model, `(images, ...)`.
        layers: Names of layers whose output is one tensor.
        batch_size: Images that pass the model at once.
        width: Features that are kept of a wider layer, by a random projection, which leaves the
            distances between images about as they are; `None` for all.
        projection: `"sparse"` or `"gaussian"`, the kind of random matrix.
        seed: Seed of that matrix, so that a layer is projected in the same way at every call.

    Returns:
        `{layer: (images, features)}`, float32.

    Raises:
        ImportError: If scikit-learn is needed and not installed.
        ValueError: If there is no layer of that name, no image, or an argument is out of range.

    Example:
    >>> model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Conv2D(4, 3, name="conv")])
    >>> images = np.zeros((10, 8, 8, 1), "float32")
    >>> layer_activations(model, images, ["conv"])["conv"].shape
    (10, 144)
    >>> layer_activations(model, images, ["conv"], width=20)["conv"].shape
    (10, 20)

    Source: the random projections are scikit-learn's (Achlioptas 2003, "Database-friendly random
    projections"; Li et al. 2006, "Very sparse random projections").
    """
    integer("batch_size", batch_size)
    if width is not None:
        integer("width", width)
    if projection not in PROJECTIONS:
        raise ValueError(
            f"`projection` must be one of {list(PROJECTIONS)}. Received: projection={projection!r}"
        )
    if not len(images):
        raise ValueError("`images` must not be empty.")
    part = keras.Model(model.inputs, {name: model.get_layer(name).output for name in layers})
    kept: dict[str, list[np.ndarray]] = {name: [] for name in layers}
    maps: dict[str, Any] = {}
    for start in range(0, len(images), batch_size):
        found = part.predict_on_batch(images[start : start + batch_size])
        for name, activity in found.items():
            flat = np.asarray(activity, np.float32).reshape(len(activity), -1)
            if width is not None and flat.shape[1] > width:
                if name not in maps:
                    maps[name] = _projection(projection, width, seed).fit(flat[:1])
                flat = np.asarray(maps[name].transform(flat), np.float32)
            kept[name].append(flat)
    return {name: np.concatenate(parts) for name, parts in kept.items()}


def _held_out(
    x: np.ndarray, y: np.ndarray, train: Any, test: Any, components: int, scale: bool
) -> np.ndarray:
    """Correlations on the test part, `(neurons,)`; NaN for neurons that do not vary."""
    sklearn = require("sklearn.cross_decomposition", "Neural predictivity")
    if len(train) <= components or len(test) < 2:
        raise ValueError(
            "`splits` must have more training images than `components`, and at least 2 for the "
            f"test. Received: {len(train)} and {len(test)} images, components={components}"
        )
    r = np.full(y.shape[1], np.nan)
    varies = (np.ptp(y[train], 0) > 0) & (np.ptp(y[test], 0) > 0)
    fitted, held = _rotated(x[train], x[test], scale)
    if varies.any() and fitted.shape[1]:
        pls = sklearn.PLSRegression(min(components, fitted.shape[1]), scale=False)
        targets = y[train][:, varies]
        if scale:
            targets = targets / targets.std(0)
        with warnings.catch_warnings():
            # Both are harmless: two directions that predict alike, and nothing left to predict.
            warnings.filterwarnings("ignore", "Maximum number of iterations", category=Warning)
            warnings.filterwarnings("ignore", "y residual is constant", category=Warning)
            pls.fit(fitted, targets)
        r[varies] = _pearson(pls.predict(held), y[test][:, varies])
    return r


def _rotated(train: np.ndarray, test: np.ndarray, scale: bool) -> tuple[np.ndarray, np.ndarray]:
    """Features on the principal axes of the training part, `(images, rank)`.

    Partial least squares is blind to the rotation. But where components outnumber the directions in
    which features vary, it divides by rounding errors: such directions have to go.
    """
    mean, deviation = train.mean(0), train.std(0) if scale else np.ones(train.shape[1])
    deviation = np.where(deviation > 0, deviation, 1.0)
    train, test = (train - mean) / deviation, (test - mean) / deviation
    _, values, axes = np.linalg.svd(train, full_matrices=False)
    axes = axes[values > values[0] * max(train.shape) * np.finfo(np.float32).eps]
    return train @ axes.T, test @ axes.T


def _pearson(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Correlation of columns; NaN where one is constant."""
    a, b = a - a.mean(0), b - b.mean(0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return (a * b).sum(0) / (np.linalg.norm(a, axis=0) * np.linalg.norm(b, axis=0))


def _splits(
    splits: int | Iterable[tuple[Any, Any]], images: int, test_fraction: float, seed: int
) -> Iterable[tuple[Any, Any]]:
    if isinstance(splits, Iterable):
        return splits
    integer("splits", splits)
    number("test_fraction", test_fraction, above=0, below=1)
    selection = require("sklearn.model_selection", "Neural predictivity")
    drawn = selection.ShuffleSplit(splits, test_size=test_fraction, random_state=seed)
    pairs: Iterable[tuple[Any, Any]] = drawn.split(np.empty(images))
    return pairs


def _projection(kind: str, width: int, seed: int) -> Any:
    projections = require("sklearn.random_projection", "A random projection")
    options = {"dense_output": True} if kind == "sparse" else {}
    return getattr(projections, PROJECTIONS[kind])(width, random_state=seed, **options)


def _table(name: str, value: Any) -> np.ndarray:
    array = np.asarray(value, dtype=float)
    if array.ndim != 2 or 0 in array.shape:
        raise ValueError(
            f"`{name}` must be of two dimensions, images first. Received: {name}.shape="
            f"{array.shape}"
        )
    if not np.isfinite(array).all():
        raise ValueError(f"`{name}` must be finite. Received: {name} with NaN or infinite entries")
    return array


def _ceiling(ceiling: Any, neurons: int) -> np.ndarray:
    top = np.ones(neurons) if ceiling is None else np.asarray(ceiling, dtype=float)
    if top.shape != (neurons,):
        raise ValueError(
            f"`ceiling` must be of shape {(neurons,)}. Received: ceiling.shape={top.shape}"
        )
    if not np.all((top > 0) & (top <= 1)):
        raise ValueError(f"`ceiling` must be above 0 and at most 1. Received: ceiling={ceiling!r}")
    return top
