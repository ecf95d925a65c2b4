"""`report` on real models: every layer call is seen, counted and left as it was."""

import concurrent.futures
import threading
import time

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from keras_compress.layers.pruned import PrunedConv2D, PrunedDense
from keras_compress.report import Product, register_cost, report


def only(model, **kwargs):
    """The report's one model, and its layers by name."""
    found = report(model, **kwargs).models[0]
    return found, {layer.name: layer for layer in found.layers}


def snapshot(model):
    return [v.numpy().tobytes() for v in model.variables]


def lenet_300_100(dense=layers.Dense):
    return keras.Sequential(
        [
            keras.Input((784,)),
            dense(300, activation="relu", name="fc1"),
            dense(100, activation="relu", name="fc2"),
            dense(10, activation="softmax", name="fc3"),
        ],
        name="lenet",
    )


def test_lenet_300_100():
    found, by_name = only(lenet_300_100())
    assert found.parameters == 266_610
    assert found.memory_bytes == 4 * 266_610
    assert found.weights == found.weights_kept == 266_200
    assert [layer.flop for layer in found.layers] == [470_400, 60_000, 2_000]
    assert by_name["fc1"].first
    assert not by_name["fc2"].first
    assert found.energy_pj == pytest.approx(266_200 * 4.6 + 266_610 * 640)
    assert found.activation_sparsity is None
    assert found.latency == {}


def test_lenet_5_of_caffe():
    model = keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            layers.Conv2D(20, 5, name="conv1"),
            layers.MaxPooling2D(),
            layers.Conv2D(50, 5, name="conv2"),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dense(500, activation="relu", name="fc1"),
            layers.Dense(10, activation="softmax", name="fc2"),
        ]
    )
    found, by_name = only(model, activations=np.ones((4, 28, 28, 1), "float32"))
    assert found.parameters == 431_080
    flop = [by_name[name].flop for name in ("conv1", "conv2", "fc1", "fc2")]
    assert flop == [576_000, 3_200_000, 800_000, 10_000]
    assert by_name["conv2"].input_elements == 4 * 20 * 12 * 12, "what is read"
    assert by_name["conv1"].remaining_work == 1.0, "the image counts as dense"


@pytest.mark.parametrize(
    ("name", "parameters", "multiply_adds"),
    [
        # He et al., 2015: 3.8e9 multiply-adds; Sandler et al., 2018: 300e6.
        ("ResNet50", 25_636_712, 3.8e9),
        ("MobileNetV2", 3_538_984, 300e6),
    ],
)
def test_published_networks(name, parameters, multiply_adds):
    found, _ = only(getattr(keras.applications, name)(weights=None))
    assert found.parameters == parameters
    published = [x for x in found.layers if x.kind != "BatchNormalization"]
    counted = sum(layer.multiply_adds for layer in published)
    assert counted == pytest.approx(multiply_adds, rel=0.02)


def test_half_of_the_weights_masked_is_half_of_the_work():
    model = lenet_300_100(PrunedDense)
    model.get_layer("fc1").prune(sparsity=0.5)
    model.get_layer("fc3").kernel.assign(np.eye(100, 10))
    found, by_name = only(model)
    fc1 = by_name["fc1"]
    assert (fc1.weights, fc1.weights_kept) == (235_200, 117_600)
    assert fc1.effective_multiply_adds == 117_600
    assert fc1.executed_multiply_adds == fc1.multiply_adds == 235_200
    assert by_name["fc3"].weights_kept == 10, "an exact zero is not kept"
    assert found.parameters == 266_610, "a mask is no parameter"
    assert found.memory_bytes == 4 * 266_610 + 266_200, "but it takes a byte"


