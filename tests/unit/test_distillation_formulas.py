"""The formulas of distillation against NumPy, their gradients against the papers."""

import numpy as np
import pytest
import tensorflow as tf

from keras_compress.functional import class_bias, feature_matching, top_logits
from keras_compress.functional import distillation as formulas

RANDOM = np.random.default_rng(0)
STUDENT = RANDOM.normal(0, 3, (6, 5))
TEACHER = RANDOM.normal(0, 3, (6, 5))
LABELS = np.eye(5)[RANDOM.integers(5, size=6)]


def softmax(logits):
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def gradient(function, at):
    """Of a sum, by TensorFlow, and by central differences in float64."""
    at = tf.constant(at)
    with tf.GradientTape() as tape:
        tape.watch(at)
        total = tf.reduce_sum(function(at))
    exact = tape.gradient(total, at).numpy()
    step, flat = 1e-5, np.zeros(at.shape)
    for index in np.ndindex(*at.shape):
        move = np.zeros(at.shape)
        move[index] = step
        up, down = (np.sum(function(tf.constant(at + s * move))) for s in (1, -1))
        flat[index] = (up - down) / (2 * step)
    np.testing.assert_allclose(exact, flat, rtol=1e-6, atol=1e-6)
    return exact


@pytest.mark.parametrize("temperature", [1.0, 2.5, 20.0])
def test_hintons_soft_objective_and_its_gradient(temperature):
    p, q = softmax(TEACHER / temperature), softmax(STUDENT / temperature)

    def loss(z):
        return formulas.soft_cross_entropy(p, z, temperature)

    expected = -(temperature**2) * (p * np.log(q)).sum(axis=-1)
    np.testing.assert_allclose(loss(tf.constant(STUDENT)), expected)
    np.testing.assert_allclose(gradient(loss, STUDENT), temperature * (q - p))


@pytest.mark.parametrize("temperature", [1.0, 2.5, 20.0])
@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
def test_the_lectures_mixed_target_and_its_gradient(temperature, alpha):
    p, q = softmax(TEACHER / temperature), softmax(STUDENT / temperature)
    target = formulas.mixed_target(p, LABELS, alpha)

    def loss(z):
        return formulas.mixed_cross_entropy(target, z, temperature)

    expected = (q - (alpha * p + (1 - alpha) * LABELS)) / temperature
    np.testing.assert_allclose(gradient(loss, STUDENT), expected, atol=1e-15)
    at = target * np.log(q)
    np.testing.assert_allclose(loss(tf.constant(STUDENT)), -at.sum(axis=-1))


def test_both_objectives_are_one_without_labels_but_for_the_square():
    target = softmax(TEACHER / 3.0)
    soft = formulas.soft_cross_entropy(target, STUDENT, 3.0)
    mixed = formulas.mixed_cross_entropy(target, STUDENT, 3.0)
    np.testing.assert_allclose(soft, 9.0 * np.asarray(mixed))


def test_a_high_temperature_is_a_regression_on_logits():
    student, teacher = formulas.centred(STUDENT), formulas.centred(TEACHER)

    def loss(z):
        target = formulas.soften(teacher, 1e4)
        return formulas.soft_cross_entropy(target, z, 1e4)

    with tf.GradientTape() as tape:
        z = tf.constant(student)
        tape.watch(z)
        total = tf.reduce_sum(loss(z))
    expected = (np.asarray(student) - np.asarray(teacher)) / 5
    np.testing.assert_allclose(tape.gradient(total, z), expected, rtol=2e-3, atol=1e-4)


def test_logits_matching_and_its_gradient():
    def loss(z):
        return formulas.logits_matching(TEACHER, z)

    difference = STUDENT - TEACHER
    np.testing.assert_allclose(loss(STUDENT), 0.5 * (difference**2).sum(axis=-1))
    np.testing.assert_allclose(gradient(loss, STUDENT), difference)


def test_log_probabilities_are_logits():
    for temperature in (1.0, 7.0):
        logits = formulas.log_probabilities(softmax(TEACHER).astype("float32"))
        found = formulas.soften(logits, temperature)
        np.testing.assert_allclose(found, softmax(TEACHER / temperature), rtol=1e-5)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_probabilities_that_were_rounded_to_zero_stay_finite(dtype):
    logits = formulas.log_probabilities(tf.constant([1.0, 0.0], dtype))
    assert logits.dtype == "float32"
    assert logits[0] == 0.0
    expected = {"float16": -16.6, "bfloat16": -87.3, "float32": -87.3}[dtype]
    assert float(logits[1]) == pytest.approx(expected, abs=0.1)


