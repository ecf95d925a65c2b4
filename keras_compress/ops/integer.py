"""Products of integers with packed integers, for fixed-point layers."""

import functools

import tensorflow as tf

from keras_compress._validation import check_choice, check_int, invalid
from keras_compress.functional.integers import BITS, ROUNDINGS
from keras_compress.ops import _integer_twins, _library
from keras_compress.ops._library import native_op

ROWS = (tf.float32, tf.int8, tf.uint8, tf.int16)
OUTPUTS = {
    "float32": tf.float32,
    "int32": tf.int32,
    "int8": tf.int8,
    "uint8": tf.uint8,
    "int16": tf.int16,
}
NO_GRADIENT = (
    "Products of packed integers are for inference: rounding has no gradient. Train "
    "the layer before it is packed."
)


def integer_matmul(
    inputs,
    panels,
    column_sums,
    bias,
    *,
    input_dim,
    bits=8,
    fraction_bits=0,
    limits=(-128, 127),
    rounding="nearest_even",
    requantize=None,
    scales=None,
    outputs="int32",
    blocks=None,
):
    """Multiplies the last axis of `inputs` by packed weights, in integers.

    Computes `sum[..., n] = bias[n] + sum_k x[..., k] * w[k, n]` in 32 bits, where `x`
    are the inputs, or of floats `clamp(round(inputs * 2 ** fraction_bits), *limits)`.
    Then

    - `value = clamp(round(sum / 2 ** shifts[n]), low, high)` with `requantize`, else
      `value = sum`
    - gives the values, or for `"float32"` `float32(value) * scales[n]`

    All of it is exact. Every SIMD level gives the same bits, and so does the twin in
    plain TensorFlow, if no sum leaves 32 bits: see
    `keras_compress.functional.integers.accumulator_bits`. Not differentiable: a
    gradient is refused, and in plain TensorFlow there is none.

    Args:
        inputs: Tensor `(..., inputs)` of two axes or more: int8, uint8 or int16, or
            floating without NaN.
        panels: Int8 tensor, as `functional.integers.pack_panels` gives, or of
            `functional.integer_blocks.pack_blocks` the first, with `blocks`.
        column_sums: Int32 tensor `(units,)`, the sum of each unit's weights.
        bias: Int32 tensor `(units,)`.
        input_dim: Integer, the number of inputs.
        bits: 16, 8 or 4, of a weight; 8 with `blocks`.
        fraction_bits: Integer, of floating inputs.
        limits: Pair of integers in `[-32768, 32767]`, of floating inputs.
        rounding: `"nearest_even"`, `"truncate"` or `"floor"`, of floating inputs.
        requantize: `None`, or `(shifts, low, high, rounding)`: an int32 tensor
            `(units,)` of numbers in `[-30, 30]`, two integers and a rounding.
        scales: Float32 tensor `(units,)`, for outputs of floats.
        outputs: `"float32"`, `"int32"`, `"int8"`, `"uint8"` or `"int16"`, which must
            hold what `requantize` limits values to.
        blocks: `None`, or the pair `(indices, starts)` of `pack_blocks`: only blocks
            that are not all zeros are stored and multiplied.

    Returns:
        Tensor `(..., units)` of that type.

    Raises:
        ValueError: If an argument is not as said above.
        tf.errors.InvalidArgumentError: If shapes do not go together, or an input is
            NaN.

    Example:

    >>> from keras_compress.functional.integers import pack_panels
    >>> codes = np.array([[3], [4]])
    >>> rows = np.array([[1, 2]], "int8")
    >>> weights = pack_panels(codes), codes.sum(0).astype("int32"), np.array([5], "i")
    >>> integer_matmul(rows, *weights, input_dim=2).numpy()
    array([[16]], dtype=int32)
    """
    width = check_int("input_dim", input_dim, minimum=0)
    check_choice("bits", bits, BITS if blocks is None else (8,))
    check_choice("rounding", rounding, ROUNDINGS)
    dtype = OUTPUTS[check_choice("outputs", outputs, tuple(OUTPUTS))]
    if dtype == tf.float32 and scales is None:
        raise invalid("scales", "given where outputs are floats", None)
    inputs = tf.convert_to_tensor(inputs)
    if inputs.dtype.is_floating:
        inputs = tf.cast(inputs, tf.float32)
    if inputs.dtype not in ROWS:
        raise invalid("inputs", "floating, int8, uint8 or int16", inputs.dtype.name)
    flat = _flat(inputs, width)
    shifts, low, high, how = requantize or (None, 0, 0, "nearest_even")
    check_choice("rounding", how, ROUNDINGS)
    attributes = {
        "inputs": width,
        "bits": bits,
        "fraction": fraction_bits,
        "low": limits[0],
        "high": limits[1],
        "rounding": ROUNDINGS.index(rounding),
        "requantize": int(requantize is not None),
        "output_low": low,
        "output_high": high,
        "output_rounding": ROUNDINGS.index(how),
    }
    tensors = {
        "panels": panels,
        "column_sums": column_sums,
        "bias": bias,
        "shifts": _nothing(tf.int32) if shifts is None else shifts,
        "scales": _nothing(tf.float32) if scales is None else scales,
    }
    if blocks is not None:
        tensors |= dict(zip(("indices", "starts"), blocks, strict=True))
    op = native_op(
        "kc_integer_matmul" if blocks is None else "kc_integer_blocks_matmul"
    )
    if op is None:
        found = _integer_twins.matmul(flat, dtype, **tensors, **attributes)
        found = tf.stop_gradient(found)
    else:
        _library._library.follow_threads()
        found = op(rows=flat, Tout=dtype, **tensors, **attributes)
    if inputs.shape.rank == 2:
        return found
    shape = tf.concat([tf.shape(inputs)[:-1], tf.shape(found)[-1:]], 0)
    static = inputs.shape[:-1].concatenate(found.shape[-1:])
    return tf.ensure_shape(tf.reshape(found, shape), static)


