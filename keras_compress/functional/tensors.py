"""Decompositions of arrays with more than two axes, and clusters of filters.

Small and deterministic, in float64. The tests hold Tucker-2 and CP against TensorLy.
"""

import math

import numpy as np

from keras_compress._validation import check_int
from keras_compress.functional.low_rank import check_finite

SWEEPS = 200
TOLERANCE = 1e-6


def unfold(tensor, axis):
    """The matrix of one axis by all others, in their order.

    >>> unfold(np.arange(6).reshape(1, 2, 3), 1).tolist()
    [[0, 1, 2], [3, 4, 5]]
    """
    return np.moveaxis(tensor, axis, 0).reshape(tensor.shape[axis], -1)


def _main_directions(matrix, count):
    """The first left singular vectors, from the Gram matrix of the shorter side."""
    if matrix.shape[0] <= matrix.shape[1]:
        return np.linalg.eigh(matrix @ matrix.T)[1][:, ::-1][:, :count]
    return np.linalg.svd(matrix, full_matrices=False)[0][:, :count]


def tucker2(kernel, ranks):
    """Tucker decomposition of the channels: `W ~ core x_in mix_in x_out mix_out`.

    Starts from the first singular vectors of each unfolding (HOSVD) and betters them in
    turns (HOOI) until the core's energy settles.

    Args:
        kernel: Array of `(height, width, channels, filters)`, finite.
        ranks: Pair of integers, at most `channels` and `filters`.

    Returns:
        `mix_in` of `(channels, R1)` and `mix_out` of `(R2, filters)`, both orthonormal,
        and the core, `(height, width, R1, R2)`.

    Reference:
        - [Kim et al., 2016](https://arxiv.org/abs/1511.06530), section 3.1.
        - De Lathauwer, De Moor & Vandewalle, 2000.
    """
    kernel = check_finite("kernel", np.asarray(kernel, np.float64))
    check_int("ranks", ranks[0], minimum=1, maximum=kernel.shape[2])
    check_int("ranks", ranks[1], minimum=1, maximum=kernel.shape[3])
    mix_out = _main_directions(unfold(kernel, 3), ranks[1])
    energy = -1.0
    for _ in range(SWEEPS):
        mix_in = _main_directions(unfold(kernel @ mix_out, 2), ranks[0])
        inner = np.einsum("hwcf,cr->hwrf", kernel, mix_in)
        mix_out = _main_directions(unfold(inner, 3), ranks[1])
        core = inner @ mix_out
        before, energy = energy, float(np.sum(core**2))
        if energy - before <= TOLERANCE * energy:
            break
    return mix_in, core, mix_out.T


def cp(tensor, rank, *, starts=2, damping=1e-9, seed=0):
    """Canonical polyadic decomposition: a sum of `rank` outer products.

    Alternating least squares, from the first singular vectors of every unfolding and
    from random factors; the best of these is taken. A little damping keeps pairs of
    products from growing without bound against each other.

    Args:
        tensor: Array of two axes or more, finite.
        rank: Integer >= 1, the number of outer products.
        starts: Integer >= 1, how many starts.
        damping: Number >= 0, a share of the mean of the normal equations' diagonal.
        seed: Integer, of the random factors.

    Returns:
        List of arrays `(axis, rank)`, one an axis, whose columns have equal norms.

    Example:

    >>> factors = cp(np.multiply.outer([1.0, 2.0], np.outer([1.0, 1.0], [3.0, 4.0])), 1)
    >>> np.round(np.einsum("ar,br,cr->abc", *factors)[1], 6).tolist()
    [[6.0, 8.0], [6.0, 8.0]]

    Reference:
        - [Kolda & Bader, 2009](https://doi.org/10.1137/07070111X), figure 3.3.
        - [Lebedev et al., 2015](https://arxiv.org/abs/1412.6553).
    """
    tensor = check_finite("tensor", np.asarray(tensor, np.float64))
    rank = check_int("rank", rank, minimum=1)
    random = np.random.default_rng(seed)
    found = [
        _alternate(tensor, _start(tensor, rank, random, number), damping)
        for number in range(starts)
    ]
    factors = min(found, key=lambda pair: pair[0])[1]
    return _spread_norms(factors)


