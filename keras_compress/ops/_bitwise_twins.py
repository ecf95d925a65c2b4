"""Products of packed signs in plain TensorFlow, for `ops.bitwise`."""

import tensorflow as tf

NO_GRADIENT = (
    "Products of packed signs are for inference: a sign has no gradient. Train the "
    "layer before it is packed."
)


def refusing_gradient(function):
    """The function with a gradient that is an error, as that of the native op is."""

    @tf.custom_gradient
    def call(inputs):
        def gradient(*gradients, variables=None):
            raise NotImplementedError(NO_GRADIENT)

        return function(inputs), gradient

    return call


def pack(inputs):
    """`pack_signs` of a matrix."""
    return pack_bits(negative(inputs))


def negative(inputs):
    """Whether numbers are negative, which is an error for NaN."""
    check = tf.debugging.Assert(
        tf.logical_not(tf.reduce_any(tf.math.is_nan(inputs))),
        ["`inputs` must be free of NaN, which has no sign"],
    )
    with tf.control_dependencies([] if check is None else [check]):
        return inputs < 0.0


def pack_bits(bits):
    """Uint32 `(rows, words)` of truth values `(rows, width)`."""
    width = tf.shape(bits)[1]
    words = (width + 31) // 32
    padding = tf.stack([[0, 0], [0, 32 * words - width]])
    bits = tf.pad(tf.cast(bits, tf.uint32), padding)
    bits = tf.reshape(bits, [tf.shape(bits)[0], words, 32])
    places = tf.range(32)
    shifted = tf.bitwise.left_shift(bits, tf.cast(places, tf.uint32))
    # Sums of different bits; int64 is summed everywhere, uint32 is not.
    return tf.cast(tf.reduce_sum(tf.cast(shifted, tf.int64), 2), tf.uint32)


def unpack_bits(words, width):
    """Float32 `(rows, width)` of 0 and 1."""
    places = tf.cast(tf.range(32), tf.uint32)
    bits = tf.bitwise.right_shift(words[:, :, None], places)
    bits = tf.bitwise.bitwise_and(bits, tf.constant(1, tf.uint32))
    bits = tf.reshape(bits, [tf.shape(words)[0], 32 * tf.shape(words)[1]])
    return tf.cast(bits[:, :width], tf.float32)


def rows_of(panels, units):
    """Panels as rows of words, one a unit."""
    panels = tf.convert_to_tensor(panels, tf.uint32)
    words = tf.shape(panels)[1]
    rows = tf.reshape(tf.transpose(panels, [0, 2, 1]), [-1, words])
    return rows[:units]


def _sums(rows, signs, masks, kept, width):
    """`functional.signs.sign_products`."""
    units = tf.shape(kept)[0]
    weights = 1.0 - 2.0 * unpack_bits(rows_of(signs, units), width)
    masks = tf.convert_to_tensor(masks, tf.uint32)
    counted = tf.cond(
        tf.shape(masks)[0] > 0,
        lambda: unpack_bits(rows_of(masks, units), width),
        lambda: tf.ones_like(weights),
    )
    values = 1.0 - 2.0 * unpack_bits(rows, width)
    sums = tf.matmul(values, weights * counted, transpose_b=True)
    # What `kept` has over the weights that count is added to a sum.
    more = kept - tf.cast(tf.reduce_sum(counted, 1), tf.int32)
    return tf.cast(sums, tf.int32) + more


def chain(inputs, weights, thresholds, flips, scale, bias, width, dtype):
    """`xnor_chain` of a matrix."""
    rows = inputs if inputs.dtype == tf.uint32 else pack(inputs)
    sums, units = rows, None
    for i, (signs, masks, kept) in enumerate(weights):
        sums = _sums(rows, signs, masks, kept, width)
        units = tf.convert_to_tensor(kept).shape[0]
        sums = tf.ensure_shape(sums, [inputs.shape[0], units])
        if i < len(thresholds):
            rows = signs_of(sums, thresholds[i], flips[i])
            width = tf.shape(kept)[0]
    if dtype == tf.uint32:
        words = None if units is None else -(-units // 32)
        return tf.ensure_shape(rows, [inputs.shape[0], words])
    if dtype == tf.int32:
        return sums
    found = tf.cast(sums, tf.float32)
    if scale is not None:
        found = found * scale
    return found if bias is None else found + bias


def signs_of(sums, thresholds, flips):
    """Packed signs `(rows, words)` of sums `(rows, units)`."""
    flips = tf.convert_to_tensor(flips, tf.uint32)
    return tf.bitwise.bitwise_xor(pack_bits(sums < thresholds), flips)
