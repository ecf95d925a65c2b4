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
    `name`, its `kind` (the class), and `inputs` (the names of the layers before it).
    An integer layer has further

    - `input`, `pre_activation`, `output`: formats, with the type of Vitis HLS, or
      `None` for floats
    - `weights`: integers, inputs by units, or height by width by channels by filters;
      their `bits`, and `fraction_bits` for each unit
    - `bias`: integers in the precision of the sums, or floats without a format
    - `sums`: `fraction_bits` for each unit, and the `bits` of the widest there can be
    - `activation`; for convolutions `strides`, `padding` and `dilation_rate`

    Other layers have their Keras `config`.

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
    layers = [layer for _, layer in walk(model)]
    if not any(isinstance(layer, IntegerKernel) for layer in layers):
        raise ValueError(
            f"`model` must have integer layers to be described. Received: "
            f"{model.name!r}, which has none. Pack a fixed-point model first: "
            "keras_compress.pack"
        )
    found = []
    for layer in layers:
        entry = {"name": layer.name, "kind": type(layer).__name__}
        entry["inputs"] = [other.name for other in neighbours.before(layer)]
        if isinstance(layer, IntegerKernel):
            entry |= _integer_layer(layer)
        else:
            entry["config"] = json.loads(json.dumps(layer.get_config(), default=str))
        found.append(entry)
    description = {"version": VERSION, "layers": found}
    if path is not None:
        _write(description, path)
    return description


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
