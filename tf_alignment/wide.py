"""A wider map, for product feedback: an extra population between `δ` and `dx`."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import tensorflow as tf

if TYPE_CHECKING:
    from tf_alignment.linear_maps import LinearMap

__all__ = ["Wide", "dims", "last_axis_matmul", "population"]


@dataclasses.dataclass(frozen=True)
class Wide:
    """A map into a population of `expansion` times as many units, and the way there.

    The error `δ` enters the population through a fixed kernel `B` (`mix`) and leaves it through a
    plastic kernel `R` (`map.transpose`). Both in a row act like one kernel, `compose(R, B)`.

    Attributes:
        map: The widened map, whose kernel is `R`.
        plastic_shape: Shape of `R`.
        fixed_shape: Shape of `B`: `(groups · population, out)`, one block of rows a group.
        blocks: Number of groups.
        block_shape: `(population, out)` of one block, the last axes flattened.
        mix_equation: Einsum of `(δ, blocks of B)`, where channels are several axes.
        compose_equation: Einsum of `(R, blocks of B)` in the layout `plastic_blocks`.
        plastic_blocks: Shape into which `R` is cut for `compose`.
        fixed_blocks: Shape into which `B` is cut.
        kernel_shape: Shape of the forward kernel.
        channel_axis: Axis of output channels in `δ`, or None where `mix_equation` knows it.
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
        """`ē = δ Bᵀ`: the error as the extra population receives it."""
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
        """The path kernel `R B`, in the forward kernel's shape."""
        path = tf.einsum(
            self.compose_equation,
            tf.reshape(plastic, self.plastic_blocks),
            tf.reshape(fixed, self.fixed_blocks),
        )
        return tf.reshape(path, self.kernel_shape)

    def spread(self, kernel: tf.Tensor, fixed: tf.Tensor) -> tf.Tensor:
        """`G Bᵀ` in R's shape, for a G in the forward kernel's: so W's gradient becomes R's."""
        plastic, rows, path = self._labels()
        cut, rows_of = self._cut(kernel), tf.reshape(fixed, self.fixed_blocks)
        return tf.reshape(tf.einsum(f"{path},{rows}->{plastic}", cut, rows_of), self.plastic_shape)

    def unfold(self, kernel: tf.Tensor) -> tf.Tensor:
        """A G in the forward kernel's shape in that of R; only where the expansion is 1."""
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
        """The forward kernel in blocks, as `compose_equation` makes it."""
        plastic, rows, path = self._labels()
        sizes = dict(zip(plastic + rows, self.plastic_blocks + self.fixed_blocks, strict=True))
        return tf.reshape(kernel, [sizes[c] for c in path])


def dims(x: tf.Tensor) -> list[int | tf.Tensor]:
    """Shape of `x`, static where it is known."""
    dynamic = tf.shape(x)
    return [d if d is not None else dynamic[i] for i, d in enumerate(x.shape)]


def last_axis_matmul(x: tf.Tensor, rows: tf.Tensor) -> tf.Tensor:
    """`x rowsᵀ` over the last axis, as one matrix product."""
    flat = tf.reshape(x, [-1, rows.shape[1]])
    product = tf.matmul(flat, rows, transpose_b=True)
    return tf.reshape(product, [*dims(x)[:-1], rows.shape[0]])


def population(outputs: int, expansion: float) -> int:
    """Units of the extra population for `outputs` output channels."""
    return max(1, round(expansion * outputs))
