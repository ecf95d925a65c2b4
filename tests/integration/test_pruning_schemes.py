"""Budgets, targets of layers, regrowth by momentum and dropout, inside `fit`."""

import itertools
import json

import keras
import numpy as np
import pytest

import keras_compress as kc
from keras_compress import schedules
from keras_compress.callbacks import IterativePruning
from keras_compress.functional.sparse import compress

RANDOM = np.random.default_rng(0)
IMAGES = RANDOM.random((96, 8, 8, 1)).astype("float32")
LABELS = RANDOM.integers(0, 4, 96)
SIZES = {"conv": 3 * 3 * 8, "fc1": 6 * 6 * 8 * 16, "fc2": 16 * 4}
USES = {"conv": 36, "fc1": 1, "fc2": 1}


def model_of(optimizer="adam", rate=0.5, pattern=None, **compile_arguments):
    layers = [
        keras.Input((8, 8, 1)),
        keras.layers.Conv2D(8, 3, name="conv"),
        keras.layers.Flatten(),
        keras.layers.Dense(16, name="fc1"),
        keras.layers.BatchNormalization(name="norm"),
        keras.layers.ReLU(),
        keras.layers.Dropout(rate, name="drop", seed=1),
        keras.layers.Dense(4, activation="softmax", name="fc2"),
    ]
    model = kc.swap(keras.Sequential(layers), kc.Prune(pattern=pattern))
    model.compile(optimizer, "sparse_categorical_crossentropy", **compile_arguments)
    return model


def fit(model, *callbacks, epochs=3, **arguments):
    return model.fit(
        *(IMAGES, LABELS),
        batch_size=16,
        epochs=epochs,
        verbose=0,
        callbacks=list(callbacks),
        **arguments,
    ).history


def sparsities(model):
    return {name: model.get_layer(name).sparsity for name in SIZES}


def kept(model):
    return {
        name: int(np.count_nonzero(model.get_layer(name).mask.numpy()))
        for name in SIZES
    }


@pytest.mark.parametrize("scope", ["layer", "global"])
def test_layers_have_targets_of_their_own(scope):
    target = {"conv": 0.25, "fc2": 0.0}
    model = model_of()
    fit(model, IterativePruning(schedules.Cubic(0.9), target=target, scope=scope))
    found = sparsities(model)
    assert found == {"conv": 0.25, "fc1": round(0.9 * 4608) / 4608, "fc2": 0.0}


def test_a_target_of_a_layer_is_approached_along_the_schedule():
    model, seen = model_of(), []
    watch = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: seen.append(sparsities(model)["fc1"])
    )
    schedule = schedules.Cubic(1.0, end=0.5)
    fit(model, IterativePruning(schedule, target={"fc*": 0.6}, exclude="conv"), watch)
    expected = [round(0.6 * schedule((i + 1) / 18) * 4608) / 4608 for i in range(18)]
    np.testing.assert_allclose(seen, expected, atol=1.1 / 4608)
    assert sparsities(model)["conv"] == 0.0


def spent(model, what):
    left = kept(model)
    if what == "weights":
        return sum(left.values())
    if what == "multiply_adds":
        return sum(left[name] * USES[name] for name in SIZES)
    return sum(
        6 * left[name] + 4 * (units + 1)
        for name, units in (("conv", 8), ("fc1", 16), ("fc2", 4))
    )


DENSE = {"weights": 4744, "multiply_adds": 72 * 36 + 4608 + 64, "bytes": 4 * 4744}


@pytest.mark.parametrize("scope", ["layer", "global"])
@pytest.mark.parametrize("what", ["weights", "bytes", "multiply_adds"])
@pytest.mark.parametrize("absolute", [False, True])
def test_a_budget_is_met_and_used_up(what, scope, absolute):
    share = 0.13 if what == "bytes" else 0.1
    amount = int(share * DENSE[what]) if absolute else share
    model = model_of()
    pruning = IterativePruning(
        schedules.Cubic(1.0, end=0.5), target={what: amount}, scope=scope
    )
    history = fit(model, pruning)
    allowed = share * DENSE[what]
    most = 36 if what == "multiply_adds" else 6
    slack = 3 * most if scope == "layer" else most
    assert allowed - slack - 1 <= spent(model, what) <= allowed
    if what == "bytes":
        assert history["packed_bytes"][-1] == spent(model, what)
    found = sparsities(model)
    if scope == "layer":
        assert max(found.values()) - min(found.values()) < 0.02
    else:
        assert max(found.values()) - min(found.values()) > 0.02


