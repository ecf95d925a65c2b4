"""What a student is told by its teachers: targets, losses and their gradients.

`z` are a student's logits, `v` a teacher's, `N` the number of classes on the last axis,
`q(T) = softmax(z / T)`, `p(T) = softmax(v / T)`, `t` the labels, one-hot. Losses come
one a position: the last axis is summed over, nothing else is. Temperature, weights and
alpha may be numbers or tensors; their ranges are checked where users give them.
"""

import keras
from keras import ops

# A probability that was rounded to zero lies below the smallest number of its format.
SMALLEST = {"float16": 6.0e-8}
TINY = 1.2e-38


def log_probabilities(probabilities):
    """`log p`: the logits of a network that ends in softmax, up to a constant.

    `softmax(log(p) / T)` equals `softmax(v / T)`. What was rounded to zero counts as
    the smallest number of its format.

    Args:
        probabilities: Tensor `(..., N)` of values in `[0, 1]`.

    Returns:
        Float32 tensor of the same shape.

    Example:

    >>> log_probabilities(np.array([0.25, 0.75], "float32")).numpy().round(3)
    array([-1.386, -0.288], dtype=float32)
    """
    smallest = SMALLEST.get(keras.backend.standardize_dtype(probabilities.dtype), TINY)
    return ops.log(ops.maximum(ops.cast(probabilities, "float32"), smallest))


def sigmoid_logits(probabilities):
    """`log p - log(1 - p)`: the logits of units that end in sigmoid.

    Args:
        probabilities: Tensor of values in `[0, 1]`.

    Returns:
        Float32 tensor of the same shape.

    Example:

    >>> sigmoid_logits(np.array([0.5, 0.75], "float32")).numpy().round(3)
    array([0.   , 1.099], dtype=float32)
    """
    # 1 - p has a resolution of 6e-8, so that p = 1 means a logit of about 17.
    rest = 1.0 - ops.cast(probabilities, "float32")
    return log_probabilities(probabilities) - ops.log(ops.maximum(rest, 3.0e-8))


def two_class_logits(logits):
    """Each binary unit as a softmax over itself and zero: `sigmoid(z)` and the rest.

    Args:
        logits: Tensor `(..., units)`.

    Returns:
        Tensor `(..., units, 2)`.

    Example:

    >>> two_class_logits(np.array([3.0, -1.0])).numpy().tolist()
    [[3.0, 0.0], [-1.0, 0.0]]
    """
    return ops.stack([logits, ops.zeros_like(logits)], axis=-1)


def soften(logits, temperature):
    """`softmax(v / T)`: probabilities that show what a network holds for similar.

    Args:
        logits: Tensor `(..., N)`.
        temperature: Number > 0.

    Returns:
        Tensor of the same shape, of sum 1 over the last axis.

    Example:

    >>> soften(np.array([2.0, 0.0], "float32"), 2.0).numpy().round(3)
    array([0.731, 0.269], dtype=float32)

    Reference:
        - [Hinton et al., 2015](https://arxiv.org/abs/1503.02531), equation 1.
    """
    return ops.softmax(logits / temperature, axis=-1)


def mean_probabilities(logits, temperature, weights=None):
    """An ensemble's arithmetic mean: `sum_k w_k softmax(v_k / T)`.

    Args:
        logits: List of tensors `(..., N)`, one a teacher.
        temperature: Number > 0.
        weights: Sequence of weights of sum 1, one a teacher. Defaults to equal ones.

    Returns:
        Tensor `(..., N)` of sum 1 over the last axis.

    Example:

    >>> one, other = np.array([[9.0, 0.0]]), np.array([[0.0, 9.0]])
    >>> mean_probabilities([one, other], 1.0).numpy().round(3).tolist()
    [[0.5, 0.5]]

    Reference:
        - [Hinton et al., 2015](https://arxiv.org/abs/1503.02531), section 2.
    """
    return _mean([soften(member, temperature) for member in logits], weights)


def mean_logits(logits, weights=None):
    """An ensemble's mean logits, `sum_k w_k v_k`: its geometric mean of probabilities.

    Args:
        logits: List of tensors `(..., N)`, one a teacher.
        weights: Sequence of weights of sum 1, one a teacher. Defaults to equal ones.

    Returns:
        Tensor `(..., N)`.

    Example:

    >>> mean_logits([np.array([4.0, 0.0]), np.array([0.0, 2.0])]).tolist()
    [2.0, 1.0]

    Reference:
        - [Hinton et al., 2015](https://arxiv.org/abs/1503.02531), section 2.
    """
    return _mean(logits, weights)


