"""Thresholds of integer sums hold for every bias, scale and normalisation."""

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from keras_compress.functional import thresholds

WIDTH = st.integers(0, 70)
# Where floats are on the edge, and where they are not.
EDGES = st.sampled_from(
    [0.0, -0.0, 0.5, 1.0, 2.0, 3.0, -1.0, -2.5, 1 / 3, 1e-7, -1e-30]
)
NUMBERS = EDGES | st.floats(-80, 80, width=32)


def vectors(elements):
    return hnp.arrays(np.float32, 5, elements=elements)


@hypothesis.given(
    width=WIDTH,
    bias=vectors(NUMBERS),
    scale=vectors(NUMBERS),
    mean=vectors(NUMBERS),
    variance=vectors(st.floats(0, 1e4, width=32)),
    gamma=vectors(NUMBERS),
    beta=vectors(NUMBERS),
)
def test_the_bit_is_the_sign_of_the_floats_for_every_sum(
    width, bias, scale, mean, variance, gamma, beta
):
    inverse = (gamma / np.sqrt(variance + np.float32(1e-3))).astype(np.float32)
    shift = (beta - mean * inverse).astype(np.float32)

    def values(sums):
        biased = (sums.astype(np.float32) + bias) * np.abs(scale)
        return biased * inverse + shift

    low, high = np.full(5, -width), np.full(5, width)
    limits, flips = thresholds.fold_sign(values, low, high)
    assert limits.dtype == np.int32
    for total in range(-width, width + 1):
        sums = np.full(5, total)
        expected = values(sums) < 0
        np.testing.assert_array_equal((sums < limits) != flips, expected)


@hypothesis.given(
    kernel=hnp.arrays(np.int8, (9, 4), elements=st.integers(-1, 1)),
    bits=hnp.arrays(bool, 9),
    cut=vectors(NUMBERS),
)
def test_thresholds_for_zero_and_one_hold_for_signs(kernel, bits, cut):
    cut = cut[:4]
    most = np.abs(kernel).sum(axis=0)
    limits, flips = thresholds.fold_sign(lambda sums: sums - cut, -most, most)
    moved = thresholds.thresholds_of_signs(limits, kernel.sum(axis=0))
    ones, signs = bits.astype(int), np.where(bits, 1, -1)
    np.testing.assert_array_equal(
        (signs @ kernel < moved) != flips, ones @ kernel - cut < 0
    )


def test_no_sum_is_beyond_the_thresholds_of_constant_units():
    limits, flips = thresholds.fold_sign(
        lambda sums: np.array([1.0, -1.0, 0.0]) + 0 * sums, [-4] * 3, [4] * 3
    )
    np.testing.assert_array_equal(limits, [-(2**31), 2**31 - 1, -(2**31)])
    assert not flips.any()


def test_the_sign_at_a_tie_is_that_of_zero():
    limits, flips = thresholds.fold_sign(lambda sums: sums - 2.0, [-4], [4])
    assert (limits, flips) == ([2], [False])
    limits, flips = thresholds.fold_sign(lambda sums: 2.0 - sums, [-4], [4])
    assert (limits, flips) == ([3], [True])


@pytest.mark.parametrize(
    ("values", "low", "high", "message"),
    [
        (lambda x: x * np.nan, [-1], [1], "`values` must be free of NaN"),
        (lambda x: x, [1], [-1], "`low, high` must be ascending"),
        (lambda x: x, [-(2**31)], [1], "`low, high` must be ascending"),
    ],
)
def test_bad_arguments(values, low, high, message):
    with pytest.raises(ValueError, match=message):
        thresholds.fold_sign(values, low, high)
