"""Formats from numbers: how many integer bits they need, and what a format costs."""

import math

import numpy as np

from keras_compress._validation import check_choice, check_int, check_real, invalid
from keras_compress.functional.q_format import FARTHEST, QFormat

METHODS = ("range", "percentile", "least_squares")
# How many integer bits fewer than the range needs the least squares may take.
DEEPEST = 6


def integer_bits_for(largest, fraction_bits=None):
    """The fewest integer bits with which a number does not overflow.

    Args:
        largest: Finite number, whose absolute value counts.
        fraction_bits: Integer: with so many the largest number of a format is just
            below a power of two. `None` lets a power of two saturate by one step.

    Returns:
        An `int`, below zero for numbers below 1/2.

    Example:

    >>> integer_bits_for(0.9), integer_bits_for(-35.0), integer_bits_for(0.1)
    (0, 6, -3)
    """
    largest = abs(float(largest))
    if not math.isfinite(largest):
        raise invalid("largest", "a finite number", largest)
    if largest == 0.0:
        return 0
    mantissa, exponent = math.frexp(largest)  # largest = mantissa * 2**exponent
    bits = exponent - 1 if mantissa == 0.5 else exponent
    if fraction_bits is not None and largest > 2.0**bits - 2.0**-fraction_bits:
        bits += 1
    return max(-FARTHEST, min(FARTHEST, bits))


def fitting_format(
    numbers,
    bits,
    *,
    method="range",
    percentile=99.9,
    largest=None,
    signed=True,
    overflow="saturate",
    rounding="nearest_even",
):
    """The format of so many bits that suits numbers best.

    Args:
        numbers: Array of finite floats, or a sample of them.
        bits: Integer >= 2, the sign among them.
        method: `"range"`: nothing overflows (but the largest number by one step, if it
            is a power of two). `"percentile"`: that share of the numbers does not.
            `"least_squares"`: the mean squared error is least.
        percentile: Number in (0, 100], in percent of the absolute values.
        largest: Number, the largest absolute value where `numbers` is a sample.
        signed: As of `QFormat`.
        overflow: As of `QFormat`.
        rounding: As of `QFormat`.

    Returns:
        A `QFormat`.

    Raises:
        ValueError: If there are no numbers, one is not finite, or an argument is out
            of range.

    Example:

    >>> fitting_format(np.array([-0.2, 0.7, 3.1]), bits=8).fraction_bits
    5

    Reference:
        - [Lin et al., 2016](https://arxiv.org/abs/1511.06393), section 3, for the least
          squared error
    """
    numbers = np.abs(np.asarray(numbers, np.float64)).ravel()
    if not numbers.size or not np.isfinite(numbers).all():
        raise invalid("numbers", "finite, and at least one", f"{numbers.size} numbers")
    check_int("bits", bits, minimum=2, maximum=32)
    check_choice("method", method, METHODS)
    check_real("percentile", percentile, above=0.0)
    if percentile > 100:
        raise invalid("percentile", "a number in (0, 100]", percentile)
    whole = numbers.max() if largest is None else max(abs(largest), numbers.max())
    magnitude = bits - signed

    def format_of(integers):
        fraction = magnitude - integers
        fraction = max(-FARTHEST, min(FARTHEST, fraction))
        return QFormat(magnitude - fraction, fraction, signed, overflow, rounding)

    if method == "percentile":
        return format_of(integer_bits_for(np.percentile(numbers, percentile)))
    most = integer_bits_for(whole)
    if method == "range":
        return format_of(most)
    choices = [format_of(most - i) for i in range(DEEPEST + 1)]
    return min(choices, key=lambda q: squared_error(numbers, q))


def squared_error(numbers, format):
    """The mean squared error of numbers in a format.

    Args:
        numbers: Array of finite floats, the channels last.
        format: A `QFormat`.

    Returns:
        A `float`.

    Example:

    >>> squared_error(np.array([0.25, 1.0]), QFormat(1, 1))
    0.03125
    """
    numbers = np.asarray(numbers, np.float64)
    return float(np.mean(np.square(format.quantize(numbers) - numbers)))


def spread_bits(errors, sizes, budget):
    """Gives bits one by one to where one lowers the error most for its cost.

    Args:
        errors: List of mappings from numbers of bits to the error with so many, one
            for each layer.
        sizes: List of integers >= 1: how many weights each layer has.
        budget: Integer, bits for all weights of all layers together.

    Returns:
        List of integers: bits for each layer.

    Raises:
        ValueError: If the budget is not enough for the fewest bits of each.

    Example:

    >>> errors = [{2: 9.0, 3: 1.0, 4: 0.5}, {2: 2.0, 3: 1.8, 4: 1.4}]
    >>> spread_bits(errors, sizes=[10, 10], budget=60)
    [4, 2]

    Reference:
        - The greedy rule of marginal returns: Fox, 1966, "Discrete optimization via
          marginal analysis", Management Science 13(3).
    """
    chosen = [min(each) for each in errors]
    spent = sum(bits * size for bits, size in zip(chosen, sizes, strict=True))
    if spent > budget:
        expected = f"at least {spent} bits, {min(chosen)} a weight"
        raise invalid("budget", expected, budget)
    while True:
        gains = []
        for i, each in enumerate(errors):
            # Of several bits at once, too: one alone may do nothing.
            for more in (bits for bits in each if bits > chosen[i]):
                cost = (more - chosen[i]) * sizes[i]
                gain = each[chosen[i]] - each[more]
                if gain > 0 and spent + cost <= budget:
                    gains.append((gain / cost, -cost, i, more))
        if not gains:
            return chosen
        _, cost, i, more = max(gains)
        spent -= cost
        chosen[i] = more
