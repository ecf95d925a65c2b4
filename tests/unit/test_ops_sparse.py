"""Do the sparse ops equal their twins, refuse what is wrong, and know their shapes?"""

import contextlib

import numpy as np
import pytest
import tensorflow as tf

from keras_compress import ops
from keras_compress.functional.sparse import compress, decompress
from keras_compress.functional.sparse_cost import cheapest, product_time
from keras_compress.functional.sparse_layouts import (
    LAYOUTS,
    PARTS,
    part_shapes,
    stored_bytes,
)
from keras_compress.ops import _library

needs_library = pytest.mark.skipif(
    _library._library.ops is None, reason=_library.native_status()
)

CONVOLUTIONS = [
    {},
    {"padding": "same"},
    {"strides": 2, "padding": "same"},
    {"strides": (2, 3)},
    {"dilations": 2, "padding": "same"},
    {"dilations": (2, 1)},
]


def dense(seed, *shape):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def sparse(seed, *shape):
    matrix = dense(seed, *shape)
    matrix[np.random.default_rng(seed + 1).random(shape) < 0.7] = 0.0
    return matrix


def tensors(matrix, layout="csc"):
    return [tf.constant(array) for array in compress(matrix, layout)]


def ops_in(function, *spec):
    graph = tf.function(function).get_concrete_function(*spec).graph
    return {op.type for op in graph.get_operations()}


def test_compress_and_back():
    matrix = sparse(0, 20, 7)
    matrix[:, 3] = 0.0
    values, indices, starts = compress(matrix)
    assert (values.dtype, indices.dtype, starts.dtype) == ("f4", "u2", "i4")
    assert len(values) == np.count_nonzero(matrix)
    assert starts[3] == starts[4]
    np.testing.assert_array_equal(decompress(compress(matrix), 20, 7), matrix)


def test_compress_by_hand():
    values, indices, starts = compress(np.array([[0.0, 2.0], [3.0, 4.0]]))
    assert values.tolist() == [3.0, 2.0, 4.0]
    assert indices.tolist() == [1, 0, 1]
    assert starts.tolist() == [0, 1, 3]


def test_compress_takes_four_bytes_where_two_do_not_reach():
    assert compress(np.zeros((65536, 1)))[1].dtype == np.uint16
    assert compress(np.zeros((65537, 1)))[1].dtype == np.int32


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(
    "shape", [(1, 1), (5, 0), (0, 5), (16, 16), (97, 70), (193, 65), (40, 130)]
)
@pytest.mark.parametrize("sparsity", [0.0, 0.7, 0.99, 1.0])
def test_every_layout_and_back(layout, shape, sparsity):
    random = np.random.default_rng(0)
    matrix = dense(0, *shape) * (random.random(shape) >= sparsity)
    weights = compress(matrix, layout)
    lengths = part_shapes(layout, len(weights[0]), *shape)
    assert list(lengths) == list(PARTS[layout])
    found = [(len(array), array.dtype.name) for array in weights]
    assert found == list(lengths.values())
    size = sum(array.nbytes for array in weights)
    assert size == stored_bytes(layout, len(weights[0]), *shape)
    back = decompress(weights, *shape, layout)
    assert back.dtype == np.float32
    np.testing.assert_array_equal(back, matrix)


def test_panels_by_hand():
    matrix = np.zeros((3, 18), np.float32)
    matrix[1, 2], matrix[2, 17] = 5.0, 6.0
    values, indices, starts = compress(matrix, "panel16")
    assert indices.tolist() == [1, 2]
    assert starts.tolist() == [0, 1, 2]
    assert values.reshape(2, 16).nonzero()[1].tolist() == [2, 1]


def test_lanes_by_hand():
    matrix = np.zeros((50, 2), np.float32)
    matrix[[5, 45], 1], matrix[9, 0] = [7.0, 8.0], 9.0
    values, indices, starts, windows, order = compress(matrix, "lanes")
    assert order[:3].tolist() == [1, 0, 2], "the longer column first"
    assert starts.tolist() == [0, 2]
    assert windows.tolist() == [1, 11], "from inputs 4 and 44 on"
    assert values.reshape(2, 32)[:, :2].tolist() == [[7.0, 9.0], [8.0, 0.0]]
    assert indices.reshape(2, 32)[:, :2].tolist() == [[1, 5], [1, 0]]


