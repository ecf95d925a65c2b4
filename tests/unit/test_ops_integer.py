"""`ops.integer_matmul`: the op, its twin, and the definition in NumPy."""

import contextlib

import numpy as np
import pytest
import tensorflow as tf

import keras_compress as kc
from keras_compress.functional import integer_blocks, integers
from keras_compress.ops import integer_matmul
from keras_compress.ops.integer import integer_patches, row_type

RANDOM = np.random.default_rng(0)
both = pytest.mark.parametrize("forms", [contextlib.nullcontext, kc.ops.twins])


def weights(inputs, units, bits):
    limit = 1 << (bits - 1)
    codes = RANDOM.integers(-limit, limit, (inputs, units))
    bias = RANDOM.integers(-1000, 1000, units).astype("int32")
    sums = codes.sum(axis=0).astype("int32")
    return codes, (integers.pack_panels(codes, bits), sums, bias)


@both
@pytest.mark.parametrize("bits", [8, 4])
@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16"])
def test_the_op_and_its_twin_are_the_definition(forms, dtype, bits):
    codes, packed = weights(37, 21, bits)
    info = np.iinfo(dtype)
    rows = RANDOM.integers(info.min, info.max + 1, (2, 3, 37)).astype(dtype)
    expected = integers.integer_sums(rows, codes, packed[2])
    shifts = RANDOM.integers(-2, 14, 21).astype("int32")
    given = {"input_dim": 37, "bits": bits}
    with forms():
        found = integer_matmul(rows, *packed, **given)
        np.testing.assert_array_equal(found, expected)
        for output, how in zip(
            ("int8", "uint8", "int16"), integers.ROUNDINGS, strict=True
        ):
            low, high = np.iinfo(output).min, np.iinfo(output).max
            found = integer_matmul(
                rows,
                *packed,
                **given,
                requantize=(shifts, int(low), int(high), how),
                outputs=output,
            )
            assert found.dtype == output
            value = integers.shifted(expected, shifts, how).clip(low, high)
            np.testing.assert_array_equal(found, value)
        scales = np.ldexp(np.float32(1), -shifts)
        found = integer_matmul(rows, *packed, **given, scales=scales, outputs="float32")
        np.testing.assert_array_equal(found, expected.astype("float32") * scales)


@both
@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16"])
def test_blocks_and_weights_of_16_bits(forms, dtype):
    info = np.iinfo(dtype)
    rows = RANDOM.integers(info.min, info.max + 1, (2, 3, 37)).astype(dtype)
    codes = RANDOM.integers(-128, 128, (37, 41))
    codes[4:20, :16] = codes[:36, 16:32] = 0
    bias = RANDOM.integers(-1000, 1000, 41).astype("int32")
    panels, *where = integer_blocks.pack_blocks(codes)
    assert len(panels) == 17
    sums = codes.sum(axis=0).astype("int32")
    wide = codes * (256 if dtype != "int16" else 3)
    with forms():
        for x in (rows, rows[:0]):
            found = integer_matmul(x, panels, sums, bias, input_dim=37, blocks=where)
            np.testing.assert_array_equal(found, integers.integer_sums(x, codes, bias))
            found = integer_matmul(
                x,
                integers.pack_panels(wide, 16),
                wide.sum(axis=0).astype("int32"),
                bias,
                input_dim=37,
                bits=16,
            )
            np.testing.assert_array_equal(found, integers.integer_sums(x, wide, bias))


def test_packing_can_be_undone():
    codes = RANDOM.integers(-128, 128, (37, 41))
    packed = integer_blocks.pack_blocks(codes)
    assert len(packed[0]) == integer_blocks.count_blocks(codes) == 30
    found = integer_blocks.unpack_blocks(*packed, *codes.shape)
    np.testing.assert_array_equal(found, codes)
    for bits in integers.BITS:
        limit = 1 << (bits - 1)
        codes = RANDOM.integers(-limit, limit, (37, 41))
        panels = integers.pack_panels(codes, bits)
        found = integers.unpack_panels(panels, *codes.shape, bits)
        np.testing.assert_array_equal(found, codes)
    with pytest.raises(ValueError, match="262144 inputs at most"):
        integer_blocks.pack_blocks(np.zeros((262145, 1), "int8"))


def test_blocks_are_chosen_where_they_are_smaller_and_faster():
    pays = integer_blocks.blocks_pay
    assert pays(1638, 1024, 1024, 8)
    assert pays(1638, 1024, 1024, 4)
    assert not pays(16384, 1024, 1024, 8)
    assert not pays(9000, 1024, 1024, 4)  # larger than all weights of 4 bits
    assert not pays(1, 1024, 1024, 16)
    assert not pays(1, 300_000, 16, 8)


