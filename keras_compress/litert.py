"""`export_litert`: a `.tflite` file, of integers where LiteRT has them."""

import dataclasses
import os
import tempfile
import uuid
import warnings
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from keras_compress._litert_checks import check_convertible, check_ranges
from keras_compress._litert_file import constants, interpreter, with_wide_biases
from keras_compress._litert_layers import (
    RangedKernel,
    gives_steps,
    plain_layer,
    tensor_limits,
)
from keras_compress._litert_seams import Seams
from keras_compress._rebuild import check_model, rebuild, walk
from keras_compress._validation import invalid
from keras_compress.export import export
from keras_compress.layers.packed._integer_kernel import IntegerKernel
from keras_compress.layers.packed._integer_steps import final_format
from keras_compress.layers.packed.integer import IntegerDense
from keras_compress.layers.packed.sparse import SparseConv2D, SparseDense

FLOATS = "float32"
# Of fewer examples, the spread of the outputs says little.
EXAMPLES = 8


@dataclasses.dataclass(frozen=True)
class LiteRTFile:
    """What `export_litert` wrote, as the file itself says.

    Args:
        path: The file, a `pathlib.Path`.
        layers: Mapping from the path of each layer with weights to `"int8"`,
            `"int16 x int8"` (16 bits for inputs and outputs) or `"float32"`; behind the
            first two `", bias rounded"` where a bias without a format lies between
            the steps of the sums.
        largest_difference: Largest absolute difference between the outputs of the file
            and of the model on `data`; `None` without them.
    """

    path: Path
    layers: dict
    largest_difference: Any = None

    @property
    def bytes(self):
        """Size of the file."""
        return self.path.stat().st_size

    def __str__(self):
        kinds = {}
        for name, kind in self.layers.items():
            kinds.setdefault(kind, []).append(name)
        parts = [f"{kind}: {', '.join(names)}" for kind, names in kinds.items()]
        text = f"{self.path}: {self.bytes:,} bytes; {'; '.join(parts)}"
        if self.largest_difference is None:
            return text
        return f"{text}; differs by at most {self.largest_difference:g}"


def export_litert(model, path, *, data=None):
    """Writes a `.tflite` file for LiteRT (TensorFlow Lite) and its XNNPACK kernels.

    Integer layers of a packed model whose outputs have a format become integer layers
    of LiteRT: the file has the very integers of their weights, and scales that are
    exactly `2 ** -fraction_bits`. Formats of up to 8 bits become int8 (unsigned ones by
    a zero point of -128), wider ones int16; biases int32, or int64 where
    LiteRT reads such. With formats of up to 8 bits
    the outputs are the packed model's bit for bit where XNNPACK runs them, as it does
    by default in TensorFlow 2.21 and LiteRT 2. LiteRT's kernels for 16 bits, and its
    own for 8, which TensorFlow 2.18 takes, round halves away from zero, and so may be
    one step of the output's format off. A bias without a format is rounded to the
    steps of the sums.

    All else is computed in float32: layers whose outputs have no format (the last one,
    after `choose_formats`) or have an activation other than ReLU, on weights that are
    those of the packed model; and sparse, low-rank and clustered layers, whose zeros
    and repeated values LiteRT stores like any others. Of a bitwise model, pass the
    trained one instead of the packed one: its signs are floats.

    The file is read back: which layers are integers is what it says, not what was
    hoped for. It is renamed to `path` when complete.

    Args:
        model: A built Sequential or Functional model, best a packed one.
        path: File to write, which must not exist.
        data: Inputs as `predict` takes them, an array or a mapping from names of
            inputs to arrays: file and model are compared on these.

    Returns:
        A `LiteRTFile`, which prints as one line.

    Raises:
        ValueError: If a layer has what LiteRT has not (weights of -128 or of 16 bits,
            a format that wraps or rounds down, two formats in a row, packed bits), is
            not packed yet, or is made of operations that LiteRT lacks; or `path` exists
            or cannot be written; or the file's outputs on `data`, 8 examples or more,
            are not the model's.

    Example:

    >>> config = kc.FixedPoint(
    ...     kernel=kc.QFormat(0, 7), inputs=kc.QFormat(0, 7), outputs=kc.QFormat(2, 5)
    ... )
    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, name="fc")])
    >>> packed = kc.pack(kc.swap(model, config))
    >>> export_litert(packed, tmp_path / "model.tflite").layers
    {'fc': 'int8'}

    Reference:
        - [Jacob et al., 2018](https://arxiv.org/abs/1712.05877), for the integers
    """
    check_model("model", model)
    if not isinstance(path, str | os.PathLike):
        raise invalid("path", "a path", path)
    path = Path(path)
    if os.path.lexists(path):
        raise invalid("path", "a path where nothing is yet", str(path))
    for name, layer in walk(model):
        check_convertible(name, layer)
    check_ranges(model)
    content = _converted(rebuild(model, _replacing(model)))
    layers = _kinds(model, content)
    difference = None if data is None else _difference(model, content, data)
    _write(path, content)
    return LiteRTFile(path, layers, difference)


def _replacing(model):
    """A function for `rebuild`: layers as the converter wants to see them."""
    seams = Seams(model)

    def replaced(layer):
        if isinstance(layer, keras.layers.TimeDistributed):
            # A dense layer works on the last axis anyway; LiteRT has no such loop.
            layer = layer.layer if isinstance(layer.layer, IntegerDense) else layer
        if isinstance(layer, IntegerKernel):
            beside = seams.is_behind_floats(layer), seams.is_before_floats(layer)
            return RangedKernel(layer, *beside), lambda: None
        if isinstance(layer, SparseDense | SparseConv2D):
            return plain_layer(layer)
        return None

    return replaced


