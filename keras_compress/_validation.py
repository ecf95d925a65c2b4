"""Argument checks that all speak alike: the argument, what is expected, what came."""

import math
import numbers


def invalid(name, expected, received):
    """The one `ValueError` of the package, to be raised by the caller.

    Args:
        name: The argument's name, as the caller of the public function writes it.
        expected: What it must be, to follow "must be".
        received: What came instead.

    Returns:
        The `ValueError`.
    """
    return ValueError(f"`{name}` must be {expected}. Received: {name}={received!r}")


def check_int(name, value, *, minimum=None, maximum=None):
    """`value` as an `int` in `[minimum, maximum]`; a `bool` is not an integer."""
    if minimum is not None and maximum is not None:
        expected = f"an integer in [{minimum}, {maximum}]"
    elif minimum is not None:
        expected = f"an integer >= {minimum}"
    else:
        expected = "an integer"
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise invalid(name, expected, value)
    too_small = minimum is not None and value < minimum
    too_large = maximum is not None and value > maximum
    if too_small or too_large:
        raise invalid(name, expected, value)
    return int(value)


def check_real(name, value, *, minimum=None, maximum=None, above=None):
    """`value` as a finite `float` in `[minimum, maximum]`, or greater than `above`."""
    if above is not None:
        expected = f"a finite number > {above:g}"
    elif minimum is not None and maximum is not None:
        expected = f"a number in [{minimum:g}, {maximum:g}]"
    elif minimum is not None:
        expected = f"a finite number >= {minimum:g}"
    else:
        expected = "a finite number"
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise invalid(name, expected, value)
    outside = (
        not math.isfinite(value)
        or (minimum is not None and value < minimum)
        or (maximum is not None and value > maximum)
        or (above is not None and value <= above)
    )
    if outside:
        raise invalid(name, expected, value)
    return float(value)


def check_choice(name, value, choices):
    """`value`, which must be one of `choices`."""
    if not any(value is choice or value == choice for choice in choices):
        expected = "one of " + ", ".join(repr(choice) for choice in choices)
        raise invalid(name, expected, value)
    return value
