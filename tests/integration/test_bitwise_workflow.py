"""A float classifier of digits becomes bits: swap, fit, pack, export, report, CLI."""

import json
import math

import click.testing
import keras
import numpy as np
import pytest
import tensorflow as tf
from bitwise_cases import binarized, convolutional

import keras_compress as kc
from keras_compress.cli import main


def run(*words):
    result = click.testing.CliRunner().invoke(main, [str(word) for word in words])
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


@pytest.fixture(scope="module")
def trained(small_digits):
    keras.utils.set_random_seed(1)
    layers = [keras.Input((small_digits.x_train.shape[1],))]
    for i, units in enumerate((256, 256, 10)):
        layers += [
            keras.layers.Dense(units, name=f"fc{i + 1}"),
            keras.layers.BatchNormalization(momentum=0.9),
            keras.layers.ReLU(),
        ]
    model = keras.Sequential(layers[:-1])
    bitwise = kc.swap(model, kc.Bitwise(inputs="bits", bits=2, straight_through="clip"))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    bitwise.compile(keras.optimizers.Adam(0.003), loss, metrics=["accuracy"])
    train = small_digits.x_train, small_digits.y_train
    callbacks = [kc.callbacks.Binarization()]
    bitwise.fit(*train, epochs=12, batch_size=128, callbacks=callbacks, verbose=0)
    return bitwise


def test_digits_from_training_to_serving(trained, small_digits, tmp_path):
    source, target = tmp_path / "bitwise.keras", tmp_path / "packed.keras"
    trained.save(source)
    x, y = small_digits.x_test, small_digits.y_test
    scores = trained.predict(x, verbose=0)
    assert np.mean(scores.argmax(axis=1) == y) > 0.85
    packed = run("pack", source, target, "--json")
    assert set(packed["layers"].values()) == {"PackedBitwiseChain"}
    loaded = keras.models.load_model(target)
    np.testing.assert_array_equal(loaded.predict(x, verbose=0), scores)
    test = loaded.evaluate(x, y, verbose=0, return_dict=True)
    assert test["accuracy"] == pytest.approx(np.mean(scores.argmax(axis=1) == y))
    run("export", target, tmp_path / "served", "--json")
    run("export", target, tmp_path / "portable", "--portable", "--json")
    for folder in ("served", "portable"):
        served = tf.saved_model.load(tmp_path / folder)
        np.testing.assert_array_equal(served.serve(tf.constant(x)), scores)
    function = loaded.layers[-1].as_function()
    np.testing.assert_array_equal(function(tf.constant(x)), scores)
    table = run("report", source, target, "--json")
    sizes = [model["memory_bytes"] for model in table["models"]]
    assert sizes[1] < sizes[0] / 15


def test_a_report_counts_bits():
    model = binarized(convolutional(), sparsity=0.25)
    packed = kc.pack(model)
    report = kc.report(model, packed)
    before, after = report.models
    assert after.weights == before.weights
    assert after.weights_kept == before.weights_kept
    rows = {layer.name: layer for layer in after.layers}
    multiplied = {layer.name: layer.multiply_adds for layer in before.layers}
    chain = rows["fc2"]
    assert chain.weights == before.weights
    assert chain.weights_kept == before.weights_kept
    products = ("conv1", "conv2", "conv3", "fc1", "fc2")
    work = sum(multiplied[name] for name in products)
    assert chain.multiply_adds == chain.executed_multiply_adds == work
    # conv2 reads 9 pixels of 40 channels, in two words each: 33 filters in 3 panels of
    # 16, for signs and mask; 33 counts and thresholds, and bits for 33 flips.
    conv2 = packed.layers[-1].members[3]
    size = sum(4 * math.prod(variable.shape) for variable in conv2.variables)
    assert size == 4 * (2 * 3 * 9 * 2 * 16 + 33 + 33 + 2)
    assert chain.memory_bytes > size
    energies = "the energy of 1-bit arithmetic is not in Horowitz's table."
    assert any(energies in note for note in report.notes)
