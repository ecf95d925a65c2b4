"""What integer layers share: a kernel of integers, and what becomes of sums."""

import keras
import numpy as np
from keras import ops

from keras_compress._validation import check_choice, check_int, invalid
from keras_compress.functional import integers
from keras_compress.functional.grid import to_grid
from keras_compress.functional.integer_blocks import pack_blocks, unpack_blocks
from keras_compress.layers._fixed_point_kernel import check_format
from keras_compress.layers.packed._integer_steps import (
    integer_steps,
    limits_of,
    sure_format,
)
from keras_compress.layers.packed._native_layer import NativeLayer
from keras_compress.layers.packed._storage import StoredIntegers
from keras_compress.ops.integer import integer_matmul, powers_of_two

MOST_FRACTION_BITS = 126


class IntegerKernel(StoredIntegers, NativeLayer):
    """Variables of a kernel of integers, and what sums of products become.

    `panels` (int8) holds the weights, all of them, or with `blocks` those blocks of 4
    inputs by 16 units that are not all zeros; then `indices` (uint16) and `starts`
    (int32) say where they are. `column_sums` (int32) holds the sum of each unit's
    weights, `fractions` (int8) the fraction bits of its sums. `bias` (int32) is in the
    precision of the sums; a bias without a format is `float_bias` (float32) instead.
    """

    def __init__(
        self,
        *,
        input_format,
        bits=8,
        blocks=None,
        pre_activation_format=None,
        output_format=None,
        activation=None,
        float_bias=False,
        takes_integers=False,
        gives_integers=False,
        **kwargs,
    ):
        # Stochastic rounding is for training: the trained layer drops it, too.
        self.input_format = sure_format(check_format("input_format", input_format))
        self.bits = check_choice("bits", bits, integers.BITS)
        if blocks is not None:
            check_int("blocks", blocks, minimum=0)
            check_choice("bits", bits, (8,))
        self.blocks = blocks
        self.pre_activation_format = sure_format(
            check_format("pre_activation_format", pre_activation_format)
        )
        self.output_format = sure_format(check_format("output_format", output_format))
        super().__init__(**kwargs)
        self.activation = keras.activations.get(activation)
        self.use_float_bias = float_bias
        self.takes_integers = takes_integers
        self.gives_integers = gives_integers
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
        if self.blocks is None:
            shape = (panels, steps, integers.PANEL_UNITS, 4)
            self.panels = self._add("panels", shape, "int8")
        else:
            shape = (self.blocks, integers.PANEL_UNITS, 4)
            self.panels = self._add("panels", shape, "int8")
            self.indices = self._add("indices", shape[:1], "uint16")
            self.starts = self._add("starts", (panels + 1,), "int32")
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
            ValueError: If the layer is not built, a shape or the number of blocks does
                not fit, a sum may need more than 32 bits, or its steps are out of the
                range of float32.
        """
        self._check_built()
        codes = np.asarray(codes)
        codes = codes.reshape(-1, codes.shape[-1])
        if codes.shape != self.kernel_shape:
            raise invalid("codes", f"of shape {self.kernel_shape}", codes.shape)
        units = self.kernel_shape[1]
        bias = np.zeros(units, np.int64) if bias is None else np.asarray(bias)
        low, high = limits_of(self.input_format)
        bits = integers.accumulator_bits(codes, low, high, bias)
        fractions = np.broadcast_to(fractions, (units,))
        most = int(np.abs(fractions).max(initial=0))
        if most > MOST_FRACTION_BITS:
            expected = f"at most {MOST_FRACTION_BITS}, as float32 has such steps"
            raise invalid("fractions", f"{expected}, for {self.name!r}", most)
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
        self._store(codes)
        self.column_sums.assign(codes.sum(axis=0))
        self.fractions.assign(fractions)
        if self.bias is not None:
            self.bias.assign(bias)
        elif float_bias is not None:
            self.float_bias.assign(float_bias)

    def effective_kernel(self):
        """The kernel as a matrix of integers, inputs by units, int8 or int16."""
        panels = ops.convert_to_numpy(self.panels)
        if self.blocks is not None:
            where = map(ops.convert_to_numpy, (self.indices, self.starts))
            return unpack_blocks(panels, *where, *self.kernel_shape)
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
            "rounding": self.input_format.rounding,
        }
        if self.blocks is not None:
            where = (self.indices, self.starts)
            given["blocks"] = tuple(map(ops.convert_to_tensor, where))
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
            "blocks": self.blocks,
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

    def _store(self, codes):
        if self.blocks is None:
            self.panels.assign(integers.pack_panels(codes, self.bits))
            return
        blocks, indices, starts = pack_blocks(codes)
        if len(blocks) != self.blocks:
            expected = f"of {self.blocks} blocks that are not all zeros"
            raise invalid("codes", expected, len(blocks))
        self.panels.assign(blocks)
        self.indices.assign(indices)
        self.starts.assign(starts)
