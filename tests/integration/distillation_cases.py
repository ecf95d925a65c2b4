"""Students, teachers and data that tests of distillation share."""

import keras
import numpy as np
from keras import layers

RANDOM = np.random.default_rng(0)
X = RANDOM.standard_normal((96, 6)).astype("float32")
Y = RANDOM.integers(3, size=96)
LOGITS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def network(hidden=8, activation=None, *, classes=3, dropout=0.0, **arguments):
    """A small classifier with layers `hidden` and `classes`."""
    return keras.Sequential(
        [
            keras.Input((6,)),
            layers.Dense(hidden, activation="tanh", name="hidden", **arguments),
            layers.Dropout(dropout),
            layers.Dense(classes, activation=activation, name="classes", **arguments),
        ]
    )


def values_of(*models):
    """Copies of all variables, states of random numbers included."""
    return [one.numpy() for model in models for one in model.variables]


def assert_same_values(before, after):
    """No variable differs by one bit."""
    for one, other in zip(before, after, strict=True):
        np.testing.assert_array_equal(one, other)


def softmax(logits):
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def cross_entropy(targets, logits):
    return -(targets * np.log(softmax(logits))).sum(axis=-1)
