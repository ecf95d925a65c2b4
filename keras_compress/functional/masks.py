"""Which weights to keep, by their scores, in any pattern; exact counts.

Equal scores fall in order of position, the first one first, so the number of zeros
never depends on the values.
"""

import math

import numpy as np

from keras_compress._validation import check_real, invalid
from keras_compress.functional.patterns import check_pattern, check_sparsity, n_of_m
from keras_compress.functional.selection import lowest


def magnitude_mask(kernel, sparsity, *, pattern=None, mask=None):
    """Keeps the largest weights: `|w|` is the score of `mask_from_scores`.

    Args:
        kernel: Array of any shape, the last axis being the outputs.
        sparsity: Fraction of units to drop, in `[0, 1]`.
        pattern: See `keras_compress.functional.patterns`.
        mask: Boolean array shaped like `kernel`, `False` where a weight was dropped
            before. Those go first.

    Returns:
        Boolean array shaped like `kernel`, `True` where the weight stays.

    Raises:
        ValueError: If an argument is out of range, or `kernel` holds NaN.

    Example:

    >>> magnitude_mask(np.array([[3.0, -1.0], [0.5, -2.0]]), 0.5)
    array([[ True, False],
           [False,  True]])

    Reference:
        - [Han et al., 2015](https://arxiv.org/abs/1506.02626), section 3.
    """
    return mask_from_scores(np.abs(kernel), sparsity, pattern=pattern, mask=mask)


def mask_from_scores(scores, sparsity, *, pattern=None, mask=None, regrow=True):
    """Drops exactly `round(sparsity * units)` units, those of the lowest scores.

    The score of a block or a neuron is the mean score of its weights.

    Args:
        scores: Array of non-negative numbers, shaped like the kernel.
        sparsity: Fraction of units to drop, in `[0, 1]`; for N:M at most `1 - N/M`.
        pattern: See `keras_compress.functional.patterns`.
        mask: Boolean array, `False` where a weight was dropped before. Those go
            first.
        regrow: Whether a sparsity below that of `mask` brings the best of the
            dropped units back. If not, they stay dropped.

    Returns:
        Boolean array shaped like `scores`, `True` where the weight stays.

    Raises:
        ValueError: If an argument is out of range, or `scores` holds NaN.

    Example:

    >>> mask_from_scores(np.array([[4.0, 1.0], [2.0, 3.0]]), 0.5, pattern="neuron")
    array([[ True, False],
           [ True, False]])
    """
    sparsity = check_sparsity("sparsity", sparsity, check_pattern(pattern))
    units = _Units(scores, pattern, mask)
    new = units.expand(_lowest(units, units.count(sparsity), regrow))
    # Of a unit that stays, what was dropped by itself stays dropped.
    return new if regrow or mask is None else new & mask


def threshold_mask(scores, threshold, *, pattern=None, mask=None):
    """Drops the units whose score is below `threshold`, and those dropped before.

    Args:
        scores: Array of non-negative numbers, shaped like the kernel.
        threshold: Number >= 0, in the unit of the scores.
        pattern: See `keras_compress.functional.patterns`.
        mask: Boolean array, `False` where a weight was dropped before.

    Returns:
        Boolean array shaped like `scores`, `True` where the weight stays.

    Raises:
        ValueError: If `threshold` is negative or NaN, or `scores` holds NaN.

    Example:

    >>> threshold_mask(np.array([[0.3, 0.1]]), 0.2)
    array([[ True, False]])

    Reference:
        - [Han et al., 2015](https://arxiv.org/abs/1506.02626), section 3:
          `threshold = quality * std(weights)`.
    """
    threshold = check_real("threshold", threshold, minimum=0.0)
    units = _Units(scores, pattern, mask)
    new = units.expand(units.dropped | (units.scores < threshold))
    return new if mask is None else new & mask


def global_masks(scores, sparsity, *, patterns=None, masks=None, regrow=True):
    """One cut through several layers: the lowest units of all of them go.

    Units are taken in order of score until `round(sparsity * weights)` weights are
    gone; with patterns of several weights a unit, the largest number not above it.

    Args:
        scores: List of arrays, one a layer, in comparable units.
        sparsity: Fraction of all weights to drop, in `[0, 1]`.
        patterns: List of patterns, one a layer. Defaults to no pattern.
        masks: List of boolean arrays or `None`s: what was dropped before.
        regrow: As in `mask_from_scores`.

    Returns:
        List of boolean arrays, `True` where the weight stays.

    Raises:
        ValueError: If an argument is out of range, or a pattern cannot go so far.

    Example:

    >>> global_masks([np.array([[1.0, 9.0]]), np.array([[2.0, 8.0]])], 0.5)
    [array([[False,  True]]), array([[False,  True]])]
    """
    sparsity = check_real("sparsity", sparsity, minimum=0.0, maximum=1.0)
    patterns = patterns or [None] * len(scores)
    masks = masks or [None] * len(scores)
    layers = [_Units(*layer) for layer in zip(scores, patterns, masks, strict=True)]
    for units in layers:
        check_sparsity("sparsity", sparsity, units.pattern)
    merged = _Merged(layers)
    target = round(sparsity * sum(np.size(layer) for layer in scores))
    drop = _lowest(merged, merged.count(target), regrow)
    starts = np.cumsum([units.scores.size for units in layers])[:-1]
    pieces = np.split(drop, starts)
    new = [units.expand(piece) for units, piece in zip(layers, pieces, strict=True)]
    if regrow:
        return new
    return [x if old is None else x & old for x, old in zip(new, masks, strict=True)]


