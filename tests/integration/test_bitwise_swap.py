"""Swapping to bitwise layers: activations between them, codings before them."""

import keras
import numpy as np
import pytest
from keras import layers as kl

import keras_compress as kc

RANDOM = np.random.default_rng(0)


def dense_model(activation="relu", **first):
    model = keras.Sequential(
        [
            keras.Input((8,), **first),
            kl.Dense(6, activation=activation, name="fc1"),
            kl.Dropout(0.1, name="drop"),
            kl.Dense(5, activation=activation, name="fc2"),
            kl.Dense(3, activation="softmax", name="fc3"),
        ]
    )
    scramble(model)
    return model


def scramble(model):
    for variable in model.trainable_variables:
        variable.assign(0.3 * RANDOM.standard_normal(variable.shape))


def activations(model):
    """Of every layer with one: "bitwise", or the name of the function."""
    return {
        x.name: x.get_config()["activation"]
        for x in model.layers
        if hasattr(x, "activation")
    }


def test_the_activation_between_two_bitwise_layers_becomes_bitwise():
    model = dense_model()
    small = kc.swap(model, kc.Bitwise())
    assert [type(x).__name__ for x in small.layers] == [
        *("BitwiseDense", "Dropout", "BitwiseDense", "BitwiseDense")
    ]
    assert activations(small) == {"fc1": "bitwise", "fc2": "bitwise", "fc3": "softmax"}
    assert activations(model)["fc1"] == "relu"
    for x in model.layers:
        if x.weights:
            np.testing.assert_array_equal(x.kernel, small.get_layer(x.name).kernel)


def test_a_tanh_network_computes_the_same_in_the_stages_0_and_1():
    model, inputs = dense_model("tanh"), RANDOM.standard_normal((9, 8))
    small = kc.swap(model, kc.Bitwise())
    np.testing.assert_array_equal(small(inputs), model(inputs))
    for layer in small.layers:
        if hasattr(layer, "compress"):
            layer.compress()
    inside = [np.abs(v.numpy()).max() < 0.99 for v in model.trainable_variables]
    assert all(inside), "else the clipped weights compute something else"
    np.testing.assert_allclose(small(inputs), model(inputs), rtol=1e-4)


def test_activations_that_are_layers_behind_a_normalisation():
    model = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            kl.Conv2D(4, 3, name="conv1"),
            kl.BatchNormalization(name="bn"),
            kl.ReLU(name="relu1"),
            kl.MaxPooling2D(name="pool"),
            kl.Conv2D(4, 3, name="conv2"),
            kl.Activation("relu", name="relu2"),
            kl.Flatten(name="flat"),
            kl.Dense(3, name="fc"),
            kl.Softmax(name="softmax"),
        ]
    )
    small = kc.swap(model, kc.Bitwise())
    kinds = {x.name: type(x).__name__ for x in small.layers}
    assert kinds["relu1"] == kinds["relu2"] == "BitwiseActivation"
    assert kinds["softmax"] == "Softmax"
    assert small.get_layer("relu1").straight_through == "plain"
    lecture = kc.swap(model, kc.Bitwise(gradient="lecture"))
    assert lecture.get_layer("relu1").straight_through == "tanh"
    for layer in small.layers:
        if hasattr(layer, "binarize"):
            layer.binarize()
    sums = keras.Model(small.inputs, small.get_layer("fc").output)(
        RANDOM.standard_normal((2, 8, 8, 1))
    )
    np.testing.assert_array_equal(sums, np.round(sums))


def test_an_activation_that_others_read_stays():
    x = keras.Input((8,))
    a = kl.Dense(8, activation="tanh", name="a")(x)
    b = kl.Dense(8, activation="tanh", name="b")(a)
    c = kl.Dense(8, activation="tanh", name="c")(kl.Add()([a, b]))
    model = keras.Model(x, [c, kl.Dense(2, name="d")(c)])
    small = kc.swap(model, kc.Bitwise())
    found = activations(small)
    # a and b go to a sum, c is an output.
    assert found == dict.fromkeys("abc", "tanh") | {"d": "linear"}


def test_real_layers_at_the_ends_are_the_users_choice():
    small = kc.swap(dense_model("tanh"), kc.Bitwise(), where=["fc2"])
    assert activations(small)["fc1"] == activations(small)["fc2"] == "tanh"


REFUSED = [
    lambda: (dense_model(), {"where": ["fc2", "fc3"]}),
    lambda: (dense_model("tanh", dtype="uint8"), {}),
    lambda: (dense_model("tanh"), {"data": np.zeros((4, 8))}),
]


@pytest.mark.parametrize("case", REFUSED)
def test_inputs_that_cannot_be_negative_need_a_coding(case):
    model, arguments = case()
    with pytest.raises(ValueError, match=r"'fc[12]' cannot be negative.*'bipolar'"):
        kc.swap(model, kc.Bitwise(), **arguments)
    small = kc.swap(model, kc.Bitwise(inputs="bipolar"), **arguments)
    coded = [x.name for x in small.layers if getattr(x, "inputs", "sign") != "sign"]
    assert coded == [arguments.get("where", ["fc1"])[0]]


def test_inputs_of_either_sign_need_none():
    data = RANDOM.standard_normal((4, 8))
    kc.swap(dense_model("tanh"), kc.Bitwise(), data=data)
    small = kc.swap(dense_model("tanh"), kc.Bitwise(inputs="bits"), data=data)
    assert small.get_layer("fc1").inputs == "sign"


def test_data_must_fit_the_model_and_be_of_use():
    with pytest.raises(ValueError, match="`data` must be one array for each of 1"):
        kc.swap(dense_model(), kc.Bitwise(), data=[np.ones(8), np.ones(8)])
    with pytest.raises(ValueError, match="`data` must be None: no config here"):
        kc.swap(dense_model(), kc.Prune(), data=np.ones((4, 8)))