def test_packed_models_keep_the_dense_size_in_view():
    pack = pytest.importorskip("keras_compress.pack").pack
    model = lenet_300_100(PrunedDense)
    for layer in model.layers:
        layer.prune(sparsity=0.9)
    result = report(model, pack(model))
    pruned, packed = result.models
    assert pruned.weights == 266_200
    # But for a few units that were left without weights, or unread.
    assert 0.9 * 266_200 < packed.weights == packed.multiply_adds <= 266_200
    assert pruned.weights_kept == 26_620
    assert 25_000 < packed.weights_kept == packed.effective_multiply_adds <= 26_620
    assert packed.memory_bytes < pruned.memory_bytes / 4
    assert packed.energy_pj < pruned.energy_pj / 4
    assert [m.name for m in result.models] == ["lenet (compressed)", "lenet (packed)"]


def test_activations_are_measured():
    model = keras.Sequential(
        [
            keras.Input((4,)),
            layers.Dense(2, use_bias=False, name="a"),
            layers.ReLU(name="relu"),
            layers.Dense(3, use_bias=False, name="b"),
        ]
    )
    model.get_layer("a").kernel.assign([[1.0, -1]] * 4)
    model.get_layer("b").kernel.assign([[1.0, 1, 0], [1, 1, 0]])
    # More examples than one batch of the measurement, positive sums and zeros.
    data = np.ones((300, 4), "float32")
    data[:150] = 0
    found, by_name = only(model, activations=data)
    assert by_name["a"].activation_sparsity == pytest.approx(0.5)
    assert by_name["b"].input_sparsity == pytest.approx(0.75)
    assert by_name["b"].remaining_work == pytest.approx(2 / 3 * 1 / 4)
    assert by_name["a"].remaining_work == 1.0
    assert found.remaining_work == pytest.approx((8 * 1 + 6 / 6) / 14)
    assert found.activation_sparsity == pytest.approx((2 * 0.75 + 3 * 2 / 3) / 5)


def test_a_shared_layer_works_twice_and_weighs_once():
    shared = layers.Dense(8, name="shared")
    inputs = keras.Input((8,))
    model = keras.Model(inputs, shared(shared(inputs)))
    found, by_name = only(model)
    assert by_name["shared"].calls == 2
    assert found.multiply_adds == 128
    assert found.weights == 64
    assert found.memory_bytes == 4 * 72


def test_nested_models_and_wrappers_are_seen_through():
    inner = keras.Sequential(
        [keras.Input((6,)), layers.Dense(4, name="deep"), layers.Dropout(0.5)]
    )
    inputs = keras.Input((5, 6))
    steps = layers.TimeDistributed(inner)(inputs)
    steps = layers.TimeDistributed(layers.Dense(3, name="step"))(steps)
    found, by_name = only(
        keras.Model(inputs, steps), activations=np.ones((2, 5, 6), "float32")
    )
    assert by_name["deep"].multiply_adds == 5 * 6 * 4
    assert by_name["step"].multiply_adds == 5 * 4 * 3
    assert by_name["step"].activation_sparsity == 0.0
    assert found.multiply_adds == 180
    assert found.parameters == 28 + 15


def test_time_steps_inside_time_steps_multiply():
    inner = layers.TimeDistributed(layers.Dense(3, name="step"))
    inputs = keras.Input((2, 5, 4))
    _, by_name = only(keras.Model(inputs, layers.TimeDistributed(inner)(inputs)))
    assert by_name["step"].multiply_adds == 2 * 5 * 4 * 3


def test_zeros_are_counted_in_every_time_step():
    dense = layers.Dense(3, activation="relu", use_bias=False, name="step")
    model = keras.Sequential([keras.Input((5, 4)), layers.TimeDistributed(dense)])
    dense.kernel.assign(np.ones((4, 3)))
    data = np.ones((2, 5, 4), "float32")
    data[:, :3] = 0
    _, by_name = only(model, activations=data)
    assert by_name["step"].input_elements == 2 * 5 * 4
    assert by_name["step"].input_sparsity == pytest.approx(0.6)
    assert by_name["step"].activation_sparsity == pytest.approx(0.6)


