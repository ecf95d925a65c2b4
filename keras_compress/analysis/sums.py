"""Formats of a layer whose sums fit the accumulator that packed layers have."""

import numpy as np

from keras_compress.functional import integers
from keras_compress.functional.calibration import integer_bits_for
from keras_compress.functional.q_format import FARTHEST, QFormat
from keras_compress.layers.packed._integer_kernel import MOST_FRACTION_BITS
from keras_compress.layers.packed._integer_steps import integer_steps, limits_of


def fit_sums(formats, kernel, bias=None, activation=None):
    """Fewer fraction bits for the kernel, where the sums would not be packed.

    A channel of small weights, or weights on small inputs, have steps so fine that a
    bias, or all products, in these steps take more than 32 bits, or that outputs are
    farther away than kernels shift. What is lost is far below the other terms.

    Args:
        formats: Mapping from kinds to `QFormat`s, `"kernel"` and `"inputs"` among them;
            `"bias"` is added, or takes another's place.
        kernel: Float array, the units last.
        bias: Float array, one for each unit, or `None`.
        activation: The layer's.

    Returns:
        A mapping like `formats`.
    """
    inputs = formats["inputs"]
    columns = kernel.reshape(-1, kernel.shape[-1])
    units = columns.shape[1]
    fractions = np.broadcast_to(formats["kernel"].fraction_bits, units)
    most = min(MOST_FRACTION_BITS, _most_of_shifts(formats, activation))
    caps = np.full(units, most - inputs.fraction_bits)
    if bias is not None:
        # With room for products beside it.
        room = [integers.SUM_BITS - 2 - integer_bits_for(x) for x in bias]
        room = np.subtract(room, inputs.fraction_bits)
        caps = np.where(bias == 0.0, caps, np.minimum(caps, room))
    fractions = np.minimum(fractions, caps)
    while True:
        found = _with_fractions(formats, fractions)
        if bias is not None:
            found["bias"] = bias_format(found, bias)
        over = _sum_bits(found, columns, bias) > integers.SUM_BITS
        if not over.any():
            return found
        fractions = fractions - over


def bias_format(formats, bias):
    """As many fraction bits as products have, in at most 32 bits."""
    integer = max(0, integer_bits_for(np.abs(bias).max(initial=0)) + 1)
    fractions = np.add(formats["kernel"].fraction_bits, formats["inputs"].fraction_bits)
    fractions = np.minimum(fractions, min(30 - integer, FARTHEST))
    # More would be more than the sums have: a bias below their steps is none.
    wide = np.maximum(integer, 1 - fractions)
    return _format(wide, fractions)


def _most_of_shifts(formats, activation):
    """The most fraction bits of sums from which outputs are near enough."""
    kinds = ("pre_activations", "outputs")
    steps = integer_steps(activation, *(formats.get(kind) for kind in kinds))
    return steps[0].fraction_bits + integers.MOST_SHIFT if steps else FARTHEST * 2


def _with_fractions(formats, fractions):
    kernel = formats["kernel"]
    if kernel.channels is None:
        fractions = fractions.min()
    if np.array_equal(fractions, kernel.fraction_bits):
        return dict(formats)
    wide = np.maximum(kernel.integer_bits, 1 - fractions)
    return {**formats, "kernel": _format(wide, fractions)}


def _format(integer, fractions):
    bits = [np.asarray(x).tolist() for x in (integer, fractions)]
    return QFormat(*bits)


def _sum_bits(formats, columns, bias):
    """The bits that the largest sum takes, for each channel."""
    kernel, inputs = formats["kernel"], formats["inputs"]
    codes = kernel.to_integers(columns)
    added = np.zeros(codes.shape[1], np.int64)
    if bias is not None:
        sums = np.add(kernel.fraction_bits, inputs.fraction_bits)
        added = np.ldexp(formats["bias"].quantize(bias), sums).astype(np.int64)
    limits = limits_of(inputs)
    found = [
        integers.accumulator_bits(codes[:, i : i + 1], *limits, added[i : i + 1])
        for i in range(codes.shape[1])
    ]
    return np.array(found)