@both
@pytest.mark.parametrize("rounding", integers.ROUNDINGS)
def test_floats_are_quantized_on_the_way(forms, rounding):
    codes, packed = weights(12, 5, 8)
    x = RANDOM.standard_normal((4, 12)).astype("float32") * 4
    x[0, :4] = [np.inf, -np.inf, 0.125, -0.375]
    rows = integers.from_floats(x, 2, -7, 7, rounding)
    with forms():
        for inputs in (x, x.astype("float64")):
            found = integer_matmul(
                inputs,
                *packed,
                input_dim=12,
                fraction_bits=2,
                limits=(-7, 7),
                rounding=rounding,
            )
            expected = integers.integer_sums(rows, codes, packed[2])
            np.testing.assert_array_equal(found, expected)
        x[2, 3] = np.nan
        with pytest.raises(tf.errors.InvalidArgumentError, match="NaN"):
            integer_matmul(x, *packed, input_dim=12)


@both
def test_in_a_graph_with_unknown_sizes(forms):
    codes, packed = weights(8, 3, 8)
    rows = RANDOM.integers(-128, 128, (5, 8)).astype("int8")

    @tf.function(input_signature=[tf.TensorSpec((None, 8), tf.int8)])
    def product(rows):
        found = integer_matmul(rows, *packed, input_dim=8)
        assert found.shape.as_list() == [None, 3]
        return found

    with forms():
        expected = integers.integer_sums(rows, codes, packed[2])
        np.testing.assert_array_equal(product(rows), expected)


def test_there_is_no_gradient():
    _, packed = weights(4, 3, 8)
    x, scales = tf.ones((2, 4)), np.ones(3, "float32")
    given = {"input_dim": 4, "outputs": "float32", "scales": scales}
    with kc.ops.twins(), tf.GradientTape() as tape:
        tape.watch(x)
        y = integer_matmul(x, *packed, **given)
    assert tape.gradient(y, x) is None
    if "not" in kc.native_status().split(",")[0]:
        return
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = integer_matmul(x, *packed, **given)
    with pytest.raises(NotImplementedError, match="inference"):
        tape.gradient(y, x)


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "float32"])
def test_patches_are_those_of_a_convolution(dtype):
    images = RANDOM.integers(0, 100, (2, 7, 6, 3)).astype(dtype)
    kernel = RANDOM.integers(-5, 5, (3, 2, 3, 4))
    for padding, strides, dilations in (
        ("valid", (1, 1), (1, 1)),
        ("same", (2, 1), (1, 1)),
        ("valid", (1, 1), (2, 2)),
    ):
        rows = integer_patches(
            tf.constant(images),
            kernel_size=(3, 2),
            strides=strides,
            padding=padding,
            dilations=dilations,
            fraction_bits=0,
            limits=(0, 255),
            rounding="floor",
        )
        found = np.asarray(rows, int) @ kernel.reshape(-1, 4)
        expected = tf.nn.conv2d(
            images.astype("float64"),
            kernel.astype("float64"),
            strides,
            padding.upper(),
            dilations=dilations,
        )
        np.testing.assert_array_equal(found, expected)


def test_rows_take_the_narrowest_type():
    assert row_type(-128, 127) == tf.int8
    assert row_type(0, 128) == tf.uint8
    assert row_type(-1, 200) == tf.int16


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"bits": 2}, "`bits`"),
        ({"outputs": "int64"}, "`outputs`"),
        ({"outputs": "float32"}, "`scales`"),
        ({"rounding": "stochastic"}, "`rounding`"),
        ({"input_dim": 5}, "`inputs`"),
        ({"inputs": np.ones((2, 4), "int32")}, "`inputs`"),
        ({"inputs": np.ones(4, "int8")}, "`inputs`"),
        (
            {"bits": 4, "blocks": (np.zeros(1, "uint16"), np.zeros(2, "int32"))},
            "`bits`",
        ),
    ],
)
def test_wrong_arguments_are_refused(change, match):
    _, packed = weights(4, 3, 8)
    arguments = {"inputs": np.ones((2, 4), "int8"), "input_dim": 4, **change}
    inputs = arguments.pop("inputs")
    with pytest.raises(ValueError, match=match):
        integer_matmul(inputs, *packed, **arguments)


@pytest.mark.skipif(
    "not" in kc.native_status().split(",")[0], reason=kc.native_status()
)
@pytest.mark.parametrize(
    ("position", "value", "match"),
    [
        (0, np.ones((1, 2, 16, 4), "int8"), "`panels` must be of shape"),
        (1, np.ones(4, "int32"), "`column_sums` must be of length 3"),
        (2, np.ones((3, 1), "int32"), "`bias` must have rank 1"),
    ],
)
def test_shapes_that_do_not_go_together_are_refused(position, value, match):
    _, packed = weights(4, 3, 8)
    packed = [*packed[:position], value, *packed[position + 1 :]]
    with pytest.raises(tf.errors.InvalidArgumentError, match=match):
        integer_matmul(np.ones((2, 4), "int8"), *packed, input_dim=4)
