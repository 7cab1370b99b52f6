"""Widened map for product feedback, with an extra population between `δ` and `dx`."""

from __future__ import annotations

import dataclasses
import functools
import math
import string

import tensorflow as tf

from tf_alignment.maps.base import LinearMap
from tf_alignment.maps.convolution import (
    Convolution,
    DepthwiseConvolution,
    TransposedConvolution,
)
from tf_alignment.maps.dense import Matmul
from tf_alignment.maps.einsum import Einsum
from tf_alignment.maps.shapes import dims, last_axis_matmul

__all__ = ["Wide", "widen"]


@dataclasses.dataclass(frozen=True)
class Wide:
    """Extra population with `expansion` times as many units as the layer, and its two maps.

    The error `δ` enters the population through a fixed kernel `B` (`mix`) and leaves it through a
    plastic kernel `R` (`map.transpose`). Both together act like one kernel, `compose(R, B)`.

    Attributes:
        map: Widened map, whose kernel is `R`.
        plastic_shape: Shape of `R`.
        fixed_shape: Shape of `B`: `(groups · population, out)`, one block of rows per group.
        blocks: Number of groups.
        block_shape: Shape `(population, out)` of one block, with the last axes flattened.
        mix_equation: Einsum equation of `(δ, blocks of B)`, if channels are several axes.
        compose_equation: Einsum equation of `(R, blocks of B)` in the layout `plastic_blocks`.
        plastic_blocks: Shape into which `R` is cut for `compose`.
        fixed_blocks: Shape into which `B` is cut.
        kernel_shape: Shape of the forward kernel.
        channel_axis: Axis of output channels in `δ`, or None if `mix_equation` determines it.
    """

    map: LinearMap
    plastic_shape: tuple[int, ...]
    fixed_shape: tuple[int, ...]
    blocks: int
    block_shape: tuple[int, int]
    mix_equation: str
    compose_equation: str
    plastic_blocks: tuple[int, ...]
    fixed_blocks: tuple[int, ...]
    kernel_shape: tuple[int, ...]
    channel_axis: int | None

    def mix(self, dz: tf.Tensor, fixed: tf.Tensor) -> tf.Tensor:
        """Error `ē = δ Bᵀ` that the extra population receives."""
        if self.channel_axis is None:
            return tf.einsum(self.mix_equation, dz, tf.reshape(fixed, self.fixed_blocks))
        if self.channel_axis != -1:
            dz = tf.transpose(dz, [0, *range(2, dz.shape.rank), 1])
        if self.blocks == 1:
            mixed = last_axis_matmul(dz, fixed)
        else:
            cut = tf.reshape(dz, [*dims(dz)[:-1], self.blocks, self.block_shape[1]])
            mixed = tf.einsum("...go,gmo->...gm", cut, tf.reshape(fixed, self.fixed_blocks))
            mixed = tf.reshape(mixed, [*dims(dz)[:-1], self.fixed_shape[0]])
        if self.channel_axis != -1:
            mixed = tf.transpose(mixed, [0, mixed.shape.rank - 1, *range(1, mixed.shape.rank - 1)])
        return mixed

    def compose(self, plastic: tf.Tensor, fixed: tf.Tensor) -> tf.Tensor:
        """Kernel `R B` of the whole path, in the forward kernel's shape."""
        path = tf.einsum(
            self.compose_equation,
            tf.reshape(plastic, self.plastic_blocks),
            tf.reshape(fixed, self.fixed_blocks),
        )
        return tf.reshape(path, self.kernel_shape)

    def spread(self, kernel: tf.Tensor, fixed: tf.Tensor) -> tf.Tensor:
        """Product `G Bᵀ`, which turns the gradient G of the forward kernel into that of R."""
        plastic, rows, path = self._labels()
        cut, rows_of = self._cut(kernel), tf.reshape(fixed, self.fixed_blocks)
        return tf.reshape(tf.einsum(f"{path},{rows}->{plastic}", cut, rows_of), self.plastic_shape)

    def unfold(self, kernel: tf.Tensor) -> tf.Tensor:
        """Reshape G from the forward kernel's shape to the shape of R; needs an expansion of 1."""
        plastic, _, path = self._labels()
        [unit] = set(plastic) - set(path)
        order = plastic.replace(unit, "".join(c for c in path if c not in plastic))
        permuted = tf.transpose(self._cut(kernel), [path.index(c) for c in order])
        return tf.reshape(permuted, self.plastic_shape)

    def _labels(self) -> tuple[str, str, str]:
        both, path = self.compose_equation.split("->")
        plastic, rows = both.split(",")
        return plastic, rows, path

    def _cut(self, kernel: tf.Tensor) -> tf.Tensor:
        """Forward kernel in the blocks that `compose_equation` produces."""
        plastic, rows, path = self._labels()
        sizes = dict(zip(plastic + rows, self.plastic_blocks + self.fixed_blocks, strict=True))
        return tf.reshape(kernel, [sizes[c] for c in path])


def _population(outputs: int, expansion: float) -> int:
    """Number of units in the extra population for `outputs` output channels."""
    return max(1, round(expansion * outputs))


