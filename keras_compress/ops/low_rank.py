"""Two products in a row as one op: a dense layer of low rank."""

import tensorflow as tf

from keras_compress._validation import check_choice, check_int, invalid
from keras_compress.ops import _library, _low_rank_twins
from keras_compress.ops._library import native_op

ACTIVATIONS = ("linear", "relu")


def low_rank_matmul(inputs, left, right, bias, *, rank, activation="linear"):
    """Multiplies the last axis of `inputs` by two factors, and adds a bias.

    Computes `activation(inputs @ left @ right + bias)` in float32, a block of rows
    after the other, so that what is between the products stays in the cache. Each sum
    goes in ascending order of the inputs, by fused multiply-adds, and the bias comes
    last: every SIMD level gives the same bits.

    Differentiable with respect to `inputs`, `left`, `right` and `bias`.

    Args:
        inputs: Tensor `(..., inputs)` of two axes or more, of which the last is known.
            Another floating dtype than float32 is cast to it, and the outputs are cast
            back.
        left: Float32 tensor `(inputs * rank,)`: the factor `(inputs, rank)` as
            `keras_compress.functional.panels.to_panels` gives it.
        right: Float32 tensor `(rank * units,)`, the factor `(rank, units)` likewise.
        bias: Float32 tensor `(units,)`, of known shape.
        rank: Integer >= 1.
        activation: `"linear"` or `"relu"`, in which NaN stays NaN.

    Returns:
        Tensor `(..., units)`.

    Raises:
        ValueError: If an argument is not as said above, or a factor of another length.

    Example:

    >>> from keras_compress.functional.panels import to_panels
    >>> left, right = np.array([[1.0], [2.0]]), np.array([[3.0, -4.0]])
    >>> rows, bias = np.array([[1.0, 1.0]], "float32"), np.zeros(2, "float32")
    >>> factors = to_panels(left), to_panels(right)
    >>> low_rank_matmul(rows, *factors, bias, rank=1, activation="relu").numpy()
    array([[9., 0.]], dtype=float32)
    """
    check_int("rank", rank, minimum=1)
    check_choice("activation", activation, ACTIVATIONS)
    inputs = tf.convert_to_tensor(inputs)
    if not inputs.dtype.is_floating:
        raise invalid("inputs", "a floating tensor", inputs.dtype.name)
    axes = inputs.shape.rank
    if axes is None or axes < 2 or inputs.shape[-1] is None:
        raise invalid("inputs", "of two axes or more, the last known", inputs.shape)
    width, dtype = inputs.shape[-1], inputs.dtype
    bias = tf.convert_to_tensor(bias, tf.float32)
    if bias.shape.rank != 1 or bias.shape[0] is None:
        raise invalid("bias", "a vector of known length", bias.shape)
    units = bias.shape[0]
    left = _factor("left", left, width, rank)
    right = _factor("right", right, rank, units)
    flat = tf.cast(inputs, tf.float32)
    if axes != 2:
        flat = tf.reshape(flat, [-1, width])
    op = native_op("kc_low_rank_matmul")
    if op is None:
        outputs = _twin(flat, left, right, bias, rank, activation == "relu")
    else:
        _library._library.follow_threads()
        relu = int(activation == "relu")
        outputs = op(
            inputs=flat, left=left, right=right, bias=bias, rank=rank, relu=relu
        )
    if axes != 2:
        shape = tf.concat([tf.shape(inputs)[:-1], tf.shape(bias)], 0)
        static = inputs.shape[:-1].concatenate([units])
        outputs = tf.ensure_shape(tf.reshape(outputs, shape), static)
    return tf.cast(outputs, dtype)


@tf.RegisterGradient("KcLowRankMatmul")
def _gradient(op, gradient):
    rank, relu = op.get_attr("rank"), bool(op.get_attr("relu"))
    if relu:
        # As TensorFlow has it: what is NaN passes nothing on.
        gradient = tf.where(op.outputs[0] > 0.0, gradient, tf.zeros_like(gradient))
    inputs, left, right, bias = op.inputs
    with tf.GradientTape() as tape:
        tape.watch([inputs, left, right, bias])
        outputs = _twin(inputs, left, right, bias, rank, False)
    return tape.gradient(outputs, [inputs, left, right, bias], [gradient])


def _twin(inputs, left, right, bias, rank, relu):
    units = bias.shape[0]
    hidden = _low_rank_twins.product(inputs, left, inputs.shape[-1], rank)
    outputs = _low_rank_twins.product(hidden, right, rank, units) + bias
    return tf.nn.relu(outputs) if relu else outputs


def _factor(name, factor, rows, columns):
    factor = tf.convert_to_tensor(factor, tf.float32)
    if not factor.shape.is_compatible_with([rows * columns]):
        expected = f"of shape ({rows * columns},): {rows} x {columns} in panels"
        raise invalid(name, expected, factor.shape)
    return factor