def dropped_share(mask, pattern=None):
    """The fraction of units that a mask drops, as `mask_from_scores` counts them.

    Args:
        mask: Boolean array of a kernel's shape, `False` where a weight is dropped.
        pattern: See `keras_compress.functional.patterns`. Units of which a part stays,
            stay.

    Returns:
        A `float` in `[0, 1]`.

    Example:

    >>> dropped_share(np.array([[True, False], [True, False]]), "neuron")
    0.5
    """
    none = np.broadcast_to(np.float32(0.0), np.shape(mask))
    units = _Units(none, pattern, mask)
    total = units.scores if units.candidates is None else units.candidates
    return int(np.count_nonzero(units.dropped)) / max(total.size, 1)


class _Units:
    """A kernel's scores, one number a unit of its pattern, in order of position."""

    def __init__(self, scores, pattern, mask):
        scores = np.asarray(scores)
        if scores.size and np.isnan(scores.min()):
            raise ValueError(
                "`kernel` must hold finite numbers to be pruned. Received: NaN among "
                f"the scores of a kernel of shape {scores.shape}"
            )
        if mask is not None and np.shape(mask) != scores.shape:
            raise invalid("mask", f"an array of shape {scores.shape}", np.shape(mask))
        self.shape = scores.shape
        self.outputs = scores.shape[-1] if scores.ndim else 1
        self.inputs = math.prod(scores.shape[:-1])
        self.pattern = check_pattern(pattern)
        scores = scores.reshape(self.inputs, self.outputs)
        alive = None
        if mask is not None:
            alive = np.asarray(mask, bool).reshape(self.inputs, self.outputs)
        kept = n_of_m(pattern)
        self.candidates = None
        if kept is not None:
            self.candidates = _candidates(scores, alive, *kept)
            scores = scores[self.candidates]
            alive = None if alive is None else alive[self.candidates]
        elif self.pattern is not None:
            scores = _block_sum(scores, self.block) / self.sizes
            alive = None if alive is None else _block_sum(alive, self.block) > 0
        self.scores = scores.ravel()
        self.dropped = (
            np.zeros(self.scores.shape, bool) if alive is None else ~alive.ravel()
        )

    @property
    def block(self):
        """Inputs and outputs of a unit that is a block."""
        if isinstance(self.pattern, tuple):
            return self.pattern
        return max(self.inputs, 1), 1

    @property
    def sizes(self):
        """How many weights each unit holds, in the shape of the grid of units."""
        if self.pattern is None or self.candidates is not None:
            return np.ones(1, int)
        return _block_sum(np.ones((self.inputs, self.outputs), int), self.block)

    def count(self, sparsity):
        """How many units go at this sparsity."""
        total = self.scores.size
        if self.candidates is not None:
            return min(round(sparsity * self.candidates.size), total)
        return round(sparsity * total)

    def expand(self, drop):
        """The mask of the kernel, from the units that go."""
        if self.candidates is not None:
            keep = np.ones(self.candidates.shape, bool)
            keep[self.candidates] = ~drop
        elif self.pattern is None:
            keep = ~drop
        else:
            rows, columns = self.block
            grid = ~drop.reshape(-(-self.inputs // rows), -(-self.outputs // columns))
            keep = grid.repeat(rows, 0)[: self.inputs]
            keep = keep.repeat(columns, 1)[:, : self.outputs]
        return keep.reshape(self.shape)


class _Merged:
    """The units of several layers in one row, for one cut through all of them."""

    def __init__(self, layers):
        self.scores = np.concatenate([units.scores for units in layers])
        self.dropped = np.concatenate([units.dropped for units in layers])
        self.sizes = np.concatenate(
            [np.broadcast_to(u.sizes.ravel(), u.scores.shape) for u in layers]
        )

    def count(self, weights):
        """How many of the lowest units hold at most this many weights."""
        if not self.sizes.size or self.sizes.min() == self.sizes.max():
            return weights // self.sizes[0] if self.sizes.size else 0
        order = np.lexsort((self.scores, ~self.dropped))
        return int(np.searchsorted(self.sizes[order].cumsum(), weights, side="right"))


def _lowest(units, count, regrow):
    """Marks the `count` lowest units, those dropped before ahead of all others."""
    before = int(np.count_nonzero(units.dropped))
    if count == before or (count < before and not regrow):
        return units.dropped
    if count < before:
        drop = np.zeros(units.scores.shape, bool)
        drop[units.dropped] = lowest(units.scores[units.dropped], None, count)
        return drop
    return lowest(units.scores, units.dropped if before else None, count - before)


def _candidates(scores, alive, n, m):
    """Where an N:M pattern may drop: all but the best N of every M inputs.

    A group cut short by the edge counts as filled up with zeros.
    """
    inputs, outputs = scores.shape
    short = -inputs % m
    order = scores if alive is None else np.where(alive, scores, -1.0)
    padded = np.concatenate([order, np.full((short, outputs), -np.inf)])
    groups = padded.reshape(len(padded) // m, m, outputs)
    rank = groups.argsort(axis=1, kind="stable").argsort(axis=1, kind="stable")
    return (rank < m - n).reshape(padded.shape)[:inputs]


def _block_sum(matrix, block):
    rows = np.arange(0, matrix.shape[0], block[0])
    columns = np.arange(0, matrix.shape[1], block[1])
    kind = float if matrix.dtype.kind == "f" else int
    sums = np.add.reduceat(matrix, rows, axis=0, dtype=kind)
    return np.add.reduceat(sums, columns, axis=1, dtype=kind)