def test_sigmoid_logits_and_two_classes():
    z = np.array([-3.0, 0.0, 2.0])
    probabilities = (1 / (1 + np.exp(-z))).astype("float32")
    found = formulas.sigmoid_logits(probabilities)
    np.testing.assert_allclose(found, z, rtol=1e-5, atol=1e-6)
    pairs = formulas.two_class_logits(found)
    np.testing.assert_allclose(
        formulas.soften(pairs, 1.0)[:, 0], probabilities, rtol=1e-5
    )
    assert np.isfinite(formulas.sigmoid_logits(np.float32([0.0, 1.0]))).all()


def test_means_of_an_ensemble():
    other = RANDOM.normal(0, 3, (6, 5))
    members, weights = [TEACHER, other], (0.75, 0.25)
    arithmetic = 0.75 * softmax(TEACHER / 2.0) + 0.25 * softmax(other / 2.0)
    found = formulas.mean_probabilities(members, 2.0, weights)
    np.testing.assert_allclose(found, arithmetic)
    geometric = softmax(TEACHER) ** 0.75 * softmax(other) ** 0.25
    geometric /= geometric.sum(axis=-1, keepdims=True)
    found = formulas.soften(formulas.mean_logits(members, weights), 1.0)
    np.testing.assert_allclose(found, geometric)
    np.testing.assert_allclose(formulas.mean_logits(members), (TEACHER + other) / 2)


def test_the_hint_and_its_gradient():
    teacher, student = RANDOM.normal(size=(2, 3, 4)), RANDOM.normal(size=(2, 3, 4))

    def loss(features):
        return feature_matching.hint(teacher, features)

    expected = 0.5 * ((student - teacher) ** 2).mean(axis=(1, 2))
    np.testing.assert_allclose(loss(student), expected)
    np.testing.assert_allclose(gradient(loss, student), (student - teacher) / 12)


def test_attention_maps_by_hand():
    features = np.array([[[[1.0, 2.0]], [[0.0, 2.0]]]])  # 2 x 1 positions, 2 channels
    energy = np.array([5.0, 4.0])
    found = feature_matching.attention_map(features)
    np.testing.assert_allclose(found, [energy / np.sqrt(41.0)])
    other = np.array([[[[3.0, 0.0, 0.0]], [[0.0, 0.0, 0.0]]]])
    loss = feature_matching.attention_transfer(features, other)
    expected = 0.5 * ((np.array([1.0, 0.0]) - energy / np.sqrt(41.0)) ** 2).sum()
    np.testing.assert_allclose(loss, [expected])


def test_attention_has_a_gradient_where_maps_are_equal_or_nothing():
    for features in (RANDOM.normal(size=(2, 3, 4)), np.zeros((2, 3, 4))):
        z = tf.constant(features)
        with tf.GradientTape() as tape:
            tape.watch(z)
            total = tf.reduce_sum(feature_matching.attention_transfer(features, z))
        np.testing.assert_allclose(tape.gradient(total, z), 0.0, atol=1e-12)


def test_the_rest_of_the_logits_by_hand():
    logits = np.array([[1.0, 5.0, 0.0, 3.0]])
    values, classes, rest = top_logits.largest_logits(logits, 2)
    np.testing.assert_array_equal(values, [[5.0, 3.0]])
    np.testing.assert_array_equal(classes, [[1, 3]])
    np.testing.assert_allclose(rest, np.log((np.exp(1.0) + 1.0) / 2))
    back = top_logits.from_largest_logits(values, classes, rest, 4)
    np.testing.assert_allclose(back, [[rest[0], 5.0, rest[0], 3.0]])


@pytest.mark.parametrize(
    ("margins", "gain", "shift"),
    [
        ([1.0, 3.0, 7.0], [1, 1, -1], 5.0),
        ([-5.0, -3.0], [-1, -1], -6.0),
        ([1.0, 3.0], [1, 1], 4.0),
        ([-1.0, 1.0], [1, -1], 0.0),
        ([2.0, 2.0], [1, -1], 0.0),
        ([1.0, 2.0], [0, 0], 0.0),
        ([1.0, 2.0, 2.1, 9.0, 20.0], [1, -1, 1, -1, -1], 5.55),
    ],
)
def test_the_best_shift_by_hand(margins, gain, shift):
    found = class_bias.best_shift(np.array(margins), np.array(gain))
    assert found == pytest.approx(shift)
