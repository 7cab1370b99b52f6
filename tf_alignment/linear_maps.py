"""What a layer computes before bias and activation: a map linear in its input and in its kernel.

Every method of this library is written once, for all layers, in terms of three products of a
bilinear map `z = x · K`:

    apply(x, K)       z   the forward product, Keras' own operation
    transpose(dz, K)  dx  sends an error down; backprop when K is the forward kernel, x's shape
    outer(x, dz)      dK  pairs activity with error, summed over batch and positions, K's shape

`<apply(x, K), dz> = <x, transpose(dz, K)> = <K, outer(x, dz)>` holds for every map. The base class
derives the two companions from `apply` with the gradient tape; in a graph the tape's forward
product is dead code and is never computed. A subclass overrides one where it knows a faster way.

`widen` gives the pieces for product feedback (`tf_alignment.wide`).
"""

from __future__ import annotations

import functools
import math
import string

import keras
import tensorflow as tf

from tf_alignment.wide import Wide, dims, last_axis_matmul, population

__all__ = [
    "Convolution",
    "DepthwiseConvolution",
    "Einsum",
    "LinearMap",
    "Matmul",
    "TransposedConvolution",
]


class LinearMap:
    """A bilinear map `z = x · K`. Subclasses give `apply`; everything else follows.

    Attributes:
        spatial: Whether the kernel acts at many positions of an example.
    """

    spatial = False

    def apply(self, x: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
        """`x · K`, bit for bit what the Keras layer computes."""
        raise NotImplementedError

    def transpose(self, dz: tf.Tensor, kernel: tf.Tensor, like: tf.Tensor) -> tf.Tensor:
        """Send `dz` down through `kernel`; the result has the shape of `like`, the input."""
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(like)
            z = self.apply(like, kernel)
        return tape.gradient(z, like, output_gradients=dz)

    def outer(self, x: tf.Tensor, dz: tf.Tensor, like: tf.Tensor) -> tf.Tensor:
        """Pair `x` with `dz`, summed over batch and positions; `like` has the kernel's shape."""
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(like)
            z = self.apply(x, like)
        return tape.gradient(z, like, output_gradients=dz)

    def channels_last(self, z: tf.Tensor) -> tf.Tensor:
        """Move the output channels of `z` to the last axis."""
        return z

    def output_channels(self, kernel_shape: tuple[int, ...], rank: int) -> tuple[int, ...]:
        """Shape of a weight per unit, broadcastable to the response to an input of this rank."""
        return (*[1] * (rank - 1), kernel_shape[-1])

    def input_channels(self, kernel_shape: tuple[int, ...]) -> int | None:
        """Number of input channels, where the kernel alone tells."""
        return None

    def overlap(self) -> float:
        """In how many output positions an input entry takes part, at most and on average."""
        return 1.0

    def pairs(self, x: tf.Tensor, z: tf.Tensor, kernel_shape: tuple[int, ...]) -> tf.Tensor:
        """How many products `outer(x, z)` sums up for an entry of the kernel, a float32 scalar.

        These are the examples, times the positions of an example at which the same kernel acts. An
        entry of the kernel is all that a pair of an input and a response shares. So white `x` of
        variance σ², with `z = apply(x, W)`, gives `E[outer(x, z)] = σ² · pairs · W` in every map.
        Entries that reach beyond a padded border pair less often; counted are those that never do.

        `size(z) / size(kernel)` is then n/d, of n examples times positions and d inputs of a unit:
        every entry of z is one equation for the entries of the kernel, in whatever groups.
        """
        ones = tf.ones_like(x), tf.ones_like(z), tf.zeros(kernel_shape, z.dtype)
        return tf.cast(tf.reduce_max(self.outer(*ones)), tf.float32)

    def initializer_axes(self) -> dict[str, list[int]]:
        """Kernel axes that a `VarianceScaling` initializer cannot guess; empty if it can."""
        return {}

    def widen(self, kernel_shape: tuple[int, ...], expansion: float) -> Wide:
        """The map with `expansion` times as many output channels, for product feedback."""
        raise NotImplementedError

    def regressors(self, kernel_shape: tuple[int, ...]) -> int | None:
        """How many entries of an error reach one entry of the input, the same at every position.

        Then `transpose` is a linear regression on the kernel: one row of regressors a position
        (`error_rows`), one column of coefficients an input channel. None where it is not.
        """
        return None

    def error_rows(
        self, dz: tf.Tensor, kernel_shape: tuple[int, ...], like: tf.Tensor
    ) -> tf.Tensor:
        """`dz` as `(positions, regressors)`; times `coefficients` it is `transpose`, row by row."""
        raise NotImplementedError

    def coefficients(self, kernel: tf.Tensor) -> tf.Tensor:
        """A kernel as `(regressors, input channels)`."""
        raise NotImplementedError

    def from_coefficients(self, matrix: tf.Tensor, kernel_shape: tuple[int, ...]) -> tf.Tensor:
        """The kernel of `coefficients`."""
        raise NotImplementedError


def _size(x: tf.Tensor) -> tf.Tensor:
    """Number of entries of `x`, in float32."""
    return tf.cast(tf.size(x), tf.float32)


class Matmul(LinearMap):
    """`Dense`: kernel `(in, out)`, input `(batch, ..., in)`."""

    def apply(self, x: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
        return keras.ops.matmul(x, kernel)

    def transpose(self, dz: tf.Tensor, kernel: tf.Tensor, like: tf.Tensor) -> tf.Tensor:
        if dz.shape.rank == 2:
            return tf.matmul(dz, kernel, transpose_b=True)
        return last_axis_matmul(dz, kernel)

    def outer(self, x: tf.Tensor, dz: tf.Tensor, like: tf.Tensor) -> tf.Tensor:
        x, dz = (tf.reshape(a, [-1, a.shape[-1]]) if a.shape.rank != 2 else a for a in (x, dz))
        return tf.matmul(x, dz, transpose_a=True)

    def pairs(self, x: tf.Tensor, z: tf.Tensor, kernel_shape: tuple[int, ...]) -> tf.Tensor:
        return _size(x) / float(x.shape[-1])

    def regressors(self, kernel_shape: tuple[int, ...]) -> int | None:
        return kernel_shape[1]

    def error_rows(
        self, dz: tf.Tensor, kernel_shape: tuple[int, ...], like: tf.Tensor
    ) -> tf.Tensor:
        return tf.reshape(dz, [-1, kernel_shape[1]])

    def coefficients(self, kernel: tf.Tensor) -> tf.Tensor:
        return tf.transpose(kernel)

    def from_coefficients(self, matrix: tf.Tensor, kernel_shape: tuple[int, ...]) -> tf.Tensor:
        return tf.transpose(matrix)

    def widen(self, kernel_shape: tuple[int, ...], expansion: float) -> Wide:
        inputs, outputs = kernel_shape
        units = population(outputs, expansion)
        return Wide(
            map=self,
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


class Einsum(LinearMap):
    """`EinsumDense`: kernel and input as the equation says.

    Kernel labels are of three kinds: contracted with the input, new in the output, and shared by
    input and output (one independent matrix a value, as a grouped convolution has groups).

    Args:
        equation: `"in,kernel->out"`, as of `keras.layers.EinsumDense`.
    """

    def __init__(self, equation: str) -> None:
        self.equation = equation.replace(" ", "")
        left, self.output = self.equation.split("->")
        self.input, self.kernel = left.split(",")
        self.new = [c for c in self.kernel if c in self.output and c not in self.input]
        self.shared = [c for c in self.kernel if c in self.output and c in self.input]

    def apply(self, x: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
        return keras.ops.einsum(self.equation, x, kernel)

    def output_channels(self, kernel_shape: tuple[int, ...], rank: int) -> tuple[int, ...]:
        size = dict(zip(self.kernel, kernel_shape, strict=True))
        more = rank - len(self.input.replace("...", ""))  # the axes of an ellipsis
        labels = self.output.replace("...", "." * more)
        return tuple(size.get(label, 1) for label in labels)

    def pairs(self, x: tf.Tensor, z: tf.Tensor, kernel_shape: tuple[int, ...]) -> tf.Tensor:
        sizes = zip(self.kernel, kernel_shape, strict=True)
        return _size(x) / float(math.prod(size for c, size in sizes if c in self.input))

    def initializer_axes(self) -> dict[str, list[int]]:
        inputs = [i for i, c in enumerate(self.kernel) if c not in self.output]
        outputs = [i for i, c in enumerate(self.kernel) if c in self.new]
        return {"input_axes": inputs, "output_axes": outputs}

    def widen(self, kernel_shape: tuple[int, ...], expansion: float) -> Wide:
        size = dict(zip(self.kernel, kernel_shape, strict=True))
        outputs = math.prod(size[c] for c in self.new)
        blocks = math.prod(size[c] for c in self.shared)
        units = population(outputs, expansion)
        m = next(c for c in string.ascii_letters if c not in self.equation)
        new, shared = "".join(self.new), "".join(self.shared)
        plastic = "".join(c for c in self.kernel if c not in new) + m
        wide_output = "".join(c for c in self.output if c not in new) + m
        fixed = shared + m + new
        shape_of = size | {m: units}
        return Wide(
            map=Einsum(f"{self.input},{plastic}->{wide_output}"),
            plastic_shape=tuple(shape_of[c] for c in plastic),
            fixed_shape=(blocks * units, outputs),
            blocks=blocks,
            block_shape=(units, outputs),
            mix_equation=f"{self.output},{fixed}->{wide_output}",
            compose_equation=f"{plastic},{fixed}->{self.kernel}",
            plastic_blocks=tuple(shape_of[c] for c in plastic),
            fixed_blocks=tuple(shape_of[c] for c in fixed),
            kernel_shape=tuple(kernel_shape),
            channel_axis=None,
        )


class _Spatial(LinearMap):
    """What the convolutions have in common.

    Args:
        rank: Number of spatial axes.
        strides, padding, dilation_rate, data_format: As of the Keras layer.
    """

    spatial = True

    def __init__(
        self,
        rank: int,
        kernel_size: tuple[int, ...],
        strides: tuple[int, ...],
        padding: str,
        dilation_rate: tuple[int, ...],
        data_format: str,
    ) -> None:
        self.rank = rank
        self.kernel_size = kernel_size
        self.strides = strides
        self.padding = padding
        self.dilation_rate = dilation_rate
        self.data_format = data_format

    @property
    def channel_axis(self) -> int:
        return -1 if self.data_format == "channels_last" else 1

    def channels_last(self, z: tf.Tensor) -> tf.Tensor:
        return z if self.channel_axis == -1 else tf.transpose(z, [0, *range(2, self.rank + 2), 1])

    def units(self, kernel_shape: tuple[int, ...]) -> int:
        """Number of output channels."""
        return kernel_shape[-1]

    def output_channels(self, kernel_shape: tuple[int, ...], rank: int) -> tuple[int, ...]:
        shape = [1] * rank
        shape[self.channel_axis] = self.units(kernel_shape)
        return tuple(shape)

    def overlap(self) -> float:
        return math.prod(self.kernel_size) / math.prod(self.strides)

    def pairs(self, x: tf.Tensor, z: tf.Tensor, kernel_shape: tuple[int, ...]) -> tf.Tensor:
        return _size(z) / float(z.shape[self.channel_axis])


class Convolution(_Spatial):
    """`Conv1D`, `Conv2D`, `Conv3D`: kernel `(*window, in / groups, out)`."""

    def __init__(self, *args: object, groups: int = 1, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        self.groups = groups

    def input_channels(self, kernel_shape: tuple[int, ...]) -> int:
        return kernel_shape[-2] * self.groups

    def apply(self, x: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
        padding = self.padding
        if padding == "causal":  # Conv1D pads the past, then convolves without padding
            past = [self.dilation_rate[0] * (self.kernel_size[0] - 1), 0]
            time_first = self.data_format == "channels_last"
            x = keras.ops.pad(x, [[0, 0], past, [0, 0]] if time_first else [[0, 0], [0, 0], past])
            padding = "valid"
        return keras.ops.conv(
            x,
            kernel,
            strides=list(self.strides),
            padding=padding,
            dilation_rate=self.dilation_rate,
            data_format=self.data_format,
        )

    def transpose(self, dz: tf.Tensor, kernel: tf.Tensor, like: tf.Tensor) -> tf.Tensor:
        if not self._reverses(kernel):
            return super().transpose(dz, kernel, like)
        reverse = tf.reverse(kernel, list(range(self.rank)))
        return self.apply(dz, tf.linalg.matrix_transpose(reverse))

    def regressors(self, kernel_shape: tuple[int, ...]) -> int | None:
        return math.prod(kernel_shape) // kernel_shape[-2] if self.groups == 1 else None

    def error_rows(
        self, dz: tf.Tensor, kernel_shape: tuple[int, ...], like: tf.Tensor
    ) -> tf.Tensor:
        *window, _, outputs = kernel_shape
        count = math.prod(window) * outputs
        # Sent down through this kernel, every entry of the error arrives in a channel of its own.
        apart = tf.reshape(tf.eye(count, dtype=dz.dtype), (*window, outputs, count))
        shape = dims(like)
        shape[self.channel_axis] = count
        sent = self.transpose(dz, tf.linalg.matrix_transpose(apart), tf.zeros(shape, dz.dtype))
        return tf.reshape(self.channels_last(sent), [-1, count])

    def coefficients(self, kernel: tf.Tensor) -> tf.Tensor:
        # (*window, in, out) -> (*window, out, in)
        return tf.reshape(tf.linalg.matrix_transpose(kernel), [-1, kernel.shape[-2]])

    def from_coefficients(self, matrix: tf.Tensor, kernel_shape: tuple[int, ...]) -> tf.Tensor:
        *window, inputs, outputs = kernel_shape
        return tf.linalg.matrix_transpose(tf.reshape(matrix, (*window, outputs, inputs)))

    def _reverses(self, kernel: tf.Tensor) -> bool:
        """Whether to send the error down by a forward convolution, with the kernel reversed.

        Reversed in space, input and output channels swapped: that is the same map where the stride
        is 1 and the padding the same on both sides. In TensorFlow's own CPU kernels it is up to
        three times as fast as the gradient, where input channels are neither few nor fewer than
        output channels (docs/performance.md); elsewhere there is nothing to gain.
        """
        inputs, outputs = kernel.shape[-2:]
        symmetric = self.padding == "same" and all(size % 2 for size in self.kernel_size)
        same_map = symmetric and set(self.strides) == {1} and self.groups == 1
        return same_map and 8 <= inputs >= outputs and _own_cpu_kernels()

    def widen(self, kernel_shape: tuple[int, ...], expansion: float) -> Wide:
        *window, inputs, filters = kernel_shape
        outputs = filters // self.groups
        units = population(outputs, expansion)
        return Wide(
            map=self,
            plastic_shape=(*window, inputs, self.groups * units),
            fixed_shape=(self.groups * units, outputs),
            blocks=self.groups,
            block_shape=(units, outputs),
            mix_equation="",
            compose_equation="igm,gmo->igo",
            plastic_blocks=(math.prod(window) * inputs, self.groups, units),
            fixed_blocks=(self.groups, units, outputs),
            kernel_shape=tuple(kernel_shape),
            channel_axis=self.channel_axis,
        )


class DepthwiseConvolution(_Spatial):
    """`DepthwiseConv1D`, `DepthwiseConv2D`: kernel `(*window, in, multiplier)`."""

    def units(self, kernel_shape: tuple[int, ...]) -> int:
        return kernel_shape[-2] * kernel_shape[-1]

    def apply(self, x: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
        return keras.ops.depthwise_conv(
            x,
            kernel,
            strides=self.strides,
            padding=self.padding,
            dilation_rate=self.dilation_rate,
            data_format=self.data_format,
        )

    def widen(self, kernel_shape: tuple[int, ...], expansion: float) -> Wide:
        *window, inputs, multiplier = kernel_shape
        units = population(multiplier, expansion)
        return Wide(
            map=self,
            plastic_shape=(*window, inputs, units),
            fixed_shape=(inputs * units, multiplier),
            blocks=inputs,
            block_shape=(units, multiplier),
            mix_equation="",
            compose_equation="wim,imo->wio",
            plastic_blocks=(math.prod(window), inputs, units),
            fixed_blocks=(inputs, units, multiplier),
            kernel_shape=tuple(kernel_shape),
            channel_axis=self.channel_axis,
        )


class TransposedConvolution(_Spatial):
    """`Conv1DTranspose` ... `Conv3DTranspose`: kernel `(*window, out, in)`."""

    def __init__(
        self, *args: object, output_padding: tuple[int, ...] | None = None, **kwargs: object
    ) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        self.output_padding = output_padding

    def units(self, kernel_shape: tuple[int, ...]) -> int:
        return kernel_shape[-2]

    def apply(self, x: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
        return keras.ops.conv_transpose(
            x,
            kernel,
            strides=list(self.strides),
            padding=self.padding,
            output_padding=self.output_padding,
            dilation_rate=self.dilation_rate,
            data_format=self.data_format,
        )

    def overlap(self) -> float:
        return float(math.prod(self.kernel_size))

    def pairs(self, x: tf.Tensor, z: tf.Tensor, kernel_shape: tuple[int, ...]) -> tf.Tensor:
        return _size(x) / float(x.shape[self.channel_axis])

    def widen(self, kernel_shape: tuple[int, ...], expansion: float) -> Wide:
        *window, filters, inputs = kernel_shape
        units = population(filters, expansion)
        return Wide(
            map=self,
            plastic_shape=(*window, units, inputs),
            fixed_shape=(units, filters),
            blocks=1,
            block_shape=(units, filters),
            mix_equation="",
            compose_equation="wmi,mo->woi",
            plastic_blocks=(math.prod(window), units, inputs),
            fixed_blocks=(units, filters),
            kernel_shape=tuple(kernel_shape),
            channel_axis=self.channel_axis,
        )


@functools.cache
def _own_cpu_kernels() -> bool:
    """Whether TensorFlow convolves in its own CPU kernels: no accelerator and no oneDNN."""
    if {device.device_type for device in tf.config.list_logical_devices()} != {"CPU"}:
        return False
    try:  # nothing public tells
        from tensorflow.python.util._pywrap_util_port import IsMklEnabled
    except ImportError:
        return False
    return not IsMklEnabled()
