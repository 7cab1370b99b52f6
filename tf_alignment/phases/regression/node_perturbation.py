"""Node perturbation: feedback weights learned from noise and what it does to the loss."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from tf_alignment._support.arguments import boolean, integer
from tf_alignment._support.noise import noise_of
from tf_alignment.layers.receiver import Receiver
from tf_alignment.phases.regression.base import GradientRegression
from tf_alignment.phases.regression.sites import Sent, Site
from tf_alignment.phases.regression.solvers import over_replicas

__all__ = ["NodePerturbation"]


class NodePerturbation(GradientRegression):
    r"""Learns B such that the error sent down predicts the effect of noise in a layer's input.

    Two passes over the same batch, one clean, one with noise \(n\) added to the input of every
    layer that learns (after nonlinearity, normalisation and dropout; never to the network's output
    or to its own input). Example by example, the change of the loss times the noise estimates the
    gradient for that input,

    $$ \hat\lambda = (\tilde L - L) \, n / \mathrm{Var}(n) $$

    and B is fitted to it by least squares over examples and steps,
    \(\min_B \sum \| \delta B^T - \hat\lambda \|^2\), where \(\delta\) is the layer's error in the
    clean pass as the feedback network itself sends it. No weight is transported, and all layers
    learn at once.

    Two things go beyond the paper, and together they make feedback learn many times as fast at
    the same cost (docs/results/node_perturbation.md). *Control variate*: the feedback itself
    predicts a part of the change, \(n \cdot \delta B^T\). That part tells nothing new and adds
    most of the variance, for it holds the noise of all layers; it is subtracted before the change
    is correlated with the noise, and added to the estimate again, which stays unbiased.
    *Steps of the right length*, or sums that forget: the errors of a layer change while the network
    learns, and least squares over all steps carries old ones along.

    Kinks bias the estimate slightly: where noise carries a ReLU across 0, or changes which input
    max pooling takes, the loss does not change in proportion to the noise. The slope of
    \(\hat\lambda\) over the gradient was .997 in a network with both, and one input in fifty
    had a bias that t-tests tell from none (p < .001). Smaller noise makes it smaller; smooth
    activations have none.

    The model is called in training mode, twice with the same dropout masks, and neither pass
    changes anything (moving statistics, random states). Batch normalisation joins the examples of a
    batch: its noise reaches other examples' losses. Losses that layers add (`add_loss`, activity
    regularizers) are none of `loss`, and not learned from.

    Args:
        loss, dataset, solver, form, steps, batch_size: See
            `tf_alignment.phases.SyntheticGradient`. With `form="dfa"` the noise is on the output
            of every tapped block. The paper's solvers are `Ridge(forgetting=1.0)` and `"sgd"`,
            `SGD(5e-4)` on the gradient summed over the batch.
        noise: A number, the standard deviation c of Rademacher noise (±c, with which the estimate
            varies least, and which is drawn fastest); `"gaussian"` (the paper's; or `"normal"`),
            `"uniform"` or `"rademacher"` with c = 0.01; a distribution of `tfp.distributions`
            with mean 0; or a `tf_alignment.Noise`. Small noise makes \(\hat\lambda\) unbiased,
            too small noise drowns in rounding: with activities of about 1, half precision wants
            0.01 (float16) or 0.1 (bfloat16) and more.
        draws: Independent perturbed passes per step, averaged.
        antithetic: Whether each perturbed pass has a twin with the noise reversed, in place of the
            clean pass in the difference. Removes the error of second order in c.
        one_at_a_time: Whether each layer is perturbed in a pass of its own: as many passes as
            layers, without the noise that other layers add to the loss.
        control_variate: Whether to subtract the change that the feedback predicts; the paper does
            not.
        layers, seed, name: See `tf_alignment.phases.Phase`.

    Raises:
        TypeError: For a dataset, loss, solver or noise of the wrong type.
        ValueError: For values out of range; for noise whose mean is not 0 or whose variance is;
            when it runs, for a loss that is not one number per example, a layer that `Ridge`
            cannot serve, or a model without feedback kernels.

    Reference: Lansdell, Prakash and Kording 2020, "Learning to solve the credit assignment
    problem", equations 3 to 6 and 18.

    Example:
    >>> import keras, numpy as np, tf_alignment as ta
    >>> keras.utils.set_random_seed(0)
    >>> model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(5, "tanh"),
    ...                           ta.layers.Dense(4, feedback="fa", name="top")], name="net")
    >>> x, y = np.random.normal(size=(256, 6)), np.random.normal(size=(256, 4))
    >>> loss = lambda y_true, y_pred: keras.ops.sum((y_pred - y_true) ** 2, -1)
    >>> data = x.astype("float32"), y.astype("float32")
    >>> phase = ta.phases.NodePerturbation(loss, dataset=data, steps=500, seed=1)
    >>> bool(phase.run(model)["net/top"]["weight_angle"] < 5)
    True
    """

    name = "node_perturbation"

    def __init__(
        self,
        loss: Any,
        *,
        dataset: Any = None,
        noise: Any = 0.01,
        solver: Any = None,
        form: str = "fa",
        draws: int = 1,
        antithetic: bool = False,
        one_at_a_time: bool = False,
        control_variate: bool = True,
        steps: int = 100,
        batch_size: int = 32,
        layers: Sequence[str] | None = None,
        seed: int | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(
            loss,
            dataset=dataset,
            solver=solver,
            form=form,
            steps=steps,
            batch_size=batch_size,
            layers=layers,
            seed=seed,
            name=name,
        )
        self.noise = noise_of("noise", noise, stddev=0.01)
        self.draws = integer("draws", draws)
        self.antithetic = boolean("antithetic", antithetic)
        self.one_at_a_time = boolean("one_at_a_time", one_at_a_time)
        self.control_variate = boolean("control_variate", control_variate)

    def create(self, model: keras.Model, connections: dict[str, Receiver]) -> list[keras.Variable]:
        """Prepare the regression; warn of noise that half precision rounds away."""
        compute = tf.as_dtype(model.compute_dtype)
        resolved = 8.0 * {tf.bfloat16: 2.0**-7, tf.float16: 2.0**-10}.get(compute, 0.0)
        if self.noise.stddev < resolved:
            warnings.warn(
                f"Phase '{self.name}': in {compute.name} activities and losses are rounded more "
                f"coarsely than this noise changes them. Expected a standard deviation of at least "
                f"{resolved:g}. Received: {self.noise.stddev:g}",
                stacklevel=2,
            )
        return super().create(model, connections)

    def noisy_units(self, site: Site, sent: dict[Site, Sent]) -> tf.Tensor:
        """Number of units of all sites that are perturbed at once, over the number of draws."""
        together = [site] if self.one_at_a_time else list(sent)
        sizes = [tf.size(sent[other].total) / tf.shape(sent[other].total)[0] for other in together]
        return tf.cast(tf.add_n(sizes), tf.float32) / self.draws

    def targets(
        self, data: Any, losses: tf.Tensor, sent: dict[Site, Sent]
    ) -> dict[Site, tf.Tensor]:
        """The estimated gradient λ̂ of every site.

        Args:
            data: The batch.
            losses: Loss of each example in the clean pass, `(batch,)`.
            sent: Predictions of the feedback.
        """
        groups = [[site] for site in sent] if self.one_at_a_time else [list(sent)]
        found: dict[Site, tf.Tensor] = {}
        for draw in range(self.draws):
            for group in groups:
                for site, target in self._perturbed(data, losses, sent, group, draw).items():
                    found[site] = found[site] + target if site in found else target
        return {site: target / self.draws for site, target in found.items()}

    def _perturbed(
        self,
        data: Any,
        losses: tf.Tensor,
        sent: dict[Site, Sent],
        sites: list[Site],
        draw: int,
    ) -> dict[Site, tf.Tensor]:
        """λ̂ of one draw of the noise."""
        noise: dict[Site, tf.Tensor] = {}

        def move(x: tf.Tensor, n: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            moved = x + tf.cast(n, x.dtype)
            if x.dtype != tf.float32:  # what is left of the noise after rounding
                n = tf.cast(moved, tf.float32) - tf.cast(x, tf.float32)
            return moved, n

        def add(site: Site, x: tf.Tensor) -> tf.Tensor:
            if site not in sites:
                return tf.identity(x)
            seed = self.draw_seed(site[0], draw, site[1])
            moved, noise[site] = move(x, self.noise.sample(tf.shape(x), seed))
            return moved

        def subtract(site: Site, x: tf.Tensor) -> tf.Tensor:
            return move(x, -noise[site])[0] if site in sites else tf.identity(x)

        change = self.losses(data, add)[0]
        if self.antithetic:
            change = 0.5 * (change - self.losses(data, subtract)[0])
        else:
            change -= losses
        if not self.control_variate:
            change /= self.noise.variance
            return {site: n * _spread(change, n) for site, n in noise.items()}
        explained = tf.stack([_per_example(n * sent[site].total) for site, n in noise.items()])
        trust = _trust(change, explained)
        change = (change - tf.reduce_sum(trust * explained, 0)) / self.noise.variance
        return {
            site: _spread(beta, n) * sent[site].total + _spread(change, n) * n
            for beta, (site, n) in zip(tf.unstack(trust), noise.items(), strict=True)
        }


def _trust(change: tf.Tensor, explained: tf.Tensor) -> tf.Tensor:
    """Part of each site's prediction to subtract, β between 0 and 1.

    β is the regression of the change on what the prediction makes of the noise, over all examples
    but the one it serves, so that the estimate stays unbiased.

    Args:
        change: Change of every example's loss, `(batch,)`.
        explained: The change that each site's feedback predicts, `(sites, batch)`.

    Returns:
        β, `(sites, batch)`.
    """
    own = change * explained, explained**2
    sums = over_replicas([tf.reduce_sum(each, 1, keepdims=True) for each in own])
    others = [total - each for total, each in zip(sums, own, strict=True)]
    return tf.clip_by_value(tf.math.divide_no_nan(*others), 0.0, 1.0)


def _per_example(x: tf.Tensor) -> tf.Tensor:
    return tf.reduce_sum(x, list(range(1, x.shape.rank)))


def _spread(per_example: tf.Tensor, like: tf.Tensor) -> tf.Tensor:
    return tf.reshape(per_example, [-1] + [1] * (like.shape.rank - 1))
