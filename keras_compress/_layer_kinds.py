"""Layers of Keras, and ours, by what they do to the channels of a tensor."""

import keras
import numpy as np
from keras import layers

from keras_compress._copies import all_layers
from keras_compress._rebuild import is_graph
from keras_compress.layers.pruned import (
    PrunedConv1D,
    PrunedConv2D,
    PrunedDense,
    PrunedDepthwiseConv2D,
)

DENSE = (layers.Dense, PrunedDense)
CONVOLUTION = (
    *(layers.Conv1D, layers.Conv2D, layers.Conv3D),
    *(PrunedConv1D, PrunedConv2D),
)
DEPTHWISE = (layers.DepthwiseConv1D, layers.DepthwiseConv2D, PrunedDepthwiseConv2D)

# Of each channel by itself: no softmax.
ACTIVATIONS = [
    getattr(keras.activations, name, None)
    for name in (
        *("linear", "relu", "relu6", "leaky_relu", "elu", "selu", "gelu", "silu"),
        *("tanh", "sigmoid", "hard_sigmoid", "hard_tanh", "hard_silu", "softplus"),
        *("softsign", "exponential", "mish", "celu", "log_sigmoid", "squareplus"),
    )
]

# They do nothing once training is over.
TRAINING_ONLY = (
    layers.ActivityRegularization,
    layers.AlphaDropout,
    layers.Dropout,
    layers.GaussianDropout,
    layers.GaussianNoise,
    layers.SpatialDropout1D,
    layers.SpatialDropout2D,
    layers.SpatialDropout3D,
)
OF_EACH_CHANNEL = (layers.ELU, layers.LeakyReLU, layers.ReLU)
PADDING = (layers.ZeroPadding1D, layers.ZeroPadding2D, layers.ZeroPadding3D)
POOLING = tuple(
    getattr(layers, f"{name}{axes}D")
    for axes in (1, 2, 3)
    for name in (
        *("AveragePooling", "Cropping", "GlobalAveragePooling"),
        *("GlobalMaxPooling", "MaxPooling", "UpSampling"),
    )
)
# By name, for those of `x + y` are operations that Keras does not export.
SUMS = {
    "Add": np.add,
    "Subtract": np.subtract,
    "Multiply": np.multiply,
    "Divide": np.divide,
    "TrueDivide": np.divide,
    "Maximum": np.maximum,
    "Minimum": np.minimum,
}


def is_of_each(activation):
    """Whether an activation is known to treat every channel by itself."""
    return any(activation is known for known in (None, *ACTIVATIONS))


def is_padded(layer):
    """Whether a convolution reads zeros at the edges."""
    return layer.padding != "valid" and any(side != 1 for side in layer.kernel_size)


def is_sum(layer):
    """Whether it is a layer or an operation that joins tensors number by number."""
    kind = type(layer)
    exported = getattr(layers, kind.__name__, None)
    return kind.__name__ in SUMS and (
        kind is exported or not isinstance(layer, keras.Layer)
    )


def acts_as_in_training(arguments):
    """Whether a call insists on acting as in training."""
    return bool(arguments.kwargs.get("training")) or True in [
        argument for argument in arguments.args if isinstance(argument, bool)
    ]


def always_trains(layer):
    """Whether some call of the layer insists on acting as in training."""
    return any(acts_as_in_training(node.arguments) for node in layer._inbound_nodes)


def check_inference(name, model):
    """Raises where a model inside `model` is called so as to act as in training."""
    for layer in all_layers(model):
        if layer is not model and is_graph(layer) and always_trains(layer):
            raise ValueError(
                f"`{name}` must call the models inside it as in inference. Received: "
                f"{model.name!r}, which calls {layer.name!r} with training=True. Call "
                "only those layers in it so that shall act as in training."
            )


def is_changed(layer):
    """Whether Keras computes with more than the layer's kernel: quantized, or LoRA."""
    return bool(
        getattr(layer, "quantization_mode", None)
        or getattr(layer, "lora_enabled", False)
    )
