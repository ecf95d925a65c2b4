"""Dropout for a network that has fewer connections than it was made for."""

import math

from keras import ops

from keras_compress._validation import check_int, check_real


def retraining_rate(rate, before, after):
    """`D_r = D_o * sqrt(C_r / C_o)`: fewer connections overfit less.

    Args:
        rate: The rate `D_o` of the dense network, in `[0, 1]`.
        before: Integer >= 1, the connections `C_o` of the layer when dense.
        after: Integer in `[0, before]`, those `C_r` that are left.

    Returns:
        A `float` in `[0, rate]`.

    Raises:
        ValueError: If an argument is out of range.

    Example:

    >>> retraining_rate(0.5, before=100, after=4)
    0.1

    Reference:
        - [Han et al., 2015](https://arxiv.org/abs/1506.02626), section 3.2, equations 1
          and 2.
    """
    rate = check_real("rate", rate, minimum=0.0, maximum=1.0)
    check_int("before", before, minimum=1)
    check_int("after", after, minimum=0, maximum=before)
    return rate * math.sqrt(after / before)


def dropped(inputs, rate, noise):
    """`inputs / (1 - rate)` where `noise >= rate`, 0 elsewhere.

    Args:
        inputs: Float tensor.
        rate: Number or scalar tensor in `[0, 1)`.
        noise: Tensor of uniform numbers in `[0, 1)` that broadcasts to `inputs`.

    Returns:
        Tensor like `inputs`.

    Example:

    >>> out = dropped(np.array([1.0, 2.0]), 0.5, np.array([0.2, 0.7]))
    >>> print(ops.convert_to_numpy(out))
    [0. 4.]
    """
    kept = noise >= ops.cast(rate, noise.dtype)
    scaled = inputs / (1.0 - ops.cast(rate, inputs.dtype))
    return ops.where(kept, scaled, ops.zeros((), inputs.dtype))