@pytest.mark.parametrize("scope", ["layer", "global"])
def test_a_budget_of_bytes_counts_blocks_as_they_are_packed(scope):
    model = model_of(pattern=(1, 16))
    pruning = IterativePruning(
        schedules.Constant(1.0), target={"bytes": 0.4}, scope=scope
    )
    spent = fit(model, pruning, epochs=1)["packed_bytes"][-1]
    stored = 0
    for name in SIZES:
        layer = model.get_layer(name)
        kept = np.where(layer.mask, 1.0, 0.0).reshape(layer.matrix_shape)
        stored += sum(part.nbytes for part in compress(kept, "panel16"))
    assert spent == stored
    assert 0.38 * DENSE["bytes"] < spent <= 0.4 * DENSE["bytes"]


@pytest.mark.parametrize("what", ["weights", "multiply_adds"])
def test_a_global_budget_cuts_all_layers_at_one_threshold(what):
    model = model_of(optimizer=keras.optimizers.SGD(0.0))
    schedule = schedules.Constant(1.0)
    fit(model, IterativePruning(schedule, target={what: 0.3}, scope="global"), epochs=1)
    layers = [model.get_layer(name) for name in SIZES]
    pairs = [(np.abs(x.kernel.numpy()), x.mask.numpy()) for x in layers]
    most_masked = max(kernel[~mask].max(initial=0.0) for kernel, mask in pairs)
    assert most_masked <= min(kernel[mask].min(initial=9.0) for kernel, mask in pairs)


def test_a_budget_of_multiply_adds_on_a_free_axis_names_the_way_out():
    layers = [keras.Input((None, 8)), keras.layers.Dense(4, name="steps")]
    model = kc.swap(keras.Sequential(layers), kc.Prune())
    model.compile("sgd", "mse")
    data = np.ones((8, 5, 8)), np.ones((8, 5, 4))
    target = {"multiply_adds": 0.5}
    with pytest.raises(
        ValueError, match=r"`target` cannot .*sensitivity\(model, data\)"
    ):
        model.fit(
            *data,
            verbose=0,
            callbacks=[IterativePruning(schedules.Cubic(1.0), target=target)],
        )
    found = kc.analysis.sensitivity(model, data, levels=[0.5, 0.75])
    target = found.budget(multiply_adds=0.5)
    pruning = IterativePruning(schedules.Cubic(1.0), target=target)
    model.fit(*data, verbose=0, callbacks=[pruning])
    assert model.get_layer("steps").sparsity == pytest.approx(0.5)


def test_a_budget_with_blocks_is_not_exceeded():
    model = model_of(pattern=(4, 4))
    target = {"multiply_adds": 0.2}
    pruning = IterativePruning(schedules.Cubic(1.0), target=target, scope="global")
    fit(model, pruning)
    assert spent(model, "multiply_adds") <= 0.2 * DENSE["multiply_adds"]
    assert spent(model, "multiply_adds") >= 0.1 * DENSE["multiply_adds"]


@pytest.mark.parametrize("exclude", ["conv", ["conv", "fc2"]])
def test_excluded_layers_are_left_as_they_are(exclude):
    model = model_of()
    pruning = IterativePruning(schedules.Cubic(0.9), scope="global", exclude=exclude)
    history = fit(model, pruning)
    found = sparsities(model)
    assert found["conv"] == 0.0
    assert (found["fc2"] == 0.0) == (exclude != "conv")
    assert history["sparsity"][-1] == pytest.approx(0.9, abs=1e-3)


