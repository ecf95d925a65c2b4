"""`analysis.choose_ranks`: by rule and for budgets, and what `swap` makes of it."""

import keras
import numpy as np
import pytest
from model_cases import convolutional, nested, samples, scramble

import keras_compress as kc
from keras_compress.analysis import choose_ranks


def model_with_ranks(**ranks):
    """Layers of 32 x 32 whose kernels are of these ranks, and a little noise."""
    layers = [keras.layers.Dense(32, name=name) for name in ranks]
    model = keras.Sequential([keras.Input((32,)), *layers])
    random = np.random.default_rng(0)
    for layer, rank in zip(layers, ranks.values(), strict=True):
        left, right = random.standard_normal((2, 32, rank)) / np.sqrt(6.0)
        noise = 0.01 * random.standard_normal((32, 32))
        layer.kernel.assign(left @ right.T + noise)
    return model


def ranks_of(choice):
    return {path: config.rank for path, config in choice.items()}


@pytest.mark.parametrize("rule", ["gavish_donoho", "evbmf"])
def test_rules_find_the_ranks(rule):
    choice = choose_ranks(model_with_ranks(a=3, b=6), rule=rule)
    assert ranks_of(choice) == {"a": 3, "b": 6}


def test_what_does_not_pay_is_in_the_table_alone():
    model = model_with_ranks(a=3, b=30)
    choice = choose_ranks(model, energy=0.99)
    assert ranks_of(choice) == {"a": 3}
    assert [layer.rank for layer in choice.layers] == [3, None]
    kinds = [type(layer).__name__ for layer in kc.swap(model, choice).layers]
    assert kinds == ["LowRankDense", "Dense"]


@pytest.mark.parametrize("what", ["params", "multiply_adds"])
@pytest.mark.parametrize("amount", [0.5, 1500])
def test_budgets_are_met_and_spent_where_they_are_needed(what, amount):
    model = model_with_ranks(a=2, b=12, c=2)
    choice = choose_ranks(model, **{what: amount})
    small = kc.swap(model, choice)
    cost = kc.report(small).models[0]
    found = cost.weights if what == "params" else cost.multiply_adds
    budget = amount if amount > 1 else 0.5 * 3 * 32 * 32
    assert 0.5 * budget < found <= budget
    ranks = {"a": 32, "b": 32, "c": 32} | ranks_of(choice)
    assert ranks["b"] > ranks["a"]
    assert ranks["b"] > ranks["c"]
    assert found == sum(
        getattr(x, f"kept_{what}".replace("params", "weights")) for x in choice.layers
    )


def test_multiply_adds_of_a_free_axis_are_those_of_the_data():
    layers = [
        keras.Input((None, 32)),
        keras.layers.Dense(32, name="steps"),
        keras.layers.GlobalAveragePooling1D(),
        keras.layers.Dense(32, name="head"),
    ]
    model = keras.Sequential(layers)
    data = np.ones((4, 5, 32), "float32")
    choice = choose_ranks(model, energy=0.5)
    assert [layer.multiply_adds for layer in choice.layers] == [None, None]
    assert [layer.kept_multiply_adds for layer in choice.layers] == [None, None]
    assert str(choice).splitlines()[-1].split()[-1] == "-"
    choose_ranks(model, params=0.5)
    for arguments in ({"energy": 0.5}, {"params": 0.5}, {"multiply_adds": 0.5}):
        choice = choose_ranks(model, **arguments, data=data)
        work = [layer.multiply_adds for layer in choice.layers]
        assert work == [5 * 1024, 1024]
    with pytest.raises(ValueError, match="`data` must be given with `multiply_adds`"):
        choose_ranks(model, multiply_adds=0.5)


