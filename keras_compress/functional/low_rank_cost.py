"""Which form of a low-rank dense layer is fastest: one op, two products, or one."""

from keras_compress._validation import check_int
from keras_compress.functional.ranks import factors_pay

FORMS = ("fused", "factors", "dense")
LANES = 16
"""Columns that the fused op works on together, whether there are as many or not."""

SHARE = 0.85
"""The share of the whole product's work up to which the fused op is faster."""


def fused_pays(inputs, outputs, rank):
    """Whether the native op of both products is faster than the whole product.

    It is where its work, columns filled up to `LANES`, is at most `SHARE` of the whole
    product's. Measured by `benchmarks/bench_low_rank.py` (Zen 4 with AVX-512, one
    thread, TensorFlow 2.21): from 1 to 300 rows a multiply-add of the op takes no
    longer than one of TensorFlow, and its call no longer than a product's; two products
    in TensorFlow were never faster than the op.

    Args:
        inputs: Integer >= 1.
        outputs: Integer >= 1.
        rank: Integer >= 1.

    Returns:
        A `bool`.

    Example:

    >>> fused_pays(1024, 1024, 64), fused_pays(1024, 1024, 500)
    (True, False)
    >>> fused_pays(16, 16, 1)  # as many lanes as the whole product has
    False
    """
    for name, value in (("inputs", inputs), ("outputs", outputs), ("rank", rank)):
        check_int(name, value, minimum=1)
    work = inputs * _filled_up(rank) + rank * _filled_up(outputs)
    return work <= SHARE * inputs * outputs


def cheapest(inputs, outputs, rank, batches, *, native=True):
    """The fastest form of a dense layer of this rank.

    Args:
        inputs: Integer >= 1.
        outputs: Integer >= 1.
        rank: Integer >= 1.
        batches: Tuple of integers >= 1: a form other than `"dense"` must be faster than
            it for each of these numbers of rows.
        native: Whether the fused op runs on vector instructions.

    Returns:
        `"fused"`, the op `keras_compress.ops.low_rank_matmul`; `"factors"`, two
        products, by `factors_pay`; or `"dense"`, one with the factors multiplied.

    Example:

    >>> cheapest(1024, 1024, 64, (1,)), cheapest(1024, 1024, 500, (1,))
    ('fused', 'dense')
    >>> cheapest(1024, 1024, 300, (1,), native=False)
    'dense'
    """
    if native and fused_pays(inputs, outputs, rank):
        return "fused"
    pays = all(factors_pay(inputs, outputs, rank, batch) for batch in batches)
    return "factors" if pays else "dense"


def _filled_up(columns):
    return -(-columns // LANES) * LANES
