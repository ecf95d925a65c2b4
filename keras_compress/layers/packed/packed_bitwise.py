"""Inference layers whose weights, and most of whose numbers, are packed bits."""

import keras
from keras import ops

from keras_compress._validation import check_choice, check_int
from keras_compress.layers.packed._function import function_of
from keras_compress.layers.packed._packed_signs import PackedSigns
from keras_compress.layers.packed._windows import output_sizes, pair, surrounded
from keras_compress.ops import stages, xnor_conv2d, xnor_matmul


@keras.saving.register_keras_serializable("keras_compress")
class PackedBitwiseDense(PackedSigns):
    """The inference form of `BitwiseDense`: one bit a weight, and popcounts.

    Made by `keras_compress.pack`. The sums of signs are integers, and exact. As
    outputs it gives

    - `"float32"`: `activation((sum + added) * scale + bias)` in the compute dtype
    - `"bits"`: packed signs, negative where `sum < thresholds` differs from `flips`; a
      layer with `inputs="packed"` takes them

    Not trainable. NaN among the inputs is an error, for it has no sign.

    Args:
        units: Positive integer, size of the output.
        inputs: How inputs become bits: `"sign"`, `"bipolar"`, `"zero_one"` or `"bits"`,
            as in `BitwiseDense`; `"packed"`: they are packed signs, in words.
        bits: Integer in `[1, 16]`: of `inputs="bits"`, how many.
        threshold: Number from which on `"bipolar"` and `"zero_one"` give 1.
        channels: Positive integer, for `inputs="packed"`: so many signs stand in whole
            words together, and the next begin with the next word.
        outputs: `"float32"` or `"bits"`.
        masked: Whether weights can be 0, which takes a second bit for each.
        counted: Whether integers are added to the sums.
        scaled: Whether there is a scale, for `"float32"`.
        use_bias: Whether there is a bias, for `"float32"`.
        bias_first: Whether the bias is added before the scale is multiplied.
        activation: As in `keras.layers.Dense`, for `"float32"`.
        **kwargs: Arguments of `keras.layers.Layer`.

    Attributes:
        signs: Uint32 variable, the panels of `functional.signs.to_panels`.
        masks: Uint32 variable, the same for the mask; `None` unless `masked`.
        kept: Int32 variable `(units,)`, the weights that are not 0, and what is added
            to sums; `None` unless `counted` or `masked`.
        thresholds: Int32 variable `(units,)`; `None` unless bits are given.
        flips: Uint32 variable, a bit for each unit; `None` unless bits are given.

    Input shape:
        `(batch, ..., input_dim)`; packed, `(batch, ..., words)`.

    Output shape:
        `(batch, ..., units)`; for bits, `(batch, ..., ceil(units / 32))`.

    Raises:
        ValueError: If an argument is out of range.
        tf.errors.InvalidArgumentError: When called on NaN.

    Example:

    >>> layer = PackedBitwiseDense(1, use_bias=False)
    >>> layer.build((None, 3))
    >>> layer.fill([[1], [-1], [1]])
    >>> print(layer(np.array([[0.5, 2.0, -3.0]])).numpy())
    [[-1.]]

    Reference:
        - [Kim & Smaragdis, 2015](https://arxiv.org/abs/1601.06071)
    """

    channel_axis = -1
    axes_stay = True

    def __init__(self, units, **kwargs):
        self.units = check_int("units", units, minimum=1)
        super().__init__(**kwargs)
        self.input_spec = keras.layers.InputSpec(min_ndim=2)
        self.supports_masking = True

    def build(self, input_shape):
        self.input_spec = keras.layers.InputSpec(min_ndim=2, axes={-1: input_shape[-1]})
        self.add_variables(*self.coded_channels(input_shape[-1]), self.units)

    def call(self, inputs):
        outputs = xnor_matmul(
            self.rows(inputs),
            *self.weights_of_op(),
            input_dim=self.row_width(),
            outputs=self.outputs,
            **self.end_of_op(),
        )
        return self.finish(outputs)

    def as_function(self):
        """The layer as a function of a tensor, to be called again and again.

        It holds the weights as they are now, and computes what the layer does. Keras
        looks at every call of a layer for longer than a small product takes; this is
        little more than the call of an op.

        Returns:
            Function of a tensor `(batch, input_dim)`, float32 or as the layer takes it,
            to the outputs.

        Example:

        >>> layer = PackedBitwiseDense(1, use_bias=False)
        >>> layer.build((None, 3))
        >>> layer.fill([[1], [-1], [1]])
        >>> print(layer.as_function()(tf.constant([[0.5, 2.0, -3.0]])).numpy())
        [[-1.]]
        """
        return function_of([self])

    def stage(self):
        """The layer as a stage of `ops.xnor_network`."""
        width = self.fan_in if self.groups == 1 else self.row_width()
        return stages.Product(input_dim=width, **self.arrays_of_stage())

    def row_width(self):
        """Signs in a row of the product, those that fill up words included."""
        if self.inputs != "packed":
            return self.fan_in
        return 32 * self.groups * -(-self.group_channels // 32)

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.output_length(self.units))

    def get_config(self):
        return {**super().get_config(), "units": self.units}