@functools.singledispatch
def widen(linear_map: LinearMap, kernel_shape: tuple[int, ...], expansion: float) -> Wide:
    """Widen a map to `expansion` times as many output channels, for product feedback.

    The function for your own class of maps is registered with `widen.register`.

    Args:
        linear_map: Map of the connection.
        kernel_shape: Shape of the forward kernel.
        expansion: Number of units in the extra population per output channel.

    Returns:
        `Wide` object with the widened map and the shapes of its kernels.

    Raises:
        TypeError: If the class of the map has no function registered.
    """
    raise TypeError(
        "Product feedback needs a wider map, which `tf_alignment.maps.wide.widen` does not know "
        f"for this one. Received: a map of class {type(linear_map).__name__}"
    )


@widen.register
def _widen_matmul(linear_map: Matmul, kernel_shape: tuple[int, ...], expansion: float) -> Wide:
    inputs, outputs = kernel_shape
    units = _population(outputs, expansion)
    return Wide(
        map=linear_map,
        plastic_shape=(inputs, units),
        fixed_shape=(units, outputs),
        blocks=1,
        block_shape=(units, outputs),
        mix_equation="",
        compose_equation="im,mo->io",
        plastic_blocks=(inputs, units),
        fixed_blocks=(units, outputs),
        kernel_shape=tuple(kernel_shape),
        channel_axis=-1,
    )


@widen.register
def _widen_einsum(linear_map: Einsum, kernel_shape: tuple[int, ...], expansion: float) -> Wide:
    size = dict(zip(linear_map.kernel, kernel_shape, strict=True))
    outputs = math.prod(size[c] for c in linear_map.new)
    blocks = math.prod(size[c] for c in linear_map.shared)
    units = _population(outputs, expansion)
    m = next(c for c in string.ascii_letters if c not in linear_map.equation)
    new, shared = "".join(linear_map.new), "".join(linear_map.shared)
    plastic = "".join(c for c in linear_map.kernel if c not in new) + m
    wide_output = "".join(c for c in linear_map.output if c not in new) + m
    fixed = shared + m + new
    shape_of = size | {m: units}
    return Wide(
        map=Einsum(f"{linear_map.input},{plastic}->{wide_output}"),
        plastic_shape=tuple(shape_of[c] for c in plastic),
        fixed_shape=(blocks * units, outputs),
        blocks=blocks,
        block_shape=(units, outputs),
        mix_equation=f"{linear_map.output},{fixed}->{wide_output}",
        compose_equation=f"{plastic},{fixed}->{linear_map.kernel}",
        plastic_blocks=tuple(shape_of[c] for c in plastic),
        fixed_blocks=tuple(shape_of[c] for c in fixed),
        kernel_shape=tuple(kernel_shape),
        channel_axis=None,
    )


@widen.register
def _widen_convolution(
    linear_map: Convolution, kernel_shape: tuple[int, ...], expansion: float
) -> Wide:
    *window, inputs, filters = kernel_shape
    groups = linear_map.groups
    outputs = filters // groups
    units = _population(outputs, expansion)
    return Wide(
        map=linear_map,
        plastic_shape=(*window, inputs, groups * units),
        fixed_shape=(groups * units, outputs),
        blocks=groups,
        block_shape=(units, outputs),
        mix_equation="",
        compose_equation="igm,gmo->igo",
        plastic_blocks=(math.prod(window) * inputs, groups, units),
        fixed_blocks=(groups, units, outputs),
        kernel_shape=tuple(kernel_shape),
        channel_axis=linear_map.channel_axis,
    )


@widen.register
def _widen_depthwise(
    linear_map: DepthwiseConvolution, kernel_shape: tuple[int, ...], expansion: float
) -> Wide:
    *window, inputs, multiplier = kernel_shape
    units = _population(multiplier, expansion)
    return Wide(
        map=linear_map,
        plastic_shape=(*window, inputs, units),
        fixed_shape=(inputs * units, multiplier),
        blocks=inputs,
        block_shape=(units, multiplier),
        mix_equation="",
        compose_equation="wim,imo->wio",
        plastic_blocks=(math.prod(window), inputs, units),
        fixed_blocks=(inputs, units, multiplier),
        kernel_shape=tuple(kernel_shape),
        channel_axis=linear_map.channel_axis,
    )


@widen.register
def _widen_transposed(
    linear_map: TransposedConvolution, kernel_shape: tuple[int, ...], expansion: float
) -> Wide:
    *window, filters, inputs = kernel_shape
    units = _population(filters, expansion)
    return Wide(
        map=linear_map,
        plastic_shape=(*window, units, inputs),
        fixed_shape=(units, filters),
        blocks=1,
        block_shape=(units, filters),
        mix_equation="",
        compose_equation="wmi,mo->woi",
        plastic_blocks=(math.prod(window), units, inputs),
        fixed_blocks=(units, filters),
        kernel_shape=tuple(kernel_shape),
        channel_axis=linear_map.channel_axis,
    )
