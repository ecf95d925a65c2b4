"""`swap` to low rank, and `pack` of it: on models of every shape, by every method."""

import json
import warnings

import keras
import numpy as np
import pytest
from model_cases import MODELS, convolutional, samples, scramble

import keras_compress as kc
from keras_compress._copies import all_layers
from keras_compress.functional import convolution
from keras_compress.layers import LowRankConv2D, LowRankDense, ProjectedDense
from keras_compress.ops._library import has_vectors

FORMS = [name for name in convolution.FORMS if name != "svd"]
LOW_RANK = (
    *(kc.layers.LowRankDense, kc.layers.LowRankConv2D),
    *(kc.layers.ProjectedDense, kc.layers.ProjectedConv2D),
)

needs_native = pytest.mark.skipif(
    not has_vectors(), reason="without native ops `pack` makes plain layers"
)


def random_weights(model, seed=1):
    random = np.random.default_rng(seed)
    for variable in model.weights:
        variable.assign(0.5 + random.random(variable.shape))
    return model


def wide(inputs=40, units=30, **arguments):
    """One layer, whose kernel is of rank 3 and a little noise."""
    model = keras.Sequential(
        [keras.Input((inputs,)), keras.layers.Dense(units, name="fc", **arguments)]
    )
    random = np.random.default_rng(0)
    kernel = random.standard_normal((inputs, 3)) @ random.standard_normal((3, units))
    kernel += 1e-3 * random.standard_normal((inputs, units))
    model.layers[0].kernel.assign(kernel)
    return model


def image_model(**arguments):
    layer = keras.layers.Conv2D(12, 5, name="conv", activation="relu", **arguments)
    model = keras.Sequential([keras.Input((12, 14, 6)), layer])
    return random_weights(model)


def is_low_rank(layer):
    return isinstance(layer, LOW_RANK)


def assert_close(one, other):
    """To float32 rounding of sums that were added up in another order."""
    for left, right in zip(
        keras.tree.flatten(one), keras.tree.flatten(other), strict=True
    ):
        size = max(1.0, float(np.abs(right).max()))
        np.testing.assert_allclose(left, right, rtol=0, atol=3e-5 * size)


def images(model):
    return samples(model, count=3)


@pytest.mark.parametrize("make", MODELS)
def test_models_of_every_shape_swap_and_pack(make):
    """At energy 1 nothing is lost, whatever the model is like."""
    model = make()
    training = "projected" if make is convolutional else "factors"
    scramble(model)
    inputs = samples(model)
    expected = model(inputs)
    before = [variable.numpy() for variable in model.variables]
    small = kc.swap(model, kc.LowRank(energy=1.0, force=True, training=training))
    assert any(is_low_rank(layer) for layer in all_layers(small))
    outputs = small(inputs)
    keras.tree.map_structure(
        lambda one, two: np.testing.assert_allclose(one, two, rtol=1e-3, atol=1e-3),
        outputs,
        expected,
    )
    packed = kc.pack(small)
    assert not any(is_low_rank(layer) for layer in all_layers(packed))
    assert_close(packed(inputs), outputs)
    for old, variable in zip(before, model.variables, strict=True):
        np.testing.assert_array_equal(old, variable.numpy())


@pytest.mark.parametrize(
    ("amount", "rank"),
    [
        ({"rank": 5}, 5),
        ({"energy": 0.999}, 3),
        ({"max_error": 0.05}, 3),
        ({"params": 4 * 70 + 69}, 4),
        ({"params": 0.25}, 4),
    ],
)
def test_every_way_to_choose_the_rank(amount, rank):
    model = wide()
    layer = kc.swap(model, kc.LowRank(**amount)).layers[0]
    assert type(layer) is LowRankDense
    assert layer.kernel_rank == rank
    u, s, vt = np.linalg.svd(model.layers[0].kernel.numpy())
    best = u[:, :rank] * s[:rank] @ vt[:rank]
    np.testing.assert_allclose(layer.effective_kernel(), best, atol=1e-4)


