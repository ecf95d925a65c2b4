"""Low-rank convolutions by name: sizes, ranks, decompositions and forward passes."""

import math
from types import MappingProxyType
from typing import Any

import numpy as np

from keras_compress._validation import check_choice, check_int, invalid
from keras_compress.functional import convolution_forms as forms
from keras_compress.functional import product_forms, ranks, tensors
from keras_compress.functional.low_rank import (
    check_finite,
    relative_error,
    singular_values,
)

FORMS = MappingProxyType(
    {
        "svd": forms.Svd,
        "channel_svd": forms.ChannelSvd,
        "spatial": forms.Spatial,
        "tucker": forms.Tucker,
        "cp": product_forms.Cp,
        "monochromatic": product_forms.Monochromatic,
        "bicluster": product_forms.Bicluster,
    }
)


def check_method(method):
    """`method`, which must name a form."""
    return check_choice("method", method, tuple(FORMS))


def check_clusters(clusters):
    """`clusters` as a pair of integers >= 1."""
    if not isinstance(clusters, list | tuple) or len(clusters) != 2:
        raise invalid("clusters", "a pair of integers >= 1", clusters)
    return tuple(check_int("clusters", side, minimum=1) for side in clusters)


def check_rank(method, rank, shape=None, clusters=(1, 1)):
    """`rank` in its one spelling: an integer, or for Tucker a pair.

    Args:
        method: A key of `FORMS`.
        rank: Integer >= 1; for `"tucker"` also a pair, of channels and filters. One
            integer stands for a pair of it, each side cut to what there is.
        shape: Shape of the kernel, `(height, width, channels, filters)`, or `None` if
            it is not known yet.
        clusters: Pair of integers, for `"bicluster"`.

    Returns:
        An `int`, or with a shape and `"tucker"` a pair.

    Raises:
        ValueError: If it is out of range.

    Example:

    >>> check_rank("tucker", 8, (3, 3, 4, 16))
    (4, 8)
    """
    if method == "tucker" and isinstance(rank, list | tuple):
        if len(rank) != 2:
            raise invalid("rank", "an integer >= 1 or a pair of them", rank)
        most = (None, None) if shape is None else shape[2:]
        pairs = zip(rank, most, strict=True)
        return tuple(check_int("rank", k, minimum=1, maximum=m) for k, m in pairs)
    check_int("rank", rank, minimum=1)
    if shape is None:
        return int(rank)
    if method == "bicluster":
        check_fit(shape, clusters)
    largest: Any = FORMS[method].largest_rank(shape, clusters)
    if method == "tucker":
        check_int("rank", rank, minimum=1, maximum=max(largest))
        return min(int(rank), largest[0]), min(int(rank), largest[1])
    return check_int("rank", rank, minimum=1, maximum=largest)


def check_fit(shape, clusters):
    """Raises where the groups of a bicluster would not be of equal sizes."""
    if shape[2] % clusters[0] or shape[3] % clusters[1]:
        expected = f"divisors of {shape[2]} channels and {shape[3]} filters"
        raise invalid("clusters", expected, clusters)


def weights(method, shape, rank, clusters=(1, 1)):
    """How many weights the factors have together.

    Args:
        method: A key of `FORMS`.
        shape: `(height, width, channels, filters)` of the kernel.
        rank: As of `check_rank`.
        clusters: Pair of integers, for `"bicluster"`.

    Returns:
        An `int`.

    Example:
    A colour filter of 7 x 7 as two outer products, 4 D + 6 numbers for 3 D^2:

    >>> weights("cp", (7, 7, 3, 1), rank=2), 3 * 7 * 7
    (34, 147)
    """
    rank = check_rank(method, rank, shape, clusters)
    sizes = FORMS[method].shapes(shape, rank, clusters)
    return sum(math.prod(size) for size in sizes.values())


def multiply_adds(method, shape, rank, strides=(1, 1), clusters=(1, 1)):
    """Multiply-adds of the factors for one output pixel, edges left out.

    What comes before the strides is computed at every input pixel, and so counts as
    often as there are input pixels to an output pixel.

    Args:
        method: A key of `FORMS`.
        shape: `(height, width, channels, filters)` of the kernel.
        rank: As of `check_rank`.
        strides: Pair of integers.
        clusters: Pair of integers, for `"bicluster"`.

    Returns:
        An `int`.

    Example:

    >>> multiply_adds("channel_svd", (3, 3, 64, 64), rank=8, strides=(2, 2))
    6656
    """
    rank = check_rank(method, rank, shape, clusters)
    sizes = FORMS[method].shapes(shape, rank, clusters)
    return sum(FORMS[method].work(sizes, strides).values())


