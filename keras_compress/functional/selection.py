"""The lowest of many numbers, in two passes over them that stay in the cache.

`np.partition` copies all numbers and moves them about, and finds a threshold only:
comparing with it makes more arrays as large. Here, a sample says between which two
numbers the threshold lies; a pass takes out what lies between, and another compares.
"""

import numpy as np

BLOCK = 1 << 16
SAMPLE = 1 << 17
# Deviations of a sample's quantile: beyond them once in a thousand million.
SAFETY = 6.0


def lowest(scores, dropped, count):
    """Marks exactly `count` entries, lowest first, the earlier of equals first.

    Args:
        scores: One-dimensional array of numbers, without NaN.
        dropped: Boolean array like it: what is marked in any case and not counted, or
            `None`.
        count: Integer, how many others are marked; more than there are marks all.

    Returns:
        Boolean array like `scores`.

    Example:

    >>> lowest(np.array([3.0, 1.0, 2.0, 1.0]), None, 2)
    array([False,  True, False,  True])
    """
    there = scores.size
    if dropped is not None:
        there -= int(np.count_nonzero(dropped))
    if count <= 0:
        return np.zeros(scores.shape, bool) if dropped is None else dropped.copy()
    if count >= there:
        return np.ones(scores.shape, bool)
    low, high = -np.inf, np.inf
    if there > 8 * SAMPLE:
        low, high = _bracket(scores, dropped, count / there)
    places, values, wanted = _between(scores, dropped, count, low, high)
    if not 0 < wanted <= len(values):  # the sample was that unlucky
        places, values, wanted = _between(scores, dropped, count, -np.inf, np.inf)
    cut = np.partition(values, wanted - 1)[wanted - 1]
    ties = places[values == cut][: wanted - int(np.count_nonzero(values < cut))]
    marked = np.less(scores, cut)
    if dropped is not None:
        np.logical_or(marked, dropped, out=marked)
    marked[ties] = True
    return marked


def _bracket(scores, dropped, share):
    """Two numbers between which the threshold lies, but for rare bad luck."""
    # An odd step meets all columns of a matrix whose width is a power of two.
    places = slice(None, None, (scores.size // SAMPLE) | 1)
    sample = scores[places] if dropped is None else scores[places][~dropped[places]]
    if not sample.size:
        return -np.inf, np.inf
    at = share * sample.size
    spread = SAFETY * np.sqrt(sample.size * share * (1.0 - share)) + 2.0
    sample = np.sort(sample)
    low, high = int(at - spread), int(at + spread) + 1
    return (
        sample[low] if low >= 0 else -np.inf,
        sample[high] if high < sample.size else np.inf,
    )


def _between(scores, dropped, count, low, high):
    """What lies between two numbers: its places, values, and how many are wanted."""
    places, values = [], []
    for start in range(0, scores.size, BLOCK):
        block = scores[start : start + BLOCK]
        below, upto = block < low, block <= high
        if dropped is not None:
            kept = ~dropped[start : start + BLOCK]
            below &= kept
            upto &= kept
        count -= int(np.count_nonzero(below))
        found = np.flatnonzero(upto ^ below)
        places.append(found + start)
        values.append(block[found])
    return np.concatenate(places), np.concatenate(values), count
