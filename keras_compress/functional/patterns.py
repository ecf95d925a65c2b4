"""Patterns of pruning: which weights live and die together.

A kernel of any rank is read as a matrix of `(inputs, outputs)`: its last axis is the
outputs, all others together are the inputs. A *pattern* divides that matrix into
units that live or die together:

| pattern      | unit                                                              |
| ------------ | ----------------------------------------------------------------- |
| `None`       | one weight                                                        |
| `"2:4"`      | one weight, but 2 of every 4 consecutive inputs stay              |
| `(r, c)`     | a block of `r` consecutive inputs and `c` consecutive outputs     |
| `"neuron"`   | a whole column: everything that one output reads                  |

At the edges a block is what is left of it, and a group of an N:M pattern counts as
if it were filled up with zeros.
"""

import re

import numpy as np

from keras_compress._validation import check_real, invalid

PATTERNS = '`None`, "N:M" with 0 < N < M, a pair (inputs, outputs), or "neuron"'


def check_pattern(pattern):
    """The pattern in its one spelling.

    Args:
        pattern: See the table of this module. A list of two integers, as JSON has it,
            stands for the pair.

    Returns:
        `None`, `"neuron"`, `"N:M"`, or a tuple of two integers.

    Raises:
        ValueError: If `pattern` is none of these.

    Example:

    >>> check_pattern([1, 16])
    (1, 16)
    """
    if pattern is None or (isinstance(pattern, str) and pattern == "neuron"):
        return pattern
    if n_of_m(pattern) is not None:
        return pattern
    if isinstance(pattern, list | tuple) and len(pattern) == 2:
        integers = all(
            isinstance(side, int | np.integer) and not isinstance(side, bool)
            for side in pattern
        )
        if integers and min(pattern) >= 1:
            return tuple(int(side) for side in pattern)
    raise invalid("pattern", PATTERNS, pattern)


def n_of_m(pattern):
    """`(N, M)` of a pattern that keeps N of every M inputs, `None` of any other.

    >>> n_of_m("2:4")
    (2, 4)
    """
    if not isinstance(pattern, str):
        return None
    match = re.fullmatch(r"([1-9]\d*):([1-9]\d*)", pattern)
    if match is None or int(match[1]) >= int(match[2]):
        return None
    return int(match[1]), int(match[2])


def max_sparsity(pattern):
    """The largest sparsity that a pattern allows, 1 but for N:M.

    >>> max_sparsity("2:4")
    0.5
    """
    kept = n_of_m(pattern)
    return 1.0 if kept is None else 1.0 - kept[0] / kept[1]


def check_sparsity(name, sparsity, pattern):
    """`sparsity` as a `float` in `[0, 1]` that a pattern can reach.

    Args:
        name: The argument's name, for the error.
        sparsity: Number.
        pattern: See the table of this module.

    Returns:
        The `float`.

    Raises:
        ValueError: If it is not such a number.
    """
    sparsity = check_real(name, sparsity, minimum=0.0, maximum=1.0)
    most = max_sparsity(pattern)
    # 1 - 4 / 5 is less than 0.2.
    if sparsity > most + 1e-12:
        raise invalid(name, f"<= {most:g} for the pattern {pattern!r}", sparsity)
    return sparsity


def most_dropped(inputs, outputs, pattern=None):
    """How many weights of a kernel a pattern lets go at most.

    >>> most_dropped(10, 4, "2:4")  # the last two inputs are a group of their own
    16
    """
    kept = n_of_m(pattern)
    if kept is None:
        return inputs * outputs
    n, m = kept
    return (inputs // m * (m - n) + max(0, inputs % m - n)) * outputs
