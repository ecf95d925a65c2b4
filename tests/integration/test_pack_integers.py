"""Fixed-point models packed: whole numbers in memory, on disk and between layers."""

import math
from fractions import Fraction

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers as kl

import keras_compress as kc
from keras_compress.functional import integers
from keras_compress.layers.packed import IntegerConv2D, IntegerDense
from keras_compress.ops._library import native_op

RANDOM = np.random.default_rng(0)
Q = kc.QFormat


def fixed(layers, shape, config, **others):
    keras.utils.set_random_seed(2)
    model = keras.Sequential([keras.Input(shape), *layers])
    for variable in model.trainable_variables:
        values = RANDOM.standard_normal(variable.shape) / np.sqrt(variable.shape[0])
        variable.assign(values)
    return kc.swap(model, {**others, "*": config} if others else config)


def inputs_of(model, count=32):
    shape = (count, *model.inputs[0].shape[1:])
    return RANDOM.standard_normal(shape).astype("float32")


def check(model, inputs=None):
    """Bit for bit the trained model, natively and in plain TensorFlow."""
    inputs = inputs_of(model) if inputs is None else inputs
    packed = kc.pack(model)
    expected = model.predict(inputs, verbose=0)
    sure = sure_samples(model, inputs)
    assert sure.mean() > 0.5
    for found in (packed(inputs), packed.predict(inputs, verbose=0)):
        np.testing.assert_array_equal(np.asarray(found)[sure], expected[sure])
    with kc.ops.twins():
        np.testing.assert_array_equal(packed(inputs).numpy()[sure], expected[sure])
    assert len(np.unique(expected)) > 4
    return packed


def sure_samples(model, inputs):
    """Samples of which no tanh lies where its last bits decide how it is rounded.

    TensorFlow's tanh of one number may differ in its last bits from call to call: in
    a vector, behind its end, merged with a product or not.
    """
    tanh = keras.activations.tanh
    layers = [layer for layer in model.layers if hasattr(layer, "formats")]
    sure = np.ones(len(inputs), bool)
    # Each number as small and as large as it may be.
    ends = [inputs, inputs]
    if not any(layer.activation is tanh for layer in layers):
        return sure
    for layer in layers:
        ends = [rounded(x, layer.input_format) for x in ends]
        sure &= (ends[0] == ends[1]).all(axis=1)
        sums = ends[0] @ np.asarray(layer.effective_kernel())
        sums = rounded(sums + layer.effective_bias(), layer.pre_activation_format)
        values = np.tanh(sums) if layer.activation is tanh else sums
        ends = [rounded(values * (1 + e), layer.output_format) for e in (-1e-6, 1e-6)]
    return sure


def rounded(x, format):
    x = np.asarray(x, "float32")
    return x if format is None else format.quantize(x)


FULL = kc.FixedPoint(kernel=Q(0, 7), bias=Q(1, 9), inputs=Q(2, 5), outputs=Q(2, 5))


def mlp(activation="relu"):
    return [
        kl.Dense(40, activation=activation, name="fc1"),
        kl.Dropout(0.5),
        kl.Dense(33, activation=activation, name="fc2"),
        kl.Dense(5, name="fc3"),
    ]


def test_layers_hand_integers_to_each_other():
    packed = check(fixed(mlp(), (20,), FULL))
    kinds = [type(layer) for layer in packed.layers]
    assert kinds == [IntegerDense] * 3
    flags = [(x.takes_integers, x.gives_integers) for x in packed.layers]
    assert flags == [(False, True), (True, True), (True, False)]
    hidden = keras.Model(packed.inputs[0], packed.layers[0].output)
    assert hidden(inputs_of(packed)).dtype == "int8"
    assert packed.layers[0].output.dtype == "int8"


@pytest.mark.parametrize("rounding", ["nearest_even", "truncate", "floor"])
@pytest.mark.parametrize("signed", [True, False])
def test_every_rounding_and_sign(rounding, signed):
    q = Q(2, 5 if signed else 6, signed, rounding=rounding)
    config = kc.FixedPoint(
        kernel=Q(0, 3), bias=Q(1, 5), inputs=q, outputs=q, pre_activations=None
    )
    packed = check(fixed(mlp(), (20,), config))
    assert packed.layers[0].bits == 4
    assert packed.layers[1].takes_integers


