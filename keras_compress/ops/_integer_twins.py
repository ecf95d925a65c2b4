"""Products of packed integers in plain TensorFlow, for `ops.integer`.

In float64, which holds every integer of 53 bits: exact where 32 bits are enough.
"""

import tensorflow as tf

from keras_compress.functional.integers import ROUNDINGS


def matmul(
    rows,
    dtype,
    *,
    panels,
    column_sums,
    bias,
    shifts,
    scales,
    inputs,
    bits,
    fraction,
    low,
    high,
    rounding,
    requantize,
    output_low,
    output_high,
    output_rounding,
    indices=None,
    starts=None,
):
    """`integer_matmul` of a matrix; arguments as the native op has them."""
    del column_sums
    if rows.dtype == tf.float32:
        rows = codes(rows, fraction, low, high, ROUNDINGS[rounding])
    bias = tf.convert_to_tensor(bias)
    if starts is not None:
        panels = _scattered(panels, indices, starts, inputs)
    kernel = _unpacked(panels, inputs, bits)[:, : tf.shape(bias)[0]]
    kernel = tf.ensure_shape(kernel, [inputs, bias.shape[0]])
    values = tf.matmul(tf.cast(rows, tf.float64), kernel) + tf.cast(bias, tf.float64)
    if requantize:
        shifts = tf.convert_to_tensor(shifts)
        powers = tf.bitwise.left_shift(tf.ones_like(shifts), tf.abs(shifts))
        powers = tf.cast(powers, tf.float64)
        scale = tf.where(shifts > 0, 1.0 / powers, powers)
        values = _rounded(values * scale, ROUNDINGS[output_rounding])
        values = tf.clip_by_value(values, output_low, output_high)
    if dtype == tf.float32:
        return tf.cast(values, tf.float32) * scales
    return tf.cast(values, dtype)


def codes(inputs, fraction, low, high, rounding):
    """`functional.integers.from_floats`, as floats."""
    check = tf.debugging.Assert(
        tf.logical_not(tf.reduce_any(tf.math.is_nan(inputs))),
        ["`inputs` must be free of NaN, which is no fixed-point number"],
    )
    with tf.control_dependencies([] if check is None else [check]):
        scaled = tf.cast(inputs, tf.float32) * 2.0**fraction
    return _rounded(tf.clip_by_value(scaled, float(low), float(high)), rounding)


def _rounded(x, rounding):
    if rounding == "nearest_even":
        return tf.round(x)
    if rounding == "floor":
        return tf.floor(x)
    return tf.where(x < 0.0, -tf.floor(-x), tf.floor(x))


def _unpacked(panels, inputs, bits):
    """`functional.integers.unpack_panels`, as float64, units at the end not cut off."""
    panels = tf.cast(panels, tf.int32)[:, :, :, None]
    if bits == 16:
        low = tf.bitwise.bitwise_and(panels[..., ::2], 255)
        panels = 256 * panels[..., 1::2] + low
    if bits == 4:
        low = tf.bitwise.bitwise_and(panels, 15)
        low = low - 16 * tf.cast(low > 7, tf.int32)
        panels = tf.concat([low, tf.bitwise.right_shift(panels, 4)], 3)
    kernel = tf.transpose(panels, [1, 3, 4, 0, 2])
    shape = tf.shape(kernel)
    kernel = tf.reshape(kernel, [shape[0] * shape[1] * shape[2], shape[3] * shape[4]])
    return tf.cast(kernel[:inputs], tf.float64)


def _scattered(blocks, indices, starts, inputs):
    """`functional.integers.pack_panels` of what blocks hold."""
    starts, blocks = tf.convert_to_tensor(starts), tf.convert_to_tensor(blocks)
    number = tf.range(tf.shape(blocks)[0])
    of_panel = tf.searchsorted(starts[1:], number, side="right")
    spots = tf.stack([of_panel, tf.cast(indices, tf.int32)], 1)
    shape = [tf.shape(starts)[0] - 1, -(-inputs // 4), 16, 4]
    return tf.scatter_nd(spots, tf.cast(blocks, tf.int32), shape)