@pytest.mark.parametrize("scope", ["layer", "global"])
@pytest.mark.parametrize(
    "optimizer", [keras.optimizers.SGD(0.1, momentum=0.9), keras.optimizers.Adam(0.01)]
)
def test_sparse_momentum_moves_weights_at_a_constant_sparsity(optimizer, scope):
    optimizer = optimizer.from_config(optimizer.get_config())
    model, masks = model_of(optimizer), []
    schedule = schedules.Cubic(0.98, initial=0.98, end=0.9)
    pruning = IterativePruning(schedule, regrow="momentum", scope=scope)
    watch = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: masks.append(
            {name: model.get_layer(name).mask.numpy() for name in SIZES}
        )
    )
    fit(model, pruning, watch)
    counts = [{name: int(m.sum()) for name, m in at.items()} for at in masks]
    assert {sum(count.values()) for count in counts} == {
        sum(size - round(0.98 * size) for size in SIZES.values())
        if scope == "layer"
        else sum(SIZES.values()) - round(0.98 * sum(SIZES.values()))
    }
    moved = [count["fc2"] for count in counts]
    assert (len(set(moved)) == 1) == (scope == "layer")
    came = [
        int((new["fc1"] & ~old["fc1"]).sum()) for old, new in itertools.pairwise(masks)
    ]
    assert max(came) > 2
    assert came[-1] == 0, "behind the end of the schedule"
    assert not any(model.get_layer(name).trains_masked for name in SIZES)


def test_what_regrows_has_the_largest_momentum_and_starts_from_zero():
    layer = kc.layers.PrunedDense(3)
    layer.build((None, 4))
    kernel = np.arange(1.0, 13.0).reshape(4, 3)
    layer.kernel.assign(kernel)
    layer.prune(sparsity=0.5)  # 7 to 12 stay
    momentum = np.zeros((4, 3), "float32")
    momentum[0] = [3.0, -9.0, 1.0]
    from keras_compress.layers._regrowth import exchange

    exchange([layer], [momentum], 1 / 3, between_layers=False)  # 7 and 8 go
    expected = kernel >= 9.0
    expected[0, :2] = True
    np.testing.assert_array_equal(layer.mask.numpy(), expected)
    effective = layer.effective_kernel().numpy()
    np.testing.assert_array_equal(effective, np.where(kernel >= 9.0, kernel, 0.0))


RATE = 0.5


def drop_ratio(model, call):
    """The share of zeros that dropout makes of ones, in one call."""
    layer = model.get_layer("drop")
    return float(np.mean(call(layer, np.ones((512, 64), "float32")) == 0.0))


@pytest.mark.parametrize(
    "arguments", [{}, {"jit_compile": True}, {"run_eagerly": True}]
)
def test_dropout_follows_the_masks_without_tracing_again(arguments):
    traces, rates = [], []
    model = model_of(**arguments)
    pruning = IterativePruning(
        schedules.Rounds(0.96, 3), rescale_dropout=True, exclude=["conv", "fc2"]
    )

    class Count(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            rates.append(pruning._dropout.rates["drop"])
            step = self.model.train_function
            if hasattr(step, "experimental_get_tracing_count"):
                traces.append(step.experimental_get_tracing_count())

    def called(layer, x):
        return layer(x, training=True).numpy()

    at_end = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: rates.append(drop_ratio(model, called))
    )
    fit(model, pruning, Count(), at_end, epochs=3)
    assert len(set(traces)) <= 1, "the training step was traced again"
    left = 1 - model.get_layer("fc1").sparsity
    assert rates[-2] == pytest.approx(RATE * left**0.5, rel=1e-5)
    assert rates[-1] == pytest.approx(rates[-2], abs=0.01)
    # Behind the fit, Keras's own rate is in force, in what is traced, too.
    layer = model.get_layer("drop")
    assert layer.rate == RATE
    assert "call" not in layer.__dict__
    assert drop_ratio(model, called) == pytest.approx(RATE, abs=0.01)


