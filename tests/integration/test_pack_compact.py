"""`pack(storage="compact")`: smaller files of the very same model."""

import zipfile

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf
from model_cases import MODELS, pruned, samples

import keras_compress as kc
from keras_compress._copies import all_layers
from keras_compress.layers.packed import CompactConv2D, CompactDense
from keras_compress.layers.packed._storage import CompactWeights

FORMATS = {"kernel": kc.QFormat(1, 6), "bias": kc.QFormat(2, 5)}
FORMATS = {**FORMATS, "inputs": kc.QFormat(2, 5), "outputs": kc.QFormat(4, 3)}


def network(*configs, sparsity=0.9):
    """A trained model of all that can be compact, by one technique after the other."""
    layers = [
        keras.Input((16, 16, 3)),
        keras.layers.Conv2D(16, 5, activation="relu", name="conv"),
        keras.layers.Flatten(name="flat"),
        keras.layers.Dense(32, activation="relu", name="fc1"),
        keras.layers.Dense(10, name="fc2"),
    ]
    model = keras.Sequential(layers)
    for config in configs:
        model = kc.swap(model, config)
        for layer in model.layers:
            if type(config) is kc.Prune:
                layer.prune(sparsity=sparsity) if hasattr(layer, "prune") else None
            elif getattr(layer, "bias", None) is not None:
                layer.bias.assign(np.linspace(-1, 1, layer.bias.shape[0]))
    return model


CASES = {
    "pruned": (kc.Prune(),),
    "shared": (kc.Cluster(bits=4),),
    "pruned and shared": (kc.Prune(), kc.Cluster(bits=4)),
    "fixed point": (kc.FixedPoint(**FORMATS),),
    "pruned fixed point": (kc.Prune(), kc.FixedPoint(**FORMATS)),
    "pruned factors": (kc.LowRank(rank=4, force=True), kc.Prune()),
}
# Of the weights that the plain file has, what the compact one takes at most.
AT_MOST = {
    "pruned": 0.75,
    "shared": 0.16,
    "pruned and shared": 0.25,
    "fixed point": 1.0,
    "pruned fixed point": 0.3,
    "pruned factors": 1.0,
}


def stored_bytes(model):
    total = 0
    for layer in all_layers(model):
        store = {}
        layer.save_own_variables(store)
        total += sum(np.asarray(value).nbytes for value in store.values())
    return total


def assert_same_weights(one, other):
    for a, b in zip(one.weights, other.weights, strict=True):
        assert a.dtype == b.dtype
        assert a.shape == b.shape
        assert a.numpy().tobytes() == b.numpy().tobytes(), a.path