def test_what_would_cost_more_stays_and_is_named():
    model = wide()
    with pytest.warns(UserWarning, match=r"fc: at rank 18 .* 1,260 weights.* 1,200"):
        small = kc.swap(model, kc.LowRank(rank=18))
    assert type(small.layers[0]) is keras.layers.Dense
    np.testing.assert_array_equal(small.layers[0].kernel, model.layers[0].kernel)
    assert "'fc' was left: at rank 18" in str(kc.report(model, small))
    forced = kc.swap(model, kc.LowRank(rank=18, force=True))
    assert type(forced.layers[0]) is LowRankDense
    assert type(kc.swap(model, kc.LowRank(rank=17)).layers[0]) is LowRankDense


def test_report_counts_the_factors():
    model = wide()
    small = kc.swap(model, kc.LowRank(rank=3))
    cost = kc.report(small).models[0]
    assert cost.weights == cost.multiply_adds == 3 * (40 + 30)
    packed = kc.pack(small, batch=64)
    assert kc.report(packed).models[0].weights == 3 * (40 + 30)
    model = image_model(strides=2)
    for method in ("svd", "tucker", "cp", "monochromatic", "bicluster"):
        config = kc.LowRank(rank=2, method=method, force=True)
        cost = kc.report(kc.swap(model, config)).models[0]
        sizes = method, (5, 5, 6, 12), 2
        assert cost.weights == convolution.weights(*sizes, (2, 2))
        pixels = 4 * 5
        each = convolution.multiply_adds(*sizes, (2, 2), (2, 2))
        assert cost.multiply_adds == each * pixels


@pytest.mark.parametrize("method", ["svd", *FORMS])
@pytest.mark.parametrize(
    "geometry",
    [
        {},
        {"strides": 2, "padding": "same"},
        {"strides": (2, 1)},
        {"dilation_rate": 2, "padding": "same", "use_bias": False},
        {"data_format": "channels_first"},
    ],
)
def test_convolutions_keep_their_geometry(method, geometry):
    """The outputs are those of a `Conv2D` with the factors' product, packed, too."""
    model = image_model(**geometry)
    rank = (2, 3) if method == "tucker" else 2
    config = kc.LowRank(rank=rank, method=method, force=True, clusters=(3, 2))
    small = kc.swap(model, config)
    layer = small.layers[0]
    assert type(layer) is LowRankConv2D
    outputs = small(images(model))
    product = np.asarray(layer.effective_kernel())
    model.layers[0].kernel.assign(product)
    expected = model(images(model))
    np.testing.assert_allclose(outputs, expected, rtol=1e-3, atol=1e-3)
    packed = kc.pack(small, batch=100_000)
    outputs = packed(images(model))
    np.testing.assert_allclose(outputs, expected, rtol=1e-3, atol=1e-3)
    assert packed.output_shape == model.output_shape