def test_through_nested_models_wrappers_and_operations():
    inner = keras.Sequential(
        [keras.Input((8,)), kl.Dense(8, activation="relu", name="in")], name="inner"
    )
    x = keras.Input((3, 8))
    y = kl.TimeDistributed(inner, name="each")(x)
    y = kl.TimeDistributed(kl.Dense(4, activation="relu", name="fc"), name="all")(y)
    y = kl.Dense(2, name="last")(keras.ops.relu(y))
    model = keras.Model(x, y)
    with pytest.raises(ValueError, match="'last' cannot be negative"):
        kc.swap(model, kc.Bitwise())
    small = kc.swap(model, kc.Bitwise(inputs="bipolar"))
    each = small.get_layer("each").layer.layers[0]
    assert each.get_config()["activation"] == "bitwise"
    assert each.inputs == "bipolar"
    fc = small.get_layer("all").layer
    assert fc.get_config()["activation"] == "relu", "an operation reads it"
    assert fc.inputs == "sign"
    assert small.get_layer("last").inputs == "bipolar"


@pytest.mark.parametrize("bits", [1, 2, 8])
def test_coded_layers_compute_on_the_code_what_it_stands_for(bits):
    model = dense_model("tanh")
    config = kc.Bitwise(inputs="bits", bits=bits)
    small = kc.swap(model, config, where="fc1")
    levels = (RANDOM.integers(0, 2**bits, (5, 8)) + 0.5) / 2**bits
    np.testing.assert_allclose(small(levels), model(levels), rtol=1e-4)


def test_bipolar_and_zero_one_inputs_compute_the_same_on_zeros_and_ones():
    model = keras.Sequential(
        [
            keras.Input((6, 6, 2)),
            kl.Conv2D(4, 3, activation="tanh", name="conv"),
            kl.Flatten(),
            kl.Dense(3),
        ]
    )
    scramble(model)
    images = RANDOM.integers(0, 2, (3, 6, 6, 2)).astype("float32")
    for inputs in ("bipolar", "zero_one"):
        small = kc.swap(model, kc.Bitwise(inputs=inputs), where="conv")
        assert small.get_layer("conv").inputs == inputs
        np.testing.assert_allclose(small(images), model(images), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("inputs", ["sign", "bits"])
def test_the_mask_of_a_pruned_layer_is_taken_over(inputs):
    pruned = kc.swap(dense_model("tanh"), kc.Prune())
    for layer in pruned.layers:
        if hasattr(layer, "prune"):
            layer.prune(sparsity=0.5)
    small = kc.swap(pruned, kc.Bitwise(inputs=inputs))
    assert small.get_layer("fc1").sparsity == 0.5
    np.testing.assert_array_equal(
        small.get_layer("fc2").mask, pruned.get_layer("fc2").mask
    )
    levels = (RANDOM.integers(0, 4, (5, 8)) + 0.5) / 4
    np.testing.assert_allclose(small(levels), pruned(levels), rtol=1e-4)
    small.get_layer("fc2").binarize()
    kept = pruned.get_layer("fc2").mask.numpy()
    np.testing.assert_array_equal(small.get_layer("fc2").ternary_kernel != 0, kept)


def test_swapping_again_changes_how_it_trains_and_keeps_the_rest():
    small = kc.swap(dense_model("tanh"), kc.Bitwise(inputs="bits"))
    small.get_layer("fc2").binarize(sparsity=0.25)
    again = kc.swap(small, kc.Bitwise(gradient="lecture"))
    assert again.get_layer("fc1").inputs == "bits"
    assert again.get_layer("fc1").gradient == "lecture"
    assert activations(again) == activations(small)
    inputs = RANDOM.random((4, 8))
    np.testing.assert_array_equal(again(inputs), small(inputs))


def test_a_mapping_sees_the_bitwise_layers_of_all_its_configs():
    config = {"fc1": kc.Bitwise(scale=True), "fc*": kc.Bitwise()}
    small = kc.swap(dense_model(), config)
    assert activations(small)["fc1"] == "bitwise"
    assert small.get_layer("fc1").scale
    assert not small.get_layer("fc2").scale


def test_a_swapped_model_survives_a_file(tmp_path):
    small = kc.swap(dense_model(), kc.Bitwise(inputs="bits", scale=True))
    small.get_layer("fc2").binarize(sparsity=0.25)
    small.save(tmp_path / "small.keras")
    loaded = keras.models.load_model(tmp_path / "small.keras")
    inputs = RANDOM.random((4, 8))
    np.testing.assert_array_equal(loaded(inputs), small(inputs))


def test_many_branches_are_looked_at_once():
    x = keras.Input((4,))
    y = kl.Dense(4, activation="tanh")(x)
    for _ in range(40):
        y = kl.Add()([kl.Dropout(0.1)(y), kl.Identity()(y)])
    model = keras.Model(x, kl.Dense(2)(y))
    kc.swap(model, kc.Bitwise())


def test_pack_says_what_to_do():
    small = kc.swap(dense_model(), kc.Bitwise())
    with pytest.raises(
        ValueError, match=r"'fc1' in stage 0\. .*Binarization.*binarize"
    ):
        kc.pack(small)
    for layer in small.layers:
        if hasattr(layer, "compress"):
            layer.compress()
    with pytest.raises(ValueError, match="in stage 1"):
        kc.pack(small)


def test_configs_compare_and_go_to_json_and_back():
    config = kc.Bitwise(inputs="bits", bits=3, straight_through="approx")
    again = keras.saving.deserialize_keras_object(
        keras.saving.serialize_keras_object(config)
    )
    assert again == config
    assert hash(again) == hash(config)