def integer_patches(
    inputs, *, kernel_size, strides, padding, dilations, fraction_bits, limits, rounding
):
    """What a convolution reads at each pixel, as rows for `integer_matmul`.

    Args:
        inputs: Tensor `(batch, height, width, channels)`, as of `integer_matmul`.
        kernel_size: Pair of integers.
        strides: Pair of integers.
        padding: `"valid"` or `"same"`; the padding is of zeros.
        dilations: Pair of integers.
        fraction_bits: As of `integer_matmul`, and so are the others.
        limits: As of `integer_matmul`.
        rounding: As of `integer_matmul`.

    Returns:
        Integer tensor `(batch, new_height, new_width, height * width * channels)`.
    """
    if inputs.dtype.is_floating:
        low, high = limits
        codes = _integer_twins.codes(inputs, fraction_bits, low, high, rounding)
        inputs = tf.cast(codes, row_type(low, high))
    if tuple(kernel_size) == (1, 1) and tuple(strides) == (1, 1):
        return inputs
    # XLA, which only twins run under, takes patches of 32 bits alone.
    is_twin = native_op("kc_integer_matmul") is None
    patches = tf.image.extract_patches(
        tf.cast(inputs, tf.int32) if is_twin else inputs,
        [1, *kernel_size, 1],
        [1, *strides, 1],
        [1, *dilations, 1],
        padding.upper(),
    )
    return tf.cast(patches, inputs.dtype)


def row_type(low, high):
    """The narrowest type of rows with room for these limits."""
    if low >= -128 and high <= 127:
        return tf.int8
    return tf.uint8 if low >= 0 and high <= 255 else tf.int16


def powers_of_two(exponents):
    """2 to these powers as float32, exactly: an exponent and no mantissa.

    Args:
        exponents: Int32 tensor of numbers in `[-126, 127]`.

    Returns:
        Float32 tensor.
    """
    exponents = tf.clip_by_value(exponents, -126, 127)
    return tf.bitcast(tf.bitwise.left_shift(exponents + 127, 23), tf.float32)


@tf.RegisterGradient("KcIntegerMatmul")
@tf.RegisterGradient("KcIntegerBlocksMatmul")
def _no_gradient(op, *gradients):
    raise NotImplementedError(NO_GRADIENT)


def _nothing(dtype):
    """An empty vector, made once where that saves the making."""
    if tf.executing_eagerly():
        return _kept_nothing(dtype)
    return tf.constant([], dtype)


@functools.cache
def _kept_nothing(dtype):
    return tf.constant([], dtype)


def _flat(inputs, width):
    rank = inputs.shape.rank
    if rank is not None and rank < 2:
        raise invalid("inputs", "of two axes or more", inputs.shape)
    if rank is not None and inputs.shape[-1] not in (None, width):
        raise invalid("inputs", f"of {width} numbers in a row", inputs.shape)
    return inputs if rank == 2 else tf.reshape(inputs, [-1, width])
