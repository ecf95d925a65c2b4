"""Bitwise networks in `fit`: stages, masks and flips, under everything fit can do."""

import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers as kl

import keras_compress as kc
from keras_compress.callbacks import Binarization
from keras_compress.layers import BitwiseActivation, BitwiseDense

RANDOM = np.random.default_rng(0)
INPUTS = RANDOM.standard_normal((320, 16)).astype("float32")
TARGETS = RANDOM.standard_normal((320, 4)).astype("float32")


def model_of(policy="float32", optimizer="adam", layer=None, **compile_arguments):
    layer = layer or {}
    model = keras.Sequential(
        [
            keras.Input((16,)),
            BitwiseDense(32, name="fc1", dtype=policy, **layer),
            BitwiseActivation(name="units", dtype=policy),
            BitwiseDense(4, name="fc2", dtype=policy, **layer),
        ]
    )
    model.compile(optimizer, "mse", **compile_arguments)
    return model


def fit(model, *callbacks, epochs=4, **arguments):
    return model.fit(
        INPUTS,
        TARGETS,
        batch_size=32,
        epochs=epochs,
        verbose=0,
        callbacks=list(callbacks),
        **arguments,
    ).history


def stages(model):
    return [layer.stage_number for layer in model.layers]


class Watch(keras.callbacks.Callback):
    """Notes stage, rate and beta of the first layer after every batch."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def on_train_batch_end(self, batch, logs=None):
        layer = self.model.layers[0]
        state = (layer.stage_number, *map(float, (layer.rate.value, layer.beta.value)))
        self.seen.append(tuple(round(x, 4) for x in state))


def seen_stages(*arguments, model=None, **fit_arguments):
    model, watch = model or model_of(), Watch()
    fit(model, *arguments, watch, **fit_arguments)
    return [stage for stage, _, _ in watch.seen]


def test_half_of_the_fit_is_stage_1_and_half_stage_2():
    model = model_of()
    # A batch sees the stage that the one before left: 1 at first, then 2 after half.
    assert seen_stages(Binarization(), model=model) == [1] * 19 + [2] * 21
    assert stages(model) == [2, 2, 2]


def test_stages_begin_where_they_are_told_to():
    callback = Binarization(compress_at=0.25, binarize_at=0.75)
    assert seen_stages(callback) == [0] * 9 + [1] * 20 + [2] * 11
    callback = Binarization(compress_at=0.0, binarize_at=0.0)
    assert seen_stages(callback) == [2] * 40


def test_binary_from_the_start_compresses_first():
    model = model_of()
    before = model.layers[0].kernel.numpy()
    model.optimizer.learning_rate = 0.0
    fit(model, Binarization(binarize_at=0.0), epochs=1)
    np.testing.assert_allclose(model.layers[0].kernel, np.arctanh(before), rtol=1e-5)


def test_nothing_is_traced_anew(monkeypatch):
    model, traces = model_of(), []
    call = BitwiseDense.effective_kernel
    monkeypatch.setattr(
        BitwiseDense,
        "effective_kernel",
        lambda self, training=False: (
            traces.append(self.name),
            call(self, training=training),
        )[1],
    )
    fit(model, epochs=1)
    count = len(traces)
    fit(model, Binarization(compress_at=0.25, binarize_at=0.5, random_until=0.75))
    assert len(traces) == count
    assert stages(model) == [2, 2, 2]


@pytest.mark.parametrize("frequency", [None, 1000])
@pytest.mark.parametrize("sparsity", [0.0, 0.25, 0.9])
def test_the_fit_ends_at_the_sparsity(sparsity, frequency):
    model = model_of()
    history = fit(model, Binarization(sparsity=sparsity, frequency=frequency))
    zeros = [
        np.count_nonzero(model.get_layer(name).ternary_kernel == 0)
        for name in ("fc1", "fc2")
    ]
    assert zeros == [round(sparsity * 512), round(sparsity * 128)]
    assert history["sparsity"][-1] == pytest.approx(sum(zeros) / 640)
    assert history["stage"] == [1, 2, 2, 2]


@pytest.mark.parametrize(("frequency", "count"), [(None, 21), (5, 5), (100, 2)])
def test_beta_is_estimated_every_so_many_updates(frequency, count, monkeypatch):
    binarize, calls = BitwiseDense.binarize, []
    monkeypatch.setattr(
        BitwiseDense,
        "binarize",
        lambda self, *given, **named: (
            calls.append(self.name),
            binarize(self, *given, **named),
        ),
    )
    fit(model_of(), Binarization(sparsity=0.5, frequency=frequency))
    assert calls.count("fc1") == count


@pytest.mark.parametrize("frequency", [None, 1000])
def test_the_share_of_bits_grows_in_equal_steps(frequency):
    watch = Watch()
    callback = Binarization(
        binarize_at=0.25, random_until=0.75, increments=4, frequency=frequency
    )
    fit(model_of(), callback, watch)
    rates = [rate for stage, rate, _ in watch.seen if stage == 2]
    assert rates == [0.25] * 5 + [0.5] * 5 + [0.75] * 5 + [1.0] * 16


def test_flips_are_counted():
    class Flip(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 2:
                kernel = self.model.layers[0].kernel
                kernel.assign(-kernel.numpy())

    model = model_of(optimizer=keras.optimizers.SGD(0.0))
    history = fit(model, Binarization(), Flip())
    assert history["flip_ratio"] == [0.0, 0.0, 512 / 640, 0.0]


def test_weights_that_are_dropped_count_as_flips():
    model = model_of(optimizer=keras.optimizers.SGD(0.0))
    history = fit(model, Binarization(binarize_at=0.0, sparsity=0.5), epochs=1)
    # They fell when stage 2 began, at progress 0, from where on flips are counted.
    assert history["flip_ratio"] == [0.0]
    history = fit(model, Binarization(binarize_at=0.5, sparsity=0.25), epochs=2)
    assert history["flip_ratio"][0] == 0.25


@pytest.mark.parametrize(
    "arguments",
    [
        {"steps_per_execution": 3},
        {"jit_compile": True, "steps_per_execution": 2},
        {"run_eagerly": True},
        {"optimizer": {"class_name": "SGD", "gradient_accumulation_steps": 4}},
        {"optimizer": {"class_name": "Adam", "use_ema": True}},
        {"optimizer": {"class_name": "AdamW", "weight_decay": 0.1}},
        {"policy": "mixed_float16"},
        {"policy": "mixed_bfloat16"},
        {"layer": {"scale": True, "gradient": "lecture", "masked": True}},
    ],
    ids=str,
)
def test_whatever_fit_does(arguments):
    if "optimizer" in arguments:
        config = dict(arguments["optimizer"])
        optimizer = getattr(keras.optimizers, config.pop("class_name"))(**config)
        arguments = {**arguments, "optimizer": optimizer}
    model = model_of(**arguments)
    history = fit(model, Binarization(sparsity=0.5, random_until=0.75))
    assert stages(model) == [2, 2, 2]
    assert np.isfinite(history["loss"]).all()
    weights = np.asarray(model.layers[0].effective_kernel(), "float32")
    assert set(np.unique(weights)) == {-1.0, 0.0, 1.0}
    assert model.layers[0].sparsity == pytest.approx(0.5, abs=0.01)


def test_data_of_unknown_length_goes_by_epoch():
    data = tf.data.Dataset.from_tensor_slices((INPUTS, TARGETS)).batch(32)
    data = data.filter(lambda x, y: True)
    model = model_of()
    model.fit(data, epochs=4, verbose=0, callbacks=[Binarization(sparsity=0.5)])
    assert stages(model) == [2, 2, 2]
    assert model.layers[0].sparsity == 0.5


def test_a_saved_model_goes_on_where_it_stopped(tmp_path):
    whole = model_of(layer={"scale": True})
    start = whole.get_weights()
    callback = Binarization(binarize_at=0.25, sparsity=0.5, random_until=0.75)
    seeds = [x.seed_generator.state.numpy() for x in (whole.layers[0], whole.layers[2])]
    fit(whole, callback, shuffle=False)

    part = model_of(layer={"scale": True})
    part.set_weights(start)
    for layer, seed in zip((part.layers[0], part.layers[2]), seeds, strict=True):
        layer.seed_generator.state.assign(seed)
    stop = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: setattr(part, "stop_training", epoch == 1)
    )
    fit(part, callback, stop, shuffle=False)
    part.save(tmp_path / "part.keras")
    part = keras.models.load_model(tmp_path / "part.keras")
    assert stages(part) == [2, 2, 2]
    assert float(part.layers[0].rate.value) < 1.0
    callback = Binarization(binarize_at=0.25, sparsity=0.5, random_until=0.75)
    fit(part, callback, initial_epoch=2, shuffle=False)
    for one, other in zip(whole.weights, part.weights, strict=True):
        np.testing.assert_allclose(one.numpy(), other.numpy(), rtol=1e-4, atol=1e-5)


def test_backup_and_restore(tmp_path):
    class Crash(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            if epoch == 2:
                raise RuntimeError("power cut")

    def backup():
        return keras.callbacks.BackupAndRestore(tmp_path / "backup")

    with pytest.raises(RuntimeError, match="power cut"):
        fit(model_of(), Binarization(sparsity=0.5), backup(), Crash())
    restarted = model_of()
    assert seen_stages(Binarization(sparsity=0.5), backup(), model=restarted) == (
        [2] * 10
    )
    assert restarted.layers[0].sparsity == 0.5


def test_what_is_bitwise_stays_bitwise():
    model = model_of()
    fit(model, Binarization())
    assert seen_stages(Binarization(), model=model) == [2] * 40


def test_a_fit_that_ends_too_early_is_a_loud_warning():
    model = model_of()
    stop = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: setattr(model, "stop_training", True)
    )
    with pytest.warns(UserWarning, match="ended at 25% .* at 50%: .* fc1, units, fc2"):
        fit(model, Binarization(), stop)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        fit(model, Binarization(), initial_epoch=1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"compress_at": -0.1}, r"`compress_at` must be a number in \[0, 1\]"),
        ({"binarize_at": 1.0}, r"`binarize_at` must be in .* here \[0, 1\)"),
        ({"compress_at": 0.6}, r"`binarize_at` must be in .* here \[0.6, 1\)"),
        ({"sparsity": 2}, r"`sparsity` must be a number in \[0, 1\]"),
        ({"frequency": 0}, "`frequency` must be an integer >= 1"),
        ({"random_until": 0.5}, r"`random_until` must be .* here \(0.5, 1\]"),
        ({"random_until": "end"}, "`random_until` must be a finite number"),
        ({"increments": 1}, "`increments` must be an integer >= 2"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        Binarization(**arguments)


def test_models_that_have_no_bits():
    model = keras.Sequential([keras.Input((16,)), kl.Dense(4)])
    model.compile("adam", "mse")
    with pytest.raises(ValueError, match="no bitwise layers in 'sequential"):
        fit(model, Binarization())

    class NoIterations:
        pass

    callback, model = Binarization(), model_of()
    callback.set_model(model)
    model.optimizer = NoIterations()
    with pytest.raises(ValueError, match=r"counts its `iterations`\..*NoIter"):
        callback.on_train_begin()


def test_binarization_under_a_mirrored_strategy():
    cpus = tf.config.list_logical_devices("CPU")
    if len(cpus) < 2:
        pytest.skip("needs two logical processors, set before TensorFlow starts")
    strategy = tf.distribute.MirroredStrategy(
        [cpu.name for cpu in cpus[:2]],
        cross_device_ops=tf.distribute.ReductionToOneDevice(),
    )
    with strategy.scope():
        model = model_of(layer={"masked": True, "scale": True})
    data = tf.data.Dataset.from_tensor_slices((INPUTS, TARGETS)).batch(32)
    model.fit(
        data,
        epochs=2,
        verbose=0,
        callbacks=[Binarization(sparsity=0.5, random_until=0.75)],
    )
    for variable in (model.layers[0].stage, model.layers[0].beta):
        one, two = strategy.experimental_local_results(variable.value)
        assert one.numpy() == two.numpy()
    assert stages(model) == [2, 2, 2]


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"gradient": "lecture"},
        {"straight_through": "swish", "scale": True},
    ],
    ids=str,
)
def test_a_bitwise_network_learns_digits(arguments, small_digits):
    """Swapped from a float network: bits in, bits inside, integer sums out."""
    data = small_digits
    model = keras.Sequential(
        [
            keras.Input((64,)),
            kl.Dense(128, name="fc1"),
            kl.BatchNormalization(momentum=0.9, name="bn1"),
            kl.Activation("tanh", name="units"),
            kl.Dense(10, name="fc2"),
            kl.BatchNormalization(momentum=0.9, name="bn2"),
        ]
    )
    small = kc.swap(model, kc.Bitwise(inputs="bits", **arguments))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    small.compile(keras.optimizers.Adam(3e-3), loss, metrics=["accuracy"])
    small.fit(
        *(data.x_train, data.y_train),
        epochs=12,
        batch_size=64,
        verbose=0,
        callbacks=[Binarization()],
    )
    _, accuracy = small.evaluate(data.x_test, data.y_test, verbose=0)
    assert accuracy > 0.85
    bits = keras.Model(small.inputs, small.get_layer("units").output)
    assert set(np.unique(bits.predict(data.x_test, verbose=0))) == {-1.0, 1.0}
    sums = keras.Model(small.inputs, small.get_layer("fc2").output)
    if not arguments.get("scale"):
        found = sums.predict(data.x_test, verbose=0)
        np.testing.assert_array_equal(found, found.round())
