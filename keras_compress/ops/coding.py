"""Numbers as the words of their levels."""

import tensorflow as tf

from keras_compress._validation import invalid
from keras_compress.ops import _library
from keras_compress.ops._library import native_op


def level_bits(inputs, limits, words):
    """Codes each number of the last axis as the word of its level.

    A number is at level `i` where `i` of the limits are not above it. Its word is row
    `i` of `words`, or the last row where it is NaN. The words of an axis stand beside
    each other. The same as `functional.coding.level_bits`, whose limits lie in the
    middle between two levels. No gradient flows through it.

    Args:
        inputs: Floating tensor `(..., features)`, cast to float32.
        limits: Float32 tensor `(levels - 1,)`, in ascending order.
        words: Float32 tensor `(levels + 1, length)`: the words of the levels, and that
            of NaN.

    Returns:
        Float32 tensor `(..., features * length)`.

    Raises:
        ValueError: If `inputs` is not floating, or has no axis.
        tf.errors.InvalidArgumentError: If `words` has not as many rows as said.

    Example:

    >>> words = np.array([[-1.0], [1.0], [np.nan]], "float32")
    >>> level_bits(np.array([[0.2, 0.7]], "float32"), [0.5], words).numpy()
    array([[-1.,  1.]], dtype=float32)
    """
    inputs = tf.convert_to_tensor(inputs)
    if not inputs.dtype.is_floating or inputs.shape.rank == 0:
        expected = "a floating tensor of one axis or more"
        raise invalid("inputs", expected, f"{inputs.dtype.name} of {inputs.shape}")
    limits = tf.convert_to_tensor(limits, tf.float32)
    words = tf.convert_to_tensor(words, tf.float32)
    flat = tf.reshape(tf.cast(inputs, tf.float32), [-1])
    op = native_op("kc_level_bits")
    if op is None:
        coded = _twin(flat, limits, words)
    else:
        _library._library.follow_threads()
        coded = op(inputs=flat, limits=limits, words=words)
    features = inputs.shape[-1] if inputs.shape.rank is not None else None
    length = words.shape[-1]
    last = features and length and features * length
    shape = tf.concat([tf.shape(inputs)[:-1], [-1 if last is None else last]], 0)
    static = inputs.shape[:-1].concatenate([last])
    return tf.ensure_shape(tf.reshape(coded, shape), static)


def _twin(flat, limits, words):
    with tf.control_dependencies(
        [tf.debugging.assert_equal(tf.shape(words)[0], tf.shape(limits)[0] + 2)]
    ):
        above = tf.cast(flat[:, None] >= limits, tf.int32)
    level = tf.reduce_sum(above, 1)
    level = tf.where(tf.math.is_nan(flat), tf.shape(limits)[0] + 1, level)
    return tf.stop_gradient(tf.gather(words, level))


tf.no_gradient("KcLevelBits")