@pytest.mark.parametrize("unroll", [False, True])
def test_cells_are_called_once_a_time_step(unroll):
    cells = [layers.LSTMCell(3, name="lstm"), layers.GRUCell(2, name="gru")]
    recurrent = layers.RNN(cells, unroll=unroll)
    _, by_name = only(keras.Sequential([keras.Input((7, 4)), recurrent]))
    assert by_name["lstm"].calls == by_name["gru"].calls == 7


def test_convolutional_cells_are_called_once_a_time_step():
    model = keras.Sequential([keras.Input((7, 8, 4)), layers.ConvLSTM1D(3, 3)])
    (row,) = only(model)[0].layers
    assert (row.kind, row.calls) == ("ConvLSTMCell", 7)


class Adding(layers.Layer):
    """A cell that adds up what a layer makes of its inputs."""

    def __init__(self, units):
        super().__init__()
        self.state_size = units
        self.inner = layers.Dense(units, "relu", use_bias=False, name="inner")

    def build(self, input_shape):
        self.inner.build(input_shape)

    def call(self, inputs, states):
        output = states[0] + self.inner(inputs)
        return output, [output]


class WithHead(layers.RNN):
    """Has a layer outside of its loop."""

    def build(self, sequences_shape):
        super().build(sequences_shape)
        self.head = layers.Dense(2, name="head")
        self.head.build((None, self.cell.state_size))

    def call(self, sequences, **kwargs):
        return self.head(super().call(sequences, **kwargs))

    def compute_output_shape(self, sequences_shape):
        return (sequences_shape[0], 2)


@pytest.mark.parametrize("unroll", [False, True])
def test_layers_in_cells_work_in_every_time_step(unroll):
    recurrent = WithHead(Adding(3), unroll=unroll)
    model = keras.Sequential([keras.Input((7, 4)), recurrent])
    recurrent.cell.inner.kernel.assign(np.ones((4, 3)))
    data = np.ones((300, 7, 4), "float32")
    data[:, :2] = 0
    _, by_name = only(model, activations=data)
    assert by_name["inner"].calls == 7
    assert by_name["inner"].multiply_adds == 7 * 4 * 3
    assert by_name["inner"].input_elements == 300 * 7 * 4
    assert by_name["inner"].activation_sparsity == pytest.approx(2 / 7)
    assert by_name["head"].multiply_adds == 3 * 2


CONVOLUTIONS = [
    (layers.Conv1D(6, 3, groups=2), (10, 4), 8 * 3 * 2 * 6),
    (layers.Conv2D(6, 3, strides=2, padding="same"), (9, 9, 2), 25 * 9 * 2 * 6),
    (layers.Conv3D(2, 2), (3, 3, 3, 5), 8 * 8 * 5 * 2),
    (layers.DepthwiseConv1D(3, depth_multiplier=2), (10, 4), 8 * 3 * 4 * 2),
    (layers.DepthwiseConv2D(3), (5, 5, 4), 9 * 9 * 4),
    (layers.SeparableConv2D(6, 3), (5, 5, 4), 9 * (9 * 4 + 4 * 6)),
    (layers.Conv2DTranspose(6, 3, strides=2), (5, 5, 4), 25 * 9 * 4 * 6),
    (PrunedConv2D(6, 3), (5, 5, 4), 9 * 9 * 4 * 6),
    (layers.Dense(6), (7, 5), 7 * 5 * 6),
    (layers.EinsumDense("abc,cd->abd", (None, 6)), (7, 5), 7 * 5 * 6),
    (layers.EinsumDense("...x,xy->...y", 6), (5,), 5 * 6),
    (layers.BatchNormalization(), (3, 4), 12),
    (layers.LayerNormalization(), (3, 4), 24),
    (layers.PReLU(), (3, 4), 0),
    (layers.MaxPooling1D(), (4, 4), 0),
    (layers.SimpleRNN(6), (7, 5), 7 * (5 + 6) * 6),
    (layers.LSTM(6), (7, 5), 7 * (5 + 6) * 24),
    (layers.GRU(6, return_sequences=True), (7, 5), 7 * (5 + 6) * 18),
    (layers.Bidirectional(layers.LSTM(6)), (7, 5), 2 * 7 * (5 + 6) * 24),
    (layers.SpectralNormalization(layers.Dense(6)), (5,), 30),
]


