"""Weight sharing: many weights, few values, and what the values' gradient is.

[Han et al., 2016](https://arxiv.org/abs/1510.00149), section 3, "Trained quantization
and weight sharing".
"""

import numpy as np
from keras import ops

from keras_compress._validation import check_choice, check_int, invalid
from keras_compress.functional.sign import read

INITS = ("linear", "density", "random")
MOST_BITS = 8
_ROUNDS = 300


def initial_centroids(values, count, init="linear", seed=0):
    """Where k-means starts.

    | `init`      | centroids                                                     |
    | ----------- | ------------------------------------------------------------- |
    | `"linear"`  | evenly spaced from the smallest value to the largest          |
    | `"density"` | evenly spaced in rank: as many values around each             |
    | `"random"`  | values drawn at random (Forgy)                                |

    The last two sit where values are many, near zero, and leave few centroids to the
    large weights, which matter most; so the paper recommends the first.

    Args:
        values: Float array, not empty.
        count: Integer >= 1.
        init: A name of the table.
        seed: Integer, for `"random"`.

    Returns:
        Float64 array `(count,)`, ascending.

    Raises:
        ValueError: If an argument is not as said above.

    Example:

    >>> print(initial_centroids([0.0, 0.1, 0.2, 1.0], 3))
    [0.  0.5 1. ]

    Reference:
        - [Han et al., 2016](https://arxiv.org/abs/1510.00149), section 3.2
    """
    check_choice("init", init, INITS)
    count = check_int("count", count, minimum=1)
    values = np.sort(np.ravel(np.asarray(values, "float64")))
    if values.size == 0:
        raise invalid("values", "an array that is not empty", values)
    if init == "linear":
        return np.linspace(values[0], values[-1], count)
    if init == "density":
        return np.quantile(values, (np.arange(count) + 0.5) / count)
    drawn = np.random.default_rng(seed).choice(values, count, values.size < count)
    return np.sort(drawn)


def kmeans(values, count, init="linear", seed=0):
    """The centroids of k-means on numbers: `argmin_C sum_i min_k |w_i - c_k|^2`.

    Lloyd's iteration until nothing moves, 300 rounds at most. Up to `count` different
    numbers are their own centroids, so that nothing is lost. A centroid that no number
    is nearest to stays where it started.

    Args:
        values: Float array of finite numbers, of any shape; it may be empty.
        count: Integer >= 1, number of centroids.
        init: As in `initial_centroids`.
        seed: As in `initial_centroids`.

    Returns:
        Float64 array `(count,)`, ascending; zeros for no values.

    Raises:
        ValueError: If an argument is not as said above.

    Example:

    >>> print(kmeans([0.0, 0.2, 1.0, 1.2, 1.4], 2))
    [0.1 1.2]

    Reference:
        - [Han et al., 2016](https://arxiv.org/abs/1510.00149), equation 2
    """
    check_choice("init", init, INITS)
    count = check_int("count", count, minimum=1)
    values = np.sort(np.ravel(np.asarray(values, "float64")))
    if not np.isfinite(values).all():
        raise invalid("values", "finite numbers", values[~np.isfinite(values)][0])
    if values.size == 0:
        return np.zeros(count)
    different = values[np.concatenate([[True], np.diff(values) > 0])]
    if len(different) <= count:
        return np.pad(different, (0, count - len(different)), mode="edge")
    centroids = initial_centroids(values, count, init, seed)
    # In order, members of a centroid are neighbours: sums are differences of sums.
    sums = np.concatenate([[0.0], np.cumsum(values)])
    edges = None
    for _ in range(_ROUNDS):
        inner = np.searchsorted(values, _borders(centroids), side="right")
        new_edges = np.concatenate([[0], inner, [values.size]])
        if edges is not None and (new_edges == edges).all():
            break
        edges = new_edges
        sizes = np.diff(edges)
        means = np.diff(sums[edges]) / np.maximum(sizes, 1)
        centroids = np.sort(np.where(sizes > 0, means, centroids))
    return centroids


def nearest(values, centroids):
    """Which centroid is nearest to each value; of two equally near the smaller one.

    Args:
        values: Float array.
        centroids: Float array `(count,)`, ascending, of at most 256.

    Returns:
        Uint8 array like `values`.

    Example:

    >>> print(nearest([0.4, 0.6, -7.0], [0.0, 1.0]))
    [0 1 0]
    """
    values = np.asarray(values, "float64")
    borders = _borders(np.asarray(centroids, "float64"))
    return np.searchsorted(borders, values, side="left").astype("uint8")


def shared(codebook, assignments):
    """`W_ij = C_k` with `k = assignments_ij`; its gradient is the members' sum.

    `dL/dC_k = sum_ij dL/dW_ij * 1(assignments_ij = k)`, summed in the codebook's
    precision.

    Args:
        codebook: Float tensor `(count,)`.
        assignments: Integer tensor of any shape, each in `[0, count)`.

    Returns:
        Tensor like `assignments`, of the codebook's dtype.

    Example:

    >>> print(ops.convert_to_numpy(shared(np.array([0.5, 2.0]), np.array([1, 1, 0]))))
    [2.  2.  0.5]

    Reference:
        - [Han et al., 2016](https://arxiv.org/abs/1510.00149), equation 3
    """
    assignments = ops.cast(read(assignments), "int32")
    count = codebook.shape[0]

    @ops.custom_gradient
    def forward(codebook):
        def grad(*args, upstream=None):
            upstream = args[0] if upstream is None else upstream
            of_weights = ops.reshape(ops.cast(upstream, codebook.dtype), (-1,))
            return ops.segment_sum(
                of_weights, ops.reshape(assignments, (-1,)), num_segments=count
            )

        return ops.take(codebook, assignments), grad

    return forward(read(codebook))


def _borders(centroids):
    return 0.5 * (centroids[1:] + centroids[:-1])
