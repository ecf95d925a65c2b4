"""`analysis.sensitivity`: each layer alone, its table, its picture and its budgets."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_compress as kc
from keras_compress.analysis.sensitivity_result import LayerSensitivity, Sensitivity
from keras_compress.functional import budgets

RANDOM = np.random.default_rng(0)
X = RANDOM.standard_normal((256, 12)).astype("float32")
Y = (X @ RANDOM.standard_normal((12, 3))).argmax(axis=1)


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    layers = [
        keras.Input((12,)),
        keras.layers.Dense(16, activation="relu", name="fc1"),
        keras.layers.Dense(8, activation="relu", name="fc2"),
        keras.layers.Dense(3, activation="softmax", name="fc3"),
    ]
    model = keras.Sequential(layers)
    adam = keras.optimizers.Adam(0.03)
    loss = "sparse_categorical_crossentropy"
    model.compile(adam, loss, metrics=["accuracy"])
    model.fit(X, Y, epochs=15, verbose=0)
    return model


def wrong(model):
    return float(np.mean(model.predict(X, verbose=0).argmax(axis=1) != Y))


@pytest.mark.parametrize("kind", ["arrays", "dataset"])
def test_each_point_is_one_layer_pruned_alone(model, kind):
    data = (X, Y)
    if kind == "dataset":
        data = tf.data.Dataset.from_tensor_slices(data).batch(64)
    before = [x.numpy() for x in model.variables]
    found = kc.analysis.sensitivity(model, data, levels=[0.9, 0.5], where="fc[12]")
    for old, new in zip(before, model.variables, strict=True):
        np.testing.assert_array_equal(old, new.numpy())
    assert [layer.path for layer in found.layers] == ["fc1", "fc2"]
    assert found.baseline == pytest.approx(wrong(model), abs=1e-6)
    for layer in found.layers:
        assert layer.levels == (0.5, 0.9)
        for level, error in zip(layer.levels, layer.errors, strict=True):
            copy = keras.models.clone_model(model)
            copy.set_weights(model.get_weights())
            kernel = copy.get_layer(layer.path).kernel
            mask = kc.functional.masks.magnitude_mask(kernel.numpy(), level)
            kernel.assign(kernel.numpy() * mask)
            assert error == pytest.approx(wrong(copy), abs=1e-6)
    assert [layer.weights for layer in found.layers] == [192, 128]
    assert [layer.multiply_adds for layer in found.layers] == [192, 128]


def test_every_point_retrains_from_the_same_weights(model):
    found = [
        kc.analysis.sensitivity(
            model,
            (X, Y),
            levels=levels,
            where="fc1",
            retrain=3,
            train_data=tf.data.Dataset.from_tensor_slices((X, Y)).batch(32),
        )
        for levels in ([0.5, 0.95], [0.95])
    ]
    (both,), (alone,) = found[0].layers, found[1].layers
    assert both.retrained[1] == pytest.approx(alone.retrained[0], abs=1e-6)
    assert both.errors[1] == alone.errors[0]
    assert both.retrained[1] < both.errors[1]
    assert found[0].epochs == 3


def test_masks_hold_while_retraining(model):
    seen = []

    def zeros(candidate):
        kernel = candidate.layers[0].kernel
        if hasattr(candidate.layers[0], "effective_kernel"):
            kernel = candidate.layers[0].effective_kernel()
        seen.append(int(np.count_nonzero(np.asarray(kernel) == 0)))
        return 0.5

    kc.analysis.sensitivity(
        model,
        None,
        where="fc1",
        levels=[0.75],
        error=zeros,
        retrain=1,
        train_data=(X, Y),
    )
    assert seen == [0, 144, 144]


def test_a_pattern_is_tried_as_far_as_it_goes(model):
    technique = kc.Prune(pattern="2:4")
    found = kc.analysis.sensitivity(model, (X, Y), technique, levels=[0.25, 0.5, 0.75])
    assert {layer.levels for layer in found.layers} == {(0.25, 0.5)}


def test_low_rank_and_fixed_point(model):
    found = kc.analysis.sensitivity(
        model, (X, Y), kc.LowRank(rank=1), levels=[0.25, 0.75], where="fc1"
    )
    assert found.title == "weights saved"
    config = kc.LowRank(params=0.25, force=True)
    expected = wrong(kc.swap(model, config, where="fc1"))
    assert found.layers[0].errors[1] == pytest.approx(expected, abs=1e-6)
    q = kc.QFormat(None, 6)
    technique = kc.FixedPoint(kernel=q, bias=q)
    found = kc.analysis.sensitivity(model, (X, Y), technique, levels=[4, 0])
    assert found.title == "fraction bits"
    q = kc.QFormat(None, 0)
    small = kc.swap(model, kc.FixedPoint(kernel=q, bias=q), where="fc2")
    assert found.layers[1].errors[1] == pytest.approx(wrong(small), abs=1e-6)
    with pytest.raises(ValueError, match="`technique` must be that of pruning"):
        found.budget(weights=0.5)


def sequence_model():
    """A model whose examples are as long as they are."""
    layers = [
        keras.Input((None, 8)),
        keras.layers.Dense(16, name="steps"),
        keras.layers.GlobalAveragePooling1D(),
        keras.layers.Dense(3, name="head"),
    ]
    model = keras.Sequential(layers)
    model.compile("sgd", "mse")
    return model


@pytest.mark.parametrize("kind", ["arrays", "dataset", "train_data", "none"])
def test_a_free_axis_is_as_long_as_that_of_the_data(kind):
    pair = np.ones((8, 5, 8), "float32"), np.ones((8, 3), "float32")
    arguments = {"data": pair}
    if kind == "dataset":
        arguments["data"] = tf.data.Dataset.from_tensor_slices(pair).batch(4)
    elif kind in ("train_data", "none"):
        arguments = {"data": None, "error": lambda model: 0.5}
        if kind == "train_data":
            arguments["train_data"] = pair
    found = kc.analysis.sensitivity(sequence_model(), levels=[0.5], **arguments)
    assert [layer.weights for layer in found.layers] == [128, 48]
    work = [layer.multiply_adds for layer in found.layers]
    assert work == ([None, None] if kind == "none" else [5 * 128, 48])
    assert found.budget(weights=0.5) == {"steps": 0.5, "head": 0.5}
    if kind == "none":
        with pytest.raises(ValueError, match="which is not known without data"):
            found.budget(multiply_adds=0.5)


def test_no_batch_is_drawn_where_the_model_says_its_shapes(model):
    drawn = []

    def draw():
        drawn.append(1)
        yield X[:8], Y[:8]

    spec = tf.TensorSpec((8, 12)), tf.TensorSpec((8,), tf.int64)
    data = tf.data.Dataset.from_generator(draw, output_signature=spec)
    arguments = {"levels": [0.5], "error": lambda model: 0.5}
    found = kc.analysis.sensitivity(model, data, **arguments)
    assert found.layers[0].multiply_adds == 12 * 16
    assert not drawn


def test_inputs_by_name_and_of_free_length():
    inputs = [keras.Input((None, 2), name=name) for name in ("late", "early")]
    both = keras.layers.Concatenate(axis=1)(inputs)
    steps = keras.layers.Dense(4, name="steps")(both)
    model = keras.Model(inputs, keras.layers.GlobalAveragePooling1D()(steps))
    model.compile("sgd", "mse")
    x = {"early": np.ones((4, 3, 2)), "late": np.ones((4, 7, 2))}
    found = kc.analysis.sensitivity(model, (x, np.ones((4, 4))), levels=[0.5])
    assert found.layers[0].multiply_adds == 10 * 8


@pytest.mark.parametrize("name", ["accept", "acc", "accuracy_of_a"])
@pytest.mark.parametrize(
    ("of", "metric", "measure"),
    [
        ("value", "mae", "loss"),
        ("named", "mae", "loss"),
        ("value", "accuracy", "error"),
        ("named", "acc", "error"),
    ],
)
def test_no_output_is_taken_for_an_accuracy_for_its_name(name, of, metric, measure):
    inputs = keras.Input((4,))
    outputs = [keras.layers.Dense(2, name=key)(inputs) for key in (name, "value")]
    model = keras.Model(inputs, outputs)
    model.compile("sgd", "mse", metrics={name if of == "named" else of: [metric]})
    data = np.ones((8, 4)), [np.zeros((8, 2)), np.zeros((8, 2))]
    found = kc.analysis.sensitivity(model, data, levels=[0.5])
    assert found.measure == measure
    results = model.evaluate(*data, verbose=0, return_dict=True)
    if measure == "loss":
        assert found.baseline == pytest.approx(results["loss"])


def test_an_accuracy_may_have_a_name_of_its_own():
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    metric = keras.metrics.BinaryAccuracy(name="top1acc")
    model.compile("sgd", "mse", metrics=[metric])
    data = np.ones((8, 4)), np.zeros((8, 2))
    assert kc.analysis.sensitivity(model, data, levels=[0.5]).measure == "error"


@pytest.mark.parametrize("method", ["svd", "spatial", "cp"])
def test_low_rank_layers_count_as_the_kernels_they_stand_for(method):
    layers = [
        keras.Input((8, 8, 6)),
        keras.layers.Conv2D(12, 3, strides=2, padding="same", name="conv"),
        keras.layers.GlobalAveragePooling2D(),
        keras.layers.Dense(12, name="square"),
    ]
    dense = keras.Sequential(layers)
    config = kc.LowRank(rank=2, method=method)
    wheres = {"conv": config, "square": kc.LowRank(rank=3)}
    low_rank = kc.swap(dense, wheres)
    data = np.ones((4, 8, 8, 6)), np.ones((4, 12))
    found = []
    for model in (dense, low_rank):
        model.compile("sgd", "mse")
        found.append(kc.analysis.sensitivity(model, data, config, levels=[0.75]).layers)
    for one, other in zip(*found, strict=True):
        assert other.path == one.path
        assert (other.weights, other.multiply_adds) == (one.weights, one.multiply_adds)
    # Forms of convolutions leave Dense layers alone.
    work = [16 * 9 * 6 * 12, 12 * 12] if method == "svd" else [16 * 9 * 6 * 12]
    assert [layer.multiply_adds for layer in found[0]] == work


def curve(path, size, errors, retrained=None):
    return LayerSensitivity(path, size, 9 * size, (0.5, 0.75, 0.9), errors, retrained)


FOUND = Sensitivity(
    *("Prune", "sparsity", "error", 0.01),
    (
        curve("one", 100, (0.01, 0.02, 0.05), (0.005, 0.015, 0.05)),
        curve("two", 1000, (0.02, 0.2, 0.9), (0.01, 0.01, 0.02)),
    ),
    epochs=1,
)


def test_a_budget_meets_the_weights_and_spares_what_suffers():
    for amount in (0.15, 165):
        target = FOUND.budget(weights=amount)
        kept = 100 * (1 - target["one"]) + 1000 * (1 - target["two"])
        assert kept == pytest.approx(165)
        assert target["two"] > target["one"]
    assert json.loads(json.dumps(target)) == target
    assert FOUND.budget(weights=1.0) == {"one": 0.0, "two": 0.0}
    assert FOUND.budget(multiply_adds=0.15) == pytest.approx(FOUND.budget(weights=0.15))


def test_a_budget_by_the_rise_of_each_layer():
    assert FOUND.budget(rise=0.005) == pytest.approx({"one": 0.75, "two": 0.825})


def test_the_greedy_choice_is_the_best_there_is():
    for _ in range(20):
        slopes = np.sort(RANDOM.random((3, 4)), axis=1)  # convex curves
        levels = np.array([0.0, 0.25, 0.5, 0.75, 1.0])
        damages = [np.concatenate([[0], np.cumsum(s)]) for s in slopes]
        costs = RANDOM.integers(1, 9, 3).astype(float)
        spared = 0.6 * costs.sum()
        curves = [(levels, damage) for damage in damages]
        found = budgets.least_damage(curves, costs, spared)
        assert np.dot(found, costs) == pytest.approx(spared)

        def damage(at, damages=damages, levels=levels):
            pairs = zip(at, damages, strict=True)
            return sum(np.interp(x, levels, d) for x, d in pairs)

        steps = np.linspace(0, 1, 21)
        best = min(
            damage([a, b, c])
            for a in steps
            for b in steps
            for c in [(spared - a * costs[0] - b * costs[1]) / costs[2]]
            if 0 <= c <= 1
        )
        assert damage(found) <= best + 1e-9


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "exactly one of `weights`, `multiply_adds` and `rise`"),
        ({"weights": 0.5, "rise": 0.1}, "exactly one of"),
        ({"weights": 0.05}, "`weights` must be at least 110 with these levels"),
        ({"weights": 0}, "`weights` must be a share in"),
        ({"rise": 0.0}, "`rise` must be a finite number > 0"),
    ],
)
def test_budgets_that_cannot_be(arguments, message):
    with pytest.raises(ValueError, match=message):
        FOUND.budget(**arguments)


def test_the_table():
    lines = FOUND.to_markdown().splitlines()
    assert lines[0].split("|")[1:-1] == [
        " error (%) at sparsity   ",
        "   weights ",
        "   0.5 ",
        "   0.75 ",
        "   0.9 ",
    ]
    assert "2.00 |  20.00 | 90.00" in lines[4]
    assert "1.00 |   1.00 |  2.00" in lines[5]
    assert "1.00" in lines[6]
    assert "as it is" in str(FOUND)
    assert json.loads(json.dumps(FOUND.to_dict()))["layers"][0]["path"] == "one"


@pytest.mark.parametrize("epochs", [0, 1])
def test_the_picture(tmp_path, epochs):
    pytest.importorskip("matplotlib")
    found = FOUND
    if not epochs:
        layers = (curve("one", 100, (0.01, 0.02, 0.05)),)
        found = Sensitivity("Prune", "sparsity", "loss", 0.0, layers)
    path = found.plot(tmp_path / "sensitivity.png")
    assert path.stat().st_size > 5000
    with pytest.raises(ValueError, match="`path` must be a path that ends in"):
        found.plot(tmp_path / "sensitivity.doc")


def test_bad_arguments(model):
    def check(message, *arguments, **keywords):
        with pytest.raises(ValueError, match=message):
            kc.analysis.sensitivity(*(arguments or (model, (X, Y))), **keywords)

    check("`technique` must be a kc.Prune", technique=kc.Bitwise())
    check("`levels` must be a number in", levels=[1.5])
    check(r"`levels` must be numbers in \[0, 1\)", levels=[1.0])
    check("`levels` must be a sequence", levels=[])
    check("`retrain` must be an integer >= 0", retrain=-1)
    check("`train_data` must be given with `retrain`", retrain=1)
    check("`error` must be a function", error="accuracy")
    check("No layer of", where="conv*")
    layers = [keras.Input((2,)), keras.layers.Dense(1)]
    check("`model` must be compiled", keras.Sequential(layers), (X, Y))


@pytest.mark.parametrize("data", [X, (X, Y, Y), None])
def test_data_are_pairs(model, data):
    with pytest.raises(ValueError, match="`data` must be arrays"):
        kc.analysis.sensitivity(model, data)


def test_levels_that_no_pattern_reaches_are_refused(model):
    with pytest.raises(ValueError, match=r"`levels` must be some up to 0\.125"):
        kc.analysis.sensitivity(model, (X, Y), kc.Prune("7:8"), levels=[0.25])
