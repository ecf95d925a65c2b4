"""Products of dense inputs with a kernel whose zeros are not stored."""

import tensorflow as tf

from keras_compress._validation import check_choice, check_int, invalid
from keras_compress.functional.sparse_layouts import LAYOUTS, PARTS
from keras_compress.ops import _sparse_twins
from keras_compress.ops._library import native_op


def sparse_matmul(inputs, weights, bias, *, layout="csc"):
    """Multiplies the last axis of `inputs` by a sparse kernel, and adds a bias.

    Computes `outputs[..., n] = bias[n] + sum_k inputs[..., k] * kernel[k, n]` in
    float32 over the stored weights, in ascending order of `k`, each by one fused
    multiply-add. Every SIMD level gives the same bits, and so does every layout, for
    finite inputs. Weights that are not stored take no part: where the twin in plain
    TensorFlow gives NaN for an infinite input and a zero weight, the native op does
    not look at that input.

    Differentiable with respect to `inputs`, `values` and `bias`.

    Args:
        inputs: Tensor `(..., inputs)` of at least two axes. Another floating dtype
            than float32 is cast to it, and the outputs are cast back.
        weights: Sequence of tensors, as `keras_compress.functional.sparse.compress`
            gives arrays of that layout.
        bias: Float32 tensor `(units,)`.
        layout: One of `keras_compress.functional.sparse_layouts.LAYOUTS`.

    Returns:
        Tensor `(..., units)`.

    Raises:
        ValueError: If `inputs` has less than two axes, or `layout` another number of
            tensors.
        tf.errors.InvalidArgumentError: If the weights are not as said there.

    Example:

    >>> kernel = np.array([[0.0, 2.0], [3.0, 0.0]], "float32")
    >>> weights = keras_compress.functional.sparse.compress(kernel)
    >>> sparse_matmul(np.array([[1.0, 1.0]], "float32"), weights, np.zeros(2, "f"))
    <tf.Tensor: shape=(1, 2), dtype=float32, numpy=array([[3., 2.]], dtype=float32)>
    """
    weights = _checked(weights, layout)
    inputs, dtype = _float32(inputs)
    if inputs.shape.rank is not None and inputs.shape.rank < 2:
        raise invalid("inputs", "of two axes or more", inputs.shape)
    flat = inputs
    if inputs.shape.rank != 2:
        flat = tf.reshape(inputs, [-1, _last(inputs)])
    bias = tf.convert_to_tensor(bias, tf.float32)
    op = native_op("kc_sparse_matmul")
    if op is None:
        kernel = _dense(weights, layout, _last(flat), bias)
        outputs = tf.matmul(flat, kernel) + bias
    else:
        outputs = op(inputs=flat, bias=bias, parts=weights, layout=layout)
    if inputs.shape.rank != 2:
        shape = tf.concat([tf.shape(inputs)[:-1], tf.shape(outputs)[-1:]], 0)
        static = inputs.shape[:-1].concatenate(outputs.shape[-1:])
        outputs = tf.ensure_shape(tf.reshape(outputs, shape), static)
    return tf.cast(outputs, dtype)


def sparse_conv2d(
    inputs,
    weights,
    bias,
    *,
    kernel_size,
    strides=(1, 1),
    padding="valid",
    dilations=(1, 1),
    layout="csc",
):
    """Convolves images with a sparse kernel, and adds a bias.

    The kernel `(height, width, channels, filters)` is stored as the matrix
    `(height * width * channels, filters)` would be for `sparse_matmul`; the arithmetic
    is the same, and zeros of the padding take part in it. No groups.

    Args:
        inputs: Tensor `(batch, height, width, channels)`. Another floating dtype than
            float32 is cast to it, and the outputs are cast back.
        weights: Sequence of tensors, as `keras_compress.functional.sparse.compress`
            gives arrays of that layout.
        bias: Float32 tensor `(filters,)`.
        kernel_size: Integer or two integers >= 1, `(height, width)`.
        strides: Integer or two integers >= 1.
        padding: `"valid"` or `"same"`, as TensorFlow has it.
        dilations: Integer or two integers >= 1.
        layout: One of `keras_compress.functional.sparse_layouts.LAYOUTS`.

    Returns:
        Tensor `(batch, new_height, new_width, filters)`.

    Raises:
        ValueError: If an argument is not as said above.
        tf.errors.InvalidArgumentError: If the weights are not as said above.

    Example:

    >>> kernel = np.zeros((3, 3, 1, 2), "float32")
    >>> kernel[1, 1] = 1.0
    >>> weights = keras_compress.functional.sparse.compress(kernel.reshape(9, 2))
    >>> images = np.ones((1, 5, 5, 1), "float32")
    >>> sparse_conv2d(images, weights, np.zeros(2, "f"), kernel_size=3).shape
    TensorShape([1, 3, 3, 2])
    """
    kernel_size = _pair("kernel_size", kernel_size)
    strides = _pair("strides", strides)
    dilations = _pair("dilations", dilations)
    padding = check_choice("padding", padding, ("valid", "same"))
    weights = _checked(weights, layout)
    inputs, dtype = _float32(inputs)
    if inputs.shape.rank not in (None, 4):
        raise invalid(
            "inputs", "of shape (batch, height, width, channels)", inputs.shape
        )
    attributes = {
        "kernel_size": kernel_size,
        "strides": strides,
        "padding": padding,
        "dilations": dilations,
    }
    bias = tf.convert_to_tensor(bias, tf.float32)
    shape = _conv2d_shape(inputs.shape, bias.shape, **attributes)
    op = native_op("kc_sparse_conv2d")
    if op is None:
        kernel = _dense(weights, layout, _patch(inputs, kernel_size), bias)
        outputs = _conv2d(inputs, kernel, **attributes) + bias
    else:
        outputs = op(
            inputs=inputs, bias=bias, parts=weights, layout=layout, **attributes
        )
    return tf.cast(tf.ensure_shape(outputs, shape), dtype)


