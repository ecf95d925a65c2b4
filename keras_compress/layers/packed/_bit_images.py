"""Convolution and pooling of images of packed bits, in words, one pixel after another.

Both are of TensorFlow's ops on patches, and of our product of signs. The arguments are
those that a native op of the same meaning takes.
"""

import numpy as np
import tensorflow as tf

from keras_compress.functional.signs import pack_bits
from keras_compress.ops import pack_signs, xnor_matmul


def convolve(
    images,
    signs,
    masks,
    kept,
    *,
    kernel_size,
    channels,
    strides=(1, 1),
    padding="valid",
    dilations=(1, 1),
    outputs="float32",
    scale=None,
    bias=None,
    thresholds=None,
    flips=None,
):
    """`xnor_matmul` of the signs in each window; `"same"` puts zeros at the border.

    Args:
        images: Floats `(batch, height, width, channels)`, or their packed signs.
        signs: Uint32 panels; each pixel of the window begins with a new word.
        masks: The same for the mask, or none.
        kept: Int32 tensor `(filters,)`.
        kernel_size: Two integers, height and width of the window.
        channels: Integer, signs in a pixel.
        strides: Two integers.
        padding: `"valid"` or `"same"`.
        dilations: Two integers.
        outputs: As of `xnor_matmul`, and so are all that follow.
        scale: Float32 tensor.
        bias: Float32 tensor.
        thresholds: Int32 tensor.
        flips: Uint32 tensor.

    Returns:
        Tensor `(batch, new_height, new_width, filters)`, or words of bits.
    """
    if images.dtype != tf.uint32:
        images = pack_signs(images)
    window = (kernel_size, strides, dilations)
    width = 32 * kernel_size[0] * kernel_size[1] * -(-channels // 32)
    if padding == "valid":
        return xnor_matmul(
            _patches(images, *window, "VALID"),
            *(signs, masks, kept),
            input_dim=width,
            outputs=outputs,
            scale=scale,
            bias=bias,
            thresholds=thresholds,
            flips=flips,
        )

    def sums_of(words):
        weights = (signs, masks, kept)
        return xnor_matmul(words, *weights, input_dim=width, outputs="int32")

    # Beyond the edge there are bits 0 so far, which count as +1. How much they add
    # tells an image of -1 alone: outside - inside; together, both are a sum of +1.
    negative = tf.constant(pack_bits(np.ones(channels, bool)))
    negative = tf.zeros_like(images[:1]) + negative
    patches = _patches(tf.concat([images, negative], 0), *window, "SAME")
    sums = sums_of(patches)
    positive = tf.zeros([1, 1, 1, patches.shape[-1]], tf.uint32)
    sums = sums[:-1] - (sums[-1:] + sums_of(positive)) // 2
    if outputs == "bits":
        below = tf.cast(sums, tf.float32) - tf.cast(thresholds, tf.float32)
        return tf.bitwise.bitwise_xor(pack_signs(below), flips)
    found = tf.cast(sums, tf.float32)
    found = found if scale is None else found * scale
    return found if bias is None else found + bias


def pool(words, pool_size, *, strides, padding, flips):
    """The maximum of packed signs in each window, the minimum where `flips` are set.

    Args:
        words: Uint32 tensor `(batch, height, width, words)`.
        pool_size: Two integers, height and width of the window.
        strides: Two integers.
        padding: `"valid"` or `"same"`; what is beyond the edge does not count.
        flips: Uint32 tensor `(words,)`, or `None` for none.

    Returns:
        Uint32 tensor `(batch, new_height, new_width, words)`.
    """
    if flips is not None:
        words = tf.bitwise.bitwise_xor(words, flips)
    if padding == "same":
        # Bits 1: the least of all signs.
        words = _pad(words, (pool_size, strides, (1, 1)), tf.uint32.max)
    last = words.shape[-1]
    patches = _patches(words, pool_size, strides, (1, 1), "VALID")
    found = patches[..., :last]
    for begin in range(last, patches.shape[-1], last):
        found = tf.bitwise.bitwise_and(found, patches[..., begin : begin + last])
    return found if flips is None else tf.bitwise.bitwise_xor(found, flips)


def pad_with_minus_one(images, *window):
    """Floats with as many pixels of -1 around them as `"same"` adds.

    Args:
        images: Floats `(batch, height, width, channels)`.
        *window: Kernel size, strides and dilations: two integers each.

    Returns:
        Floats of more pixels.
    """
    return _pad(images, window, -1)


def _pad(images, window, value):
    size = tf.shape(images)
    pads = [[0, 0]]
    for axis, (length, stride, dilation) in enumerate(zip(*window, strict=True)):
        pixels = size[1 + axis]
        reach = ((pixels + stride - 1) // stride - 1) * stride
        missing = tf.maximum(reach + dilation * (length - 1) + 1 - pixels, 0)
        pads.append([missing // 2, missing - missing // 2])
    value = tf.cast(value, images.dtype)
    return tf.pad(images, tf.stack([*pads, [0, 0]]), constant_values=value)


def _patches(images, kernel_size, strides, dilations, padding):
    """The pixels of each window in one row."""
    sizes, steps, rates = (
        [1, *numbers, 1] for numbers in (kernel_size, strides, dilations)
    )
    return tf.image.extract_patches(images, sizes, steps, rates, padding)