def test_dropout_in_a_fit_really_drops_less():
    # Everything is dropped by 0.999, and next to nothing by its product with 0.01.
    model = model_of(rate=0.999, optimizer=keras.optimizers.SGD(0.0))
    model.get_layer("fc1").prune(sparsity=0.9999)
    seen = []

    class Spy(keras.layers.Layer):
        def call(self, x):
            if hasattr(x, "numpy"):
                seen.append(float(np.mean(x.numpy() == 0.0)))
            return x

    layers = [keras.Input((8, 8, 1)), *model.layers[:-1], Spy(), model.layers[-1]]
    model = keras.Sequential(layers)
    model.compile("sgd", "sparse_categorical_crossentropy", run_eagerly=True)
    model.get_layer("norm").beta.assign(np.ones(16))
    model.get_layer("fc1").kernel.assign(np.zeros((288, 16)))
    pruning = IterativePruning(schedules.Constant(0.0), rescale_dropout=True)
    fit(model, pruning, epochs=1)
    assert max(seen[-6:]) < 0.1
    fit(model, epochs=1)
    assert min(seen[-6:]) > 0.9


def test_schemes_in_a_distillers_fit():
    model = model_of()
    distiller = kc.Distiller(model, model_of())
    distiller.compile("adam", "sparse_categorical_crossentropy")
    pruning = IterativePruning(
        schedules.Cubic(1.0),
        target={"multiply_adds": 0.2},
        scope="global",
        regrow="momentum",
        rescale_dropout=True,
    )
    fit(distiller, pruning)
    assert spent(model, "multiply_adds") <= 0.2 * DENSE["multiply_adds"]


@pytest.mark.parametrize("rewind", ["weights", "learning_rate"])
def test_a_resumed_fit_rewinds_as_far_as_the_first(tmp_path, rewind):
    def parts():
        keras.utils.set_random_seed(3)
        model = model_of()
        pruning = IterativePruning(schedules.Rounds(0.75, 2), rewind=rewind)
        return model, pruning, keras.callbacks.BackupAndRestore(tmp_path / rewind)

    class Crash(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            if epoch == 1:
                raise RuntimeError("power cut")

    model, pruning, backup = parts()
    with pytest.raises(RuntimeError, match="power cut"):
        fit(model, pruning, backup, Crash(), epochs=4)
    model, pruning, backup = parts()
    initial = model.get_layer("fc2").kernel.numpy()
    seen = []
    watch = keras.callbacks.LambdaCallback(
        on_epoch_begin=lambda epoch, logs: seen.append(
            (
                model.get_layer("fc2").kernel.numpy(),
                int(model.optimizer.iterations.numpy()),
            )
        )
    )
    fit(model, pruning, backup, watch, epochs=4)
    # Epoch 2 is where the second of two rounds begins.
    kernel, step = seen[-2]
    assert step == 0
    assert (kernel == initial).all() == (rewind == "weights")
    assert sparsities(model)["fc1"] == pytest.approx(0.75, abs=1e-3)


def test_a_missed_target_says_so():
    model = model_of()
    stop = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: setattr(model, "stop_training", True)
    )
    pruning = IterativePruning(schedules.Cubic(1.0), target={"weights": 0.1})
    with pytest.warns(UserWarning, match="instead of what `target` asks for"):
        fit(model, pruning, stop)


def test_a_target_is_what_json_holds():
    target = {"fc1": 0.9, "fc2": 0.5}
    pruning = IterativePruning(
        schedules.Cubic(0.9), target=json.loads(json.dumps(target))
    )
    assert pruning.target == target


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"target": 0.9}, "`target` must be None, {"),
        ({"target": {}}, "`target` must be None, {"),
        ({"target": {"fc1": 1.5}}, r"`target\['fc1'\]` must be a number in \[0, 1\]"),
        ({"target": {"weights": 0.1, "fc1": 0.5}}, "one budget, and nothing beside it"),
        ({"target": {"bytes": 0}}, r"`target\['bytes'\]` must be a share in"),
        ({"exclude": 3}, "`exclude` must be None, a glob or a list"),
        ({"rescale_dropout": 1}, "`rescale_dropout` must be True or False"),
        ({"regrow": "gradient"}, '`regrow` must be True, False or "momentum"'),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        IterativePruning(schedules.Cubic(0.9), **arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"target": {"fc9": 0.5}}, "`target` must be of pruned layers, here conv, fc1"),
        ({"exclude": "fc9"}, "`exclude` must be of pruned layers, here conv, fc1, fc2"),
        ({"exclude": "*"}, "`exclude` must be some, not all pruned layers"),
        ({"target": {"bytes": 20}}, r"`target\['bytes'\]` must be at least 124"),
        ({"regrow": "momentum"}, "`regrow` must be .* no momentum, here SGD"),
    ],
)
def test_what_a_model_does_not_have(arguments, message):
    model = model_of(keras.optimizers.SGD(0.1))
    with pytest.raises(ValueError, match=message):
        fit(model, IterativePruning(schedules.Cubic(0.9), **arguments))


