"""Sparse momentum: how many weights change places, and in which layer they come back.

Reference:
    - [Dettmers & Zettlemoyer, 2019](https://arxiv.org/abs/1907.04840), section 3.
"""

import math

import numpy as np

from keras_compress._validation import check_real

EXCHANGED = 0.2


def exchanged_share(done):
    """The share of a layer's kept weights that give way, falling along a cosine.

    `0.2 * (1 + cos(pi * done)) / 2`: from the paper's 20 % to none at the end.

    Args:
        done: How much of the time for exchanges has passed, in `[0, 1]`.

    Returns:
        A `float`.

    Example:

    >>> exchanged_share(0.0), exchanged_share(1.0)
    (0.2, 0.0)
    """
    done = check_real("done", done, minimum=0.0, maximum=1.0)
    return EXCHANGED * (1.0 + math.cos(math.pi * done)) / 2.0


def mean_momentum(momentum, mask):
    """The mean size of the momentum of the weights that are kept.

    Args:
        momentum: Array.
        mask: Boolean array like it, `True` where a weight is kept.

    Returns:
        A `float`, 0 if none is kept.

    Example:

    >>> mean_momentum(np.array([-2.0, 4.0, 9.0]), np.array([True, True, False]))
    3.0
    """
    kept = np.abs(momentum[mask])
    return float(kept.mean()) if kept.size else 0.0


def redistribute(count, shares, room):
    """Divides weights that grow among layers, by their momentum, as far as they fit.

    What a full layer cannot take goes to the others, by the same shares.

    Args:
        count: Integer >= 0, how many weights grow, at most the sum of `room`.
        shares: Sequence of numbers >= 0, one a layer.
        room: Sequence of integers >= 0: how many weights a layer can take.

    Returns:
        List of integers of sum `count`.

    Example:

    >>> redistribute(10, shares=[3.0, 1.0, 1.0], room=[4, 50, 50])
    [4, 3, 3]
    """
    room = np.asarray(room, int)
    shares = np.asarray(shares, float)
    given = np.zeros(len(room), int)
    while (left := count - int(given.sum())) > 0:
        open_ = given < room
        weight = np.where(open_, shares, 0.0)
        if not weight.sum():  # no layer with room learns anything: all alike
            weight = open_.astype(float)
        if not weight.sum():
            break
        exact = left * weight / weight.sum()
        more = np.floor(exact).astype(int)
        # The largest remainders get what rounding down has left over.
        order = np.argsort(more - exact, kind="stable")
        more[order[: left - int(more.sum())]] += 1
        given += np.minimum(more, room - given)
    return given.tolist()