@keras.saving.register_keras_serializable("keras_compress")
class PackedBitwiseConv2D(PackedSigns):
    """The inference form of `BitwiseConv2D`: one bit a weight, and popcounts.

    Made by `keras_compress.pack`. It is to `BitwiseConv2D` what `PackedBitwiseDense` is
    to `BitwiseDense`. With `padding="same"` the border is of zeros, which add nothing
    to a sum; zeros of `ZeroPadding2D` are inputs, whose sign is +1.

    Args:
        filters: Positive integer, number of output channels.
        kernel_size: Integer or pair of integers, height and width of the window.
        strides: Integer or pair of integers.
        padding: `"valid"` or `"same"`.
        data_format: `"channels_last"` or `"channels_first"`; packed bits are always
            `(batch, height, width, words)`.
        dilation_rate: Integer or pair of integers.
        **kwargs: As of `PackedBitwiseDense`.

    Attributes:
        signs: Uint32 variable, the panels of `functional.signs.to_panels`, with each
            pixel of the window beginning with a new word.
        masks: Uint32 variable, the same for the mask; `None` unless `masked`.
        kept: As in `PackedBitwiseDense`.
        thresholds: As in `PackedBitwiseDense`.
        flips: As in `PackedBitwiseDense`.

    Input shape:
        As of `keras.layers.Conv2D`; packed, `(batch, height, width, words)`.

    Output shape:
        As of `keras.layers.Conv2D`; for bits, `(batch, height, width, words)`.

    Raises:
        ValueError: If an argument is out of range.
        tf.errors.InvalidArgumentError: When called on NaN.

    Example:

    >>> layer = PackedBitwiseConv2D(1, 2, use_bias=False)
    >>> layer.build((None, 2, 2, 1))
    >>> layer.fill(np.ones((2, 2, 1, 1)))
    >>> print(layer(np.array([[[[1.0], [-2.0]], [[0.0], [3.0]]]])).numpy().ravel())
    [2.]

    Reference:
        - [Kim & Smaragdis, 2015](https://arxiv.org/abs/1601.06071)
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
        axis = self.channel_axis
        length = input_shape[axis]
        self.input_spec = keras.layers.InputSpec(ndim=4, axes={axis: length})
        _, channels = self.coded_channels(length)
        height, width = self.kernel_size
        self.add_variables(height * width, channels, self.filters)

    def rows(self, inputs):
        images = super().rows(inputs)
        if self.channel_axis == 1:
            images = ops.transpose(images, (0, 2, 3, 1))
        if self.surrounds:
            window = (self.kernel_size, self.strides, self.dilation_rate)
            images = surrounded(images, *window)
        return images

    @property
    def surrounds(self):
        """Whether the border is of zeros that are inputs like any other: bits -1."""
        return self.padding == "same" and self.inputs == "zero_one"

    @property
    def axes_stay(self):
        """Whether images go to the op, and come from it, with the axes as they are."""
        return self.data_format == "channels_last" and not self.surrounds

    def call(self, inputs):
        outputs = xnor_conv2d(
            self.rows(inputs),
            *self.weights_of_op(),
            outputs=self.outputs,
            **self.geometry(),
            **self.end_of_op(),
        )
        return self.finish(outputs)

    def geometry(self):
        """The arguments of the op that say how the window moves over `rows`."""
        return {
            "channels": self.group_channels,
            "kernel_size": self.kernel_size,
            "strides": self.strides,
            "dilations": self.dilation_rate,
            "padding": "valid" if self.surrounds else self.padding,
        }

    def as_function(self):
        """The layer as a function of a tensor, as `PackedBitwiseDense.as_function`.

        Returns:
            Function of a tensor of images, float32 or as the layer takes them, to the
            outputs.
        """
        return function_of([self])

    def stage(self):
        """The layer as a stage of `ops.xnor_network`."""
        return stages.Convolution(**self.geometry(), **self.arrays_of_stage())

    def arrange(self, outputs):
        if self.data_format == "channels_last":
            return outputs
        return ops.transpose(outputs, (0, 3, 1, 2))

    @property
    def channel_axis(self):
        """The axis of the inputs that holds the channels, or their words."""
        last = self.data_format == "channels_last" or self.inputs == "packed"
        return -1 if last else 1

    def compute_output_shape(self, input_shape):
        sizes = input_shape[1:3] if self.channel_axis == -1 else input_shape[2:4]
        height, width = output_sizes(self, sizes)
        length = self.output_length(self.filters)
        if self.data_format == "channels_last" or self.outputs == "bits":
            return (input_shape[0], height, width, length)
        return (input_shape[0], length, height, width)

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
