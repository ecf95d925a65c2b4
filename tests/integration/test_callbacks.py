"""Pruning inside `fit`, under everything that `fit` can do."""

import importlib.util
import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_compress as kc
from keras_compress import schedules
from keras_compress.callbacks import (
    CompressionLogger,
    IterativePruning,
    QuantizationNoise,
)
from keras_compress.layers.pruned import PrunedDense

RANDOM = np.random.default_rng(0)
INPUTS = RANDOM.standard_normal((320, 16)).astype("float32")
TARGETS = RANDOM.standard_normal((320, 4)).astype("float32")
SIZE = 16 * 32 + 32 * 4


def model_of(policy="float32", pattern=None, optimizer="adam", **compile_arguments):
    model = keras.Sequential(
        [
            keras.Input((16,)),
            keras.layers.Dense(32, activation="relu", name="fc1", dtype=policy),
            keras.layers.Dense(4, name="fc2", dtype=policy),
        ]
    )
    model = kc.swap(model, kc.Prune(pattern=pattern))
    model.compile(optimizer, "mse", **compile_arguments)
    return model


def fit(model, *callbacks, epochs=3, **arguments):
    return model.fit(
        INPUTS,
        TARGETS,
        batch_size=32,
        epochs=epochs,
        verbose=0,
        callbacks=list(callbacks),
        **arguments,
    ).history


def sparsities(model):
    return [layer.sparsity for layer in model.layers]


SCHEDULES = [
    schedules.Constant(0.9),
    schedules.Constant(0.9, start=0.5),
    schedules.Cubic(0.9),
    schedules.Cubic(0.9, initial=0.5, start=0.2, end=1.0),
    schedules.Rounds(0.9, rounds=4),
]


@pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
@pytest.mark.parametrize("scope", ["layer", "global"])
def test_the_fit_ends_at_exactly_the_target(schedule, scope):
    model = model_of()
    history = fit(model, IterativePruning(schedule, scope=scope))
    zeros = [
        np.count_nonzero(layer.effective_kernel().numpy() == 0)
        for layer in model.layers
    ]
    if scope == "layer":
        assert zeros == [round(0.9 * 512), round(0.9 * 128)]
    else:
        assert sum(zeros) == round(0.9 * SIZE)
        assert zeros[0] / 512 != pytest.approx(zeros[1] / 128, abs=0.01)
    assert history["sparsity"][-1] == pytest.approx(sum(zeros) / SIZE)
    kept = SIZE - sum(zeros)
    assert history["packed_bytes"][-1] == 6 * kept + 4 * (33 + 5)


@pytest.mark.parametrize("epochs", [1, 3])
@pytest.mark.parametrize("count", [32, 320])
def test_a_short_fit_gets_as_sparse_as_a_long_one(epochs, count):
    model = model_of()
    model.fit(
        INPUTS[:count],
        TARGETS[:count],
        batch_size=16,
        epochs=epochs,
        verbose=0,
        callbacks=[IterativePruning(schedules.Cubic(0.9, end=0.5))],
    )
    assert sparsities(model) == [round(0.9 * 512) / 512, round(0.9 * 128) / 128]


@pytest.mark.parametrize(
    "arguments",
    [
        {"steps_per_execution": 3},
        {"steps_per_execution": 7},
        {"jit_compile": True},
        {"jit_compile": True, "steps_per_execution": 2},
        {"run_eagerly": True},
        {"optimizer": {"class_name": "SGD", "gradient_accumulation_steps": 4}},
        {"optimizer": {"class_name": "Adam", "use_ema": True}},
        {"optimizer": {"class_name": "AdamW", "weight_decay": 0.1}},
        {"policy": "mixed_float16"},
        {"policy": "mixed_bfloat16", "jit_compile": True},
    ],
    ids=str,
)
@pytest.mark.parametrize("frequency", [None, 4])
def test_whatever_fit_does(arguments, frequency):
    if "optimizer" in arguments:
        config = dict(arguments["optimizer"])
        optimizer = getattr(keras.optimizers, config.pop("class_name"))(**config)
        arguments = {**arguments, "optimizer": optimizer}
    model = model_of(**arguments)
    fit(model, IterativePruning(schedules.Cubic(0.9), frequency=frequency))
    for layer in model.layers:
        kernel = np.asarray(layer.effective_kernel(), "float32")
        assert np.count_nonzero(kernel == 0) == round(0.9 * kernel.size)


