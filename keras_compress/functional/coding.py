"""Real numbers as bits on separate inputs, for networks that know only -1 and +1.

| coding      | a value becomes                                                       |
| ----------- | --------------------------------------------------------------------- |
| `bipolar`   | one number: +1 from a threshold on, else -1                           |
| `zero_one`  | one number: 1 from a threshold on, else 0                             |
| `bits`      | the k bits of its place in a range cut into 2^k equal parts           |
| `level_bits`| the k bits of the nearest of 2^k levels, such as `lloyd_max_levels`   |

The bits of a value stand beside each other, the most significant first, as -1 and +1.
NaN stays NaN, which packed layers refuse.

Reference:
    - [Kim & Smaragdis, 2015](https://arxiv.org/abs/1601.06071), section 4
"""

import numpy as np
from keras import backend, ops

from keras_compress._validation import check_choice, check_int, invalid
from keras_compress.functional.sign import sign

CODES = ("natural", "gray", "thermometer")
# A word of more bits than this would number more levels than float32 can tell apart.
MOST_BITS = 16


def bipolar(x, threshold=0.5):
    """`sign(x - threshold)`: +1 from the threshold on, else -1.

    The gradient passes through unchanged.

    Args:
        x: Float tensor.
        threshold: Number.

    Returns:
        Tensor like `x`.

    Example:

    >>> print(ops.convert_to_numpy(bipolar(np.array([0.0, 0.5, 1.0]))))
    [-1.  1.  1.]
    """
    return sign(x - threshold, "plain")


def zero_one(x, threshold=0.5):
    """1 from the threshold on, else 0: pixels rounded.

    The gradient passes through unchanged.

    Args:
        x: Float tensor.
        threshold: Number.

    Returns:
        Tensor like `x`.

    Example:

    >>> print(ops.convert_to_numpy(zero_one(np.array([0.0, 0.5, 1.0]))))
    [0. 1. 1.]
    """
    signs = sign(x - threshold, "plain")
    # As a sum of a constant and the signs themselves, the gradient is that of x.
    return 0.5 + signs - ops.stop_gradient(0.5 * signs)  # pyright: ignore


def code_table(levels, code="natural"):
    """The word of every level, as bits.

    Args:
        levels: Integer >= 2; for `"natural"` and `"gray"` a power of 2.
        code: `"natural"`: the level's number in base 2. `"gray"`: neighbours differ
            in one bit. `"thermometer"`: `levels - 1` bits, of which level `i` sets
            the last `i`.

    Returns:
        Float32 array `(levels, bits)` of -1 and +1, the most significant bit first.

    Raises:
        ValueError: If an argument is out of range.

    Example:

    >>> print(code_table(4)[2], code_table(4, "gray")[2])
    [ 1. -1.] [1. 1.]
    """
    check_int("levels", levels, minimum=2, maximum=2**MOST_BITS)
    check_choice("code", code, CODES)
    number = np.arange(levels)
    if code == "thermometer":
        set_bits = number[:, None] >= np.arange(levels - 1, 0, -1)
    else:
        bits = levels.bit_length() - 1
        if levels != 2**bits:
            raise invalid("levels", f"a power of 2 for the code {code!r}", levels)
        word = number ^ (number >> 1) if code == "gray" else number
        set_bits = (word[:, None] >> np.arange(bits - 1, -1, -1)) & 1
    return np.where(set_bits, 1.0, -1.0).astype("float32")


def bits(x, bits, *, low=0.0, high=1.0, code="natural", axis=-1):
    """The bits of a fixed-point value: `q = floor((x - low) / (high - low) * 2^k)`.

    `q` is cut off at 0 and `2^k - 1`; its k bits stand on separate inputs. No gradient
    flows through it.

    Args:
        x: Float tensor.
        bits: Integer in `[1, 16]`, the k of the formula.
        low: Number, the lower end of the range.
        high: Number, its upper end.
        code: As in `code_table`.
        axis: Which axis grows by the length of a word.

    Returns:
        Tensor like `x`, with one axis so much longer, of -1 and +1.

    Raises:
        ValueError: If an argument is out of range.

    Example:

    >>> print(ops.convert_to_numpy(bits(np.array([[0.3, 0.9]]), 2)))
    [[-1.  1.  1.  1.]]
    """
    check_int("bits", bits, minimum=1, maximum=MOST_BITS)
    if not low < high:
        raise invalid("high", f"above `low`, which is {low}", high)
    x = ops.convert_to_tensor(x)
    count = 2**bits
    # Short floats lack some of the numbers up to the count.
    wide = ops.cast(x, backend.result_type(x.dtype, "float32"))
    scaled = ops.clip((wide - low) * (count / (high - low)), 0.0, count - 1.0)
    return _words(ops.floor(scaled), count, code, axis, x)


