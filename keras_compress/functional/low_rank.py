"""Factors of a matrix: the truncated SVD, exact, randomised, or fitted to data.

A kernel `W` of `(inputs, outputs)` becomes a product `left @ right` of an
`(inputs, rank)` and a `(rank, outputs)` matrix. Convolutions reshape theirs first.
"""

import numpy as np

from keras_compress._validation import check_int, check_real, invalid

# Up to this many numbers LAPACK's full SVD takes less than half a second.
EXACT_SIZE = 1 << 19
OVERSAMPLING = 16


def check_matrix(name, matrix):
    """`matrix` as a float array of two axes and finite numbers.

    Float32 and float64 stay what they are; others become float32.

    Raises:
        ValueError: If it is empty, has other axes, or holds NaN or infinity.
    """
    matrix = np.asarray(matrix)
    if matrix.ndim != 2 or not matrix.size:
        raise invalid(name, "a matrix with at least one element", matrix.shape)
    matrix = matrix if matrix.dtype == np.float64 else matrix.astype(np.float32)
    return check_finite(name, matrix)


def check_finite(name, array):
    """`array`, which must hold no NaN and no infinity."""
    bad = array.size - int(np.count_nonzero(np.isfinite(array)))
    if bad:
        raise ValueError(
            f"`{name}` must hold finite numbers. Received: {bad} that are NaN or "
            f"infinite, of shape {array.shape}"
        )
    return array


def truncated_svd(matrix, rank, *, exact=None, seed=0):
    """The `rank` largest singular values and their vectors.

    `u * s @ vt` is the nearest matrix of that rank. A large matrix at a rank well below
    its sides is met with a randomised range of `rank + 16` columns and three power
    iterations, which takes a small part of the time; the error is then within 1 % of
    the best, unless the matrix is of that rank, when both are rounding.

    Args:
        matrix: Array of `(inputs, outputs)`, finite.
        rank: Integer in `[1, min(inputs, outputs)]`.
        exact: Whether LAPACK's SVD of the whole matrix is taken. Defaults to what is
            faster.
        seed: Integer, of the random range.

    Returns:
        `u` of `(inputs, rank)`, `s` of `(rank,)` falling, `vt` of `(rank, outputs)`.

    Raises:
        ValueError: If `rank` is out of range or `matrix` is not finite.

    Example:

    >>> u, s, vt = truncated_svd(np.diag([3.0, 1.0, 2.0]), 2)
    >>> s
    array([3., 2.])

    Reference:
        - [Halko, Martinsson & Tropp, 2011](https://arxiv.org/abs/0909.4061),
          algorithms 4.4 and 5.1.
    """
    matrix = check_matrix("matrix", matrix)
    smaller = min(matrix.shape)
    rank = check_int("rank", rank, minimum=1, maximum=smaller)
    if exact is None:
        exact = matrix.size <= EXACT_SIZE or 8 * (rank + OVERSAMPLING) > smaller
    if exact:
        u, s, vt = np.linalg.svd(matrix, full_matrices=False)
        return u[:, :rank], s[:rank], vt[:rank]
    if matrix.shape[0] < matrix.shape[1]:
        u, s, vt = truncated_svd(matrix.T, rank, exact=False, seed=seed)
        return vt.T, s, u.T
    columns = rank + OVERSAMPLING
    start = np.random.default_rng(seed).standard_normal((matrix.shape[0], columns))
    # Powers are taken on the shorter side, where orthonormal columns are cheaper.
    basis = matrix.T @ start.astype(matrix.dtype)
    for _ in range(3):
        basis = matrix.T @ (matrix @ np.linalg.qr(basis)[0])
    basis = np.linalg.qr(basis)[0]
    u, s, vt = np.linalg.svd(matrix @ basis, full_matrices=False)
    return u[:, :rank], s[:rank], vt[:rank] @ basis.T


def balanced_factors(u, s, vt):
    """`u * sqrt(s)` and `sqrt(s) * vt`: factors of equal norms, as training wants them.

    A direction without energy keeps its row in the second factor, at the size of the
    largest, so that a gradient can reach the first one, which is zero there.

    Args:
        u: Array of `(inputs, rank)`.
        s: Array of `(rank,)`, >= 0.
        vt: Array of `(rank, outputs)`.

    Returns:
        `left` of `(inputs, rank)` and `right` of `(rank, outputs)`.

    Example:

    >>> left, right = balanced_factors(np.eye(2), np.array([4.0, 0.0]), np.eye(2))
    >>> left.tolist(), right.tolist()
    ([[2.0, 0.0], [0.0, 0.0]], [[2.0, 0.0], [0.0, 2.0]])
    """
    roots = np.sqrt(s)
    largest = roots.max() if roots.size and roots.max() > 0.0 else 1.0
    empty = roots <= 1e-12 * largest
    return u * np.where(empty, 0.0, roots), vt * np.where(empty, largest, roots)[
        :, None
    ]


