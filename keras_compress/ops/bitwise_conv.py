"""Convolutions of packed signs, and pooling that stays in bits."""

import functools

import tensorflow as tf

from keras_compress._validation import check_choice, check_int, invalid
from keras_compress.functional.sign_images import window_places
from keras_compress.ops import _bitwise_conv_twins, _library
from keras_compress.ops._bitwise_twins import NO_GRADIENT, refusing_gradient
from keras_compress.ops._library import native_op
from keras_compress.ops.bitwise import OUTPUTS, signs_or_words

BORDERS = ("zeros", "ones")


def xnor_conv2d(
    inputs,
    signs,
    masks,
    kept,
    *,
    kernel_size,
    channels=None,
    strides=(1, 1),
    padding="valid",
    dilations=(1, 1),
    border="zeros",
    scale=None,
    bias=None,
    thresholds=None,
    flips=None,
    outputs="float32",
):
    """Convolves the signs of images with weights of -1, 0 and +1.

    Computes in integers the sums of a convolution of `sign(inputs)`, `sign(0) = +1`,
    and makes of them what `xnor_matmul` makes of its sums: floats, the sums, or
    packed signs, which can be the inputs of another convolution, of `pool_signs`, or,
    where a pixel is a row, of `xnor_matmul`.

    With `padding="same"` the pixels beyond the edges are zeros, which add nothing to a
    sum, or ones, which are signs like any other and cost less.

    Every SIMD level gives the same bits, and so does the twin in plain TensorFlow
    while a window has less than 2^24 inputs. Not differentiable: a gradient is refused.

    Args:
        inputs: Floating tensor `(batch, height, width, channels)` without NaN, or signs
            packed as of `pack_signs`,
            uint32 `(batch, height, width, ceil(channels / 32))`.
        signs: Uint32 tensor
            `(ceil(filters / 16), kernel height * width * ceil(channels / 32), 16)`,
            the panels of `functional.sign_images.pack_conv2d_kernel`.
        masks: The same for the mask, or with no panels where nothing is dropped.
        kept: Int32 tensor `(filters,)`, how many weights of each filter are not
            dropped.
        kernel_size: Integer or two integers >= 1, `(height, width)`.
        channels: Integer >= 1; needed where inputs are packed.
        strides: Integer or two integers >= 1.
        padding: `"valid"` or `"same"`, as TensorFlow has it.
        dilations: Integer or two integers >= 1.
        border: `"zeros"` or `"ones"`, for `padding="same"`.
        scale: Float32 tensor `(filters,)`, or `None` for 1.
        bias: Float32 tensor `(filters,)`, or `None` for 0.
        thresholds: Int32 tensor `(filters,)`, for bits.
        flips: Uint32 tensor `(ceil(filters / 32),)`, for bits; `None` flips nothing.
        outputs: `"float32"`, `"int32"` or `"bits"`.

    Returns:
        Tensor `(batch, new_height, new_width, filters)`, or
        `(batch, new_height, new_width, ceil(filters / 32))` for bits. Floats come back
        in the dtype of floating inputs.

    Raises:
        ValueError: If an argument is not as said above.
        tf.errors.InvalidArgumentError: If shapes do not go together, or an input is
            NaN.

    Example:

    >>> from keras_compress.functional.sign_images import pack_conv2d_kernel
    >>> weights = pack_conv2d_kernel(np.ones((3, 3, 1, 1)))
    >>> images = np.array([[[[1.0], [-2.0]], [[3.0], [4.0]]]], "float32")
    >>> print(xnor_conv2d(images, *weights, kernel_size=3, padding="same")[0, :, :, 0])
    tf.Tensor(
    [[2. 2.]
     [2. 2.]], shape=(2, 2), dtype=float32)
    """
    outputs = check_choice("outputs", outputs, tuple(OUTPUTS))
    bits = outputs == "bits"
    if bits != (thresholds is not None):
        raise invalid("thresholds", "given for bits and for nothing else", thresholds)
    if bits and (scale is not None or bias is not None):
        raise invalid("scale, bias", "None where outputs are bits", "not None")
    images, dtype = signs_or_words(inputs)
    attributes = {
        "kernel_size": _pair("kernel_size", kernel_size),
        "strides": _pair("strides", strides),
        "dilations": _pair("dilations", dilations),
        "padding": check_choice("padding", padding, ("valid", "same")),
        "border": check_choice("border", border, BORDERS),
        "channels": _channels(images, channels),
    }
    kept = tf.convert_to_tensor(kept, tf.int32)
    filters = kept.shape[0] if kept.shape.rank == 1 else None
    last = -(-filters // 32) if bits and filters is not None else filters
    shape = _shape(
        images.shape,
        attributes["kernel_size"],
        attributes["strides"],
        attributes["dilations"],
        attributes["padding"],
        last,
    )
    if bits and flips is None:
        flips = tf.zeros([(tf.shape(kept)[0] + 31) // 32], tf.uint32)
    op = native_op("kc_xnor_conv2d")
    if op is None:
        weights, limits = (signs, masks, kept), (thresholds, flips)
        found = refusing_gradient(
            lambda x: _bitwise_conv_twins.conv2d(
                x, weights, limits, (scale, bias), attributes, OUTPUTS[outputs]
            )
        )(images)
    else:
        _library._library.follow_threads()
        found = op(
            images=images,
            signs=signs,
            masks=masks,
            kept=kept,
            scale=_or_none(scale, tf.float32),
            bias=_or_none(bias, tf.float32),
            thresholds=_or_none(thresholds, tf.int32),
            flips=_or_none(flips, tf.uint32),
            Tout=OUTPUTS[outputs],
            **attributes,
        )
    found = _with_shape(found, shape)
    if outputs == "float32" and dtype not in (tf.float32, tf.uint32):
        found = tf.cast(found, dtype)  # pyright: ignore
    return found


def pool_signs(inputs, pool_size, *, strides=None, padding="valid", flips=None):
    """The maximum of packed signs in a window, and the minimum where they are flipped.

    The same as max pooling of -1 and +1: negative where all are. Between a
    convolution's sums and their signs, a maximum of sums becomes this one of bits:
    with the thresholds before it and the same `flips`, it is exact.

    Args:
        inputs: Uint32 tensor `(batch, height, width, words)`, signs packed as of
            `pack_signs`.
        pool_size: Integer or two integers >= 1, `(height, width)`.
        strides: Integer or two integers >= 1. Defaults to `pool_size`.
        padding: `"valid"` or `"same"`, as TensorFlow has it: what is beyond the edges
            does not count.
        flips: Uint32 tensor `(words,)`: where a bit is set, the result is the minimum,
            positive where all are. `None` sets none.

    Returns:
        Uint32 tensor `(batch, new_height, new_width, words)`.

    Raises:
        ValueError: If an argument is not as said above.
        tf.errors.InvalidArgumentError: If shapes do not go together.

    Example:

    >>> words = np.array([[[[3], [1]], [[1], [1]]]], "uint32")
    >>> pool_signs(words, 2).numpy().ravel()
    array([1], dtype=uint32)
    """
    pool_size = _pair("pool_size", pool_size)
    strides = pool_size if strides is None else _pair("strides", strides)
    padding = check_choice("padding", padding, ("valid", "same"))
    inputs = tf.convert_to_tensor(inputs)
    if inputs.dtype != tf.uint32 or inputs.shape.rank not in (None, 4):
        expected = "uint32 of shape (batch, height, width, words)"
        raise invalid("inputs", expected, f"{inputs.dtype.name} {inputs.shape}")
    last = inputs.shape[3] if inputs.shape.rank else None
    shape = _shape(inputs.shape, pool_size, strides, (1, 1), padding, last)
    if flips is None:
        flips = tf.zeros(tf.shape(inputs)[-1:], tf.uint32)
    op = native_op("kc_pool_signs")
    if op is None:
        found = _bitwise_conv_twins.pool(inputs, flips, pool_size, strides, padding)
    else:
        _library._library.follow_threads()
        found = op(
            words=inputs,
            flips=flips,
            pool_size=pool_size,
            strides=strides,
            padding=padding,
        )
    return _with_shape(found, shape)


@tf.RegisterGradient("KcPoolSigns")
@tf.RegisterGradient("KcXnorConv2D")
def _no_gradient(op, *gradients):
    raise NotImplementedError(NO_GRADIENT)


def _channels(images, channels):
    if images.shape.rank not in (None, 4):
        expected = "of shape (batch, height, width, channels)"
        raise invalid("inputs", expected, images.shape)
    given = None if channels is None else check_int("channels", channels, minimum=1)
    last = images.shape[3] if images.shape.rank else None
    if images.dtype == tf.uint32:
        if given is None:
            raise invalid("channels", "given where inputs are packed", None)
        if last not in (None, -(-given // 32)):
            expected = f"of {-(-given // 32)} words a pixel for {given} channels"
            raise invalid("inputs", expected, images.shape)
        return given
    if last is None:
        return check_int("channels", channels, minimum=1)
    if given not in (None, last):
        raise invalid("channels", f"{last} for these inputs", channels)
    return last


def _shape(images, window, strides, dilations, padding, last):
    """The static shape of the outputs; a window that does not fit is refused."""
    sizes = []
    for axis in range(2):
        size = images[1 + axis] if images.rank is not None else None
        places = None
        if size is not None:
            numbers = window[axis], strides[axis], dilations[axis]
            places, _ = window_places(size, *numbers, padding=padding)
            if places == 0 and size > 0:
                reach = (window[axis] - 1) * dilations[axis] + 1
                expected = f"at least {reach} pixels high and wide for this window"
                raise invalid("inputs", expected, images)
        sizes.append(places)
    return [images[0] if images.rank is not None else None, *sizes, last]


def _with_shape(outputs, shape):
    """Tells a graph the shape that its op cannot say; an eager tensor has it."""
    return outputs if tf.executing_eagerly() else tf.ensure_shape(outputs, shape)


def _or_none(vector, dtype):
    if vector is not None:
        return vector
    return _nothing(dtype) if tf.executing_eagerly() else tf.constant([], dtype)


@functools.cache
def _nothing(dtype):
    """An empty vector, made once: eagerly, making it costs as much as a small op."""
    return tf.constant([], dtype)


def _pair(name, value):
    if isinstance(value, list | tuple) and len(value) == 2:
        return [check_int(name, side, minimum=1) for side in value]
    if isinstance(value, list | tuple):
        raise invalid(name, "an integer or two integers", value)
    return [check_int(name, value, minimum=1)] * 2
