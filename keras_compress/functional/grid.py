"""Rounding to the grid of a fixed-point format, in floats that stay exact."""

import keras
import numpy as np
from keras import ops


def to_grid(x, format, *, finer=1.0, seed=None):
    """`clip(round(x / step)) * step`, the whole of a format's arithmetic.

    Args:
        x: Float tensor, the channels last.
        format: A `QFormat`.
        finer: Number or tensor, a power of two >= 1: the steps are that much smaller.
        seed: Integer or `keras.random.SeedGenerator`, for stochastic rounding.

    Returns:
        Tensor like `x`, without a gradient of use.
    """
    dtype = keras.backend.standardize_dtype(x.dtype)
    exact = "float64" if dtype == "float64" else "float32"
    x = ops.cast(x, exact)
    scale = _constant(powers_of_two(format.fraction_bits), exact) * ops.cast(
        finer, exact
    )
    step = _constant(format.resolution, exact) / ops.cast(finer, exact)
    scaled = x * scale
    if format.integer_bits is None:
        found = rounded(scaled, format.rounding, seed) * step
        if not format.signed:
            found, x = ops.relu(found), ops.relu(x)
        # Numbers without a fraction; a large one times the scale may be infinite.
        return ops.cast(ops.where(ops.abs(scaled) < 2.0**53, found, x), dtype)
    count = _constant(powers_of_two(format.integer_bits), exact) * scale
    low = -count if format.signed else ops.zeros_like(count)
    if format.overflow == "wrap":
        # Floats so large are whole turns; times the scale they might be infinite.
        turn = 2.0 ** (53 if exact == "float64" else 24) * (count - low) * step
        size = ops.abs(x)
        whole = ops.logical_and(size >= turn, size < float("inf"))
        scaled = ops.where(whole, ops.zeros_like(x), scaled)
    # The largest integer below that is a float: 2**25 - 1 is no float32.
    gap = count * (2.0**-53 if exact == "float64" else 2.0**-24)
    high = count - ops.maximum(ops.ones_like(count), gap)
    if format.overflow == "saturate":
        # The limits are integers: it is the same before the rounding as after.
        found = rounded(ops.clip(scaled, low, high), format.rounding, seed)
    else:
        found = rounded(scaled, format.rounding, seed)
        found = _wrapped(found, low, high, count - low)
    return ops.cast(found * step, dtype)


def rounded(x, rounding, seed=None):
    """The integers that floats are rounded to.

    Args:
        x: Float tensor.
        rounding: `"nearest_even"`, `"truncate"`, `"floor"` or `"stochastic"`.
        seed: Integer or `keras.random.SeedGenerator`, for `"stochastic"`.

    Returns:
        Tensor like `x`.
    """
    if rounding == "nearest_even":
        return ops.round(x)
    below = ops.floor(x)
    if rounding == "floor":
        return below
    if rounding == "truncate":
        return ops.where(x < 0.0, -ops.floor(-x), below)
    chance = keras.random.uniform(ops.shape(x), dtype=x.dtype, seed=seed)
    return below + ops.cast(chance < x - below, x.dtype)


def _wrapped(x, low, high, count):
    """The `x + i * count` in `[low, high]`; every step to it is exact."""
    turns = x / count
    whole = ops.where(turns < 0.0, -ops.floor(-turns), ops.floor(turns))
    rest = x - whole * count
    rest = ops.where(rest > high, rest - count, rest)
    return ops.minimum(ops.where(rest < low, rest + count, rest), high)


def powers_of_two(exponents):
    """2 to these powers: a float, or an array of them, all exact."""
    found = np.ldexp(1.0, exponents)
    return float(found) if found.ndim == 0 else found


def _constant(value, dtype):
    return ops.convert_to_tensor(np.asarray(value, dtype))
