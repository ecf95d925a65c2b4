"""Dense matrices in panels of columns, the order in which kernels read them.

Panel `p` holds the columns from `64 p` on, 64 or as many as are left, row after row:
`(rows, columns)`. Panels follow one another in one vector, and nothing is filled up.
"""

import numpy as np

from keras_compress._validation import check_int, invalid

COLUMNS = 64
"""Columns of a panel, but for the last one."""


def to_panels(matrix):
    """A matrix in panels.

    Args:
        matrix: Float array `(rows, columns)`.

    Returns:
        Float32 vector of as many numbers.

    Raises:
        ValueError: If `matrix` is no such array.

    Example:

    >>> vector = to_panels(np.arange(260.0).reshape(2, 130))
    >>> vector[[63, 64, 127, 128, 256, 257]].tolist()
    [63.0, 130.0, 193.0, 64.0, 128.0, 129.0]
    """
    matrix = np.asarray(matrix)
    if matrix.ndim != 2 or not np.issubdtype(matrix.dtype, np.floating):
        raise invalid("matrix", "a float array (rows, columns)", matrix)
    parts = [
        matrix[:, first : first + COLUMNS].ravel()
        for first in range(0, matrix.shape[1], COLUMNS)
    ]
    return np.concatenate([np.empty(0, np.float32), *parts]).astype(np.float32)


def from_panels(vector, rows, columns):
    """The matrix that `to_panels` was given.

    Args:
        vector: Array of `rows * columns` numbers.
        rows: Integer >= 0.
        columns: Integer >= 0.

    Returns:
        Array `(rows, columns)`.

    Raises:
        ValueError: If the sizes do not go together.

    Example:

    >>> matrix = np.random.default_rng(0).random((3, 70), "float32")
    >>> bool((from_panels(to_panels(matrix), 3, 70) == matrix).all())
    True
    """
    check_int("rows", rows, minimum=0)
    check_int("columns", columns, minimum=0)
    vector = np.asarray(vector)
    if vector.shape != (rows * columns,):
        raise invalid("vector", f"of shape ({rows * columns},)", vector.shape)
    matrix = np.empty((rows, columns), vector.dtype)
    for first in range(0, columns, COLUMNS):
        width = min(COLUMNS, columns - first)
        part = vector[rows * first : rows * (first + width)]
        matrix[:, first : first + width] = part.reshape(rows, width)
    return matrix
