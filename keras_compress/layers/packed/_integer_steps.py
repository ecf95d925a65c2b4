"""From sums to outputs in whole numbers: which steps, and when there are such."""

import dataclasses

import keras


class Step:
    """A format that sums are brought to: rounding, and limits.

    Args:
        format: A `QFormat` of 16 bits at most, that saturates and rounds the same way
            each time.
        rectified: Whether nothing below zero is left.
    """

    def __init__(self, format, rectified):
        self.fraction_bits = format.fraction_bits
        self.rounding = sure_rounding(format.rounding)
        self.low, self.high = limits_of(format)
        if rectified:
            self.low = max(0, self.low)
        low, _ = limits_of(format)
        if low >= -128 and self.high <= 127:
            self.dtype = "int8"
        elif low >= 0 and self.high <= 255:
            self.dtype = "uint8"
        else:
            self.dtype = "int16"


def integer_steps(activation, pre_activation_format, output_format, float_bias=False):
    """The steps from sums to outputs in whole numbers.

    Args:
        activation: A function.
        pre_activation_format: A `QFormat` or `None`.
        output_format: A `QFormat` or `None`.
        float_bias: Whether the bias has no format.

    Returns:
        List of one or two `Step`s, or `None` where outputs must be computed in floats:
        of activations other than ReLU, of outputs without a format, or with one that
        wraps or has more than 16 bits.
    """
    name = getattr(activation, "__name__", "")
    builtin = {"linear": keras.activations.linear, "relu": keras.activations.relu}
    if float_bias or builtin.get(name) is not activation:
        return None
    formats = [x for x in (pre_activation_format, output_format) if x is not None]
    if not formats or not all(map(holds, formats)):
        return None
    if len(formats) == 2 and formats[0] == formats[1]:
        formats = formats[:1]
    if len(formats) == 2 and formats[0].bits > 24:
        return None
    return [Step(format, name == "relu") for format in formats]


def holds(format):
    """Whether rows of integers hold a format."""
    if format.integer_bits is None or format.overflow != "saturate":
        return False
    low, high = limits_of(format)
    return low >= -(1 << 15) and high < 1 << 15


def limits_of(format):
    """The smallest and the largest integer of a format."""
    count = 1 << (format.integer_bits + format.fraction_bits)
    return (-count if format.signed else 0), count - 1


def sure_rounding(rounding):
    """Stochastic rounding is for training."""
    return "nearest_even" if rounding == "stochastic" else rounding


def sure_format(format):
    """A format, or `None`, that rounds the same way each time."""
    if format is None:
        return None
    return dataclasses.replace(format, rounding=sure_rounding(format.rounding))


def steps_of(layer):
    """The `integer_steps` of a fixed-point layer."""
    return integer_steps(
        layer.activation,
        layer.pre_activation_format,
        layer.output_format,
        layer.bias is not None and layer.bias_format is None,
    )


def final_format(layer):
    """The format of the numbers that a fixed-point layer gives, if they have one."""
    linear = layer.activation in (keras.activations.linear, keras.activations.relu)
    if layer.output_format is not None:
        return layer.output_format
    return layer.pre_activation_format if linear else None


def contains(outer, inner):
    """Whether every number of a format is one of another."""
    if outer.fraction_bits < inner.fraction_bits:
        return False
    wide = outer.integer_bits is None or outer.max >= inner.max
    return wide and outer.min <= inner.min