def decompose(method, kernel, rank, clusters=(1, 1)):
    """The factors of a kernel, by name.

    Args:
        method: A key of `FORMS`.
        kernel: Array of `(height, width, channels, filters)`, finite.
        rank: As of `check_rank`.
        clusters: Pair of integers, for `"bicluster"`.

    Returns:
        Mapping from names to arrays; integer ones are orders of channels.

    Raises:
        ValueError: If `rank` is out of range or `kernel` is not finite.

    Example:

    >>> factors = decompose("spatial", np.ones((3, 3, 2, 4)), rank=1)
    >>> {name: factor.shape for name, factor in factors.items()}
    {'column': (3, 1, 2, 1), 'row': (1, 3, 1, 4)}
    """
    kernel = check_finite("kernel", np.asarray(kernel))
    rank = check_rank(method, rank, kernel.shape, clusters)
    return FORMS[method].decompose(kernel, rank, clusters)


def pays(method, shape, rank, strides=(1, 1), clusters=(1, 1)):
    """Whether the factors have fewer weights, and fewer multiply-adds, than the kernel.

    >>> pays("tucker", (3, 3, 64, 64), rank=16), pays("svd", (1, 1, 8, 8), rank=4)
    (True, False)
    """
    size = math.prod(shape)
    return (
        weights(method, shape, rank, clusters) < size
        and multiply_adds(method, shape, rank, strides, clusters) < size
    )


def rank_within(method, shape, params, clusters=(1, 1)):
    """The largest rank whose factors have at most so many weights.

    Args:
        method: A key of `FORMS`.
        shape: `(height, width, channels, filters)` of the kernel.
        params: Integer >= 1, weights; or a share in (0, 1) of the kernel's.
        clusters: Pair of integers, for `"bicluster"`.

    Returns:
        A rank, as of `check_rank`; at least 1, even if that is too many weights.

    Example:

    >>> rank_within("svd", (3, 3, 16, 32), params=0.5)
    13
    """
    params = ranks.check_params(params)
    if isinstance(params, float):
        params = int(params * math.prod(shape))
    largest: Any = FORMS[method].largest_rank(shape, clusters)
    if method == "tucker":
        # Both sides keep the same share of what they have.
        candidates = [
            tuple(max(1, round(side * k / max(largest))) for side in largest)
            for k in range(1, max(largest) + 1)
        ]
    else:
        candidates = range(1, largest + 1)
    fits = [k for k in candidates if weights(method, shape, k, clusters) <= params]
    return fits[-1] if fits else candidates[0]


def rank_with_error(method, kernel, max_error, clusters=(1, 1)):
    """The least rank at which the factors are within `max_error` of the kernel.

    By the spectrum for the forms that are an SVD; for Tucker, both sides get the least
    rank whose own cut loses half of the allowed energy. The others are decomposed at
    ranks between which it must lie.

    Args:
        method: A key of `FORMS`.
        kernel: Array of `(height, width, channels, filters)`, finite.
        max_error: Number in `[0, 1)`, of `|W - W'| / |W|`.
        clusters: Pair of integers, for `"bicluster"`.

    Returns:
        A rank, as of `check_rank`, or `None` where no rank below the dense kernel's
        cost is enough.
    """
    kernel = check_finite("kernel", np.asarray(kernel))
    max_error = ranks.check_max_error(max_error)
    form = FORMS[method]
    if method == "tucker":
        each = max_error / math.sqrt(2.0)
        sides = [singular_values(tensors.unfold(kernel, axis)) for axis in (2, 3)]
        return tuple(ranks.error_rank(side, each) for side in sides)
    if hasattr(form, "as_matrix"):
        return ranks.error_rank(singular_values(form.as_matrix(kernel)), max_error)
    low = 0
    high: Any = rank_within(method, kernel.shape, kernel.size, clusters)
    if _error(method, kernel, high, clusters) > max_error:
        return None
    while high - low > 1:
        middle = (low + high) // 2
        good = _error(method, kernel, middle, clusters) <= max_error
        low, high = (low, middle) if good else (middle, high)
    return high


def _error(method, kernel, rank, clusters):
    factors = decompose(method, kernel, rank, clusters)
    return relative_error(kernel, FORMS[method].compose(**factors))
