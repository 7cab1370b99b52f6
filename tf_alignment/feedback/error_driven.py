"""Methods whose feedback weights learn from the same error as the forward weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf

from tf_alignment import ops
from tf_alignment._support.arguments import boolean, number
from tf_alignment._support.seeds import named_initializer, reseeded
from tf_alignment.feedback.base import Backward, Feedback, Setup
from tf_alignment.feedback.fixed import FeedbackAlignment
from tf_alignment.maps.base import LinearMap
from tf_alignment.maps.wide import Wide, widen

__all__ = ["KolenPollack", "ProductFeedback"]

_package = keras.saving.register_keras_serializable(package="tf_alignment")


@_package
class KolenPollack(FeedbackAlignment):
    """KP: `dx = δ Bᵀ`, and B receives the forward kernel's own gradient, `xᵀ δ`.

    With the same optimizer and the same weight decay on W and B, the difference `B − W` shrinks at
    the rate of the weight decay and the feedback becomes symmetric. Without weight decay the
    difference stays as it was at the start. The layer applies the kernel's regularizer and
    constraint to B too, unless the layer has its own for B. The method costs no further product;
    the optimizer updates one more weight.

    References: Kolen & Pollack 1994, "Backpropagation without weight transport"; Akrout et al.
    2019.

    Example:
    >>> import tf_alignment as ta
    >>> layer = ta.layers.Dense(8, feedback="kp", kernel_regularizer="l2")
    """

    id = "kp"
    learns = "error"

    def build(self, setup: Setup) -> None:
        setup.add("feedback_kernel", setup.kernel.shape, setup.draw, trainable=True)

    def couple(
        self, kernel: tf.Tensor, weights: Mapping[str, tf.Tensor], linear_map: LinearMap
    ) -> tf.Tensor:
        return ops.copy_gradient(kernel, weights["feedback_kernel"])


@_package
class ProductFeedback(Feedback):
    """PFA: the error passes an extra population, `ē = δ Bᵀ`, `dx = ē Rᵀ`.

    B (`product_fixed`) is random and fixed. R (`product_plastic`) learns from `xᵀ ē` with the
    optimizer and the weight decay of the forward weights. No synapse is a copy of another one, yet
    the path `R B` aligns with W: once the initial values are forgotten, the angle between `R B` and
    W is arccos(1/√(1 + 1/expansion)), or 0 if B is semi-orthogonal (PFA-o). This needs weight decay
    on W and R. The published values are for PyTorch's coupled L2; decoupled decay, Keras'
    `weight_decay`, must be ten times as large at momentum 0.9.

    Products are carried out in the cheaper order. The gradient of R is the gradient of the forward
    kernel times Bᵀ, `xᵀ δ Bᵀ`, so that convolutions, and dense layers with few outputs, need no
    product with the population at every position: `R B` is computed once per step, and the costs
    are close to the costs of backprop.

    Args:
        expansion: Number of units in the extra population divided by the number of output channels,
            greater than 0.
        orthogonal: Whether B is semi-orthogonal ("pfa_o"); needs `expansion >= 1`.
        fixed_initializer: Keras initializer of B (of each group's block, in a grouped
            convolution), which has shape `(population, out)`. By default Glorot uniform with
            variance 1/population.
        collapsed: Whether to store and train the path `P = R B` (`product_path`) in place of R,
            with the gradient `xᵀ δ BᵀB`. P equals `R B` under any optimizer that is linear in
            gradient and weights: SGD with or without momentum, weight decay or an L2 regularizer.
            Under other optimizers (Adam, constraints, a global clipnorm) the rule differs: P then
            takes a step of the optimizer's own for this gradient, as B does in Kolen-Pollack. A
            collapsed path has a tenth of the weights and is far cheaper in wide dense layers.

    Under an adaptive optimizer the steps of R are as large as those of W, although R has
    `expansion` times as many weights: the path R B grows past W and need not align. A warning says
    so for Keras' own optimizers other than SGD. Steps of a collapsed path are of W's size: under
    AdamW it trains where the two matrices fail (docs/results/sequences.md).

    Raises:
        ValueError: For an `expansion` that is not a positive number, or below 1 with `orthogonal`.

    Reference: Ji-An & Benna, "Deep Learning without Weight Symmetry", equations 4-6 and 11-12.

    Example:
    >>> import tf_alignment as ta
    >>> layer = ta.layers.Dense(8, feedback=ta.feedback.ProductFeedback(expansion=5))
    >>> layer.build((None, 4))
    >>> {name: tuple(w.shape) for name, w in layer.feedback_weights.items()}
    {'product_fixed': (40, 8), 'product_plastic': (4, 40)}
    """

    id = "pfa"
    learns = "error"
    linear = True

    def __init__(
        self,
        expansion: float = 10.0,
        orthogonal: bool = False,
        fixed_initializer: Any = None,
        collapsed: bool = False,
    ) -> None:
        number("expansion", expansion, above=0)
        orthogonal, collapsed = boolean("orthogonal", orthogonal), boolean("collapsed", collapsed)
        if orthogonal and expansion < 1:
            raise ValueError(
                "Argument `expansion` must be at least 1 for a semi-orthogonal kernel. "
                f"Received: expansion={expansion!r}, orthogonal=True"
            )
        if orthogonal and fixed_initializer is not None:
            raise ValueError(
                "Arguments `orthogonal` and `fixed_initializer` exclude each other. "
                f"Received: orthogonal=True, fixed_initializer={fixed_initializer!r}"
            )
        self.expansion = float(expansion)
        self.orthogonal = orthogonal
        self.collapsed = collapsed
        self.linear = not collapsed
        self.fixed_initializer = named_initializer("fixed_initializer", fixed_initializer)
        if orthogonal:
            self.id = "pfa_o"  # type: ignore[misc]

    def build(self, setup: Setup) -> None:
        wide = self._wide(setup.map, setup.kernel)
        seeds = [setup.seed() for _ in range(wide.blocks)]

        def fixed(shape: tuple[int, ...], dtype: Any = None) -> tf.Tensor:
            return tf.concat([self._block(wide.block_shape, seed) for seed in seeds], 0)

        def plastic(shape: tuple[int, ...], dtype: Any = None) -> tf.Tensor:
            return setup.draw(wide.plastic_shape, dtype, of=wide.map)

        if not self.collapsed:
            setup.add("product_fixed", wide.fixed_shape, fixed, trainable=False)
            setup.add("product_plastic", wide.plastic_shape, plastic, trainable=True)
            return

        def path(shape: tuple[int, ...], dtype: Any = None) -> tf.Tensor:
            return wide.compose(plastic(shape), fixed(shape))

        def gram(shape: tuple[int, ...], dtype: Any = None) -> tf.Tensor:
            blocks = tf.reshape(fixed(shape), (wide.blocks, *wide.block_shape))
            return tf.reshape(tf.matmul(blocks, blocks, transpose_a=True), shape)

        square = widen(setup.map, tuple(setup.kernel.shape), 1.0)
        setup.add("product_gram", square.fixed_shape, gram, trainable=False)
        setup.add("product_path", setup.kernel.shape, path, trainable=True)

    def _block(self, shape: tuple[int, int], seed: int) -> tf.Tensor:
        if self.fixed_initializer is not None:
            return tf.cast(reseeded(self.fixed_initializer, seed)(shape), tf.float32)
        if self.orthogonal:
            return keras.initializers.Orthogonal(seed=seed)(shape, dtype="float32")
        # Glorot with gain √((1 + λ)/2), λ = out/population: variance 1/population
        gain = (1.0 + shape[1] / shape[0]) / 2.0
        uniform = keras.initializers.VarianceScaling(gain, "fan_avg", "uniform", seed=seed)
        return uniform(shape, dtype="float32")

    def _wide(self, linear_map: LinearMap, kernel: Any) -> Wide:
        return widen(linear_map, tuple(kernel.shape), self.expansion)

    def couple(
        self, kernel: tf.Tensor, weights: Mapping[str, tf.Tensor], linear_map: LinearMap
    ) -> tf.Tensor:
        if self.collapsed:
            square, gram = widen(linear_map, tuple(kernel.shape), 1.0), weights["product_gram"]
            return ops.copy_gradient(
                kernel, weights["product_path"], lambda g: square.compose(square.unfold(g), gram)
            )
        wide, fixed = self._wide(linear_map, kernel), weights["product_fixed"]
        if not _path_is_cheaper(wide):
            return kernel
        return ops.copy_gradient(
            kernel, weights["product_plastic"], lambda g: wide.spread(g, fixed)
        )

    def feedback_kernel(self, c: Backward) -> tf.Tensor:
        if self.collapsed:
            return c.weights["product_path"]
        wide = self._wide(c.map, c.kernel)
        return wide.compose(c.weights["product_plastic"], c.weights["product_fixed"])

    def send(self, c: Backward, dz: tf.Tensor) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        wide = self._wide(c.map, c.kernel)
        if self.collapsed or _path_is_cheaper(wide):
            return c.map.transpose(dz, self.feedback_kernel(c), c.x), {}
        plastic = c.weights["product_plastic"]
        mixed = wide.mix(dz, c.weights["product_fixed"])
        dx = wide.map.transpose(mixed, plastic, c.x)
        return dx, {"product_plastic": wide.map.outer(c.x, mixed, plastic)}

    def carrier(self, c: Backward) -> tf.Tensor | None:
        if type(self).send is not ProductFeedback.send:
            return None
        path = self.collapsed or _path_is_cheaper(self._wide(c.map, c.kernel))
        return self.feedback_kernel(c) if path else None

    def get_config(self) -> dict[str, Any]:
        return {
            "expansion": self.expansion,
            "orthogonal": self.orthogonal,
            "fixed_initializer": keras.initializers.serialize(self.fixed_initializer)
            if self.fixed_initializer is not None
            else None,
            "collapsed": self.collapsed,
        }


def _path_is_cheaper(wide: Wide) -> bool:
    """Whether `R B`, once per step, costs less than the population, once per position.

    This is so if there are more examples times positions than outputs. The batch size is not known
    when weights are made: a dense layer's batch is taken to have at least 32 examples.
    """
    return wide.map.spatial or wide.block_shape[1] <= 32
