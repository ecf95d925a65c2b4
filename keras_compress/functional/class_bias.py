"""What to add to the logits of classes that a network saw too rarely or too often."""

import numpy as np


def best_shift(margins, is_member):
    """The number added to a group's logits that makes the fewest errors.

    An example goes to the group where the shift exceeds its margin, that is, how far
    the best logit outside the group lies above the best inside. Errors only change at
    margins, so every count of errors that there can be is looked at. Of the shifts that
    err least, it is zero if that is one, or the middle of the widest stretch.

    Args:
        margins: Array `(examples,)`: best logit outside the group less best inside.
        is_member: Array `(examples,)`: 1 where the example is right inside the group
            only, -1 where it is right outside only, 0 where it is wrong anyhow.

    Returns:
        The shift, a float.

    Example:

    >>> best_shift(np.array([1.0, 3.0, 7.0]), np.array([1, 1, -1]))
    5.0

    Reference:
        - [Hinton et al., 2015](https://arxiv.org/abs/1503.02531), section 3.
    """
    order = np.argsort(margins, kind="stable")
    margins = np.asarray(margins, "float64")[order]
    gain = np.concatenate([[0], np.cumsum(np.asarray(is_member)[order])])
    edges = np.unique(margins)
    if not edges.size:
        return 0.0
    # Between two edges: all examples of smaller margins are in the group.
    counts = np.searchsorted(margins, edges, side="right")
    gains = gain[np.concatenate([[0], counts])]
    bounds = np.concatenate([[edges[0] - 2.0], edges, [edges[-1] + 2.0]])
    best = np.flatnonzero(gains == gains.max())
    # Neighbouring stretches that are equally good are one.
    runs = np.split(best, np.flatnonzero(np.diff(best) > 1) + 1)
    spans = [(bounds[run[0]], bounds[run[-1] + 1]) for run in runs]
    if gains[np.searchsorted(edges, 0.0, side="left")] == gains.max():
        return 0.0
    low, high = max(spans, key=lambda span: span[1] - span[0])
    return float((low + high) / 2.0)
