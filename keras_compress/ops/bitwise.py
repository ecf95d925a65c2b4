"""Products of packed signs, in which a multiplication is one bit of an XOR."""

import functools

import tensorflow as tf

from keras_compress._validation import check_choice, check_int, invalid
from keras_compress.ops import _bitwise_twins, _library
from keras_compress.ops._bitwise_twins import NO_GRADIENT, refusing_gradient
from keras_compress.ops._library import native_op

OUTPUTS = {"float32": tf.float32, "int32": tf.int32, "bits": tf.uint32}


def pack_signs(inputs):
    """Packs the signs of the last axis, 32 to a word.

    The same as `functional.signs.pack_signs`: bit 1 is a negative number, +0 and -0
    are +1, and bits after the last sign are 0. Not differentiable.

    Args:
        inputs: Floating tensor `(..., width)` of two axes or more, without NaN.

    Returns:
        Uint32 tensor `(..., ceil(width / 32))`.

    Raises:
        ValueError: If `inputs` is not floating, or has less than two axes.
        tf.errors.InvalidArgumentError: If there is NaN among them.

    Example:

    >>> pack_signs(np.array([[1.0, -2.0, 0.0]], "float32")).numpy()
    array([[2]], dtype=uint32)
    """
    inputs = signs_as_float32(inputs)
    flat = _flat(inputs)
    op = native_op("kc_pack_signs")
    words = (
        refusing_gradient(_bitwise_twins.pack)(flat) if op is None else op(inputs=flat)
    )
    return _unflat(words, inputs)


def xnor_matmul(
    inputs,
    signs,
    masks,
    kept,
    *,
    input_dim=None,
    scale=None,
    bias=None,
    thresholds=None,
    flips=None,
    outputs="float32",
):
    """Multiplies the signs of the last axis by weights of -1, 0 and +1.

    Computes in integers `sum[..., n] = sum_k sign(inputs[..., k]) * weights[k, n]`
    with `sign(0) = +1`, and gives one of

    - `"float32"`: `sum * scale + bias`, rounded to float32 after each step
    - `"int32"`: `sum`
    - `"bits"`: packed signs, negative where `sum < thresholds`, and the other way
      round where the bit of `flips` is set; they can be the inputs of another product

    Every SIMD level gives the same bits, and so does the twin in plain TensorFlow
    while there are less than 2^24 inputs. Not differentiable: a gradient is refused.

    Args:
        inputs: Floating tensor `(..., inputs)` without NaN, or signs packed as of
            `pack_signs`, uint32 `(..., ceil(inputs / 32))`; of two axes or more.
        signs: Uint32 tensor `(ceil(units / 16), ceil(inputs / 32), 16)`, the panels
            of `functional.signs.pack_kernel`.
        masks: The same for the mask, or with no panels where nothing is dropped.
        kept: Int32 tensor `(units,)`, how many weights of each unit are not dropped.
            What it has over that is added to the unit's sums, as an integer bias.
        input_dim: Integer, the number of inputs; needed where they are packed.
        scale: Float32 tensor `(units,)`, or `None` for 1.
        bias: Float32 tensor `(units,)`, or `None` for 0.
        thresholds: Int32 tensor `(units,)`, for bits.
        flips: Uint32 tensor `(ceil(units / 32),)`, for bits; `None` flips nothing.
        outputs: `"float32"`, `"int32"` or `"bits"`.

    Returns:
        Tensor `(..., units)`, or `(..., ceil(units / 32))` for bits. Floats come back
        in the dtype of floating inputs.

    Raises:
        ValueError: If an argument is not as said above.
        tf.errors.InvalidArgumentError: If shapes do not go together, or an input is
            NaN.

    Example:

    >>> kernel = np.array([[1.0], [-1.0], [1.0]])
    >>> from keras_compress.functional.signs import pack_kernel
    >>> inputs = np.array([[0.5, 2.0, -3.0]], "float32")
    >>> xnor_matmul(inputs, *pack_kernel(kernel)).numpy()
    array([[-1.]], dtype=float32)
    """
    return xnor_chain(
        inputs,
        [(signs, masks, kept)],
        [] if thresholds is None else [(thresholds, flips)],
        input_dim=input_dim,
        scale=scale,
        bias=bias,
        outputs=outputs,
    )


