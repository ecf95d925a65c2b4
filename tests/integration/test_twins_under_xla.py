"""Packed layers compile under XLA where their ops are twins, as the README says."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers as kl

import keras_compress as kc

STEPS = kc.FixedPoint(
    kernel=kc.QFormat(0, 7), inputs=kc.QFormat(2, 5), outputs=kc.QFormat(3, 4)
)
CONFIGS = {
    "sparse": kc.Prune(),
    "blocks": kc.Prune(pattern=(1, 16)),
    "low rank": kc.LowRank(rank=2),
    "integers": STEPS,
    "bits": kc.Bitwise(),
}


def dense():
    hidden = kl.Dense(32, "relu", name="fc1")
    return keras.Sequential([keras.Input((64,)), hidden, kl.Dense(8, name="fc2")])


def convolutional():
    hidden = [kl.Conv2D(16, 3, activation="relu"), kl.MaxPooling2D(), kl.Flatten()]
    return keras.Sequential([keras.Input((8, 8, 4)), *hidden, kl.Dense(8)])


@pytest.mark.parametrize("batch", [1, 64])
@pytest.mark.parametrize("kind", CONFIGS)
@pytest.mark.parametrize("make", [dense, convolutional])
def test_twins_compile(make, kind, batch):
    model = kc.swap(make(), CONFIGS[kind])
    for layer in model.layers:
        if hasattr(layer, "prune"):
            layer.prune(sparsity=0.9)
        if hasattr(layer, "binarize"):
            layer.binarize()
    packed = kc.pack(model, batch=batch)
    shape = (batch, *model.inputs[0].shape[1:])
    x = np.random.default_rng(1).choice([-1.0, 1.0], size=shape).astype("float32")
    with kc.ops.twins():
        found = tf.function(packed, jit_compile=True)(x)
    np.testing.assert_allclose(found, model(x), rtol=1e-5, atol=1e-5)
