"""Sizes of windows on images, how many places they have, and what is beyond."""

import tensorflow as tf
from keras import ops

from keras_compress._validation import check_int, invalid


def pair(name, value):
    """`value` as two positive integers."""
    both = (value, value) if isinstance(value, int) else value
    if not isinstance(both, list | tuple) or len(both) != 2:
        raise invalid(name, "a positive integer or a pair of them", value)
    return tuple(check_int(name, side, minimum=1) for side in both)


def output_size(size, window, stride, dilation, padding):
    """Places of a window along an axis; `None` if its size is not known."""
    if size is None:
        return None
    if padding == "same":
        return -(-size // stride)
    return (size - dilation * (window - 1) - 1) // stride + 1


def output_sizes(layer, sizes):
    """Height and width of what a convolution gives for images of these sizes."""
    axes = zip(
        sizes, layer.kernel_size, layer.strides, layer.dilation_rate, strict=True
    )
    return [output_size(*axis, layer.padding) for axis in axes]


def surrounded(images, kernel_size, strides, dilations):
    """Images with as many pixels of -1 around them as `"same"` adds."""
    size, pads = ops.shape(images), [[0, 0]]
    for axis, window in enumerate(zip(kernel_size, strides, dilations, strict=True), 1):
        length, stride, dilation = window
        reach = (-(-size[axis] // stride) - 1) * stride + dilation * (length - 1) + 1
        missing = ops.maximum(reach - size[axis], 0)
        pads.append([missing // 2, missing - missing // 2])
    return tf.pad(images, [*pads, [0, 0]], constant_values=-1)