def svd_factors(matrix, rank, *, exact=None, seed=0):
    """Balanced factors of the nearest matrix of this rank, by the truncated SVD.

    Args:
        matrix: As of `truncated_svd`.
        rank: As of `truncated_svd`.
        exact: As of `truncated_svd`.
        seed: As of `truncated_svd`.

    Returns:
        `left` of `(inputs, rank)` and `right` of `(rank, outputs)`.

    Example:

    >>> left, right = svd_factors(np.ones((2, 3)), 1)
    >>> np.round(left @ right, 6).tolist()
    [[1.0, 1.0, 1.0], [1.0, 1.0, 1.0]]

    Reference:
        - [Denton et al., 2014](https://arxiv.org/abs/1404.0736), section 3.2.
    """
    return balanced_factors(*truncated_svd(matrix, rank, exact=exact, seed=seed))


def singular_values(matrix):
    """All singular values, falling.

    Of a large matrix they are roots of the eigenvalues of its Gram matrix, in float64:
    their squares, which energies are made of, lose nothing by that.

    Args:
        matrix: Array of `(inputs, outputs)`, finite.

    Returns:
        Float64 array of `min(inputs, outputs)` numbers.

    Example:

    >>> singular_values(np.diag([3.0, 1.0, 2.0])).tolist()
    [3.0, 2.0, 1.0]
    """
    matrix = check_matrix("matrix", matrix)
    if matrix.size <= EXACT_SIZE:
        return np.linalg.svd(matrix.astype(np.float64), compute_uv=False)
    tall = matrix if matrix.shape[0] >= matrix.shape[1] else matrix.T
    gram = np.zeros((tall.shape[1],) * 2)
    for start in range(0, len(tall), 4096):
        rows = tall[start : start + 4096].astype(np.float64)
        gram += rows.T @ rows
    return np.sqrt(np.maximum(np.linalg.eigvalsh(gram)[::-1], 0.0))


def relative_error(matrix, approximation):
    """`|W - W'| / |W|` in the Frobenius norm; 0 where both are zero.

    >>> relative_error(np.array([[3.0, 4.0]]), np.array([[3.0, 0.0]]))
    0.8
    """
    matrix = np.asarray(matrix, np.float64)
    distance = float(np.linalg.norm(matrix - np.asarray(approximation, np.float64)))
    norm = float(np.linalg.norm(matrix))
    return distance / norm if norm else (0.0 if distance == 0.0 else float("inf"))


class DataAware:
    """The factors that change a layer's *outputs* least, on inputs it has seen.

    With second moments `C = E[z z']` of the inputs `z` that the layer will get, and
    `D = E[z x']` where `x` is what it got when it was trained, `E |W' x - F' z|^2` is
    least, of all `F` of a rank, for `F = C^-1 D W V V'`, `V` being the right singular
    vectors of `C^-1/2 D W`. Where `z` is `x` this is the whitened SVD, that of
    `C^1/2 W`. Directions that the inputs never take are damped towards `W`.

    Args:
        kernel: Array of `(inputs, outputs)`.
        second: Array of `(inputs, inputs)`: `C`.
        cross: Array of `(inputs, inputs)`: `D`. Defaults to `second`.
        damping: Number > 0, a share of the mean of the diagonal of `C`, added to both
            diagonals.

    Attributes:
        values: Singular values, falling; their squares are energies of the outputs.

    Raises:
        ValueError: If shapes do not fit or numbers are not finite.

    Reference:
        - [Zhang et al., 2016](https://arxiv.org/abs/1505.06798), equations 5 to 8.
    """

    def __init__(self, kernel, second, cross=None, damping=1e-4):
        kernel = check_matrix("kernel", kernel).astype(np.float64)
        side = kernel.shape[0]
        check_real("damping", damping, above=0.0)
        moments = []
        for name, matrix in (("second", second), ("cross", cross)):
            matrix = second if matrix is None else matrix
            matrix = check_matrix(name, matrix).astype(np.float64)
            if matrix.shape != (side, side):
                raise invalid(name, f"of shape {(side, side)}", matrix.shape)
            moments.append(matrix)
        added = damping * (np.trace(moments[0]) / side or 1.0) * np.eye(side)
        variances, axes = np.linalg.eigh(moments[0] + added)
        # Moments of few inputs have variances of zero, which rounding makes negative.
        roots = np.sqrt(np.maximum(variances, added[0, 0]))
        whitened = (axes.T @ ((moments[1] + added) @ kernel)) / roots[:, None]
        self._fitted = axes @ (whitened / roots[:, None])
        energies, vectors = np.linalg.eigh(whitened.T @ whitened)
        count = min(kernel.shape)
        self.values = np.sqrt(np.maximum(energies[::-1][:count], 0.0))
        self._vt = vectors[:, ::-1][:, :count].T

    def factors(self, rank):
        """`left` and `right` of this rank, their columns and rows of equal norms."""
        rank = check_int("rank", rank, minimum=1, maximum=len(self.values))
        right = self._vt[:rank]
        left = self._fitted @ right.T
        norms = np.linalg.norm(left, axis=0)
        return balanced_factors(left / np.where(norms > 0.0, norms, 1.0), norms, right)
