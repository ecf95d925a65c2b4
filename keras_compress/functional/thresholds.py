"""What stands between a sum and the sign of it, folded into one integer a unit."""

import numpy as np

from keras_compress._validation import invalid

# No sum is below the first, and every sum is below the second.
NEVER, ALWAYS = -(2**31), 2**31 - 1


def fold_sign(values, low, high):
    """Thresholds that give the sign of any monotonic function of integer sums.

    Biases, scales and batch normalisation, each rounded to a float, only ever rise
    with a sum, or only ever fall. So the sign of their result changes at one sum at
    most:

        `values(sum) < 0  <=>  (sum < threshold) != flip`

    It is found by trying: `values` is evaluated at both ends and, by bisection, on the
    two sums between which the sign changes. Nothing hangs on algebra, and the fold is
    exact in whatever float the values were rounded to.

    Args:
        values: Function of an int64 array `(units,)`, a sum of each unit, to the float
            array `(units,)` of what the unit makes of it, before the sign.
        low: Integer array `(units,)`, the least sum of each unit.
        high: Integer array `(units,)`, the greatest, at least `low`.

    Returns:
        A tuple `(thresholds, flips)`: int32 and boolean arrays `(units,)`. A unit whose
        sign is always the same has the least or the greatest int32 as its threshold.

    Raises:
        ValueError: If a sum is out of the range of int32, `low` exceeds `high`, or a
            value is NaN, which has no sign.

    Example:

    >>> thresholds, flips = fold_sign(lambda sums: 0.5 - sums, [-3], [3])
    >>> print(thresholds, flips)  # negative from 1 on
    [1] [ True]

    Reference:
        - [Kim & Smaragdis, 2015](https://arxiv.org/abs/1601.06071)
        - [Umuroglu et al., 2016](https://arxiv.org/abs/1612.07119), section 4.2.2
    """
    low, high = np.asarray(low, np.int64), np.asarray(high, np.int64)
    if (low > high).any() or (low <= NEVER).any() or (high >= ALWAYS).any():
        raise invalid("low, high", "ascending and inside of int32", (low, high))
    first, last = _negative(values, low), _negative(values, high)
    # The sign at `below` is that at `low`, the sign at `above` that at `high`.
    below, above = low.copy(), high.copy()
    while (above - below > 1).any():
        middle = below + (above - below) // 2
        as_first = _negative(values, middle) == first
        below = np.where(as_first, middle, below)
        above = np.where(as_first, above, middle)
    always = np.where(first, ALWAYS, NEVER)
    thresholds = np.where(first == last, always, above)
    return thresholds.astype(np.int32), last & ~first


def falls(values, low, high):
    """Which units' sign turns from + to - from the lower argument to the higher.

    Args:
        values: As of `fold_sign`, but of a float array.
        low: Float array `(units,)`.
        high: Float array `(units,)`.

    Returns:
        Boolean array `(units,)`.

    Example:

    >>> print(falls(lambda x: -x, np.array([-1.0]), np.array([1.0])))
    [ True]
    """
    return ~_negative(values, low) & _negative(values, high)


def thresholds_of_signs(thresholds, total):
    """Thresholds for inputs of -1 and +1, from those for inputs of 0 and 1.

    With `z = (s + 1) / 2`, a sum of weights times `z` is half the sum of weights times
    `s` and of all weights: `below t  <=>  sum < 2 t - total`.

    Args:
        thresholds: Int32 array `(units,)`, as of `fold_sign`.
        total: Integer array `(units,)`, the sum of all weights of each unit.

    Returns:
        Int32 array `(units,)`.

    Example:

    >>> print(thresholds_of_signs(np.array([1, ALWAYS]), np.array([3, 3])))
    [        -1 2147483647]
    """
    thresholds = np.asarray(thresholds, np.int64)
    fixed = (thresholds == NEVER) | (thresholds == ALWAYS)
    moved = 2 * thresholds - np.asarray(total, np.int64)
    return np.where(fixed, thresholds, moved).astype(np.int32)


def _negative(values, sums):
    found = np.asarray(values(sums))
    if np.isnan(found).any():
        units = np.flatnonzero(np.isnan(found))[:5].tolist()
        raise ValueError(
            "`values` must be free of NaN, which has no sign. Received: NaN for the "
            f"units {units}"
        )
    return found < 0
