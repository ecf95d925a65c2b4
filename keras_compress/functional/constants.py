"""What becomes of channels that are constant, whatever a network is given.

A channel's constant is the value that it has at every place and for every input; NaN
where it has none.
"""

import numpy as np


def constant_sums(kernel, bias, constants):
    """What the units of a layer sum up that read nothing but constants.

    Args:
        kernel: Array `(..., inputs, outputs)`.
        bias: Array `(outputs,)`, or `None`.
        constants: Floats `(inputs,)`, NaN where a channel varies.

    Returns:
        Floats `(outputs,)`, NaN where a sum varies.

    Example:

    >>> kernel = np.array([[2.0, 1.0], [0.0, 3.0]])
    >>> constant_sums(kernel, np.array([0.5, 0.5]), np.array([4.0, np.nan]))
    array([8.5, nan])

    Reference:
        - [Han et al., 2015](https://arxiv.org/abs/1506.02626), section 3.5
    """
    matrix = kernel.reshape(-1, *kernel.shape[-2:])
    live = np.isnan(constants)
    varies = (matrix != 0).any(axis=0)[live].any(axis=0)
    known = np.where(live, 0.0, constants)
    read = np.flatnonzero(known)
    sums = known[read] @ matrix[:, read].sum(axis=0, dtype="float64")
    return np.where(varies, np.nan, sums if bias is None else sums + bias)


def depthwise_constants(kernel, bias, constants):
    """The same for a depthwise kernel `(height, width, channels, 1)`."""
    window = kernel.reshape(-1, kernel.shape[-2])
    sums = np.where(window.any(axis=0), constants, 0.0)
    sums = sums * window.sum(axis=0, dtype="float64")
    return sums if bias is None else sums + bias


def normalised_constants(statistics, epsilon, constants):
    """What batch normalisation makes of constants, by its four arrays, by name."""
    variance = statistics["moving_variance"].astype("float64")
    scale = 1.0 / np.sqrt(variance + epsilon)
    if statistics["gamma"] is not None:
        scale = scale * statistics["gamma"]
    outputs = (constants - statistics["moving_mean"]) * scale
    # Whatever comes in, a scale of zero lets none of it through.
    outputs = np.where(scale == 0.0, 0.0, outputs)
    return outputs if statistics["beta"] is None else outputs + statistics["beta"]


def padded_constants(constants):
    """What is constant behind zeros at the edges: only zeros."""
    return np.where(constants == 0.0, 0.0, np.nan)


def joined_constants(function, one, other):
    """What an operation on two tensors, number by number, makes of constants.

    >>> joined_constants(np.multiply, np.array([0.0, 2.0]), np.array([np.nan, 3.0]))
    array([0., 6.])
    """
    with np.errstate(all="ignore"):
        outputs = function(one, other)
    if function is np.multiply:
        # Whatever the other is.
        outputs = np.where(np.equal(one, 0.0) | np.equal(other, 0.0), 0.0, outputs)
    return np.where(np.isfinite(outputs), outputs, np.nan)
