"""Signs packed into 32-bit words: one bit a weight, in rows and in panels."""

import numpy as np

from keras_compress._validation import check_int, invalid

PANEL_UNITS = 16
"""Units that stand side by side in a panel."""


def pack_signs(array):
    """Packs the signs of the last axis, 32 to a word.

    Sign `k` is bit `k % 32` of word `k // 32`: 1 for a negative number, 0 for any
    other, so that `+0.0` and `-0.0` count as +1. Bits after the last sign are 0.

    Args:
        array: Float array `(..., width)` without NaN, which has no sign.

    Returns:
        Uint32 array `(..., ceil(width / 32))`.

    Raises:
        ValueError: If `array` has no axis, is not of floats, or holds NaN.

    Example:

    >>> pack_signs(np.array([1.0, -2.0, -0.0, -3.0]))
    array([10], dtype=uint32)
    """
    array = np.asarray(array)
    if array.ndim < 1 or not np.issubdtype(array.dtype, np.floating):
        received = f"{array.dtype} of shape {array.shape}"
        raise invalid("array", "a float array of one axis or more", received)
    if np.isnan(array).any():
        raise invalid("array", "free of NaN", "NaN")
    return pack_bits(array < 0)


def unpack_signs(words, width):
    """Undoes `pack_signs`, as far as there is something left.

    Args:
        words: Uint32 array `(..., ceil(width / 32))`.
        width: Integer >= 0, the number of signs.

    Returns:
        Float32 array `(..., width)` of -1 and +1.

    Raises:
        ValueError: If `words` does not hold `width` signs.

    Example:

    >>> unpack_signs(np.array([10], "uint32"), 4)
    array([ 1., -1.,  1., -1.], dtype=float32)
    """
    return np.where(unpack_bits(words, width), np.float32(-1), np.float32(1))


