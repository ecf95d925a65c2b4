"""Models of every shape that `swap` and `pack` must carry over."""

import keras
import numpy as np
from keras import layers

import keras_compress as kc
from keras_compress._copies import all_layers
from keras_compress.layers.pruned import is_pruned


def sequential():
    return keras.Sequential(
        [
            keras.Input((6,)),
            layers.Dense(8, activation="relu", name="fc1"),
            layers.Dropout(0.5, name="drop"),
            layers.Dense(3, name="fc2"),
        ],
        name="sequential",
    )


def deferred():
    """A Sequential model without an Input, built by a call."""
    model = keras.Sequential(
        [layers.Dense(8, name="fc1"), layers.Dense(3, name="fc2")], name="deferred"
    )
    model(np.zeros((1, 6), "float32"))
    return model


def residual():
    inputs = keras.Input((6,))
    hidden = layers.Dense(6, activation="relu", name="fc1")(inputs)
    hidden = layers.BatchNormalization(name="norm")(hidden)
    hidden = layers.Dropout(0.5, name="drop")(hidden)
    outputs = layers.Dense(2, name="fc2")(layers.Add(name="sum")([inputs, hidden]))
    return keras.Model(inputs, outputs, name="residual")


def several_inputs_and_outputs():
    one, two = keras.Input((6,), name="one"), keras.Input((4,), name="two")
    joined = layers.Concatenate(name="join")([one, layers.Dense(5, name="fc1")(two)])
    outputs = {
        "left": layers.Dense(2, name="left")(joined),
        "right": layers.Dense(3, name="right")(joined),
    }
    return keras.Model({"one": one, "two": two}, outputs, name="several")


def shared():
    """One layer used twice, and operations that are no layers."""
    inputs = keras.Input((6,))
    layer = layers.Dense(6, name="fc1")
    return keras.Model(inputs, layer(layer(inputs) * 2.0) + inputs, name="shared")


def nested():
    """Three deep, the middle used twice."""
    innermost = keras.Sequential(
        [
            keras.Input((6,)),
            layers.Dense(6, activation="relu", name="fc1"),
            layers.Dropout(0.5, name="drop"),
        ],
        name="innermost",
    )
    inputs = keras.Input((6,))
    hidden = layers.Dense(6, name="fc2")(innermost(inputs))
    middle = keras.Model(inputs, hidden + inputs, name="middle")
    inputs = keras.Input((6,))
    outputs = layers.Dense(2, name="fc3")(middle(middle(inputs)))
    return keras.Model(inputs, outputs, name="nested")


def in_time():
    """Layers inside wrappers, a whole model inside one, and a Lambda."""
    inner = keras.Sequential([keras.Input((6,)), layers.Dense(5, name="fc2")])
    inputs = keras.Input((4, 6))
    hidden = layers.TimeDistributed(layers.Dense(6, name="fc1"), name="each")(inputs)
    hidden = layers.TimeDistributed(inner, name="every")(hidden)
    hidden = layers.Lambda(lambda x: x + 1.0, output_shape=(4, 5), name="plus")(hidden)
    hidden = layers.Bidirectional(layers.GRU(3, name="gru"), name="both")(hidden)
    return keras.Model(inputs, layers.Dense(2, name="fc3")(hidden), name="in_time")


def convolutional():
    return keras.Sequential(
        [
            keras.Input((12, 10, 2)),
            layers.Conv2D(8, 3, strides=2, padding="same", name="conv1"),
            layers.BatchNormalization(name="norm"),
            layers.ReLU(name="relu"),
            layers.SpatialDropout2D(0.2, name="drop"),
            layers.Conv2D(8, (2, 3), dilation_rate=2, use_bias=False, name="conv2"),
            layers.Conv2D(8, 1, groups=2, activation="tanh", name="conv3"),
            layers.Flatten(name="flat"),
            layers.Dense(3, name="fc1"),
        ],
        name="convolutional",
    )


MODELS = [
    sequential,
    deferred,
    residual,
    several_inputs_and_outputs,
    shared,
    nested,
    in_time,
    convolutional,
]

SUPPORTED = {
    "sequential": 2,
    "deferred": 2,
    "residual": 2,
    "several": 3,
    "shared": 1,
    "nested": 3,
    "in_time": 3,
    "convolutional": 4,
}
"""How many Dense and Conv2D layers there are in each."""


def scramble(model, seed=1):
    """Initial biases, means and variances would hide what was not carried over."""
    random = np.random.default_rng(seed)
    for variable in model.weights:
        variable.assign(0.5 + 0.3 * random.random(variable.shape))


def samples(model, count=5, seed=2):
    random = np.random.default_rng(seed)

    def draw(tensor):
        return random.standard_normal((count, *tensor.shape[1:])).astype("float32")

    if isinstance(model, keras.Sequential):
        return draw(model.inputs[0])
    return keras.tree.map_structure(draw, model.input)


def pruned(make, sparsity, **config):
    """The model, swapped and pruned, with kernels around zero."""
    model = make()
    scramble(model)
    model = kc.swap(model, kc.Prune(**config))
    random = np.random.default_rng(5)
    for layer in all_layers(model):
        if is_pruned(layer):
            layer.kernel.assign(random.standard_normal(layer.kernel.shape))
            layer.prune(sparsity=sparsity)
    return model


def assert_close(one, other):
    """The same structure, and the same numbers to float32 rounding."""
    keras.tree.assert_same_structure(one, other)
    for left, right in zip(
        keras.tree.flatten(one), keras.tree.flatten(other), strict=True
    ):
        np.testing.assert_allclose(left, right, rtol=2e-5, atol=2e-5)
