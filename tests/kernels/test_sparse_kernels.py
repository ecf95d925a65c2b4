"""Is every SIMD level the scalar kernel, bit for bit, and that one right?"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_compress.functional.sparse_layouts import LAYOUTS
from tests.kernels import native

pytestmark = native.requires_library

LEVELS = native.level_names()
BATCHES = [1, 2, 3, 4, 5, 8, 9, 15, 16, 17, 31, 32, 33, 48, 49, 63, 64, 65, 127, 130]


def sparse(seed, inputs, units, sparsity):
    random = np.random.default_rng(seed)
    matrix = random.standard_normal((inputs, units)).astype(np.float32)
    matrix[random.random((inputs, units)) < sparsity] = 0.0
    return matrix


def dense(seed, *shape):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def check_matmul(inputs, matrix, bias, layouts=LAYOUTS, dtype=None):
    """Every level of every layout gives the bits of the first layout's scalar kernel.

    Zeros that some layouts store change nothing: a sum that begins with +0 is never -0.
    """
    weights = native.weights_of(matrix, dtype)
    scalar = native.matmul("scalar", inputs, weights, bias)
    exact = inputs.astype(float) @ matrix + bias
    scale = np.abs(inputs).astype(float) @ np.abs(matrix) + np.abs(bias) + 1e-30
    assert (np.abs(scalar - exact) <= (len(matrix) + 2) * 2.0**-24 * scale).all()
    for layout in layouts:
        weights = native.weights_of(matrix, dtype, layout)
        for name in LEVELS:
            other = native.matmul(name, inputs, weights, bias)
            assert native.same_bits(scalar, other), (layout, name)
    return scalar


@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("units", [1, 3, 16, 17, 70])
def test_batches(batch, units):
    matrix = sparse(batch, 77, units, 0.7)
    check_matmul(dense(1, batch, 77), matrix, dense(2, units))


@pytest.mark.parametrize("inputs", [1, 2, 3, 7, 8, 9, 15, 16, 17, 63, 64, 65, 300])
@pytest.mark.parametrize("batch", [1, 4, 8, 16, 64])
def test_widths(inputs, batch):
    matrix = sparse(inputs, inputs, 37, 0.5)
    check_matmul(dense(1, batch, inputs), matrix, dense(2, 37))


@pytest.mark.parametrize("batch", [0, 1, 20])
@pytest.mark.parametrize(("inputs", "units"), [(5, 0), (0, 5), (5, 6)])
def test_nothing_to_multiply(batch, inputs, units):
    bias = dense(0, units)
    zeros = np.zeros((inputs, units), np.float32)
    outputs = check_matmul(dense(1, batch, inputs), zeros, bias)
    assert (outputs == bias).all()


@pytest.mark.parametrize("batch", [1, 3, 40])
def test_columns_of_very_different_lengths(batch):
    matrix = sparse(0, 130, 41, 0.6)
    matrix[:, ::3] = 0.0
    matrix[:, 1::5] = dense(3, 130, 9)[:, : matrix[:, 1::5].shape[1]]
    check_matmul(dense(1, batch, 130), matrix, dense(2, 41))


@pytest.mark.parametrize("batch", [1, 2, 6, 12, 70])
def test_more_inputs_than_two_bytes_reach(batch):
    matrix = np.zeros((70_001, 5), np.float32)
    random = np.random.default_rng(0)
    matrix[random.integers(0, 70_001, 500), random.integers(0, 5, 500)] = 1.5
    matrix[-1] = 2.0
    assert native.weights_of(matrix)["indices"].dtype == np.int32
    inputs, bias = dense(1, batch, 70_001), dense(2, 5)
    check_matmul(inputs, matrix, bias, ("csc", "lanes", "kblock"))


@pytest.mark.parametrize("batch", [1, 70])
def test_four_byte_indices_give_the_same(batch):
    matrix = sparse(0, 50, 33, 0.5)
    args = dense(1, batch, 50), matrix, dense(2, 33), ["csc"]
    assert native.same_bits(check_matmul(*args), check_matmul(*args, np.int32))


@pytest.mark.parametrize("batch", [1, 2, 7, 16, 70])
def test_blocks_of_one_input_and_16_outputs(batch):
    random = np.random.default_rng(0)
    matrix = dense(1, 200, 90) * np.repeat(random.random((200, 6)) < 0.2, 16, 1)[:, :90]
    assert len(native.weights_of(matrix, layout="panel16")["indices"]) < 300
    check_matmul(dense(2, batch, 200), matrix, dense(3, 90))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("batch", [1, 4, 7, 16, 65])
def test_infinities_nans_and_negative_zeros(batch, layout):
    matrix = sparse(0, 40, 35, 0.5)
    matrix[3, 4] = np.inf
    matrix[5, 6] = np.nan
    inputs = dense(1, batch, 40)
    strange = [np.inf, -np.inf, np.nan, -0.0, 1e-42, 3e38]
    spots = np.random.default_rng(2).random(inputs.shape) < 0.1
    inputs[spots] = np.resize(np.array(strange, np.float32), spots.sum())
    bias = np.where(np.arange(35) % 2, -0.0, 0.0).astype(np.float32)
    weights = native.weights_of(matrix, layout=layout)
    scalar = native.matmul("scalar", inputs, weights, bias)
    for name in LEVELS[1:]:
        other = native.matmul(name, inputs, weights, bias)
        assert native.same_bits(scalar, other), name


@pytest.mark.parametrize("layout", LAYOUTS)
def test_sums_go_in_order_and_by_fma(layout):
    # 2^24 swallows a 0.5 that comes after it, and keeps the pair that comes before.
    matrix = np.array([[1.0], [1.0], [2.0**24], [0.5], [0.5]], np.float32)
    weights = native.weights_of(matrix, layout=layout)
    one = np.float32(1.0)
    for batch in (1, 4, 8, 16, 64):
        inputs = np.ones((batch, 5), np.float32)
        for name in LEVELS:
            outputs = native.matmul(name, inputs, weights, np.zeros(1, np.float32))
            assert (outputs == 2.0**24 + 2).all(), name
    # (1 + e)(1 - e) - 1 is -e^2 in one rounding and 0 in two.
    e = np.float32(2.0**-13)
    matrix = np.array([[-1.0], [one - e]], np.float32)
    weights = native.weights_of(matrix, layout=layout)
    for batch in (1, 4, 8, 16, 64):
        inputs = np.tile(np.array([1.0, one + e], np.float32), (batch, 1))
        for name in LEVELS:
            outputs = native.matmul(name, inputs, weights, np.zeros(1, np.float32))
            assert (outputs == -(e * e)).all(), name


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("batch", [1, 5, 70])
def test_pointers_aligned_to_their_numbers_alone(batch, layout):
    matrix = sparse(0, 61, 29, 0.5)
    inputs, bias = dense(1, batch, 61), dense(2, 29)
    weights = native.weights_of(matrix, layout=layout)
    moved = {
        name: part if name == "layout" else native.unaligned(part)
        for name, part in weights.items()
    }
    for name in LEVELS:
        assert native.same_bits(
            native.matmul(name, inputs, weights, bias),
            native.matmul(
                name, native.unaligned(inputs), moved, native.unaligned(bias)
            ),
        )


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    batch=st.integers(0, 140),
    inputs=st.integers(0, 140),
    units=st.integers(0, 60),
    sparsity=st.floats(0.0, 1.0),
    seed=st.integers(0, 2**31),
)
def test_random_shapes(batch, inputs, units, sparsity, seed):
    matrix = sparse(seed, inputs, units, sparsity)
    check_matmul(dense(seed, batch, inputs), matrix, dense(seed + 1, units))


def conv_loops(images, kernel, bias, strides, dilations, before, size):
    """The convolution by its definition, in float64."""
    batch, height, width, _ = images.shape
    outputs = np.zeros((batch, *size, kernel.shape[-1])) + bias
    for y in range(size[0]):
        for x in range(size[1]):
            for i in range(kernel.shape[0]):
                for j in range(kernel.shape[1]):
                    row = y * strides[0] - before[0] + i * dilations[0]
                    col = x * strides[1] - before[1] + j * dilations[1]
                    if 0 <= row < height and 0 <= col < width:
                        pixel = images[:, row, col].astype(float)
                        outputs[:, y, x] += pixel @ kernel[i, j]
    return outputs


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    batch=st.integers(0, 3),
    image=st.tuples(st.integers(1, 13), st.integers(1, 13)),
    channels=st.sampled_from([1, 2, 3, 5, 16, 21]),
    filters=st.integers(1, 20),
    kernel=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    strides=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    dilations=st.tuples(st.integers(1, 2), st.integers(1, 3)),
    before=st.tuples(st.integers(0, 3), st.integers(0, 3)),
    size=st.tuples(st.integers(1, 7), st.integers(1, 9)),
    layout=st.sampled_from(LAYOUTS),
    seed=st.integers(0, 2**31),
)
def test_convolutions(
    batch,
    image,
    channels,
    filters,
    kernel,
    strides,
    dilations,
    before,
    size,
    layout,
    seed,
):
    images = dense(seed, batch, *image, channels)
    patch = kernel[0] * kernel[1] * channels
    matrix = sparse(seed + 1, patch, filters, 0.6)
    bias = dense(seed + 2, filters)
    weights = native.weights_of(matrix, layout=layout)
    geometry = (kernel, strides, dilations, before, size)
    scalar = native.conv2d("scalar", images, weights, bias, geometry)
    shaped = matrix.reshape(*kernel, channels, filters)
    exact = conv_loops(images, shaped, bias, strides, dilations, before, size)
    np.testing.assert_allclose(scalar, exact, rtol=0, atol=2e-4)
    for name in LEVELS[1:]:
        other = native.conv2d(name, images, weights, bias, geometry)
        assert native.same_bits(scalar, other), name


@pytest.mark.parametrize("before", [(0, 0), (1, 0), (0, 2)])
@pytest.mark.parametrize("channels", [1, 2, 7, 20])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_patches_cut_at_one_side_only(before, channels, layout):
    images = dense(0, 2, 6, 7, channels)
    matrix, bias = sparse(1, 9 * channels, 10, 0.3), dense(2, 10)
    geometry = ((3, 3), (1, 1), (1, 1), before, (6, 7))
    weights = native.weights_of(matrix, layout=layout)
    scalar = native.conv2d("scalar", images, weights, bias, geometry)
    shaped = matrix.reshape(3, 3, channels, 10)
    exact = conv_loops(images, shaped, bias, (1, 1), (1, 1), before, (6, 7))
    np.testing.assert_allclose(scalar, exact, rtol=0, atol=2e-4)
    for name in LEVELS[1:]:
        other = native.conv2d(name, images, weights, bias, geometry)
        assert native.same_bits(scalar, other), name


@pytest.mark.parametrize("wrong", ["last", "first", "negative"])
@pytest.mark.parametrize("dtype", [np.uint16, np.int32])
@pytest.mark.parametrize("name", LEVELS)
@pytest.mark.parametrize("kept", [1, 15, 16, 17, 64, 100])
def test_an_index_out_of_range_is_refused_wherever_it_is(wrong, dtype, name, kept):
    if wrong == "negative" and dtype == np.uint16:
        pytest.skip("unsigned")
    values = np.ones(kept, np.float32)
    indices = np.arange(kept).astype(dtype)
    place = 0 if wrong == "first" else kept - 1
    indices[place] = -1 if wrong == "negative" else kept
    starts = np.array([0, kept], np.int32)
    weights = {"layout": "csc", "values": values, "indices": indices, "starts": starts}
    inputs, bias = np.ones((3, kept), np.float32), np.zeros(1, np.float32)
    with pytest.raises(native.Refused, match="result 2"):
        native.matmul(name, inputs, weights, bias)


@pytest.mark.parametrize("starts", [[1, 2, 3], [0, 3, 2, 3], [0, 1, 2], [0, -1, 3]])
def test_starts_out_of_order_are_refused(starts):
    weights = {
        "layout": "csc",
        "values": np.ones(3, np.float32),
        "indices": np.zeros(3, np.uint16),
        "starts": np.array(starts, np.int32),
    }
    bias = np.zeros(len(starts) - 1, np.float32)
    with pytest.raises(native.Refused, match="result 1"):
        native.matmul("scalar", np.ones((2, 4), np.float32), weights, bias)


def spoiled(name, change):
    def spoil(weights):
        array = weights[name].copy()
        change(array)
        return weights | {name: array}

    return spoil


def set_to(place, value):
    def change(array):
        array[place] = value

    return change


REFUSED = {
    "panel16: starts fall": ("panel16", spoiled("starts", set_to(1, 301)), 1),
    "panel16: index": ("panel16", spoiled("indices", set_to(-1, 100)), 2),
    "panel16: values": ("panel16", lambda w: w | {"values": w["values"][:-1]}, 4),
    "panel16: starts": ("panel16", lambda w: w | {"starts": w["starts"][:-1]}, 4),
    "lanes: starts": ("lanes", spoiled("starts", set_to(-1, 1)), 1),
    "lanes: window": ("lanes", spoiled("windows", set_to(0, 25)), 5),
    "lanes: twice": ("lanes", spoiled("order", set_to(0, 1)), 6),
    "lanes: order": ("lanes", spoiled("order", set_to(3, 96)), 6),
    "lanes: negative": ("lanes", spoiled("order", set_to(3, -1)), 6),
    "lanes: length": ("lanes", lambda w: w | {"order": w["order"][:-1]}, 4),
    "kblock: index": ("kblock", spoiled("indices", set_to(0, 96)), 2),
    "kblock: last": ("kblock", spoiled("indices", set_to(-1, 4)), 2),
    "kblock: place": ("kblock", spoiled("segments", set_to(0, 64)), 7),
    "kblock: rising": ("kblock", spoiled("segments", set_to(1, 0)), 7),
    "kblock: sum": ("kblock", spoiled("segments", set_to(-1, 1)), 7),
    "kblock: length": ("kblock", lambda w: w | {"segments": w["segments"][:-2]}, 4),
}


@pytest.mark.parametrize("name", REFUSED)
def test_parts_that_would_lead_out_of_bounds_are_refused(name):
    layout, spoil, result = REFUSED[name]
    matrix = sparse(0, 100, 70, 0.5)
    matrix[96:, -1] = 0.0
    weights = native.weights_of(matrix, layout=layout)
    inputs, bias = dense(1, 2, 100), dense(2, 70)
    native.matmul("scalar", inputs, weights, bias)
    for level in LEVELS:
        with pytest.raises(native.Refused, match=f"result {result}"):
            native.matmul(level, inputs, spoil(weights), bias)
