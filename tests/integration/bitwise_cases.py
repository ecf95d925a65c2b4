"""Bitwise models of every shape, binarized, with numbers that leave nothing out."""

import keras
import numpy as np
from keras import layers

from keras_compress._copies import all_layers
from keras_compress.layers import (
    BipolarCoding,
    BitsCoding,
    BitwiseActivation,
    BitwiseConv2D,
    BitwiseDense,
    LloydMaxCoding,
    ZeroOneCoding,
)
from keras_compress.layers._bitwise_kernel import is_bitwise
from keras_compress.layers._stages import is_staged


def unit(tensor, name, **normalisation):
    """Batch normalisation and sign, as they stand behind a layer."""
    tensor = layers.BatchNormalization(name=f"{name}_norm", **normalisation)(tensor)
    return BitwiseActivation(name=f"{name}_sign")(tensor)


def mlp(inputs="bipolar", pixels=70):
    return keras.Sequential(
        [
            keras.Input((pixels,)),
            BitwiseDense(45, inputs=inputs, bits=3, name="fc1"),
            layers.BatchNormalization(),
            BitwiseActivation(),
            layers.Dropout(0.5),
            BitwiseDense(33, activation="bitwise", bitwise_bias=False, name="fc2"),
            BitwiseDense(40, scale=True, activation="relu", name="fc3"),
            layers.BatchNormalization(scale=False),
            layers.Activation("tanh"),
            BitwiseDense(7, name="fc4"),
            layers.BatchNormalization(name="scores"),
        ]
    )


def convolutional():
    return keras.Sequential(
        [
            keras.Input((12, 11, 3)),
            BitwiseConv2D(40, 3, padding="same", use_bias=False, name="conv1"),
            layers.MaxPooling2D(name="pool1"),
            layers.BatchNormalization(),
            BitwiseActivation(),
            layers.SpatialDropout2D(0.5),
            layers.ZeroPadding2D(1, name="pad"),
            BitwiseConv2D(33, 3, strides=2, activation="bitwise", name="conv2"),
            layers.MaxPooling2D(2, padding="same", name="pool2"),
            BitwiseConv2D(20, 2, padding="same", dilation_rate=2, name="conv3"),
            layers.BatchNormalization(),
            layers.MaxPooling2D((2, 1), name="pool3"),
            layers.BatchNormalization(),
            BitwiseActivation(),
            layers.Flatten(name="flat"),
            BitwiseDense(50, activation="bitwise", name="fc1"),
            BitwiseDense(7, scale=True, name="fc2"),
        ]
    )


def real_at_both_ends():
    return keras.Sequential(
        [
            keras.Input((20,)),
            layers.Dense(40),
            layers.BatchNormalization(),
            BitwiseActivation(),
            BitwiseDense(50, name="fc1"),
            layers.BatchNormalization(),
            BitwiseActivation(),
            BitwiseDense(60, activation="bitwise", name="fc2"),
            layers.Dense(3, activation="softmax"),
        ]
    )


def residual():
    inputs = keras.Input((40,))
    hidden = unit(BitwiseDense(40, name="fc1")(inputs), "one")
    other = unit(BitwiseDense(40, name="fc2")(hidden), "two")
    hidden = layers.Add()([hidden, other])
    hidden = unit(BitwiseDense(40, name="fc3")(hidden), "three")
    return keras.Model(inputs, BitwiseDense(5, name="fc4")(hidden) * 2.0)


def forked():
    """One layer for two others, and for the world."""
    inputs = keras.Input((40,))
    hidden = unit(BitwiseDense(70, name="fc1")(inputs), "one")
    left = unit(BitwiseDense(35, name="left")(hidden), "two")
    right = BitwiseDense(35, activation="bitwise", name="right")(hidden)
    outputs = {
        "left": BitwiseDense(3, name="left_out")(left),
        "right": BitwiseDense(4, name="right_out")(right),
        "taken": right,
    }
    return keras.Model(inputs, outputs)


def shared():
    """One layer, its normalisation and its sign for two inputs, and in a loop."""
    one, two = keras.Input((40,), name="one"), keras.Input((40,), name="two")
    first = BitwiseDense(40, name="fc1")
    norm, sign = layers.BatchNormalization(), BitwiseActivation()
    left, right = sign(norm(first(one))), sign(norm(first(two)))
    loop = BitwiseDense(40, activation="bitwise", name="fc2")
    last = BitwiseDense(3, name="fc3")
    return keras.Model([one, two], [last(loop(loop(left))), last(loop(right))])


def nested():
    inputs = keras.Input((40,))
    hidden = BitwiseDense(40, activation="bitwise", name="fc1")(inputs)
    hidden = unit(BitwiseDense(40, name="fc2")(hidden), "inner")
    inner = keras.Model(inputs, hidden, name="inner")
    inputs = keras.Input((40,))
    hidden = BitwiseDense(40, activation="bitwise", name="fc3")(inputs)
    return keras.Model(inputs, BitwiseDense(3, name="fc4")(inner(inner(hidden))))


