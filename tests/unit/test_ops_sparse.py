"""Do the sparse ops equal their twins, refuse what is wrong, and know their shapes?"""

import numpy as np
import pytest
import tensorflow as tf

from keras_compress import ops
from keras_compress.functional.sparse import compress, decompress, sparse_pays
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


def tensors(matrix):
    return [tf.constant(array) for array in compress(matrix)]


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
    np.testing.assert_array_equal(decompress(values, indices, starts, 20), matrix)


def test_compress_by_hand():
    values, indices, starts = compress(np.array([[0.0, 2.0], [3.0, 4.0]]))
    assert values.tolist() == [3.0, 2.0, 4.0]
    assert indices.tolist() == [1, 0, 1]
    assert starts.tolist() == [0, 1, 3]


def test_compress_takes_four_bytes_where_two_do_not_reach():
    assert compress(np.zeros((65536, 1)))[1].dtype == np.uint16
    assert compress(np.zeros((65537, 1)))[1].dtype == np.int32


@pytest.mark.parametrize("matrix", [np.zeros(3), np.zeros((2, 2), int), 1.0])
def test_compress_refuses(matrix):
    with pytest.raises(ValueError, match="`matrix` must be a float array"):
        compress(matrix)


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
    ],
)
def test_decompress_refuses(name, change):
    good = {"values": [1.0, 2.0], "indices": [0, 1], "starts": [0, 2], "inputs": 2}
    with pytest.raises(ValueError, match=f"`{name}` must be"):
        decompress(**(good | change))


@pytest.mark.parametrize("shape", [(4, 30), (2, 3, 30), (2, 0, 30), (0, 30)])
def test_matmul_equals_its_twin(shape):
    matrix, inputs, bias = sparse(0, 30, 11), dense(1, *shape), dense(2, 11)
    outputs = ops.sparse_matmul(inputs, *tensors(matrix), bias)
    with ops.twins():
        twin = ops.sparse_matmul(inputs, *tensors(matrix), bias)
    assert outputs.shape == (*shape[:-1], 11)
    np.testing.assert_allclose(outputs, twin, rtol=0, atol=1e-5)
    np.testing.assert_allclose(outputs, inputs @ matrix + bias, rtol=0, atol=1e-5)


@pytest.mark.parametrize("attributes", CONVOLUTIONS)
def test_conv2d_equals_its_twin_and_tensorflow(attributes):
    kernel, images, bias = sparse(0, 3, 2, 4, 5), dense(1, 2, 9, 11, 4), dense(2, 5)
    weights = tensors(kernel.reshape(-1, 5))
    outputs = ops.sparse_conv2d(
        images, *weights, bias, kernel_size=(3, 2), **attributes
    )
    with ops.twins():
        twin = ops.sparse_conv2d(
            images, *weights, bias, kernel_size=(3, 2), **attributes
        )
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
        return ops.sparse_matmul(x, *weights, bias)

    assert "KcSparseMatmul" in ops_in(product, spec)
    with ops.twins():
        assert "KcSparseMatmul" not in ops_in(product, spec)
    assert "KcSparseMatmul" in ops_in(product, spec)


@needs_library
def test_native_conv2d_is_used_and_within_twins_is_not():
    weights, bias = tensors(sparse(0, 9, 4)), tf.zeros(4)
    spec = tf.TensorSpec([None, 8, 8, 1])

    def product(x):
        return ops.sparse_conv2d(x, *weights, bias, kernel_size=3)

    assert "KcSparseConv2D" in ops_in(product, spec)
    with ops.twins():
        assert "KcSparseConv2D" not in ops_in(product, spec)


