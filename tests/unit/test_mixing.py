"""`mix_inputs`: what it adds up, keeps, drops and refuses."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_compress as kc
from keras_compress.distillation import cache_logits, mix_inputs

COUNT, BATCH = 600, 100
# Each example has a number of its own, and is 1 there: shares can be read off.
X, Y = np.eye(COUNT, dtype="float32"), np.arange(COUNT)
DATA = tf.data.Dataset.from_tensor_slices((X, Y)).batch(BATCH)


def drawn(**settings):
    data = mix_inputs(DATA, **settings)
    x, y = (np.concatenate(part) for part in zip(*data, strict=True))
    np.testing.assert_array_equal(y, Y)
    return x


@pytest.mark.parametrize("seed", [None, 3])
def test_shares(seed):
    x = drawn(seed=seed)
    own = np.diag(x)
    expected = own[:, None] * X
    for start in range(0, COUNT, BATCH):
        rows = slice(start, start + BATCH)
        expected[rows] += (1 - own[rows, None]) * np.roll(X[rows], 1, axis=0)
    np.testing.assert_allclose(x, expected, atol=1e-6)
    counts, _ = np.histogram(own, bins=5, range=(0.5, 1.0))
    assert counts.sum() == COUNT
    assert (abs(counts - COUNT / 5) < 45).all()


def test_dropped_numbers():
    x, plain = (drawn(seed=3, dropped=share) for share in (0.3, 0.0))
    assert ((x == plain) | (x == 0)).all()
    kept = (x[plain > 0] > 0).mean()
    assert 0.67 < kept < 0.73
    # Whether a number is dropped says nothing about its share.
    own = np.diag(x)
    assert abs(own[own > 0].mean() - 0.75) < 0.02
    assert not drawn(dropped=1.0).any()


@pytest.mark.parametrize("settings", [{}, {"dropped": 0.5}])
def test_no_pass_is_like_another(settings):
    data = mix_inputs(DATA, seed=3, **settings)
    first, second, again = (
        np.concatenate([x for x, _ in one])
        for one in (data, data, mix_inputs(DATA, seed=3, **settings))
    )
    assert (first != second).any(axis=1).mean() > 0.9
    np.testing.assert_array_equal(first, again)


def test_several_inputs_are_mixed_by_the_same_shares():
    images = np.random.default_rng(0).random((8, 3, 2, 1))
    rows = images.reshape(8, 6).astype("float32")
    data = tf.data.Dataset.from_tensor_slices(({"a": images, "b": rows}, Y[:8], Y[:8]))
    (found, labels, weights), *_ = mix_inputs(data.batch(8))
    assert found["a"].dtype == tf.float64
    np.testing.assert_allclose(
        np.reshape(found["a"], (8, 6)), found["b"], rtol=1e-5, atol=1e-6
    )
    np.testing.assert_array_equal(labels, Y[:8])
    np.testing.assert_array_equal(weights, Y[:8])


def test_inputs_alone():
    data = tf.data.Dataset.from_tensor_slices(X).batch(BATCH)
    assert mix_inputs(data).element_spec == data.element_spec
    assert int(mix_inputs(data).cardinality()) == COUNT // BATCH


def network():
    return keras.Sequential([keras.Input((COUNT,)), keras.layers.Dense(3)])


def test_teachers_are_asked_about_the_mixtures():
    teacher, student = network(), network()
    distiller = kc.Distiller(student, teacher, alpha=1.0, mode="logits")
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    distiller.compile(keras.optimizers.SGD(0.0), loss)
    data = DATA.map(lambda x, y: (x, y % 3))
    found = distiller.fit(mix_inputs(data, dropped=0.5, seed=3), verbose=0).history
    x = drawn(dropped=0.5, seed=3)
    v, z = (x @ model.layers[0].kernel.numpy() for model in (teacher, student))
    expected = ((v - z) ** 2).sum(axis=1).mean() / 2
    np.testing.assert_allclose(found["soft_loss"], [expected], rtol=1e-4)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: mix_inputs(X), "`dataset` must be a batched tf.data.Dataset"),
        (lambda: mix_inputs(DATA, dropped=1.5), "`dropped` must be a number in"),
        (
            lambda: mix_inputs(DATA.map(lambda x, y: (y, y))),
            "`dataset` must be one of batches of floating-point inputs",
        ),
        (
            lambda: mix_inputs(tf.data.Dataset.range(3).map(lambda x: x / 2)),
            "`dataset` must be one of batches of floating-point inputs",
        ),
        (
            lambda: mix_inputs(
                tf.data.Dataset.from_generator(
                    lambda: [X], output_signature=tf.TensorSpec(None)
                )
            ),
            "`dataset` must be one of batches of floating-point inputs",
        ),
    ],
)
def test_bad_arguments(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_what_is_mixed_is_not_cached_nor_what_is_cached_mixed(tmp_path):
    teacher, data = network(), DATA.map(lambda x, y: (x, y % 3))
    with pytest.raises(ValueError, match="the same on every pass"):
        cache_logits(teacher, mix_inputs(data, seed=3), tmp_path / "one")
    cached = cache_logits(teacher, data, tmp_path / "two")
    with pytest.raises(ValueError, match="must be one of inputs alone"):
        mix_inputs(cached)