@pytest.mark.parametrize("case", CASES)
def test_a_compact_file_holds_the_packed_model_bit_for_bit(case, tmp_path):
    model = network(*CASES[case])
    inputs = samples(model)
    fast = kc.pack(model)
    compact = kc.pack(model, storage="compact")
    assert_same_weights(fast, compact)
    compact.save(tmp_path / "compact.keras")
    loaded = keras.models.load_model(tmp_path / "compact.keras")
    assert_same_weights(fast, loaded)
    np.testing.assert_array_equal(loaded(inputs), fast(inputs))
    assert stored_bytes(compact) <= AT_MOST[case] * stored_bytes(fast)
    fast.save(tmp_path / "fast.keras")
    sizes = [
        (tmp_path / f"{name}.keras").stat().st_size for name in ("compact", "fast")
    ]
    assert sizes[0] < sizes[1]
    served = tf.saved_model.load(kc.export(loaded, tmp_path / "served"))
    found = served.serve(tf.constant(inputs))
    np.testing.assert_allclose(found, fast(inputs), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("make", MODELS)
def test_models_of_every_shape(make, tmp_path):
    model = pruned(make, 0.8)
    fast, compact = kc.pack(model), kc.pack(model, storage="compact")
    assert_same_weights(fast, compact)
    assert any(isinstance(layer, CompactWeights) for layer in all_layers(compact))
    compact.save(tmp_path / "compact.keras")
    loaded = keras.models.load_model(tmp_path / "compact.keras", safe_mode=False)
    assert_same_weights(fast, loaded)


def test_what_is_packed_says_what_was_clustered(tmp_path):
    model = network(kc.Prune(), kc.Cluster(bits=3))
    packed = kc.pack(model, storage="compact")
    for name in ("conv", "fc1", "fc2"):
        kernel = np.asarray(packed.get_layer(name).effective_kernel())
        values = np.unique(kernel[kernel != 0])
        codebook = model.get_layer(name).codebook.numpy()
        assert len(values) <= 8
        assert np.isin(values, codebook).all()
    inputs = samples(model)
    expected = model.predict(inputs, verbose=0)
    np.testing.assert_allclose(packed(inputs), expected, rtol=1e-5, atol=1e-5)


def test_units_that_do_nothing_vanish_from_a_clustered_model_too():
    model = network(kc.Prune(pattern="neuron"), kc.Cluster(bits=3), sparsity=0.5)
    packed = kc.pack(model)
    assert packed.get_layer("fc1").units == 16
    inputs = samples(model)
    expected = model.predict(inputs, verbose=0)
    np.testing.assert_allclose(packed(inputs), expected, rtol=1e-5, atol=1e-5)


def test_plain_layers_are_compact_where_that_saves_bytes():
    model = network({"fc2": kc.Cluster(bits=3), "conv": kc.Cluster(bits=3)})
    packed = kc.pack(model, storage="compact")
    kinds = {layer.name: type(layer) for layer in packed.layers}
    assert kinds["fc2"] is CompactDense
    assert kinds["conv"] is CompactConv2D
    assert kinds["fc1"] is keras.layers.Dense


def test_weights_files_of_either_storage_are_read(tmp_path):
    model = network(kc.Prune())
    fast, compact = kc.pack(model), kc.pack(model, storage="compact")
    compact.save_weights(tmp_path / "compact.weights.h5")
    for variable in compact.weights:
        variable.assign(np.zeros_like(variable))
    compact.load_weights(tmp_path / "compact.weights.h5")
    assert_same_weights(fast, compact)
    # What a fast layer saved, a compact one reads.
    for layer, other in zip(compact.layers, fast.layers, strict=True):
        for variable in layer.weights:
            variable.assign(np.zeros_like(variable))
        store = {}
        other.save_own_variables(store)
        layer.load_own_variables(store)
    assert_same_weights(fast, compact)


def test_a_compiled_model_and_mixed_precision(tmp_path):
    with_policy = keras.Sequential(
        [keras.Input((64,)), keras.layers.Dense(48, dtype="mixed_bfloat16", name="fc")]
    )
    model = kc.swap(with_policy, (kc.Cluster(bits=2)))
    model.compile("adam", "mse")
    packed = kc.pack(model, storage="compact")
    assert packed.compiled
    kc.save(packed, tmp_path / "compact.keras")
    loaded = keras.models.load_model(tmp_path / "compact.keras")
    x = np.ones((2, 64), "float32")
    loaded.evaluate(x, np.ones((2, 48)), verbose=0)
    np.testing.assert_array_equal(loaded(x), packed(x))
    assert loaded.layers[0].dtype_policy.name == "mixed_bfloat16"


def test_bfloat16_weights_come_back(tmp_path):
    layers = [keras.Input((64,)), keras.layers.Dense(48, dtype="bfloat16")]
    packed = kc.pack(
        kc.swap(keras.Sequential(layers), kc.Cluster(bits=2)), storage="compact"
    )
    assert type(packed.layers[0]) is CompactDense
    packed.save(tmp_path / "compact.keras")
    loaded = keras.models.load_model(tmp_path / "compact.keras")
    assert_same_weights(packed, loaded)


def test_a_damaged_file_says_so(tmp_path):
    compact = kc.pack(network(kc.Prune()), storage="compact")
    path = tmp_path / "compact.weights.h5"
    compact.save_weights(path)
    with h5py.File(path, "a") as file:
        found = []
        file.visititems(
            lambda name, item: found.append(item) if name.endswith("compact") else None
        )
        assert found
        for dataset in found:
            dataset[len(dataset) // 2] ^= 1
    with pytest.raises(ValueError, match="cannot be read: `payload` must be whole"):
        compact.load_weights(path)


def test_a_payload_of_another_layer_says_so():
    compact = kc.pack(network(kc.Prune()), storage="compact")
    store = {}
    compact.get_layer("fc1").save_own_variables(store)
    with pytest.raises(ValueError, match=r"layer 'fc2' cannot be read.*of shape"):
        compact.get_layer("fc2").load_own_variables(store)


def test_storage_is_one_of_two():
    with pytest.raises(ValueError, match="`storage` must be one of 'fast', 'compact'"):
        kc.pack(network(kc.Prune()), storage="small")


def test_save_deflates_and_leaves_nothing_else(tmp_path):
    packed = kc.pack(network(kc.Prune(), kc.Cluster(bits=4)), storage="compact")
    packed.save(tmp_path / "plain.keras")
    path = kc.save(packed, str(tmp_path / "small.keras"))
    assert path.stat().st_size < 0.6 * (tmp_path / "plain.keras").stat().st_size
    with zipfile.ZipFile(path) as small, zipfile.ZipFile(tmp_path / "plain.keras") as z:
        assert small.namelist() == z.namelist()
        assert small.read("config.json") == z.read("config.json")
        # Also in place of an older file, and big parts in blocks.
        assert {x.compress_type for x in small.infolist()} == {zipfile.ZIP_DEFLATED}
    assert_same_weights(packed, keras.models.load_model(path))
    kc.save(packed, path)
    assert {x.name for x in tmp_path.iterdir()} == {"plain.keras", "small.keras"}


def test_a_save_that_fails_leaves_the_old_file(tmp_path, monkeypatch):
    packed = kc.pack(network(kc.Prune()), storage="compact")
    path = tmp_path / "model.keras"
    path.write_bytes(b"old")
    monkeypatch.setattr(zipfile.ZipFile, "open", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        kc.save(packed, path)
    assert path.read_bytes() == b"old"
    assert [x.name for x in tmp_path.iterdir()] == ["model.keras"]


@pytest.mark.parametrize(
    ("model", "path", "message"),
    [
        ("no model", "x.keras", "`model` must be a keras.Model"),
        (None, "x.h5", "`path` must be a path that ends in .keras"),
        (None, 3, "`path` must be a path that ends in .keras"),
    ],
)
def test_save_names_a_bad_argument(model, path, message):
    with pytest.raises(ValueError, match=message):
        kc.save(model or network(), path)


def test_the_pretrained_networks_keep_what_they_say(pretrained, tmp_path):
    """DNS-pruned LeNets: 4,952 and 3,977 weights in less than 6 and 5 kilobytes."""
    for name, most in (("lenet_300_100", 7000), ("lenet5", 6500)):
        dense = pretrained(f"{name}_dns_sparse")
        shares = kc.swap(dense, kc.Cluster(bits=4))
        path = kc.save(kc.pack(shares, storage="compact"), tmp_path / f"{name}.keras")
        assert path.stat().st_size <= most
        loaded = keras.models.load_model(path)
        x = np.random.default_rng(1).random((50, 28, 28, 1), "float32")
        expected = shares.predict(x, verbose=0)
        np.testing.assert_allclose(loaded(x), expected, rtol=1e-4, atol=1e-5)
