"""Packed layers as LiteRT's converter wants to see them: floats, with their ranges."""

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from keras_compress.layers.packed._integer_kernel import IntegerKernel
from keras_compress.layers.packed._integer_steps import (
    final_format,
    limits_of,
)
from keras_compress.layers.packed.integer import IntegerConv2D
from keras_compress.layers.packed.sparse import SparseConv2D

LEAST_WEIGHT = -127
"""LiteRT's weights are symmetric: there is no -128."""
NAMED = (keras.activations.linear, keras.activations.relu)


def gives_steps(layer):
    """Whether LiteRT can make integers of a layer's sums."""
    if not isinstance(layer, IntegerKernel):
        return False
    # Else its weights may be stored as integers yet, but are multiplied as floats.
    fixed = layer.output_format is not None and layer.activation in NAMED
    return fixed or layer.pre_activation_format is not None


def plain_layer(layer):
    """The plain layer of a sparse one, and what fills it once it is built."""
    config = {
        name: value
        for name, value in layer.get_config().items()
        if name not in ("nonzeros", "layout", "stored", "storage")
    }
    new = (
        keras.layers.Conv2D if isinstance(layer, SparseConv2D) else keras.layers.Dense
    ).from_config(config)

    def fill():
        kernel = layer.effective_kernel()
        new.kernel.assign(kernel.reshape(new.kernel.shape))
        if layer.bias is not None:
            new.bias.assign(layer.bias)

    return new, fill


class RangedKernel(keras.layers.Layer):
    """Computes what an integer layer does, every value with the range of its format.

    From the ranges the converter takes the scale of an integer tensor: they are such
    that it is `2 ** -fraction_bits`. The kernel and the bias are on their grids.

    Args:
        layer: An `IntegerDense` or an `IntegerConv2D`, built.
        behind_floats: Whether its inputs come from layers that are to stay floats.
        before_floats: Whether its outputs go to such layers, or are to become floats.
    """

    def __init__(self, layer, behind_floats=False, before_floats=False):
        super().__init__(name=layer.name, trainable=False)
        self.source = layer
        self.behind_floats = behind_floats
        self.before_floats = before_floats
        self.convolves = isinstance(layer, IntegerConv2D)

    def build(self, input_shape):
        layer = self.source
        codes = layer.effective_kernel()
        fractions = ops.convert_to_numpy(layer.fractions).astype(int)
        self.steps = np.ldexp(1.0, layer.input_format.fraction_bits - fractions)
        kernel = (codes * self.steps).astype("float32")
        # The converter cannot transpose scales of units, as a product would need.
        self.is_pixel = not self.convolves and np.any(self.steps != self.steps[0])
        window = layer.kernel_size if self.convolves else (1, 1)
        if self.convolves or self.is_pixel:
            kernel = kernel.reshape(*window, -1, kernel.shape[-1])
        if layer.float_bias is not None:
            bias = ops.convert_to_numpy(layer.float_bias)
        else:
            bias = np.ldexp(ops.convert_to_numpy(layer.bias), -fractions)
        self.kernel = self._stored("kernel", kernel)
        self.bias = self._stored("bias", bias.astype("float32"))

    def call(self, inputs):
        layer = self.source
        x = ops.cast(inputs, "float32")
        if not layer.takes_integers:
            if self.behind_floats:
                x = rounded(x, layer.input_format)
            x = ranged(x, layer.input_format)
        x = self._product(x, self._weights())
        rectified = layer.activation is keras.activations.relu
        if rectified:
            # Before the rounding, as the converter wants it, or after: all the same.
            x = tf.nn.relu(x)
        x = ranged(x, layer.pre_activation_format, rectified)
        if layer.activation not in NAMED:
            x = layer.activation(x)
        if layer.output_format != layer.pre_activation_format:
            x = ranged(x, layer.output_format, rectified)
        last = final_format(layer)
        if self.before_floats and last is not None:
            x = rounded(x, last)
        return x

    def compute_output_shape(self, input_shape):
        return self.source.compute_output_shape(input_shape)

    def _weights(self):
        kernel, steps = ops.convert_to_tensor(self.kernel), self.steps
        if np.all(steps == steps[0]):
            return _eight_bits(kernel, float(steps[0]))
        low, high = (steps * limit for limit in (LEAST_WEIGHT, 127))
        return tf.quantization.fake_quant_with_min_max_vars_per_channel(
            kernel,
            low.astype("float32"),
            high.astype("float32"),
            narrow_range=True,
        )

    def _product(self, x, kernel):
        layer = self.source
        if self.is_pixel:
            outer, units = tf.shape(x)[:-1], kernel.shape[-1]
            flat = tf.reshape(x, (-1, 1, 1, x.shape[-1]))
            sums = tf.nn.bias_add(tf.nn.conv2d(flat, kernel, 1, "VALID"), self.bias)
            matrix = len(x.shape) == 2
            shape = (-1, units) if matrix else tf.concat([outer, [units]], 0)
            return tf.reshape(sums, shape)
        if not self.convolves:
            return tf.matmul(x, kernel) + self.bias
        first = layer.data_format == "channels_first"
        if first:
            x = tf.transpose(x, (0, 2, 3, 1))
        x = tf.nn.conv2d(
            *(x, kernel, layer.strides, layer.padding.upper()),
            dilations=layer.dilation_rate,
        )
        x = tf.nn.bias_add(x, self.bias)
        return tf.transpose(x, (0, 3, 1, 2)) if first else x

    def _stored(self, name, array):
        start = keras.initializers.Constant(0.0)
        shape = {"shape": array.shape, "dtype": "float32", "initializer": start}
        variable = self.add_weight(name=name, trainable=False, **shape)
        variable.assign(array)
        return variable


def rounded(x, format):
    """Floats in steps of a format, by operations that LiteRT has for floats only.

    The converter carries no range past these, neither back nor forth: it makes
    integers of any layer that stands between two ranges, whatever its weights.
    """
    return tf.round(x * 2.0**format.fraction_bits) * 2.0**-format.fraction_bits


def ranged(x, format, rectified=False):
    """Floats of a format, in a range of as many steps as LiteRT's integers have.

    Args:
        x: Float tensor.
        format: A `QFormat` that `holds`, or `None`: `x` stays as it is.
        rectified: Whether `x` is never negative.

    Returns:
        Tensor like `x`.
    """
    if format is None:
        return x
    low, high = limits_of(format)
    step = 2.0**-format.fraction_bits
    if rectified:
        low = max(0, low)
    bits, least = tensor_limits(format)
    most = least + 2**bits - 1
    x = _ranged(x, step, bits, least, most)
    if high < most:
        x = _ranged(tf.minimum(x, high * step), step, bits, least, most)
    if low > least and not (rectified and low == 0):
        x = _ranged(tf.maximum(x, low * step), step, bits, least, most)
    return x


def tensor_limits(format):
    """Bits of the integers that LiteRT has for a format, and the smallest of them.

    Where that is 0 they are stored as int8 from -128 on, by a zero point.
    """
    low, high = limits_of(format)
    if low >= -128 and high <= 127:
        return 8, -128
    if low >= 0 and high <= 255:
        return 8, 0
    return 16, -(1 << 15)


def _eight_bits(kernel, step):
    return tf.quantization.fake_quant_with_min_max_vars(
        kernel, LEAST_WEIGHT * step, 127 * step, narrow_range=True
    )


def _ranged(x, step, bits, least, most):
    return tf.quantization.fake_quant_with_min_max_vars(
        x, least * step, most * step, num_bits=bits
    )
