"""Optimal brain surgeon: which weights a layer can spare, and how the others make up.

A layer's outputs are `x w`, an output `w` being a column of its kernel. Taking weights
out and changing the others by `d` changes the outputs by the mean square `d' M d`,
with `M = E[x x']` of the layer's inputs. Everything here is exact in that sense, one
layer for itself, with second moments that are made a little larger on the diagonal.

Reference:
    - [Hassibi & Stork, 1993](https://proceedings.neurips.cc/paper/1992/hash/303ed4c69846ab36c2904d3ba8573050-Abstract.html)
    - [Frantar & Alistarh, 2022](https://arxiv.org/abs/2208.11580) (optimal brain
      compression), sections 4 and 5
"""

import numpy as np

from keras_compress._validation import check_real, invalid
from keras_compress.functional.patterns import check_pattern, n_of_m

DAMPING = 0.01
# Removals between two updates of the whole inverse, which are products of matrices.
BLOCK = 96
# Costs of one output rise at least by this much, so that equals keep their order.
RISE = 1.0 + 1e-9


def removal_costs(kernel, moments, *, pattern=None, mask=None, damping=DAMPING):
    """What it costs to take weights out, one after the other, the cheapest first.

    For each output: the weight of the least `w_p^2 / [M^-1]_pp` goes, the others take
    the values that make up for it best, `w -= M^-1_p w_p / [M^-1]_pp`, and again. A
    cost is what the mean squared output changed by at that step, or the largest before
    it. The lowest costs of several outputs together are then those which a greedy
    choice among all of them takes. Blocks go as wholes, for outputs that share them.

    Takes about `inputs^3 / 6` multiply-adds for each output, or block of outputs.

    Args:
        kernel: Array `(inputs, outputs)`.
        moments: Array `(inputs, inputs)`, `E[x x']`.
        pattern: As in `keras_compress.functional.patterns`. The cost of a neuron is the
            mean square of what it says; with N:M, what must stay costs infinitely much.
        mask: Boolean array like `kernel`, `False` where a weight is out already.
        damping: Number >= 0: so many times the mean of the diagonal is added to it.

    Returns:
        Float64 array like `kernel`, for `mask_from_scores` with the same pattern.

    Raises:
        ValueError: If shapes do not fit, or numbers are not finite.

    Example:

    >>> moments = np.array([[1.0, 0.9], [0.9, 1.0]])  # two inputs that say the same
    >>> removal_costs(np.array([[1.0], [1.1]]), moments, damping=0.0).round(3)
    array([[0.19],
           [4.  ]])
    """
    kernel, moments = _checked(kernel, moments, mask)
    pattern = check_pattern(pattern)
    if pattern == "neuron":
        said = np.einsum("io,ij,jo->o", kernel, moments, kernel, optimize=True)
        return np.broadcast_to(np.maximum(said, 0.0), kernel.shape).copy()
    # Nothing is lost with a weight on an input that is always zero.
    kernel = np.where(np.diag(moments)[:, None] > 0, kernel, 0.0)
    inverse = np.linalg.inv(_damped(moments, damping))
    rows, columns = pattern if isinstance(pattern, tuple) else (1, 1)
    costs = np.empty(kernel.shape)
    for start in range(0, kernel.shape[1], columns):
        band = kernel[:, start : start + columns].copy()
        if rows == 1:
            found = _one_by_one(band, inverse, pattern)
        else:
            found = _block_by_block(band, inverse, rows)
        costs[:, start : start + columns] = found[:, None]
    return costs


def refit(kernel, mask, moments, *, damping=DAMPING):
    """The weights that stay, at the values that keep the outputs nearest.

    Least squares: `w_K = M_KK^-1 (M w)_K` for the weights `K` that stay. It is what
    the steps of the brain surgeon come to, whichever way the mask was found.

    Args:
        kernel: Array `(inputs, outputs)`, of the outputs to be kept.
        mask: Boolean array like `kernel`, `True` where a weight stays.
        moments: Array `(inputs, inputs)`, `E[x x']`.
        damping: As in `removal_costs`.

    Returns:
        Float64 array like `kernel`, zero where `mask` is `False`.

    Raises:
        ValueError: If shapes do not fit, or numbers are not finite.

    Example:

    >>> moments = np.array([[1.0, 0.9], [0.9, 1.0]])
    >>> mask = np.array([[False], [True]])
    >>> refit(np.array([[1.0], [1.1]]), mask, moments, damping=0.0).round(3)
    array([[0.],
           [2.]])
    """
    kernel, moments = _checked(kernel, moments, None)
    mask = np.asarray(mask, bool)
    if mask.shape != kernel.shape:
        raise invalid("mask", f"an array of shape {kernel.shape}", mask.shape)
    damped = _damped(moments, damping)
    wanted = damped @ kernel
    new = np.zeros(kernel.shape)
    alike, which = np.unique(mask.T, axis=0, return_inverse=True)
    for number, kept in enumerate(alike):
        kept = np.flatnonzero(kept)
        outputs = np.flatnonzero(which.ravel() == number)
        here = np.ix_(kept, outputs)
        new[here] = np.linalg.solve(damped[np.ix_(kept, kept)], wanted[here])
    return new


