"""`describe_hardware`: a packed fixed-point model in whole numbers, for FPGA flows."""

import dataclasses
import json
import os
import uuid
from pathlib import Path

import keras
import numpy as np
from keras import ops

from keras_compress._neighbours import Neighbours
from keras_compress._rebuild import check_model, walk
from keras_compress._validation import invalid
from keras_compress.functional.integers import accumulator_bits
from keras_compress.layers.packed._integer_kernel import IntegerKernel
from keras_compress.layers.packed._integer_steps import limits_of

VERSION = 1


def describe_hardware(model, path=None):
    """All that a circuit needs to compute what a packed model computes, as JSON.

    A mapping with `version` and `layers`, in the order of the model. A layer has its
    `name` (with those of the nested models around it, joined by slashes), its `kind`
    (the class), and `inputs` (the names of the layers before it). Operations such as
    `x + y` are layers here, too. An integer layer has further

    - `input`, `pre_activation`, `output`: formats, with the type of Vitis HLS, or
      `None` for floats
    - `weights`: integers, inputs by units, or height by width by channels by filters;
      their `bits`, and `fraction_bits` for each unit
    - `bias`: integers in the precision of the sums, or floats without a format
    - `sums`: `fraction_bits` for each unit, and the `bits` of the widest there can be
    - `activation`; for convolutions `strides`, `padding` and `dilation_rate`

    Other layers have their Keras `config`; operations have their `calls`, the arguments
    of each: what comes from other layers is `None` there, in the order of `inputs`.

    Args:
        model: A model that `keras_compress.pack` made of a fixed-point one.
        path: File to write, which must not exist. Defaults to none.

    Returns:
        The mapping.

    Raises:
        ValueError: If no layer is of integers, or `path` exists.

    Example:

    >>> config = kc.FixedPoint(kernel=kc.QFormat(0, 3), inputs=kc.QFormat(0, 7))
    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, name="fc")])
    >>> description = describe_hardware(kc.pack(kc.swap(model, config)))
    >>> description["layers"][-1]["input"]["ap_fixed"]
    'ap_fixed<8,1,AP_RND_CONV,AP_SAT>'
    """
    check_model("model", model)
    neighbours = Neighbours(model)
    names = {id(layer): path for path, layer in walk(model)}
    layers = _with_operations([layer for _, layer in walk(model)], neighbours)
    for operation in layers:
        if id(operation) not in names:  # one without a path
            name = operation.name
            while name in names.values():
                name += "'"
            names[id(operation)] = name
    if not any(isinstance(layer, IntegerKernel) for layer in layers):
        raise ValueError(
            f"`model` must have integer layers to be described. Received: "
            f"{model.name!r}, which has none. Pack a fixed-point model first: "
            "keras_compress.pack"
        )
    found = []
    for layer in layers:
        entry = {"name": names[id(layer)], "kind": type(layer).__name__}
        before = neighbours.before(layer)
        entry["inputs"] = [names.get(id(other), other.name) for other in before]
        if isinstance(layer, IntegerKernel):
            entry |= _integer_layer(layer)
        elif not isinstance(layer, keras.Layer):
            entry["calls"] = [_call(node) for node in layer._inbound_nodes]
        else:
            entry["config"] = json.loads(json.dumps(layer.get_config(), default=str))
        found.append(entry)
    description = {"version": VERSION, "layers": found}
    if path is not None:
        _write(description, path)
    return description


def _with_operations(layers, neighbours):
    """The layers, each behind the operations that it reads; the others at the end."""
    known = {id(layer) for layer in layers}
    found = []

    def add(operation):
        if id(operation) not in known and not isinstance(operation, keras.Layer):
            known.add(id(operation))
            for other in neighbours.before(operation):
                add(other)
            found.append(operation)

    for layer in layers:
        for other in neighbours.before(layer):
            add(other)
        found.append(layer)
    for layer in found:  # which grows meanwhile
        for other in neighbours.behind(layer):
            add(other)
    return found


def _call(node):
    """The arguments of a call of an operation, as JSON can hold them."""

    def plain(argument):
        if isinstance(argument, keras.KerasTensor):
            return None
        if hasattr(argument, "shape"):
            return ops.convert_to_numpy(argument).tolist()
        return argument

    arguments = {"args": node.arguments.args, "kwargs": node.arguments.kwargs}
    arguments = keras.tree.map_structure(plain, arguments)
    return json.loads(json.dumps(arguments, default=str))


def _integer_layer(layer):
    codes = layer.effective_kernel()
    fractions = ops.convert_to_numpy(layer.fractions).astype(int)
    of_input = layer.input_format.fraction_bits
    bias = np.zeros(len(fractions), int)
    if layer.bias is not None:
        bias = ops.convert_to_numpy(layer.bias)
    entry = {
        "input": _format(layer.input_format),
        "pre_activation": _format(layer.pre_activation_format),
        "output": _format(layer.output_format),
        "activation": keras.activations.serialize(layer.activation),
        "weights": {
            "bits": layer.bits,
            "fraction_bits": (fractions - of_input).tolist(),
            "integers": codes.tolist(),
        },
        "bias": {"integers": bias.tolist()},
        "sums": {
            "bits": accumulator_bits(codes, *limits_of(layer.input_format), bias),
            "fraction_bits": fractions.tolist(),
        },
    }
    if layer.float_bias is not None:
        entry["bias"] = {"floats": ops.convert_to_numpy(layer.float_bias).tolist()}
    if hasattr(layer, "kernel_size"):
        shape = (*layer.kernel_size, -1, codes.shape[-1])
        entry["weights"]["integers"] = codes.reshape(shape).tolist()
        for name in ("strides", "padding", "dilation_rate", "data_format"):
            entry[name] = getattr(layer, name)
    return entry


def _format(format):
    if format is None:
        return None
    sure = format
    if format.rounding == "stochastic":
        sure = dataclasses.replace(format, rounding="nearest_even")
    return {**sure.get_config(), "bits": sure.bits, "ap_fixed": sure.to_ap_fixed()}


def _write(description, path):
    if not isinstance(path, str | os.PathLike):
        raise invalid("path", "a path", path)
    path = Path(path)
    if os.path.lexists(path):
        raise invalid("path", "a path where nothing is yet", str(path))
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        temporary.write_text(json.dumps(description))
        os.rename(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise invalid("path", f"writable ({error.strerror})", str(path)) from error
