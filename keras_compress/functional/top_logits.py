"""The few largest logits of many, for targets that take little room."""

import numpy as np
from keras import ops


def largest_logits(logits, count):
    """The largest logits of each row, their classes, and one number for all others.

    That number is the logit that the other classes would have if they were all alike
    and as probable together as they are: `log(sum exp(v_rest)) - log(rest)`.

    Args:
        logits: NumPy array `(..., N)`.
        count: Integer in `[1, N)`.

    Returns:
        Arrays `(..., count)` of logits, largest first, `(..., count)` of int64
        classes, and `(...)`.

    Example:

    >>> values, classes, rest = largest_logits(np.array([0.0, 3.0, 0.0]), 1)
    >>> values.tolist(), classes.tolist(), float(rest)
    ([3.0], [1], 0.0)
    """
    order = np.argsort(-logits, axis=-1, kind="stable")
    ranked = np.take_along_axis(logits, order, axis=-1)
    others = ranked[..., count:].astype("float64")
    highest = others.max(axis=-1, keepdims=True)
    rest = highest[..., 0] + np.log(np.mean(np.exp(others - highest), axis=-1))
    return ranked[..., :count], order[..., :count], rest


def from_largest_logits(values, classes, rest, size):
    """Logits of all classes, from what `largest_logits` kept of them.

    At T = 1 the classes kept have their exact probabilities.

    Args:
        values: Tensor `(..., count)` of logits.
        classes: Integer tensor `(..., count)`.
        rest: Tensor `(...)`, the logit of every other class.
        size: Integer, the number of classes.

    Returns:
        Tensor `(..., size)`.

    Example:

    >>> values, classes = np.array([3.0], "float32"), np.array([1])
    >>> from_largest_logits(values, classes, np.float32(0.5), 3).numpy().tolist()
    [0.5, 3.0, 0.5]
    """
    rest = ops.expand_dims(rest, axis=-1)
    above = ops.expand_dims(values - rest, axis=-1)
    places = ops.one_hot(classes, size, dtype=values.dtype)
    return rest + ops.sum(above * places, axis=-2)