def test_what_does_not_go_together():
    model = model_of(pattern="2:4")
    pruning = IterativePruning(schedules.Cubic(0.5), regrow="momentum")
    with pytest.raises(ValueError, match=r"`regrow` must be .* pattern '2:4' of 'conv"):
        fit(model, pruning)
    pruning = IterativePruning(schedules.Cubic(0.5), target={"weights": 0.1})
    with pytest.raises(ValueError, match=r"`target\['weights'\]` must be at least"):
        fit(model, pruning)
    pruning = IterativePruning(schedules.Constant(0.0), target={"weights": 0.1})
    with pytest.raises(ValueError, match="one that ends above 0 with a `target`"):
        fit(model, pruning)
    layers = [keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(4)]
    model = kc.swap(keras.Sequential(layers), kc.Prune())
    model.compile("adam", "sparse_categorical_crossentropy")
    pruning = IterativePruning(schedules.Constant(0.5), rescale_dropout=True)
    with pytest.raises(ValueError, match="has no Dropout behind a pruned layer"):
        fit(model, pruning)


def test_blocks_that_the_edge_cuts_off_do_not_run_away():
    """100 outputs are 6 blocks of 16 and one of 4: weights and units differ."""
    layers = [keras.Input((30,)), keras.layers.Dense(100, name="fc")]
    model = kc.swap(keras.Sequential(layers), kc.Prune(pattern=(1, 16)))
    model.compile("sgd", "mse")
    x, y = RANDOM.random((160, 30), "float32"), RANDOM.random((160, 100), "float32")
    pruning = IterativePruning(schedules.Cubic(0.9), frequency=1)
    model.fit(x, y, batch_size=2, epochs=2, verbose=0, callbacks=[pruning])
    assert model.layers[0].unit_sparsity == pytest.approx(0.9, abs=0.5 / 210)


def test_a_loss_scale_is_built_once():
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = model_of()
    finally:
        keras.config.set_dtype_policy("float32")
    for _ in range(2):
        fit(model, IterativePruning(schedules.Constant(0.5)), epochs=1)
        names = [variable.path for variable in model.optimizer.variables]
        assert len(names) == len(set(names))


def test_momentum_moves_no_weights_of_frozen_layers():
    model = model_of()
    model.get_layer("fc1").trainable = False
    model.compile("adam", "sparse_categorical_crossentropy")
    schedule = schedules.Cubic(0.8, initial=0.8)
    fit(model, IterativePruning(schedule, regrow="momentum", frequency=2))
    assert sparsities(model)["fc1"] == round(0.8 * 4608) / 4608


def test_a_budget_that_a_pattern_cannot_meet_is_refused_at_once():
    # Of the 9 inputs of the convolution the last one is a group that must stay.
    model = model_of(pattern="2:4")
    pruning = IterativePruning(schedules.Cubic(1.0), target={"weights": 0.5})
    with pytest.raises(ValueError, match=r"`target\['weights'\]` must be at least"):
        fit(model, pruning)


def test_a_rewind_takes_moving_averages_back():
    model = model_of()
    start = model.get_layer("norm").moving_mean.numpy()
    schedule = schedules.Constant(0.5, start=0.99)
    fit(model, IterativePruning(schedule, rewind="weights", frequency=18))
    np.testing.assert_array_equal(model.get_layer("norm").moving_mean.numpy(), start)


