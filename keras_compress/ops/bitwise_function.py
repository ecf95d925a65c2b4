"""Products of packed signs whose weights are fixed, for calls without delay."""

import functools

import tensorflow as tf

from keras_compress._validation import check_choice, check_int
from keras_compress.ops._library import native_op
from keras_compress.ops.bitwise import OUTPUTS, xnor_chain


def xnor_function(
    weights, thresholds, *, input_dim, scale=None, bias=None, outputs="float32"
):
    """`xnor_chain` as a function of its inputs alone.

    What is checked and prepared for each call of `xnor_chain` is so once, here. Called
    eagerly on a float32 tensor, the function is the bare call of one op.

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
    # Once as it is meant to be called, so that what is wrong is said here.
    whole = functools.partial(xnor_chain, weights=weights, thresholds=limits, **settled)
    whole(tf.zeros([0, width]))
    op = native_op("kc_xnor_matmul")
    if op is None:
        return whole
    signs, masks, kept = ([*arrays] for arrays in zip(*weights, strict=True))
    none = tf.constant([], tf.float32)
    return functools.partial(
        op,
        signs=signs,
        masks=masks,
        kept=kept,
        scale=none if scale is None else floats["scale"],
        bias=none if bias is None else floats["bias"],
        thresholds=[limit for limit, _ in limits],
        flips=[flip for _, flip in limits],
        Tout=OUTPUTS[outputs],
        inputs=width,
    )


def _limits(limit, flips):
    limit = tf.convert_to_tensor(limit, tf.int32)
    if flips is None:
        return limit, tf.zeros([(tf.size(limit) + 31) // 32], tf.uint32)
    return limit, tf.convert_to_tensor(flips, tf.uint32)
