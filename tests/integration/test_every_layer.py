"""What every training layer promises, one test a promise, one row a layer."""

import inspect

import keras
import numpy as np
import pytest
import tensorflow as tf
from layer_cases import CASES, WITHOUT_PARENT

import keras_compress as kc
from keras_compress.layers._config import copy_variables

POLICIES = ["float32", "mixed_float16", "mixed_bfloat16"]

every_layer = pytest.mark.parametrize("case", CASES, ids=str)


def built(case, layer_class=None, **arguments):
    needs = {} if layer_class or case.has_off else case.needs
    layer = (layer_class or case.layer)(**case.arguments, **needs, **arguments)
    layer.build((None, *case.input_shape))
    return layer


def scramble(layer, seed=1):
    """Zero biases would let a forgotten bias pass."""
    random = np.random.default_rng(seed)
    for variable in layer.trainable_variables:
        variable.assign(random.standard_normal(variable.shape))


def samples(case, count=8, seed=2):
    shape = (count, *case.input_shape)
    return np.random.default_rng(seed).standard_normal(shape).astype("float32")


def model_of(case, policy="float32", **arguments):
    arguments = {**case.all_arguments, **arguments}
    layer = case.layer(**arguments, dtype=policy, name="layer")
    model = keras.Sequential([keras.Input(case.input_shape), layer])
    scramble(layer)
    return model


def targets(model, inputs):
    random = np.random.default_rng(3)
    return random.standard_normal(model.predict(inputs, verbose=0).shape)


def test_there_is_a_row_for_every_public_layer():
    public = {
        value
        for value in vars(kc.layers).values()
        if inspect.isclass(value) and issubclass(value, keras.layers.Layer)
    }
    assert public - WITHOUT_PARENT == {case.layer for case in CASES}


@every_layer
@pytest.mark.parametrize("policy", POLICIES)
def test_equals_its_keras_parent_when_off(case, policy):
    layer = built(case, dtype=policy, activation="tanh")
    parent = built(case, case.parent, dtype=policy, activation="tanh")
    scramble(layer)
    copy_variables(layer, parent)
    inputs = samples(case)
    if case.has_off:
        np.testing.assert_array_equal(layer(inputs), parent(inputs))
        return
    # It has no kernel of its own: its factors' product must be the parent's.
    parent.kernel.assign(layer.effective_kernel())
    tolerance = 1e-6 if policy == "float32" else 0.1
    outputs, expected = (np.asarray(x(inputs), "float32") for x in (layer, parent))
    np.testing.assert_allclose(outputs, expected, rtol=0, atol=tolerance)


@every_layer
def test_equals_its_keras_parent_when_off_in_training(case):
    if not case.has_off:
        pytest.skip("it has no kernel to be trained as its parent's")
    inputs = samples(case)
    losses = []
    for layer_class in (case.layer, case.parent):
        layer = built(case, layer_class if layer_class is case.parent else None)
        scramble(layer)
        model = keras.Sequential([keras.Input(case.input_shape), layer])
        model.compile("sgd", "mse")
        history = model.fit(
            inputs, targets(model, inputs), epochs=3, shuffle=False, verbose=0
        )
        losses.append(history.history["loss"])
    np.testing.assert_array_equal(*losses)


@every_layer
def test_takes_every_argument_of_its_parent(case):
    known = set(inspect.signature(case.parent.__init__).parameters)
    refused = {"self", "kwargs", "lora_rank", "lora_alpha", "quantization_config"}
    always = {"groups", "data_format", "dilation_rate"} | set(case.arguments)
    assert known - refused - always <= set(case.parent_arguments)
    layer = case.layer(**case.all_arguments, **case.parent_arguments)
    parent = case.parent(**case.arguments, **case.parent_arguments)
    ours, theirs = layer.get_config(), parent.get_config()
    assert {name: ours[name] for name in theirs} == theirs


@every_layer
def test_config_round_trip(case):
    layer = case.layer(**case.arguments, **{**case.needs, **case.own_arguments})
    again = case.layer.from_config(layer.get_config())
    assert again.get_config() == layer.get_config()
    for name, value in case.own_arguments.items():
        # Keras's convolutions have a `rank` of their own: the number of axes.
        if not (name == "rank" and hasattr(again, "kernel_rank")):
            assert getattr(again, name) == value
        held = again.get_config()[name]
        if isinstance(held, dict):
            held = keras.saving.deserialize_keras_object(held)
        assert held == value


@every_layer
def test_fit_lowers_the_loss(case):
    model = model_of(case, **case.on)
    case.compress(model.layers[0])
    model.compile(keras.optimizers.Adam(0.01), "mse")
    inputs = samples(case, 64)
    history = model.fit(inputs, targets(model, inputs), epochs=10, verbose=0)
    assert history.history["loss"][-1] < 0.9 * history.history["loss"][0]


