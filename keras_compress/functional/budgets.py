"""How sparse layers may be for a budget: all alike, or by one threshold for all.

What is spent is linear in the weights that are kept: each costs as much as its layer
says (1, its bytes, or how often it is multiplied), and some is spent whatever is kept.
"""

import itertools

import numpy as np

from keras_compress._validation import check_real, invalid

HALVINGS = 60


def check_budget(name, amount, dense):
    """The budget in units of what is spent.

    Args:
        name: The argument's name, for the error.
        amount: A float in `(0, 1]`, the share of what the dense layers spend, or an
            integer >= 1, the units themselves.
        dense: What the dense layers spend.

    Returns:
        A `float`.

    Raises:
        ValueError: If it is neither.

    Example:

    >>> check_budget("weights", 0.25, 400), check_budget("weights", 40, 400)
    (100.0, 40.0)
    """
    expected = "a share in (0, 1] as a float, or an integer >= 1"
    if isinstance(amount, bool):
        raise invalid(name, expected, amount)
    if isinstance(amount, int | np.integer) and amount >= 1:
        return float(amount)
    try:
        share = check_real(name, amount, above=0.0)
    except ValueError as error:
        raise invalid(name, expected, amount) from error
    if share > 1.0 or isinstance(amount, int | np.integer):
        raise invalid(name, expected, amount)
    return share * dense


def least(fixed, costs, sizes, dropped):
    """What is spent at least: by what is fixed and by weights that have to stay.

    >>> least(10.0, costs=[1.0, 2.0], sizes=[100, 50], dropped=[100, 25])
    60.0
    """
    return fixed + float(np.dot(costs, np.subtract(sizes, dropped)))


def allowance(done, most, budget):
    """What may be spent when this share of the way to a budget is done.

    >>> allowance(0.5, most=100.0, budget=20.0)
    60.0
    """
    return most - done * max(most - budget, 0.0)


def uniform_sparsity(allowed, costs, sizes):
    """The one sparsity of all layers at which no more than `allowed` is spent.

    Args:
        allowed: Number.
        costs: Sequence of what a weight costs, one number >= 0 a layer.
        sizes: Sequence of how many weights a layer has.

    Returns:
        A `float` in `[0, 1]`.

    Example:

    >>> uniform_sparsity(250.0, costs=[1, 9], sizes=[100, 100])
    0.75
    """
    most = float(np.dot(costs, sizes))
    return float(np.clip(1.0 - allowed / most, 0.0, 1.0)) if most else 0.0


def sparsity_for(allowed, scores, costs):
    """The least share of weights, lowest scores first, that must go for a budget.

    Args:
        allowed: What may be spent.
        scores: List of arrays of comparable numbers >= 0, one a layer. What is dropped
            already has the score 0.
        costs: Sequence of what a weight costs, one number > 0 a layer.

    Returns:
        A `float` in `[0, 1]`. Equal scores go together.

    Example:

    >>> layers = [np.array([3.0, 2.0]), np.array([5.0, 1.0])]
    >>> sparsity_for(11.0, layers, costs=[1.0, 10.0])
    0.5
    """
    sizes = [layer.size for layer in scores]
    if np.dot(costs, sizes) <= allowed:
        return 0.0
    # Halving an interval of thresholds needs no sorting of 100 million weights.
    # What is infinite is to stay, if anything may.
    finite = (layer[np.isfinite(layer)] for layer in map(np.asarray, scores))
    low, high = 0.0, max(float(layer.max(initial=0.0)) for layer in finite)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        kept = [np.count_nonzero(layer > middle) for layer in scores]
        if np.dot(costs, kept) <= allowed:
            high = middle
        else:
            low = middle
        if not low < (low + high) / 2 < high:
            break
    kept = sum(np.count_nonzero(layer > high) for layer in scores)
    return float(1.0 - kept / sum(sizes))


def least_damage(curves, costs, spared):
    """How far to go in each layer, so that so much is spared at the least damage.

    Damages of layers are added up, as if each did its own. Along the lower convex hull
    of each layer's curve the next step is the one of least damage for what it spares;
    the last one is taken in part. For convex curves that is the best there is.

    Args:
        curves: Sequence of pairs of arrays, one a layer: levels, rising from 0, and the
            damage at each. Between them, it is a straight line; less damage at a higher
            level counts as chance.
        costs: Sequence of what is spared from level 0 to level 1, one number >= 0 a
            layer.
        spared: How much is to be spared.

    Returns:
        List of levels, or `None` if there is not that much to spare.

    Example:

    >>> curves = [([0.0, 0.5, 1.0], [0.0, 1.0, 9.0]), ([0.0, 1.0], [0.0, 4.0])]
    >>> least_damage(curves, costs=[100, 100], spared=100)
    [0.5, 0.5]
    """
    steps = []
    for layer, ((levels, damages), cost) in enumerate(zip(curves, costs, strict=True)):
        hull = _lower_hull(levels, np.maximum.accumulate(damages))
        for (start, before), (end, after) in itertools.pairwise(hull):
            if cost:
                gain = (end - start) * cost
                steps.append(((after - before) / gain, layer, end, gain))
    found = [0.0] * len(costs)
    for _, layer, end, gain in sorted(steps, key=lambda step: step[:2]):
        if spared <= 0:
            break
        start = end - gain / costs[layer]
        found[layer] = float(start + (end - start) * min(spared / gain, 1.0))
        spared -= gain
    return found if spared <= 1e-9 * max(sum(costs), 1.0) else None


def level_at(levels, damages, most):
    """The level at which a damage is reached, on straight lines between the points.

    Args:
        levels: Array, rising from 0.
        damages: Array, the damage at each; less at a higher level counts as chance.
        most: Number: the damage.

    Returns:
        A `float`: the last level if the damage is not reached, 0 if it is from the
        start.

    Example:

    >>> level_at([0.0, 0.5, 1.0], [0.0, 1.0, 9.0], most=5.0)
    0.75
    """
    damages = np.maximum.accumulate(damages)
    beyond = np.flatnonzero(damages > most)
    if not beyond.size:
        return float(levels[-1])
    end = int(beyond[0])
    if end == 0:
        return 0.0
    share = (most - damages[end - 1]) / (damages[end] - damages[end - 1])
    return float(levels[end - 1] + share * (levels[end] - levels[end - 1]))


def _lower_hull(levels, damages):
    """The points of a rising curve that lie on no line above them."""
    hull = []
    for point in zip(map(float, levels), map(float, damages), strict=True):
        while len(hull) > 1:
            (x0, y0), (x1, y1) = hull[-2:]
            if (y1 - y0) * (point[0] - x0) < (point[1] - y0) * (x1 - x0):
                break
            hull.pop()
        hull.append(point)
    return hull