def soft_cross_entropy(targets, logits, temperature):
    """The soft one of Hinton's two objectives: `-T^2 sum_i p_i log q_i(T)`.

    Its gradient is `dL/dz = T (q(T) - p)`: the square of the temperature keeps it of
    the size of the hard term's, whatever the temperature. For large T, where logits
    have mean zero, it becomes `(z - v) / N`, a regression on logits.

    Args:
        targets: Tensor `(..., N)`, the teacher's softened probabilities, of sum 1.
        logits: Tensor `(..., N)`, the student's.
        temperature: Number > 0, the same for both.

    Returns:
        Tensor `(...)`.

    Example:

    >>> p = soften(np.array([1.0, -1.0], "float32"), 2.0)
    >>> soft_cross_entropy(p, np.zeros(2, "float32"), 2.0).numpy().round(4)
    np.float32(2.7726)

    Reference:
        - [Hinton et al., 2015](https://arxiv.org/abs/1503.02531), sections 2 and 2.1,
          equations 2 to 4.
    """
    # One fused op; its gradient takes for granted that targets have the sum 1.
    loss = ops.categorical_crossentropy(targets, logits / temperature, from_logits=True)
    return temperature**2 * loss


def mixed_target(soft, labels, alpha):
    """`alpha p + (1 - alpha) t`: the correct labels modify the soft targets.

    A row of zeros for an unknown label leaves `alpha p`.

    Args:
        soft: Tensor `(..., N)`, the teacher's softened probabilities.
        labels: Tensor `(..., N)`, one-hot.
        alpha: Number in `[0, 1]`.

    Returns:
        Tensor `(..., N)`.

    Example:

    >>> mixed_target(np.array([0.5, 0.5]), np.array([1.0, 0.0]), 0.5).tolist()
    [0.75, 0.25]

    Reference:
        - [Hinton et al., 2015](https://arxiv.org/abs/1503.02531), section 2.
    """
    return alpha * soft + (1.0 - alpha) * labels


def mixed_cross_entropy(targets, logits, temperature):
    """One cross-entropy at temperature T, `-sum_i target_i log q_i(T)`.

    Its gradient is `dL/dz = (1 / T) (q(T) - (alpha p(T) + (1 - alpha) t))` for the
    targets of `mixed_target`. There is no factor of T^2, and the labels, too, are held
    against softened probabilities: the balance of soft and hard moves with T, and the
    true logit keeps being pushed. Hinton et al. found their two objectives better.

    Args:
        targets: Tensor `(..., N)` of `mixed_target`.
        logits: Tensor `(..., N)`, the student's.
        temperature: Number > 0.

    Returns:
        Tensor `(...)`.

    Example:

    >>> targets = np.array([0.75, 0.25], "float32")
    >>> mixed_cross_entropy(targets, np.zeros(2, "float32"), 2.0).numpy().round(4)
    np.float32(0.6931)

    Reference:
        - [Hinton et al., 2015](https://arxiv.org/abs/1503.02531), section 2.
    """
    return -ops.sum(targets * ops.log_softmax(logits / temperature, axis=-1), axis=-1)


def logits_matching(teacher, student):
    """`1/2 sum_i (z_i - v_i)^2`, whose gradient is `dL/dz = z - v`.

    Args:
        teacher: Tensor `(..., N)` of logits.
        student: Tensor `(..., N)` of logits.

    Returns:
        Tensor `(...)`.

    Example:

    >>> float(logits_matching(np.array([1.0, 2.0]), np.array([0.0, 0.0])))
    2.5

    Reference:
        - [Ba & Caruana, 2014](https://arxiv.org/abs/1312.6184), equation 1.
    """
    return 0.5 * ops.sum(ops.square(student - teacher), axis=-1)


def centred(logits):
    """Logits less their mean, which no softmax sees.

    Args:
        logits: Tensor `(..., N)`.

    Returns:
        Tensor of the same shape, of mean 0 over the last axis.

    Example:

    >>> centred(np.array([1.0, 3.0])).numpy().tolist()
    [-1.0, 1.0]
    """
    return logits - ops.mean(logits, axis=-1, keepdims=True)


def squared_difference(teacher, student):
    """`mean_i (z_i - v_i)^2`, for outputs that are no classes.

    Args:
        teacher: Tensor `(..., N)`.
        student: Tensor `(..., N)`.

    Returns:
        Tensor `(...)`.

    Example:

    >>> float(squared_difference(np.array([1.0, 2.0]), np.array([0.0, 0.0])))
    2.5
    """
    return ops.mean(ops.square(student - teacher), axis=-1)


def _mean(tensors, weights):
    if weights is None:
        weights = [1.0 / len(tensors)] * len(tensors)
    total = tensors[0] * weights[0]
    for tensor, weight in zip(tensors[1:], weights[1:], strict=True):
        total = total + tensor * weight
    return total
