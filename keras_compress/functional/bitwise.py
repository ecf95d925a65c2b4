"""Signs, their gradients, and weights that are signs: the maths of bitwise networks.

A bitwise network computes with -1 and +1 alone. It is trained in two stages, with
real-valued *ghost* weights `W` behind the bits:

| stage | weights of the forward pass        | units     |
| ----- | ---------------------------------- | --------- |
| 1     | `tanh(W)`                          | `tanh(a)` |
| 2     | `M * sign(W)`, `M = abs(W) > beta` | `sign(a)` |

Reference:
    - [Kim & Smaragdis, 2015](https://arxiv.org/abs/1601.06071)
"""

import numpy as np
from keras import ops

from keras_compress._validation import check_choice, check_real
from keras_compress.functional.sign import read, signs

GRADIENTS = ("paper", "lecture")
# Below zero, no absolute value is as small as that: nothing is dropped.
KEEP_ALL = -1.0
# Of a ghost weight at the start of stage 1: at 1 itself, atanh would be infinite.
LARGEST_COMPRESSED = 0.99


def compress(weights):
    """`tanh(W)`: the weights of stage 1, in (-1, 1).

    Its gradient, `dL/dW = dL/dw * (1 - tanh(W) ** 2)`, is that of stage 1.

    Args:
        weights: Float tensor, the ghost weights.

    Returns:
        Tensor like `weights`.

    Reference:
        - [Kim & Smaragdis, 2015](https://arxiv.org/abs/1601.06071), section 3.1
    """
    return ops.tanh(weights)


def ghosts_of(weights):
    """`atanh(clip(w))`: the ghosts that `compress` turns into these weights.

    Args:
        weights: Float array; what is beyond -0.99 or 0.99 is taken for that.

    Returns:
        NumPy array like `weights`.

    Example:

    >>> print(ghosts_of(np.array([0.0, 0.5])).round(3))
    [0.    0.549]
    """
    weights = np.asarray(weights)
    return np.arctanh(np.clip(weights, -LARGEST_COMPRESSED, LARGEST_COMPRESSED))


def binary_weights(weights, gradient="paper", mask=None):
    """`M * sign(W)` with a given mask, and the gradient of noisy back-propagation.

    `"paper"`: `dL/dW = dL/dw`, for masked weights, too, so that they may come back.
    `"lecture"`: `dL/dW = dL/dw * M * (1 - tanh(W) ** 2)`.

    Args:
        weights: Float tensor, the ghost weights.
        gradient: `"paper"` or `"lecture"`.
        mask: Boolean tensor like `weights`, `False` where the weight is 0. Defaults
            to no mask.

    Returns:
        Tensor like `weights`, of -1, 0 and +1.

    Raises:
        ValueError: If `gradient` is unknown.

    Example:

    >>> print(ops.convert_to_numpy(binary_weights(np.array([-0.2, 0.7]))))
    [-1.  1.]

    Reference:
        - [Kim & Smaragdis, 2015](https://arxiv.org/abs/1601.06071), section 3.2
    """
    return _noisy(weights, signs, gradient, mask, mask is not None)


def ternary_weights(weights, beta, gradient="paper", mask=None):
    """`M * sign(W)`, where `M` drops all with `|W| <= beta`, afresh at each call.

    Gradients are as in `binary_weights`.

    Args:
        weights: Float tensor, the ghost weights.
        beta: Number >= 0, or a scalar tensor, as `beta_for` gives it.
        gradient: `"paper"` or `"lecture"`.
        mask: Boolean tensor like `weights`: what else is dropped.

    Returns:
        Tensor like `weights`, of -1, 0 and +1.

    Raises:
        ValueError: If `gradient` is unknown.

    Example:

    >>> print(ops.convert_to_numpy(ternary_weights(np.array([-0.2, 0.7]), 0.5)))
    [0. 1.]

    Reference:
        - [Kim & Smaragdis, 2015](https://arxiv.org/abs/1601.06071), section 3.2
    """
    weights = ops.convert_to_tensor(weights)
    beta = ops.cast(read(beta), weights.dtype)

    # Exactly 0 where |W| <= beta, and nowhere else; one pass less than a comparison.
    def signs_beyond(w):
        bound = ops.cast(beta, w.dtype)
        return ops.sign(w - ops.clip(w, -bound, bound))

    return _noisy(weights, signs_beyond, gradient, mask, True)


def beta_for(weights, sparsity, mask=None):
    """The `beta` at which the ternary weights have this sparsity.

    It is the largest absolute value of the `round(sparsity * size)` smallest weights,
    those masked before counted first; those equal to it fall with it.

    Args:
        weights: Float array, the ghost weights.
        sparsity: Fraction of zeros, in `[0, 1]`.
        mask: Boolean array like `weights`: what is dropped already.

    Returns:
        A float >= 0, or `KEEP_ALL` (-1) where nothing is to be dropped.

    Raises:
        ValueError: If `sparsity` is out of range, or a weight is NaN.

    Example:

    >>> beta_for(np.array([0.25, -0.5, 0.75, 1.0]), 0.5)
    0.5
    """
    sparsity = check_real("sparsity", sparsity, minimum=0.0, maximum=1.0)
    weights = np.asarray(weights)
    count = round(sparsity * weights.size)
    values = np.abs(weights.ravel())
    if mask is not None:
        values = values[np.asarray(mask, bool).ravel()]
        count -= weights.size - values.size
    if count <= 0:
        return KEEP_ALL
    if np.isnan(values).any():
        raise ValueError(
            "`weights` must hold finite numbers to be made sparse. Received: NaN among "
            f"the weights of shape {weights.shape}"
        )
    return float(np.partition(values, count - 1)[count - 1])


def unit_scale(weights, ternary=None):
    """`alpha`: of every unit, the mean absolute value of the ghosts that are kept.

    `M * sign(W) * alpha` is the nearest to `M * W` that one number a unit allows.

    Args:
        weights: Float tensor, the ghost weights, the last axis being the units.
        ternary: Tensor like `weights`, of -1, 0 and +1. Defaults to no zeros.

    Returns:
        Tensor `(units,)`; 0 for a unit without weights. No gradient flows through it.

    Example:

    >>> ghosts, bits = np.array([[3.0], [-1.0]]), np.array([[1.0], [0.0]])
    >>> float(unit_scale(ghosts)[0]), float(unit_scale(ghosts, bits)[0])
    (2.0, 3.0)

    Reference:
        - [Rastegari et al., 2016](https://arxiv.org/abs/1603.05279), equation 6
    """
    axes = tuple(range(len(weights.shape) - 1))
    if ternary is None:
        return ops.stop_gradient(ops.mean(ops.abs(weights), axis=axes))
    total = ops.sum(weights * ternary, axis=axes)
    kept = ops.sum(ops.abs(ternary), axis=axes)
    return ops.stop_gradient(total / ops.maximum(kept, 1.0))


def _noisy(weights, forward_function, gradient, mask, has_zeros):
    check_choice("gradient", gradient, GRADIENTS)
    mask = None if mask is None else read(mask)

    @ops.custom_gradient
    def forward(weights):
        ternary = forward_function(weights)
        if mask is not None:
            ternary = ops.where(mask, ternary, 0.0)

        def grad(*args, upstream=None):
            upstream = args[0] if upstream is None else upstream
            if gradient == "paper":
                return upstream
            if has_zeros:
                upstream = upstream * ops.abs(ternary)
            return upstream - upstream * ops.square(ops.tanh(weights))

        return ternary, grad

    return forward(read(weights))