def test_blocks_by_hand():
    matrix = np.zeros((100, 3), np.float32)
    matrix[[0, 98], 0], matrix[[2, 3], 2] = [5.0, 6.0], [7.0, 8.0]
    values, indices, segments = compress(matrix, "kblock")
    assert segments.reshape(2, 3, 2).tolist() == [
        [[2, 2], [0, 1], [1, 0]],
        [[0, 1], [1, 0], [2, 0]],
    ]
    assert values.tolist() == [7.0, 8.0, 5.0, 6.0]
    assert indices.tolist() == [2, 3, 0, 2]


@pytest.mark.parametrize(
    ("layout", "most"), [("csc", 0.13), ("kblock", 0.13), ("lanes", 0.17)]
)
def test_bytes_at_92_percent_zeros(layout, most):
    matrix = dense(0, 784, 1024)
    matrix[np.random.default_rng(1).random(matrix.shape) < 0.92] = 0.0
    size = sum(array.nbytes for array in compress(matrix, layout))
    assert size <= most * matrix.nbytes


@pytest.mark.parametrize("matrix", [np.zeros(3), np.zeros((2, 2), int), 1.0])
def test_compress_refuses(matrix):
    with pytest.raises(ValueError, match="`matrix` must be a float array"):
        compress(matrix)


def test_a_layout_that_does_not_reach_is_refused():
    with pytest.raises(ValueError, match="`matrix` must be of at most 65536 inputs"):
        compress(np.zeros((65_537, 1)), "panel16")
    with pytest.raises(ValueError, match="`layout` must be one of"):
        compress(np.zeros((2, 2)), "coo")
    with pytest.raises(ValueError, match="`stored` must be a multiple of 16"):
        part_shapes("panel16", 17, 4, 4)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("indices", {"indices": [0]}),
        ("indices", {"indices": [0, 2]}),
        ("indices", {"indices": [-1, 1]}),
        ("starts", {"starts": [0, 1]}),
        ("starts", {"starts": [1, 2]}),
        ("starts", {"starts": [0, 3, 2]}),
        ("starts", {"starts": []}),
        ("inputs", {"inputs": -1}),
        ("layout", {"layout": "coo"}),
    ],
)
def test_decompress_refuses(name, change):
    good = {"values": [1.0, 2.0], "indices": [0, 1], "starts": [0, 2], "inputs": 2}
    good |= {"units": 1, "layout": "csc"} | change
    weights = [good.pop(part) for part in PARTS["csc"]]
    with pytest.raises(ValueError, match=f"`{name}` must be"):
        decompress(weights, **good)


@pytest.mark.parametrize("shape", [(4, 30), (2, 3, 30), (2, 0, 30), (0, 30)])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_matmul_equals_its_twin(shape, layout):
    matrix, inputs, bias = sparse(0, 30, 11), dense(1, *shape), dense(2, 11)
    weights = tensors(matrix, layout)
    outputs = ops.sparse_matmul(inputs, weights, bias, layout=layout)
    with ops.twins():
        twin = ops.sparse_matmul(inputs, weights, bias, layout=layout)
    assert outputs.shape == (*shape[:-1], 11)
    np.testing.assert_allclose(outputs, twin, rtol=0, atol=1e-5)
    np.testing.assert_allclose(outputs, inputs @ matrix + bias, rtol=0, atol=1e-5)


@pytest.mark.parametrize("shape", [(100, 70), (192, 128), (400, 65)])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_twins_know_every_place_of_a_layout(shape, layout):
    matrix, inputs = sparse(0, *shape), dense(1, 3, shape[0])
    weights = tensors(matrix, layout)
    with ops.twins():
        twin = ops.sparse_matmul(inputs, weights, tf.zeros(shape[1]), layout=layout)
    np.testing.assert_allclose(twin, inputs @ matrix, rtol=0, atol=1e-4)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("attributes", CONVOLUTIONS)
