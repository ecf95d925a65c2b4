"""Which rank: by energy, error, budget, or where the noise of a spectrum begins.

A *spectrum* is the array of all singular values of a matrix, falling; its *energies*
are their squares.
"""

import math

import numpy as np

from keras_compress._validation import check_int, check_real, invalid


def check_spectrum(spectrum):
    """`spectrum` as float64 numbers >= 0 that do not rise."""
    spectrum = np.asarray(spectrum, np.float64)
    falls = spectrum.ndim == 1 and spectrum.size and np.isfinite(spectrum).all()
    if not falls or spectrum[-1] < 0.0 or (np.diff(spectrum) > 0.0).any():
        raise invalid("spectrum", "falling numbers >= 0", spectrum)
    return spectrum


def kept_energy(spectrum):
    """The share of the energy that each rank keeps: `sum_{i<=K} s_i^2 / sum_i s_i^2`.

    A matrix of zeros has nothing to lose: every rank keeps all.

    Args:
        spectrum: Array of singular values, falling.

    Returns:
        Array of the same length, rising to 1.

    Example:

    >>> kept_energy([2.0, 1.0, 0.0]).tolist()
    [0.8, 1.0, 1.0]
    """
    energies = np.cumsum(check_spectrum(spectrum) ** 2)
    if energies[-1] == 0.0:
        return np.ones(len(energies))
    return energies / energies[-1]


def energy_rank(spectrum, energy):
    """The least rank that keeps this share of the energy.

    Args:
        spectrum: Array of singular values, falling.
        energy: Number in (0, 1]. At 1 it is the numerical rank, and at least 1.

    Returns:
        An `int`, at least 1.

    Raises:
        ValueError: If `energy` is out of range.

    Example:

    >>> energy_rank([2.0, 1.0, 0.0], 0.9)
    2
    """
    check_energy(energy)
    # What adds less than rounding is no energy.
    enough = kept_energy(spectrum) >= energy - 1e-12
    return int(np.argmax(enough)) + 1


def check_energy(energy):
    """`energy` as a `float` in (0, 1]."""
    energy = check_real("energy", energy, minimum=0.0, maximum=1.0)
    if energy == 0.0:
        raise invalid("energy", "a number in (0, 1]", energy)
    return energy


def error_rank(spectrum, max_error):
    """The least rank whose relative error `|W - W_K| / |W|` is at most `max_error`.

    Args:
        spectrum: Array of singular values, falling.
        max_error: Number in `[0, 1)`.

    Returns:
        An `int`, at least 1.

    Raises:
        ValueError: If `max_error` is out of range.

    Example:

    >>> error_rank([2.0, 1.0, 0.0], 0.5)
    1
    """
    check_max_error(max_error)
    return energy_rank(spectrum, 1.0 - max_error**2)


def check_max_error(max_error):
    """`max_error` as a `float` in `[0, 1)`."""
    max_error = check_real("max_error", max_error, minimum=0.0, maximum=1.0)
    if max_error == 1.0:
        raise invalid("max_error", "a number in [0, 1)", max_error)
    return max_error


def check_params(params):
    """`params` as an `int` >= 1, a count, or a `float` in (0, 1), a share."""
    if isinstance(params, float | np.floating):
        check_real("params", params, minimum=0.0, maximum=1.0)
        if 0.0 < params < 1.0:
            return float(params)
    elif isinstance(params, int | np.integer) and not isinstance(params, bool):
        return check_int("params", params, minimum=1)
    raise invalid("params", "an integer >= 1 or a share in (0, 1)", params)


def largest_rank_below(inputs, outputs):
    """The largest rank at which two factors have fewer weights than their product.

    `K (inputs + outputs) < inputs * outputs`; 0 where there is none.

    Example:

    >>> largest_rank_below(1024, 1024)
    511
    """
    check_int("inputs", inputs, minimum=1)
    check_int("outputs", outputs, minimum=1)
    return (inputs * outputs - 1) // (inputs + outputs)


