"""`QFormat`: which numbers a fixed-point format holds, and how others become them."""

import dataclasses
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_compress._validation import check_choice, check_int, invalid
from keras_compress.functional import notation
from keras_compress.functional.grid import powers_of_two, to_grid

OVERFLOWS = ("saturate", "wrap")
ROUNDINGS = ("nearest_even", "truncate", "floor", "stochastic")
MOST_BITS = 32
"""Bits of the widest format, the sign among them."""
FARTHEST = 64
"""The largest `fraction_bits` and `integer_bits`, and the smallest, negated."""


@keras.saving.register_keras_serializable("keras_compress")
@dataclasses.dataclass(frozen=True)
class QFormat:
    """A fixed-point format: a sign, integer bits, fraction bits.

    It holds the multiples of `2 ** -fraction_bits` in
    `[-2 ** integer_bits, 2 ** integer_bits - 2 ** -fraction_bits]`, or from 0 on where
    it is not signed. Bits may be negative: `QFormat(-2, 9)` is for numbers below 1/4,
    `QFormat(10, -3)` counts in eights.

    Args:
        integer_bits: Integer in `[-64, 64]`, the sign not counted. `None` is wide
            enough for anything. A tuple gives every channel, which is the last axis,
            bits of its own.
        fraction_bits: Integer in `[-64, 64]`, or a tuple of the same length. Together
            with the integer bits and the sign there are at most 32, and at least one
            beside the sign.
        signed: Whether there are negative numbers.
        overflow: What becomes of numbers out of range: `"saturate"` takes the nearest
            in it, `"wrap"` drops the upper bits of two's complement.
        rounding: `"nearest_even"`, `"truncate"` (toward zero), `"floor"`, or
            `"stochastic"` (up with the probability of the remainder, so that the mean
            is kept).

    Raises:
        ValueError: If an argument is out of range, or no bits are left.

    Example:

    >>> q = QFormat(integer_bits=6, fraction_bits=3)
    >>> q.to_bits(-35.125)
    '1 100011 001'
    >>> q.min, q.max, q.resolution
    (-64.0, 63.875, 0.125)
    >>> print(q.quantize(np.array([0.3, 100.0])))
    [ 0.25  63.875]

    Reference:
        - [Gupta et al., 2015](https://arxiv.org/abs/1502.02551), section 3
    """

    integer_bits: Any
    fraction_bits: Any
    signed: bool = True
    overflow: str = "saturate"
    rounding: str = "nearest_even"

    def __post_init__(self):
        for name in ("integer_bits", "fraction_bits"):
            object.__setattr__(self, name, _check_bits(name, getattr(self, name)))
        if not isinstance(self.signed, bool):
            raise invalid("signed", "True or False", self.signed)
        check_choice("overflow", self.overflow, OVERFLOWS)
        check_choice("rounding", self.rounding, ROUNDINGS)
        if self.integer_bits is None:
            return
        if isinstance(self.integer_bits, tuple) != isinstance(
            self.fraction_bits, tuple
        ) or np.shape(self.integer_bits) != np.shape(self.fraction_bits):
            expected = "one integer as `integer_bits` is, or a tuple of that length"
            raise invalid("fraction_bits", expected, self.fraction_bits)
        magnitude = np.add(self.integer_bits, self.fraction_bits)
        if np.min(magnitude) < 1 or np.max(magnitude) > MOST_BITS - self.signed:
            expected = (
                f"in [1, {MOST_BITS - self.signed}], the bits beside the "
                f"{'sign' if self.signed else 'sign, of which there is none'}"
            )
            name = "integer_bits + fraction_bits"
            raise ValueError(f"`{name}` must be {expected}. Received: {self}")

    @classmethod
    def per_channel(cls, formats):
        """One format for all channels, of formats that differ in their bits alone.

        Args:
            formats: Sequence of `QFormat`s, one for each channel.

        Returns:
            A `QFormat`.

        Raises:
            ValueError: If there are none, or they differ in more.
        """
        formats = list(formats)
        kinds = {(x.signed, x.overflow, x.rounding) for x in formats}
        if len(kinds) != 1:
            raise invalid("formats", "of one sign, overflow and rounding", formats)
        integers = tuple(x.integer_bits for x in formats)
        return cls(integers, tuple(x.fraction_bits for x in formats), *kinds.pop())

    @property
    def channels(self):
        """How many channels have bits of their own; `None` where all have the same."""
        bits = self.fraction_bits
        return len(bits) if isinstance(bits, tuple) else None

    def channel(self, index):
        """The format of one channel."""
        if self.channels is None:
            return self
        integers = None if self.integer_bits is None else self.integer_bits[index]
        return dataclasses.replace(
            self, integer_bits=integers, fraction_bits=self.fraction_bits[index]
        )

    @property
    def bits(self):
        """How many bits a number takes, of channels the most; `None` if wide enough."""
        if self.integer_bits is None:
            return None
        return int(np.max(np.add(self.integer_bits, self.fraction_bits))) + self.signed

    @property
    def resolution(self):
        """The step between numbers, `2 ** -fraction_bits`; an array for channels."""
        return powers_of_two(np.negative(self.fraction_bits))

    @property
    def max(self):
        """The largest number; an array for channels."""
        if self.integer_bits is None:
            return float("inf")
        return powers_of_two(self.integer_bits) - self.resolution

    @property
    def min(self):
        """The smallest number, `-2 ** integer_bits` or 0; an array for channels."""
        if not self.signed:
            return 0.0 if self.channels is None else np.zeros(self.channels)
        if self.integer_bits is None:
            return -float("inf")
        return -powers_of_two(self.integer_bits)

    def quantize(self, x, *, seed=None):
        """The numbers of the format that stand for `x`.

        Exact in the arithmetic of `x`, float32 at least: a power of two only moves the
        exponent. Where a format has more bits than the mantissa of `x`, its largest
        number is the nearest below that `x` can hold. NaN stays NaN.

        Args:
            x: Number, array or tensor of floats, the channels last.
            seed: Integer or `keras.random.SeedGenerator`, for stochastic rounding.

        Returns:
            A tensor for a tensor, else a NumPy array. Its gradient is zero: see
            `keras_compress.functional.fixed_point.quantize`.
        """
        if not ops.is_tensor(x) and not isinstance(x, keras.Variable):
            x = np.asarray(x)
            exact = np.float64 if x.dtype == np.float64 else np.float32
            x = ops.convert_to_tensor(x.astype(exact))
            return ops.convert_to_numpy(to_grid(x, self, seed=seed))
        return to_grid(ops.convert_to_tensor(x), self, seed=seed)

    def to_integers(self, x):
        """The integers `k` of the numbers `k * resolution` that stand for `x`.

        Args:
            x: Array of finite floats, the channels last.

        Returns:
            Int64 array.
        """
        x = self.quantize(np.asarray(x, np.float64))
        return (x / self.resolution).astype(np.int64)

    def to_bits(self, value, encoding="sign_magnitude"):
        """The bits of a number, as text: sign, integer part and fraction.

        Args:
            value: Finite number. What the format does not hold is quantized first.
            encoding: `"sign_magnitude"` or `"twos_complement"`.

        Returns:
            A string of 0 and 1 with spaces between the parts.

        Raises:
            ValueError: If the encoding has no such number, or the format has channels.
        """
        self._check_one()
        return notation.bits_of(self, value, encoding)

    def from_bits(self, text, encoding="sign_magnitude"):
        """The number that bits stand for.

        Args:
            text: String of 0 and 1; spaces do not count.
            encoding: `"sign_magnitude"` or `"twos_complement"`.

        Returns:
            A `float`.

        Raises:
            ValueError: If these are not as many bits as the format has.

        Example:

        >>> QFormat(6, 3).from_bits("1 100011 001")
        -35.125
        """
        self._check_one()
        return notation.number_of(self, text, encoding)

    def to_ap_fixed(self):
        """The format as Vitis HLS writes it.

        Returns:
            A string such as `"ap_fixed<10,7,AP_RND_CONV,AP_SAT>"`, whose integer bits
            count the sign.

        Raises:
            ValueError: If there is no such type: of channels, of no width, or of
                stochastic rounding.

        Example:

        >>> QFormat(6, 3).to_ap_fixed()
        'ap_fixed<10,7,AP_RND_CONV,AP_SAT>'
        """
        self._check_one()
        return notation.ap_fixed_of(self)

    @classmethod
    def from_ap_fixed(cls, text):
        """The format of a type of Vitis HLS.

        Args:
            text: String such as `"ap_fixed<16,6>"`, which rounds down and wraps, as
                HLS does by default, or `"ap_ufixed<8,0,AP_RND_CONV,AP_SAT>"`.

        Returns:
            A `QFormat`.

        Raises:
            ValueError: If it is no such type, or has a mode that no `QFormat` has.

        Example:

        >>> QFormat.from_ap_fixed("ap_fixed<10,7,AP_RND_CONV,AP_SAT>")
        QFormat(integer_bits=6, fraction_bits=3, signed=True, overflow='saturate',
        rounding='nearest_even')
        """
        return cls(*notation.of_ap_fixed(text))

    def get_config(self):
        """The arguments, as JSON can hold them."""
        return dataclasses.asdict(self)

    @classmethod
    def from_config(cls, config):
        """The format of these arguments."""
        return cls(**config)

    def _check_one(self):
        if self.channels is not None:
            raise ValueError(
                "A format of channels has no bits of its own: take `format.channel(i)`."
            )


def _check_bits(name, value):
    if value is None and name == "integer_bits":
        return None
    if isinstance(value, list | tuple) and len(value):
        return tuple(_check_bits(name, one) for one in value)
    return check_int(name, value, minimum=-FARTHEST, maximum=FARTHEST)
