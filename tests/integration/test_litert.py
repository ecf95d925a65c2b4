"""`export_litert`: integers are the packed model's, and the interpreter agrees."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers as kl

import keras_compress as kc
from keras_compress import litert

RANDOM = np.random.default_rng(0)
Q = kc.QFormat
# The interpreter of TensorFlow 2.18 leaves integers to LiteRT's own kernels.
HAS_XNNPACK = tuple(map(int, tf.__version__.split(".")[:2])) >= (2, 21)
BYTES = kc.FixedPoint(kernel=Q(0, 7), bias=Q(1, 9), inputs=Q(2, 5), outputs=Q(2, 5))


@keras.saving.register_keras_serializable("test_litert")
class Ones(kl.Layer):
    """What LiteRT has no operation for."""

    def call(self, inputs):
        counts = tf.raw_ops.PopulationCount(x=tf.cast(inputs, "int32"))
        return tf.cast(counts, "float32")


def network(layers, shape):
    keras.utils.set_random_seed(2)
    model = keras.Sequential([keras.Input(shape), *layers])
    for variable in model.trainable_variables:
        values = RANDOM.standard_normal(variable.shape) / np.sqrt(variable.shape[0])
        variable.assign(np.clip(values, -0.99, 0.99))
    return model


def mlp():
    dense = [kl.Dense(40, "relu", name="a"), kl.Dense(30, "relu", name="b")]
    return network([*dense, kl.Dense(9, name="c")], (70,))


def images():
    return network(
        [
            kl.Conv2D(6, 3, strides=2, activation="relu", name="a"),
            kl.MaxPooling2D(),
            kl.Conv2D(5, 2, padding="same", dilation_rate=2, name="b"),
            kl.Flatten(),
            kl.Dense(9, name="c"),
        ],
        (15, 15, 3),
    )


def data_of(model, count=200):
    shape = (count, *model.inputs[0].shape[1:])
    return RANDOM.standard_normal(shape).astype("float32")


def chosen(model, **settings):
    """Packed, with the formats that are found by data."""
    formats = kc.analysis.choose_formats(model, data_of(model), **settings)
    return kc.pack(kc.swap(model, formats))


CASES = {
    "bytes": lambda: kc.pack(kc.swap(mlp(), BYTES)),
    "images": lambda: chosen(images(), per_channel=True),
    "unsigned": lambda: chosen(mlp(), per_channel=True),
    "six bits": lambda: chosen(mlp(), bits=6),
}


@pytest.mark.parametrize("case", CASES)
def test_integers_of_8_bits_give_the_same_bits(case, tmp_path):
    packed = CASES[case]()
    inputs = data_of(packed)
    file = kc.export_litert(packed, tmp_path / "model.tflite", data=inputs)
    last = "int8" if case == "bytes" else "float32"
    assert file.layers == {"a": "int8", "b": "int8", "c": last}
    outputs = packed.predict(inputs, verbose=0)
    if HAS_XNNPACK:
        assert file.largest_difference == 0
    elif case == "bytes":
        # Halves are rounded away from zero, in few sums: a step of the outputs.
        assert file.largest_difference == 2.0**-5
    assert len(np.unique(outputs)) > 20


def test_scales_are_powers_of_two(tmp_path):
    packed = CASES["bytes"]()
    file = kc.export_litert(packed, tmp_path / "model.tflite")
    content = file.path.read_bytes()
    interpreter = litert._interpreter(content, delegates=False)
    interpreter.allocate_tensors()
    codes = packed.get_layer("b").effective_kernel().T
    found = [
        (np.array(interpreter.get_tensor(x["index"])), x["quantization_parameters"])
        for x in interpreter.get_tensor_details()
        if tuple(x["shape"]) == codes.shape
    ]
    ((array, parameters),) = found
    np.testing.assert_array_equal(array, codes)
    assert array.dtype == np.int8
    np.testing.assert_array_equal(parameters["scales"], [2.0**-7])
    np.testing.assert_array_equal(parameters["zero_points"], [0])


def test_activations_of_16_bits_are_a_step_off_at_most(tmp_path):
    config = kc.FixedPoint(Q(0, 7), Q(1, 9), Q(3, 12), outputs=Q(3, 12))
    packed = kc.pack(kc.swap(mlp(), config))
    inputs = data_of(packed)
    file = kc.export_litert(packed, tmp_path / "model.tflite", data=inputs)
    assert set(file.layers.values()) == {"int16 x int8"}
    # One step of a hidden layer, through weights below 1, and one of the last.
    assert file.largest_difference <= 4 * 2.0**-12


def test_other_techniques_are_floats(tmp_path):
    model = mlp()
    small = kc.swap(model, {"a": kc.Prune(), "b": kc.LowRank(rank=3)})
    small.get_layer("a").prune(sparsity=0.9)
    packed = kc.pack(small, batch=1)
    assert type(packed.layers[0]).__name__ == "SparseDense"
    file = kc.export_litert(packed, tmp_path / "a.tflite", data=data_of(model))
    assert file.largest_difference < 1e-5
    assert set(file.layers.values()) == {"float32"}
    assert "float32: a, b" in str(file)


def test_a_bitwise_model_goes_as_it_was_trained(tmp_path):
    small = kc.swap(mlp(), kc.Bitwise())
    for layer in small.layers:
        if hasattr(layer, "binarize"):
            layer.binarize()
    path = tmp_path / "model.tflite"
    with pytest.raises(ValueError, match="Pass the trained model"):
        kc.export_litert(kc.pack(small), path)
    assert not path.exists()
    file = kc.export_litert(small, path, data=data_of(small))
    assert file.largest_difference < 1e-5


def refused():
    yield "not packed yet", kc.swap(mlp(), BYTES)
    wide = kc.FixedPoint(Q(0, 10), inputs=Q(2, 5), outputs=Q(2, 5))
    yield "Layer 'a' has weights of 16 bits", kc.pack(kc.swap(mlp(), wide))
    floor = kc.FixedPoint(Q(0, 7), inputs=Q(2, 5, rounding="floor"))
    yield "input_format of layer 'a'", kc.pack(kc.swap(mlp(), floor))
    pair = kc.FixedPoint(Q(0, 7), Q(1, 9), Q(2, 5), Q(3, 2), Q(1, 5))
    yield "output_format of layer 'a' must be one", kc.pack(kc.swap(mlp(), pair))
    finer = kc.FixedPoint(Q(0, 7), Q(1, 9), Q(0, 7), outputs=Q(2, 5))
    model = kc.pack(kc.swap(mlp(), {"a": BYTES, "b": finer}))
    yield "input_format of layer 'b' must have the fraction bits", model
    model = mlp()
    kernel = model.get_layer("b").kernel
    kernel.assign(np.where(kernel == np.min(kernel), -1.0, kernel))
    yield "Layer 'b' has weights of -128", kc.pack(kc.swap(model, BYTES))
    yield "operations that LiteRT lacks.*PopulationCount", network([Ones()], (4,))


def test_what_litert_has_not_is_refused_by_name(tmp_path):
    path = tmp_path / "model.tflite"
    for text, model in refused():
        with pytest.raises(ValueError, match=text):
            kc.export_litert(model, path)
    assert not list(tmp_path.iterdir())


def test_a_path_that_cannot_be_written_leaves_nothing(tmp_path):
    packed = CASES["bytes"]()
    (tmp_path / "there").touch()
    with pytest.raises(ValueError, match="where nothing is yet"):
        kc.export_litert(packed, tmp_path / "there")
    with pytest.raises(ValueError, match="writable"):
        kc.export_litert(packed, tmp_path / "missing" / "model.tflite")


@pytest.mark.parametrize("units", [4, 5])
def test_outputs_are_compared_by_name(units, tmp_path):
    inputs = keras.Input((8,))
    hidden = kl.Dense(8, activation="relu")(inputs)
    # Keras sorts them by name, LiteRT's runner has no order of its own.
    outputs = {"bb": kl.Dense(4)(hidden), "c": kl.Dense(units)(hidden)}
    packed = chosen(keras.Model(inputs, outputs))
    file = kc.export_litert(packed, tmp_path / "a.tflite", data=data_of(packed))
    assert file.largest_difference < (1e-5 if HAS_XNNPACK else 0.1)


def test_a_bias_without_a_format_is_said_to_be_rounded(tmp_path):
    config = kc.FixedPoint(Q(0, 7), inputs=Q(2, 5), outputs=Q(2, 5))
    packed = kc.pack(kc.swap(mlp(), config))
    file = kc.export_litert(packed, tmp_path / "a.tflite")
    assert file.layers["a"] == "int8, bias rounded"