def test_measured_sensitivity_sees_what_the_spectrum_does_not():
    """Two kernels alike, but what one of them gives hardly counts."""
    inputs = keras.Input((32,))
    layers = [keras.layers.Dense(32, name=name) for name in ("loud", "faint")]
    loud, faint = (layer(inputs) for layer in layers)
    model = keras.Model(inputs, loud + keras.layers.Rescaling(0.01)(faint))
    kernel = np.random.default_rng(0).standard_normal((32, 32))
    for layer in layers:
        layer.kernel.assign(kernel)
    data = np.random.default_rng(3).standard_normal((64, 32)).astype("float32")
    blind = choose_ranks(model, params=0.6)
    seeing = choose_ranks(model, params=0.6, data=data)
    assert "loud" not in seeing
    errors = [
        np.linalg.norm(kc.swap(model, choice)(data) - model(data))
        for choice in (blind, seeing)
    ]
    assert errors[1] < 0.1 * errors[0]
    relative = errors[1] / np.linalg.norm(model(data))
    assert seeing.error == pytest.approx(relative, rel=1e-3)
    assert blind.error is None


@pytest.mark.parametrize("most", [0.05, 0.5])
def test_the_error_is_kept(most):
    model = model_with_ranks(a=3, b=8, c=5)
    data = np.random.default_rng(3).standard_normal((64, 32)).astype("float32")
    choice = choose_ranks(model, max_error=most, data=data)
    small = kc.swap(model, choice)
    error = np.linalg.norm(small(data) - model(data)) / np.linalg.norm(model(data))
    assert error <= most
    assert choice.error == pytest.approx(error, rel=1e-3)
    assert small.count_params() < model.count_params()


def test_convolutions_and_nested_models():
    model = convolutional()
    scramble(model)
    choice = choose_ranks(model, params=0.7, data=samples(model), where="conv*")
    assert set(choice) <= {"conv1", "conv2"}
    assert kc.swap(model, choice).output_shape == model.output_shape
    for method in ("tucker", "cp"):
        choice = choose_ranks(model, params=0.7, method=method)
        assert {config.method for config in choice.values()} == {method}
    model = nested()
    scramble(model)
    # Names such as fc1 mean layers inside as well: the paths come first.
    choice = choose_ranks(model, energy=0.9)
    assert next(iter(choice)).count("/") == 2
    kc.swap(model, choice)


def test_table_and_plot(tmp_path):
    choice = choose_ranks(model_with_ranks(a=3, b=30), energy=0.99)
    text = str(choice)
    assert "dense of 32" in text
    assert "1,024 -> 192" in text
    assert choice.to_markdown().startswith("| layer")
    assert choice.plot(tmp_path / "ranks.png").stat().st_size > 1000
    with pytest.raises(ValueError, match="`path` must be a path that ends in"):
        choice.plot(tmp_path / "ranks.doc")


def test_the_source_is_left_as_it_is():
    model = model_with_ranks(a=3, b=6)
    before = [variable.numpy() for variable in model.variables]
    choose_ranks(model, max_error=0.1, data=np.ones((4, 32)))
    for old, variable in zip(before, model.variables, strict=True):
        np.testing.assert_array_equal(old, variable.numpy())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "exactly one of .* Received: none of them"),
        ({"energy": 0.9, "params": 0.5}, "exactly one of .*'params': 0.5"),
        ({"energy": 0.0}, r"`energy` must be a number in \(0, 1\]"),
        ({"rule": "elbow"}, "`rule` must be one of 'gavish_donoho'"),
        ({"params": 2.0}, "`params` must be an integer >= 1 or a share"),
        ({"params": 3}, "`params` must be at least 64 for"),
        ({"multiply_adds": 0}, "`multiply_adds` must be an integer >= 1 or a share"),
        ({"max_error": 0.1}, "`data` must be given with `max_error`"),
        ({"max_error": 1.0, "data": np.ones((2, 32))}, "`max_error` must be a number"),
        ({"energy": 0.9, "method": "qr"}, "`method` must be one of"),
        ({"energy": 0.9, "where": "conv*"}, "No layer of .* 'conv"),
        ({"energy": 0.9, "data": np.ones((2, 31))}, "`data` must be arrays of shape"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        choose_ranks(model_with_ranks(a=3), **arguments)
