"""Is every SIMD level of the low-rank product the scalar kernel, bit for bit?"""

import ctypes

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_compress.functional.panels import to_panels
from tests.kernels import native

pytestmark = native.requires_library

LEVELS = native.level_names()


class Product(ctypes.Structure):
    """`KcLowRankProduct` of low_rank_api.h."""

    _fields_ = (
        *((name, ctypes.c_int64) for name in ("inputs", "rank", "units")),
        *(("left", ctypes.c_void_p), ("left_count", ctypes.c_int64)),
        *(("right", ctypes.c_void_p), ("right_count", ctypes.c_int64)),
        *(("bias", ctypes.c_void_p), ("relu", ctypes.c_int64)),
    )


def dense(seed, *shape):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def matmul(
    name, inputs, left, right, bias, *, relu=0, copy=np.ascontiguousarray, of=()
):
    inputs, bias = copy(inputs), copy(bias)
    panels = [copy(to_panels(factor)) for factor in (left, right)]
    numbers = {"rank": left.shape[1], "left": panels[0].size, "right": panels[1].size}
    numbers |= {"relu": relu, "inputs": len(left), "units": len(bias)} | dict(of)
    product = Product(
        *(numbers[name] for name in ("inputs", "rank", "units")),
        *(panels[0].ctypes.data, numbers["left"]),
        *(panels[1].ctypes.data, numbers["right"]),
        *(bias.ctypes.data, numbers["relu"]),
    )
    outputs, check = native.guarded((len(inputs), len(bias)))
    with native.level(name) as lib:
        result = lib.kc_low_rank_matmul(
            ctypes.byref(product),
            native.pointer(inputs),
            ctypes.c_int64(len(inputs)),
            native.pointer(outputs),
        )
    check()
    if result:
        raise native.Refused(f"result {result}")
    return outputs


def check_matmul(inputs, left, right, bias, relu=0):
    """The scalar kernel is right, and every level gives its bits."""
    scalar = matmul("scalar", inputs, left, right, bias, relu=relu)
    hidden = inputs.astype(float) @ left
    exact = hidden @ right + bias
    size = np.abs(inputs).astype(float) @ np.abs(left) @ np.abs(right) + np.abs(bias)
    rounding = (len(left) + len(right) + 4) * 2.0**-24 * (size + 1e-30)
    exact = np.maximum(exact, 0.0) if relu else exact
    assert (np.abs(scalar - exact) <= rounding).all()
    for name in LEVELS[1:]:
        other = matmul(name, inputs, left, right, bias, relu=relu)
        assert native.same_bits(scalar, other), name


@pytest.mark.parametrize("rank", [1, 7, 16, 17, 33, 48, 50, 64, 65, 130])
@pytest.mark.parametrize("rows", [1, 2, 5, 6, 7, 12, 13, 25])
def test_every_tile(rows, rank):
    units = 2 * rank + 3
    check_matmul(
        dense(0, rows, 37), dense(1, 37, rank), dense(2, rank, units), dense(3, units)
    )


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    batch=st.integers(0, 40),
    inputs=st.integers(0, 150),
    rank=st.integers(0, 70),
    units=st.integers(0, 150),
    relu=st.integers(0, 1),
    seed=st.integers(0, 2**31),
)
def test_random_shapes(batch, inputs, rank, units, relu, seed):
    left, right = dense(seed, inputs, rank), dense(seed + 1, rank, units)
    rows, bias = dense(seed + 2, batch, inputs), dense(seed + 3, units)
    check_matmul(rows, left, right, bias, relu)


def test_sums_that_are_broken_off_go_on_in_order():
    # More inputs than are worked on at once, of both products, and blocks of rows.
    check_matmul(dense(0, 9, 1100), dense(1, 1100, 3), dense(2, 3, 5), dense(3, 5))
    check_matmul(dense(0, 9, 5), dense(1, 5, 1030), dense(2, 1030, 70), dense(3, 70))
    check_matmul(dense(0, 400, 5), dense(1, 5, 20), dense(2, 20, 3), dense(3, 3))


def test_sums_go_in_order_and_by_fma():
    # 2^24 swallows a 0.5 that comes after it, and keeps the pair that comes before.
    column = np.array([[1.0], [1.0], [2.0**24], [0.5], [0.5]], np.float32)
    one, nothing = np.ones((1, 1), np.float32), np.zeros(1, np.float32)
    # (1 + e)(1 - e) - 1 is -e^2 in one rounding and 0 in two.
    e = np.float32(2.0**-13)
    pair = np.array([[-1.0], [np.float32(1.0) - e]], np.float32)
    for rows in (1, 4, 40):
        for name in LEVELS:
            found = matmul(name, np.ones((rows, 5), "f"), column, one, nothing)
            assert (found == 2.0**24 + 2).all(), name
            inputs = np.tile(np.array([1.0, np.float32(1.0) + e], "f"), (rows, 1))
            assert (matmul(name, inputs, pair, one, nothing) == -(e * e)).all(), name


@pytest.mark.parametrize("relu", [0, 1])
def test_what_is_not_finite_comes_out_where_it_must(relu):
    inputs = np.ones((7, 20), np.float32)
    inputs[1, 3], inputs[2, 4], inputs[3, 5] = np.nan, np.inf, -np.inf
    left, right = np.ones((20, 18), np.float32), np.ones((18, 19), np.float32)
    for name in LEVELS:
        found = matmul(name, inputs, left, right, np.zeros(19, "f"), relu=relu)
        assert np.isnan(found[1]).all(), name
        assert (found[2] == np.inf).all(), name
        assert (found[3] == (0.0 if relu else -np.inf)).all(), name
        assert (found[[0, 4, 5, 6]] == 360.0).all(), name


@pytest.mark.parametrize("rows", [1, 7, 30])
def test_pointers_aligned_to_their_numbers_alone(rows):
    given = dense(0, rows, 61), dense(1, 61, 29), dense(2, 29, 81), dense(3, 81)
    for name in LEVELS:
        moved = matmul(name, *given, copy=native.unaligned)
        assert native.same_bits(matmul(name, *given), moved), name


@pytest.mark.parametrize("rows", [1, 5, 300])
def test_threads_change_nothing(rows):
    given = dense(0, rows, 700), dense(1, 700, 90), dense(2, 90, 950), dense(3, 950)
    lib = native.library()
    before = lib.kc_threads()
    try:
        lib.kc_set_threads(1)
        alone = matmul(LEVELS[-1], *given)
        lib.kc_set_threads(3)
        assert native.same_bits(alone, matmul(LEVELS[-1], *given))
    finally:
        lib.kc_set_threads(before)


@pytest.mark.parametrize(
    "change",
    [
        *({"inputs": -1}, {"inputs": 5}, {"rank": -1}, {"rank": 3}, {"units": 6}),
        *({"left": 7}, {"right": 11}, {"relu": 2}, {"inputs": 2**40}),
    ],
)
def test_lengths_that_do_not_go_together_are_refused(change):
    given = dense(0, 3, 4), dense(1, 4, 2), dense(2, 2, 5), dense(3, 5)
    with pytest.raises(native.Refused, match="result 2"):
        matmul(LEVELS[-1], *given, of=change)