class Sparsity(keras.callbacks.Callback):
    """Notes the sparsity after every batch."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def on_train_batch_end(self, batch, logs=None):
        self.seen.append(self.model.layers[0].sparsity)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
def test_the_schedule_is_followed_batch_by_batch(schedule):
    model, seen = model_of(), Sparsity()
    fit(model, IterativePruning(schedule), seen)
    expected = [round(512 * schedule((i + 1) / 30)) / 512 for i in range(30)]
    assert seen.seen == expected


def test_at_progress_zero_before_the_first_step():
    model, seen = model_of(), Sparsity()
    fit(model, IterativePruning(schedules.Constant(0.5)), seen, epochs=1)
    assert seen.seen == [0.5] * 10


def test_frequency_counts_optimizer_updates():
    optimizer = keras.optimizers.SGD(0.1, gradient_accumulation_steps=2)
    model, seen = model_of(optimizer=optimizer), Sparsity()
    schedule = schedules.Cubic(0.9, end=1.0)
    fit(model, IterativePruning(schedule, frequency=5), seen, epochs=1)
    assert len(set(seen.seen)) == 2, "after 5 updates, which are 10 batches: the end"
    assert seen.seen[-1] == round(0.9 * 512) / 512


def test_about_a_hundred_updates_over_a_long_fit(monkeypatch):
    updates = []
    prune = kc.layers.PrunedDense.prune
    monkeypatch.setattr(
        kc.layers.PrunedDense,
        "prune",
        lambda self, **given: (updates.append(given), prune(self, **given)),
    )
    model = model_of()
    model.fit(
        INPUTS,
        TARGETS,
        batch_size=1,
        epochs=4,
        verbose=0,
        callbacks=[IterativePruning(schedules.Cubic(0.9, end=1.0))],
    )
    assert 95 <= len(updates) / 2 <= 105


def unknown_length():
    data = tf.data.Dataset.from_tensor_slices((INPUTS, TARGETS)).batch(32)
    return data.filter(lambda x, y: True)


def test_the_first_epoch_tells_an_unknown_length():
    model, seen = model_of(), Sparsity()
    schedule = schedules.Cubic(0.8, end=1.0)
    pruning = IterativePruning(schedule)
    model.fit(unknown_length(), epochs=4, verbose=0, callbacks=[pruning, seen])
    later = [round(512 * schedule((i + 1) / 40)) / 512 for i in range(10, 40)]
    assert seen.seen == [0.0] * 10 + later


def test_what_is_validated_is_what_is_logged():
    model = model_of()
    pruning = IterativePruning(schedules.Cubic(0.9, end=0.5))
    history = model.fit(
        unknown_length(),
        validation_data=(INPUTS, TARGETS),
        epochs=2,
        verbose=0,
        callbacks=[pruning],
    )
    loss = model.evaluate(INPUTS, TARGETS, verbose=0)
    assert history.history["val_loss"][-1] == pytest.approx(loss, rel=1e-6)
    assert history.history["sparsity"] == [0.0, pytest.approx(0.9, abs=1e-3)]


@pytest.mark.parametrize("length", ["one step", "unknown"])
def test_masks_that_nothing_trained_are_warned_about(length):
    model = model_of()
    one_step = tf.data.Dataset.from_tensor_slices((INPUTS, TARGETS)).batch(320)
    data = one_step if length == "one step" else unknown_length()
    with pytest.warns(UserWarning, match="the final masks came after the last step"):
        model.fit(data, verbose=0, callbacks=[IterativePruning(schedules.Cubic(0.9))])
    assert sparsities(model)[0] == round(0.9 * 512) / 512


def test_restored_masks_are_warned_about():
    model = model_of()
    stop = keras.callbacks.EarlyStopping(patience=9, restore_best_weights=True)
    # The loss of pruned weights is never the best.
    model.layers[0].kernel.assign(10 * RANDOM.standard_normal((16, 32)))
    targets = model.predict(INPUTS, verbose=0)
    with pytest.warns(UserWarning, match=r"sparsity fell from 0\.9\d* to 0\."):
        model.fit(
            INPUTS,
            targets,
            validation_data=(INPUTS, targets),
            epochs=4,
            verbose=0,
            callbacks=[stop, IterativePruning(schedules.Cubic(0.9))],
        )


class Halves(schedules.Schedule):
    """A schedule of a user's own, that says nothing of its end."""

    def at(self, progress):
        return progress / 2


