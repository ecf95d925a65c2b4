"""`ops.low_rank_matmul`: the op, its twin, and the definition in NumPy."""

import contextlib

import numpy as np
import pytest
import tensorflow as tf

from keras_compress import ops
from keras_compress.functional.low_rank_cost import cheapest, fused_pays
from keras_compress.functional.panels import from_panels, to_panels
from keras_compress.ops import _library

needs_library = pytest.mark.skipif(
    _library._library.ops is None, reason=_library.native_status()
)
both = pytest.mark.parametrize("forms", [contextlib.nullcontext, ops.twins])
SIZES = [(30, 3, 11), (5, 64, 128), (70, 65, 190), (1, 1, 1)]


def dense(seed, *shape):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def product(inputs, left, right, bias, activation="linear"):
    factors = tf.constant(to_panels(left)), tf.constant(to_panels(right))
    rank = left.shape[1]
    return ops.low_rank_matmul(inputs, *factors, bias, rank=rank, activation=activation)


def given(inputs, rank, units):
    return dense(1, inputs, rank), dense(2, rank, units), dense(3, units)


@pytest.mark.parametrize("shape", [(0, 5), (5, 0), (3, 64), (2, 65), (7, 130)])
def test_panels_and_back(shape):
    matrix = dense(0, *shape)
    vector = to_panels(matrix)
    assert vector.shape == (matrix.size,)
    np.testing.assert_array_equal(from_panels(vector, *shape), matrix)


def test_what_is_no_matrix_has_no_panels():
    with pytest.raises(ValueError, match="`matrix` must be a float array"):
        to_panels(np.zeros((2, 2), int))
    with pytest.raises(ValueError, match=r"`vector` must be of shape \(6,\)"):
        from_panels(np.zeros(5), 2, 3)


@both
@pytest.mark.parametrize("activation", ["linear", "relu"])
@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("shape", [(4,), (2, 3), (2, 0), (0,)])
def test_the_op_and_its_twin_are_the_definition(shape, sizes, activation, forms):
    inputs = dense(0, *shape, sizes[0])
    left, right, bias = given(*sizes)
    with forms():
        outputs = product(inputs, left, right, bias, activation)
    expected = inputs.astype(float) @ left @ right + bias
    if activation == "relu":
        expected = np.maximum(expected, 0.0)
    assert outputs.shape == (*shape, sizes[2])
    np.testing.assert_allclose(outputs, expected, rtol=0, atol=3e-4)


@both
@pytest.mark.parametrize("activation", ["linear", "relu"])
@pytest.mark.parametrize("sizes", SIZES)
def test_gradients_are_those_of_two_products(sizes, activation, forms):
    inputs = dense(0, 4, sizes[0])
    left, right, bias = given(*sizes)
    weights = dense(4, 4, sizes[2])
    flat = [tf.Variable(x) for x in (inputs, to_panels(left), to_panels(right), bias)]
    with forms(), tf.GradientTape() as tape:
        outputs = ops.low_rank_matmul(*flat, rank=sizes[1], activation=activation)
        loss = tf.reduce_sum(outputs * weights)
    found = [tf.convert_to_tensor(x).numpy() for x in tape.gradient(loss, flat)]
    plain = inputs @ left @ right + bias
    back = weights * (plain > 0.0) if activation == "relu" else weights
    hidden = back @ right.T
    expected = hidden @ left.T, inputs.T @ hidden, (inputs @ left).T @ back, back.sum(0)
    found[1] = from_panels(found[1], *left.shape)
    found[2] = from_panels(found[2], *right.shape)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=2e-3)


@both
def test_nan_stays_nan(forms):
    left, right, bias = given(4, 2, 3)
    inputs = np.array([[np.nan, 0.0, 0.0, 0.0], [1.0, 1.0, 1.0, 1.0]], "f")
    with forms():
        outputs = product(inputs, left, right, bias, "relu").numpy()
    assert np.isnan(outputs[0]).all()
    assert np.isfinite(outputs[1]).all()


@both
@pytest.mark.parametrize("dtype", ["float16", "float64"])
def test_other_floats_are_cast_and_cast_back(dtype, forms):
    left, right, bias = given(6, 2, 3)
    inputs = dense(0, 2, 6).astype(dtype)
    with forms():
        outputs = product(inputs, left, right, bias)
    assert outputs.dtype == dtype
    np.testing.assert_allclose(outputs, inputs @ left @ right + bias, rtol=0, atol=2e-2)


@both
def test_the_batch_may_be_free_and_shapes_are_known(forms):
    left, right, bias = given(6, 2, 70)
    with forms():
        function = tf.function(lambda x: product(x, left, right, bias))
        for axes in ([None, 6], [None, None, 6]):
            graph = function.get_concrete_function(tf.TensorSpec(axes))
            assert graph.output_shapes.as_list() == [*axes[:-1], 70]
            inputs = dense(0, *[3 if axis is None else axis for axis in axes])
            np.testing.assert_allclose(
                graph(tf.constant(inputs)), inputs @ left @ right + bias, atol=1e-4
            )


@needs_library
def test_the_native_op_is_used_and_within_twins_is_not():
    left, right, bias = given(6, 2, 3)

    def kinds():
        function = tf.function(lambda x: product(x, left, right, bias))
        graph = function.get_concrete_function(tf.TensorSpec([None, 6])).graph
        return {op.type for op in graph.get_operations()}

    assert "KcLowRankMatmul" in kinds()
    with ops.twins():
        assert "KcLowRankMatmul" not in kinds()


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("inputs", {"inputs": np.zeros(4, "f")}),
        ("inputs", {"inputs": np.zeros((1, 4), int)}),
        ("left", {"left": np.zeros(9, "f")}),
        ("right", {"right": np.zeros((2, 3), "f")}),
        ("bias", {"bias": np.zeros((3, 1), "f")}),
        ("rank", {"rank": 0}),
        ("activation", {"activation": "tanh"}),
    ],
)
def test_bad_arguments(name, change):
    good = {"inputs": np.zeros((1, 4), "f"), "left": np.zeros(8, "f")}
    good |= {"right": np.zeros(6, "f"), "bias": np.zeros(3, "f"), "rank": 2}
    good["activation"] = "linear"
    ops.low_rank_matmul(**good)
    with pytest.raises(ValueError, match=f"`{name}` must be"):
        ops.low_rank_matmul(**good | change)


@needs_library
def test_the_op_itself_refuses_what_would_lead_out_of_bounds():
    op = _library.native_op("kc_low_rank_matmul")
    good = {"inputs": np.zeros((2, 4), "f"), "left": np.zeros(8, "f"), "rank": 2}
    good |= {"right": np.zeros(6, "f"), "bias": np.zeros(3, "f")}
    op(**good)
    for change in ({"left": np.zeros(7, "f")}, {"right": np.zeros(4, "f")}):
        (name,) = change
        message = f"`{name}` must be of length"
        with pytest.raises(tf.errors.InvalidArgumentError, match=message):
            op(**good | change)


def test_the_form_that_pays():
    assert fused_pays(1024, 1024, 64)
    assert not fused_pays(1024, 1024, 500)
    assert not fused_pays(100, 10, 3), "lanes that are filled up cost as much"
    assert cheapest(1024, 1024, 64, (1, 64)) == "fused"
    assert cheapest(1024, 1024, 64, (1, 64), native=False) == "factors"
    assert cheapest(1024, 1024, 300, (1,), native=False) == "dense"
    assert cheapest(1024, 1024, 511, (64,)) == "dense"