def _start(tensor, rank, random, number):
    factors = [random.standard_normal((side, rank)) for side in tensor.shape]
    if number == 0:
        for axis, factor in enumerate(factors):
            directions = _main_directions(unfold(tensor, axis), rank)
            factor[:, : directions.shape[1]] = directions
    return factors


def _alternate(tensor, factors, damping):
    """`(squared error, factors)` once least squares, axis by axis, have settled."""
    unfolded = [unfold(tensor, axis) for axis in range(tensor.ndim)]
    total = float(np.sum(tensor**2))
    error = math.inf
    for _ in range(SWEEPS):
        for axis, matrix in enumerate(unfolded):
            others = [factor for n, factor in enumerate(factors) if n != axis]
            gram = np.prod([factor.T @ factor for factor in others], axis=0)
            product = matrix @ _khatri_rao(others)
            ridge = damping * np.mean(np.diag(gram)) + 1e-300
            normal = gram + ridge * np.eye(len(gram))
            factors[axis] = np.linalg.solve(normal, product.T).T
            if axis < tensor.ndim - 1:
                norms = np.linalg.norm(factors[axis], axis=0)
                factors[axis] = factors[axis] / np.where(norms > 0.0, norms, 1.0)
        # Of the last axis: |T|^2 - 2 <T, T'> + |T'|^2.
        last = factors[-1]
        model = float(np.sum(gram * (last.T @ last)))
        before, error = error, total - 2.0 * float(np.sum(product * last)) + model
        if before - error <= TOLERANCE * total:
            break
    return error, factors


def _khatri_rao(matrices):
    """Column by column, the Kronecker product of all."""
    product = matrices[0]
    for matrix in matrices[1:]:
        product = (product[:, None, :] * matrix[None]).reshape(-1, matrix.shape[1])
    return product


def _spread_norms(factors):
    """The same sum of products, each product's norm shared evenly by its factors."""
    norms = [np.linalg.norm(factor, axis=0) for factor in factors]
    each = np.prod(norms, axis=0) ** (1.0 / len(factors))
    return [
        factor * (each / np.where(norm > 0.0, norm, 1.0))
        for factor, norm in zip(factors, norms, strict=True)
    ]


def line_clusters(items, count, *, equal=False):
    """Groups of items that lie best along a common line through zero.

    What is made largest, in turns, is the energy of each item along the line of its
    group. With `equal`, all groups have the same size, those items first that care.

    Args:
        items: Array of `(items, size, columns)`: an item is a matrix, of which every
            column is to lie along the line.
        count: Integer >= 1, the number of groups; with `equal`, a divisor of `items`.
        equal: Whether groups are of equal sizes.

    Returns:
        `lines` of `(size, count)`, of unit norm, and the group of every item.
    """
    items = check_finite("items", np.asarray(items, np.float64))
    count = check_int("count", count, minimum=1, maximum=len(items))
    energies = np.sum(items**2, axis=(1, 2))
    lines = _main_directions(_side_by_side(items), 1)
    while lines.shape[1] < count:
        # The next line starts at the item that the present ones say least about.
        left = energies - _along(items, lines).max(axis=1)
        lines = np.c_[lines, _main_directions(items[np.argmax(left)], 1)]
    groups = np.full(len(items), -1)
    for _ in range(SWEEPS):
        along = _along(items, lines)
        new = _assign_equally(along) if equal else np.argmax(along, axis=1)
        if (new == groups).all():
            break
        groups = new
        for group in range(count):
            if (groups == group).any():
                stacked = _side_by_side(items[groups == group])
                lines[:, group] = _main_directions(stacked, 1)[:, 0]
    return lines, groups


def _side_by_side(items):
    return np.moveaxis(items, 0, 1).reshape(items.shape[1], -1)


def _along(items, lines):
    """The energy of each item along each line."""
    return np.sum(np.einsum("nsp,sk->nkp", items, lines) ** 2, axis=2)


def _assign_equally(along):
    items, count = along.shape
    room = np.full(count, items // count)
    groups = np.empty(items, int)
    ranked = np.sort(along, axis=1)
    margin = ranked[:, -1] - ranked[:, -2] if count > 1 else ranked[:, -1]
    for item in np.argsort(-margin, kind="stable"):
        group = int(np.argmax(np.where(room > 0, along[item], -np.inf)))
        groups[item] = group
        room[group] -= 1
    return groups
