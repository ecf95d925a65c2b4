"""`pack`, on models of every shape and at every density."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from model_cases import (
    MODELS,
    assert_close,
    convolutional,
    pruned,
    samples,
    sequential,
)

import keras_compress as kc
from keras_compress._copies import all_layers
from keras_compress.layers.packed import SparseConv2D, SparseDense
from keras_compress.layers.pruned import is_pruned
from keras_compress.pack import TRAINING_ONLY


def kinds(model):
    return {layer.name: type(layer).__name__ for layer in model.layers}


@pytest.mark.parametrize("sparsity", [0.0, 0.5, 0.95, 1.0])
@pytest.mark.parametrize("make", MODELS)
def test_the_outputs_are_those_of_the_trained_model(make, sparsity):
    model = pruned(make, sparsity)
    inputs = samples(model)
    before = [variable.numpy() for variable in model.variables]
    packed = kc.pack(model)
    assert_close(packed(inputs), model.predict(inputs, verbose=0))
    assert_close(packed.predict(inputs, verbose=0), model.predict(inputs, verbose=0))
    for old, variable in zip(before, model.variables, strict=True):
        np.testing.assert_array_equal(old, variable.numpy())


@pytest.mark.parametrize("make", MODELS)
def test_nothing_of_training_is_left(make):
    packed = kc.pack(pruned(make, 0.95))
    for layer in all_layers(packed):
        assert not isinstance(layer, TRAINING_ONLY)
        assert not is_pruned(layer)
        assert not getattr(layer, "kernel_regularizer", None)
    assert not packed.trainable_variables


@pytest.mark.parametrize("make", MODELS)
def test_a_packed_model_saves_and_loads_bit_for_bit(make, tmp_path):
    packed = kc.pack(pruned(make, 0.9))
    inputs = samples(packed)
    packed.save(tmp_path / "packed.keras")
    loaded = keras.models.load_model(tmp_path / "packed.keras", safe_mode=False)
    for old, new in zip(packed.weights, loaded.weights, strict=True):
        assert old.dtype == new.dtype
        np.testing.assert_array_equal(old.numpy(), new.numpy())
    for old, new in zip(
        keras.tree.flatten(packed(inputs)),
        keras.tree.flatten(loaded(inputs)),
        strict=True,
    ):
        np.testing.assert_array_equal(old, new)


def test_sparse_where_it_pays_and_plain_where_it_does_not():
    wide = keras.Sequential([keras.Input((64,)), keras.layers.Dense(64, name="fc")])
    wide = kc.swap(wide, kc.Prune())
    assert kinds(kc.pack(wide)) == {"fc": "Dense"}
    wide.layers[0].prune(sparsity=0.95)
    assert kinds(kc.pack(wide)) == {"fc": "SparseDense"}
    model = pruned(convolutional, 0.95)
    # Without any weight a group goes, and one that is left alone is no group.
    grouped = model.get_layer("conv3")
    grouped.mask.assign(grouped.mask.numpy() | np.eye(4, 1, dtype=bool))
    assert kinds(kc.pack(model)) == {
        "conv1": "SparseConv2D",
        "norm": "BatchNormalization",
        "relu": "ReLU",
        "conv2": "SparseConv2D",
        "conv3": "Conv2D",
        "flat": "Flatten",
        "fc1": "SparseDense",
    }


def test_the_batch_hint_chooses():
    model = keras.Sequential([keras.Input((784,)), keras.layers.Dense(300)])
    model = kc.swap(model, kc.Prune())
    forms = set()
    for sparsity in np.linspace(0.3, 0.95, 14):
        model.layers[0].prune(sparsity=sparsity)
        both = type(kc.pack(model).layers[0])
        one = type(kc.pack(model, batch=1).layers[0])
        many = type(kc.pack(model, batch=64).layers[0])
        # One layout must do for both, where each alone has its own.
        assert both is not SparseDense or one is many is SparseDense
        forms.add((one, many))
    assert len(forms) >= 2
    assert both is SparseDense


@pytest.mark.parametrize(
    ("pattern", "batch", "layout"),
    [
        (None, 1, "lanes"),
        (None, 16, "csc"),
        (None, 64, "kblock"),
        (None, None, "csc"),
        ((1, 16), 1, "panel16"),
        ((1, 16), 16, "panel16"),
        ((1, 16), 64, "panel16"),
        ((1, 16), None, "panel16"),
    ],
)
def test_pattern_and_batch_choose_the_layout(pattern, batch, layout, tmp_path):
    model = keras.Sequential([keras.Input((200,)), keras.layers.Dense(72, "relu")])
    model = kc.swap(model, kc.Prune(pattern=pattern))
    model.layers[0].prune(sparsity=0.9)
    packed = kc.pack(model, batch=batch)
    assert packed.layers[0].layout == layout
    inputs = samples(model)
    assert_close(packed(inputs), model(inputs).numpy())
    packed.save(tmp_path / "packed.keras")
    loaded = keras.models.load_model(tmp_path / "packed.keras")
    np.testing.assert_array_equal(loaded(inputs), packed(inputs))
    np.testing.assert_array_equal(
        packed.layers[0].effective_kernel(), model.layers[0].effective_kernel()
    )
    portable = tf.saved_model.load(
        kc.export(packed, tmp_path / "portable", portable=True)
    )
    assert_close(portable.serve(inputs), model(inputs).numpy())


@pytest.mark.parametrize("pattern", [None, (1, 16)])
@pytest.mark.parametrize("kernel_size", [1, 3])
def test_convolutions_have_layouts_too(pattern, kernel_size):
    conv = keras.layers.Conv2D(
        40, kernel_size, strides=2 if kernel_size == 1 else 1, padding="same"
    )
    model = keras.Sequential([keras.Input((9, 10, 24)), conv])
    model = kc.swap(model, kc.Prune(pattern=pattern))
    model.layers[0].prune(sparsity=0.9)
    packed = kc.pack(model)
    assert packed.layers[0].layout == ("panel16" if pattern else "kblock")
    inputs = samples(model)
    assert_close(packed(inputs), model(inputs).numpy())


def test_packed_is_smaller_by_what_was_pruned():
    model = keras.Sequential([keras.Input((784,)), keras.layers.Dense(300)])
    model = kc.swap(model, kc.Prune())
    model.layers[0].prune(sparsity=0.92)
    weights = kc.pack(model).layers[0].weights
    resident = sum(np.asarray(weight).nbytes for weight in weights)
    kept = 784 * 300 - round(0.92 * 784 * 300)
    assert resident == kept * (4 + 2) + 301 * 4 + 300 * 4
    assert resident <= 0.13 * 4 * 784 * 300


def test_wide_inputs_have_wider_indices():
    layer = SparseDense(1, nonzeros=1, use_bias=False)
    layer.build((None, 70_000))
    kernel = np.zeros((70_000, 1), "float32")
    kernel[69_999] = 2.0
    layer.fill(kernel)
    assert layer.indices.dtype == "int32"
    inputs = np.zeros((3, 70_000), "float32")
    inputs[:, -1] = [1.0, 2.0, 3.0]
    np.testing.assert_array_equal(layer(inputs)[:, 0], [2.0, 4.0, 6.0])
    layer = SparseDense(1, nonzeros=1)
    layer.build((None, 65_536))
    assert layer.indices.dtype == "uint16"


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision_packs(policy):
    dense = keras.layers.Dense(32, activation="relu", dtype=policy)
    model = keras.Sequential([keras.Input((64,)), dense])
    model = kc.swap(model, kc.Prune())
    model.layers[0].prune(sparsity=0.95)
    packed = kc.pack(model)
    assert type(packed.layers[0]) is SparseDense
    assert packed.layers[0].values.dtype == "float32"
    inputs = samples(model)
    outputs = packed(inputs)
    assert outputs.dtype == model(inputs).dtype
    np.testing.assert_allclose(
        keras.ops.cast(outputs, "float32"),
        keras.ops.cast(model(inputs), "float32"),
        atol=0.02,
    )


def test_channels_first_packs_the_same():
    shape = (2, 9, 8)
    model = keras.Sequential(
        [
            keras.Input(shape),
            keras.layers.Conv2D(
                8, 3, strides=(2, 1), padding="same", data_format="channels_first"
            ),
        ]
    )
    model = kc.swap(model, kc.Prune())
    model.layers[0].prune(sparsity=0.9)
    layer = model.layers[0]
    inputs = np.random.default_rng(0).random((3, *shape)).astype("float32")
    packed = kc.pack(model)
    assert type(packed.layers[0]) is SparseConv2D
    assert packed.output_shape == model.output_shape
    images = np.transpose(inputs, (0, 2, 3, 1))
    kernel = layer.effective_kernel()
    expected = tf.nn.conv2d(images, kernel, strides=(2, 1), padding="SAME")
    np.testing.assert_allclose(
        packed(inputs), np.transpose(expected, (0, 3, 1, 2)), rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize("strides", [1, 2, 3])
@pytest.mark.parametrize("dilation_rate", [1, 2])
def test_the_shape_of_a_sparse_convolution_is_keras_shape(
    padding, strides, dilation_rate
):
    if strides > 1 and dilation_rate > 1:
        pytest.skip("Keras has no strided dilated convolution")
    geometry = {
        "kernel_size": (3, 2),
        "padding": padding,
        "strides": strides,
        "dilation_rate": dilation_rate,
    }
    parent = keras.layers.Conv2D(5, **geometry)
    layer = SparseConv2D(5, nonzeros=0, **geometry)
    for shape in [(None, 11, 10, 3), (2, None, 7, 3), (1, 5, 4, 3)]:
        expected = parent.compute_output_shape(shape)
        assert layer.compute_output_shape(shape) == expected


class Doubling(keras.layers.Dropout):
    """Not what its parent is."""

    def call(self, inputs, training=False):
        return 2 * super().call(inputs, training=training)


def test_only_what_does_nothing_in_inference_vanishes():
    inputs = keras.Input((6,))
    hidden = keras.layers.Dense(6, name="fc1")(inputs)
    hidden = Doubling(0.5, name="double")(hidden)
    hidden = keras.layers.Dropout(0.5, name="always")(hidden, training=True)
    outputs = keras.layers.Dropout(0.5, name="never")(hidden)
    model = kc.swap(keras.Model(inputs, keras.layers.ReLU()(outputs)), kc.Prune())
    packed = kc.pack(model)
    names = [layer.name for layer in packed.layers]
    assert "double" in names
    assert "always" in names
    assert "never" not in names
    assert packed.get_layer("always").rate == 0.5


def test_an_output_keeps_its_name():
    inputs = keras.Input((6,))
    first = keras.layers.Dropout(0.5, name="o1")(keras.layers.Dense(2)(inputs))
    second = keras.layers.Dense(2, name="o2")(inputs)
    model = keras.Model(inputs, {"o1": first, "o2": second})
    model.compile("adam", {"o1": "mse", "o2": "mse"})
    packed = kc.pack(kc.swap(model, kc.Prune()))
    assert packed.output_names == model.output_names
    inputs = samples(model)
    targets = model.predict(inputs, verbose=0)
    assert packed.evaluate(inputs, targets, verbose=0)[0] < 1e-10


def test_a_layer_as_activation_is_packed_but_not_shared():
    activation = keras.layers.PReLU(alpha_initializer="ones")
    model = keras.Sequential([keras.Input((64,)), keras.layers.Dense(32, activation)])
    model = kc.swap(model, kc.Prune())
    model.layers[0].prune(sparsity=0.95)
    inputs = samples(model)
    model(inputs)
    own = model.layers[0].activation
    own.alpha.assign(np.full(32, 0.25))
    packed = kc.pack(model)
    assert type(packed.layers[0]) is SparseDense
    assert_close(packed(inputs), model(inputs).numpy())
    assert packed.layers[0].activation is not own
    assert own.trainable


def test_inside_a_wrapper_that_wants_a_kernel():
    layer = keras.layers.SpectralNormalization(keras.layers.Dense(32, name="fc1"))
    model = kc.swap(keras.Sequential([keras.Input((64,)), layer]), kc.Prune())
    model.layers[0].layer.prune(sparsity=0.95)
    packed = kc.pack(model)
    inputs = samples(model)
    assert_close(packed(inputs), model(inputs).numpy())


def test_a_plain_layer_is_packed_exactly():
    dense = keras.layers.Dense(3, dtype="float64")
    model = keras.Sequential([keras.Input((6,), dtype="float64"), dense])
    model = kc.swap(model, kc.Prune())
    inputs = np.random.default_rng(0).random((4, 6))
    np.testing.assert_array_equal(kc.pack(model)(inputs), model(inputs))


def test_evaluate_works_at_once():
    model = pruned(sequential, 0.9)
    model.compile("adam", "mse", metrics=["mae"], jit_compile=True)
    inputs = samples(model)
    targets = np.zeros((len(inputs), 3))
    expected = model.evaluate(inputs, targets, verbose=0)
    packed = kc.pack(model)
    np.testing.assert_allclose(
        packed.evaluate(inputs, targets, verbose=0), expected, rtol=1e-5
    )
    assert not kc.pack(pruned(sequential, 0.9)).compiled


def test_a_packed_layer_stays_out_of_xla():
    model = pruned(sequential, 0.99)
    packed = kc.pack(model)
    assert isinstance(packed.layers[0], SparseDense)
    packed.compile(jit_compile=True)
    inputs = samples(model)
    assert_close(packed.predict(inputs, verbose=0), model.predict(inputs, verbose=0))


def test_twins_run_under_xla():
    model = pruned(sequential, 0.99)
    packed = kc.pack(model)
    inputs = samples(model)
    with kc.ops.twins():
        outputs = tf.function(packed, jit_compile=True)(inputs)
    assert_close(outputs.numpy(), model.predict(inputs, verbose=0))


def test_what_was_packed_packs_no_more_but_says_so():
    packed = kc.pack(pruned(sequential, 0.9))
    with pytest.raises(ValueError, match="`model` must have compressed layers"):
        kc.pack(packed)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"model": sequential()}, "`model` must have compressed layers to pack"),
        ({"model": "model.keras"}, r"`model` must be a keras\.Model"),
        ({"model": keras.Sequential([])}, "`model` must be built"),
        ({"batch": 0}, "`batch` must be an integer >= 1"),
        ({"batch": 1.5}, "`batch` must be an integer >= 1"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        kc.pack(**{"model": pruned(sequential, 0.9), **arguments})


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SparseDense(0, nonzeros=1), "`units` must be an integer >= 1"),
        (lambda: SparseDense(2, nonzeros=-1), "`nonzeros` must be an integer >= 0"),
        (lambda: SparseConv2D(2, 0, nonzeros=1), "`kernel_size` must be an integer"),
        (lambda: SparseConv2D(2, (3,), nonzeros=1), "`kernel_size` must be a positive"),
        (lambda: SparseConv2D(2, 3, 1, padding="full"), "`padding` must be one of"),
        (lambda: SparseConv2D(2, 3, 1, strides="2"), "`strides` must be a positive"),
        (lambda: SparseDense(2, 1, layout="coo"), "`layout` must be one of"),
        (lambda: SparseDense(2, 9, stored=8), "`stored` must be an integer >= 9"),
    ],
)
def test_bad_layer_arguments(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_kernel_that_does_not_fit_is_refused():
    layer = SparseDense(2, nonzeros=1)
    layer.build((None, 3))
    with pytest.raises(ValueError, match=r"`kernel` must be of shape \(3, 2\)"):
        layer.fill(np.ones((2, 2)), np.zeros(2))
    with pytest.raises(ValueError, match="`kernel` must be of 1 non-zeros"):
        layer.fill(np.ones((3, 2)), np.zeros(2))
