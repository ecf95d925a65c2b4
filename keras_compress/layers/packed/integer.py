"""Inference layers that store and multiply integers."""

import keras
from keras import ops

from keras_compress._validation import check_choice, check_int
from keras_compress.layers.packed._integer_kernel import IntegerKernel
from keras_compress.layers.packed._integer_steps import limits_of
from keras_compress.layers.packed._windows import output_sizes, pair
from keras_compress.ops.integer import integer_patches


@keras.saving.register_keras_serializable("keras_compress")
class IntegerDense(IntegerKernel):
    """The inference form of `FixedPointDense`: stores and multiplies integers.

    Made by `keras_compress.pack`. Not trainable.

    Args:
        units: Positive integer, size of the output.
        input_format: A `QFormat` of at most 16 bits.
        bits: 16, 8 or 4: of a weight.
        blocks: `None`; or how many blocks of 4 inputs by 16 units are stored, of 8
            bits: those that are not all zeros.
        pre_activation_format: A `QFormat` or `None`.
        output_format: A `QFormat` or `None`.
        activation: As in `keras.layers.Dense`.
        float_bias: Whether there is a bias without a format.
        takes_integers: Whether the inputs are integers of `input_format`, by the step.
        gives_integers: Whether the outputs are integers, as the next layer takes them.
        **kwargs: Arguments of `keras.layers.Layer`.

    Input shape:
        `(batch, ..., input_dim)`.

    Output shape:
        `(batch, ..., units)`.

    Raises:
        ValueError: If an argument is out of range.

    Example:

    >>> layer = IntegerDense(1, input_format=kc.QFormat(3, 4))
    >>> layer.build((None, 2))
    >>> layer.fill([[3], [1]], fractions=4)  # the weights 3 and 1
    >>> print(layer(np.array([[0.5, 1.0]])).numpy())
    [[2.5]]
    """

    def __init__(self, units, **kwargs):
        self.units = check_int("units", units, minimum=1)
        super().__init__(**kwargs)
        self.input_spec = keras.layers.InputSpec(min_ndim=2)
        self.supports_masking = True

    def build(self, input_shape):
        self.input_spec = keras.layers.InputSpec(min_ndim=2, axes={-1: input_shape[-1]})
        self.add_kernel(input_shape[-1], self.units)

    def call(self, inputs):
        return self.product(self.rows(inputs))

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.units)

    def compute_output_spec(self, inputs):
        shape = self.compute_output_shape(inputs.shape)
        return keras.KerasTensor(shape, dtype=self.given_dtype)

    def get_config(self):
        return {**super().get_config(), "units": self.units}


@keras.saving.register_keras_serializable("keras_compress")
class IntegerConv2D(IntegerKernel):
    """The inference form of `FixedPointConv2D`: stores and multiplies integers.

    Made by `keras_compress.pack`. Not trainable.

    Args:
        filters: Positive integer, number of output channels.
        kernel_size: Integer or pair of integers, height and width of the window.
        strides: Integer or pair of integers.
        padding: `"valid"` or `"same"`.
        data_format: `"channels_last"` or `"channels_first"`.
        dilation_rate: Integer or pair of integers.
        **kwargs: Arguments of `IntegerDense` and of `keras.layers.Layer`.

    Input shape:
        As of `keras.layers.Conv2D`.

    Output shape:
        As of `keras.layers.Conv2D`.

    Raises:
        ValueError: If an argument is out of range.

    Example:

    >>> layer = IntegerConv2D(1, (1, 1), input_format=kc.QFormat(3, 4))
    >>> layer.build((None, 2, 2, 1))
    >>> layer.fill(np.full((1, 1, 1, 1), 3), fractions=4)
    >>> layer(np.ones((1, 2, 2, 1))).numpy().ravel()
    array([3., 3., 3., 3.], dtype=float32)
    """

    def __init__(
        self,
        filters,
        kernel_size,
        *,
        strides=(1, 1),
        padding="valid",
        data_format="channels_last",
        dilation_rate=(1, 1),
        **kwargs,
    ):
        self.filters = check_int("filters", filters, minimum=1)
        self.kernel_size = pair("kernel_size", kernel_size)
        self.strides = pair("strides", strides)
        self.dilation_rate = pair("dilation_rate", dilation_rate)
        self.padding = check_choice("padding", padding, ("valid", "same"))
        self.data_format = check_choice(
            "data_format", data_format, ("channels_last", "channels_first")
        )
        super().__init__(**kwargs)
        self.input_spec = keras.layers.InputSpec(ndim=4)

    def build(self, input_shape):
        axis = -1 if self.data_format == "channels_last" else 1
        channels = input_shape[axis]
        self.input_spec = keras.layers.InputSpec(ndim=4, axes={axis: channels})
        height, width = self.kernel_size
        self.add_kernel(height * width * channels, self.filters)

    def call(self, inputs):
        inputs = self.rows(inputs)
        if self.data_format == "channels_first":
            inputs = ops.transpose(inputs, (0, 2, 3, 1))
        outputs = self.product(
            integer_patches(
                inputs,
                kernel_size=self.kernel_size,
                strides=self.strides,
                padding=self.padding,
                dilations=self.dilation_rate,
                fraction_bits=self.input_format.fraction_bits,
                limits=limits_of(self.input_format),
                rounding=self.input_format.rounding,
            )
        )
        if self.data_format == "channels_first":
            outputs = ops.transpose(outputs, (0, 3, 1, 2))
        return outputs

    def compute_output_shape(self, input_shape):
        last = self.data_format == "channels_last"
        sizes = input_shape[1:3] if last else input_shape[2:4]
        height, width = output_sizes(self, sizes)
        if last:
            return (input_shape[0], height, width, self.filters)
        return (input_shape[0], self.filters, height, width)

    def compute_output_spec(self, inputs):
        shape = self.compute_output_shape(inputs.shape)
        return keras.KerasTensor(shape, dtype=self.given_dtype)

    def get_config(self):
        return {
            **super().get_config(),
            "filters": self.filters,
            "kernel_size": self.kernel_size,
            "strides": self.strides,
            "padding": self.padding,
            "data_format": self.data_format,
            "dilation_rate": self.dilation_rate,
        }
