"""Regularisation primitives: the pieces of which alignment rules are built.

A primitive is a scalar function `P(B)` of one connection's feedback kernel `B` and of what is
local to the connection: its input `x`, response `y`, forward kernel `W`. A rule is a weighted sum
of primitives, and `B` descends its gradient (Kunin et al. 2020, section 3 and table 1):

| primitive | P | gradient for B |
|---|---|---|
| `decay`  | ½‖B‖²             | B |
| `amp`    | −(1/N) Σ x · y Bᵀ | −xᵀ y / N |
| `null`   | (1/2N) ‖y Bᵀ‖²    | (y Bᵀ)ᵀ y / N |
| `sparse` | (1/2N) ‖x B‖²     | xᵀ (x B) / N |
| `self_`  | −tr(Bᵀ W)         | −W |

N is the batch size; a convolution sums over positions. A primitive states its gradient as a
`Gradient` in up to four parts, so that a rule that mixes several costs no product twice.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import cached_property
from typing import Any

import keras
import tensorflow as tf

from tf_alignment.maps.base import LinearMap

__all__ = ["Gradient", "Local", "Primitive", "amp", "decay", "null", "self_", "sparse"]

_package = keras.saving.register_keras_serializable(package="tf_alignment")
Post = Callable[[tf.Tensor], tf.Tensor]


@dataclasses.dataclass(frozen=True)
class Local:
    """Quantities that are local to one connection when its feedback kernel learns.

    Attributes:
        map: Bilinear map of the connection.
        x: Alignment input, `(batch, ...)`: the layer's input, or noise.
        y: Response to the alignment input, `(batch, ...)`, shaped like the layer's output.
        kernel: Forward kernel `W`, in the type of B.
        feedback: Feedback kernel `B`, shaped like `W`, in the type in which it is stored (float32
            in mixed precision).
        divisor: Divisor of sums over the batch: N, or another one if the rule's options say so.
        bias: Bias of the feedback projection (one entry per channel of `x`), or None.
        post: Function applied to a feedback projection (activation, centring ...), or None.
        sparse_x: Input of the projection `x B`, if it differs from `x` (batch centring).
        linear: Whether y equals `x W`, so that `x B` and y may share a product.

    Example:
    >>> import tensorflow as tf, tf_alignment as ta
    >>> from tf_alignment.maps.dense import Matmul
    >>> x, w, b = tf.ones((2, 4)), tf.ones((4, 3)), tf.zeros((4, 3))
    >>> local = ta.primitives.Local(Matmul(), x, x @ w, w, b, divisor=tf.constant(2.0))
    >>> local.reconstruction.shape, local.projection.shape
    (TensorShape([2, 4]), TensorShape([2, 3]))
    >>> float(ta.primitives.sparse.value(local))  # of B = 0
    0.0
    """

    map: LinearMap
    x: tf.Tensor
    y: tf.Tensor
    kernel: tf.Tensor
    feedback: tf.Tensor
    divisor: tf.Tensor
    bias: tf.Tensor | None = None
    post: Post | None = None
    sparse_x: tf.Tensor | None = None
    linear: bool = False

    def _b(self) -> tf.Tensor:
        return tf.cast(self.feedback, self.x.dtype)

    @cached_property
    def _raw_reconstruction(self) -> tf.Tensor:
        h = self.map.transpose(self.y, self._b(), self.x)
        return h if self.bias is None else h + tf.cast(self.bias, h.dtype)

    @cached_property
    def reconstruction(self) -> tf.Tensor:
        """Projection `y Bᵀ` of the response by the feedback kernel, shaped like `x`."""
        raw = self._raw_reconstruction
        return raw if self.post is None else self.post(raw)

    @cached_property
    def _raw_projection(self) -> tf.Tensor:
        return self.map.apply(self.x if self.sparse_x is None else self.sparse_x, self._b())

    @cached_property
    def projection(self) -> tf.Tensor:
        """Projection `x B` of the input by the feedback kernel, shaped like `y`."""
        raw = self._raw_projection
        return raw if self.post is None else self.post(raw)

    def mean(self, total: tf.Tensor) -> tf.Tensor:
        """Divide a sum over the batch by the divisor, in float32."""
        return tf.cast(total, tf.float32) / self.divisor


@dataclasses.dataclass(frozen=True)
class Gradient:
    """Gradient of a primitive for B, in parts that are cheap to add.

    Attributes:
        direct: Part of the gradient in the shape of B, or None.
        hebb: Factor of `−xᵀ y / N`. It is a separate part, since it can be computed together with
            either of the next two.
        to_reconstruction: Gradient for `y Bᵀ`, times N, or None.
        to_projection: Gradient for `x B`, times N, or None.
        projected: Kernel `K` of B's shape that represents `to_projection = x K`, or None; kernels
            are cheaper to add than projections of a batch.

    Example:
    >>> import tensorflow as tf, tf_alignment as ta
    >>> decay = ta.primitives.Gradient(direct=tf.constant([[1.0]]))
    >>> mirror = ta.primitives.Gradient(hebb=1.0)
    >>> both = decay.scaled(0.5) + mirror
    >>> both.direct.numpy().tolist(), both.hebb
    ([[0.5]], 1.0)
    """

    direct: tf.Tensor | None = None
    hebb: float | tf.Tensor = 0.0
    to_reconstruction: tf.Tensor | None = None
    to_projection: tf.Tensor | None = None
    projected: tf.Tensor | None = None

    def __add__(self, other: Gradient) -> Gradient:
        def plus(a: tf.Tensor | None, b: tf.Tensor | None) -> tf.Tensor | None:
            return b if a is None else a if b is None else a + b

        return Gradient(
            plus(self.direct, other.direct),
            other.hebb if _is_zero(self.hebb) else self.hebb + other.hebb,
            plus(self.to_reconstruction, other.to_reconstruction),
            plus(self.to_projection, other.to_projection),
            plus(self.projected, other.projected),
        )

    def scaled(self, factor: float | tf.Tensor) -> Gradient:
        """Multiply this gradient by a coefficient."""

        def times(a: tf.Tensor | None) -> tf.Tensor | None:
            if a is None or _is_one(factor):
                return a
            return tf.cast(factor, a.dtype) * a

        return Gradient(
            times(self.direct),
            0.0 if _is_zero(self.hebb) else self.hebb * factor,
            times(self.to_reconstruction),
            times(self.to_projection),
            times(self.projected),
        )

    def resolve(self, local: Local) -> dict[str, tf.Tensor]:
        """Carry out the products: `{"feedback_kernel": dB}`, and `"feedback_bias"` if there is one.

        `hebb` joins the product that is needed anyway: WM costs one, IA and AA two.
        """
        joined = self._join_hebb(local)
        to_h, to_s, parts, found = joined.to_reconstruction, joined.to_projection, [], {}
        sparse_x = local.x if local.sparse_x is None else local.sparse_x
        if not _is_zero(joined.hebb):
            parts.append(_outer(local, local.x, local.y, -joined.hebb))
        if joined.projected is not None:
            s = local.map.apply(sparse_x, tf.cast(joined.projected, sparse_x.dtype))
            to_s = s if to_s is None else to_s + s
        if to_h is not None:
            if local.post is not None:
                to_h = _pull_back(local.post, local._raw_reconstruction, to_h)
            parts.append(_outer(local, to_h, local.y))
            if local.bias is not None:
                found["feedback_bias"] = _sum_to(to_h, local.bias.shape) / local.divisor
        if to_s is not None:
            if local.post is not None:
                to_s = _pull_back(local.post, local._raw_projection, to_s)
            parts.append(_outer(local, sparse_x, to_s))
        parts = [tf.cast(part, local.feedback.dtype) for part in parts]
        if self.direct is not None:
            parts.append(self.direct)
        found["feedback_kernel"] = tf.add_n(parts) if parts else tf.zeros_like(local.feedback)
        if local.bias is not None and "feedback_bias" not in found:
            found["feedback_bias"] = tf.zeros_like(local.bias)
        return found

    def _join_hebb(self, local: Local) -> Gradient:
        """Move `hebb` into a part whose product is needed anyway, if there is one."""
        if _is_zero(self.hebb):
            return self
        simple = local.post is None and local.bias is None and self.to_reconstruction is None
        if simple and self.to_projection is None and self.projected is None:
            return self
        rest = dataclasses.replace(self, hebb=0.0)
        if simple and self.projected is not None and local.linear:
            return rest + Gradient(projected=local.kernel).scaled(-self.hebb)
        if simple and local.sparse_x is None:
            return rest + Gradient(to_projection=local.y).scaled(-self.hebb)
        return rest + Gradient(to_reconstruction=local.x).scaled(-self.hebb)


def _outer(local: Local, x: tf.Tensor, dz: tf.Tensor, factor: float | tf.Tensor = 1.0) -> tf.Tensor:
    """Product `factor xᵀ dz / N`."""
    b = local._b()
    if x.dtype.size < 4:
        # The divisor is shared by the two factors before they meet: in half precision the whole of
        # it would push one factor below the smallest number, and none the product above the
        # largest.
        root = tf.cast(tf.math.rsqrt(local.divisor), x.dtype)
        product = local.map.outer(x * root, dz * root, b)
        return product if _is_one(factor) else tf.cast(factor, x.dtype) * product
    scale = factor / local.divisor
    if dz.shape.rank == 2:  # a dense layer's response is smaller than its kernel
        return local.map.outer(x, dz * tf.cast(scale, dz.dtype), b)
    return tf.cast(scale, x.dtype) * local.map.outer(x, dz, b)


def _is_zero(value: float | tf.Tensor) -> bool:
    return not tf.is_tensor(value) and value == 0.0


def _is_one(value: float | tf.Tensor) -> bool:
    return not tf.is_tensor(value) and value == 1.0


def _pull_back(post: Post, raw: tf.Tensor, gradient: tf.Tensor) -> tf.Tensor:
    """Gradient before `post`, which is elementwise and cheap, so that the tape computes it."""
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(raw)
        out = post(raw)
    return tape.gradient(out, raw, output_gradients=gradient)


def _sum_to(x: tf.Tensor, shape: tf.TensorShape) -> tf.Tensor:
    """Sum `x` over the axes along which a tensor of `shape` was broadcast."""
    padded = [1] * (x.shape.rank - shape.rank) + shape.as_list()
    axes = [i for i, size in enumerate(padded) if size == 1]
    return tf.reshape(tf.reduce_sum(tf.cast(x, tf.float32), axes), shape)


class Primitive:
    """Base of regularisation primitives, also for your own ones.

    A subclass defines `value` and `gradient`, and `get_config` if its constructor has arguments. An
    instance has no state and is hashable. `Alignment([(Lasso(), 1.0), ...])` makes a rule of a
    primitive; to save models with it, register the class
    (`keras.saving.register_keras_serializable`). `tf_alignment.testing.check_rule` compares `value`
    and `gradient` with each other, on every layer.

    Attributes:
        weights_only: Whether the gradient is a function of B and W alone, so that all replicas of a
            strategy compute the same gradient (see `tf_alignment.optimizers.ReplicatedSGD`).

    Example:
    >>> import tensorflow as tf, tf_alignment as ta
    >>> class Lasso(ta.primitives.Primitive):
    ...     \"\"\"P = Σ|B|.\"\"\"
    ...     def value(self, local):
    ...         return tf.reduce_sum(tf.abs(local.feedback))
    ...     def gradient(self, local):
    ...         return ta.primitives.Gradient(direct=tf.sign(local.feedback))
    """

    weights_only: bool = False

    @property
    def name(self) -> str:
        """Name of the primitive."""
        return type(self).__name__.lower()

    def value(self, local: Local) -> tf.Tensor:
        """Return the value of the primitive, a float32 scalar.

        Args:
            local: Quantities of one connection.
        """
        raise NotImplementedError(f"{type(self).__name__} does not define `value`.")

    def gradient(self, local: Local) -> Gradient:
        """Return the gradient of the primitive for B in closed form.

        Args:
            local: Quantities of one connection.
        """
        raise NotImplementedError(f"{type(self).__name__} does not define `gradient`.")

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Primitive:
        """The primitive that `get_config` described."""
        return cls(**config)

    def __repr__(self) -> str:
        return f"<primitive {self.name}>"


@_package
class Decay(Primitive):
    """Decay `½‖B‖²`, with gradient `B`: keeps feedback weights small."""

    weights_only = True

    def value(self, local: Local) -> tf.Tensor:
        return 0.5 * tf.reduce_sum(tf.square(local.feedback))

    def gradient(self, local: Local) -> Gradient:
        return Gradient(direct=local.feedback)


@_package
class Amp(Primitive):
    """Amp `−(1/N) Σ x · y Bᵀ`, with the Hebbian gradient `−xᵀ y / N`: makes `y Bᵀ` follow x."""

    def value(self, local: Local) -> tf.Tensor:
        return -local.mean(tf.reduce_sum(local.x * local.reconstruction))

    def gradient(self, local: Local) -> Gradient:
        return Gradient(hebb=1.0)


@_package
class Null(Primitive):
    """Null `(1/2N) ‖y Bᵀ‖²`, with gradient `(y Bᵀ)ᵀ y / N`: keeps reconstructions small."""

    def value(self, local: Local) -> tf.Tensor:
        return 0.5 * local.mean(tf.reduce_sum(tf.square(local.reconstruction)))

    def gradient(self, local: Local) -> Gradient:
        return Gradient(to_reconstruction=local.reconstruction)


@_package
class Sparse(Primitive):
    """Sparse `(1/2N) ‖x B‖²`, with gradient `xᵀ (x B) / N`; not local, as B acts on the input."""

    def value(self, local: Local) -> tf.Tensor:
        return 0.5 * local.mean(tf.reduce_sum(tf.square(local.projection)))

    def gradient(self, local: Local) -> Gradient:
        if local.post is None:
            return Gradient(projected=local.feedback)
        return Gradient(to_projection=local.projection)


@_package
class Self(Primitive):
    """Self `−tr(Bᵀ W)`, with gradient `−W`; not local, as it reads the forward synapse."""

    weights_only = True

    def value(self, local: Local) -> tf.Tensor:
        return -tf.reduce_sum(local.feedback * local.kernel)

    def gradient(self, local: Local) -> Gradient:
        return Gradient(direct=-local.kernel)


decay = Decay()
amp = Amp()
null = Null()
sparse = Sparse()
self_ = Self()