def xnor_chain(
    inputs,
    weights,
    thresholds,
    *,
    input_dim=None,
    scale=None,
    bias=None,
    outputs="float32",
):
    """Several products of `xnor_matmul` as one op; between them there are bits alone.

    Args:
        inputs: As of `xnor_matmul`.
        weights: List of `(signs, masks, kept)`, one for each layer, where a layer has
            as many inputs as the one before it has units.
        thresholds: List of `(thresholds, flips)`, one for each layer that gives bits:
            for all but the last, and with `outputs="bits"` for the last too.
        input_dim: As of `xnor_matmul`.
        scale: As of `xnor_matmul`, for the last layer.
        bias: As of `xnor_matmul`, for the last layer.
        outputs: As of `xnor_matmul`, for the last layer.

    Returns:
        Tensor, as of `xnor_matmul`.

    Raises:
        ValueError: If an argument is not as said above.
        tf.errors.InvalidArgumentError: As of `xnor_matmul`.

    Example:

    >>> from keras_compress.functional.signs import pack_kernel
    >>> weights = [pack_kernel(np.ones(shape)) for shape in ((3, 40), (40, 2))]
    >>> hidden = [(np.zeros(40, "int32"), None)]
    >>> inputs = np.array([[1.0, 1.0, -1.0]], "float32")
    >>> xnor_chain(inputs, weights, hidden).numpy()
    array([[40., 40.]], dtype=float32)
    """
    outputs = check_choice("outputs", outputs, tuple(OUTPUTS))
    bits = outputs == "bits"
    if len(weights) < 1 or len(thresholds) != len(weights) - (not bits):
        expected = f"for {len(weights) - (not bits)} layers, those that give bits"
        raise invalid("thresholds", expected, f"{len(thresholds)} of them")
    if bits and (scale is not None or bias is not None):
        raise invalid("scale, bias", "None where outputs are bits", "not None")
    if isinstance(inputs, tf.Tensor) and inputs.dtype == tf.float32:
        dtype = tf.float32
    else:
        inputs, dtype = signs_or_words(inputs)
    flat = _flat(inputs)
    if inputs.dtype == tf.uint32:
        if input_dim is None:
            raise invalid("input_dim", "given where inputs are packed", None)
        width = check_int("input_dim", input_dim, minimum=0)
    else:
        width = inputs.shape[-1]
        if width is None:
            width = check_int("input_dim", input_dim, minimum=0)
        elif input_dim not in (None, width):
            raise invalid("input_dim", f"{width} for these inputs", input_dim)
    thresholds, flips = _limits(thresholds)
    signs, masks, kept = zip(*weights, strict=True)
    none = _no_floats()
    op = native_op("kc_xnor_matmul")
    if op is None:
        found = refusing_gradient(
            lambda rows: _bitwise_twins.chain(
                rows, weights, thresholds, flips, scale, bias, width, OUTPUTS[outputs]
            )
        )(flat)
    else:
        _library._library.follow_threads()
        found = op(
            rows=flat,
            signs=signs,
            masks=masks,
            kept=kept,
            scale=none if scale is None else scale,
            bias=none if bias is None else bias,
            thresholds=thresholds,
            flips=flips,
            Tout=OUTPUTS[outputs],
            inputs=width,
        )
    found = _unflat(found, inputs)
    if outputs == "float32" and dtype not in (tf.float32, tf.uint32):
        found = tf.cast(found, dtype)  # pyright: ignore
    return found


@tf.RegisterGradient("KcPackSigns")
@tf.RegisterGradient("KcXnorMatmul")
def _no_gradient(op, *gradients):
    raise NotImplementedError(NO_GRADIENT)


def _no_floats():
    """An empty vector, made once where that saves the making."""
    return _nothing() if tf.executing_eagerly() else tf.constant([], tf.float32)


@functools.cache
def _nothing():
    return tf.constant([], tf.float32)


def signs_or_words(inputs):
    """Packed signs as they are, else floats of the same signs; and the dtype before."""
    inputs = tf.convert_to_tensor(inputs)
    if inputs.dtype == tf.uint32:
        return inputs, inputs.dtype
    return signs_as_float32(inputs), inputs.dtype


def signs_as_float32(inputs):
    """Floats of the same signs; a small float64 must not become a zero."""
    inputs = tf.convert_to_tensor(inputs)
    if not inputs.dtype.is_floating:
        raise invalid("inputs", "a floating tensor", inputs.dtype.name)
    if inputs.dtype == tf.float64:
        inputs = tf.sign(inputs)
    return tf.cast(inputs, tf.float32)


def _flat(inputs):
    rank = inputs.shape.rank
    if rank == 2:
        return inputs
    if rank is not None and rank < 2:
        raise invalid("inputs", "of two axes or more", inputs.shape)
    last = inputs.shape[-1] if rank is not None else None
    return tf.reshape(inputs, [-1, tf.shape(inputs)[-1] if last is None else last])


def _unflat(outputs, inputs):
    if inputs.shape.rank == 2:
        return outputs
    shape = tf.concat([tf.shape(inputs)[:-1], tf.shape(outputs)[-1:]], 0)
    static = inputs.shape[:-1].concatenate(outputs.shape[-1:])
    return tf.ensure_shape(tf.reshape(outputs, shape), static)


def _limits(thresholds):
    """Lists of thresholds and of flips, the latter zeros where there are none."""
    limits, flips = [], []
    for limit, flip in thresholds:
        if flip is None:
            units = tf.shape(limit)[0]
            flip = tf.zeros([(units + 31) // 32], tf.uint32)
        limits.append(limit)
        flips.append(flip)
    return limits, flips
