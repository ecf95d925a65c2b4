"""Steps and limits of quantizers that are learned: LSQ and PACT."""

import math

from keras import ops

from keras_compress._validation import check_int
from keras_compress.functional.sign import read


def learned_step(x, step, *, bits, signed=True):
    """`round(clip(x / step, low, high)) * step`, with gradients for both.

    `low, high = -2 ** (bits - 1), 2 ** (bits - 1) - 1`, or `0, 2 ** bits - 1`.

    | where               | `dL/dx` | `dL/dstep`, times `dL/dq` and `g`     |
    | ------------------- | ------- | ------------------------------------- |
    | `x / step <= low`   | `0`     | `low`                                 |
    | `x / step >= high`  | `0`     | `high`                                |
    | in between          | `dL/dq` | `round(x / step) - x / step`          |

    The gradient of the step is summed, and scaled by `g = 1 / sqrt(size * high)`, which
    makes a step learn as fast as weights do.

    Args:
        x: Float tensor.
        step: Positive float scalar.
        bits: Integer in `[2, 16]`.
        signed: Whether there are negative numbers.

    Returns:
        Tensor like `x`.

    Raises:
        ValueError: If `bits` is out of range.

    Example:

    >>> import numpy as np
    >>> x = np.array([0.3, 9.0, -9.0], "float32")
    >>> print(ops.convert_to_numpy(learned_step(x, 0.5, bits=3)))
    [ 0.5  1.5 -2. ]

    Reference:
        - [Esser et al., 2020](https://arxiv.org/abs/1902.08153), equations 1 to 5
    """
    low, high = step_limits(bits, signed)

    @ops.custom_gradient
    def forward(x, step):
        scaled = x / step
        below, above = scaled <= low, scaled >= high
        whole = ops.round(ops.clip(scaled, low, high))

        def grad(*args, upstream=None):
            upstream = args[0] if upstream is None else upstream
            size = ops.cast(ops.size(x), x.dtype)
            g = 1.0 / ops.sqrt(size * float(high))
            slope = whole - scaled
            slope = ops.where(below, float(low), ops.where(above, float(high), slope))
            inside = ops.logical_not(ops.logical_or(below, above))
            to_x = upstream * ops.cast(inside, x.dtype)
            return to_x, ops.sum(upstream * slope) * g

        return whole * step, grad

    return forward(read(x), read(step))


def step_limits(bits, signed=True):
    """The smallest and the largest integer of so many bits."""
    check_int("bits", bits, minimum=2, maximum=16)
    if signed:
        return -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    return 0, 2**bits - 1


def first_step(x, *, bits, signed=True):
    """`2 * mean(abs(x)) / sqrt(high)`: where the step of `learned_step` starts.

    Args:
        x: Float tensor, at least one of it not zero.
        bits: Integer in `[2, 16]`.
        signed: Whether there are negative numbers.

    Returns:
        Float scalar; 1 where all of `x` is zero.

    Example:

    >>> import numpy as np
    >>> print(float(first_step(np.array([1.0, -1.0]), bits=3)).__round__(3))
    1.155

    Reference:
        - [Esser et al., 2020](https://arxiv.org/abs/1902.08153), section 2.1
    """
    _, high = step_limits(bits, signed)
    step = 2.0 * ops.mean(ops.abs(read(x))) / math.sqrt(high)
    return ops.where(step > 0.0, step, ops.ones_like(step))


def clipped_units(x, alpha, *, bits=None):
    """PACT: `clip(x, 0, alpha)`, in steps of `alpha / (2 ** bits - 1)`.

    | where       | `dL/dx` | `dL/dalpha`, times `dL/dy` |
    | ----------- | ------- | -------------------------- |
    | `x < 0`     | `0`     | `0`                        |
    | `x < alpha` | `dL/dy` | `0`                        |
    | else        | `0`     | `1`                        |

    Args:
        x: Float tensor.
        alpha: Positive float scalar.
        bits: Integer in `[2, 16]`, or `None`: not quantized.

    Returns:
        Tensor like `x`.

    Raises:
        ValueError: If `bits` is out of range.

    Example:

    >>> import numpy as np
    >>> x = np.array([-1.0, 0.6, 5.0], "float32")
    >>> print(ops.convert_to_numpy(clipped_units(x, 1.5, bits=2)))
    [0.  0.5 1.5]

    Reference:
        - [Choi et al., 2018](https://arxiv.org/abs/1805.06085), equations 1 to 3
    """
    levels = None if bits is None else step_limits(bits, signed=False)[1]

    @ops.custom_gradient
    def forward(x, alpha):
        outputs = ops.clip(x, 0.0, alpha)
        if levels is not None:
            outputs = ops.round(outputs * (levels / alpha)) * (alpha / levels)

        def grad(*args, upstream=None):
            upstream = args[0] if upstream is None else upstream
            above = ops.cast(x >= alpha, x.dtype)
            inside = ops.cast(ops.logical_and(x >= 0.0, x < alpha), x.dtype)
            return upstream * inside, ops.sum(upstream * above)

        return outputs, grad

    return forward(read(x), read(alpha))
