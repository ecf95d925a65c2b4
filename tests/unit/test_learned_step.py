"""LSQ and PACT: gradients by hand, and layers that train with them."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_compress as kc
from keras_compress.functional.learned_step import (
    clipped_units,
    first_step,
    learned_step,
    step_limits,
)

RANDOM = np.random.default_rng(0)


@pytest.mark.parametrize("signed", [True, False])
def test_gradients_of_a_learned_step(signed):
    x = RANDOM.standard_normal(50).astype("float32") * 2
    step, bits = 0.25, 4
    low, high = step_limits(bits, signed)
    upstream = RANDOM.standard_normal(50).astype("float32")
    with tf.GradientTape() as tape:
        tensors = tf.constant(x), tf.constant(step)
        tape.watch(tensors)
        y = learned_step(*tensors, bits=bits, signed=signed)
    to_x, to_step = tape.gradient(y, tensors, upstream)
    scaled = x / step
    inside = (scaled > low) & (scaled < high)
    np.testing.assert_array_equal(y, np.rint(scaled.clip(low, high)) * step)
    np.testing.assert_array_equal(to_x, upstream * inside)
    slope = np.where(inside, np.rint(scaled) - scaled, scaled.clip(low, high))
    expected = np.sum(slope * upstream) / np.sqrt(50 * high)
    np.testing.assert_allclose(to_step, expected, rtol=1e-4)


def test_the_first_step():
    x = RANDOM.standard_normal(1000)
    expected = 2 * np.abs(x).mean() / np.sqrt(7)
    np.testing.assert_allclose(first_step(x, bits=4), expected, rtol=1e-6)
    assert float(first_step(np.zeros(3), bits=4)) == 1.0


def test_gradients_of_clipped_units():
    x = np.array([-1.0, 0.0, 0.4, 1.5, 2.0], "float32")
    with tf.GradientTape() as tape:
        tensors = tf.constant(x), tf.constant(1.5)
        tape.watch(tensors)
        y = clipped_units(*tensors, bits=2)
    to_x, to_alpha = tape.gradient(y, tensors, np.array([1, 2, 4, 8, 16], "float32"))
    np.testing.assert_allclose(y, [0, 0, 0.5, 1.5, 1.5])
    np.testing.assert_array_equal(to_x, [0, 2, 4, 0, 0])
    assert float(to_alpha) == 24.0


def test_a_net_of_two_bits_learns(tmp_path):
    model = keras.Sequential(
        [
            keras.Input((8,)),
            kc.layers.LearnedStepDense(32, kernel_bits=2),
            kc.layers.ClippedReLU(bits=2, alpha=2.0),
            kc.layers.LearnedStepDense(3, kernel_bits=3),
        ]
    )
    x = RANDOM.standard_normal((256, 8)).astype("float32")
    y = x @ RANDOM.standard_normal((8, 3)).astype("float32")
    model.compile(keras.optimizers.Adam(0.02), "mse")
    before = [
        float(v.numpy()) for v in (model.layers[0].kernel_step, model.layers[1].alpha)
    ]
    loss = model.fit(x, y, epochs=15, verbose=0).history["loss"]
    assert loss[-1] < 0.5 * loss[0]
    after = [
        float(v.numpy()) for v in (model.layers[0].kernel_step, model.layers[1].alpha)
    ]
    assert before[0] != after[0]
    assert before[1] != after[1]
    assert len(np.unique(model.layers[0].effective_kernel())) <= 4
    model.save(tmp_path / "lsq.keras")
    loaded = keras.models.load_model(tmp_path / "lsq.keras")
    np.testing.assert_array_equal(loaded(x), model(x))


def test_a_swap_starts_steps_from_the_weights():
    model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4)])
    small = kc.swap(model, kc.LearnedStep(kernel_bits=4))
    expected = first_step(model.layers[0].kernel, bits=4)
    np.testing.assert_allclose(small.layers[0].kernel_step, expected, rtol=1e-6)
    small.layers[0].kernel_step.assign(0.5)
    again = kc.swap(small, kc.LearnedStep())
    assert again.layers[0].kernel_bits == 4
    assert float(again.layers[0].kernel_step.numpy()) == 0.5
    other = kc.swap(small, kc.LearnedStep(kernel_bits=3))
    assert float(other.layers[0].kernel_step.numpy()) != 0.5


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: kc.layers.LearnedStepDense(3, kernel_bits=1), "`kernel_bits`"),
        (lambda: kc.layers.ClippedReLU(bits=17), "`bits`"),
        (lambda: kc.layers.ClippedReLU(alpha=0), "`alpha`"),
        (lambda: kc.layers.ClippedReLU(decay=-1), "`decay`"),
    ],
)
def test_wrong_arguments_are_refused(make, match):
    with pytest.raises(ValueError, match=match):
        make()