def test_a_schedule_of_ones_own():
    model = model_of()
    fit(model, IterativePruning(Halves()))
    assert sparsities(model) == [0.5, 0.5]


def test_layers_of_the_same_name_are_told_apart():
    blocks = [
        keras.Sequential(
            [keras.Input((16,)), keras.layers.Dense(16, name="fc")], name=name
        )
        for name in ("one", "two")
    ]
    model = kc.swap(keras.Sequential([keras.Input((16,)), *blocks]), kc.Prune())
    model.get_layer("one").get_layer("fc").prune(sparsity=0.5)
    model.compile("adam", "mse")
    history = model.fit(INPUTS, INPUTS, verbose=0, callbacks=[CompressionLogger()])
    assert history.history["one/fc/sparsity"] == [0.5]
    assert history.history["two/fc/sparsity"] == [0.0]


def test_a_resumed_fit_goes_on_where_it_stopped():
    whole, parts = Sparsity(), Sparsity()
    schedule = schedules.Cubic(0.9)
    fit(model_of(), IterativePruning(schedule), whole, epochs=4)
    model = model_of()
    stop = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: setattr(model, "stop_training", epoch == 1)
    )
    with pytest.warns(UserWarning, match="ended at 50% .* before the pruning schedule"):
        fit(model, IterativePruning(schedule), parts, stop, epochs=4)
    fit(model, IterativePruning(schedule), parts, epochs=4, initial_epoch=2)
    assert parts.seen == whole.seen


class Crash(keras.callbacks.Callback):
    """Fails in one epoch."""

    def on_epoch_end(self, epoch, logs=None):
        if epoch == 2:
            raise RuntimeError("power cut")


def test_backup_and_restore(tmp_path):
    model = model_of()
    schedule = schedules.Cubic(0.9, end=1.0)

    def backup():
        return keras.callbacks.BackupAndRestore(tmp_path / "backup")

    with pytest.raises(RuntimeError, match="power cut"):
        fit(model, IterativePruning(schedule), backup(), Crash(), epochs=4)
    restarted, seen = model_of(), Sparsity()
    # Before or after the callback that restores: both must work.
    fit(restarted, IterativePruning(schedule), backup(), seen, epochs=4)
    assert len(seen.seen) == 10, "one epoch is left"
    assert seen.seen[0] > round(512 * schedule(0.7)) / 512
    assert sparsities(restarted)[0] == round(0.9 * 512) / 512


def test_what_is_pruned_stays_pruned():
    model = model_of()
    model.layers[0].prune(sparsity=0.95)
    before = model.layers[0].mask.numpy()
    fit(model, IterativePruning(schedules.Cubic(0.9)))
    np.testing.assert_array_equal(model.layers[0].mask.numpy(), before)
    assert sparsities(model)[1] == round(0.9 * 128) / 128


def test_masked_weights_do_not_train():
    model = model_of()
    model.layers[0].prune(sparsity=0.5)
    before = model.layers[0].kernel.numpy()
    fit(model)
    moved = model.layers[0].kernel.numpy() != before
    np.testing.assert_array_equal(moved, model.layers[0].mask.numpy())


