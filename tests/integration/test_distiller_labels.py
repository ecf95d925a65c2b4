"""Unlabelled and partly labelled data."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from distillation_cases import LOGITS, X, Y, cross_entropy, network, softmax

import keras_compress as kc

T, ALPHA = 3.0, 0.7
UNKNOWN = np.arange(96) % 3 == 0
ONE_HOT = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.1)


def distiller_of(student, teacher, loss=LOGITS, mode="two_objectives", **arguments):
    distiller = kc.Distiller(student, teacher, temperature=T, alpha=ALPHA, mode=mode)
    distiller.compile("sgd", loss, **arguments)
    return distiller


def soft_by_hand(mode, student, teacher):
    z, v = (model.predict(X, verbose=0) for model in (student, teacher))
    if mode == "logits":
        return ALPHA * 0.5 * ((z - v) ** 2).sum(axis=-1)
    factor = T**2 if mode == "two_objectives" else 1.0
    return ALPHA * factor * cross_entropy(softmax(v / T), z / T)


@pytest.mark.parametrize("mode", ["two_objectives", "mixed_target", "logits"])
@pytest.mark.parametrize("as_data", [False, True])
def test_without_labels_there_is_the_soft_term_alone(mode, as_data):
    student, teacher = network(), network(12)
    distiller = distiller_of(student, teacher, mode=mode, metrics=["accuracy"])
    expected = soft_by_hand(mode, student, teacher).mean()
    data = tf.data.Dataset.from_tensor_slices(X).batch(32) if as_data else X
    assert distiller.evaluate(data, verbose=0, return_dict=True)[
        "loss"
    ] == pytest.approx(expected, rel=1e-5)
    history = distiller.fit(data, epochs=2, validation_data=(X, Y), verbose=0).history
    assert "val_accuracy" in history
    assert "accuracy" not in history
    assert history["loss"][1] < history["loss"][0]


def test_without_labels_no_loss_is_needed():
    distiller = kc.Distiller(network(), network(12))
    distiller.compile("sgd")
    distiller.fit(X, verbose=0)
    distiller = kc.Distiller(network(), network(12), mode="mixed_target")
    distiller.compile("sgd")
    distiller.fit(X, Y, verbose=0)


@pytest.mark.parametrize("mode", ["two_objectives", "mixed_target", "logits"])
@pytest.mark.parametrize("kind", ["classes", "column", "one-hot", "int32"])
def test_unknown_labels_leave_the_soft_term(mode, kind):
    student, teacher = network(), network(12)
    y = np.where(UNKNOWN, -1, Y)
    loss, smooth = LOGITS, 0.0
    if kind == "column":
        y = y[:, None]
    elif kind == "int32":
        y = y.astype("int32")
    elif kind == "one-hot":
        y = np.where(UNKNOWN[:, None], 0.0, np.eye(3)[Y])
        loss, smooth = ONE_HOT, 0.1
    soft = soft_by_hand(mode, student, teacher)
    z = student.predict(X, verbose=0)
    labels = np.eye(3)[Y]
    if mode == "mixed_target":
        hard = (1 - ALPHA) * cross_entropy(labels, z / T)
    else:
        labels = (1 - smooth) * labels + smooth / 3
        hard = (1 - ALPHA) * cross_entropy(labels, z)
    expected = np.where(UNKNOWN, soft, soft + hard).mean()
    distiller = distiller_of(student, teacher, loss, mode)
    found = distiller.evaluate(X, y, batch_size=96, verbose=0)[0]
    assert found == pytest.approx(expected, rel=1e-5)


def test_unknown_binary_labels():
    student, teacher = (network(n, "sigmoid", classes=1) for n in (8, 12))
    y = np.where(UNKNOWN, -1, Y % 2)
    distiller = distiller_of(student, teacher, "binary_crossentropy")
    p, q = (model.predict(X, verbose=0)[:, 0] for model in (teacher, student))
    v, z = np.log(p / (1 - p)), np.log(q / (1 - q))
    pairs = [np.stack([x, 0 * x], axis=-1) for x in (v, z)]
    soft = ALPHA * T**2 * cross_entropy(softmax(pairs[0] / T), pairs[1] / T)
    labels = np.stack([y, 1 - y], axis=-1)
    hard = (1 - ALPHA) * cross_entropy(labels, pairs[1])
    expected = np.where(UNKNOWN, soft, soft + hard).mean()
    for labels in (y, y[:, None].astype("float32")):
        found = distiller.evaluate(X, labels, batch_size=96, verbose=0)[0]
        assert found == pytest.approx(expected, rel=1e-4)


def test_unknown_labels_and_sample_weights_together():
    student, teacher = network(), network(12)
    weights = np.random.default_rng(1).random(96)
    y = np.where(UNKNOWN, -1, Y)
    soft = soft_by_hand("two_objectives", student, teacher)
    hard = (1 - ALPHA) * cross_entropy(np.eye(3)[Y], student.predict(X, verbose=0))
    expected = (weights * np.where(UNKNOWN, soft, soft + hard)).mean()
    distiller = distiller_of(
        student, teacher, metrics=[], weighted_metrics=["accuracy"]
    )
    found = distiller.evaluate(
        *(X, y), sample_weight=weights, batch_size=96, verbose=0, return_dict=True
    )
    assert found["loss"] == pytest.approx(expected, rel=1e-4)
    right = student.predict(X, verbose=0).argmax(-1) == Y
    known = weights * ~UNKNOWN
    assert found["accuracy"] == pytest.approx((known * right).sum() / known.sum(), 1e-4)


def test_partly_labelled_data_train():
    distiller = distiller_of(network(), network(12), jit_compile=True)
    history = distiller.fit(
        X, np.where(UNKNOWN, -1, Y), epochs=5, batch_size=16, verbose=0
    ).history
    assert np.isfinite(history["loss"]).all()
    assert history["loss"][-1] < history["loss"][0]


def test_a_batch_without_any_label():
    distiller = distiller_of(network(), network(12))
    history = distiller.fit(X, np.full(96, -1), verbose=0).history
    assert history["hard_loss"] == [0.0]
    assert np.isfinite(history["loss"]).all()


def test_labels_may_come_later():
    distiller = distiller_of(network(), network(12), metrics=["accuracy"])
    assert "accuracy" not in distiller.fit(X, verbose=0).history
    assert "accuracy" in distiller.fit(X, Y, verbose=0).history
    assert "accuracy" not in distiller.fit(X, verbose=0).history
    function = distiller.train_function
    distiller.fit(X, Y, verbose=0)
    assert distiller.train_function is function, "compiled once"


def test_unlabelled_batches_are_traced_once():
    distiller = distiller_of(network(), network(12), metrics=["accuracy"])
    functions = []
    for _ in range(3):
        distiller.train_on_batch(X[:32])
        functions.append(distiller.train_function)
    assert functions[0] is functions[1] is functions[2]
    assert "accuracy" in distiller.train_on_batch(X[:32], Y[:32], return_dict=True)


@pytest.mark.parametrize("eagerly", [False, True])
def test_two_outputs_may_have_the_same_labels(eagerly):
    inputs = keras.Input((4,))

    def model():
        outputs = {name: keras.layers.Dense(3, name=name)(inputs) for name in "cd"}
        return keras.Model(inputs, outputs)

    distiller = kc.Distiller(model(), model(), alpha=0.5)
    distiller.compile("sgd", {"c": LOGITS, "d": LOGITS}, run_eagerly=eagerly)
    x, y = tf.constant(X[:, :4]), tf.constant(Y)
    found = distiller.test_on_batch(x, {"c": y, "d": y}, return_dict=True)
    expected = distiller.test_on_batch(x, {"c": y, "d": y + 0}, return_dict=True)
    assert found["loss"] == pytest.approx(expected["loss"])
