"""What packed bitwise layers share: words of weights, codings, thresholds, floats."""

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from keras_compress._validation import check_choice, check_int, check_real, invalid
from keras_compress.functional import coding
from keras_compress.functional.signs import (
    PANEL_UNITS,
    pack_bits,
    pack_kernel,
    to_panels,
)
from keras_compress.layers.packed._constants import all_kept, no_masks
from keras_compress.layers.packed._native_layer import NativeLayer

INPUTS = ("sign", "bipolar", "zero_one", "bits", "packed")
OUTPUTS = ("float32", "bits")


class PackedSigns(NativeLayer):
    """Variables of weights of -1, 0 and +1, and of what becomes of their sums.

    `signs` and `masks` (uint32) are the panels of `functional.signs.to_panels`, `kept`
    (int32) as of `ops.xnor_matmul`. Layers that give bits have `thresholds` (int32) and
    `flips` (uint32), others `scale` and `bias` (float32), each only where needed.
    """

    def __init__(
        self,
        *,
        inputs="sign",
        bits=2,
        threshold=0.5,
        channels=None,
        outputs="float32",
        masked=False,
        counted=False,
        scaled=False,
        use_bias=True,
        bias_first=False,
        activation=None,
        **kwargs,
    ):
        self.inputs = check_choice("inputs", inputs, INPUTS)
        self.bits = check_int("bits", bits, minimum=1, maximum=coding.MOST_BITS)
        self.threshold = check_real("threshold", threshold)
        if (channels is None) == (inputs == "packed"):
            expected = 'given for inputs="packed" and for no others'
            raise invalid("channels", expected, channels)
        self.channels = channels and check_int("channels", channels, minimum=1)
        self.outputs = check_choice("outputs", outputs, OUTPUTS)
        flags = (masked, counted, scaled, use_bias, bias_first)
        names = ("masked", "counted", "scaled", "use_bias", "bias_first")
        for name, flag in zip(names, flags, strict=True):
            if not isinstance(flag, bool):
                raise invalid(name, "True or False", flag)
        self.masked = masked
        self.counted = counted or masked
        gives_bits = outputs == "bits"
        self.scaled = scaled and not gives_bits
        self.use_bias = use_bias and not gives_bits
        self.bias_first = bias_first
        super().__init__(**kwargs)
        self.activation = keras.activations.get(activation)

    def add_variables(self, groups, channels, units):
        """Adds the variables for `groups` times `channels` inputs of each unit.

        Args:
            groups: Integer, each of which begins with a new word.
            channels: Integer, inputs in a group.
            units: Integer, number of outputs.
        """
        self.groups, self.group_channels, self.unit_count = groups, channels, units
        words = groups * -(-channels // 32)
        panels = (-(-units // PANEL_UNITS), words, PANEL_UNITS)
        self.signs = self._add("signs", panels, "uint32")
        self.masks = self._add("masks", panels, "uint32") if self.masked else None
        self.kept = self._add("kept", (units,), "int32") if self.counted else None
        self.thresholds = self.flips = self.factors = self.bias = None
        if self.outputs == "bits":
            self.thresholds = self._add("thresholds", (units,), "int32")
            self.flips = self._add("flips", (-(-units // 32),), "uint32")
        floats = "float64" if self.compute_dtype == "float64" else "float32"
        if self.scaled:
            self.factors = self._add("scale", (units,), floats)
        if self.use_bias:
            self.bias = self._add("bias", (units,), floats)

    def fill(
        self, kernel, *, added=0, thresholds=None, flips=None, scale=None, bias=None
    ):
        """Stores weights, and what becomes of their sums.

        Args:
            kernel: Array of -1, 0 and +1 whose last axis is the units.
            added: Integers `(units,)`, added to the sums; not 0 only if `counted`.
            thresholds: Int32 array `(units,)`, for bits.
            flips: Boolean array `(units,)`, for bits.
            scale: Float array `(units,)`, if `scaled`.
            bias: Float array `(units,)`, with `use_bias`.

        Raises:
            ValueError: If the layer is not built, something is lacking or has another
                shape, or there are zeros in the kernel but no place for them.
        """
        self._check_built("weights")
        matrix = self._matrix(kernel)
        limits = (thresholds, flips) if self.outputs == "bits" else (None, None)
        values = {
            "thresholds": (limits[0], self.thresholds),
            "flips": (limits[1], self.flips),
            "scale": (scale, self.factors),
            "bias": (bias, self.bias),
        }
        for name, (value, variable) in values.items():
            shape = None if value is None else np.shape(value)
            if variable is not None and shape != (self.unit_count,):
                raise invalid(name, f"of shape ({self.unit_count},)", shape)
        signs, masks, kept = self._words(matrix)
        total = kept + np.asarray(added, np.int64)
        if not self.counted and (total != self.fan_in).any():
            raise invalid("added", "0, for nothing is `counted`", added)
        if self.masked:
            self.masks.assign(masks)
        if self.counted:
            self.kept.assign(total)
        self.signs.assign(signs)
        for name, (value, variable) in values.items():
            if variable is not None:
                variable.assign(pack_bits(value) if name == "flips" else value)

    @property
    def fan_in(self):
        """Number of inputs of a unit, those whose weight is 0 included."""
        self._check_built("weights")
        return self.groups * self.group_channels

    @property
    def nonzeros(self):
        """Number of weights that are not 0."""
        if self.masks is None:
            return self.fan_in * self.unit_count
        octets = ops.convert_to_numpy(self.masks).view("uint8")
        return int(np.unpackbits(octets).sum())

    def rows(self, inputs):
        """The inputs as the ops take them: numbers whose signs count, or words."""
        if self.inputs == "packed":
            return inputs
        inputs = ops.cast(inputs, self.compute_dtype)
        if self.inputs in ("bipolar", "zero_one"):
            return ops.subtract(inputs, self.threshold)
        if self.inputs == "bits":
            check = tf.debugging.Assert(
                tf.logical_not(tf.reduce_any(tf.math.is_nan(inputs))),
                [f"the inputs of {self.name!r} must be free of NaN, which has no bits"],
            )
            with tf.control_dependencies([] if check is None else [check]):
                inputs = tf.identity(inputs)
            return coding.bits(inputs, self.bits, axis=self.channel_axis)
        return inputs

    def end_of_op(self):
        """What the op needs to make outputs of sums."""
        if self.outputs != "bits":
            return self._floats_of_op()
        return dict(zip(("thresholds", "flips"), self.limits_of_op(), strict=True))

    def weights_of_op(self):
        """`(signs, masks, kept)`, as of `ops.xnor_matmul`."""
        # An op reads variables itself, and sooner than Keras does.
        masks = no_masks(self.signs.shape[1])
        kept = all_kept(self.unit_count, self.fan_in)
        return (
            self.signs.value,
            masks if self.masks is None else self.masks.value,
            kept if self.kept is None else self.kept.value,
        )

    def limits_of_op(self):
        """`(thresholds, flips)` of a layer that gives bits."""
        return self.thresholds.value, self.flips.value

    def arrays_of_stage(self) -> dict:
        """What a stage of `ops.xnor_network` holds of this layer."""
        found = dict(zip(("signs", "masks", "kept"), self.weights_of_op(), strict=True))
        return found | (self.end_of_op() if self.outputs == "bits" else {})

    def _floats_of_op(self):
        if not self.op_finishes:
            return {}
        floats = {"scale": self.factors, "bias": self.bias}
        return {name: x.value for name, x in floats.items() if x is not None}

    @property
    def op_finishes(self):
        """Whether the op can scale and shift: in float32, and in its order."""
        return self.compute_dtype == "float32" and not self.bias_first

    def finish(self, outputs):
        """The outputs, of what the op gave; nothing is left to do for bits."""
        if self.outputs == "bits":
            return outputs
        outputs = ops.cast(outputs, self.compute_dtype)
        if not self.op_finishes:
            outputs = self._scaled_and_shifted(outputs)
        outputs = self.arrange(outputs)
        return outputs if self.activation is None else self.activation(outputs)

    def arrange(self, outputs):
        """The sums of all units in the order of axes that the activation expects."""
        return outputs

    def compute_output_spec(self, inputs, *args, **kwargs):
        dtype = "uint32" if self.outputs == "bits" else self.compute_dtype
        return keras.KerasTensor(self.compute_output_shape(inputs.shape), dtype)

    def get_config(self):
        return {
            **super().get_config(),
            "inputs": self.inputs,
            "bits": self.bits,
            "threshold": self.threshold,
            "channels": self.channels,
            "outputs": self.outputs,
            "masked": self.masked,
            "counted": self.counted,
            "scaled": self.scaled,
            "use_bias": self.use_bias,
            "bias_first": self.bias_first,
            "activation": keras.activations.serialize(self.activation),
        }

    def coded_channels(self, length):
        """Groups, and inputs in each, of an axis of inputs as long as this."""
        if self.inputs == "packed":
            words = -(-self.channels // 32)
            if length % words:
                raise invalid("inputs", f"a multiple of {words} words", length)
            return length // words, self.channels
        return 1, length * (self.bits if self.inputs == "bits" else 1)

    def output_length(self, units):
        """How long the last axis of the outputs is."""
        return -(-units // 32) if self.outputs == "bits" else units

    def _scaled_and_shifted(self, outputs):
        """In the compute dtype, rounded after each step, in the order of training."""
        steps = [(ops.multiply, self.factors), (ops.add, self.bias)]
        for step, vector in reversed(steps) if self.bias_first else steps:
            if vector is not None:
                outputs = step(outputs, ops.cast(vector, self.compute_dtype))
        return outputs

    def _matrix(self, kernel):
        matrix = np.asarray(kernel)
        expected = (self.fan_in, self.unit_count)
        matrix = matrix.reshape(-1, matrix.shape[-1])
        if matrix.shape != expected:
            raise invalid("kernel", f"of {expected} weights", np.shape(kernel))
        if not np.isin(matrix, (-1, 0, 1)).all():
            raise invalid("kernel", "of -1, 0 and +1", "other numbers")
        if not self.masked and not matrix.all():
            raise invalid("kernel", "free of 0, for the layer is not `masked`", 0)
        return matrix.astype("float32")

    def _words(self, matrix):
        """Panels of the weights, each group from a new word on."""
        shape = (self.groups, self.group_channels, self.unit_count)
        pads = -self.group_channels % 32
        wide = np.pad(matrix.reshape(shape), ((0, 0), (0, pads), (0, 0)))
        wide = wide.reshape(-1, self.unit_count)
        # Where a group has no more inputs, both sides have bits 0: that needs no mask.
        signs, _, kept = pack_kernel(wide, wide != 0)
        return signs, to_panels(pack_bits(wide.T != 0)), kept