class Watch(keras.callbacks.Callback):
    """Notes masks, kernels and steps after every batch, behind another callback."""

    def __init__(self):
        super().__init__()
        self.seen = []
        self.momenta = []

    def on_train_batch_end(self, batch, logs=None):
        layer = self.model.layers[0]
        steps = int(self.model.optimizer.iterations.numpy())
        self.seen.append((layer.mask.numpy(), layer.kernel.numpy(), steps))
        slots = [x for x in self.model.optimizer.variables if "momentum" in x.path]
        self.momenta.append(max(float(abs(slot.numpy()).max()) for slot in slots))


@pytest.mark.parametrize("scope", ["layer", "global"])
@pytest.mark.parametrize("regrow", [True, False])
def test_regrowth_mends_what_was_pruned_by_mistake(regrow, scope):
    model = model_of(optimizer=keras.optimizers.Adam(0.03))
    pruning = IterativePruning(schedules.Cubic(0.8), regrow=regrow, scope=scope)
    watch = Watch()
    fit(model, pruning, watch)
    assert np.average(sparsities(model), weights=[512, 128]) == pytest.approx(0.8)
    final = watch.seen[-1][0]
    came_back = any((~mask & final).any() for mask, _, _ in watch.seen)
    assert came_back == regrow
    # Afterwards, they no longer train.
    before = model.layers[0].kernel.numpy()
    model.compile("sgd", "mse")
    fit(model, epochs=1)
    after = model.layers[0].kernel.numpy()
    np.testing.assert_array_equal(before[~final], after[~final])
    assert (before[final] != after[final]).any()


def test_regrowth_goes_on_from_what_is_pruned():
    model = model_of()
    fit(model, IterativePruning(schedules.Constant(0.8), regrow=True))
    fit(model, IterativePruning(schedules.Cubic(0.5), regrow=True))
    assert sparsities(model) == pytest.approx([0.8, 0.8], abs=0.004)


@pytest.mark.parametrize("rewind", ["weights", "learning_rate", None])
def test_every_round_trains_as_the_first(rewind):
    model = model_of()
    initial = model.layers[0].kernel.numpy()
    watch = Watch()
    fit(model, IterativePruning(schedules.Rounds(0.75, 3), rewind=rewind), watch)
    assert model.layers[0].sparsity == pytest.approx(0.75, abs=0.002)
    rounds = [
        (kernel, step, momentum)
        for (before, *_), (mask, kernel, step), momentum in zip(
            watch.seen, watch.seen[1:], watch.momenta[1:], strict=False
        )
        if (mask != before).any()
    ]
    assert len(rounds) >= 2
    for kernel, step, momentum in rounds:
        assert (step == 0) == (momentum == 0.0) == (rewind is not None)
        assert (kernel == initial).all() == (rewind == "weights")


def test_patterns_in_fit():
    model = model_of(pattern="2:4")
    fit(model, IterativePruning(schedules.Cubic(0.5)))
    groups = model.layers[0].mask.numpy().reshape(4, 4, 32)
    assert (groups.sum(axis=1) == 2).all()


def test_a_missed_target_is_a_loud_warning():
    model = model_of()
    stop = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: setattr(model, "stop_training", True)
    )
    with pytest.warns(UserWarning, match=r"the sparsity is 0\.\d+ instead of 0\.9000"):
        fit(model, IterativePruning(schedules.Cubic(0.9)), stop, epochs=3)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        fit(model, IterativePruning(schedules.Cubic(0.9)), epochs=1)


def test_the_logger_logs_every_layer():
    history = fit(
        model_of(), IterativePruning(schedules.Constant(0.5)), CompressionLogger()
    )
    assert history["fc1/sparsity"] == [0.5] * 3
    assert history["fc2/packed_bytes"] == [6 * 64 + 4 * 5] * 3


class Block(keras.layers.Layer):
    """A custom layer, inside of which there are no paths."""

    def build(self, input_shape):
        self.inner = PrunedDense(input_shape[-1], name="fc")
        self.inner.build(input_shape)

    def call(self, inputs):
        return self.inner(inputs)


