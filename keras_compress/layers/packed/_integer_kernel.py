"""What integer layers share: a kernel of integers, and what becomes of sums."""

import keras
import numpy as np
from keras import ops

from keras_compress._validation import check_choice, invalid
from keras_compress.functional import integers
from keras_compress.functional.grid import to_grid
from keras_compress.layers._fixed_point_kernel import check_format
from keras_compress.layers.packed._storage import StoredIntegers
from keras_compress.ops.integer import integer_matmul, powers_of_two


class IntegerKernel(StoredIntegers, keras.layers.Layer):
    """Variables of a kernel of integers, and what sums of products become.

    `panels` (int8) holds the weights, `column_sums` (int32) the sum of each unit's,
    `fractions` (int8) the fraction bits of its sums. `bias` (int32) is in the precision
    of the sums; a bias without a format is `float_bias` (float32) instead.
    """

    def __init__(
        self,
        *,
        input_format,
        bits=8,
        pre_activation_format=None,
        output_format=None,
        activation=None,
        float_bias=False,
        takes_integers=False,
        gives_integers=False,
        **kwargs,
    ):
        self.input_format = check_format("input_format", input_format)
        self.bits = check_choice("bits", bits, (8, 4))
        self.pre_activation_format = check_format(
            "pre_activation_format", pre_activation_format
        )
        self.output_format = check_format("output_format", output_format)
        super().__init__(**kwargs)
        self.activation = keras.activations.get(activation)
        self.use_float_bias = float_bias
        self.takes_integers = takes_integers
        self.gives_integers = gives_integers
        self.trainable = False
        # The native op has no XLA kernel.
        self.supports_jit = False
        self.steps = integer_steps(
            self.activation,
            self.pre_activation_format,
            self.output_format,
            float_bias,
        )
        if gives_integers and self.steps is None:
            raise invalid("gives_integers", "False: the outputs are floats", True)

    def add_kernel(self, inputs, units):
        """Adds the variables of a kernel of this many inputs and units."""
        self.kernel_shape = (inputs, units)
        steps = -(-inputs // (32 // self.bits))
        panels = -(-units // integers.PANEL_UNITS)
        shape = (panels, steps, integers.PANEL_UNITS, 4)
        self.panels = self._add("panels", shape, "int8")
        self.column_sums = self._add("column_sums", (units,), "int32")
        self.fractions = self._add("fractions", (units,), "int8")
        self.bias = self.float_bias = None
        if self.use_float_bias:
            self.float_bias = self._add("float_bias", (units,), "float32")
        else:
            self.bias = self._add("bias", (units,), "int32")

    def fill(self, codes, fractions, bias=None, float_bias=None):
        """Stores a kernel.

        Args:
            codes: Integer array whose last axis is the units.
            fractions: Integer or array `(units,)`: fraction bits of the sums.
            bias: Integer array `(units,)` with so many fraction bits.
            float_bias: Float array `(units,)`, for a bias without a format.

        Raises:
            ValueError: If the layer is not built, a shape does not fit, or a sum may
                need more than 32 bits.
        """
        if not self.built:
            raise ValueError(
                f"Layer {self.name!r} must be built before it has a kernel."
            )
        codes = np.asarray(codes)
        codes = codes.reshape(-1, codes.shape[-1])
        if codes.shape != self.kernel_shape:
            raise invalid("codes", f"of shape {self.kernel_shape}", codes.shape)
        units = self.kernel_shape[1]
        bias = np.zeros(units, np.int64) if bias is None else np.asarray(bias)
        low, high = limits_of(self.input_format)
        bits = integers.accumulator_bits(codes, low, high, bias)
        fractions = np.broadcast_to(fractions, (units,))
        if self.steps:
            shifts = fractions - self.steps[0].fraction_bits
            farthest = shifts[np.abs(shifts).argmax()]
            if abs(farthest) > integers.MOST_SHIFT:
                raise ValueError(
                    f"Layer {self.name!r} needs a shift by {farthest} "
                    f"bits from sums to outputs, and its kernels shift by "
                    f"{integers.MOST_SHIFT} at most. Take other fraction bits."
                )
            # A shift to the left makes sums wider yet.
            bits += max(0, -int(np.min(shifts)))
        integers.check_sums(self.name, bits)
        self.panels.assign(integers.pack_panels(codes, self.bits))
        self.column_sums.assign(codes.sum(axis=0))
        self.fractions.assign(fractions)
        if self.bias is not None:
            self.bias.assign(bias)
        elif float_bias is not None:
            self.float_bias.assign(float_bias)

    def effective_kernel(self):
        """The kernel as a matrix of integers, inputs by units, int8."""
        panels = ops.convert_to_numpy(self.panels)
        return integers.unpack_panels(panels, *self.kernel_shape, self.bits)

    def product(self, rows):
        """The outputs for rows of integers or of floats."""
        low, high = limits_of(self.input_format)
        units = self.kernel_shape[1]
        bias = ops.zeros((units,), "int32") if self.bias is None else self.bias
        parts = (self.panels, self.column_sums, bias)
        tensors = [ops.convert_to_tensor(part) for part in parts]
        given = {
            "input_dim": self.kernel_shape[0],
            "bits": self.bits,
            "fraction_bits": self.input_format.fraction_bits,
            "limits": (low, high),
            "rounding": sure_rounding(self.input_format.rounding),
        }
        fractions = ops.cast(self.fractions, "int32")
        if self.steps is None:
            sums = integer_matmul(
                rows,
                *tensors,
                **given,
                scales=powers_of_two(-fractions),
                outputs="float32",
            )
            return self._float_outputs(sums)
        return self._integer_outputs(rows, tensors, given, fractions)

    def rows(self, inputs):
        """What the product takes: integers of a layer before, or else floats."""
        inputs = ops.convert_to_tensor(inputs)
        return inputs if self.takes_integers else ops.cast(inputs, "float32")

    def get_config(self):
        formats = ("input_format", "pre_activation_format", "output_format")
        return {
            **super().get_config(),
            **{
                name: keras.saving.serialize_keras_object(getattr(self, name))
                for name in formats
            },
            "bits": self.bits,
            "activation": keras.activations.serialize(self.activation),
            "float_bias": self.use_float_bias,
            "takes_integers": self.takes_integers,
            "gives_integers": self.gives_integers,
        }

    @property
    def given_dtype(self):
        """The dtype of the outputs."""
        if self.gives_integers:
            return self.steps[-1].dtype
        return self.compute_dtype

    def _float_outputs(self, sums):
        """As the trained layer computes them."""
        if self.float_bias is not None:
            sums = sums + ops.convert_to_tensor(self.float_bias)
        if self.pre_activation_format is not None:
            sums = to_grid(sums, self.pre_activation_format)
        outputs = self.activation(sums)
        if self.output_format is not None:
            outputs = to_grid(outputs, self.output_format)
        return ops.cast(outputs, self.compute_dtype)

    def _integer_outputs(self, rows, tensors, given, fractions):
        """Sums shifted from format to format; the first step is the product's own."""
        first, *others = self.steps
        shifts = fractions - first.fraction_bits
        own = (shifts, first.low, first.high, first.rounding)
        units = self.kernel_shape[1]
        if not self.gives_integers and not others:
            step = ops.full((units,), 2.0**-first.fraction_bits, "float32")
            outputs = integer_matmul(
                rows,
                *tensors,
                **given,
                requantize=own,
                scales=step,
                outputs="float32",
            )
            return ops.cast(outputs, self.compute_dtype)
        outputs = integer_matmul(
            rows, *tensors, **given, requantize=own, outputs=first.dtype
        )
        if others:
            last = self.steps[-1]
            values = ops.cast(outputs, "float32") * 2.0**-first.fraction_bits
            values = to_grid(values, self.output_format)
            if not self.gives_integers:
                return ops.cast(values, self.compute_dtype)
            outputs = ops.cast(values * 2.0**last.fraction_bits, last.dtype)
        return outputs

    def _add(self, name, shape, dtype):
        return self.add_weight(
            name=name,
            shape=shape,
            dtype=dtype,
            initializer="zeros",
            trainable=False,
            autocast=False,
        )


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