def _converted(model):
    """The bytes of a `.tflite` file."""
    integers = any(isinstance(layer, RangedKernel) for _, layer in walk(model))
    with tempfile.TemporaryDirectory() as folder:
        served = export(model, Path(folder) / "served", portable=True)
        converter = tf.lite.TFLiteConverter.from_saved_model(str(served))
        if integers:
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
        try:
            with warnings.catch_warnings():
                # That it has no examples to find ranges by, which are given.
                warnings.simplefilter("ignore", UserWarning)
                content = converter.convert()
        except Exception as error:  # the converter's own type is private
            lines = [x for x in str(error).splitlines() if "ops:" in x] or [str(error)]
            raise ValueError(
                f"`model` has operations that LiteRT lacks, in {model.name!r}: "
                f"{lines[0].strip()[:300]}"
            ) from error
    return with_wide_biases(content) if integers else content


def _kinds(model, content):
    """What the file has for each layer with weights."""
    stored = constants(content)
    found = {}
    for name, layer in walk(model):
        if not layer.weights:
            continue
        found[name] = FLOATS
        if gives_steps(layer) and _has(stored, layer):
            wide = tensor_limits(layer.input_format)[0] == 16
            found[name] = "int16 x int8" if wide else "int8"
            if _is_bias_rounded(layer):
                found[name] += ", bias rounded"
    return found


def _is_bias_rounded(layer):
    """Whether a bias without a format lies between the steps of the sums."""
    if layer.float_bias is None:
        return False
    fractions = ops.convert_to_numpy(layer.fractions).astype(int)
    steps = np.ldexp(ops.convert_to_numpy(layer.float_bias), fractions)
    return bool(np.any(steps != np.rint(steps)))


def _has(stored, layer):
    """Whether the kernel and the bias of a layer are there, as its integers."""
    codes = layer.effective_kernel()
    if hasattr(layer, "kernel_size"):
        codes = codes.reshape(*layer.kernel_size, -1, codes.shape[-1])
    codes = np.moveaxis(codes, -1, 0)
    as_pixel = (len(codes), 1, 1, codes.shape[-1])
    fractions = ops.convert_to_numpy(layer.fractions).astype(int)
    steps = np.ldexp(1.0, layer.input_format.fraction_bits - fractions)
    kernel = any(
        array.dtype == np.int8
        and array.shape in (codes.shape, as_pixel)
        and np.array_equal(array.reshape(codes.shape), codes)
        and np.all(scales == steps)
        for array, scales in stored
    )
    if not kernel or layer.bias is None:
        return kernel
    bias = ops.convert_to_numpy(layer.bias)
    return not bias.any() or any(
        array.dtype in (np.int32, np.int64)
        and np.array_equal(array, bias)
        and np.all(scales == np.ldexp(1.0, -fractions))
        for array, scales in stored
    )


def _difference(model, content, data):
    """How far apart the outputs of the file and of the model are."""
    run = interpreter(content).get_signature_runner("serving_default")
    names = list(run.get_input_details())
    given = data if isinstance(data, dict) else {names[0]: data}
    if set(given) != set(names):
        raise invalid("data", f"an array for each of {names}", type(data).__name__)
    arrays = {name: np.asarray(given[name]) for name in names}
    details = run.get_input_details()
    found = run(**{x: arrays[x].astype(details[x]["dtype"]) for x in names})
    given = data if isinstance(data, dict) else arrays[names[0]]
    expected = model.predict(given, verbose=0)
    if isinstance(expected, dict) and set(expected) == set(found):
        pairs = [(found[name], expected[name]) for name in found]
    else:
        # Others are numbered: output_2 stands before output_10.
        in_order = [found[x] for x in sorted(found, key=lambda x: (len(x), x))]
        pairs = zip(in_order, keras.tree.flatten(expected), strict=True)
    return max(_checked(model, one, other) for one, other in pairs)


def _checked(model, found, expected):
    """The largest difference of two outputs, which must not be two other things.

    A step off here and there is a small part of the outputs on average; numbers that
    have nothing to do with the model's are more than their spread. Where that says
    nothing, any difference is returned.
    """
    apart = np.abs(np.asarray(found, "float64") - expected)
    layers = (layer for _, layer in walk(model) if isinstance(layer, IntegerKernel))
    formats = (final_format(layer) for layer in layers)
    step = max((2.0**-x.fraction_bits for x in formats if x is not None), default=0.0)
    largest = float(np.max(apart, initial=0.0))
    spread = np.std(expected) if len(apart) >= EXAMPLES and apart.size else 0.0
    bound = 0.5 * spread + 4 * step + 1e-3 * np.max(np.abs(expected), initial=0.0)
    if spread > 0 and np.sqrt(np.mean(apart**2)) > bound:
        raise ValueError(
            f"LiteRT computes other outputs on `data` than `model`: they differ by "
            f"{largest:g}, in steps of {step:g} at most. Try formats of 8 bits, or "
            "report this model."
        )
    return largest


def _write(path, content):
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        temporary.write_bytes(content)
        os.rename(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise invalid("path", f"writable ({error.strerror})", str(path)) from error