def test_a_fit_that_fails_leaves_nothing_behind():
    model = model_of()
    before = model.get_layer("drop").call

    def broken(kernel, known):
        raise RuntimeError("broken")

    pruning = IterativePruning(
        schedules.Cubic(0.9), criterion=broken, rescale_dropout=True, regrow=True
    )
    with pytest.raises(RuntimeError, match="broken"):
        fit(model, pruning)
    assert model.get_layer("drop").call == before
    assert not any(model.get_layer(name).trains_masked for name in SIZES)


def test_refitting_and_rewinding_weights_exclude_each_other():
    with pytest.raises(ValueError, match="`refit` must be False with rewind"):
        IterativePruning(
            schedules.Cubic(0.9),
            criterion="brain_surgeon",
            data=IMAGES,
            rewind="weights",
        )


@pytest.mark.parametrize("scope", ["layer", "global"])
@pytest.mark.parametrize("pattern", [(1, 16), (4, 16)])
def test_sparse_momentum_of_blocks_that_edges_cut_kills_no_layer(pattern, scope):
    sides = [keras.layers.Dense(side) for side in (300, 100, 10)]
    model = kc.swap(keras.Sequential([keras.Input((100,)), *sides]), kc.Prune(pattern))
    model.compile("adam", "mse")
    x, y = RANDOM.random((160, 100), "float32"), RANDOM.random((160, 10), "float32")
    schedule = schedules.Cubic(0.9, initial=0.9)
    pruning = IterativePruning(schedule, regrow="momentum", frequency=1, scope=scope)
    history = model.fit(
        *(x, y), batch_size=8, epochs=4, verbose=0, callbacks=[pruning]
    ).history
    if scope == "layer":
        shares = [layer.unit_sparsity for layer in model.layers]
        assert shares == pytest.approx([0.9] * 3, abs=0.021)
    else:
        block = pattern[0] * pattern[1] / 61000
        assert history["sparsity"] == pytest.approx([0.9] * 4, abs=1.01 * block)


@pytest.mark.parametrize(("pattern", "units"), [("2:4", 16), (None, 64)])
def test_a_budget_is_met_where_one_cut_goes_too_far_for_a_pattern(pattern, units):
    layers = [
        keras.Input((8, 8, 4)),
        keras.layers.Conv2D(8, 3),
        keras.layers.GlobalAveragePooling2D(),
        keras.layers.Dense(units, name="small"),
    ]
    configs = {"small": kc.Prune(pattern), "*": kc.Prune("2:4")}
    model = kc.swap(keras.Sequential(layers), configs)
    conv, dense = model.layers[0], model.layers[2]
    dense.kernel.assign(0.01 * dense.kernel)
    model.compile(keras.optimizers.SGD(0.0), "mse")
    target = {"multiply_adds": 0.6}
    pruning = IterativePruning(schedules.Cubic(1.0), target=target, scope="global")
    x, y = np.ones((32, 8, 8, 4)), np.ones((32, units))
    model.fit(x, y, epochs=3, batch_size=8, verbose=0, callbacks=[pruning])
    left = [np.count_nonzero(layer.mask) for layer in (conv, dense)]
    spent, most = np.dot(left, [36, 1]), np.dot([288, 8 * units], [36, 1])
    assert 0.58 * most < spent <= 0.6 * most


