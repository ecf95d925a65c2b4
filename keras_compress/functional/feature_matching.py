"""How far a student's features are from a teacher's: hints and attention maps."""

from keras import ops

TINY = 1.2e-38  # the smallest float32, so that a norm of zero divides nothing


def hint(teacher, student):
    """`1/2 mean (s - f)^2`: the student's features `s` follow the teacher's `f`.

    The source sums over the elements; the mean is the same up to their number, and
    makes one weight fit layers of any size. Its gradient is `(s - f) / elements`.

    Args:
        teacher: Tensor `(batch, ...)` of features.
        student: Tensor of the same shape, projected if need be.

    Returns:
        Tensor `(batch,)`.

    Example:

    >>> hint(np.ones((1, 4)), np.zeros((1, 4))).numpy().tolist()
    [0.5]

    Reference:
        - [Romero et al., 2015](https://arxiv.org/abs/1412.6550), equation 3.
    """
    return 0.5 * ops.mean(_flat(ops.square(student - teacher)), axis=-1)


def attention_map(features):
    """Where a layer looks: `A = sum_c |f_c|^2`, flat, divided by its 2-norm.

    Args:
        features: Tensor `(batch, ..., channels)`, such as `(batch, height, width,
            channels)`.

    Returns:
        Tensor `(batch, positions)` of norm 1 (or 0, where all features are 0).

    Example:

    >>> attention_map(np.array([[[0.0, 2.0], [0.0, 0.0]]])).numpy().tolist()
    [[1.0, 0.0]]

    Reference:
        - [Zagoruyko & Komodakis, 2017](https://arxiv.org/abs/1612.03928), section 3.1.
    """
    energy = _flat(ops.sum(ops.square(features), axis=-1))
    norm = ops.sum(ops.square(energy), axis=-1, keepdims=True)
    return energy * ops.rsqrt(ops.maximum(norm, TINY))


def attention_transfer(teacher, student):
    """`1/2 |A_s - A_t|^2` of the two layers' attention maps.

    The square, as in the authors' code, has a gradient where the maps are equal. The
    numbers of channels may differ, those of positions may not.

    Args:
        teacher: Tensor `(batch, ..., channels)` of features.
        student: Tensor `(batch, ..., channels)` of features.

    Returns:
        Tensor `(batch,)`, in `[0, 1]`.

    Example:

    >>> one, other = np.array([[[3.0], [0.0]]]), np.array([[[0.0], [1.0]]])
    >>> attention_transfer(one, other).numpy().tolist()
    [1.0]

    Reference:
        - [Zagoruyko & Komodakis, 2017](https://arxiv.org/abs/1612.03928), equation 2.
    """
    difference = attention_map(student) - attention_map(teacher)
    return 0.5 * ops.sum(ops.square(difference), axis=-1)


def _flat(tensor):
    return ops.reshape(tensor, (ops.shape(tensor)[0], -1))