def level_bits(x, levels, *, code="natural", axis=-1):
    """The bits of the number of the nearest level; halfway counts as the upper one.

    No gradient flows through it.

    Args:
        x: Float tensor.
        levels: 1-D float tensor or array in ascending order.
        code: As in `code_table`.
        axis: Which axis grows by the length of a word.

    Returns:
        Tensor like `x`, with one axis so much longer, of -1 and +1.

    Raises:
        ValueError: If the number of levels does not fit the code.

    Example:

    >>> coded = level_bits(np.array([[0.1, 7.0]]), np.array([0.0, 1.0, 4.0, 9.0]))
    >>> print(ops.convert_to_numpy(coded))
    [[-1. -1.  1.  1.]]
    """
    x = ops.convert_to_tensor(x)
    levels = ops.convert_to_tensor(levels, x.dtype)
    above = x[..., None] >= level_limits(levels)
    number = ops.sum(ops.cast(above, "int32"), axis=-1)
    return _words(number, levels.shape[0], code, axis, x)


def level_limits(levels):
    """Where one level ends and the next begins: in the middle between them.

    Args:
        levels: 1-D float tensor or array in ascending order.

    Returns:
        Like `levels`, one shorter. A number that is a limit is at the upper level.

    Example:

    >>> print(level_limits(np.array([0.0, 1.0, 4.0])))
    [0.5 2.5]
    """
    return 0.5 * (levels[1:] + levels[:-1])


def lloyd_max_levels(samples, levels, *, iterations=1000, tolerance=1e-7):
    """The levels with the least mean squared error: the Lloyd-Max quantizer.

    Starting from quantiles, and from equal steps, each level moves to the mean of the
    samples nearest to it until none moves, and the better of the two is taken:
    `t_i = E[x | (t_{i-1} + t_i) / 2 <= x < (t_i + t_{i+1}) / 2]`.

    Args:
        samples: Array of finite numbers, of any shape.
        levels: Integer >= 1.
        iterations: Positive integer, at most so many rounds.
        tolerance: Number > 0: the largest move that ends it, as a share of the range.

    Returns:
        Float64 array `(levels,)` in ascending order. With fewer different samples than
        levels, some levels are equal.

    Raises:
        ValueError: If there are no samples, or one is not finite.

    Example:

    >>> print(lloyd_max_levels(np.array([0.0, 1.0, 1.0, 9.0, 11.0]), 2).round(3))
    [ 0.667 10.   ]

    Reference:
        - [Lloyd, 1982](https://doi.org/10.1109/TIT.1982.1056489)
        - [Max, 1960](https://doi.org/10.1109/TIT.1960.1057548)
    """
    check_int("levels", levels, minimum=1)
    check_int("iterations", iterations, minimum=1)
    samples = np.sort(np.asarray(samples, "float64"), axis=None)
    if not samples.size or not np.isfinite(samples).all():
        raise invalid("samples", "an array of finite numbers", np.shape(samples))
    middles = (np.arange(levels) + 0.5) / levels
    # Of different values: many equal ones, such as silence, would take all levels.
    quantiles = np.quantile(np.unique(samples), middles)
    equal = samples[0] + middles * (samples[-1] - samples[0])
    enough = tolerance * (samples[-1] - samples[0])
    found = [_lloyd_max(samples, x, iterations, enough) for x in (quantiles, equal)]
    return min(found, key=lambda levels: _squared_error(samples, levels))


def word_length(levels, code="natural"):
    """How many bits a word of `code_table` has."""
    return code_table(levels, code).shape[1]


def _words(number, levels, code, axis, x):
    """The words of these levels, along `axis`; where `x` is NaN, so are its bits."""
    table = ops.convert_to_tensor(code_table(levels, code), x.dtype)
    known = ops.logical_not(ops.isnan(x))
    number = ops.where(known, ops.cast(number, "int32"), 0)
    words = ops.take(table, number, axis=0)
    words = ops.where(known[..., None], words, float("nan"))
    axis = axis % len(number.shape)
    words = ops.moveaxis(words, -1, axis + 1)
    shape = list(ops.shape(number))
    shape[axis] = shape[axis] * table.shape[1]
    return ops.reshape(words, shape)


def _lloyd_max(samples, levels, iterations, enough):
    """Moves levels to the means of what is nearest to them; `samples` are sorted."""
    sums = np.concatenate([[0.0], np.cumsum(samples)])
    for _ in range(iterations):
        ends = np.searchsorted(samples, level_limits(levels))
        ends = np.concatenate([[0], ends, [samples.size]])
        counts = np.diff(ends)
        means = np.diff(sums[ends]) / np.maximum(counts, 1)
        moved = np.where(counts > 0, means, levels)
        done = np.abs(moved - levels).max() <= enough
        levels = moved
        if done:
            break
    return levels


def _squared_error(samples, levels):
    nearest = np.searchsorted(level_limits(levels), samples)
    return np.square(samples - levels[nearest]).sum()