@tf.RegisterGradient("KcSparseMatmul")
def _sparse_matmul_gradient(op, gradient):
    inputs, bias, *weights = op.inputs
    layout = op.get_attr("layout").decode()
    kernel = _dense(weights, layout, _last(inputs), bias)
    to_kernel = tf.matmul(inputs, gradient, transpose_a=True)
    return (
        tf.matmul(gradient, kernel, transpose_b=True),
        tf.reduce_sum(gradient, 0),
        _sparse_twins.gather(to_kernel, weights, layout),
        *[None] * (len(weights) - 1),
    )


@tf.RegisterGradient("KcSparseConv2D")
def _sparse_conv2d_gradient(op, gradient):
    inputs, bias, *weights = op.inputs
    layout = op.get_attr("layout").decode()
    attributes = {
        name: op.get_attr(name) for name in ("kernel_size", "strides", "dilations")
    }
    attributes["padding"] = op.get_attr("padding").decode()
    kernel = _dense(weights, layout, _patch(inputs, attributes["kernel_size"]), bias)
    with tf.GradientTape() as tape:
        tape.watch([inputs, kernel])
        outputs = _conv2d(inputs, kernel, **attributes)
    to_inputs, to_kernel = tape.gradient(outputs, [inputs, kernel], gradient)
    return (
        to_inputs,
        tf.reduce_sum(gradient, [0, 1, 2]),
        _sparse_twins.gather(tf.convert_to_tensor(to_kernel), weights, layout),
        *[None] * (len(weights) - 1),
    )


def _checked(weights, layout):
    """The weights as tensors; `values` are differentiated as they come."""
    check_choice("layout", layout, LAYOUTS)
    names = PARTS[layout]
    if len(weights) != len(names):
        expected = f"{len(names)} tensors for {layout!r}: {', '.join(names)}"
        raise invalid("weights", expected, f"{len(weights)} tensors")
    return [tf.convert_to_tensor(part) for part in weights]


def _float32(inputs):
    inputs = tf.convert_to_tensor(inputs)
    if not inputs.dtype.is_floating:
        raise invalid("inputs", "a floating tensor", inputs.dtype.name)
    return tf.cast(inputs, tf.float32), inputs.dtype


def _last(tensor):
    """The size of the last axis, as a number where it is known."""
    size = tensor.shape[-1] if tensor.shape.rank is not None else None
    return tf.shape(tensor)[-1] if size is None else size


def _patch(inputs, kernel_size):
    return kernel_size[0] * kernel_size[1] * _last(inputs)


def _dense(weights, layout, inputs, bias):
    """The kernel with its zeros, `(inputs, units)`."""
    units = bias.shape[0] if bias.shape.rank is not None else None
    kernel = _sparse_twins.dense(
        weights, layout, inputs, tf.shape(bias)[0] if units is None else units
    )
    return tf.ensure_shape(kernel, [None, units])


def _conv2d(inputs, kernel, *, kernel_size, strides, padding, dilations):
    kernel = tf.reshape(kernel, [*kernel_size, _last(inputs), _last(kernel)])
    return tf.nn.conv2d(
        inputs, kernel, list(strides), padding.upper(), dilations=list(dilations)
    )


def _conv2d_shape(inputs, bias, *, kernel_size, strides, padding, dilations):
    """The static shape of the outputs, `None` where an axis is not known."""
    sizes = []
    for axis in range(2):
        size = inputs[1 + axis] if inputs.rank is not None else None
        if size is not None:
            reach = (kernel_size[axis] - 1) * dilations[axis] + 1
            window = size if padding == "same" else max(size - reach + 1, 0)
            size = -(-window // strides[axis])
            if size == 0 and inputs[1 + axis] > 0:
                expected = f"at least {reach} pixels high and wide for this window"
                raise invalid("inputs", expected, inputs)
        sizes.append(size)
    batch = inputs[0] if inputs.rank is not None else None
    return [batch, *sizes, bias[0] if bias.rank is not None else None]


def _pair(name, value):
    if isinstance(value, list | tuple) and len(value) == 2:
        return [check_int(name, side, minimum=1) for side in value]
    if isinstance(value, list | tuple):
        raise invalid(name, "an integer or two integers", value)
    return [check_int(name, value, minimum=1)] * 2
