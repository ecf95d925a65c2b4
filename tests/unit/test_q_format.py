"""Fixed-point formats: numbers worked out by hand, and what is refused."""

import numpy as np
import pytest
from keras import ops

import keras_compress as kc
from keras_compress.functional.fixed_point import dithered, noisy, quantize

Q = kc.QFormat


def test_the_number_of_the_lecture():
    q = Q(6, 3)
    assert q.to_bits(-35.125) == "1 100011 001"
    assert q.from_bits("1 100011 001") == -35.125
    assert q.to_bits(-35.125, "twos_complement") == "1 011100 111"
    assert q.from_bits("1 011100 111", "twos_complement") == -35.125
    assert (q.bits, q.min, q.max, q.resolution) == (10, -64.0, 63.875, 0.125)


def test_bits_of_other_kinds_of_formats():
    assert Q(2, 2, signed=False).to_bits(2.75) == "10 11"
    assert Q(-2, 5).to_bits(0.125) == "0 100"
    assert Q(5, -2).to_bits(-12.0) == "1 011"
    assert Q(None, 3).to_bits(-35.125) == "1 100011 001"
    assert Q(None, 0).to_bits(0.0) == "0 0"
    assert Q(0, 2).to_bits(0.3) == "0 01"  # what it quantizes to
    assert Q(0, 3).to_bits(-1.0, "twos_complement") == "1 000"


@pytest.mark.parametrize(
    ("rounding", "expected"),
    [
        ("nearest_even", [0.0, 2.0, 2.0, -0.0, -2.0, -2.0]),
        ("truncate", [0.0, 1.0, 2.0, -0.0, -1.0, -2.0]),
        ("floor", [0.0, 1.0, 2.0, -1.0, -2.0, -3.0]),
    ],
)
def test_halves(rounding, expected):
    x = np.array([0.5, 1.5, 2.5, -0.5, -1.5, -2.5], np.float32)
    np.testing.assert_array_equal(Q(4, 0, rounding=rounding).quantize(x), expected)


def test_overflow_saturates_or_wraps():
    x = np.array([7.5, 8.0, 9.0, -8.0, -9.0, 24.0])
    np.testing.assert_array_equal(Q(3, 0).quantize(x), [7.0, 7.0, 7.0, -8.0, -8.0, 7.0])
    np.testing.assert_array_equal(
        Q(3, 0, overflow="wrap").quantize(x), [-8.0, -8.0, -7.0, -8.0, 7.0, -8.0]
    )
    np.testing.assert_array_equal(
        Q(3, 0, signed=False, overflow="wrap").quantize(x),
        [0.0, 0.0, 1.0, 0.0, 7.0, 0.0],
    )


def test_infinity_saturates_and_nan_stays():
    found = Q(3, 2).quantize(np.array([np.inf, -np.inf, np.nan], np.float32))
    np.testing.assert_array_equal(found, [7.75, -8.0, np.nan])
    found = Q(None, 2).quantize(np.array([np.inf, 1e38, np.nan], np.float32))
    np.testing.assert_array_equal(found, np.array([np.inf, 1e38, np.nan], np.float32))


def test_stochastic_rounding_keeps_the_mean():
    q = Q(2, 1, rounding="stochastic")
    found = q.quantize(np.full(20_000, 0.35, np.float32), seed=1)
    assert set(np.unique(found)) == {0.0, 0.5}
    assert found.mean() == pytest.approx(0.35, abs=0.01)
    on_grid = np.arange(-4, 4, 0.5)
    np.testing.assert_array_equal(q.quantize(on_grid, seed=1), on_grid)


def test_channels():
    q = Q((0, 2), (3, 1))
    x = np.array([[0.3, 0.3], [-2.0, -9.0]])
    np.testing.assert_array_equal(q.quantize(x), [[0.25, 0.5], [-1.0, -4.0]])
    np.testing.assert_array_equal(q.to_integers(x), [[2, 1], [-8, -8]])
    np.testing.assert_array_equal(q.resolution, [0.125, 0.5])
    assert q.channels == 2
    with pytest.raises(ValueError, match="channel"):
        q.to_bits(0.25)


def test_a_random_part_is_quantized():
    x = np.full((100, 100), 0.3, np.float32)
    found = ops.convert_to_numpy(noisy(x, Q(0, 1), rate=0.25, seed=1))
    assert np.mean(found == 0.5) == pytest.approx(0.25, abs=0.02)
    np.testing.assert_array_equal(found[found != 0.5], np.float32(0.3))


def test_noise_is_of_half_a_step():
    x = np.zeros((100, 100), np.float32)
    found = ops.convert_to_numpy(dithered(x, Q(2, 2), finer=2.0, seed=1))
    assert np.abs(found).max() <= 0.0625
    assert found.std() == pytest.approx(0.125 / np.sqrt(12), rel=0.05)
    high = ops.convert_to_numpy(dithered(x + 9, Q(2, 2), seed=1))
    np.testing.assert_array_equal(high, 3.75)


def test_nothing_is_done_without_a_format():
    x = np.array([0.3])
    assert quantize(x, None) is x


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ((0, 0), "integer_bits . fraction_bits"),
        ((-3, 3), "integer_bits . fraction_bits"),
        ((20, 12), "integer_bits . fraction_bits"),
        ((1.5, 2), "`integer_bits`"),
        ((2, None), "`fraction_bits`"),
        ((2, True), "`fraction_bits`"),
        ((2, 65), "`fraction_bits`"),
        (((1, 2), 3), "`fraction_bits`"),
        (((1, 2), (1, 2, 3)), "`fraction_bits`"),
        (((), ()), "`integer_bits`"),
        ((2, 2, 1), "`signed`"),
        ((2, 2, True, "clip"), "`overflow`"),
        ((2, 2, True, "wrap", "up"), "`rounding`"),
    ],
)
def test_a_format_that_is_none_is_refused(arguments, match):
    with pytest.raises(ValueError, match=match):
        Q(*arguments)


def test_bits_that_are_none_are_refused():
    for text in ("1 100011 0011", "1 100011 002", "", 5):
        with pytest.raises(ValueError, match="`text`"):
            Q(6, 3).from_bits(text)
    with pytest.raises(ValueError, match="`value`"):
        Q(0, 3).to_bits(-1.0)
    with pytest.raises(ValueError, match="`value`"):
        Q(0, 3).to_bits(np.nan)
    with pytest.raises(ValueError, match="`encoding`"):
        Q(0, 3).to_bits(0.5, "ones_complement")


def test_types_of_hls():
    assert Q.from_ap_fixed("ap_fixed<16,6>") == Q(5, 10, True, "wrap", "floor")
    assert Q.from_ap_fixed("ap_ufixed<8, 0, AP_RND_CONV, AP_SAT>") == Q(0, 8, False)
    assert Q(-2, 9).to_ap_fixed() == "ap_fixed<8,-1,AP_RND_CONV,AP_SAT>"
    for text in (
        "ap_int<8>",
        "ap_fixed<8,3,AP_RND_INF>",
        "ap_fixed<8,3,AP_TRN,AP_SAT_SYM>",
    ):
        with pytest.raises(ValueError, match="`text`"):
            Q.from_ap_fixed(text)
    with pytest.raises(ValueError, match="stochastic"):
        Q(2, 2, rounding="stochastic").to_ap_fixed()
