"""How `pack` makes a fixed-point layer one of integers."""

import dataclasses

import keras
import numpy as np
from keras import ops

from keras_compress.functional import integers
from keras_compress.functional.integer_blocks import blocks_pay, count_blocks
from keras_compress.layers._config import arguments_of, copy_activation
from keras_compress.layers.packed._integer_steps import holds, limits_of
from keras_compress.layers.packed.integer import IntegerConv2D, IntegerDense


def pack_integers(layer, place, batch=None):
    """The integer layer of a fixed-point one, and what fills it once it is built.

    Of 4 x 16 blocks it stores those that are not all zeros, where
    `functional.integer_blocks.blocks_pay` says so for this batch.

    Raises:
        ValueError: If it does not fit into the integers that kernels have.
    """
    name = layer.name
    if layer.noise_name == "float" or float(layer.finer.numpy()) != 1.0:
        raise ValueError(
            f"Layer {name!r} is not quantized to its formats yet. Fit to the end of "
            "QuantizationNoise, or call `set_noise()` of the layer."
        )
    if layer.kernel_format is None or layer.kernel_format.integer_bits is None:
        raise ValueError(
            f"The kernel of layer {name!r} needs a format with a width to be packed. "
            "Swap the model with one: keras_compress.FixedPoint(kernel=...)."
        )
    if getattr(layer, "groups", 1) != 1:
        raise ValueError(f"Layer {name!r} has groups, which integer kernels have not.")
    format = place.input_format
    if not holds(dataclasses.replace(format, overflow="saturate")):
        raise ValueError(
            f"The inputs of layer {name!r} need more than the 16 bits that integer "
            f"kernels have. Received: {format}"
        )
    resolution = layer.kernel_format.resolution
    kernel = ops.convert_to_numpy(layer.effective_kernel()).astype("float64")
    codes = np.rint(kernel / resolution).astype(np.int64)
    codes = codes.reshape(-1, codes.shape[-1])
    units = codes.shape[1]
    fractions = np.add(layer.kernel_format.fraction_bits, format.fraction_bits)
    bias, float_bias = _bias(layer, fractions)
    bits = integers.bits_of_weights(codes)
    if bits is None:
        needed = integers.accumulator_bits(
            codes, *limits_of(format), np.zeros(units) if bias is None else bias
        )
        raise ValueError(
            f"The kernel of layer {name!r} has {layer.kernel_format.bits} bits, and "
            f"integer kernels have 16, with sums of {integers.SUM_BITS}: this one "
            f"needs {needed}. Take fewer bits."
        )
    arguments = arguments_of(layer)
    blocks = count_blocks(codes)
    batches = (1, 64) if batch is None else (batch,)
    if not isinstance(layer, keras.layers.Dense):
        batches = (64,)  # every output pixel is a row
    pays = blocks_pay(blocks, *codes.shape, bits, batches)
    common = {
        "name": name,
        "dtype": arguments["dtype"],
        "activation": arguments["activation"],
        "input_format": format,
        "bits": 8 if pays else bits,
        "blocks": blocks if pays else None,
        "pre_activation_format": layer.pre_activation_format,
        "output_format": layer.output_format,
        "float_bias": float_bias is not None,
        "takes_integers": place.takes_integers,
        "gives_integers": place.gives_integers,
    }
    if isinstance(layer, keras.layers.Dense):
        new = IntegerDense(layer.units, **common)
    else:
        new = IntegerConv2D(
            layer.filters,
            layer.kernel_size,
            strides=layer.strides,
            padding=layer.padding,
            data_format=layer.data_format,
            dilation_rate=layer.dilation_rate,
            **common,
        )

    def fill():
        copy_activation(layer, new)
        new.fill(codes, fractions, bias, float_bias)

    return new, fill


def _bias(layer, fractions):
    """The bias in steps of the sums, or as floats where it has no such steps."""
    if layer.bias is None:
        return None, None
    bias = ops.convert_to_numpy(layer.effective_bias()).astype("float64")
    codes = np.ldexp(bias, fractions)
    if layer.bias_format is None:
        return None, bias.astype("float32")
    if (codes != np.rint(codes)).any():
        raise ValueError(
            f"The bias of layer {layer.name!r} must not have more fraction bits than "
            f"its kernel and its inputs together. Received: {layer.bias_format}"
        )
    if np.abs(codes).max(initial=0) >= 2**31:
        bits = int(np.abs(codes).max()).bit_length() + 1
        integers.check_sums(layer.name, bits)
    return codes.astype(np.int64), None
