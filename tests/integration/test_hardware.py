"""A packed fixed-point model as JSON: enough to compute it without Keras."""

import json

import keras
import numpy as np
import pytest
from keras import layers as kl

import keras_compress as kc

RANDOM = np.random.default_rng(0)
Q = kc.QFormat


def packed(config):
    model = keras.Sequential(
        [
            keras.Input((6, 6, 2)),
            kl.Conv2D(3, 3, activation="relu", name="conv"),
            kl.Flatten(name="flat"),
            kl.Dense(4, name="fc"),
        ]
    )
    for variable in model.trainable_variables:
        variable.assign(RANDOM.standard_normal(variable.shape) / 4)
    return kc.pack(kc.swap(model, config))


def quantized(x, format):
    """Whole numbers of a format, by the words of the description."""
    count = 2 ** (format["integer_bits"] + format["fraction_bits"])
    codes = np.rint(np.asarray(x, float) * 2.0 ** format["fraction_bits"])
    return codes.clip(-count if format["signed"] else 0, count - 1).astype(int)


def test_it_is_enough_to_compute_the_model(tmp_path):
    config = kc.FixedPoint(
        kernel=Q(1, 6), bias=Q(1, 9), inputs=Q(2, 5), outputs=Q(2, 4, signed=False)
    )
    model = packed(config)
    kc.describe_hardware(model, tmp_path / "model.json")
    description = json.loads((tmp_path / "model.json").read_text())
    conv, flat, fc = description["layers"]
    assert (conv["kind"], flat["kind"], fc["kind"]) == (
        *("IntegerConv2D", "Flatten", "IntegerDense"),
    )
    assert (flat["inputs"], fc["inputs"]) == (["conv"], ["flat"])
    x = RANDOM.standard_normal((5, 6, 6, 2)).astype("float32")
    rows = quantized(x, conv["input"])
    weights = np.array(conv["weights"]["integers"])
    sums = np.zeros((5, 4, 4, 3), int)
    for i in range(3):
        for j in range(3):
            sums += rows[:, i : i + 4, j : j + 4] @ weights[i, j]
    sums += np.array(conv["bias"]["integers"])
    assert np.abs(sums).max() < 2 ** (conv["sums"]["bits"] - 1)
    values = sums / 2.0 ** np.array(conv["sums"]["fraction_bits"])
    hidden = quantized(np.maximum(values, 0), conv["output"])
    assert conv["output"]["ap_fixed"] == "ap_ufixed<6,2,AP_RND_CONV,AP_SAT>"
    assert fc["input"]["fraction_bits"] == conv["output"]["fraction_bits"]
    sums = hidden.reshape(5, -1) @ np.array(fc["weights"]["integers"])
    sums = sums + np.array(fc["bias"]["integers"])
    values = sums / 2.0 ** np.array(fc["sums"]["fraction_bits"])
    found = quantized(values, fc["output"]) / 2.0 ** fc["output"]["fraction_bits"]
    np.testing.assert_array_equal(model.predict(x, verbose=0), found)


def test_what_is_no_integer_model_is_refused(tmp_path):
    model = keras.Sequential([keras.Input((3,)), kl.Dense(2)])
    with pytest.raises(ValueError, match="integer layers"):
        kc.describe_hardware(model)
    model = packed(kc.FixedPoint(kernel=Q(1, 6), inputs=Q(2, 5)))
    assert kc.describe_hardware(model)["layers"][0]["output"] is None
    assert "floats" in kc.describe_hardware(model)["layers"][0]["bias"]
    (tmp_path / "there").write_text("")
    with pytest.raises(ValueError, match="nothing is yet"):
        kc.describe_hardware(model, tmp_path / "there")


def test_operations_and_nested_layers_are_told_apart():
    def named(tensor, name):
        tensor._keras_history.operation.name = name
        return tensor

    def block(name):
        inputs = keras.Input((4,))
        wave = named(keras.ops.sin(kl.Dense(4, name="fc")(inputs)), "wave")
        return keras.Model(inputs, wave, name=name)

    inputs = keras.Input((4,), name="in")
    sums = named(block("one")(inputs) + block("two")(inputs), "sum")
    last = kl.Dense(2, name="fc")(named(3.0 - sums, "less"))
    model = keras.Model(inputs, named(last * last, "end"))
    model = kc.pack(kc.swap(model, kc.FixedPoint(kernel=Q(1, 6), inputs=Q(2, 5))))
    layers = kc.describe_hardware(model)["layers"]
    found = {layer["name"]: layer for layer in layers}
    assert len(found) == len(layers)
    known = set()
    for layer in layers:
        assert set(layer["inputs"]) <= known
        known.add(layer["name"])
    inputs = {name: found[name]["inputs"] for name in found}
    assert (inputs["wave"], inputs["wave'"]) == (["one/fc"], ["two/fc"])
    assert inputs["sum"] == ["wave", "wave'"]
    assert (inputs["fc"], inputs["end"]) == (["less"], ["fc"])
    assert found["less"]["calls"] == [{"args": [3.0, None], "kwargs": {}}]
    assert found["end"]["kind"] == "Multiply"
