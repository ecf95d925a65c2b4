"""Signs, their gradients and bitwise weights, against numbers worked out by hand."""

import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from keras_compress.functional import bitwise as maths
from keras_compress.functional import sign as sign_maths
from keras_compress.functional.sign import sign, signs

GHOSTS = np.array([[0.3, -0.7], [-0.1, 0.2], [0.9, 0.0]], "float32")


def gradient(function, x):
    x = tf.constant(x, tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(x)
        outputs = function(x)
    return tape.gradient(outputs, x).numpy()


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_the_sign_of_zero_is_one_and_that_of_nan_is_nan(dtype):
    x = ops.cast([-np.inf, -1e-6, -0.0, 0.0, 1e-6, np.inf, np.nan], dtype)
    found = ops.convert_to_numpy(ops.cast(signs(x), "float32"))
    np.testing.assert_array_equal(found, [-1, -1, 1, 1, 1, 1, np.nan])
    assert signs(x).dtype == dtype


def test_straight_through_gradients():
    x = [-2.0, -0.5, 0.0, 0.25, 3.0]
    expected = {
        "plain": np.ones(5),
        "clip": [0, 1, 1, 1, 0],
        "tanh": 1 - np.tanh(x) ** 2,
        "approx": [0, 1, 2, 1.5, 0],
    }
    for name, derivative in expected.items():
        found = gradient(lambda x, name=name: 3.0 * sign(x, name), x)
        np.testing.assert_allclose(found, 3 * np.array(derivative), rtol=1e-5)


def test_swish_is_the_derivative_of_the_signed_swish():
    """SS(x) = 2 sigma(b x) (1 + b x (1 - sigma(b x))) - 1, by central differences."""
    x = np.linspace(-3, 3, 61)

    def signed_swish(x, b=5.0):
        sigma = 1 / (1 + np.exp(-b * x))
        return 2 * sigma * (1 + b * x * (1 - sigma)) - 1

    slope = (signed_swish(x + 1e-5) - signed_swish(x - 1e-5)) / 2e-5
    keep = np.abs(x) != 1.0
    found = gradient(lambda x: sign(x, "swish"), x)
    np.testing.assert_allclose(found[keep], slope[keep], atol=1e-4)
    assert np.isfinite(gradient(lambda x: sign(x, "swish"), [-1e4, 1e4])).all()


@pytest.mark.parametrize("name", sign_maths.STRAIGHT_THROUGH)
def test_the_sign_of_a_sign_passes_its_gradient_on(name):
    found = gradient(lambda x: sign(x, name), [-1.0, 1.0])
    np.testing.assert_array_equal(found, [1.0, 1.0])


def test_an_unknown_straight_through_is_refused():
    with pytest.raises(ValueError, match="`straight_through` must be one of 'plain'"):
        sign(np.zeros(2), "identity")


def test_the_forward_pass_of_stage_1_by_hand():
    """Z = tanh(W)' x + tanh(b), two units, worked out with a table of tanh."""
    weights = np.array([[1.0, -0.5], [0.5, 2.0], [-2.0, 0.0]])
    bias, inputs = np.array([0.5, -1.0]), np.array([3.0, -1.0, 2.0])
    tanh = {0.5: 0.46211716, 1.0: 0.76159416, 2.0: 0.96402758}
    first = 3 * tanh[1.0] - tanh[0.5] - 2 * tanh[2.0] + tanh[0.5]
    second = -3 * tanh[0.5] - tanh[2.0] - tanh[1.0]
    found = inputs @ ops.convert_to_numpy(maths.compress(weights))
    found = found + ops.convert_to_numpy(maths.compress(bias))
    np.testing.assert_allclose(found, [first, second], rtol=1e-7)


def test_the_gradient_of_stage_1():
    """dL/dW = dL/dw * (1 - tanh(W) ** 2)."""
    found = gradient(lambda w: 2.0 * maths.compress(w), GHOSTS)
    np.testing.assert_allclose(found, 2 * (1 - np.tanh(GHOSTS) ** 2), rtol=1e-5)


def test_ghosts_compress_to_the_weights_they_are_of():
    weights = np.array([-5.0, -0.5, 0.0, 0.9, 1.0])
    found = np.tanh(maths.ghosts_of(weights))
    np.testing.assert_allclose(found, [-0.99, -0.5, 0.0, 0.9, 0.99], rtol=1e-12)


def test_binary_and_ternary_weights():
    found = ops.convert_to_numpy(maths.binary_weights(GHOSTS))
    np.testing.assert_array_equal(found, [[1, -1], [-1, 1], [1, 1]])
    mask = np.array([[1, 0], [1, 1], [0, 1]], bool)
    found = ops.convert_to_numpy(maths.binary_weights(GHOSTS, mask=mask))
    np.testing.assert_array_equal(found, [[1, 0], [-1, 1], [0, 1]])
    found = ops.convert_to_numpy(maths.ternary_weights(GHOSTS, 0.2))
    np.testing.assert_array_equal(found, [[1, -1], [0, 0], [1, 0]])
    found = ops.convert_to_numpy(maths.ternary_weights(GHOSTS, 0.2, mask=mask))
    np.testing.assert_array_equal(found, [[1, 0], [0, 0], [0, 0]])


def test_the_papers_gradient_is_plain_and_the_lectures_is_not():
    upstream = np.arange(1.0, 7.0).reshape(3, 2)

    def loss(w, name, **arguments):
        weights = maths.ternary_weights(w, 0.15, name, **arguments)
        return tf.reduce_sum(upstream.astype("float32") * weights)

    found = gradient(lambda w: loss(w, "paper"), GHOSTS)
    np.testing.assert_array_equal(found, upstream)
    found = gradient(lambda w: loss(w, "lecture"), GHOSTS)
    m = [[1, 1], [0, 1], [1, 0]]
    np.testing.assert_allclose(found, upstream * m * (1 - np.tanh(GHOSTS) ** 2), 1e-5)
    mask = np.array([[0, 1], [1, 1], [1, 1]], bool)
    found = gradient(lambda w: loss(w, "lecture", mask=mask), GHOSTS)
    assert found[0, 0] == 0.0


def test_an_unknown_gradient_is_refused():
    for function in (maths.binary_weights, lambda w, g: maths.ternary_weights(w, 0, g)):
        with pytest.raises(ValueError, match="`gradient` must be one of 'paper', 'lec"):
            function(GHOSTS, "slide")


def test_beta_is_the_largest_of_what_is_dropped():
    weights = np.array([0.4, -0.1, 0.3, -0.2])
    assert maths.beta_for(weights, 0.0) == maths.KEEP_ALL
    assert maths.beta_for(weights, 0.25) == 0.1
    assert maths.beta_for(weights, 0.5) == 0.2
    assert maths.beta_for(weights, 1.0) == 0.4
    mask = np.array([1, 1, 0, 1], bool)
    assert maths.beta_for(weights, 0.25, mask) == maths.KEEP_ALL
    assert maths.beta_for(weights, 0.5, mask) == 0.1
    with pytest.raises(ValueError, match=r"`sparsity` must be a number in \[0, 1\]"):
        maths.beta_for(weights, 1.5)
    with pytest.raises(ValueError, match=r"finite .* NaN among the weights of shape"):
        maths.beta_for(np.array([np.nan, 1.0]), 0.5)


def test_the_scale_is_the_mean_of_what_is_kept():
    ternary = np.array([[1, 0], [0, 0], [1, 0]], "float32")
    found = ops.convert_to_numpy(maths.unit_scale(GHOSTS, ternary))
    np.testing.assert_allclose(found, [0.6, 0.0], rtol=1e-6)
    found = ops.convert_to_numpy(maths.unit_scale(GHOSTS))
    np.testing.assert_allclose(found, np.abs(GHOSTS).mean(axis=0), rtol=1e-6)
