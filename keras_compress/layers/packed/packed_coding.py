"""The coding before a packed bitwise network, as one op."""

import keras
import numpy as np
from keras import ops

from keras_compress.functional import coding
from keras_compress.layers.coding import WordCoding
from keras_compress.layers.packed._native_layer import NativeLayer
from keras_compress.ops import level_bits


@keras.saving.register_keras_serializable("keras_compress")
class PackedLloydMaxCoding(NativeLayer, WordCoding):
    """The bits of the nearest level, as `LloydMaxCoding` gives them, by one op.

    Made by `keras_compress.pack`. Not trainable. NaN has bits that are NaN, which
    packed layers refuse.

    Args:
        bits: Integer in `[1, 16]`, bits a value.
        code: As in `keras_compress.layers.BitsCoding`.
        **kwargs: Arguments of `keras.layers.Layer`.

    Attributes:
        limits: Float32 variable `(2 ** bits - 1,)`: where one level ends and the next
            begins, which belongs to the latter.

    Input shape:
        `(batch, ..., features)`.

    Output shape:
        `(batch, ..., features * bits)`; for `"thermometer"` `2 ** bits - 1` each.

    Raises:
        ValueError: If an argument is out of range.

    Example:

    >>> layer = PackedLloydMaxCoding(1)
    >>> layer.fill(np.array([0.0, 10.0]))
    >>> print(layer(np.array([[2.0, 7.0]])).numpy())
    [[-1.  1.]]

    Reference:
        - [Lloyd, 1982](https://doi.org/10.1109/TIT.1982.1056489)
    """

    def __init__(self, bits, *, code="natural", **kwargs):
        super().__init__(bits, code=code, **kwargs)
        self.limits = self._add("limits", (2**self.bits - 1,))
        table = coding.code_table(2**self.bits, self.code)
        nothing = np.full((1, table.shape[1]), np.nan, "float32")
        self._words = np.concatenate([table, nothing])

    def fill(self, levels):
        """Takes over levels.

        Args:
            levels: Array `(2 ** bits,)`, in ascending order.
        """
        self.limits.assign(coding.level_limits(ops.cast(levels, "float32")))

    def call(self, inputs):
        limits = ops.convert_to_tensor(self.limits)
        coded = level_bits(ops.cast(inputs, "float32"), limits, self._words)
        return ops.cast(coded, self.compute_dtype)