@every_layer
@pytest.mark.parametrize("policy", POLICIES)
def test_a_keras_file_keeps_every_variable_bit_for_bit(case, policy, tmp_path):
    model = model_of(case, policy, **{**case.on, **case.own_arguments})
    model.compile("adam", "mse")
    inputs = samples(case)
    # The optimizer's state as after a fit, without the seconds of one.
    model.optimizer.build(model.trainable_variables)
    random = np.random.default_rng(3)
    for variable in model.optimizer.variables[2:]:
        variable.assign(random.random(variable.shape))
    case.compress(model.layers[0])
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    for before, after in zip(
        model.variables + model.optimizer.variables,
        loaded.variables + loaded.optimizer.variables,
        strict=True,
    ):
        assert before.dtype == after.dtype
        np.testing.assert_array_equal(before.numpy(), after.numpy())
    np.testing.assert_array_equal(model(inputs), loaded(inputs))


@every_layer
def test_weights_survive_a_weights_file(case, tmp_path):
    model, other = model_of(case, **case.on), model_of(case, **case.on)
    case.compress(model.layers[0])
    model.save_weights(tmp_path / "model.weights.h5")
    other.load_weights(tmp_path / "model.weights.h5")
    inputs = samples(case)
    np.testing.assert_array_equal(model(inputs), other(inputs))


@every_layer
def test_a_model_that_trained_packs_and_exports_to_the_same(case, tmp_path):
    model = model_of(case, **case.on)
    case.compress(model.layers[0])
    inputs = samples(case)
    expected = model.predict(inputs, verbose=0)
    if not case.packs:
        with pytest.raises(ValueError, match="not in this version"):
            kc.pack(model)
    packed = kc.pack(model) if case.packs else model
    for name, portable in (("native", False), ("portable", True)):
        path = kc.export(packed, tmp_path / name, portable=portable)
        loaded = tf.saved_model.load(path)
        outputs = loaded.serve(tf.constant(inputs))
        np.testing.assert_allclose(outputs, expected, rtol=1e-5, atol=1e-5)


@every_layer
def test_trains_compiled(case):
    model = model_of(case, **case.on)
    case.compress(model.layers[0])
    model.compile("adam", "mse", jit_compile=True)
    inputs = samples(case)
    history = model.fit(inputs, targets(model, inputs), verbose=0)
    assert np.isfinite(history.history["loss"][0])


@every_layer
def test_trains_under_a_mirrored_strategy(case, two_replicas):
    with two_replicas.scope():
        model = model_of(case, **case.on)
        model.compile("adam", "mse")
    case.compress(model.layers[0])
    inputs = samples(case, 16)
    data = tf.data.Dataset.from_tensor_slices((inputs, targets(model, inputs)))
    history = model.fit(data.batch(8), epochs=2, verbose=0)
    assert np.isfinite(history.history["loss"][-1])


@every_layer
def test_swap_turns_the_parent_into_the_layer_and_changes_nothing(case):
    parent = case.parent(**case.arguments, activation="relu", name="layer")
    model = keras.Sequential([keras.Input(case.input_shape), parent])
    scramble(parent)
    swapped = model
    for config in case.configs:
        swapped = kc.swap(swapped, config)
    assert type(swapped.layers[0]) is case.layer
    inputs = samples(case)
    tolerance = 0.0 if case.is_exact else 1e-5
    np.testing.assert_allclose(
        swapped(inputs), model(inputs), rtol=tolerance, atol=tolerance
    )


@every_layer
def test_swapping_again_keeps_the_state(case):
    model = model_of(case, **case.on)
    case.compress(model.layers[0])
    again = kc.swap(model, case.configs[-1])
    for before, after in zip(model.variables, again.variables, strict=True):
        np.testing.assert_array_equal(before.numpy(), after.numpy())


@every_layer
def test_refuses_what_would_bypass_the_technique(case):
    layer = built(case)
    with pytest.raises(NotImplementedError, match="LoRA"):
        layer.enable_lora(2)
    with pytest.raises(NotImplementedError, match="quantize"):
        layer.quantize("int8")
    with pytest.raises(ValueError, match="`lora_rank` must be None"):
        case.layer(**case.all_arguments, lora_rank=2)
    with pytest.raises(ValueError, match="`dtype` must be a policy without"):
        case.layer(**case.all_arguments, dtype="int8_from_float32")


@every_layer
def test_an_unknown_argument_is_refused(case):
    with pytest.raises((TypeError, ValueError), match="no_such_argument"):
        case.layer(**case.all_arguments, no_such_argument=1)