def test_twins_compile_under_xla():
    matrix, inputs = sparse(0, 30, 11), dense(1, 4, 30)
    weights, bias = tensors(matrix), tf.constant(dense(2, 11))
    images, kernel = dense(3, 2, 8, 8, 3), tensors(sparse(4, 27, 5))

    @tf.function(jit_compile=True)
    def both(x, y):
        with ops.twins():
            return (
                ops.sparse_matmul(x, *weights, bias),
                ops.sparse_conv2d(y, *kernel, tf.zeros(5), kernel_size=3),
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

    trace("rows", lambda x: ops.sparse_matmul(x, *weights, bias), [None, 30])
    trace("axes", lambda x: ops.sparse_matmul(x, *weights, bias), [None, 7, 30])
    trace(
        "images",
        lambda x: ops.sparse_conv2d(
            x, *kernel, tf.zeros(6), kernel_size=3, strides=2, padding="same"
        ),
        [None, 9, None, 2],
    )
    assert shapes["rows"].as_list() == [None, 11]
    assert shapes["axes"].as_list() == [None, 7, 11]
    assert shapes["images"].as_list() == [None, 5, None, 6]


@needs_library
@pytest.mark.parametrize(("starts", "bias"), [(12, None), (None, 11), (None, None)])
def test_shape_function_finds_units_where_it_can(starts, bias):
    @tf.function(
        input_signature=[
            tf.TensorSpec([3, 30]),
            tf.TensorSpec([None]),
            tf.TensorSpec([None], tf.uint16),
            tf.TensorSpec([starts], tf.int32),
            tf.TensorSpec([bias]),
        ]
    )
    def product(*args):
        return ops.sparse_matmul(*args)

    shape = product.get_concrete_function().output_shapes
    assert shape.as_list() == [3, 11 if starts or bias else None]


@pytest.mark.parametrize("twins", [False, True])
def test_gradients_are_those_of_the_dense_product(twins):
    matrix, bias = sparse(0, 30, 11), tf.constant(dense(2, 11))
    inputs, weights = tf.constant(dense(1, 4, 30)), tensors(matrix)
    seed = tf.constant(dense(3, 4, 11))

    def loss(function):
        return tf.reduce_sum(seed * function())

    with tf.GradientTape() as tape:
        tape.watch([inputs, weights[0], bias])
        if twins:
            with ops.twins():
                total = loss(lambda: ops.sparse_matmul(inputs, *weights, bias))
        else:
            total = loss(lambda: ops.sparse_matmul(inputs, *weights, bias))
    to_inputs, to_values, to_bias = tape.gradient(total, [inputs, weights[0], bias])
    np.testing.assert_allclose(to_inputs, seed @ matrix.T, rtol=0, atol=1e-5)
    to_matrix = tf.transpose(inputs) @ seed
    kept = matrix.T != 0
    np.testing.assert_allclose(
        to_values, tf.transpose(to_matrix).numpy()[kept], rtol=0, atol=1e-5
    )
    np.testing.assert_allclose(to_bias, tf.reduce_sum(seed, 0), rtol=0, atol=1e-5)


@pytest.mark.parametrize("attributes", CONVOLUTIONS)
def test_conv2d_gradients_are_those_of_its_twin(attributes):
    weights = tensors(sparse(0, 36, 5))
    images, bias = tf.constant(dense(1, 2, 9, 11, 4)), tf.constant(dense(2, 5))

    def gradients():
        with tf.GradientTape() as tape:
            tape.watch([images, weights[0], bias])
            outputs = ops.sparse_conv2d(
                images, *weights, bias, kernel_size=3, **attributes
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
    assert ops.sparse_matmul(inputs, *weights, bias).dtype == tf.bfloat16


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
        "`indices` must be as long as `values`": good | {"indices": indices[1:]},
        r"`starts` must begin with 0.*starts\[3\]=": good | {"starts": fallen},
        r"`starts` must begin with 0.*starts\[0\]=1": good | {"starts": starts + 1},
        "`bias` must have one entry less than `starts`": good
        | {"bias": np.zeros(12, np.float32)},
        "`starts` must have units": good | {"starts": starts[:0]},
        r"`values` must have rank 1. Received: shape \[1,": good
        | {"values": values[None]},
    }


@needs_library
@pytest.mark.parametrize("message", bad_weights())
def test_bad_weights_are_refused(message):
    weights = {"bias": np.zeros(11, np.float32)} | bad_weights()[message]
    weights = {name: tf.constant(array) for name, array in weights.items()}
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        ops.sparse_matmul(dense(1, 4, 30), **weights)
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        ops.sparse_conv2d(dense(1, 1, 2, 3, 30), **weights, kernel_size=1)


@needs_library
def test_a_negative_index_is_refused():
    values, indices, starts = tensors(sparse(0, 30, 11))
    indices = tf.cast(indices, tf.int32) - 40
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"indices\[0\]=-"):
        ops.sparse_matmul(dense(1, 4, 30), values, indices, starts, tf.zeros(11))


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
    values, indices, starts = compress(sparse(0, 9, 2))
    good = {
        "inputs": np.ones((1, 8, 8, 1), np.float32),
        "values": values,
        "indices": indices,
        "starts": starts,
        "bias": np.zeros(2, np.float32),
        "kernel_size": 3,
    }
    with pytest.raises(ValueError, match=f"`{name}` must be"):
        ops.sparse_conv2d(**(good | change))


def test_matmul_refuses_a_vector():
    weights = tensors(sparse(0, 9, 2))
    with pytest.raises(ValueError, match="`inputs` must be of two axes or more"):
        ops.sparse_matmul(np.ones(9, np.float32), *weights, np.zeros(2, np.float32))


def test_without_a_library_the_twin_is_used_and_says_so_once(monkeypatch, tmp_path):
    monkeypatch.setattr(
        _library, "_library", _library._Library(tmp_path / "_native.so")
    )
    matrix, inputs = sparse(0, 30, 11), dense(1, 4, 30)
    with pytest.warns(RuntimeWarning, match="native ops: not built"):
        outputs = ops.sparse_matmul(inputs, *tensors(matrix), np.zeros(11, "f4"))
    np.testing.assert_allclose(outputs, inputs @ matrix, rtol=0, atol=1e-5)
    ops.sparse_matmul(inputs, *tensors(matrix), np.zeros(11, "f4"))
    assert ops.native_status().startswith("native ops: not built, ")


def test_more_zeros_and_larger_batches_pay():
    assert sparse_pays(784, 300, 0.98, batch=1)
    assert sparse_pays(784, 300, 0.9, batch=64)
    assert not sparse_pays(784, 300, 0.1, batch=64)
    assert not sparse_pays(784, 300, 0.3, batch=1)