def test_the_logger_keeps_layers_of_one_name_apart():
    model = keras.Sequential(
        [keras.Input((16,)), Block(), Block(), keras.layers.Dense(4)]
    )
    model.layers[0].inner.prune(sparsity=0.5)
    model.layers[1].inner.prune(sparsity=0.75)
    model.compile("adam", "mse")
    history = fit(model, CompressionLogger(), epochs=1)
    assert history["fc/sparsity"] == [0.5]
    assert history["fc'/sparsity"] == [0.75]


def test_the_logger_writes_for_tensorboard(tmp_path):
    if importlib.util.find_spec("tensorboard") is None:
        pytest.skip("needs tensorboard")
    fit(model_of(), CompressionLogger(tmp_path / "logs"))
    (file,) = (tmp_path / "logs").iterdir()
    tags = [
        value.tag
        for event in tf.compat.v1.train.summary_iterator(str(file))
        for value in event.summary.value
    ]
    assert tags.count("fc1/sparsity") == 3


def test_the_logger_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"keras-compress\[tensorboard\]"):
        CompressionLogger(tmp_path)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"schedule": 0.9}, "`schedule` must be a schedule of .*=0.9"),
        ({"scope": "model"}, "`scope` must be one of 'layer', 'global'"),
        ({"frequency": 0}, "`frequency` must be an integer >= 1"),
        ({"frequency": 1.5}, "`frequency` must be an integer >= 1"),
        ({"regrow": 1}, '`regrow` must be True, False or "momentum"'),
        ({"rewind": "masks"}, "`rewind` must be one of None, 'weights'"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        IterativePruning(**{"schedule": schedules.Cubic(0.9), **arguments})


class NoIterations:
    """Stands in for an optimizer that does not count."""


def test_models_that_cannot_be_pruned():
    plain = keras.Sequential([keras.Input((16,)), keras.layers.Dense(4)])
    plain.compile("adam", "mse")
    with pytest.raises(ValueError, match=r"no pruned layers in 'sequential"):
        fit(plain, IterativePruning(schedules.Cubic(0.9)))
    model = model_of(pattern="2:4")
    with pytest.raises(ValueError, match=r"`schedule` must be <= 0\.5 for .* '2:4'"):
        fit(model, IterativePruning(schedules.Cubic(0.9)))
    callback = IterativePruning(schedules.Cubic(0.9))
    model = model_of()
    callback.set_model(model)
    model.optimizer = NoIterations()
    with pytest.raises(ValueError, match=r"counts its `iterations`\..*NoIter"):
        callback.on_train_begin()


def test_pruning_under_a_mirrored_strategy(two_replicas):
    with two_replicas.scope():
        model = model_of()
    data = tf.data.Dataset.from_tensor_slices((INPUTS, TARGETS)).batch(32)
    pruning = IterativePruning(schedules.Cubic(0.9))
    model.fit(data, epochs=2, verbose=0, callbacks=[pruning])
    replicas = two_replicas.experimental_local_results(model.layers[0].mask.value)
    assert len(replicas) == 2
    for replica in replicas:
        assert np.count_nonzero(~replica.numpy()) == round(0.9 * 512)


@pytest.mark.parametrize("start", [0.5, 0.0])
def test_restored_states_of_quantization_are_warned_about(start):
    model = kc.swap(
        keras.Sequential([keras.Input((16,)), keras.layers.Dense(4, name="fc")]),
        kc.FixedPoint(kernel=kc.QFormat(1, 6)),
    )
    model.compile(keras.optimizers.SGD(5.0), "mse")  # ever worse
    stop = keras.callbacks.EarlyStopping("loss", patience=9, restore_best_weights=True)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fit(model, stop, QuantizationNoise(start=start), epochs=4)
    found = [x for x in caught if "Not quantized as they were last: fc." in str(x)]
    assert bool(found) == (start > 0)
    assert (model.layers[0].noise_name == "float") == (start > 0)