@pytest.mark.parametrize(
    "config",
    [
        kc.FixedPoint(kernel=Q(0, 7), inputs=Q(2, 5)),
        kc.FixedPoint(kernel=Q(0, 7), inputs=Q(2, 5), outputs=Q(2, 5)),
        kc.FixedPoint(kernel=Q(0, 7), bias=Q(1, 7), inputs=Q(2, 5)),
        kc.FixedPoint(
            kernel=Q(0, 7), bias=Q(1, 7), inputs=Q(2, 5), pre_activations=Q(2, 3)
        ),
        kc.FixedPoint(
            kernel=Q(0, 7),
            bias=Q(1, 7),
            inputs=Q(2, 5),
            pre_activations=Q(3, 6),
            outputs=Q(2, 3, rounding="floor"),
        ),
        kc.FixedPoint(
            kernel=Q(0, 7),
            bias=Q(1, 7),
            inputs=Q(2, 5),
            outputs=Q(1, 5, overflow="wrap"),
        ),
        kc.FixedPoint(kernel=Q(0, 5), bias=Q(1, 7), inputs=Q(3, 9), outputs=Q(3, 9)),
        kc.FixedPoint(kernel=Q(-2, 5), bias=Q(1, 3), inputs=Q(4, 0), outputs=Q(4, 8)),
        kc.FixedPoint(kernel=Q(0, 7, rounding="stochastic"), inputs=Q(2, 5)),
        kc.FixedPoint(kernel=Q(0, 10), bias=Q(1, 7), inputs=Q(2, 5), outputs=Q(3, 9)),
    ],
)
@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_every_combination_of_formats(config, activation):
    check(fixed(mlp(activation), (20,), config))


def test_channels_have_shifts_of_their_own():
    kernel = Q.per_channel([Q(1 - i % 3, 4 + i % 3) for i in range(40)])
    first = kc.FixedPoint(kernel=kernel, bias=Q(1, 7), inputs=Q(2, 5), outputs=Q(2, 4))
    packed = check(fixed(mlp(), (20,), FULL, fc1=first))
    assert packed.layers[0].gives_integers
    assert set(packed.layers[0].fractions.numpy()) == {9, 10, 11}


def cnn():
    return [
        kl.Conv2D(8, 3, activation="relu", padding="same", name="conv1"),
        kl.MaxPooling2D(),
        kl.Conv2D(6, (2, 3), strides=(2, 1), activation="relu", name="conv2"),
        kl.Conv2D(6, 2, dilation_rate=2, activation="relu", name="conv3"),
        kl.Flatten(),
        kl.Dense(7, activation="softmax", name="fc"),
    ]


def test_convolutions_and_pooling_stay_in_integers():
    packed = check(fixed(cnn(), (13, 12, 3), FULL))
    kinds = [type(layer).__name__ for layer in packed.layers]
    assert kinds == [
        *("IntegerConv2D", "MaxPooling2D", "IntegerConv2D", "IntegerConv2D"),
        *("Flatten", "IntegerDense"),
    ]
    dtypes = [x.output.dtype for x in packed.layers if hasattr(x, "bits")]
    assert dtypes == ["int8"] * 3 + ["float32"]


def test_branches_hand_on_integers_only_where_all_take_them():
    inputs = keras.Input((6,))
    hidden = kl.Dense(8, activation="relu", name="fc1")(inputs)
    one = kl.Dense(8, activation="relu", name="fc2")(hidden)
    other = kl.Dense(8, activation="relu", name="fc3")(hidden)
    both = kl.Add()([one, other])
    outputs = kl.Dense(3, name="fc4")(both)
    model = kc.swap(keras.Model(inputs, outputs), FULL)
    for variable in model.trainable_variables:
        variable.assign(RANDOM.standard_normal(variable.shape) / 2)
    packed = check(model)
    gives = {x.name: x.gives_integers for x in packed.layers if hasattr(x, "bits")}
    assert gives == {"fc1": True, "fc2": False, "fc3": False, "fc4": False}


