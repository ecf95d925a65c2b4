"""A matrix without its zeros: compressed columns, and when they pay."""

import numpy as np

from keras_compress._validation import check_int, check_real, invalid


def compress(matrix):
    """Keeps what is not zero of a matrix, column by column.

    Args:
        matrix: Float array `(inputs, units)`. A kernel of a convolution is given as
            `kernel.reshape(-1, filters)`.

    Returns:
        A tuple `(values, indices, starts)`: float32 `(kept,)`, the weights of the
        first column, then of the second, and so on, each in ascending order of input;
        uint16 `(kept,)`, or int32 where there are more than 65536 inputs, the input of
        each; int32 `(units + 1,)`, where each column starts, and the number of weights.

    Raises:
        ValueError: If `matrix` is not a matrix of floats, or keeps 2^31 weights or
            more.

    Example:

    >>> compress(np.array([[0.0, 2.0], [3.0, 0.0]]))[0]
    array([3., 2.], dtype=float32)
    """
    matrix = np.asarray(matrix)
    if matrix.ndim != 2 or not np.issubdtype(matrix.dtype, np.floating):
        received = f"{matrix.dtype} of shape {matrix.shape}"
        raise invalid("matrix", "a float array of shape (inputs, units)", received)
    # A number too small for float32 is a zero there too.
    columns = np.ascontiguousarray(matrix.T, dtype=np.float32)
    kept = columns != 0.0
    starts = np.concatenate([[0], np.cumsum(np.count_nonzero(kept, axis=1))])
    if starts[-1] >= 2**31:
        raise invalid("matrix", "of less than 2**31 nonzero weights", int(starts[-1]))
    indices = np.nonzero(kept)[1].astype(index_dtype(len(matrix)))
    return columns[kept], indices, starts.astype(np.int32)


def index_dtype(inputs):
    """The dtype of `indices` for this many inputs: `"uint16"` while it reaches.

    >>> index_dtype(784), index_dtype(100_000)
    ('uint16', 'int32')
    """
    return "uint16" if inputs <= 2**16 else "int32"


def decompress(values, indices, starts, inputs):
    """Undoes `compress`.

    Args:
        values: Float array `(kept,)`.
        indices: Integer array `(kept,)`, each in `[0, inputs)`.
        starts: Integer array `(units + 1,)`, from 0 and never falling.
        inputs: Integer >= 0, the number of rows.

    Returns:
        Float32 array `(inputs, units)`.

    Raises:
        ValueError: If an argument is not as said above.

    Example:

    >>> matrix = np.array([[0.0, 2.0], [3.0, 0.0]], "float32")
    >>> bool((decompress(*compress(matrix), inputs=2) == matrix).all())
    True
    """
    inputs = check_int("inputs", inputs, minimum=0)
    values, indices, starts = (np.asarray(a) for a in (values, indices, starts))
    if values.ndim != 1 or indices.shape != values.shape:
        received = (values.shape, indices.shape)
        raise invalid("indices", "a vector as long as `values`", received)
    rising = starts.ndim == 1 and starts.size > 0 and (np.diff(starts) >= 0).all()
    if not rising or starts[0] != 0 or starts[-1] != len(values):
        expected = f"integers from 0 to {len(values)} that never fall"
        raise invalid("starts", expected, starts.tolist())
    wide = indices.astype(np.int64)
    if wide.size and not (wide.min() >= 0 and wide.max() < inputs):
        received = (int(wide.min()), int(wide.max()))
        raise invalid("indices", f"in [0, {inputs})", received)
    columns = np.zeros((len(starts) - 1, inputs), np.float32)
    columns[np.repeat(np.arange(len(columns)), np.diff(starts)), wide] = values
    return np.ascontiguousarray(columns.T)


def sparse_pays(inputs, units, sparsity, batch):
    """Whether the sparse product is faster than a dense one.

    The rule: from 0.88 zeros on for less than 8 rows, from 0.65 on for more. A row
    alone reuses no weight, so that each costs two loads beside its multiply-add;
    with rows in lanes the loads are shared. The rule is read off this table, time of
    `tf.matmul` and bias over time of the op, both in a graph (AMD Zen 5, one thread,
    AVX-512, TensorFlow 2.21, `benchmarks/bench_sparse.py --core 1`):

    | inputs x units | batch | 0.5  | 0.8  | 0.9  | 0.92 | 0.95 | 0.98  |
    | -------------- | ----- | ---- | ---- | ---- | ---- | ---- | ----- |
    | 784 x 300      | 1     | 0.32 | 0.58 | 1.00 | 1.10 | 1.33 |  1.77 |
    | 1024 x 1024    | 1     | 0.34 | 0.66 | 1.17 | 1.38 | 2.06 |  3.29 |
    | 784 x 300      | 16    | 0.77 | 1.49 | 2.31 | 2.52 | 3.13 |  3.79 |
    | 1024 x 1024    | 16    | 0.77 | 1.58 | 2.92 | 3.43 | 4.60 |  7.03 |
    | 784 x 300      | 64    | 0.72 | 1.61 | 2.77 | 3.36 | 4.50 |  7.16 |
    | 1024 x 1024    | 64    | 0.74 | 1.76 | 3.19 | 3.73 | 5.59 | 10.50 |

    The shape decides little, and the rule does not look at it. It holds for a native
    op with SIMD, not for the twin, which is a dense product.

    Args:
        inputs: Integer >= 1.
        units: Integer >= 1.
        sparsity: Fraction of zeros in `[0, 1]`.
        batch: Integer >= 1, rows in one call; for a convolution its output pixels.

    Returns:
        `True` where the sparse product is expected to be faster.

    Raises:
        ValueError: If an argument is out of range.

    Example:

    >>> sparse_pays(784, 300, 0.9, batch=1)
    True
    """
    check_int("inputs", inputs, minimum=1)
    check_int("units", units, minimum=1)
    sparsity = check_real("sparsity", sparsity, minimum=0.0, maximum=1.0)
    batch = check_int("batch", batch, minimum=1)
    return sparsity >= (0.88 if batch < 8 else 0.65)
