"""The fixed-point technique: quantized values in the passes, ghosts for the updates."""

import dataclasses
import math

import keras
from keras import ops

from keras_compress._validation import check_choice, check_real, invalid
from keras_compress.functional import fixed_point as maths
from keras_compress.functional.cost import dense_bytes
from keras_compress.functional.q_format import QFormat
from keras_compress.functional.sign import read

NOISES = ("float", "rounding", "partial", "uniform")
FORMATS = (
    *("kernel_format", "bias_format", "input_format"),
    *("pre_activation_format", "output_format"),
)
PER_CHANNEL = ("kernel_format", "bias_format")


class FixedPointKernel:
    """The technique: a format for each kind of value, and how they are quantized.

    How is held in variables that a callback moves, so that nothing is traced anew.
    """

    def __init__(
        self,
        *args,
        kernel_format=None,
        bias_format=None,
        input_format=None,
        pre_activation_format=None,
        output_format=None,
        gradient="identity",
        **kwargs,
    ):
        self.kernel_format = check_format("kernel_format", kernel_format, True)
        self.bias_format = check_format("bias_format", bias_format, True)
        self.input_format = check_format("input_format", input_format)
        self.pre_activation_format = check_format(
            "pre_activation_format", pre_activation_format
        )
        self.output_format = check_format("output_format", output_format)
        self.gradient = check_choice("gradient", gradient, maths.GRADIENTS)
        super().__init__(*args, **kwargs)
        self.seed_generator = keras.random.SeedGenerator()

    def build(self, input_shape):
        super().build(input_shape)
        units = self.kernel.shape[-1]
        for name in PER_CHANNEL:
            format = getattr(self, name)
            if format is not None and format.channels not in (None, units):
                expected = f"a format of one or of {units} channels"
                raise invalid(name, expected, f"one of {format.channels}")
        self.noise = self._add_state("noise", "int32", NOISES.index("rounding"))
        self.rate = self._add_state("rate", "float32", 1.0)
        self.finer = self._add_state("finer", "float32", 1.0)

    def add_weight(self, *args, name=None, **kwargs):
        if name in ("kernel", "bias"):
            # A format may hold more than the short float that is computed with, and
            # small steps of an optimizer are lost in one.
            dtype = self.variable_dtype
            kwargs["dtype"] = "float64" if dtype == "float64" else "float32"
            kwargs["autocast"] = False
        return super().add_weight(*args, name=name, **kwargs)

    def call(self, inputs, training=False):
        inputs = self._quantized(inputs, self.input_format, training)
        outputs = self.activate(self.sums(inputs, training=training))
        return self._quantized(outputs, self.output_format, training)

    def sums(self, inputs, training=False):
        sums = super().sums(inputs, training=training)
        return self._quantized(sums, self.pre_activation_format, training)

    def effective_kernel(self, training=False):
        kernel = super().effective_kernel(training=training)
        if training and self.kernel_format is not None:
            kernel = self._noisy(read(kernel))
        else:
            kernel = self._quantized(read(kernel), self.kernel_format, training)
        return ops.cast(kernel, self.compute_dtype)

    def effective_bias(self, training=False):
        bias = super().effective_bias(training=training)
        bias = self._quantized(read(bias), self.bias_format, training)
        return ops.cast(bias, self.compute_dtype)

    @property
    def formats(self):
        """The formats by name, `None` where there is none."""
        return {name: getattr(self, name) for name in FORMATS}

    @property
    def kernel_bytes(self):
        """Bytes that the kernel takes in its format, without padding."""
        bits = None if self.kernel_format is None else self.kernel_format.bits
        return dense_bytes(math.prod(self.kernel.shape), bits or 32)

    @property
    def noise_name(self):
        """How values are quantized in training: a name of `set_noise`."""
        self._check_built()
        return NOISES[int(ops.convert_to_numpy(self.noise))]

    def set_noise(self, noise="rounding", *, rate=1.0, extra_bits=0):
        """Chooses how values are quantized. A compiled model goes on as it is.

        Args:
            noise: `"float"`: not at all. `"rounding"`: all values, as the formats say.
                `"partial"`: in training, of the kernel only a random part.
                `"uniform"`: in training, the kernel gets uniform noise of half a
                step instead. Outside of training the last three are one.
            rate: Number in `[0, 1]`: that part.
            extra_bits: Integer >= 0, fraction bits more than the formats say.

        Raises:
            ValueError: If the layer is not built, or an argument is out of range.
        """
        self._check_built()
        check_choice("noise", noise, NOISES)
        rate = check_real("rate", rate, minimum=0.0, maximum=1.0)
        extra = check_real("extra_bits", extra_bits, minimum=0.0, maximum=32.0)
        if extra != int(extra):
            raise invalid("extra_bits", "an integer in [0, 32]", extra_bits)
        self.noise.assign(NOISES.index(noise))
        self.rate.assign(rate)
        self.finer.assign(2.0 ** int(extra))

    def save_own_variables(self, store):
        super().save_own_variables(store)
        # Keras does not save it; with it, a resumed fit draws what it would have drawn.
        store["seed"] = ops.convert_to_numpy(self.seed_generator.state)

    def load_own_variables(self, store):
        store = {name: store[name] for name in store.keys()}
        self.seed_generator.state.assign(store.pop("seed"))
        super().load_own_variables(store)

    def get_config(self):
        formats = {
            name: None
            if format is None
            else keras.saving.serialize_keras_object(format)
            for name, format in self.formats.items()
        }
        return {**super().get_config(), **formats, "gradient": self.gradient}

    def _quantized(self, values, format, training):
        """Values in their format, unless `noise` says that they are floats yet."""
        if format is None:
            return values
        return self._rounded(values, format, training, ops.not_equal(self.noise, 0))

    def _noisy(self, kernel):
        """The kernel as `noise` says for training."""
        format, finer = self.kernel_format, read(self.finer)
        own = {"finer": finer, "seed": self.seed_generator}
        rate = read(self.rate)
        branches = (
            lambda: kernel,
            lambda: self._rounded(kernel, format, True),
            lambda: maths.noisy(
                kernel, format, rate=rate, gradient=self.gradient, **own
            ),
            lambda: maths.dithered(kernel, format, **own),
        )
        return ops.switch(ops.convert_to_tensor(self.noise), branches)

    def _rounded(self, values, format, training, active=None):
        if not ops.is_tensor(values) or "float" not in str(values.dtype):
            values = ops.cast(values, self.compute_dtype)
        if format.rounding == "stochastic" and not training:
            format = dataclasses.replace(format, rounding="nearest_even")
        seed = self.seed_generator if format.rounding == "stochastic" else None
        own = {"gradient": self.gradient, "active": active, "seed": seed}
        return maths.quantize(values, format, finer=self.finer, **own)

    def _add_state(self, name, dtype, value):
        return self.add_weight(
            name=name,
            shape=(),
            dtype=dtype,
            initializer=keras.initializers.Constant(value),
            trainable=False,
            autocast=False,
            aggregation="only_first_replica",
        )

    def _check_built(self):
        if not self.built:
            raise ValueError(
                f"Layer {self.name!r} must be built before it is quantized: call it or "
                "its model on data first."
            )


def is_fixed_point(layer):
    """Whether `layer` computes with values in formats."""
    return isinstance(layer, FixedPointKernel)


def check_format(name, value, channels=False):
    """`value`, which must be `None`, a `QFormat`, or what `get_config` says of one."""
    if isinstance(value, dict):
        value = keras.saving.deserialize_keras_object(value)
    if value is not None and not isinstance(value, QFormat):
        raise invalid(name, "a keras_compress.QFormat or None", value)
    if value is not None and value.channels is not None and not channels:
        raise invalid(name, "a format of one channel", value)
    return value
