"""Pooling that stays in packed bits, between bitwise convolutions."""

import keras
from keras import ops

from keras_compress._validation import check_choice, invalid
from keras_compress.layers.packed._native_layer import NativeLayer
from keras_compress.layers.packed._windows import output_sizes, pair
from keras_compress.ops import pool_signs, stages


@keras.saving.register_keras_serializable("keras_compress")
class PackedMaxPooling2D(NativeLayer):
    """Max pooling of packed signs: negative where all of a window are.

    Made by `keras_compress.pack`, of a `MaxPooling2D` between bitwise layers. Where a
    batch normalisation behind the pooling turns the order round, the maximum of what it
    gets is the minimum of what it gives: these units are `flipped`.

    Args:
        pool_size: Integer or pair of integers.
        strides: Integer or pair of integers. Defaults to `pool_size`.
        padding: `"valid"` or `"same"`.
        flipped: Whether some units are pooled to their minimum.
        **kwargs: Arguments of `keras.layers.Layer`.

    Attributes:
        flips: Uint32 variable, a bit for each unit; `None` unless `flipped`.

    Input shape:
        `(batch, height, width, words)`.

    Output shape:
        `(batch, new_height, new_width, words)`.

    Raises:
        ValueError: If an argument is out of range.

    Example:

    >>> words = np.array([[[[3], [1]], [[1], [1]]]], "uint32")
    >>> print(PackedMaxPooling2D(2)(words).numpy().ravel())
    [1]

    Reference:
        - [Umuroglu et al., 2016](https://arxiv.org/abs/1612.07119), section 4.2.3
    """

    dilation_rate = (1, 1)

    def __init__(
        self, pool_size, *, strides=None, padding="valid", flipped=False, **kwargs
    ):
        self.kernel_size = pair("pool_size", pool_size)
        self.strides = self.kernel_size if strides is None else pair("strides", strides)
        self.padding = check_choice("padding", padding, ("valid", "same"))
        if not isinstance(flipped, bool):
            raise invalid("flipped", "True or False", flipped)
        self.flipped = flipped
        super().__init__(**kwargs)
        self.input_spec = keras.layers.InputSpec(ndim=4)

    def build(self, input_shape):
        self.words = input_shape[-1]
        self.flips = None
        if self.flipped:
            self.flips = self._add("flips", (self.words,), "uint32")

    def call(self, inputs):
        flips = None if self.flips is None else ops.convert_to_tensor(self.flips)
        geometry = {"strides": self.strides, "padding": self.padding}
        return pool_signs(inputs, self.kernel_size, flips=flips, **geometry)

    def stage(self):
        """The layer as a stage of `ops.xnor_network`."""
        flips = None if self.flips is None else self.flips.value
        geometry = {"strides": self.strides, "padding": self.padding}
        return stages.Pooling(self.kernel_size, self.words, flips=flips, **geometry)

    def compute_output_shape(self, input_shape):
        sizes = output_sizes(self, input_shape[1:3])
        return (input_shape[0], *sizes, input_shape[3])

    def compute_output_spec(self, inputs):
        return keras.KerasTensor(self.compute_output_shape(inputs.shape), "uint32")

    def get_config(self):
        return {
            **super().get_config(),
            "pool_size": self.kernel_size,
            "strides": self.strides,
            "padding": self.padding,
            "flipped": self.flipped,
        }