def test_conv2d_equals_its_twin_and_tensorflow(attributes, layout):
    kernel, images, bias = sparse(0, 3, 2, 4, 5), dense(1, 2, 9, 11, 4), dense(2, 5)
    weights = tensors(kernel.reshape(-1, 5), layout)
    form = {"kernel_size": (3, 2), "layout": layout}
    outputs = ops.sparse_conv2d(images, weights, bias, **form, **attributes)
    with ops.twins():
        twin = ops.sparse_conv2d(images, weights, bias, **form, **attributes)
    exact = tf.nn.conv2d(
        images,
        kernel,
        attributes.get("strides", 1),
        attributes.get("padding", "valid").upper(),
        dilations=attributes.get("dilations", 1),
    )
    np.testing.assert_allclose(outputs, twin, rtol=0, atol=1e-5)
    np.testing.assert_allclose(outputs, exact + bias, rtol=0, atol=1e-5)


@needs_library
def test_native_op_is_used_and_within_twins_is_not():
    weights, bias = tensors(sparse(0, 30, 11)), tf.zeros(11)
    spec = tf.TensorSpec([None, 30])

    def product(x):
        return ops.sparse_matmul(x, weights, bias)

    assert "KcSparseMatmul" in ops_in(product, spec)
    with ops.twins():
        assert "KcSparseMatmul" not in ops_in(product, spec)
    assert "KcSparseMatmul" in ops_in(product, spec)


@needs_library
def test_native_conv2d_is_used_and_within_twins_is_not():
    weights, bias = tensors(sparse(0, 9, 4)), tf.zeros(4)
    spec = tf.TensorSpec([None, 8, 8, 1])

    def product(x):
        return ops.sparse_conv2d(x, weights, bias, kernel_size=3)

    assert "KcSparseConv2D" in ops_in(product, spec)
    with ops.twins():
        assert "KcSparseConv2D" not in ops_in(product, spec)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_twins_compile_under_xla(layout):
    matrix, inputs = sparse(0, 30, 11), dense(1, 4, 30)
    weights, bias = tensors(matrix, layout), tf.constant(dense(2, 11))
    images, kernel = dense(3, 2, 8, 8, 3), tensors(sparse(4, 27, 5), layout)

    @tf.function(jit_compile=True)
    def both(x, y):
        with ops.twins():
            return (
                ops.sparse_matmul(x, weights, bias, layout=layout),
                ops.sparse_conv2d(y, kernel, tf.zeros(5), kernel_size=3, layout=layout),
            )

    product, convolution = both(inputs, images)
    np.testing.assert_allclose(product, inputs @ matrix + bias, rtol=0, atol=1e-5)
    assert convolution.shape == (2, 6, 6, 5)


@pytest.mark.parametrize("twins", [False, True])
def test_static_shapes(twins):
    weights, bias = tensors(sparse(0, 30, 11)), tf.zeros(11)
    kernel = tensors(sparse(0, 18, 6))
    shapes = {}

    def trace(name, function, shape):
        @tf.function(input_signature=[tf.TensorSpec(shape)])
        def traced(x):
            if twins:
                with ops.twins():
                    outputs = function(x)
            else:
                outputs = function(x)
            shapes[name] = outputs.shape
            return outputs

        traced.get_concrete_function()

    trace("rows", lambda x: ops.sparse_matmul(x, weights, bias), [None, 30])
    trace("axes", lambda x: ops.sparse_matmul(x, weights, bias), [None, 7, 30])
    trace(
        "images",
        lambda x: ops.sparse_conv2d(
            x, kernel, tf.zeros(6), kernel_size=3, strides=2, padding="same"
        ),
        [None, 9, None, 2],
    )
    assert shapes["rows"].as_list() == [None, 11]
    assert shapes["axes"].as_list() == [None, 7, 11]
    assert shapes["images"].as_list() == [None, 5, None, 6]