def test_pruned_layers_stay_pruned():
    model = fixed(mlp(), (20,), kc.Prune())
    for layer in model.layers[::2]:
        layer.prune(sparsity=0.8)
    packed = check(kc.swap(model, FULL))
    assert np.mean(packed.layers[0].effective_kernel() == 0) >= 0.8


def pruned_in_blocks(layers, shape):
    model = fixed(layers, shape, kc.Prune(pattern=(4, 16)))
    for layer in model.layers:
        if hasattr(layer, "prune"):
            layer.prune(sparsity=0.8)
    return kc.swap(model, FULL)


def test_blocks_of_zeros_are_neither_stored_nor_multiplied(tmp_path):
    layers = [
        kl.Dense(100, activation="relu", name="fc1"),
        kl.Dense(90, activation="relu", name="fc2"),
        kl.Dense(37, name="fc3"),
    ]
    model = pruned_in_blocks(layers, (70,))
    kinds = [type(layer).__name__ for layer in model.layers]
    assert kinds == ["PrunedFixedPointDense"] * 3
    packed = check(model)
    for layer, source in zip(packed.layers, model.layers, strict=True):
        whole = -(-source.kernel.shape[0] // 4) * -(-source.units // 16)
        assert 0 < layer.blocks <= 0.25 * whole
        assert layer.panels.shape == (layer.blocks, 16, 4)
    x = inputs_of(model)
    expected = packed.predict(x, verbose=0)
    assert packed(x[:0]).shape == (0, 37)
    for storage in ("fast", "compact"):
        kc.pack(model, storage=storage).save(tmp_path / f"{storage}.keras")
        loaded = keras.models.load_model(tmp_path / f"{storage}.keras")
        assert loaded.layers[0].blocks == packed.layers[0].blocks
        np.testing.assert_array_equal(loaded(x), expected)
    served = tf.saved_model.load(kc.export(packed, tmp_path / "served"))
    np.testing.assert_array_equal(served.serve(x), expected)
    if native_op("kc_integer_blocks_matmul"):
        assert "KcIntegerBlocksMatmul" in {node.op for node in _nodes(served)}
    stored = sum(v.numpy().nbytes for v in packed.variables)
    report = kc.report(model, packed).to_dict()["models"]
    assert report[1]["memory_bytes"] == stored < 0.1 * report[0]["memory_bytes"]


def test_convolutions_have_blocks_too():
    layers = [kl.Conv2D(32, 3, activation="relu"), kl.Conv2D(20, 3), kl.Flatten()]
    packed = check(pruned_in_blocks(layers, (8, 8, 8)))
    assert [layer.blocks is None for layer in packed.layers[:2]] == [False] * 2


def test_zeros_anywhere_leave_all_blocks():
    model = fixed(mlp(), (20,), kc.Prune())
    for layer in model.layers[::2]:
        layer.prune(sparsity=0.5)
    packed = kc.pack(kc.swap(model, FULL))
    assert [layer.blocks for layer in packed.layers] == [None] * 3


def test_a_kernel_of_other_blocks_is_refused():
    layer = IntegerDense(20, input_format=Q(2, 5), blocks=1)
    layer.build((None, 8))
    with pytest.raises(ValueError, match="of 1 blocks that are not all zeros"):
        layer.fill(np.ones((8, 20), int), 0)
    for wrong in ({"bits": 4, "blocks": 1}, {"blocks": -1}, {"bits": 3}):
        with pytest.raises(ValueError, match=r"`bits`|`blocks`"):
            IntegerDense(20, input_format=Q(2, 5), **wrong)


def test_channels_first_and_time_steps():
    layer = IntegerConv2D(4, (3, 3), input_format=Q(2, 5), data_format="channels_first")
    layer.build((None, 2, 7, 6))
    codes = RANDOM.integers(-9, 9, (3, 3, 2, 4))
    layer.fill(codes, 5)
    x = RANDOM.integers(-50, 50, (2, 2, 7, 6)) / 32
    last = tf.nn.conv2d(x.transpose(0, 2, 3, 1), codes.astype(float), 1, "VALID")
    np.testing.assert_array_equal(layer(x), tf.transpose(last, (0, 3, 1, 2)))
    assert layer.compute_output_shape((None, 2, 7, 6)) == (None, 4, 5, 4)
    model = fixed([kl.TimeDistributed(kl.Dense(4, name="fc"))], (3, 5), FULL)
    check(model)


def test_what_float32_cannot_hold_is_as_numpy_has_it():
    inputs, units = 400, 4
    codes = RANDOM.integers(-128, 128, (inputs, units))
    layer = IntegerDense(units, input_format=Q(0, 15), activation="relu")
    layer.build((None, inputs))
    layer.fill(codes, 22)
    x = RANDOM.uniform(-1, 1, (5, inputs)).astype("float32")
    rows = integers.from_floats(x, 15, -(2**15), 2**15 - 1)
    sums = integers.integer_sums(rows, codes, 0)
    assert np.abs(sums).max() > 2**24
    expected = (sums.astype("float32") * np.float32(2.0**-22)).clip(0)
    np.testing.assert_array_equal(layer(x), expected)


@pytest.mark.parametrize(("bits", "share"), [(8, 4), (4, 8)])
def test_weights_take_their_bits(bits, share, tmp_path):
    layers = [kl.Dense(512, activation="relu"), kl.Dense(512)]
    model = fixed(layers, (512,), kc.FixedPoint(kernel=Q(0, bits - 1), inputs=Q(2, 5)))
    packed = kc.pack(model)
    whole = sum(4 * np.prod(x.shape) for x in model.trainable_variables)
    kept = sum(x.numpy().nbytes for x in packed.variables)
    assert kept <= 1.05 * whole / share
    path = kc.export(packed, tmp_path / "served")
    disk = sum(x.stat().st_size for x in (path / "variables").iterdir())
    assert disk <= 1.05 * whole / share
    report = kc.report(model, packed).to_dict()
    assert "int8" not in report  # but its energy is known
    assert check(model).layers[0].bits == bits


def test_a_packed_model_saves_loads_and_exports(tmp_path):
    model = fixed(cnn(), (13, 12, 3), FULL)
    packed = check(model)
    x = inputs_of(model)
    expected = model.predict(x, verbose=0)
    packed.save(tmp_path / "packed.keras")
    loaded = keras.models.load_model(tmp_path / "packed.keras")
    np.testing.assert_array_equal(loaded(x), expected)
    for portable in (False, True):
        path = kc.export(packed, tmp_path / f"served{portable}", portable=portable)
        served = tf.saved_model.load(path)
        np.testing.assert_array_equal(served.serve(tf.constant(x)), expected)
        names = {node.op for node in _nodes(served)}
        assert ("KcIntegerMatmul" in names) <= (not portable)


def _nodes(served):
    graph = served.signatures["serving_default"].graph.as_graph_def()
    yield from graph.node
    for function in graph.library.function:
        yield from function.node_def


def test_integers_of_a_user_are_numbers_not_codes():
    model = fixed(mlp(), (20,), FULL)
    x = RANDOM.integers(0, 4, (8, 20))
    expected = model.predict(x.astype("float32"), verbose=0)
    np.testing.assert_array_equal(kc.pack(model).predict(x, verbose=0), expected)


@pytest.mark.parametrize(
    ("config", "match"),
    [
        (kc.FixedPoint(kernel=Q(0, 7)), "inputs of layer 'fc1' need a format"),
        (kc.FixedPoint(inputs=Q(0, 7)), "kernel of layer 'fc1' needs a format"),
        (kc.FixedPoint(kernel=Q(None, 7), inputs=Q(0, 7)), "needs a format"),
        (kc.FixedPoint(kernel=Q(0, 16), inputs=Q(2, 5)), "this one needs 2[0-9]"),
        (kc.FixedPoint(kernel=Q(0, 15), inputs=Q(2, 13)), "needs sums of 3[0-9] bits"),
        (kc.FixedPoint(kernel=Q(0, 7), inputs=Q(2, 16)), "more than the 16 bits"),
        (kc.FixedPoint(kernel=Q(0, 7), inputs=Q(2, 5, overflow="wrap")), "saturates"),
        (
            kc.FixedPoint(kernel=Q(0, 5), inputs=Q(2, 2), bias=Q(0, 20)),
            "not have more fraction bits",
        ),
    ],
)
def test_what_integers_cannot_hold_is_refused(config, match):
    with pytest.raises(ValueError, match=match):
        kc.pack(fixed(mlp(), (20,), config))


def test_sums_that_need_more_bits_are_refused():
    layer = IntegerDense(1, input_format=Q(0, 15))
    layer.build((None, 2000))
    with pytest.raises(ValueError, match="needs sums of 34 bits"):
        layer.fill(np.full((2000, 1), -128), 0)


def test_shifts_that_are_too_far_are_refused():
    layer = IntegerDense(1, input_format=Q(-30, 37), output_format=Q(2, 5))
    layer.build((None, 3))
    with pytest.raises(ValueError, match="needs a shift by 31 bits"):
        layer.fill(np.ones((3, 1), int), 36)
    layer.fill(np.ones((3, 1), int), 35)
    np.testing.assert_array_equal(layer(np.ones((1, 3), "float32")), [[0.0]])


def test_layers_that_are_floats_yet_are_refused():
    model = fixed(mlp(), (20,), FULL)
    model.layers[0].set_noise("float")
    with pytest.raises(ValueError, match="not quantized to its formats yet"):
        kc.pack(model)
    model.layers[0].set_noise(extra_bits=1)
    with pytest.raises(ValueError, match="not quantized to its formats yet"):
        kc.pack(model)


def test_post_training_quantization_in_one_call():
    model = keras.Sequential([keras.Input((20,)), *mlp()])
    data = RANDOM.standard_normal((256, 20)).astype("float32")
    small = kc.swap(model, kc.analysis.choose_formats(model, data))
    packed = check(small, data[:32])
    assert packed.layers[1].takes_integers
    exact = model.predict(data, verbose=0)
    error = np.linalg.norm(packed(data) - exact) / np.linalg.norm(exact)
    assert error < 0.03


def nested(kind):
    """Layers of integers before, in and behind a nested model."""
    inner = keras.Input((40,))
    fc = kl.Dense(33, activation="relu", name="fc2")
    if kind == "sequential":
        part = keras.Sequential([inner, fc, kl.Dense(40, activation="relu")])
    elif kind == "functional":
        part = keras.Model(inner, kl.Dense(40, activation="relu")(fc(inner)))
    else:
        part = keras.Model(inner, [inner, kl.Dense(40, activation="relu")(fc(inner))])
    inputs = keras.Input((20,))
    outputs = part(kl.Dense(40, activation="relu", name="fc1")(inputs))
    outputs = part(outputs) if kind != "shortcut" else outputs[0]
    model = keras.Model(inputs, kl.Dense(5, name="fc3")(outputs))
    for variable in model.trainable_variables:
        variable.assign(RANDOM.standard_normal(variable.shape) / 6)
    return kc.swap(model, FULL)


@pytest.mark.parametrize("kind", ["sequential", "functional", "shortcut"])
def test_integers_stay_inside_a_nested_model(kind):
    # Keras casts what crosses its border to the floats of its InputLayer.
    packed = check(nested(kind))
    layers = [x for x in packed._flatten_layers() if hasattr(x, "bits")]
    gives = [x.name for x in layers if x.gives_integers]
    assert gives == ([] if kind == "shortcut" else ["fc2"])


@pytest.mark.parametrize("bits", [7, 15])
def test_twins_of_convolutions_run_under_xla(bits):
    formats = kc.FixedPoint(kernel=kc.QFormat(0, 7), inputs=kc.QFormat(1, bits - 1))
    model = fixed([kl.Conv2D(4, 3), kl.Flatten(), kl.Dense(5)], (6, 6, 2), formats)
    packed, x = check(model), inputs_of(model)
    with kc.ops.twins():
        found = tf.function(packed, jit_compile=True)(x)
    np.testing.assert_allclose(found, model(x), rtol=1e-5, atol=1e-6)


def with_own_activation():
    model = fixed([kl.Dense(9, activation=kl.PReLU()), kl.Dense(5)], (20,), FULL)
    model(inputs_of(model))  # which builds the activation
    model.layers[0].activation.alpha.assign(np.linspace(-1, 1, 9))
    return model


def test_activations_keep_their_weights():
    check(with_own_activation())


@pytest.mark.skipif(
    keras.__version__.startswith("3.8."),
    reason="Keras 3.8 loads no layer whose activation is one, its own Dense neither",
)
def test_activations_keep_their_weights_in_a_file(tmp_path):
    model = with_own_activation()
    kc.pack(model).save(tmp_path / "packed.keras")
    loaded = keras.models.load_model(tmp_path / "packed.keras")
    x = inputs_of(model)
    np.testing.assert_array_equal(loaded(x), model(x))


class MeanPooling(kl.MaxPooling2D):
    """A subclass that hands on other numbers."""

    def call(self, inputs):
        return 1.7 * keras.ops.mean(inputs, axis=(1, 2), keepdims=True)

    def compute_output_shape(self, shape):
        return (shape[0], 1, 1, shape[3])


@pytest.mark.parametrize(
    ("between", "arguments"),
    [
        (kl.Dropout(0.5, seed=1), {"training": True}),
        (kl.GaussianNoise(0.1, seed=1), {"training": True}),
        (MeanPooling(), {}),
    ],
)
def test_layers_that_change_numbers_get_no_integers(between, arguments):
    inputs = keras.Input((6, 6, 3))
    hidden = kl.Conv2D(4, 3, activation="relu", name="conv")(inputs)
    hidden = kl.Flatten()(between(hidden, **arguments))
    model = kc.swap(keras.Model(inputs, kl.Dense(3, name="fc")(hidden)), FULL)
    packed = kc.pack(model)
    assert not packed.get_layer("conv").gives_integers
    assert not packed.get_layer("fc").takes_integers
    if not arguments:
        check(model)


def test_stochastic_rounding_is_for_training():
    q = Q(2, 3, rounding="stochastic")
    config = kc.FixedPoint(
        kernel=Q(0, 5), bias=Q(1, 5), inputs=Q(2, 5), pre_activations=q, outputs=q
    )
    for activation in ("relu", "softsign"):
        packed = check(fixed(mlp(activation), (20,), config))
        assert packed.layers[0].output_format == Q(2, 3)


def test_steps_that_float32_has_not_are_refused():
    layer = IntegerDense(1, input_format=Q(-60, 63))
    layer.build((None, 3))
    with pytest.raises(ValueError, match=r"`fractions` must be at most 126.*=127"):
        layer.fill(np.ones((3, 1), int), 127)
    layer.fill(np.ones((3, 1), int), 126)


def test_a_wrapper_that_looks_at_the_kernel_is_refused():
    layer = kl.SpectralNormalization(kl.Dense(6, name="fc"))
    model = kc.swap(keras.Sequential([keras.Input((8,)), layer]), FULL)
    with pytest.raises(ValueError, match="cannot be packed inside a wrapper"):
        kc.pack(model)


def test_large_numbers_wrap_as_integers_do():
    x = np.array([1e38, -1e38, 3e8, -7.3, 2.0**100 * 1.5, 0.1, np.nan], np.float32)
    for q in (Q(3, 4, overflow="wrap"), Q(2, 28, False, "wrap", "floor")):
        count = 2 ** (q.integer_bits + q.fraction_bits + q.signed)
        found = q.quantize(x)
        assert np.isnan(found[-1])
        for one, number in zip(x[:-1], found, strict=False):
            scaled = Fraction(float(one)) * 2**q.fraction_bits
            code = math.floor(scaled) if q.rounding == "floor" else round(scaled)
            below = count // 2 if q.signed else 0
            code = (code + below) % count - below
            # Of a format wider than float32, the nearest float.
            assert number == pytest.approx(code / 2**q.fraction_bits, rel=2**-23)
