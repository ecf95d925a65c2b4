"""Fixed-point arithmetic in training: gradients that pass through, and noise."""

import keras
import numpy as np
from keras import ops

from keras_compress._validation import check_choice
from keras_compress.functional.grid import rounded, to_grid
from keras_compress.functional.sign import read

GRADIENTS = ("identity", "clipped")


def quantize(x, format, *, gradient="identity", finer=1.0, active=None, seed=None):
    """`format.quantize(x)` with a gradient, straight through.

    | `gradient`   | `dL/dx`                                             |
    | ------------ | --------------------------------------------------- |
    | `"identity"` | `dL/dq`                                             |
    | `"clipped"`  | `dL/dq` where `x` is in `[format.min, format.max]`, else 0 |

    Args:
        x: Float tensor, the channels last.
        format: A `QFormat`, or `None`: `x` stays as it is.
        gradient: A name of the table.
        finer: Number or tensor, a power of two >= 1: so much smaller are the steps.
        active: Boolean tensor: where it is false, `x` stays as it is. `None` is true.
        seed: Integer or `keras.random.SeedGenerator`, for stochastic rounding.

    Returns:
        Tensor like `x`.

    Raises:
        ValueError: If `gradient` is unknown.

    Example:

    >>> from keras_compress.functional.q_format import QFormat
    >>> print(ops.convert_to_numpy(quantize(np.array([0.3, -9.0]), QFormat(2, 1))))
    [ 0.5 -4. ]

    Reference:
        - [Courbariaux et al., 2015](https://arxiv.org/abs/1511.00363), equation 4, for
          the clipped one
    """
    check_choice("gradient", gradient, GRADIENTS)
    if format is None:
        return x
    finer = read(finer)
    if active is not None:
        active = read(active)
    clipped = gradient == "clipped" and format.integer_bits is not None

    @ops.custom_gradient
    def forward(x):
        def grad(*args, upstream=None):
            upstream = args[0] if upstream is None else upstream
            if not clipped:
                return upstream
            low, high = (np.asarray(y, np.float32) for y in (format.min, format.max))
            inside = ops.logical_and(x >= ops.cast(low, x.dtype), x <= high)
            if active is not None:
                inside = ops.logical_or(inside, ops.logical_not(active))
            return upstream * ops.cast(inside, upstream.dtype)

        found = to_grid(x, format, finer=finer, seed=seed)
        # One choice is a pass over the numbers, but two graphs would cost more.
        return found if active is None else ops.where(active, found, x), grad

    return forward(read(x))


def noisy(x, format, *, rate, gradient="identity", finer=1.0, seed=None):
    """Quantizes a random part of the numbers, and leaves the others as they are.

    Args:
        x: Float tensor, the channels last.
        format: A `QFormat`.
        rate: Number or tensor in `[0, 1]`: the probability that a number is quantized.
        gradient: As of `quantize`, for those that are; the others pass it on.
        finer: As of `quantize`.
        seed: Integer or `keras.random.SeedGenerator`.

    Returns:
        Tensor like `x`.

    Example:

    >>> from keras_compress.functional.q_format import QFormat
    >>> x = np.full((8,), 0.3, "float32")
    >>> found = ops.convert_to_numpy(noisy(x, QFormat(2, 1), rate=0.5, seed=1))
    >>> print(np.unique(found))
    [0.3 0.5]

    Reference:
        - [Fan et al., 2020](https://arxiv.org/abs/2004.07320), equation 5
    """
    x = read(x)
    full = quantize(x, format, gradient=gradient, finer=finer, seed=seed)
    chance = keras.random.uniform(ops.shape(x), seed=seed)
    return ops.where(chance < rate, full, x)


def dithered(x, format, *, finer=1.0, seed=None):
    """Adds what rounding does to numbers, on average: uniform noise of half a step.

    `x + step * u` with `u` uniform in `[-1/2, 1/2)`, clipped to the format's range. Its
    gradient is that of the clipped numbers, exactly.

    Args:
        x: Float tensor, the channels last.
        format: A `QFormat`.
        finer: As of `quantize`.
        seed: Integer or `keras.random.SeedGenerator`.

    Returns:
        Tensor like `x`.

    Example:

    >>> from keras_compress.functional.q_format import QFormat
    >>> found = dithered(np.zeros(4, "float32"), QFormat(0, 1), seed=1)
    >>> bool(np.max(np.abs(found)) <= 0.25)
    True

    Reference:
        - [Défossez et al., 2021](https://arxiv.org/abs/2104.09987), section 3.2
    """
    x = read(x)
    noise = keras.random.uniform(ops.shape(x), -0.5, 0.5, dtype=x.dtype, seed=seed)
    step = ops.cast(np.asarray(format.resolution, np.float32), x.dtype)
    x = x + noise * (step / ops.cast(finer, x.dtype))
    if format.integer_bits is None:
        return x
    low, high = (np.asarray(y, np.float32) for y in (format.min, format.max))
    return ops.clip(x, ops.cast(low, x.dtype), ops.cast(high, x.dtype))


def overflow_share(x, format):
    """The fraction of numbers that a format has no room for, in `[0, 1]`.

    Args:
        x: Array of floats, the channels last.
        format: A `QFormat`.

    Returns:
        A `float`. What only rounds into the range from half a step outside counts not.

    Example:

    >>> from keras_compress.functional.q_format import QFormat
    >>> overflow_share(np.array([0.5, 2.0, -1.0, -3.0]), QFormat(0, 7))
    0.5
    """
    x = np.asarray(x, np.float64)
    if not x.size or format.integer_bits is None:
        return 0.0
    scaled = x / format.resolution
    code = ops.convert_to_numpy(
        rounded(ops.convert_to_tensor(scaled), _plain(format.rounding))
    )
    low, high = (np.divide(y, format.resolution) for y in (format.min, format.max))
    return float(np.mean((code < low) | (code > high)))


def _plain(rounding):
    return "nearest_even" if rounding == "stochastic" else rounding