@needs_library
@pytest.mark.parametrize("units", [11, None])
def test_shape_function_finds_units_where_it_can(units):
    @tf.function(
        input_signature=[
            tf.TensorSpec([3, 30]),
            tf.TensorSpec([None]),
            tf.TensorSpec([None], tf.uint16),
            tf.TensorSpec([12], tf.int32),
            tf.TensorSpec([units]),
        ]
    )
    def product(inputs, values, indices, starts, bias):
        return ops.sparse_matmul(inputs, (values, indices, starts), bias)

    shape = product.get_concrete_function().output_shapes
    assert shape.as_list() == [3, units]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("twins", [False, True])
def test_gradients_are_those_of_the_dense_product(twins, layout):
    matrix, bias = sparse(0, 30, 11), tf.constant(dense(2, 11))
    inputs, weights = tf.constant(dense(1, 4, 30)), tensors(matrix, layout)
    seed = tf.constant(dense(3, 4, 11))

    def loss():
        outputs = ops.sparse_matmul(inputs, weights, bias, layout=layout)
        return tf.reduce_sum(seed * outputs)

    with tf.GradientTape() as tape:
        tape.watch([inputs, weights[0], bias])
        if twins:
            with ops.twins():
                total = loss()
        else:
            total = loss()
    to_inputs, to_values, to_bias = tape.gradient(total, [inputs, weights[0], bias])
    np.testing.assert_allclose(to_inputs, seed @ matrix.T, rtol=0, atol=1e-5)
    # Where weights are, not the zeros among them.
    gradients = [to_values.numpy() * (weights[0].numpy() != 0.0), *weights[1:]]
    found = decompress(gradients, 30, 11, layout)
    expected = (tf.transpose(inputs) @ seed).numpy() * (matrix != 0.0)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)
    np.testing.assert_allclose(to_bias, tf.reduce_sum(seed, 0), rtol=0, atol=1e-5)


@pytest.mark.parametrize("attributes", CONVOLUTIONS)
def test_conv2d_gradients_are_those_of_its_twin(attributes):
    weights = tensors(sparse(0, 36, 5), "kblock")
    images, bias = tf.constant(dense(1, 2, 9, 11, 4)), tf.constant(dense(2, 5))

    def gradients():
        with tf.GradientTape() as tape:
            tape.watch([images, weights[0], bias])
            outputs = ops.sparse_conv2d(
                images, weights, bias, kernel_size=3, layout="kblock", **attributes
            )
            total = tf.reduce_sum(tf.sin(outputs))
        return tape.gradient(total, [images, weights[0], bias])

    with ops.twins():
        expected = gradients()
    for ours, theirs in zip(gradients(), expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-4)


def test_other_floating_dtypes_come_back():
    weights, bias = tensors(sparse(0, 30, 11)), dense(2, 11)
    inputs = tf.cast(dense(1, 4, 30), tf.bfloat16)
    assert ops.sparse_matmul(inputs, weights, bias).dtype == tf.bfloat16


def bad_weights():
    values, indices, starts = compress(sparse(0, 30, 11))
    outside = indices.copy()
    outside[5] = 30
    fallen = starts.copy()
    fallen[3] = fallen[4] + 1
    good = {"values": values, "indices": indices, "starts": starts}
    return {
        r"`indices` must be in \[0, 30\). Received: indices\[5\]=30": good
        | {"indices": outside},
        "`indices` must be of length .* as long as `values`": good
        | {"indices": indices[1:]},
        r"`starts` must begin with 0.*starts\[3\]=": good | {"starts": fallen},
        r"`starts` must begin with 0.*starts\[0\]=1": good | {"starts": starts + 1},
        "`starts` must be of length 13, one more than `bias`": good
        | {"bias": np.zeros(12, np.float32)},
        "`starts` must be of length 12": good | {"starts": starts[:0]},
        r"`values` must have rank 1. Received: shape \[1,": good
        | {"values": values[None]},
        "`indices` must be of type uint16": good | {"indices": values},
    }


