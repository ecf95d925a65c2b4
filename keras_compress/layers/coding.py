"""Input codings as layers: real numbers become -1 and +1, or 0 and 1."""

import keras
import numpy as np
from keras import ops

from keras_compress._validation import check_choice, check_int, check_real
from keras_compress.functional import coding

# Fitting needs no more of the data than this: a level is the mean of thousands.
MOST_SAMPLES = 2_000_000


class ThresholdCoding(keras.layers.Layer):
    """What `BipolarCoding` and `ZeroOneCoding` share: a threshold."""

    def __init__(self, threshold=0.5, **kwargs):
        self.threshold = check_real("threshold", threshold)
        super().__init__(**kwargs)
        self.supports_masking = True

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "threshold": self.threshold}


@keras.saving.register_keras_serializable("keras_compress")
class BipolarCoding(ThresholdCoding):
    """+1 from a threshold on, else -1: `sign(x - threshold)`.

    The gradient passes through unchanged.

    Args:
        threshold: Number. Defaults to 0.5, the middle of pixels in [0, 1].
        **kwargs: Arguments of `keras.layers.Layer`.

    Input shape:
        Any.

    Output shape:
        That of the inputs.

    Raises:
        ValueError: If `threshold` is not a finite number.

    Example:

    >>> print(BipolarCoding()(np.array([[0.2, 0.5]])).numpy())
    [[-1.  1.]]

    Reference:
        - [Kim & Smaragdis, 2015](https://arxiv.org/abs/1601.06071), section 4
    """

    def call(self, inputs):
        return coding.bipolar(ops.cast(inputs, self.compute_dtype), self.threshold)


@keras.saving.register_keras_serializable("keras_compress")
class ZeroOneCoding(ThresholdCoding):
    """1 from a threshold on, else 0.

    The gradient passes through unchanged. A bitwise layer behind it needs
    `inputs="zero_one"`, for the sign of 0 is +1.

    Args:
        threshold: Number. Defaults to 0.5, the middle of pixels in [0, 1].
        **kwargs: Arguments of `keras.layers.Layer`.

    Input shape:
        Any.

    Output shape:
        That of the inputs.

    Raises:
        ValueError: If `threshold` is not a finite number.

    Example:

    >>> print(ZeroOneCoding()(np.array([[0.2, 0.5]])).numpy())
    [[0. 1.]]

    Reference:
        - [Kim & Smaragdis, 2015](https://arxiv.org/abs/1601.06071), section 4
    """

    def call(self, inputs):
        return coding.zero_one(ops.cast(inputs, self.compute_dtype), self.threshold)


class WordCoding(keras.layers.Layer):
    """What `BitsCoding` and `LloydMaxCoding` share: several outputs for one input."""

    def __init__(self, bits, *, code="natural", **kwargs):
        self.bits = check_int("bits", bits, minimum=1, maximum=coding.MOST_BITS)
        self.code = check_choice("code", code, coding.CODES)
        super().__init__(**kwargs)

    def compute_output_shape(self, input_shape):
        *others, last = input_shape
        length = coding.word_length(2**self.bits, self.code)
        return (*others, None if last is None else last * length)

    def get_config(self):
        return {**super().get_config(), "bits": self.bits, "code": self.code}


@keras.saving.register_keras_serializable("keras_compress")
class BitsCoding(WordCoding):
    """The bits of a fixed-point value on separate outputs, as -1 and +1.

    The range is cut into `2 ** bits` equal parts. The bits of a value stand beside each
    other on the last axis, the most significant first. No gradient flows through it.

    Args:
        bits: Integer in `[1, 16]`, bits a value.
        low: Number, the lower end of the range.
        high: Number, its upper end; what is outside counts as the end.
        code: `"natural"`, `"gray"` (neighbours differ in one bit) or `"thermometer"`
            (`2 ** bits - 1` outputs, of which as many are +1 as the part's number).
        **kwargs: Arguments of `keras.layers.Layer`.

    Input shape:
        `(batch, ..., features)`.

    Output shape:
        `(batch, ..., features * bits)`; for `"thermometer"` `2 ** bits - 1` each.

    Raises:
        ValueError: If an argument is out of range.

    Example:

    >>> print(BitsCoding(2)(np.array([[0.3, 0.9]])).numpy())
    [[-1.  1.  1.  1.]]

    Reference:
        - [Kim & Smaragdis, 2015](https://arxiv.org/abs/1601.06071), section 4
    """

    def __init__(self, bits, *, low=0.0, high=1.0, code="natural", **kwargs):
        self.low = check_real("low", low)
        self.high = check_real("high", high, above=low)
        super().__init__(bits, code=code, **kwargs)

    def call(self, inputs):
        inputs = ops.cast(inputs, self.compute_dtype)
        limits = {"low": self.low, "high": self.high}
        return coding.bits(inputs, self.bits, code=self.code, **limits)

    def get_config(self):
        return {**super().get_config(), "low": self.low, "high": self.high}


@keras.saving.register_keras_serializable("keras_compress")
class LloydMaxCoding(WordCoding):
    """The bits of the nearest of `2 ** bits` levels, which are fitted to data.

    Call `adapt` on samples before training. The bits of a value stand beside each other
    on the last axis, the most significant first. No gradient flows through it.

    Args:
        bits: Integer in `[1, 16]`, bits a value.
        code: As in `BitsCoding`.
        **kwargs: Arguments of `keras.layers.Layer`.

    Attributes:
        levels: Float variable `(2 ** bits,)`, in ascending order. Before `adapt`, they
            divide [0, 1].

    Input shape:
        `(batch, ..., features)`.

    Output shape:
        `(batch, ..., features * bits)`; for `"thermometer"` `2 ** bits - 1` each.

    Raises:
        ValueError: If an argument is out of range.

    Example:

    >>> layer = LloydMaxCoding(1)
    >>> layer.adapt(np.array([[0.0, 1.0, 1.0, 9.0, 11.0]]))
    >>> print(layer.levels.numpy().round(3), layer(np.array([[2.0, 7.0]])).numpy())
    [ 0.667 10.   ] [[-1.  1.]]

    Reference:
        - [Lloyd, 1982](https://doi.org/10.1109/TIT.1982.1056489)
        - [Kim & Smaragdis, 2018](https://doi.org/10.1109/ICASSP.2018.8461824)
    """

    def __init__(self, bits, *, code="natural", **kwargs):
        super().__init__(bits, code=code, **kwargs)
        count = 2**self.bits
        self.levels = self.add_weight(
            name="levels",
            shape=(count,),
            dtype="float32",
            initializer=lambda shape, dtype=None: ops.cast(
                (np.arange(count) + 0.5) / count, dtype
            ),
            trainable=False,
            autocast=False,
        )

    def adapt(self, data):
        """Fits the levels to samples.

        Args:
            data: Array of finite numbers, of any shape. Of more than two millions,
                evenly spaced ones are taken.

        Raises:
            ValueError: If it is empty, or a number is not finite.
        """
        data = np.asarray(data).ravel()
        data = data[:: max(1, -(-data.size // MOST_SAMPLES))]
        self.levels.assign(coding.lloyd_max_levels(data, 2**self.bits))

    def call(self, inputs):
        levels = ops.convert_to_tensor(self.levels)
        words = coding.level_bits(ops.cast(inputs, "float32"), levels, code=self.code)
        return ops.cast(words, self.compute_dtype)