def _one_by_one(weights, inverse, pattern):
    """Costs of single inputs for outputs `(inputs, outputs)` that share a mask.

    The inverse without an input, `M^-1 - u u'` with `u = M^-1_p / sqrt([M^-1]_pp)`, is
    put off: of the vectors `u` only what a step needs is taken off at once.
    """
    left = np.arange(len(weights))
    costs = np.full(len(weights), np.inf)
    must_stay = np.zeros(len(weights))  # infinite where it must
    groups, spare = _groups(len(weights), pattern)
    must_stay[spare[groups] == 0] = np.inf
    cost = 0.0
    while left.size:
        gone = np.zeros(left.size, bool)
        vectors = np.empty((min(BLOCK, left.size), left.size))
        diagonal = inverse.diagonal().copy()
        for step, vector in enumerate(vectors):
            saliency = np.einsum("ij,ij->i", weights, weights)
            saliency /= diagonal
            saliency += must_stay
            at = int(saliency.argmin())
            if saliency[at] == np.inf:
                return costs
            cost = max(cost * RISE, saliency[at])
            costs[left[at]] = cost
            np.matmul(vectors[:step, at], vectors[:step], out=vector)
            np.subtract(inverse[at], vector, out=vector)
            weights -= np.multiply.outer(vector, weights[at] / diagonal[at])
            vector /= np.sqrt(diagonal[at])
            diagonal -= vector * vector
            diagonal[at] = 1.0
            weights[at] = 0.0
            must_stay[at] = np.inf
            gone[at] = True
            group = groups[left[at]]
            spare[group] -= 1
            if spare[group] == 0:
                must_stay[groups[left] == group] = np.inf
        keep = np.flatnonzero(~gone)
        vectors = vectors[:, keep]
        inverse = inverse[np.ix_(keep, keep)] - vectors.T @ vectors
        left, weights, must_stay = left[keep], weights[keep], must_stay[keep]
    return costs


def _groups(inputs, pattern):
    """The group of each input, and how many of each group may go."""
    kept = n_of_m(pattern)
    if kept is None:
        return np.zeros(inputs, int), np.array([inputs + 1])
    n, m = kept
    groups = np.arange(inputs) // m
    return groups, np.maximum(0, np.bincount(groups) - n)


def _block_by_block(weights, inverse, rows):
    """Costs of blocks of inputs for outputs that share a mask."""
    inputs, outputs = weights.shape
    short = -inputs % rows
    # Inputs that are not there say nothing of the others.
    weights = np.concatenate([weights, np.zeros((short, outputs))])
    whole = np.eye(inputs + short)
    whole[:inputs, :inputs] = inverse
    blocks = len(weights) // rows
    each = np.arange(blocks)
    costs = np.full(blocks, np.inf)
    cost = 0.0
    for _ in each:
        own = whole.reshape(blocks, rows, blocks, rows)[each, :, each, :]
        parts = weights.reshape(blocks, rows, outputs)
        solved = np.linalg.solve(own, parts)
        saliency = np.einsum("bro,bro->b", parts, solved)
        saliency[costs < np.inf] = np.inf
        at = int(saliency.argmin())
        costs[at] = cost = max(cost * RISE, saliency[at])
        here = slice(at * rows, (at + 1) * rows)
        column = whole[:, here].copy()
        weights -= column @ solved[at]
        whole -= column @ np.linalg.solve(own[at], column.T)
        whole[here], whole[:, here] = 0.0, 0.0
        whole[here, here] = np.eye(rows)
        weights[here] = 0.0
    return costs.repeat(rows)[:inputs]


def _damped(moments, damping):
    damping = check_real("damping", damping, minimum=0.0)
    diagonal = np.diag(moments)
    # An input that is always zero may have any weight.
    dead = np.where(diagonal > 0, 0.0, diagonal.mean() or 1.0)
    return moments + np.diag(damping * diagonal.mean() + dead)


def _checked(kernel, moments, mask):
    kernel, moments = np.array(kernel, "float64"), np.asarray(moments, "float64")
    if kernel.ndim != 2:
        raise invalid("kernel", "an array (inputs, outputs)", kernel.shape)
    if moments.shape != (len(kernel), len(kernel)):
        expected = f"an array of shape {(len(kernel), len(kernel))}"
        raise invalid("moments", expected, moments.shape)
    for name, array in (("kernel", kernel), ("moments", moments)):
        if not np.isfinite(array).all():
            raise invalid(name, "finite numbers", "NaN or infinity")
    if mask is not None:
        if np.shape(mask) != kernel.shape:
            raise invalid("mask", f"an array of shape {kernel.shape}", np.shape(mask))
        kernel = np.where(mask, kernel, 0.0)
    return kernel, moments
