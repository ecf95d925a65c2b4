"""How a trained bitwise layer, with what stands behind it, becomes a packed one."""

import numpy as np
from keras.layers import MaxPooling2D

from keras_compress.functional.signs import pack_bits
from keras_compress.layers._bitwise_fold import end_of, flips_of, kernel_of
from keras_compress.layers._config import arguments_of, copy_variables
from keras_compress.layers.bitwise import BitwiseDense
from keras_compress.layers.packed.packed_bitwise import (
    PackedBitwiseConv2D,
    PackedBitwiseDense,
)
from keras_compress.layers.packed.packed_pooling import PackedMaxPooling2D


def packed_layer(piece, name):
    """The packed form of a piece.

    Args:
        piece: A `Piece`.
        name: Name of the new layer.

    Returns:
        The new layer, unbuilt, and a function of no arguments to call after it is
        built.
    """
    layer = piece.layer
    kernel = kernel_of(layer)
    end = end_of(piece)
    flags = {
        "masked": not kernel.all(),
        "counted": bool(np.any(end.get("added", 0))),
        "scaled": end.get("scale") is not None,
        "use_bias": end.get("bias") is not None,
        "bias_first": end.pop("bias_first", False),
    }
    if type(layer) is BitwiseDense:
        new_class, geometry = PackedBitwiseDense, {"units": layer.units}
    else:
        names = ("filters", "kernel_size", "strides", "padding", "data_format")
        geometry = {key: getattr(layer, key) for key in (*names, "dilation_rate")}
        new_class = PackedBitwiseConv2D
    activation = None if piece.bits else arguments_of(layer)["activation"]
    new = new_class(
        **geometry,
        **flags,
        **_inputs_of(piece),
        name=name,
        dtype=layer.dtype_policy,
        outputs="bits" if piece.bits else "float32",
        activation=activation,
    )

    def fill():
        copy_variables(layer, new)  # of an activation that is a layer
        new.fill(kernel, **end)

    return new, fill


def packed_moving(piece, layer):
    """The packed form of a layer behind a piece that moves its bits about.

    Args:
        piece: A `Piece` that gives bits, `layer` being in its `behind`.
        layer: A `MaxPooling2D`, `ZeroPadding2D` or `Flatten`.

    Returns:
        The new layer, unbuilt, and a function of no arguments to call after it is
        built.
    """
    if type(layer) is not MaxPooling2D:
        # It works on words as it is: a zero is 32 times +1, the sign of 0.
        return type(layer).from_config(layer.get_config()), lambda: None
    flips = flips_of(piece, layer)
    new = PackedMaxPooling2D(
        layer.pool_size,
        strides=layer.strides,
        padding=layer.padding,
        flipped=bool(flips.any()),
        name=layer.name,
        dtype=layer.dtype_policy,
    )

    def fill():
        if new.flips is not None:
            new.flips.assign(pack_bits(flips))

    return new, fill


def _inputs_of(piece):
    """The arguments that say how inputs become bits."""
    layer = piece.layer
    if piece.channels is not None:
        return {"inputs": "packed", "channels": piece.channels}
    if piece.coding is not None:
        inputs = "bipolar" if layer.inputs == "sign" else layer.inputs
        return {"inputs": inputs, "threshold": piece.coding.threshold}
    return {"inputs": layer.inputs, "bits": layer.bits}
