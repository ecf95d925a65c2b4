"""Fixed-point networks in `swap` and `fit`: formats, ghosts and noise by progress."""

import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers as kl

import keras_compress as kc
from keras_compress.callbacks import QuantizationNoise

RANDOM = np.random.default_rng(0)
INPUTS = RANDOM.standard_normal((160, 16)).astype("float32")
TARGETS = RANDOM.standard_normal((160, 4)).astype("float32")
Q = kc.QFormat
FULL = kc.FixedPoint(
    kernel=Q(1, 4),
    bias=Q(1, 6),
    inputs=Q(2, 4),
    pre_activations=Q(4, 6),
    outputs=Q(3, 3),
)


def float_model():
    return keras.Sequential(
        [
            keras.Input((16,)),
            kl.Dense(32, activation="relu", name="fc1", bias_initializer="ones"),
            kl.Dense(4, name="fc2"),
        ]
    )


def model_of(config=FULL, **compile_arguments):
    model = kc.swap(float_model(), config)
    model.compile(keras.optimizers.Adam(0.01), "mse", **compile_arguments)
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


class Watch(keras.callbacks.Callback):
    """Notes the noise of the first layer after every batch."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def on_train_batch_end(self, batch, logs=None):
        layer = self.model.layers[0]
        finer, rate = (float(x.numpy()) for x in (layer.finer, layer.rate))
        self.seen.append((layer.noise_name, round(rate, 2), int(np.log2(finer))))


def seen(callback):
    """The noise after each batch of 4 epochs of 5, by progress alone."""
    model = model_of()
    watch = Watch()
    callback.set_model(model)
    callback.set_params({"epochs": 4, "steps": 5})
    watch.set_model(model)
    callback.on_train_begin()
    for epoch in range(4):
        callback.on_epoch_begin(epoch)
        for batch in range(5):
            callback.on_train_batch_end(batch)
            watch.on_train_batch_end(batch)
        callback.on_epoch_end(epoch, {})
    callback.on_train_end()
    return watch.seen


def by_hand(x, kernel, bias, activation):
    """A layer of FULL, in NumPy, by the definition of each format."""
    sums = FULL.inputs.quantize(x) @ FULL.kernel.quantize(kernel)
    sums = FULL.pre_activations.quantize(sums + FULL.bias.quantize(bias))
    return FULL.outputs.quantize(activation(sums))


def test_the_forward_pass_is_of_quantized_values():
    model = model_of()
    fc1, fc2 = model.layers
    x = by_hand(INPUTS, fc1.kernel.numpy(), fc1.bias.numpy(), lambda y: y.clip(0))
    x = by_hand(x, fc2.kernel.numpy(), fc2.bias.numpy(), lambda y: y)
    np.testing.assert_array_equal(model(INPUTS), x)
    np.testing.assert_array_equal(model.predict(INPUTS, verbose=0), x)


def test_updates_go_to_the_ghosts():
    model = model_of()
    before = model.layers[0].kernel.numpy()
    model.optimizer.learning_rate = 1e-4
    fit(model, epochs=1)
    after = model.layers[0].kernel.numpy()
    assert (before != after).mean() > 0.9
    grid = after * 2**4
    assert (grid != np.round(grid)).mean() > 0.9
    kernel = model.layers[0].effective_kernel().numpy()
    np.testing.assert_array_equal(kernel * 2**4, np.round(kernel * 2**4))


@pytest.mark.parametrize("gradient", ["identity", "clipped"])
def test_gradients_are_those_at_the_quantized_values(gradient):
    config = kc.FixedPoint(kernel=Q(-1, 4), gradient=gradient)
    layer = kc.swap(float_model(), config).layers[1]
    x = tf.constant(RANDOM.standard_normal((8, 32)), tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = layer(x)
    to_x, to_kernel = tape.gradient(y, [x, layer.kernel.value], tf.ones_like(y))
    kernel = layer.kernel.numpy()
    quantized = Q(-1, 4).quantize(kernel)
    np.testing.assert_allclose(to_x, np.ones((8, 4)) @ quantized.T, rtol=1e-5)
    expected = x.numpy().T @ np.ones((8, 4))
    if gradient == "clipped":
        expected = expected * ((kernel >= -0.5) & (kernel <= 0.4375))
    np.testing.assert_allclose(to_kernel, expected, rtol=1e-4, atol=1e-5)


def test_channels_have_formats_of_their_own():
    q = Q.per_channel([Q(0, 1), Q(0, 3), Q(1, 2), Q(2, 0)])
    model = kc.swap(float_model(), {"fc2": kc.FixedPoint(kernel=q)})
    layer = model.get_layer("fc2")
    kernel = layer.kernel.numpy()
    for channel in range(4):
        np.testing.assert_array_equal(
            layer.effective_kernel()[:, channel],
            q.channel(channel).quantize(kernel[:, channel]),
        )
    with pytest.raises(ValueError, match="32 channels"):
        kc.swap(float_model(), {"fc1": kc.FixedPoint(kernel=q)})


def test_noise_by_progress():
    assert seen(QuantizationNoise()) == [("rounding", 1.0, 0)] * 20
    half = seen(QuantizationNoise(start=0.5))
    assert half == [("float", 1.0, 0)] * 9 + [("rounding", 1.0, 0)] * 11
    falling = seen(QuantizationNoise(start=0.2, extra_bits=4))
    assert [bits for _, _, bits in falling] == (
        [0] * 3 + [4] * 4 + [3] * 5 + [2] * 3 + [1] * 4 + [0]
    )
    assert [name for name, _, _ in falling] == ["float"] * 3 + ["rounding"] * 17
    partial = seen(QuantizationNoise(kind="partial", rate=(0.0, 1.0), end=0.5))
    assert [name for name, _, _ in partial] == ["partial"] * 9 + ["rounding"] * 11
    assert [rate for _, rate, _ in partial[:9]] == [x / 10 for x in range(1, 10)]
    uniform = seen(QuantizationNoise(kind="uniform", end=0.9))
    assert [name for name, _, _ in uniform] == ["uniform"] * 17 + ["rounding"] * 3


def test_a_float_phase_is_the_float_network():
    model, plain = model_of(), float_model()
    plain.set_weights([x.numpy() for x in model.trainable_variables])
    plain.compile(keras.optimizers.Adam(0.01), "mse")
    loss = fit(plain, epochs=2)["loss"]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        noise = QuantizationNoise(start=1.0)
        assert fit(model, noise, epochs=2)["loss"] == pytest.approx(loss, rel=1e-6)
    assert not [x for x in caught if "quantization is full" in str(x.message)]
    assert model.layers[0].noise_name == "rounding"  # the end of the fit is the end


def test_logs_and_the_warning_of_a_short_fit():
    class Stop(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.model.stop_training = epoch == 1

    noise = QuantizationNoise(start=0.25, kind="partial", rate=0.5)
    with pytest.warns(UserWarning, match="ended at 50%"):
        history = fit(model_of(), noise, Stop())
    assert history["quantized"] == [0.5, 0.5]
    assert history["extra_bits"] == [0, 0]


def test_nothing_is_traced_anew(monkeypatch):
    model, traces = model_of(), []
    sums = kc.layers.FixedPointDense.sums
    monkeypatch.setattr(
        kc.layers.FixedPointDense,
        "sums",
        lambda self, *args, **kwargs: (
            traces.append(self.name),
            sums(self, *args, **kwargs),
        )[1],
    )
    fit(model, epochs=1)
    count = len(traces)
    fit(model, QuantizationNoise(start=0.3, end=0.9, kind="partial", extra_bits=3))
    assert len(traces) == count


def test_noise_leaves_inference_alone():
    model = model_of()
    expected = model(INPUTS).numpy()
    for noise in ("partial", "uniform"):
        model.layers[0].set_noise(noise, rate=0.5)
        np.testing.assert_array_equal(model(INPUTS), expected)
        assert (model(INPUTS, training=True).numpy() != expected).any()


def test_a_fit_goes_on_where_it_was_saved(tmp_path):
    class Stop(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.model.stop_training = True

    def callback():
        return QuantizationNoise(kind="partial", rate=(0.2, 0.8))

    model = model_of()
    with pytest.warns(UserWarning, match="ended at 50%"):
        fit(model, callback(), Stop(), epochs=2, shuffle=False)
    model.save(tmp_path / "half.keras")
    loaded = keras.models.load_model(tmp_path / "half.keras")
    assert loaded.layers[0].noise_name == "partial"
    assert float(loaded.layers[0].rate.numpy()) == float(model.layers[0].rate.numpy())
    more = {"epochs": 2, "initial_epoch": 1, "shuffle": False}
    assert fit(model, callback(), **more) == fit(loaded, callback(), **more)


def test_swapping_stacks_with_pruning():
    pruned = kc.swap(float_model(), kc.Prune())
    for layer in pruned.layers:
        layer.prune(sparsity=0.5)
    both = kc.swap(pruned, FULL)
    assert type(both.layers[0]) is kc.layers.PrunedFixedPointDense
    kernel = both.layers[0].effective_kernel().numpy()
    assert both.layers[0].sparsity == 0.5
    np.testing.assert_array_equal(
        kernel,
        pruned.layers[0].mask.numpy()
        * FULL.kernel.quantize(pruned.layers[0].kernel.numpy()),
    )
    other = kc.swap(model_of(), kc.Prune(pattern=(1, 4)))
    assert type(other.layers[0]) is kc.layers.PrunedFixedPointDense
    assert other.layers[0].formats == model_of().layers[0].formats
    again = kc.swap(both, kc.FixedPoint(kernel=Q(0, 2)))
    assert again.layers[0].kernel_format == Q(0, 2)
    np.testing.assert_array_equal(again.layers[0].mask, both.layers[0].mask)


def test_a_config_goes_through_json():
    config = keras.saving.serialize_keras_object(FULL)
    assert keras.saving.deserialize_keras_object(config) == FULL


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"kernel": 8}, "`kernel`"),
        ({"inputs": Q((1, 1), (2, 2))}, "`inputs`"),
        ({"gradient": "none"}, "`gradient`"),
    ],
)
def test_a_wrong_config_is_refused(arguments, match):
    with pytest.raises(ValueError, match=match):
        kc.FixedPoint(**arguments)


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"start": 1.5}, "`start`"),
        ({"start": 0.5, "end": 0.25}, "`end`"),
        ({"kind": "gaussian"}, "`kind`"),
        ({"kind": "partial", "rate": 2}, "`rate`"),
        ({"kind": "partial", "rate": (0.1, 0.2, 0.3)}, "`rate`"),
        ({"extra_bits": -1}, "`extra_bits`"),
    ],
)
def test_a_wrong_callback_is_refused(arguments, match):
    with pytest.raises(ValueError, match=match):
        QuantizationNoise(**arguments)


def test_what_has_no_fixed_point_layers_is_refused():
    model = float_model()
    model.compile("sgd", "mse")
    with pytest.raises(ValueError, match="no fixed-point layers"):
        fit(model, QuantizationNoise())
    layer = kc.layers.FixedPointDense(4)
    with pytest.raises(ValueError, match="must be built"):
        layer.set_noise("float")