@pytest.mark.parametrize(
    ("layer", "shape", "multiply_adds"),
    CONVOLUTIONS,
    ids=[case[0].name for case in CONVOLUTIONS],
)
def test_every_kind_of_layer(layer, shape, multiply_adds):
    found, _ = only(keras.Sequential([keras.Input(shape), layer]))
    assert found.multiply_adds == multiply_adds
    assert all(row.multiply_adds is not None for row in found.layers)
    expected = sum(np.prod(v.shape) for v in layer.weights if v.dtype != "bool")
    assert found.parameters == sum(row.parameters for row in found.layers) == expected


def test_channels_first_counts_the_same_pixels():
    # Not every build of TensorFlow convolves channels first on a CPU: only count.
    from keras_compress.report.layer_costs import rule_for

    layer = layers.Conv2D(6, 3, data_format="channels_first")
    layer.build((1, 4, 5, 5))
    (product,) = rule_for(layer)(layer, (1, 4, 5, 5), (1, 6, 3, 3))
    assert product.multiply_adds == 9 * 9 * 4 * 6


def test_attention_counts_what_lies_between_its_projections():
    inputs = keras.Input((7, 8))
    outputs = layers.MultiHeadAttention(2, 3, name="mha")(inputs, inputs)
    found, by_name = only(keras.Model(inputs, outputs))
    assert by_name["mha"].multiply_adds == 2 * 7 * 7 * (3 + 3)
    projections = 4 * 7 * 8 * 6
    assert found.multiply_adds == projections + 2 * 7 * 7 * 6


def test_grouped_attention_counts_every_head_of_the_queries():
    inputs = keras.Input((7, 8))
    attention = layers.GroupQueryAttention(3, 4, 2, name="gqa")
    found, by_name = only(keras.Model(inputs, attention(inputs, inputs)))
    assert by_name["gqa"].multiply_adds == 4 * 7 * 7 * (3 + 3)
    projections = 7 * 8 * 3 * (4 + 2 + 2 + 4)
    assert found.multiply_adds == projections + 4 * 7 * 7 * 6


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        (layers.Attention(name="one"), 7 * 5 * (8 + 6)),
        (layers.AdditiveAttention(name="one"), 7 * 5 * (8 + 6)),
        (layers.AdditiveAttention(use_scale=False, name="one"), 7 * 5 * 6),
    ],
)
def test_attention_without_projections(layer, expected):
    query, value, key = (keras.Input(shape) for shape in ((7, 8), (5, 6), (5, 8)))
    model = keras.Model([query, value, key], layer([query, value, key]))
    _, by_name = only(model)
    assert by_name["one"].multiply_adds == expected


@pytest.mark.parametrize(
    ("axes", "shapes", "expected"),
    [(1, [(8,), (8,)], 8), ((2, 1), [(7, 8), (8, 5)], 7 * 8 * 5)],
)
def test_a_dot_is_a_product(axes, shapes, expected):
    inputs = [keras.Input(shape) for shape in shapes]
    model = keras.Model(inputs, layers.Dot(axes, name="dot")(inputs))
    _, by_name = only(model)
    assert by_name["dot"].multiply_adds == expected


def test_embeddings_weigh_but_do_not_multiply():
    inputs = keras.Input((9,), dtype="int32")
    found, _ = only(keras.Model(inputs, layers.Embedding(50, 4)(inputs)))
    assert found.weights == 200
    assert found.multiply_adds == 0