def factors_pay(inputs, outputs, rank, batch=1):
    """Whether two products are faster than one, in TensorFlow on a CPU.

    Measured by `benchmarks/bench_low_rank.py`, one thread: at batch 1 the second call
    costs what half of the saved work gains, above 16 rows four fifths of the
    multiply-adds are about even.

    Args:
        inputs: Integer >= 1.
        outputs: Integer >= 1.
        rank: Integer >= 1.
        batch: Integer >= 1, rows that are multiplied at once.

    Returns:
        A `bool`.

    Example:

    >>> factors_pay(1024, 1024, 64), factors_pay(1024, 1024, 400)
    (True, False)
    """
    for name, value in (("inputs", inputs), ("outputs", outputs), ("rank", rank)):
        check_int(name, value, minimum=1)
    share = 0.5 if check_int("batch", batch, minimum=1) <= 16 else 0.8
    return rank * (inputs + outputs) <= share * inputs * outputs


def gavish_donoho_rank(spectrum, shape):
    """How many singular values rise above noise of unknown level.

    `s > omega(b) * median(s)`, with `omega(b) = 0.56 b^3 - 0.95 b^2 + 1.82 b + 1.43`
    and `b` the ratio of the shorter side to the longer one.

    Args:
        spectrum: Array of singular values, falling.
        shape: Pair of integers, the sides of the matrix.

    Returns:
        An `int`, at least 1.

    Example:

    >>> gavish_donoho_rank([9.0, 1.0, 1.0, 1.0], (4, 4))
    1

    Reference:
        - [Gavish & Donoho, 2014](https://arxiv.org/abs/1305.5870), equation 5.
    """
    spectrum = check_spectrum(spectrum)
    ratio = min(shape) / max(shape)
    omega = 0.56 * ratio**3 - 0.95 * ratio**2 + 1.82 * ratio + 1.43
    return max(1, int(np.count_nonzero(spectrum > omega * np.median(spectrum))))


def evbmf_rank(spectrum, shape):
    """The rank of variational Bayesian matrix factorisation, solved in closed form.

    With `L <= M` the sides, `a = L / M`, `t = 2.5129 sqrt(a)` and the noise's variance
    `v` where the free energy is least, it keeps `s > sqrt(M v (1 + t)(1 + a / t))`.

    Args:
        spectrum: Array of singular values, falling.
        shape: Pair of integers, the sides of the matrix.

    Returns:
        An `int`, at least 1.

    Example:

    >>> noise = np.random.default_rng(1).standard_normal((60, 80))
    >>> signal = 3 * np.ones((60, 80))
    >>> evbmf_rank(np.linalg.svd(signal + noise, compute_uv=False), (60, 80))
    1

    Reference:
        - [Nakajima et al., 2013](https://jmlr.org/papers/v14/nakajima13a.html),
          theorems 2 and 3, corollary 3.
    """
    spectrum = check_spectrum(spectrum)
    short, long = min(shape), max(shape)
    ratio = short / long
    least = 2.5129 * math.sqrt(ratio)
    bar = (1.0 + least) * (1.0 + ratio / least)
    energies = spectrum**2
    if energies[0] == 0.0:
        return 1
    # The noise is no less than what the weakest values say, no more than all of them.
    most = min(math.ceil(short / (1.0 + ratio)) - 1, len(spectrum) - 1)
    low = max(energies[most] / (long * bar), energies[most:].mean() / long)
    high = energies.sum() / (short * long)
    low = max(low, 1e-12 * high)
    for _ in range(3):
        grid = np.geomspace(low, max(high, low), 101)
        best = int(
            np.argmin([_free_energy(energies, long, v, ratio, bar) for v in grid])
        )
        low, high = grid[max(best - 1, 0)], grid[min(best + 1, 100)]
    return max(1, int(np.count_nonzero(energies > long * grid[best] * bar)))


def _free_energy(energies, long, variance, ratio, bar):
    """Nakajima et al., equation 28, up to a constant."""
    x = np.maximum(energies / (long * variance), 1e-300)
    noise, signal = x[x <= bar], x[x > bar]
    half = signal - (1.0 + ratio)
    tau = 0.5 * (half + np.sqrt(np.maximum(half**2 - 4.0 * ratio, 0.0)))
    return (
        np.sum(noise - np.log(noise))
        + np.sum(signal - tau)
        + np.sum(np.log((tau + 1.0) / signal))
        + ratio * np.sum(np.log(tau / ratio + 1.0))
    )