@pytest.mark.parametrize("train", ["fit", "train_on_batch", "student"])
def test_a_fit_that_is_interrupted_changes_no_later_one(train):
    def interrupt(batch, logs):
        raise KeyboardInterrupt

    model = fitted = model_of(keras.optimizers.SGD(0.1))
    model.get_layer("fc1").prune(sparsity=0.9)
    before = model.get_layer("drop").call
    if train == "student":
        fitted = kc.Distiller(model, model_of())
        fitted.compile("sgd", "sparse_categorical_crossentropy")
    pruning = [
        IterativePruning(schedules.Cubic(0.91), rescale_dropout=True, regrow=True),
        IterativePruning(schedules.Cubic(0.91), regrow=True),
    ]
    stop = keras.callbacks.LambdaCallback(on_train_batch_end=interrupt)
    with pytest.raises(KeyboardInterrupt):
        fit(fitted, *pruning, stop)
    mask = model.get_layer("fc1").mask.numpy()
    kernel = model.get_layer("fc1").kernel.numpy()
    if train == "train_on_batch":
        model.train_on_batch(IMAGES, LABELS)
    else:
        fit(model, epochs=1)
    moved = model.get_layer("fc1").kernel.numpy() != kernel
    assert moved.any()
    assert not moved[~mask].any()
    assert model.get_layer("drop").call == before
    assert "make_train_function" not in model.__dict__


def nested():
    """Two pruned layers called `fc`, one of them nested, and one called `weights`."""
    inner = [keras.Input((8,)), keras.layers.Dense(8, name="fc")]
    outer = [keras.layers.Dense(8, name="fc"), keras.layers.Dense(4, name="weights")]
    sub = keras.Sequential(inner, name="sub")
    model = kc.swap(keras.Sequential([keras.Input((8,)), sub, *outer]), kc.Prune())
    model.compile("sgd", "mse")
    return model


def fit_nested(target):
    model = nested()
    pruning = IterativePruning(schedules.Constant(1.0), target=target)
    x, y = np.ones((16, 8)), np.ones((16, 4))
    model.fit(x, y, batch_size=4, verbose=0, callbacks=[pruning])
    layers = [model.get_layer("sub").layers[0], *model.layers[1:]]
    return [layer.sparsity for layer in layers]


@pytest.mark.parametrize("first", ["fc", "*c"])
def test_a_path_means_its_layer_whatever_globs_come_first(first):
    target = {first: 0.75, "sub/fc": 0.25, "*": 0.5}
    assert fit_nested(target) == [0.25, 0.75, 0.5]


def test_a_layer_that_is_called_as_a_budget_makes_shares_unclear():
    with pytest.raises(ValueError, match=r"layer 'weights': {'\[w\]eights': spars"):
        fit_nested({"weights": 0.5})
    assert fit_nested({"[w]eights": 0.5, "*": 0.25}) == [0.25, 0.25, 0.5]
    assert fit_nested({"weights": 80}) == [0.5, 0.5, 0.5]


@pytest.mark.parametrize(
    "arguments",
    [
        {"regrow": True, "frequency": 5},
        {"regrow": True, "frequency": 4},
        {"regrow": "momentum", "frequency": 5},
        {"regrow": True},
    ],
    ids=str,
)
@pytest.mark.parametrize("end", [0.2, 0.9])
def test_a_resumed_fit_changes_masks_when_it_would_have(tmp_path, arguments, end):
    def run(*callbacks):
        keras.utils.set_random_seed(3)
        model = kc.swap(
            keras.Sequential([keras.Input((64,)), keras.layers.Dense(16, name="fc1")]),
            kc.Prune(),
        )
        model.compile(keras.optimizers.Adam(0.03), "mse")
        schedule = schedules.Cubic(0.8, initial=0.3, end=end)
        pruning = IterativePruning(schedule, **arguments)
        model.fit(
            IMAGES.reshape(96, 64),
            np.eye(16, dtype="float32")[LABELS],
            batch_size=12,
            epochs=5,
            shuffle=False,
            verbose=0,
            callbacks=[pruning, *callbacks],
        )
        return model.layers[0]

    def crash(epoch, logs):
        if epoch == 2:
            raise RuntimeError("power cut")

    expected = run()
    backup = [keras.callbacks.BackupAndRestore(tmp_path / "backup") for _ in "12"]
    with pytest.raises(RuntimeError, match="power cut"):
        run(backup[0], keras.callbacks.LambdaCallback(on_epoch_end=crash))
    found = run(backup[1])
    np.testing.assert_array_equal(found.mask.numpy(), expected.mask.numpy())
    np.testing.assert_array_equal(found.kernel.numpy(), expected.kernel.numpy())