@needs_library
@pytest.mark.parametrize("message", bad_weights())
def test_bad_weights_are_refused(message):
    weights = {"bias": np.zeros(11, np.float32)} | bad_weights()[message]
    bias = weights.pop("bias")
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        ops.sparse_matmul(dense(1, 4, 30), list(weights.values()), bias)
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        ops.sparse_conv2d(
            dense(1, 1, 2, 3, 30), list(weights.values()), bias, kernel_size=1
        )


@needs_library
@pytest.mark.parametrize(
    ("layout", "part", "value", "message"),
    [
        ("panel16", 1, 30, r"`indices` must be in \[0, 30\)"),
        ("lanes", 3, 8, "`windows` must begin before input 30"),
        ("lanes", 4, 1, "`order` must be every number below its length once"),
        ("kblock", 1, 96, r"`indices` must be in \[0, 96\)"),
        ("kblock", 1, 31, "an index behind the last input of the last block"),
        ("kblock", 2, 64, "`segments` must be places in a chunk"),
    ],
)
def test_bad_parts_of_a_layout_are_refused(layout, part, value, message):
    weights = compress(sparse(0, 30, 11), layout)
    weights[part][0] = value
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        ops.sparse_matmul(dense(1, 4, 30), weights, np.zeros(11, "f4"), layout=layout)


def test_a_layout_has_its_number_of_tensors():
    weights = compress(sparse(0, 30, 11))
    with pytest.raises(ValueError, match="`weights` must be 5 tensors for 'lanes'"):
        ops.sparse_matmul(dense(1, 4, 30), weights, np.zeros(11, "f4"), layout="lanes")
    with pytest.raises(ValueError, match="`layout` must be one of"):
        ops.sparse_matmul(dense(1, 4, 30), weights, np.zeros(11, "f4"), layout="coo")


@needs_library
def test_a_negative_index_is_refused():
    values, indices, starts = tensors(sparse(0, 30, 11))
    weights = values, tf.cast(indices, tf.int32) - 40, starts
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"indices\[0\]=-"):
        ops.sparse_matmul(dense(1, 4, 30), weights, tf.zeros(11))


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("kernel_size", {"kernel_size": 0}),
        ("kernel_size", {"kernel_size": (1, 2, 3)}),
        ("strides", {"strides": (1, 0)}),
        ("dilations", {"dilations": 1.5}),
        ("padding", {"padding": "full"}),
        ("inputs", {"inputs": np.ones((8, 8, 1), np.float32)}),
        ("inputs", {"inputs": np.ones((1, 8, 8, 1), int)}),
    ],
)
def test_conv2d_refuses_bad_arguments(name, change):
    good = {
        "inputs": np.ones((1, 8, 8, 1), np.float32),
        "weights": compress(sparse(0, 9, 2)),
        "bias": np.zeros(2, np.float32),
        "kernel_size": 3,
    }
    with pytest.raises(ValueError, match=f"`{name}` must be"):
        ops.sparse_conv2d(**(good | change))


def test_matmul_refuses_a_vector():
    weights = tensors(sparse(0, 9, 2))
    with pytest.raises(ValueError, match="`inputs` must be of two axes or more"):
        ops.sparse_matmul(np.ones(9, np.float32), weights, np.zeros(2, np.float32))


def test_without_a_library_the_twin_is_used_and_says_so_once(monkeypatch, tmp_path):
    monkeypatch.setattr(
        _library, "_library", _library._Library(tmp_path / "_native.so")
    )
    matrix, inputs = sparse(0, 30, 11), dense(1, 4, 30)
    with pytest.warns(RuntimeWarning, match="native ops: not built"):
        outputs = ops.sparse_matmul(inputs, tensors(matrix), np.zeros(11, "f4"))
    np.testing.assert_allclose(outputs, inputs @ matrix, rtol=0, atol=1e-5)
    ops.sparse_matmul(inputs, tensors(matrix), np.zeros(11, "f4"))
    assert ops.native_status().startswith("native ops: not built, ")


