"""How `pack` makes fixed-point layers integer ones, and who hands integers to whom."""

import dataclasses

import keras
import numpy as np
from keras import ops

from keras_compress._copies import all_layers
from keras_compress._neighbours import Neighbours
from keras_compress._rebuild import is_wrapper, walk
from keras_compress.functional import integers
from keras_compress.functional.integer_blocks import blocks_pay, count_blocks
from keras_compress.functional.q_format import QFormat
from keras_compress.layers._config import arguments_of
from keras_compress.layers._fixed_point_kernel import is_fixed_point
from keras_compress.layers.packed._integer_steps import (
    holds,
    integer_steps,
    limits_of,
)
from keras_compress.layers.packed.integer import IntegerConv2D, IntegerDense

# They hand integers on as they would floats.
PASSING = (
    keras.layers.Dropout,
    keras.layers.Flatten,
    keras.layers.GaussianDropout,
    keras.layers.GaussianNoise,
    keras.layers.GlobalMaxPooling2D,
    keras.layers.MaxPooling2D,
    keras.layers.Permute,
    keras.layers.Reshape,
    keras.layers.SpatialDropout2D,
)


@dataclasses.dataclass
class Place:
    """What a layer takes from those before it, and gives to those behind it."""

    input_format: QFormat
    takes_integers: bool = False
    gives_integers: bool = False


def plan_integers(model):
    """The `Place` of every fixed-point layer of a model, by the layer's id.

    Raises:
        ValueError: If inputs of one have no format.
    """
    layers = [layer for _, layer in walk(model) if is_fixed_point(layer)]
    if not layers:
        return {}
    neighbours = Neighbours(model)
    wrapped = {id(x.layer) for x in all_layers(model) if is_wrapper(x)}
    before = {id(x): _reached(x, neighbours.before) for x in layers}
    behind = {id(x): _reached(x, neighbours.behind) for x in layers}
    plan = {id(x): Place(_input_format(x, before[id(x)])) for x in layers}
    # Whoever hands integers on must do so to all, and all to whom must take them.
    giving = {
        id(x)
        for x in layers
        if _steps(x) is not None
        and id(x) not in wrapped
        and not _ends(x, neighbours)
        and all(id(y) in plan and id(y) not in wrapped for y in behind[id(x)])
        and all(plan[id(y)].input_format == final_format(x) for y in behind[id(x)])
    }
    while True:
        left = {
            id(x)
            for x in layers
            if id(x) in giving
            and all(id(z) in giving for y in behind[id(x)] for z in before[id(y)])
        }
        if left == giving:
            break
        giving = left
    for layer in layers:
        place = plan[id(layer)]
        place.gives_integers = id(layer) in giving
        place.takes_integers = any(id(x) in giving for x in before[id(layer)])
    return plan


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
    bits = _bits_of(codes)
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
    return new, lambda: new.fill(codes, fractions, bias, float_bias)


def _bits_of(codes):
    """The fewest bits of a kernel that hold these weights, `None` where none do."""
    for bits in sorted(integers.BITS):
        half = 1 << (bits - 1)
        if codes.min(initial=0) >= -half and codes.max(initial=0) < half:
            if bits > 4 or len(codes) <= integers.MOST_INPUTS_OF_4_BITS:
                return bits
    return None


def final_format(layer):
    """The format of the numbers that a fixed-point layer gives, if they have one."""
    linear = layer.activation in (keras.activations.linear, keras.activations.relu)
    if layer.output_format is not None:
        return layer.output_format
    return layer.pre_activation_format if linear else None


def _input_format(layer, before):
    given = {final_format(x) if is_fixed_point(x) else None for x in before}
    own = layer.input_format
    if len(given) == 1 and None not in given:
        final = given.pop()
        if final.integer_bits is not None and (own is None or _contains(own, final)):
            return final
    if own is None or own.integer_bits is None or own.overflow != "saturate":
        raise ValueError(
            f"The inputs of layer {layer.name!r} need a format with a width, that "
            "saturates, to be integers: give it one, with "
            "keras_compress.FixedPoint(inputs=...), or the outputs of the layer before "
            f"it. Received: {own}"
        )
    return own


def _contains(outer, inner):
    """Whether every number of a format is one of another."""
    if outer.fraction_bits < inner.fraction_bits:
        return False
    wide = outer.integer_bits is None or outer.max >= inner.max
    return wide and outer.min <= inner.min


def _steps(layer):
    return integer_steps(
        layer.activation,
        layer.pre_activation_format,
        layer.output_format,
        layer.bias is not None and layer.bias_format is None,
    )


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


def _reached(layer, step):
    """The layers that are met first, past those that hand numbers on."""
    found = []
    for other in step(layer):
        if isinstance(other, PASSING):
            found.extend(_reached(other, step))
        else:
            found.append(other)
    return found


def _ends(layer, neighbours):
    """Whether the outputs of a layer, handed on, are outputs of the model."""
    if neighbours.is_end(layer):
        return True
    return any(
        _ends(x, neighbours) for x in neighbours.behind(layer) if isinstance(x, PASSING)
    )
