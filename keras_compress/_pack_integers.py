"""How `pack` makes fixed-point layers integer ones, and who hands integers to whom."""

import dataclasses

import keras
import numpy as np
from keras import ops

from keras_compress._copies import all_layers
from keras_compress._layer_kinds import acts_as_in_training
from keras_compress._neighbours import Neighbours
from keras_compress._rebuild import is_graph, is_wrapper, walk
from keras_compress.functional import integers
from keras_compress.functional.integer_blocks import blocks_pay, count_blocks
from keras_compress.functional.q_format import QFormat
from keras_compress.layers._config import arguments_of
from keras_compress.layers._fixed_point_kernel import is_fixed_point
from keras_compress.layers.packed._integer_steps import (
    bits_of,
    contains,
    final_format,
    holds,
    limits_of,
    steps_of,
)
from keras_compress.layers.packed.integer import IntegerConv2D, IntegerDense

# They hand integers on as they would floats; subclasses may do anything.
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
        ValueError: If inputs of one have no format, or it is in a wrapper that looks at
            its kernel.
    """
    layers = [layer for _, layer in walk(model) if is_fixed_point(layer)]
    if not layers:
        return {}
    neighbours = Neighbours(model)
    borders = _Borders(model, neighbours)
    wrappers = [x for x in all_layers(model) if is_wrapper(x)]
    for wrapper in wrappers:
        _check_wrapper(wrapper)
    wrapped = {id(x.layer) for x in wrappers}
    before = {id(x): _reached(x, neighbours.before) for x in layers}
    behind = {id(x): _reached(x, neighbours.behind) for x in layers}
    plan = {id(x): Place(_input_format(x, before[id(x)])) for x in layers}
    # Whoever hands integers on must do so to all, and all to whom must take them.
    giving = {
        id(x)
        for x in layers
        if steps_of(x) is not None
        and id(x) not in wrapped
        and not borders.are_met_from(x)
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
    bits = bits_of(codes)
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
        _fill_activation(layer.activation, new.activation)
        new.fill(codes, fractions, bias, float_bias)

    return new, fill


def _fill_activation(source, target):
    """Gives an activation that is a layer the weights of the trained one."""
    if not isinstance(source, keras.layers.Layer) or not source.built:
        return
    if not target.built:
        target.build_from_config(source.get_build_config())
    for old, new in zip(source.variables, target.variables, strict=True):
        new.assign(ops.convert_to_tensor(old))


def _input_format(layer, before):
    given = {final_format(x) if is_fixed_point(x) else None for x in before}
    own = layer.input_format
    if len(given) == 1 and None not in given:
        final = given.pop()
        if final.integer_bits is not None and (own is None or contains(own, final)):
            return final
    if own is None or own.integer_bits is None or own.overflow != "saturate":
        raise ValueError(
            f"The inputs of layer {layer.name!r} need a format with a width, that "
            "saturates, to be integers: give it one, with "
            "keras_compress.FixedPoint(inputs=...), or the outputs of the layer before "
            f"it. Received: {own}"
        )
    return own


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
        if _passes(other):
            found.extend(_reached(other, step))
        else:
            found.append(other)
    return found


def _check_wrapper(wrapper):
    layer = wrapper.layer
    if type(wrapper) is not keras.layers.TimeDistributed and is_fixed_point(layer):
        raise ValueError(
            f"Layer {layer.name!r} ({type(layer).__name__}) cannot be packed inside a "
            "wrapper that looks at its kernel. Take it out of the wrapper."
        )


def _passes(layer):
    """Whether a layer hands on the numbers that it gets, in inference."""
    return type(layer) in PASSING and not any(
        acts_as_in_training(node.arguments) for node in layer._inbound_nodes
    )


class _Borders:
    """Where nested models begin and end: Keras casts what crosses to floats there.

    Args:
        model: A model that passed `check_model`.
        neighbours: Its `Neighbours`.
    """

    def __init__(self, model, neighbours):
        self._neighbours = neighbours
        self._first, self._last = set(), set()
        self._shortcut = False
        for graph in _nested(model):
            if isinstance(graph, keras.Sequential):
                first, last = graph.layers[:1], graph.layers[-1:]
            else:
                inputs = [x._keras_history.operation for x in graph.inputs]
                nodes = [node for x in inputs for node in x._outbound_nodes]
                first = [node.operation for node in nodes]
                last = [x._keras_history.operation for x in graph.outputs]
                # It gives an input back, and no layer stands at that border.
                self._shortcut |= any(x in inputs for x in last)
            self._first.update(map(id, first))
            self._last.update(map(id, last))

    def are_met_from(self, layer):
        """Whether outputs of a layer, handed on, leave the model that it stands in."""
        if self._shortcut or self._neighbours.is_end(layer) or id(layer) in self._last:
            return True
        return any(
            id(other) in self._first or (_passes(other) and self.are_met_from(other))
            for other in self._neighbours.behind(layer)
        )


def _nested(model):
    """The models inside a model, at any depth."""
    for layer in model.layers:
        while is_wrapper(layer):
            layer = layer.layer
        if is_graph(layer):
            yield layer
            yield from _nested(layer)