def scattered(sparsity, size=1024):
    return dict.fromkeys(("csc", "kblock"), round((1 - sparsity) * size * size))


def test_more_zeros_and_larger_batches_pay():
    for batch, breaks_even in ((1, 0.85), (16, 0.65), (64, 0.45)):
        assert cheapest(scattered(0.1), 1024, 1024, (batch,)) == "dense"
        found = cheapest(scattered(breaks_even), 1024, 1024, (batch,))
        assert found in scattered(0.0)


def test_no_layout_is_chosen_that_is_slower_or_larger_than_dense():
    for sparsity in np.linspace(0.0, 1.0, 21):
        for batches in ((1,), (4,), (20,), (64,), (1000,), (1, 64)):
            stored = scattered(sparsity)
            found = cheapest(stored, 1024, 1024, batches)
            if found == "dense":
                continue
            assert stored_bytes(found, stored[found], 1024, 1024) < 4 * 1024**2
            for batch in batches:
                shape = 1024, 1024
                dense_time = product_time("dense", 1024**2, *shape, batch)
                assert product_time(found, stored[found], *shape, batch) < dense_time


def test_times_rise_with_the_batch():
    for layout in ("dense", *LAYOUTS):
        times = [
            product_time(layout, 960, 99, 99, batch) for batch in (1, 64, 256, 512)
        ]
        assert times == sorted(times)
        assert times[3] == pytest.approx(2 * times[2])
    with pytest.raises(ValueError, match="`layout` must be one of"):
        product_time("coo", 1000, 99, 99, 1)


@pytest.mark.parametrize("twins", [False, True])
def test_images_that_no_window_fits_into_are_refused(twins):
    weights = compress(np.ones((25, 2), np.float32))
    images = tf.zeros([1, 3, 6, 1])

    within = ops.twins() if twins else contextlib.nullcontext()
    with within, pytest.raises(ValueError, match="at least 5 pixels high and wide"):
        ops.sparse_conv2d(images, weights, np.zeros(2, "f"), kernel_size=5)


@needs_library
def test_an_unknown_image_that_no_window_fits_into_is_refused():
    weights = compress(np.ones((25, 2), np.float32))

    @tf.function(input_signature=[tf.TensorSpec([None, None, None, 1])])
    def convolve(images):
        return ops.sparse_conv2d(images, weights, np.zeros(2, "f"), kernel_size=5)

    with pytest.raises(tf.errors.InvalidArgumentError, match="at least 5 pixels high"):
        convolve(tf.zeros([1, 3, 6, 1]))


@needs_library
@pytest.mark.parametrize("side", [2**16, 2**30, 2**31 - 1])
def test_a_window_beyond_counting_is_refused(side):
    weights = compress(np.zeros((0, 1), np.float32))
    with pytest.raises(
        (tf.errors.InvalidArgumentError, ValueError), match=r"window|2\^31"
    ):
        ops.sparse_conv2d(
            np.ones((1, 1, 1, 1), "f"),
            weights,
            np.zeros(1, "f"),
            kernel_size=side,
            padding="same",
        )


@needs_library
def test_two_segments_of_one_output_are_refused():
    weights = compress(np.float32([[2.0, 3.0]]), "kblock")
    names = PARTS["kblock"]
    parts = dict(zip(names, weights, strict=True))
    parts["segments"] = np.uint8([0, 1, 0, 1])
    with pytest.raises(tf.errors.InvalidArgumentError):
        ops.sparse_matmul(
            [[1.0]], [parts[name] for name in names], [0.0, 0.0], layout="kblock"
        )


@pytest.mark.parametrize("layout", ["csc", "panel16"])
def test_the_twin_drops_no_weight_that_has_no_place(layout):
    weights = list(compress(np.ones((2, 16), np.float32), layout))
    at = PARTS[layout].index("indices")
    weights[at] = weights[at] + np.uint16(2)
    with ops.twins(), pytest.raises(tf.errors.InvalidArgumentError):
        ops.sparse_matmul([[1.0, 1.0]], weights, np.zeros(16, "f"), layout=layout)