class Block(keras.Model):
    """A subclassed model that calls its layers in its own way."""

    def __init__(self, compiled=False, spare=True):
        super().__init__(name="block")
        self.first = layers.Dense(4, name="first")
        self.rest = [layers.Dense(3, name="second")]
        self.spare = layers.Dense(2, name="spare") if spare else None
        self.compiled_call = tf_function(self._rest) if compiled else self._rest

    def _rest(self, x):
        for layer in self.rest:
            x = layer(x)
        return x

    def build(self, input_shape):
        self.first.build(input_shape)
        self.rest[0].build((*input_shape[:-1], 4))
        if self.spare is not None:
            self.spare.build(input_shape)

    def call(self, inputs):
        return self.compiled_call(self.first(inputs))


def tf_function(function):
    return tf.function(function)


@pytest.mark.parametrize("compiled", [False, True])
def test_subclassed_models(compiled):
    model = Block(compiled)
    # One example: the same trace serves the report, which would see nothing of it.
    model(np.zeros((1, 5), "float32"))
    result = report(model)
    by_name = {layer.name: layer for layer in result.models[0].layers}
    assert by_name["first"].multiply_adds == 20
    assert by_name["second"].multiply_adds == 12
    assert by_name["spare"].calls == by_name["spare"].multiply_adds == 0
    assert result.models[0].parameters == 24 + 15 + 12
    assert any("'spare'" in note for note in result.notes)
    assert not tf.config.functions_run_eagerly()


@pytest.mark.parametrize("spare", [False, True])
@pytest.mark.parametrize("compiled", [False, True])
def test_activations_of_subclassed_models(compiled, spare):
    model = Block(compiled, spare)
    data = np.ones((300, 5), "float32")
    model(data[:1])
    model.first.bias.assign([1.0, 0, 0, 0])
    model.first.kernel.assign(np.zeros((5, 4)))
    _, by_name = only(model, activations=data)
    assert by_name["second"].input_sparsity == pytest.approx(0.75)
    assert by_name["second"].input_elements == 300 * 4, "every batch counts once"


class Mixer(layers.Layer):
    """A layer that nobody has heard of."""

    def build(self, input_shape):
        self.mixing = self.add_weight(shape=(input_shape[1], input_shape[1]))

    def call(self, inputs):
        return keras.ops.einsum("bij,ik->bkj", inputs, self.mixing)


class DeclaredMixer(Mixer):
    def compression_cost(self, input_shape, output_shape):
        return [Product(9, 9, 9 * input_shape[2])]


def test_unknown_arithmetic_is_said():
    model = keras.Sequential([keras.Input((3, 5)), Mixer(name="mixer")])
    result = report(model)
    (layer,) = result.models[0].layers
    assert layer.multiply_adds is None
    assert layer.weights == 9
    assert result.models[0].energy_pj is None
    assert any("'mixer' (Mixer)" in note for note in result.notes)
    assert " ? " in str(result)


def test_layers_can_be_taught(monkeypatch):
    from keras_compress.report import layer_costs

    model = keras.Sequential([keras.Input((3, 5)), DeclaredMixer()])
    assert only(model)[0].multiply_adds == 45
    monkeypatch.setattr(layer_costs, "_RULES", dict(layer_costs._RULES))
    register_cost(Mixer)(lambda layer, i, o: [Product(9, 9, 45)])
    model = keras.Sequential([keras.Input((3, 5)), Mixer()])
    assert only(model)[0].multiply_adds == 45
    with pytest.raises(ValueError, match="layer_classes"):
        register_cost(3)


def test_several_inputs():
    a, b = keras.Input((3,), name="a"), keras.Input((4,), name="b")
    joined = layers.Concatenate()([layers.Dense(2)(a), layers.Dense(2)(b)])
    model = keras.Model({"a": a, "b": b}, layers.Dense(1, name="last")(joined))
    data = {"a": np.ones((2, 3)), "b": np.ones((2, 4))}
    found, by_name = only(model, activations=data)
    assert found.multiply_adds == 6 + 8 + 4
    assert [layer.first for layer in found.layers if layer.weights].count(True) == 2
    assert by_name["last"].input_elements == 8


