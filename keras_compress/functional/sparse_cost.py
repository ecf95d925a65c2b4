"""What a product with a sparse matrix costs in each layout, and which one pays."""

from keras_compress._validation import check_int, invalid
from keras_compress.functional.sparse_layouts import stored_bytes

BATCHES = (1, 4, 16, 64, 256)
"""Rows in a call for which `RATES` holds."""

RATES = {
    "dense": (0.17, 0.22, 0.40, 1.27, 4.10),
    "csc": (0.60, 0.80, 1.00, 3.00, 10.0),
    "panel16": (0.08, 0.15, 0.48, 1.35, 5.00),
    "lanes": (0.11, 0.43, 1.75, 7.00, 28.0),
    "kblock": (0.75, 0.85, 1.00, 2.10, 7.60),
}
"""Nanoseconds for each stored weight of a product; for `"dense"`, for each weight.

Measured on an Intel Ice Lake Xeon of 2.8 GHz with AVX-512, one thread, TensorFlow 2.21,
784 x 300 and 1024 x 1024 weights of which 20, 50 and 90 % are zeros
(`benchmarks/bench_sparse.py --core 1 --kernel-only`); the dense product and its bias
in a graph. Rates change by a third with the share of zeros; those at 50 % stand here,
where it is close.
"""

CACHE_BYTES = 2**20
"""Weights of more bytes than these come from farther than a core's own cache."""

STREAM_RATES = {
    "dense": 0.045,
    "csc": 0.15,
    "panel16": 0.065,
    "lanes": 0.10,
    "kblock": 0.18,
}
"""Nanoseconds for each byte of such weights, below which no product's time is."""


def product_time(layout, stored, inputs, units, batch):
    """The expected time of a product.

    Read off `RATES`, linearly between its batches and in proportion beyond them, and
    not less than `STREAM_RATES` says.

    Args:
        layout: `"dense"`, or one of `sparse_layouts.LAYOUTS`.
        stored: Integer >= 0, the weights stored, zeros included.
        inputs: Integer >= 1.
        units: Integer >= 1.
        batch: Integer >= 1, rows in one call; for a convolution its output pixels.

    Returns:
        Nanoseconds, a `float`. Only the ratio of two of them means anything on another
        machine than that of `RATES`.

    Raises:
        ValueError: If an argument is out of range.

    Example:
    Of 1024 x 1024 weights a tenth is left:

    >>> shape = (1024, 1024)
    >>> sparse = product_time("kblock", 104_858, *shape, batch=64)
    >>> sparse < product_time("dense", 2**20, *shape, batch=64)
    True
    """
    if layout not in RATES:
        raise invalid("layout", f"one of {', '.join(RATES)}", layout)
    check_int("stored", stored, minimum=0)
    check_int("batch", batch, minimum=1)
    rates = RATES[layout]
    if batch >= BATCHES[-1]:
        rate = rates[-1] * batch / BATCHES[-1]
    else:
        i = max(i for i, size in enumerate(BATCHES) if size <= batch)
        part = (batch - BATCHES[i]) / (BATCHES[i + 1] - BATCHES[i])
        rate = rates[i] + part * (rates[i + 1] - rates[i])
    size = 4 * stored
    if layout != "dense":
        size = stored_bytes(layout, stored, inputs, units)
    streamed = size * STREAM_RATES[layout] if size > CACHE_BYTES else 0.0
    return max(rate * stored, streamed)


def cheapest(stored, inputs, units, batches):
    """The layout that is fastest for these batches, `"dense"` if none is faster.

    A layout is taken only if it is expected to be faster than the dense product for
    every one of the batches, and smaller; of several, the one with the least sum of
    times, each as a share of the dense product's.

    Args:
        stored: Dict from layouts to the weights that each would store.
        inputs: Integer >= 1.
        units: Integer >= 1.
        batches: Tuple of integers >= 1, rows in one call.

    Returns:
        A key of `stored`, or `"dense"`.

    Raises:
        ValueError: If an argument is out of range.

    Example:

    >>> cheapest({"csc": 100_000, "kblock": 100_000}, 1024, 1024, (64,))
    'kblock'
    >>> cheapest({"csc": 800_000}, 1024, 1024, (1,))
    'dense'
    """
    check_int("inputs", inputs, minimum=1)
    check_int("units", units, minimum=1)
    size = inputs * units
    best, least = "dense", float(len(batches))
    for layout, count in stored.items():
        shares = [
            product_time(layout, count, inputs, units, batch)
            / product_time("dense", size, inputs, units, batch)
            for batch in batches
        ]
        smaller = stored_bytes(layout, count, inputs, units) < 4 * size
        if smaller and max(shares) < 1.0 and sum(shares) < least:
            best, least = layout, sum(shares)
    return best
