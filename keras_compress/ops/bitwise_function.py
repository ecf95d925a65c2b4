"""Products of packed signs whose weights are fixed, for calls without delay."""

import functools

import numpy as np
import tensorflow as tf

from keras_compress._validation import check_choice, check_int
from keras_compress.ops import _library
from keras_compress.ops._library import native_op
from keras_compress.ops.bitwise import OUTPUTS, xnor_chain

# As csrc/tf/xnor_network_op.cc has them.
MASKS, LIMITS, SCALE, BIAS = 1, 2, 4, 8
GROUP = 16


def xnor_function(
    weights, thresholds, *, input_dim, scale=None, bias=None, outputs="float32"
):
    """`xnor_chain` as a function of its inputs alone.

    What is checked and prepared in each call of `xnor_chain` is so once, here: called
    eagerly, the function is the bare call of one op, on the inputs and on one tensor
    that holds a copy of all weights.

    Args:
        weights: As of `xnor_chain`.
        thresholds: As of `xnor_chain`.
        input_dim: Integer >= 0, the number of inputs.
        scale: As of `xnor_chain`.
        bias: As of `xnor_chain`.
        outputs: As of `xnor_chain`.

    Returns:
        Function of a float32 tensor `(batch, input_dim)`, or of packed signs, to what
        `xnor_chain` gives for it.

    Raises:
        ValueError: If an argument is not as said there.

    Example:

    >>> from keras_compress.functional.signs import pack_kernel
    >>> function = xnor_function([pack_kernel(np.ones((3, 2)))], [], input_dim=3)
    >>> print(function(tf.constant([[1.0, 1.0, -1.0]])).numpy())
    [[1. 1.]]
    """
    check_choice("outputs", outputs, tuple(OUTPUTS))
    width = check_int("input_dim", input_dim, minimum=0)
    weights = [tuple(map(tf.convert_to_tensor, layer)) for layer in weights]
    limits = [_limits(*layer) for layer in thresholds]
    floats = {"scale": scale, "bias": bias}
    floats = {
        name: None if value is None else tf.convert_to_tensor(value, tf.float32)
        for name, value in floats.items()
    }
    settled = {"input_dim": width, "outputs": outputs, **floats}

    def whole(rows):
        return xnor_chain(rows, weights, limits, **settled)

    # Once as it is meant to be called, so that what is wrong is said here.
    length = whole(tf.zeros([0, width])).shape[1]
    op = native_op("kc_xnor_network")
    if op is None:
        return whole
    _library._library.follow_threads()
    network = _network(width, weights, limits, floats["scale"], floats["bias"])
    fast = functools.partial(op, network=network, Tout=OUTPUTS[outputs])

    def function(rows):
        found = fast(rows)
        if tf.executing_eagerly():
            return found
        return tf.ensure_shape(found, [None, length])

    return function


def _network(width, weights, limits, scale, bias):
    """All arrays of all layers in one tensor, behind a header that lists them."""
    header, arrays = [len(weights)], []
    for i, (signs, masks, kept) in enumerate(weights):
        last = i == len(weights) - 1
        optional = [
            (MASKS, [masks] if masks.shape[0] else []),
            (LIMITS, limits[i] if i < len(limits) else []),
            (SCALE, [scale] if last and scale is not None else []),
            (BIAS, [bias] if last and bias is not None else []),
        ]
        flags = sum(flag for flag, found in optional if len(found))
        units = kept.shape[0]
        header += [width, units, flags]
        (_, masked), *ends = optional
        arrays += [signs, *masked, kept, *(x for _, found in ends for x in found)]
        width = units
    words = [np.array(header, np.uint32)]
    words += [np.asarray(array).ravel().view(np.uint32) for array in arrays]
    filled = [np.pad(array, (0, -len(array) % GROUP)) for array in words]
    return tf.constant(np.concatenate(filled))


def _limits(limit, flips):
    limit = tf.convert_to_tensor(limit, tf.int32)
    if flips is None:
        return limit, tf.zeros([(tf.size(limit) + 31) // 32], tf.uint32)
    return limit, tf.convert_to_tensor(flips, tf.uint32)
