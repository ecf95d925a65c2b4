"""`PackedLowRankDense` by itself and out of `pack`: files, servers, precision."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_compress as kc
from keras_compress.layers.packed import PackedLowRankDense
from keras_compress.ops._library import has_vectors

needs_native = pytest.mark.skipif(
    not has_vectors(), reason="without native ops `pack` makes plain layers"
)


def packed_model(activation="relu", **arguments):
    model = keras.Sequential(
        [
            keras.Input((70,)),
            kc.layers.LowRankDense(
                90,
                rank=7,
                activation=activation,
                bias_initializer="normal",
                **arguments,
            ),
            keras.layers.Dense(3),
        ]
    )
    return model, kc.pack(model)


def inputs(count=5):
    return np.random.default_rng(0).standard_normal((count, 70)).astype("float32")


def filled(activation=None, use_bias=True):
    layer = PackedLowRankDense(90, rank=7, activation=activation, use_bias=use_bias)
    layer.build((None, 70))
    random = np.random.default_rng(1)
    factors = random.standard_normal((70, 7)), random.standard_normal((7, 90))
    layer.fill(*factors, random.standard_normal(90) if use_bias else None)
    return layer, factors


@pytest.mark.parametrize("activation", [None, "relu", "tanh", "softmax"])
@pytest.mark.parametrize("use_bias", [True, False])
def test_it_computes_what_two_dense_layers_do(activation, use_bias):
    layer, (left, right) = filled(activation, use_bias)
    bias = np.asarray(layer.bias) if use_bias else 0.0
    sums = tf.constant(inputs().astype("float64") @ left @ right + bias)
    expected = keras.activations.get(activation)(sums)
    np.testing.assert_allclose(layer(inputs()), expected, rtol=0, atol=1e-4)
    np.testing.assert_allclose(layer.effective_kernel(), left @ right, atol=1e-4)
    assert layer.compute_output_shape((None, 4, 70)) == (None, 4, 90)
    assert layer(inputs(0)).shape == (0, 90)


@needs_native
@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_pack_save_load_and_serve(activation, tmp_path):
    model, packed = packed_model(activation)
    layer = packed.layers[0]
    assert type(layer) is PackedLowRankDense
    assert not packed.trainable_variables
    outputs = packed(inputs())
    np.testing.assert_allclose(outputs, model(inputs()), rtol=0, atol=1e-5)
    packed.save(tmp_path / "packed.keras")
    loaded = keras.models.load_model(tmp_path / "packed.keras")
    np.testing.assert_array_equal(loaded(inputs()), outputs)
    for portable in (False, True):
        path = kc.export(packed, tmp_path / f"{portable}", portable=portable)
        server = tf.saved_model.load(path)
        np.testing.assert_allclose(server.serve(inputs()), outputs, rtol=0, atol=1e-5)
        text = (path / "saved_model.pb").read_bytes()
        assert (b"KcLowRankMatmul" in text) is not portable
    costs = kc.report(packed).models[0].layers[0]
    assert costs.weights == 7 * (70 + 90)


def test_files_hold_matrices(tmp_path):
    layer, (left, right) = filled()
    store = {}
    layer.save_own_variables(store)
    np.testing.assert_array_equal(store["left"], left.astype("float32"))
    np.testing.assert_array_equal(store["right"], right.astype("float32"))
    other = PackedLowRankDense.from_config(layer.get_config())
    other.build((None, 70))
    other.load_own_variables(store)
    np.testing.assert_array_equal(other(inputs()), layer(inputs()))
    del store["right"]
    with pytest.raises(ValueError, match="there is no right"):
        other.load_own_variables(store)


@needs_native
def test_half_precision_and_double():
    for policy, kind in (("mixed_bfloat16", PackedLowRankDense), ("float64", None)):
        model, packed = packed_model(dtype=policy)
        assert (type(packed.layers[0]) is PackedLowRankDense) is (kind is not None)
        assert packed.layers[0].compute_dtype == model.layers[0].compute_dtype
        np.testing.assert_allclose(packed(inputs()), model(inputs()), atol=0.1)


@needs_native
def test_it_stays_out_of_xla_and_its_twin_does_not():
    _, packed = packed_model()
    packed.compile("sgd", "mse")
    assert packed.jit_compile is False
    with kc.ops.twins():
        compiled = tf.function(packed, jit_compile=True)
        np.testing.assert_allclose(compiled(inputs()), packed(inputs()), atol=1e-5)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("left", (np.zeros((70, 6)), np.zeros((7, 90)), np.zeros(90))),
        ("right", (np.zeros((70, 7)), np.zeros((7, 91)), np.zeros(90))),
        ("bias", (np.zeros((70, 7)), np.zeros((7, 90)), None)),
    ],
)
def test_what_does_not_fit_is_refused(name, arguments):
    layer = filled()[0]
    before = layer(inputs())
    with pytest.raises(ValueError, match=f"`{name}` must be of shape"):
        layer.fill(*arguments)
    np.testing.assert_array_equal(layer(inputs()), before)


def test_bad_layers():
    with pytest.raises(ValueError, match="`rank` must be"):
        PackedLowRankDense(3, rank=0)
    with pytest.raises(ValueError, match="`units` must be"):
        PackedLowRankDense(0, rank=1)
    with pytest.raises(ValueError, match="must be built before it has factors"):
        PackedLowRankDense(3, rank=1).effective_kernel()