@pytest.mark.parametrize("make", [tf.constant, np.array])
def test_strings_go_in(make):
    inputs = keras.Input((2,), dtype="string")
    ids = layers.StringLookup(vocabulary=["a", "b"])(inputs)
    outputs = layers.Dense(3, name="fc")(layers.Flatten()(layers.Embedding(4, 5)(ids)))
    model = keras.Model(inputs, outputs, name="words")
    data = make([["a", "z"], ["b", "b"]])
    assert only(model, inputs=data)[0].multiply_adds == 2 * 5 * 3
    found, by_name = only(model, activations=data)
    assert by_name["fc"].input_elements == 2 * 10
    assert found.weights == 20 + 30
    with pytest.raises(ValueError, match=r"arrays of \['string'\]. Received: inputs="):
        report(model, inputs=np.ones((2, 2)))


def test_strings_are_no_numbers():
    with pytest.raises(ValueError, match=r"arrays of \['float32'\]"):
        report(lenet_300_100(), inputs=np.full((1, 784), "1"))


def test_a_model_with_a_fixed_batch_counts_one_example():
    model = keras.Sequential(
        [keras.Input(batch_shape=(4, 7, 5)), layers.LSTM(6, stateful=True)]
    )
    before = snapshot(model)
    assert only(model)[0].multiply_adds == 7 * (5 + 6) * 24
    assert snapshot(model) == before


class Counter(layers.Layer):
    """Changes state even at inference."""

    def build(self, input_shape):
        self.calls = self.add_weight(initializer="zeros", trainable=False, shape=())
        self.seed = keras.random.SeedGenerator(1)

    def call(self, inputs):
        self.calls.assign_add(1.0)
        return inputs + keras.random.normal(keras.ops.shape(inputs), seed=self.seed)


def test_the_model_is_left_as_it_was():
    model = keras.Sequential(
        [
            keras.Input((4,)),
            Counter(),
            layers.BatchNormalization(),
            layers.Dropout(0.5),
            layers.Dense(3),
        ]
    )
    model.compile(optimizer="adam", loss="mse")
    model.fit(np.ones((8, 4)), np.ones((8, 3)), verbose=0)
    before = snapshot(model)
    predicted = [set(layer.__dict__) for layer in model.layers]
    report(model, activations=np.random.default_rng(0).normal(size=(8, 4)))
    assert snapshot(model) == before
    assert [set(layer.__dict__) for layer in model.layers] == predicted
    assert not any("call" in layer.__dict__ for layer in [model, *model.layers])


class Waits(layers.Layer):
    """Gives other threads a chance to come between."""

    def call(self, inputs):
        time.sleep(0.01)
        return inputs


def test_threads_do_not_see_each_other():
    model = keras.Sequential(
        [keras.Input((4,)), Waits(), layers.Dense(3), Waits(), layers.Dense(3)]
    )
    data, stop = np.ones((1, 4), "float32"), threading.Event()

    def use():
        while not stop.is_set():
            model(data)

    with concurrent.futures.ThreadPoolExecutor(5) as pool:
        used = pool.submit(use)
        counted = list(pool.map(lambda _: only(model)[0].multiply_adds, range(12)))
        stop.set()
    used.result()
    assert counted == [12 + 9] * 12
    assert not any("call" in layer.__dict__ for layer in [model, *model.layers])


class Fails(layers.Layer):
    fail = False

    def call(self, inputs):
        if self.fail:
            raise RuntimeError("on purpose")
        return inputs


def test_an_exception_leaves_the_model_as_it_was():
    failing = Fails()
    model = keras.Sequential(
        [keras.Input((4,)), Counter(), layers.Dense(3), failing, layers.Dense(3)]
    )
    failing.fail = True
    before = snapshot(model)
    with pytest.raises(RuntimeError, match="on purpose"):
        report(model)
    assert snapshot(model) == before
    assert not any("call" in layer.__dict__ for layer in [model, *model.layers])
    failing.fail = False
    assert only(model)[0].multiply_adds == 12 + 9
