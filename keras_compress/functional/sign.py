"""The sign, and the gradients that stand in for its own, which is zero or infinite.

Everywhere `sign(0) = +1`, so that a sign is one bit, and the sign of NaN is NaN, so
that a training that diverged is seen.
"""

from keras import ops

from keras_compress._validation import check_choice


def _clip(x):
    return ops.cast(ops.abs(x) <= 1.0, x.dtype)


def _approx(x):
    return ops.relu(2.0 - 2.0 * ops.abs(x))


def _swish(x, beta=5.0):
    half = ops.clip(0.5 * beta * x, -40.0, 40.0)  # cosh stays finite
    shape = 2.0 - 2.0 * half * ops.tanh(half)
    return beta * shape / (1.0 + ops.cosh(2.0 * half))


def _tanh(x):
    return 1.0 - ops.square(ops.tanh(x))


STRAIGHT_THROUGH = {
    "plain": None,
    "clip": _clip,
    "tanh": _tanh,
    "approx": _approx,
    "swish": _swish,
}


def signs(x):
    """-1 where `x` is below zero, else +1; NaN where it is NaN.

    Args:
        x: Float tensor.

    Returns:
        Tensor like `x`. Its gradient is zero: see `sign`.

    Example:

    >>> print(ops.convert_to_numpy(signs(np.array([-0.5, -0.0, 0.0, 2.0]))))
    [-1.  1.  1.  1.]
    """
    # Of all ways to write it, the fastest: no boolean in between, and NaN stays NaN.
    return ops.sign(ops.sign(x) + 0.5)


def sign(x, straight_through="clip"):
    """`signs(x)` with a gradient: `dL/dx = dL/dy * s(x)`, where `s` is chosen.

    | `straight_through` | `s(x)`                                                   |
    | ------------------ | -------------------------------------------------------- |
    | `"plain"`          | `1`                                                      |
    | `"clip"`           | `1` where `abs(x) <= 1`, else `0`                        |
    | `"tanh"`           | `1 - tanh(x) ** 2`                                       |
    | `"approx"`         | `2 - 2 * abs(x)` where `abs(x) < 1`, else `0`            |
    | `"swish"`          | `b * (2 - b x tanh(b x / 2)) / (1 + cosh(b x))`, `b = 5` |

    What is a sign already passes its gradient on as it is, whatever `s`: taking the
    sign twice is the same as taking it once, forward and backward.

    Args:
        x: Float tensor.
        straight_through: A name of the table.

    Returns:
        Tensor like `x`, of -1 and +1.

    Raises:
        ValueError: If `straight_through` is unknown.

    Example:

    >>> print(ops.convert_to_numpy(sign(np.array([-3.0, 0.0]))))
    [-1.  1.]

    Reference:
        - `"plain"`: [Kim & Smaragdis, 2015](https://arxiv.org/abs/1601.06071), noisy
          back-propagation
        - `"clip"`: [Hubara et al., 2016](https://arxiv.org/abs/1602.02830), equation 4
        - `"approx"`: [Liu et al., 2018](https://arxiv.org/abs/1808.00278), Bi-Real net
        - `"swish"`: [Darabi et al., 2018](https://arxiv.org/abs/1812.11800), BNN+
    """
    check_choice("straight_through", straight_through, tuple(STRAIGHT_THROUGH))
    derivative = STRAIGHT_THROUGH[straight_through]

    @ops.custom_gradient
    def forward(x):
        def grad(*args, upstream=None):
            upstream = args[0] if upstream is None else upstream
            if derivative is None:
                return upstream
            already = ops.abs(x) == 1.0
            return ops.where(already, upstream, upstream * derivative(x))

        return signs(x), grad

    return forward(read(x))


def read(x):
    """The tensor in a variable; a custom gradient has to be that of a tensor."""
    x = ops.convert_to_tensor(x)
    return ops.cast(x, x.dtype)