def pack_bits(bits):
    """Packs the last axis, 32 truth values to a word, bits after the last 0.

    Args:
        bits: Boolean array `(..., width)`.

    Returns:
        Uint32 array `(..., ceil(width / 32))`.

    Example:

    >>> pack_bits(np.array([False, True]))
    array([2], dtype=uint32)
    """
    bits = np.asarray(bits, bool)
    width = bits.shape[-1]
    words = -(-width // 32)
    padded = np.zeros((*bits.shape[:-1], 32 * words), bool)
    padded[..., :width] = bits
    octets = np.packbits(padded, axis=-1, bitorder="little")
    return octets.view("<u4").astype(np.uint32).reshape(*bits.shape[:-1], words)


def unpack_bits(words, width):
    """Undoes `pack_bits`.

    Args:
        words: Uint32 array `(..., ceil(width / 32))`.
        width: Integer >= 0.

    Returns:
        Boolean array `(..., width)`.

    Raises:
        ValueError: If `words` does not hold `width` bits.

    Example:

    >>> unpack_bits(np.array([2], "uint32"), 2)
    array([False,  True])
    """
    words = np.asarray(words)
    width = check_int("width", width, minimum=0)
    count = -(-width // 32)
    if words.dtype != np.uint32 or words.ndim < 1 or words.shape[-1] != count:
        received = f"{words.dtype} of shape {words.shape}"
        raise invalid("words", f"a uint32 array (..., {count})", received)
    octets = np.ascontiguousarray(words, "<u4").view(np.uint8)
    octets = octets.reshape(*words.shape[:-1], 4 * count)
    bits = np.unpackbits(octets, axis=-1, bitorder="little", count=width)
    return bits.astype(bool)


def to_panels(rows):
    """Rows of words, one a unit, in the order in which kernels read them.

    Panel `p` holds units `16 p` to `16 p + 15`: first word 0 of each of them, then
    word 1 of each, and so on. Units that fill up the last panel are 0. This is the one
    form that is stored, read by every SIMD level.

    Args:
        rows: Uint32 array `(units, words)`.

    Returns:
        Uint32 array `(ceil(units / 16), words, 16)`.

    Raises:
        ValueError: If `rows` is not a uint32 matrix.

    Example:

    >>> to_panels(np.arange(40, dtype="uint32").reshape(20, 2)).shape
    (2, 2, 16)
    """
    rows = np.asarray(rows)
    if rows.dtype != np.uint32 or rows.ndim != 2:
        received = f"{rows.dtype} of shape {rows.shape}"
        raise invalid("rows", "a uint32 array (units, words)", received)
    units, words = rows.shape
    panels = -(-units // PANEL_UNITS)
    full = np.zeros((panels * PANEL_UNITS, words), np.uint32)
    full[:units] = rows
    full = full.reshape(panels, PANEL_UNITS, words)
    return np.ascontiguousarray(full.transpose(0, 2, 1))


def from_panels(panels, units):
    """Undoes `to_panels`.

    Args:
        panels: Uint32 array `(ceil(units / 16), words, 16)`.
        units: Integer >= 0.

    Returns:
        Uint32 array `(units, words)`.

    Raises:
        ValueError: If `panels` does not hold `units` units.

    Example:

    >>> rows = np.arange(40, dtype="uint32").reshape(20, 2)
    >>> bool((from_panels(to_panels(rows), 20) == rows).all())
    True
    """
    panels = np.asarray(panels)
    units = check_int("units", units, minimum=0)
    count = -(-units // PANEL_UNITS)
    good = panels.ndim == 3 and panels.shape[0] == count
    if panels.dtype != np.uint32 or not good or panels.shape[2] != PANEL_UNITS:
        received = f"{panels.dtype} of shape {panels.shape}"
        raise invalid("panels", f"a uint32 array ({count}, words, 16)", received)
    rows = panels.transpose(0, 2, 1).reshape(-1, panels.shape[1])
    return np.ascontiguousarray(rows[:units])


def pack_kernel(kernel, mask=None):
    """A matrix of weights in {-1, +1}, or in {-1, 0, +1}, as kernels read it.

    Args:
        kernel: Float array `(inputs, units)`, of which the signs count.
        mask: Array `(inputs, units)` that is true where a weight is kept; `None` keeps
            all.

    Returns:
        A tuple `(signs, masks, kept)`: uint32 panels as of `to_panels`, with sign 0
        where a weight is dropped; the same for the mask, with no panels where nothing
        is dropped; int32 `(units,)`, how many weights of each unit are kept.

    Raises:
        ValueError: If `kernel` is not a matrix of floats, holds NaN, or `mask` has
            another shape.

    Example:

    >>> signs, masks, kept = pack_kernel(np.ones((40, 3), "float32"))
    >>> signs.shape, masks.shape, kept
    ((1, 2, 16), (0, 2, 16), array([40, 40, 40], dtype=int32))
    """
    kernel = np.asarray(kernel)
    if kernel.ndim != 2:
        raise invalid("kernel", "of shape (inputs, units)", kernel.shape)
    rows = pack_signs(kernel.T)
    inputs = len(kernel)
    keep = np.ones(kernel.shape, bool) if mask is None else np.asarray(mask) != 0
    if keep.shape != kernel.shape:
        raise invalid("mask", f"of shape {kernel.shape}", keep.shape)
    kept = np.count_nonzero(keep, axis=0).astype(np.int32)
    if (kept == inputs).all():
        masks = np.zeros((0, rows.shape[1], PANEL_UNITS), np.uint32)
        return to_panels(rows), masks, kept
    masks = pack_bits(keep.T)
    return to_panels(rows & masks), to_panels(masks), kept


def sign_products(rows, signs, masks, kept, inputs):
    """The sums that a bitwise layer computes, by integers.

    `sum[m, n] = kept[n] - 2 popcount((row[m] ^ signs[n]) & masks[n])`: what is equal
    adds one, what differs takes one off.

    Args:
        rows: Uint32 array `(batch, ceil(inputs / 32))`, as `pack_signs` gives.
        signs: Panels as of `pack_kernel`.
        masks: Panels as of `pack_kernel`.
        kept: Int32 array `(units,)`, as of `pack_kernel`. What it has over that is
            added to the unit's sums.
        inputs: Integer >= 0, signs in a row.

    Returns:
        Int32 array `(batch, units)`.

    Raises:
        ValueError: If an argument is not as said above.

    Example:

    >>> kernel = np.array([[1.0], [-1.0], [1.0]])
    >>> rows = pack_signs(np.array([[1.0, 1.0, 1.0]]))
    >>> sign_products(rows, *pack_kernel(kernel), inputs=3)
    array([[1]], dtype=int32)
    """
    units = len(kept)
    ours = unpack_bits(rows, inputs)
    theirs = unpack_bits(from_panels(signs, units), inputs)
    counted = np.ones(theirs.shape, bool)
    if len(masks):
        counted = unpack_bits(from_panels(masks, units), inputs)
    weights = np.where(theirs, -1, 1) * counted
    # Not the formula above, on purpose: a product of integers.
    products = np.where(ours, -1, 1) @ weights.T
    return (products + kept - counted.sum(axis=1)).astype(np.int32)
