"""`export_litert`: integers are the packed model's, and the interpreter agrees."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers as kl

import keras_compress as kc
from keras_compress import _litert_file, litert

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
    interpreter = _litert_file.interpreter(content, delegates=False)
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


WIDE = kc.FixedPoint(Q(0, 7), Q(1, 9), Q(3, 12), outputs=Q(3, 12))
ONE_CONV = [kl.Conv2D(6, 3, strides=2, name="a")]


def by_unit(layers, shape, count):
    """Packed, with a step of its own for every unit of the kernel."""
    bits = [7 - number % 3 for number in range(count)]
    config = kc.FixedPoint(Q([0] * count, bits), Q(1, 9), Q(3, 12), outputs=Q(3, 12))
    return kc.pack(kc.swap(network(layers, shape), config))


WIDE_CASES = {
    "dense": lambda: kc.pack(kc.swap(mlp(), WIDE)),
    "dense by unit": lambda: by_unit([kl.Dense(5, name="a")], (20,), 5),
    "conv": lambda: kc.pack(kc.swap(network(ONE_CONV, (9, 9, 2)), WIDE)),
    "conv by unit": lambda: by_unit(ONE_CONV, (9, 9, 2), 6),
    "images": lambda: kc.pack(kc.swap(images(), WIDE)),
    "a pixel": lambda: kc.pack(kc.swap(network([kl.Conv2D(4, 1)], (5, 5, 3)), WIDE)),
}


@pytest.mark.parametrize("case", WIDE_CASES)
def test_activations_of_16_bits_are_a_step_off_at_most(case, tmp_path):
    packed = WIDE_CASES[case]()
    for layer in packed.layers:
        if layer.weights:
            assert np.abs(layer.bias).max() > 0, "else a wrong bias is not seen"
    inputs = data_of(packed)
    file = kc.export_litert(packed, tmp_path / "model.tflite", data=inputs)
    assert set(file.layers.values()) == {"int16 x int8"}
    # One step of a hidden layer, through weights below 1, and one of the last.
    steps = 1 if len(file.layers) == 1 else 4
    assert file.largest_difference <= steps * 2.0**-12


@pytest.mark.parametrize("count", [8, 16])
@pytest.mark.parametrize(
    "between",
    [
        kl.DepthwiseConv2D(3, name="b"),
        kl.Conv2D(5, 3, activation="relu", name="b"),
        kl.BatchNormalization(name="b"),
        kl.Dense(4, name="b"),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_floats_between_integers_stay_floats(between, count, tmp_path):
    first, last = kl.Conv2D(7, 3, activation="relu", name="a"), kl.Dense(3, name="c")
    behind = [kl.MaxPooling2D(), kl.Flatten(), last]
    layers = [first, type(between).from_config(between.get_config()), *behind]
    model = network(layers, (9, 9, 2))
    packed = chosen(model, activation_bits=count, where=["a", "c"])
    file = kc.export_litert(packed, tmp_path / "a.tflite", data=data_of(packed))
    assert file.layers["a"] == ("int8" if count == 8 else "int16 x int8")
    assert file.layers["b"] == "float32"
    # As int8, their weights would be off by far more.
    step = 2.0 ** -packed.get_layer("a").output_format.fraction_bits
    assert file.largest_difference <= (1e-5 if count == 8 and HAS_XNNPACK else 4 * step)


@pytest.mark.parametrize("other", ["input", "float", "finer"])
def test_integers_joined_with_other_numbers_keep_both(other, tmp_path):
    inputs = keras.Input((8,))
    first = kl.Dense(6, name="a")(inputs)
    second = {"input": inputs}.get(other)
    second = kl.Dense(6, name="b")(inputs) if second is None else 3 * second
    outputs = kl.Dense(4, name="c")(kl.Concatenate()([first, second]))
    finer = kc.FixedPoint(Q(0, 7), Q(1, 9), Q(2, 5), Q(0, 7))
    formats = {"a": BYTES} | ({"b": finer} if other == "finer" else {})
    packed = kc.pack(kc.swap(keras.Model(inputs, outputs), formats))
    data = 3 * data_of(packed)
    file = kc.export_litert(packed, tmp_path / "a.tflite", data=data)
    assert file.layers["a"] == "int8"
    assert file.largest_difference < (1e-5 if HAS_XNNPACK else 0.1)


def test_a_file_with_other_outputs_is_refused(tmp_path, monkeypatch):
    packed, path = WIDE_CASES["conv"](), tmp_path / "a.tflite"
    content = litert._converted

    def doubled(model):
        model.layers[0].bias.assign(model.layers[0].bias + 3)
        return content(model)

    monkeypatch.setattr(litert, "_converted", doubled)
    with pytest.raises(ValueError, match=r"other outputs on `data`.*differ by"):
        kc.export_litert(packed, path, data=data_of(packed))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("count", [1, 20])
def test_a_step_is_not_other_outputs_where_nothing_is_spread(
    count, tmp_path, monkeypatch
):
    # A step of the outputs, as they are scaled behind their format.
    packed = kc.pack(kc.swap(network([kl.Dense(1), kl.Rescaling(1000.0)], (8,)), BYTES))
    content = litert._converted

    def a_step_off(model):
        model.layers[0].bias.assign(model.layers[0].bias + 2.0**-5)
        return content(model)

    monkeypatch.setattr(litert, "_converted", a_step_off)
    inputs = np.repeat(data_of(packed, 1), count, axis=0)
    file = kc.export_litert(packed, tmp_path / "a.tflite", data=inputs)
    assert file.largest_difference == 1000 * 2.0**-5


def test_what_litert_does_not_load_is_refused(tmp_path, monkeypatch):
    schema = _litert_file.SCHEMA
    monkeypatch.setattr(schema.TensorType, "INT64", schema.TensorType.INT8)
    packed = WIDE_CASES["conv"]()
    with pytest.raises(ValueError, match="a file that LiteRT refuses"):
        kc.export_litert(packed, tmp_path / "a.tflite")
    assert not list(tmp_path.iterdir())


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
