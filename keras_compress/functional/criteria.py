"""How much a weight matters: scores for `mask_from_scores`, the lowest going first."""

import numpy as np


def magnitude(kernel):
    """The absolute value.

    >>> magnitude(np.array([[-2.0, 1.0]]))
    array([[2., 1.]])
    """
    return np.abs(kernel)


def connection_sensitivity(kernel, gradient):
    """What the loss changes by, to first order, when a weight goes: `|w dL/dw|`.

    Comparable across layers, as all speak of the same loss. In a network that is
    trained to the end, gradients of the mean loss are small and say little; the method
    was made for networks before training.

    Args:
        kernel: Array of weights.
        gradient: Array like `kernel`, of the mean loss over some examples.

    Returns:
        Array like `kernel`.

    Example:

    >>> connection_sensitivity(np.array([[2.0, 0.5]]), np.array([[-0.1, 1.0]]))
    array([[0.2, 0.5]])

    Reference:
        - [Lee et al., 2019](https://arxiv.org/abs/1810.02340) (SNIP), equations 4 and
          5, without the common denominator, which changes no order.
    """
    return np.abs(kernel * gradient)


def activation_aware(kernel, norms):
    """The weight times the norm of what it is multiplied with: `|w_ij| ||x_i||`.

    Args:
        kernel: Array of weights.
        norms: Array that broadcasts to `kernel`: the norm of each input over some
            examples.

    Returns:
        Array like `kernel`.

    Example:

    >>> activation_aware(np.array([[2.0, 1.0], [1.0, 3.0]]), np.array([[1.0], [5.0]]))
    array([[ 2.,  1.],
           [ 5., 15.]])

    Reference:
        - [Sun et al., 2023](https://arxiv.org/abs/2306.11695) (Wanda), equation 1. The
          paper compares weights of one output only: `per_output` of these scores.
    """
    return np.abs(kernel) * norms


def per_output(scores):
    """Scores by which every output loses the same share of its weights.

    Args:
        scores: Array whose last axis is the outputs.

    Returns:
        Float array like `scores`: the share of the output's weights that go before.

    Example:

    >>> per_output(np.array([[9.0, 0.2], [8.0, 0.1]]))
    array([[0.5, 0.5],
           [0. , 0. ]])
    """
    matrix = np.reshape(scores, (-1, np.shape(scores)[-1]))
    order = matrix.argsort(axis=0, kind="stable").argsort(axis=0, kind="stable")
    return (order / max(1, len(matrix))).reshape(np.shape(scores))