@pytest.mark.parametrize("method", FORMS)
def test_forms_train_save_and_load(method, tmp_path):
    model = image_model(padding="same")
    config = kc.LowRank(rank=2, method=method, force=True)
    small = kc.swap(model, config)
    # Not traced: that takes most of the time here.
    small.compile(keras.optimizers.Adam(0.01), "mse", run_eagerly=True)
    inputs = images(model)
    targets = np.zeros((3, *small.output_shape[1:]))
    losses = small.fit(inputs, targets, epochs=3, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
    small.save(tmp_path / "small.keras")
    loaded = keras.models.load_model(tmp_path / "small.keras")
    np.testing.assert_array_equal(loaded(inputs), small(inputs))


@pytest.mark.parametrize("method", FORMS)
def test_forms_from_scratch_keep_the_variance(method):
    layer = LowRankConv2D(64, 5, 16, method=method, kernel_initializer="he_normal")
    model = keras.Sequential([keras.Input((12, 12, 32)), layer])
    inputs = np.random.default_rng(0).standard_normal((4, 12, 12, 32))
    assert 0.1 < np.std(model(inputs)) < 5.0


def test_methods_for_convolutions_leave_dense_layers_alone():
    model = convolutional()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        small = kc.swap(model, kc.LowRank(rank=1, method="cp"))
    kinds = {layer.name: type(layer).__name__ for layer in small.layers}
    assert kinds["fc1"] == "Dense"
    assert kinds["conv1"] == "LowRankConv2D"
    assert kinds["conv3"] == "Conv2D"  # it has groups


def test_swapping_again_refines_or_keeps():
    small = kc.swap(wide(), kc.LowRank(rank=5))
    same = kc.swap(small, kc.LowRank(rank=5))
    np.testing.assert_array_equal(same.layers[0].left, small.layers[0].left)
    less = kc.swap(small, kc.LowRank(rank=2)).layers[0]
    kernel = small.layers[0].effective_kernel().numpy()
    u, s, vt = np.linalg.svd(kernel)
    best = u[:, :2] * s[:2] @ vt[:2]
    np.testing.assert_allclose(less.effective_kernel(), best, atol=1e-4)
    ghost = kc.swap(small, kc.LowRank(rank=5, training="projected")).layers[0]
    assert type(ghost) is ProjectedDense
    np.testing.assert_allclose(ghost.effective_kernel(), kernel, atol=1e-4)
    factors = kc.swap(
        kc.swap(wide(), kc.LowRank(rank=5, training="projected")), kc.LowRank(rank=5)
    ).layers[0]
    assert type(factors) is LowRankDense
    np.testing.assert_allclose(factors.effective_kernel(), kernel, atol=1e-4)


def kinds_of_packed(rank, batch=None, sides=(400, 300)):
    small = kc.swap(wide(*sides), kc.LowRank(rank=rank, force=True))
    return [type(layer).__name__ for layer in kc.pack(small, batch=batch).layers]


@needs_native
def test_pack_takes_what_is_faster():
    for batch in (None, 1, 64):
        assert kinds_of_packed(30, batch) == ["PackedLowRankDense"]
        assert kinds_of_packed(120, batch) == ["PackedLowRankDense"]
        assert kinds_of_packed(172, batch) == ["Dense"]
    assert kinds_of_packed(3, sides=(16, 16)) == ["Dense"]


def test_pack_without_native_ops_takes_what_is_faster(monkeypatch):
    monkeypatch.setattr(
        "keras_compress.layers._low_rank_pack.has_vectors", lambda: False
    )
    assert kinds_of_packed(30) == ["Sequential"]
    assert kinds_of_packed(172) == ["Dense"]
    assert kinds_of_packed(120, batch=1) == ["Dense"]
    assert kinds_of_packed(120, batch=64) == ["Sequential"]
    assert kinds_of_packed(120) == ["Dense"]
    # Too little to gain at batch 1.
    assert kinds_of_packed(3, sides=(100, 100)) == ["Dense"]
    assert kinds_of_packed(3, sides=(100, 100), batch=64) == ["Sequential"]


@pytest.mark.parametrize("method", ["svd", *FORMS])
def test_pack_of_convolutions_takes_what_is_faster(method):
    """Small layers and small gains are multiplied back; the rest is plain, or stays."""
    model = image_model()
    config = kc.LowRank(rank=1, method=method, clusters=(3, 2))
    small = kc.swap(model, config)
    layer = small.layers[0]
    assert type(kc.pack(small, batch=1).layers[0]) is keras.layers.Conv2D
    packed = kc.pack(small, batch=10_000)
    work = convolution.multiply_adds(method, (5, 5, 6, 12), 1, clusters=(3, 2))
    gains = 5 * 5 * 6 * 12 / work >= convolution.LEAST_GAIN[method]
    has_layers = method not in ("monochromatic", "bicluster")
    form = keras.Sequential if has_layers else LowRankConv2D
    assert type(packed.layers[0]) is (form if gains else keras.layers.Conv2D)
    assert_close(packed(images(model)), small(images(model)))
    assert packed.layers[0] is not layer
    assert not packed.trainable_variables


@pytest.mark.parametrize("native", [False, pytest.param(True, marks=needs_native)])
def test_packed_factors_can_be_pruned_in_turn(native, monkeypatch):
    monkeypatch.setattr(
        "keras_compress.layers._low_rank_pack.has_vectors", lambda: native
    )
    small = kc.swap(wide(activation="relu"), kc.LowRank(rank=3))
    packed = kc.pack(small, batch=64)
    assert isinstance(packed.layers[0], keras.Sequential) is not native
    again = kc.swap(packed, kc.Prune(), where="fc*" if native else "fc/*")
    left, right = again.layers[0].layers
    assert (left.name, right.name) == ("fc_left", "fc_right")
    np.testing.assert_array_equal(left.kernel, small.layers[0].left)
    for layer in again.layers[0].layers:
        layer.prune(sparsity=0.5)
    inputs = samples(packed)
    outputs = again(inputs)
    assert_close(kc.pack(again)(inputs), outputs)


@pytest.mark.parametrize("where", ["fc", "fc*", ["fc"], None, lambda x: x.name == "fc"])
@pytest.mark.parametrize("training", ["factors", "projected"])
def test_factors_can_be_pruned_in_turn(where, training):
    small = kc.swap(wide(), kc.LowRank(rank=3, training=training))
    small.compile("adam", "mse")
    inputs = samples(small)
    pruned = kc.swap(small, kc.Prune(), where=where)
    assert pruned.compiled
    kinds = [type(layer).__name__ for layer in pruned.layers[0].layers]
    assert kinds == ["PrunedDense", "PrunedDense"]
    assert pruned.layers[0].name == "fc"
    assert_close(pruned(inputs), small(inputs))
    for layer in pruned.layers[0].layers:
        layer.prune(sparsity=0.5)
    pruned.fit(inputs, np.zeros((5, 30)), verbose=0)
    assert_close(kc.pack(pruned)(inputs), pruned(inputs))


def test_factors_of_convolutions_can_be_pruned_in_turn():
    model = image_model()
    small = kc.swap(model, kc.LowRank(rank=2, method="tucker"))
    pruned = kc.swap(small, {"conv": kc.Prune()})
    kinds = [type(layer).__name__ for layer in pruned.layers[0].layers]
    assert kinds == ["PrunedConv2D"] * 3
    assert_close(pruned(images(model)), small(images(model)))


def test_a_wrapper_that_wants_a_kernel_gets_one():
    layer = keras.layers.TimeDistributed(keras.layers.Dense(30, name="fc"))
    model = keras.Sequential([keras.Input((4, 40)), layer])
    small = kc.swap(model, kc.LowRank(rank=3))
    inputs = samples(model)
    assert_close(kc.pack(small)(inputs), small(inputs))


class TestWhitened:
    """Data-aware factors: on the inputs that there are, and layer after layer."""

    def model(self, **arguments):
        """Three wide layers whose inputs lie in few directions."""
        dense = keras.layers.Dense
        layers = [
            keras.Input((40,)),
            dense(48, activation="tanh", name="fc1", **arguments),
            keras.layers.BatchNormalization(name="norm"),
            dense(48, activation="relu", name="fc2", **arguments),
            dense(48, name="fc3", **arguments),
        ]
        model = keras.Sequential(layers)
        random = np.random.default_rng(1)
        for variable in model.weights:
            size = variable.shape[0] ** -0.5
            values = 0.2 + size * random.standard_normal(variable.shape)
            variable.assign(np.abs(values) if len(values.shape) == 1 else values)
        return model

    def data(self, count=400, seed=2):
        random = np.random.default_rng(seed)
        scales = np.geomspace(3.0, 0.03, 40)
        turn = np.linalg.qr(np.random.default_rng(9).standard_normal((40, 40)))[0]
        return (random.standard_normal((count, 40)) * scales @ turn + 0.5).astype(
            "float32"
        )

    def error(self, model, small, data):
        expected = model(data)
        outputs = small(data)
        return np.linalg.norm(outputs - expected) / np.linalg.norm(expected)

    def test_it_is_nearer_than_the_svd_on_new_data(self):
        model, new = self.model(), self.data(seed=3)
        plain = kc.swap(model, kc.LowRank(rank=6))
        config = kc.LowRank(rank=6, method="whitened_svd")
        white = kc.swap(model, config, data=self.data())
        assert type(white.layers[0]) is LowRankDense
        assert self.error(model, white, new) < 0.5 * self.error(model, plain, new)

    def test_layers_make_up_for_those_before_them(self):
        """The second layer is fitted to what the first one now lets through."""
        model, data = self.model(), self.data()
        config = kc.LowRank(rank=6, method="whitened_svd")
        small = kc.swap(model, config, data=data)

        def halfway(model):
            return model.layers[1](model.layers[0](data)).numpy()

        got, meant = halfway(small), halfway(model)
        layer = model.layers[2]
        wanted = meant @ layer.kernel.numpy() + layer.bias.numpy()
        # Reduced-rank regression with an intercept, by least squares.
        centre, middle = got.mean(axis=0), wanted.mean(axis=0)
        fit = np.linalg.lstsq(got - centre, wanted - middle, rcond=None)[0]
        predicted = (got - centre) @ fit
        vt = np.linalg.svd(predicted, full_matrices=False)[2][:6]
        best = np.linalg.norm(wanted - middle - predicted @ vt.T @ vt)
        new = small.layers[2]
        outputs = got @ new.effective_kernel().numpy() + new.bias.numpy()
        error = np.linalg.norm(wanted - outputs)
        assert error <= 1.1 * best
        # Factors fitted to what there was in training do worse on what there is now.
        vt = np.linalg.svd(wanted - middle, full_matrices=False)[2][:6]
        naive = got @ layer.kernel.numpy() + layer.bias.numpy() - middle
        assert error < 0.9 * np.linalg.norm(wanted - middle - naive @ vt.T @ vt)

    def test_energy_is_of_the_outputs(self):
        model, data = self.model(), self.data()
        config = kc.LowRank(max_error=0.1, method="whitened_svd")
        small = kc.swap(model, {"fc1": config}, data=data)
        outputs = data @ model.layers[0].kernel.numpy()
        values = np.linalg.svd(outputs - outputs.mean(axis=0), compute_uv=False)
        energies = np.cumsum(values**2) / np.sum(values**2)
        assert small.layers[0].kernel_rank == 1 + int(np.sum(energies < 0.99))

    def test_without_a_bias_the_mean_stays_in(self):
        model, new = self.model(use_bias=False), self.data(seed=3)
        config = kc.LowRank(rank=8, method="whitened_svd")
        small = kc.swap(model, config, data=self.data())
        plain = kc.swap(model, kc.LowRank(rank=8))
        assert self.error(model, small, new) < self.error(model, plain, new)

    def test_convolutions_by_their_windows(self):
        model = image_model(strides=2, padding="same")
        random = np.random.default_rng(5)
        smooth = random.standard_normal((40, 13, 15, 6)).cumsum(1).cumsum(2)
        data = smooth[:, 1:, 1:].astype("float32")
        config = kc.LowRank(rank=3, method="whitened_svd")
        small = kc.swap(model, config, data=data)
        plain = kc.swap(model, kc.LowRank(rank=3))
        assert self.error(model, small, data) < self.error(model, plain, data)
        assert_close(kc.pack(small)(data), small(data))

    def test_several_inputs_and_layers_called_twice(self):
        one, two = keras.Input((20,), name="one"), keras.Input((20,), name="two")
        layer = keras.layers.Dense(20, name="shared")
        model = keras.Model([one, two], layer(one) + layer(two))
        random_weights(model)
        data = [self.data()[:, :20], self.data(seed=4)[:, :20]]
        config = kc.LowRank(rank=4, method="whitened_svd")
        small = kc.swap(model, config, data=data)
        plain = kc.swap(model, kc.LowRank(rank=4))
        assert self.error(model, small, data) < self.error(model, plain, data)

    def test_what_cannot_be_seen_is_named(self):
        import tensorflow as tf

        @keras.saving.register_keras_serializable("tests")
        class Compiled(keras.layers.Wrapper):
            def call(self, inputs):
                return tf.function(self.layer.call)(inputs)

        layer = Compiled(keras.layers.Dense(30, name="inside"))
        model = keras.Sequential([keras.Input((40,)), layer])
        config = kc.LowRank(rank=3, method="whitened_svd")
        with pytest.raises(ValueError, match="'inside' is called on cannot be seen"):
            kc.swap(model, config, data=np.ones((5, 40)))

    def test_every_step_of_a_sequence_is_seen(self):
        layer = keras.layers.TimeDistributed(keras.layers.Dense(30, name="inside"))
        model = keras.Sequential([keras.Input((4, 40)), layer])
        config = kc.LowRank(rank=3, method="whitened_svd")
        data = self.data().reshape(100, 4, 40)
        small = kc.swap(model, config, data=data)
        flat = keras.Sequential([keras.Input((40,)), keras.layers.Dense(30)])
        flat.set_weights(model.get_weights())
        same = kc.swap(flat, config, data=data.reshape(400, 40))
        new = small.layers[0].layer
        np.testing.assert_allclose(
            new.effective_kernel(), same.layers[0].effective_kernel(), atol=1e-4
        )

    def test_what_does_not_pay_stays(self):
        config = kc.LowRank(rank=30, method="whitened_svd")
        with pytest.warns(UserWarning, match="fc1: at rank 30"):
            small = kc.swap(self.model(), {"fc1": config}, data=self.data())
        assert type(small.layers[0]) is keras.layers.Dense

    @pytest.mark.parametrize(
        ("data", "message"),
        [
            (None, "`data` must be calibration inputs"),
            (np.zeros((5, 39)), r"`data` must be arrays of shape .* \(40,\)"),
            (np.zeros((0, 40)), "`data` must be arrays of shape"),
            (np.full((5, 40), np.nan), "`data` must be finite"),
            ([np.zeros((5, 40))] * 2, "`data` must be one array for each of 1"),
        ],
    )
    def test_bad_data(self, data, message):
        config = kc.LowRank(rank=4, method="whitened_svd")
        with pytest.raises(ValueError, match=message):
            kc.swap(self.model(), config, data=data)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "exactly one of .* Received: none of them"),
        ({"rank": 3, "energy": 0.5}, "exactly one of .*'energy': 0.5"),
        ({"rank": 0}, "`rank` must be an integer >= 1"),
        ({"rank": (2, 3)}, "`rank` must be an integer >= 1"),
        ({"rank": (2, 3, 4), "method": "tucker"}, "`rank` must be an integer .* pair"),
        ({"energy": 0.0}, r"`energy` must be a number in \(0, 1\]"),
        ({"energy": 1.5}, r"`energy` must be a number in \[0, 1\]"),
        ({"energy": float("nan")}, "`energy` must be a number in"),
        ({"params": 1.0}, "`params` must be an integer >= 1 or a share"),
        ({"params": -3}, "`params` must be an integer >= 1"),
        ({"max_error": 1.0}, r"`max_error` must be a number in \[0, 1\)"),
        ({"rank": 3, "method": "qr"}, "`method` must be one of 'svd'"),
        ({"rank": 3, "training": "no"}, "`training` must be one of 'factors'"),
        ({"rank": 3, "method": "cp", "training": "projected"}, "`method` must be 'sv"),
        ({"rank": 3, "force": 2}, "`force` must be one of True"),
        ({"rank": 3, "clusters": 2}, "`clusters` must be a pair"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        kc.LowRank(**arguments)


def test_bad_kernels_and_ranks_are_named():
    model = wide()
    with pytest.raises(ValueError, match=r"`rank` must be .*\[1, 30\] for layer 'fc'"):
        kc.swap(model, kc.LowRank(rank=31))
    kernel = model.layers[0].kernel.numpy()
    kernel[0, 0] = np.nan
    model.layers[0].kernel.assign(kernel)
    with pytest.raises(ValueError, match="`kernel of fc` must hold finite numbers"):
        kc.swap(model, kc.LowRank(rank=3))
    with pytest.raises(ValueError, match="`rank` must be an integer in"):
        LowRankDense(4, rank=5).build((None, 8))
    with pytest.raises(ValueError, match="`groups` must be 1"):
        LowRankConv2D(4, 3, rank=2, groups=2)
    with pytest.raises(ValueError, match="must be built before it has factors"):
        LowRankDense(4, rank=2).factorize(np.zeros((8, 4)))
    with pytest.raises(AttributeError, match="has no kernel, but factors"):
        _ = LowRankDense(4, rank=2).kernel


def test_a_kernel_of_zeros_swaps_and_trains():
    model = wide()
    model.layers[0].kernel.assign(np.zeros((40, 30)))
    small = kc.swap(model, kc.LowRank(energy=0.9))
    assert small.layers[0].kernel_rank == 1
    inputs = samples(model)
    np.testing.assert_array_equal(small(inputs), model(inputs))
    small.compile(keras.optimizers.Adam(0.01), "mse")
    losses = small.fit(inputs, np.ones((5, 30)), epochs=5, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
    assert np.any(small.layers[0].left.numpy())


@pytest.mark.parametrize(
    "config",
    [
        kc.LowRank(rank=3),
        kc.LowRank(rank=(2, 3), method="tucker"),
        kc.LowRank(params=0.5, method="bicluster", clusters=(4, 2), force=True),
        kc.LowRank(max_error=0.1, training="projected"),
    ],
)
def test_configs_compare_and_go_to_json_and_back(config):
    again = kc.LowRank.from_config(json.loads(json.dumps(config.get_config())))
    assert again == config
    assert hash(again) == hash(config)


class TestProjected:
    """Low-rank straight-through."""

    def test_training_follows_the_kernels_nearest(self):
        """After some steps the projection is that of an exact SVD of the ghost."""
        keras.utils.set_random_seed(3)
        layer = ProjectedDense(30, rank=3)
        model = keras.Sequential([keras.Input((40,)), layer])
        model.compile(keras.optimizers.Adam(0.01), "mse")
        random = np.random.default_rng(0)
        inputs = random.standard_normal((256, 40))
        targets = inputs @ random.standard_normal((40, 3)) @ np.eye(3, 30)
        losses = model.fit(inputs, targets, epochs=30, verbose=0).history["loss"]
        assert losses[-1] < 0.2 * losses[0]
        assert np.linalg.matrix_rank(layer.effective_kernel(), tol=1e-4) == 3
        kernel = layer.kernel.numpy()
        used = np.linalg.norm(kernel - layer.effective_kernel().numpy())
        layer.factorize()
        best = np.linalg.norm(kernel - layer.effective_kernel().numpy())
        assert used <= 1.02 * best

    def test_the_gradient_is_that_of_the_projection_given_to_the_whole(self):
        """In the layer's cheap form, against plain autodiff of its meaning."""
        import tensorflow as tf

        layer = ProjectedDense(30, rank=3)
        layer.build((None, 40))
        inputs = tf.constant(samples(wide()))
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            loss = tf.reduce_sum(tf.sin(layer(inputs, training=True)))
        found = tape.gradient(loss, [inputs, layer.kernel.value])
        kernel = layer.effective_kernel()  # with the basis of that step
        upstream = tf.cos(inputs @ kernel + layer.bias)
        np.testing.assert_allclose(
            found[0], upstream @ tf.transpose(kernel), rtol=1e-4, atol=1e-5
        )
        np.testing.assert_allclose(
            found[1], tf.transpose(inputs) @ upstream, rtol=1e-4, atol=1e-5
        )

    def test_inference_changes_nothing(self):
        layer = ProjectedDense(30, rank=3)
        layer.build((None, 40))
        before = layer.basis.numpy()
        layer(samples(wide()))
        np.testing.assert_array_equal(layer.basis.numpy(), before)
