"""Batch normalisations folded into the layers before them."""

import keras
import numpy as np
import pytest
from keras import layers as kl

import keras_compress as kc

RANDOM = np.random.default_rng(0)


def scrambled(model):
    for variable in model.variables:
        if "float" in variable.dtype:
            variable.assign(RANDOM.uniform(0.5, 1.5, variable.shape))
    return model


def check(model, kinds, shape):
    folded = kc.fold_batch_normalization(scrambled(model))
    assert [type(layer).__name__ for layer in folded.layers] == kinds
    inputs = RANDOM.standard_normal((5, *shape)).astype("float32")
    np.testing.assert_allclose(
        folded.predict(inputs, verbose=0),
        model.predict(inputs, verbose=0),
        rtol=1e-4,
        atol=1e-4,
    )
    return folded


def test_a_chain_of_layers():
    model = keras.Sequential(
        [
            keras.Input((8, 8, 2)),
            kl.Conv2D(4, 3, use_bias=False),
            kl.BatchNormalization(),
            kl.ReLU(),
            kl.Flatten(),
            kl.Dense(5, name="fc"),
            kl.BatchNormalization(scale=False, center=False, epsilon=0.1),
            kl.Activation("tanh"),
            kl.Dense(3),
        ]
    )
    model.compile("sgd", "mse")
    kinds = ["Conv2D", "ReLU", "Flatten", "Dense", "Activation", "Dense"]
    folded = check(model, kinds, (8, 8, 2))
    assert folded.compiled
    small = kc.swap(folded, kc.FixedPoint(kernel=kc.QFormat(3, 4)), where="fc")
    assert type(small.get_layer("fc")) is kc.layers.FixedPointDense


def test_channels_first_and_nested_models():
    inner = keras.Sequential(
        [
            keras.Input((2, 6, 6)),
            kl.ZeroPadding2D(1, data_format="channels_first"),
            kl.BatchNormalization(axis=1),
        ]
    )
    model = keras.Sequential(
        [keras.Input((6,)), kl.Dense(4), kl.BatchNormalization(), kl.Dense(2)]
    )
    check(model, ["Dense", "Dense"], (6,))
    with pytest.raises(ValueError, match="right behind"):
        kc.fold_batch_normalization(inner)


def test_what_cannot_be_folded_stays():
    inputs = keras.Input((6,))
    hidden = kl.Dense(6, name="twice")(inputs)
    one = kl.BatchNormalization(name="shared")(hidden)
    other = kl.Dense(6, activation="relu")(hidden)
    other = kl.BatchNormalization(name="active")(other)
    last = kl.BatchNormalization(name="folds")(kl.Dense(6)(inputs))
    model = keras.Model(inputs, kl.Add()([one, other, last]))
    folded = kc.fold_batch_normalization(scrambled(model))
    names = {layer.name for layer in folded.layers}
    assert {"shared", "active"} <= names
    assert "folds" not in names
    x = RANDOM.standard_normal((4, 6)).astype("float32")
    np.testing.assert_allclose(
        folded.predict(x, verbose=0), model.predict(x, verbose=0), rtol=1e-4, atol=1e-4
    )


def test_normalisation_by_the_batch_stays():
    inputs = keras.Input((6,))
    hidden = kl.BatchNormalization(name="folds")(kl.Dense(6)(inputs))
    hidden = kl.BatchNormalization(name="stays")(kl.Dense(6)(hidden), training=True)
    model = scrambled(keras.Model(inputs, hidden))
    folded = kc.fold_batch_normalization(model)
    assert [x.name for x in folded.layers if type(x) is kl.BatchNormalization] == [
        "stays"
    ]
    x = RANDOM.standard_normal((8, 6)).astype("float32")
    for run in (keras.Model.predict_on_batch, lambda net, x: net(x).numpy()):
        np.testing.assert_allclose(run(folded, x), run(model, x), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("compress", [kc.fold_batch_normalization, kc.pack])
def test_models_inside_that_always_train_are_refused(compress):
    def model(training):
        inner = keras.Sequential(
            [keras.Input((6,)), kl.Dense(6), kl.BatchNormalization()], name="inner"
        )
        inputs = keras.Input((6,))
        outputs = inner(inputs, training=training)
        net = scrambled(keras.Model(inputs, outputs, name="whole"))
        return kc.swap(net, kc.Prune()) if compress is kc.pack else net

    with pytest.raises(ValueError, match="'whole', which calls 'inner' with training"):
        compress(model(True))
    one = model(False)
    x = RANDOM.standard_normal((8, 6)).astype("float32")
    np.testing.assert_allclose(
        compress(one).predict_on_batch(x), one.predict_on_batch(x), rtol=1e-4, atol=1e-4
    )
