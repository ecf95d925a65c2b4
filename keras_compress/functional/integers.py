"""Fixed-point layers in whole numbers: the definition that kernels are held against."""

import numpy as np

from keras_compress._validation import check_choice, check_int, invalid

PANEL_UNITS = 16
"""Units that stand side by side in a panel."""
BITS = (16, 8, 4)
"""Bits of a weight."""
ROUNDINGS = ("nearest_even", "truncate", "floor")
SUM_BITS = 32
"""Bits of the accumulator."""
MOST_SHIFT = 30
"""Bits by which a sum is shifted at most, either way."""
MOST_INPUTS_OF_4_BITS = 65_536
"""Sums of weights of 4 bits are 16 times as large in between."""


def pack_panels(codes, bits=8):
    """A matrix of integers in the order in which kernels read it.

    Panel `p` holds units `16 p` to `16 p + 15`: the first four inputs of each of them,
    then the next four of each, and so on. Of 4 bits, a byte holds input `k` in its low
    half and input `k + 4` in its high half, for `k % 8 < 4`. Of 16 bits, four bytes
    hold two inputs, each with its low byte first. Zeros fill up inputs and units. This
    is the one form that is stored, read by every SIMD level.

    Args:
        codes: Integer array `(inputs, units)`, in the range of so many bits.
        bits: 16, 8 or 4.

    Returns:
        Int8 array `(ceil(units / 16), steps, 16, 4)`; `steps` is
        `ceil(inputs / (32 / bits))`.

    Raises:
        ValueError: If `codes` is no such matrix.

    Example:

    >>> pack_panels(np.ones((8, 20), "int32"), bits=4).shape
    (2, 1, 16, 4)
    """
    codes = np.asarray(codes)
    check_choice("bits", bits, BITS)
    limit = 1 << (bits - 1)
    if codes.ndim != 2 or not np.issubdtype(codes.dtype, np.integer):
        raise invalid("codes", "an integer array (inputs, units)", codes.shape)
    if codes.size and (codes.min() < -limit or codes.max() >= limit):
        range_of = f"[{codes.min()}, {codes.max()}]"
        raise invalid("codes", f"in [{-limit}, {limit - 1}]", range_of)
    inputs, units = codes.shape
    inputs_of_step = 32 // bits
    steps, panels = -(-inputs // inputs_of_step), -(-units // PANEL_UNITS)
    full = np.zeros((steps * inputs_of_step, panels * PANEL_UNITS), "<i2")
    full[:inputs, :units] = codes
    if bits == 16:
        pairs = full.reshape(steps, 2, panels, PANEL_UNITS).transpose(2, 0, 3, 1)
        return np.ascontiguousarray(pairs).view(np.int8)
    full = full.astype(np.int8)
    halves = full.reshape(steps, inputs_of_step // 4, 4, panels, PANEL_UNITS)
    halves = halves.transpose(3, 0, 4, 1, 2)  # panel, step, unit, half, input
    if bits == 8:
        return np.ascontiguousarray(halves[:, :, :, 0])
    low, high = halves.view(np.uint8)[:, :, :, 0], halves.view(np.uint8)[:, :, :, 1]
    return np.ascontiguousarray((low & 15) | (high << 4)).view(np.int8)


def unpack_panels(panels, inputs, units, bits=8):
    """Undoes `pack_panels`.

    Args:
        panels: Int8 array, as of `pack_panels`.
        inputs: Integer >= 0.
        units: Integer >= 0.
        bits: 16, 8 or 4.

    Returns:
        Int8 array `(inputs, units)`, int16 of 16 bits.

    Example:

    >>> codes = np.arange(-8, 8).reshape(8, 2)
    >>> bool((unpack_panels(pack_panels(codes, 4), 8, 2, 4) == codes).all())
    True
    """
    panels = np.ascontiguousarray(panels)
    if bits == 16:
        panels = panels.view("<i2").astype(np.int16)
    halves = panels[:, :, :, None]
    if bits == 4:
        low = (panels.view(np.uint8) << 4).view(np.int8) >> 4
        halves = np.stack([low, panels >> 4], axis=3)
    codes = halves.transpose(1, 3, 4, 0, 2)
    steps, parts, width = codes.shape[:3]
    codes = codes.reshape(steps * parts * width, -1)
    return np.ascontiguousarray(codes[:inputs, :units])


def from_floats(x, fraction_bits, low, high, rounding="nearest_even"):
    """`clamp(round(x * 2 ** fraction_bits), low, high)`, in float32 as it is trained.

    Args:
        x: Array of floats without NaN.
        fraction_bits: Integer.
        low: Integer.
        high: Integer.
        rounding: `"nearest_even"`, `"truncate"` or `"floor"`.

    Returns:
        Int64 array.

    Raises:
        ValueError: If there is NaN.

    Example:

    >>> from_floats(np.array([0.3, -9.0]), 2, -8, 7)
    array([ 1, -8])
    """
    x = np.asarray(x, np.float32)
    if np.isnan(x).any():
        raise invalid("x", "free of NaN, which is no integer", "NaN")
    with np.errstate(over="ignore"):
        scaled = np.clip(np.ldexp(x, fraction_bits), low, high)
    how = {"nearest_even": np.rint, "truncate": np.trunc, "floor": np.floor}
    check_choice("rounding", rounding, ROUNDINGS)
    return how[rounding](scaled).astype(np.int64)


def shifted(sums, shifts, rounding="nearest_even"):
    """`round(sums / 2 ** shifts)`, exactly.

    Args:
        sums: Integer array `(..., units)`.
        shifts: Integer, or an array `(units,)`; below zero they multiply.
        rounding: `"nearest_even"`, `"truncate"` or `"floor"`.

    Returns:
        Int64 array.

    Example:

    >>> shifted(np.array([3, 5, 6, -5]), 1)
    array([ 2,  2,  3, -2])
    """
    check_choice("rounding", rounding, ROUNDINGS)
    sums = np.asarray(sums, np.int64) << np.maximum(np.negative(shifts), 0)
    right = np.maximum(shifts, 0)
    below = sums >> right
    rest = sums - (below << right)
    if rounding == "floor":
        return below
    if rounding == "truncate":
        return below + ((sums < 0) & (rest != 0))
    half = 2 * rest
    unit = np.left_shift(1, right)
    return below + ((half > unit) | ((half == unit) & (below % 2 == 1) & (right > 0)))


def integer_sums(rows, codes, bias):
    """`rows @ codes + bias`, in integers of any size.

    Args:
        rows: Integer array `(..., inputs)`.
        codes: Integer array `(inputs, units)`.
        bias: Integer array `(units,)`.

    Returns:
        Int64 array `(..., units)`.

    Example:

    >>> integer_sums([[1, 2]], [[3], [4]], [5])
    array([[16]])
    """
    product = np.asarray(rows, np.int64) @ np.asarray(codes, np.int64)
    return product + np.asarray(bias, np.int64)


def accumulator_bits(codes, low, high, bias):
    """How many bits the largest sum that there can be takes, the sign among them.

    Args:
        codes: Integer array `(inputs, units)`.
        low: Integer, the smallest input.
        high: Integer, the largest.
        bias: Integer array `(units,)`.

    Returns:
        An `int`.

    Example:

    >>> accumulator_bits([[127]] * 1000, -128, 127, [0])
    25
    """
    codes = np.asarray(codes, np.int64)
    bias = np.asarray(bias, np.int64)
    up = np.where(codes > 0, codes * high, codes * low).sum(axis=0) + bias
    down = np.where(codes > 0, codes * low, codes * high).sum(axis=0) + bias
    # Sums on the way are in between, but for the bias.
    top = int(max(up.max(initial=0), bias.max(initial=0)))
    bottom = int(min(down.min(initial=0), bias.min(initial=0)))
    return max(top.bit_length(), (-bottom - 1).bit_length() if bottom else 0) + 1


def bits_of_weights(codes):
    """The fewest bits that hold these weights, of those in which they are stored.

    Args:
        codes: Integer array `(inputs, units)`.

    Returns:
        One of `BITS`, or `None` where none are enough.

    Example:

    >>> bits_of_weights(np.array([[7, -8]])), bits_of_weights(np.array([[8, -8]]))
    (4, 8)
    """
    for bits in sorted(BITS):
        half = 1 << (bits - 1)
        if codes.min(initial=0) >= -half and codes.max(initial=0) < half:
            if bits > 4 or len(codes) <= MOST_INPUTS_OF_4_BITS:
                return bits
    return None


def check_sums(name, bits):
    """Raises where the accumulator would need more bits than it has."""
    check_int("bits", bits)
    if bits > SUM_BITS:
        raise ValueError(
            f"Layer {name!r} needs sums of {bits} bits, and its kernels have "
            f"{SUM_BITS}. Take fewer bits for its kernel, inputs or bias."
        )