def in_time():
    inputs = keras.Input((4, 30))
    hidden = layers.TimeDistributed(BitwiseDense(40, name="fc1"))(inputs)
    hidden = unit(BitwiseDense(33, name="fc2")(hidden), "two")
    hidden = BitwiseDense(35, activation="bitwise", name="fc3")(hidden)
    outputs = BitwiseDense(3, name="fc4")(layers.Flatten()(hidden))
    return keras.Model(inputs, outputs)


def averaged():
    """Averages of bits are no bits; a norm behind `Flatten` is not one a unit."""
    inputs = keras.Input((8, 8, 2))
    hidden = BitwiseConv2D(6, 3, groups=2, activation="bitwise", name="conv1")(inputs)
    hidden = layers.AveragePooling2D(2)(hidden)
    hidden = BitwiseConv2D(9, 2, activation="bitwise", name="conv2")(hidden)
    hidden = layers.BatchNormalization()(layers.Flatten()(hidden))
    hidden = BitwiseDense(8, name="fc1")(hidden)
    return keras.Model(inputs, BitwiseDense(3, name="fc2")(hidden))


def channels_first():
    first = {"data_format": "channels_first"}
    return keras.Sequential(
        [
            keras.Input((2, 9, 8)),
            BitwiseConv2D(35, 3, padding="same", activation="bitwise", **first),
            layers.BatchNormalization(axis=1),
            BitwiseConv2D(6, 2, scale=True, inputs="zero_one", **first),
            layers.Flatten(data_format="channels_first"),
            BitwiseDense(3),
        ]
    )


def coded(coding, **arguments):
    """A coding that is a layer, before a convolution with zeros at its border."""
    inputs = "zero_one" if coding is ZeroOneCoding else "sign"
    return keras.Sequential(
        [
            keras.Input((6, 5, 2)),
            coding(name="coding", **arguments),
            BitwiseConv2D(33, 3, padding="same", inputs=inputs, name="conv1"),
            layers.BatchNormalization(),
            BitwiseActivation(),
            layers.Flatten(),
            BitwiseDense(3, inputs="sign", name="fc1"),
        ]
    )


MODELS = {
    "bipolar": lambda: mlp("bipolar"),
    "zero_one": lambda: mlp("zero_one"),
    "bits": lambda: mlp("bits"),
    "sign": lambda: mlp("sign"),
    "convolutional": convolutional,
    "real_at_both_ends": real_at_both_ends,
    "residual": residual,
    "forked": forked,
    "shared": shared,
    "nested": nested,
    "in_time": in_time,
    "averaged": averaged,
    "channels_first": channels_first,
    "coded_bipolar": lambda: coded(BipolarCoding, threshold=0.25),
    "coded_zero_one": lambda: coded(ZeroOneCoding, threshold=0.75),
    "coded_bits": lambda: coded(BitsCoding, bits=2, code="gray"),
    "coded_levels": lambda: coded(LloydMaxCoding, bits=2, code="thermometer"),
}


def binarized(model, sparsity=0.0, seed=1):
    """The model in stage 2, with ties, gammas below and at zero, odd biases."""
    random = np.random.default_rng(seed)
    for layer in all_layers(model):
        if is_bitwise(layer) or isinstance(layer, layers.Dense):
            layer.kernel.assign(random.standard_normal(layer.kernel.shape))
            if layer.bias is not None:
                layer.bias.assign(random.standard_normal(layer.bias.shape))
        if isinstance(layer, layers.BatchNormalization):
            shape = layer.moving_mean.shape
            # Many are integers and halves, so that a sum meets the threshold.
            layer.moving_mean.assign(random.integers(-6, 7, shape) / 2)
            layer.moving_variance.assign(random.integers(0, 30, shape))
            if layer.beta is not None:
                layer.beta.assign(random.integers(-2, 3, shape) / 2)
            if layer.gamma is not None:
                layer.gamma.assign(random.integers(-2, 3, shape))
        if is_bitwise(layer):
            layer.binarize(sparsity=sparsity)
        elif is_staged(layer):
            layer.binarize()
    return model


def samples(model, count=9, seed=2):
    """Pixels in [0, 1] for codings, of either sign for others."""
    random = np.random.default_rng(seed)

    def draw(tensor):
        values = random.integers(-4, 9, (count, *tensor.shape[1:])) / 8
        return values.astype("float32")

    if isinstance(model, keras.Sequential):
        return draw(model.inputs[0])
    return keras.tree.map_structure(draw, model.input)


def assert_same_bits(one, other):
    """The same structure of the same numbers, to the last bit."""
    keras.tree.assert_same_structure(one, other)
    for left, right in zip(
        keras.tree.flatten(one), keras.tree.flatten(other), strict=True
    ):
        np.testing.assert_array_equal(left, right)
