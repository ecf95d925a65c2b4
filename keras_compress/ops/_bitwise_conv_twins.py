"""Convolutions and pooling of packed signs in plain TensorFlow."""

import tensorflow as tf

from keras_compress.ops._bitwise_twins import (
    negative,
    pack_bits,
    rows_of,
    signs_of,
    unpack_bits,
)


def conv2d(images, weights, limits, floats, attributes, dtype):
    """`xnor_conv2d`, its arguments in groups."""
    if images.dtype == tf.uint32:
        values = 1.0 - 2.0 * _unpack_pixels(images, attributes["channels"])
    else:
        values = tf.where(negative(images), -1.0, 1.0)
    padding = attributes["padding"].upper()
    if padding == "SAME" and attributes["border"] == "ones":
        values, padding = _pad_with_ones(values, attributes), "VALID"
    kernel = _kernel_of(weights, attributes["kernel_size"], attributes["channels"])
    strides, dilations = attributes["strides"], attributes["dilations"]
    sums = _convolved(values, kernel, strides, padding, dilations)
    # What `kept` has over the weights that count is added to a sum.
    counted = tf.cast(tf.reduce_sum(tf.abs(kernel), [0, 1, 2]), tf.int32)
    sums = tf.cast(sums, tf.int32) + (weights[2] - counted)
    if dtype == tf.int32:
        return sums
    if dtype == tf.uint32:
        flat = tf.reshape(sums, [-1, sums.shape[-1] or tf.shape(sums)[-1]])
        return _like_pixels(signs_of(flat, *limits), sums)
    scale, bias = floats
    found = tf.cast(sums, tf.float32)
    if scale is not None:
        found = found * scale
    return found if bias is None else found + bias


def pool(images, flips, pool_size, strides, padding):
    """`pool_signs`."""
    flips = tf.convert_to_tensor(flips, tf.uint32)
    width = 32 * tf.shape(images)[-1]
    bits = _unpack_pixels(tf.bitwise.bitwise_xor(images, flips), width)
    lowest = -tf.nn.max_pool2d(-bits, pool_size, strides, padding.upper())
    words = pack_bits(tf.reshape(lowest, [-1, width]))
    return tf.bitwise.bitwise_xor(_like_pixels(words, lowest), flips)


def _unpack_pixels(words, channels):
    flat = unpack_bits(tf.reshape(words, [-1, tf.shape(words)[-1]]), channels)
    return tf.reshape(flat, tf.concat([tf.shape(words)[:-1], [channels]], 0))


def _like_pixels(rows, pixels):
    shape = tf.concat([tf.shape(pixels)[:-1], tf.shape(rows)[-1:]], 0)
    return tf.reshape(rows, shape)


def _kernel_of(weights, kernel_size, channels):
    """Float32 `(height, width, channels, filters)` of -1, 0 and +1."""
    signs, masks, kept = weights
    filters = tf.shape(kept)[0]
    words = -(-channels // 32)

    def unpacked(panels):
        rows = tf.reshape(rows_of(panels, filters), [filters, *kernel_size, words])
        return tf.transpose(_unpack_pixels(rows, channels), [1, 2, 3, 0])

    kernel = 1.0 - 2.0 * unpacked(signs)
    masks = tf.convert_to_tensor(masks, tf.uint32)
    if masks.shape[0] == 0:
        return kernel
    if masks.shape[0] is not None:
        return kernel * unpacked(masks)
    return kernel * tf.cond(
        tf.shape(masks)[0] > 0,
        lambda: unpacked(masks),
        lambda: tf.ones_like(kernel),
    )


def _convolved(values, kernel, strides, padding, dilations):
    """`tf.nn.conv2d`, which on some machines gives wrong shapes without an image."""
    batch = tf.shape(values)[0]
    one = tf.cast(batch == 0, tf.int32)
    values = tf.pad(values, tf.stack([[0, one], [0, 0], [0, 0], [0, 0]]))
    return tf.nn.conv2d(values, kernel, strides, padding, dilations=dilations)[:batch]


def _pad_with_ones(values, attributes):
    size = tf.shape(values)
    pads = [[0, 0]]
    for axis in range(2):
        window, stride, dilation = (
            attributes[name][axis] for name in ("kernel_size", "strides", "dilations")
        )
        places = -(-size[1 + axis] // stride)
        reach = (places - 1) * stride + (window - 1) * dilation + 1
        missing = tf.maximum(reach - size[1 + axis], 0)
        pads.append([missing // 2, missing - missing // 2])
    return tf.pad(values, tf.convert_to_tensor([*pads, [0, 0]]), constant_values=1.0)
