"""Weight sharing: k-means, its starts, the codebook's gradient, and the layers."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

import keras_compress as kc
from keras_compress.functional.clustering import (
    initial_centroids,
    kmeans,
    nearest,
    shared,
)
from keras_compress.layers import (
    ClusteredConv2D,
    ClusteredDense,
    PrunedClusteredConv2D,
    PrunedClusteredDense,
)

WEIGHTS = np.random.default_rng(1).standard_normal(500)


def test_starts_are_those_of_the_paper():
    values = np.array([-1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 3.0])
    np.testing.assert_allclose(initial_centroids(values, 5), [-1, 0, 1, 2, 3])
    np.testing.assert_allclose(initial_centroids(values, 2, "density"), [0, 0])
    drawn = initial_centroids(WEIGHTS, 16, "random", seed=3)
    assert np.isin(drawn, WEIGHTS).all()
    assert len(np.unique(drawn)) == 16
    assert (drawn == initial_centroids(WEIGHTS, 16, "random", seed=3)).all()


@pytest.mark.parametrize("init", ["linear", "density", "random"])
@pytest.mark.parametrize("count", [1, 2, 7, 16])
def test_kmeans_is_lloyds_iteration_with_all_distances(init, count):
    expected = initial_centroids(WEIGHTS, count, init)
    for _ in range(300):
        members = np.abs(WEIGHTS[:, None] - expected).argmin(axis=1)
        expected = np.array(
            [
                WEIGHTS[members == k].mean() if (members == k).any() else expected[k]
                for k in range(count)
            ]
        )
    np.testing.assert_allclose(kmeans(WEIGHTS, count, init), expected, atol=1e-12)


@given(
    arrays.arrays("float32", st.integers(0, 40), elements=st.floats(-9, 9, width=32)),
    st.integers(1, 16),
)
def test_up_to_so_many_values_lose_nothing(values, count):
    centroids = kmeans(values, count)
    assert centroids.shape == (count,)
    assert (np.diff(centroids) >= 0).all()
    if len(np.unique(values)) <= count:
        found = centroids[nearest(values, centroids)].astype("float32")
        np.testing.assert_array_equal(found, values)


def test_nearest_is_the_nearest_and_of_two_the_smaller():
    centroids = np.sort(WEIGHTS[:16])
    expected = np.abs(WEIGHTS[:, None] - centroids).argmin(axis=1)
    np.testing.assert_array_equal(nearest(WEIGHTS, centroids), expected)
    assert nearest(0.5, [0.0, 1.0]) == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([1.0, np.inf], 2), "`values` must be finite"),
        (([1.0], 0), "`count` must be an integer >= 1"),
        (([1.0], 2, "kmeans++"), "`init` must be one of 'linear', 'density', 'random'"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        kmeans(*arguments)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_gradient_is_the_sum_over_the_members(dtype):
    random = np.random.default_rng(2)
    codebook = tf.constant(random.standard_normal(5), dtype)
    assignments = random.integers(0, 4, (6, 7)).astype("uint8")
    upstream = random.standard_normal((6, 7)).astype(dtype)
    with tf.GradientTape() as tape:
        tape.watch(codebook)
        values = shared(codebook, assignments)
        loss = tf.reduce_sum(values * upstream)
    np.testing.assert_array_equal(values, codebook.numpy()[assignments])
    expected = [upstream[assignments == k].sum() for k in range(5)]
    np.testing.assert_allclose(tape.gradient(loss, codebook), expected, rtol=1e-5)


def test_in_short_floats_the_sum_is_still_a_long_one():
    """Of 4,096 members with the gradient 1, float16 would sum up to 2,048."""
    layer = ClusteredDense(64, bits=1, use_bias=False, dtype="mixed_float16")
    layer.build((None, 64))
    layer.cluster()
    layer.assignments.assign(np.zeros((64, 64)))
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(tf.cast(layer(np.ones((1, 64))), "float32"))
    gradient = tape.gradient(loss, layer.codebook.value)
    np.testing.assert_array_equal(gradient, [4096.0, 0.0])


def built(layer, input_shape=(8,)):
    layer.build((None, *input_shape))
    return layer


def test_clustering_shares_values_and_training_moves_only_these():
    layer = ClusteredDense(16, bits=2)
    model = keras.Sequential([keras.Input((8,)), layer])
    kernel = layer.kernel.numpy()
    assert not layer.is_clustered
    np.testing.assert_array_equal(layer.effective_kernel(), kernel)
    layer.cluster()
    assert layer.is_clustered
    centroids = kmeans(kernel, 4)
    codes = nearest(kernel, centroids)
    np.testing.assert_array_equal(layer.assignments, codes)
    np.testing.assert_allclose(layer.effective_kernel(), centroids[codes], rtol=1e-6)
    model.compile("adam", "mse")
    x = np.random.default_rng(3).standard_normal((32, 8))
    model.fit(x, np.ones((32, 16)), epochs=2, verbose=0)
    assert (layer.codebook.numpy() != centroids.astype("float32")).all()
    np.testing.assert_array_equal(layer.assignments, codes)
    np.testing.assert_array_equal(layer.kernel, kernel)
    shared_values = layer.codebook.numpy()[codes]
    np.testing.assert_array_equal(layer.effective_kernel(), shared_values)


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (PrunedClusteredDense(16, bits=2), (8,)),
        (PrunedClusteredConv2D(4, 3, bits=2), (8, 8, 2)),
    ],
)
def test_masked_weights_stay_zero_and_count_for_nothing(layer, shape):
    built(layer, shape).prune(sparsity=0.75)
    kernel, mask = layer.kernel.numpy(), layer.mask.numpy()
    # The largest of all: were it counted, centroids would be wasted on it.
    kernel[~mask] = 100.0
    layer.kernel.assign(kernel)
    layer.cluster()
    found = layer.effective_kernel().numpy()
    np.testing.assert_array_equal(found != 0, mask)
    expected = kmeans(kernel[mask], 4)
    np.testing.assert_allclose(np.sort(layer.codebook), expected, rtol=1e-6)


def test_a_layer_without_any_weight_left_is_all_zeros():
    layer = built(PrunedClusteredDense(4))
    layer.prune(sparsity=1.0)
    layer.cluster()
    assert not layer.effective_kernel().numpy().any()


def test_what_cannot_be_clustered_says_why():
    with pytest.raises(ValueError, match="must be built before its weights are shared"):
        ClusteredDense(4).cluster()
    layer = built(ClusteredDense(4, name="fc"))
    layer.kernel.assign(np.full((8, 4), np.nan))
    with pytest.raises(ValueError, match="'fc' cannot be clustered: `values` must be"):
        layer.cluster()


@pytest.mark.parametrize("make", [ClusteredDense, ClusteredConv2D])
@pytest.mark.parametrize("bits", [0, 9, 2.5, True])
def test_bits_out_of_range_are_refused(make, bits):
    with pytest.raises(ValueError, match=r"`bits` must be an integer in \[1, 8\]"):
        make(*((4,) if make is ClusteredDense else (4, 3)), bits=bits)
    with pytest.raises(ValueError, match=r"`bits` must be an integer in \[1, 8\]"):
        kc.Cluster(bits=bits)


def pruned_model():
    layers = [keras.Input((32,)), keras.layers.Dense(24, name="fc")]
    small = kc.swap(keras.Sequential(layers), kc.Prune(pattern=(1, 4)))
    small.layers[0].prune(sparsity=0.75)
    return small


def test_swap_of_a_pruned_layer_keeps_its_mask_and_pattern():
    small = pruned_model()
    layer = kc.swap(small, kc.Cluster(bits=3)).layers[0]
    assert type(layer) is PrunedClusteredDense
    assert layer.pattern == (1, 4)
    assert layer.is_clustered
    np.testing.assert_array_equal(layer.mask, small.layers[0].mask)
    values = np.unique(layer.effective_kernel())
    assert len(values) == 9
    assert 0 in values


def test_a_plain_layer_full_of_zeros_is_taken_as_pruned():
    small = pruned_model()
    plain = keras.Sequential([keras.Input((32,)), keras.layers.Dense(24)])
    plain.layers[0].kernel.assign(small.layers[0].effective_kernel())
    layer = kc.swap(plain, kc.Cluster(bits=8)).layers[0]
    assert type(layer) is PrunedClusteredDense
    np.testing.assert_array_equal(layer.effective_kernel(), plain.layers[0].kernel)


def test_swapping_to_fewer_bits_clusters_the_shared_values():
    shares = kc.swap(pruned_model(), kc.Cluster(bits=4))
    shares.layers[0].codebook.assign(3.0 * shares.layers[0].codebook)
    layer = kc.swap(shares, kc.Cluster(bits=2)).layers[0]
    assert len(np.unique(layer.effective_kernel())) == 5
    before = shares.layers[0].effective_kernel().numpy()
    expected = kmeans(before[shares.layers[0].mask.numpy()], 4)
    np.testing.assert_allclose(layer.codebook, expected, rtol=1e-6)


def test_pruning_stacks_on_what_is_clustered():
    model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(16)])
    shares = kc.swap(model, kc.Cluster(bits=2))
    both = kc.swap(shares, kc.Prune())
    assert type(both.layers[0]) is PrunedClusteredDense
    x = np.ones((2, 8), "float32")
    np.testing.assert_array_equal(both(x), shares(x))


def test_a_penalty_is_of_the_weights_that_compute():
    source = keras.layers.Dense(16, kernel_regularizer=keras.regularizers.L2(1.0))
    model = keras.Sequential([keras.Input((8,)), source])
    layer = kc.swap(model, kc.Cluster(bits=2)).layers[0]
    for factor in (1.0, 10.0):
        layer.codebook.assign(layer.codebook * factor)
        expected = np.sum(np.square(layer.effective_kernel()))
        np.testing.assert_allclose(layer.losses[0], expected, rtol=1e-5)
    with tf.GradientTape() as tape:
        loss = layer.losses[0]
    counts = np.bincount(np.ravel(layer.assignments), minlength=4)
    expected = 2 * counts * np.asarray(layer.codebook)
    gradient = tape.gradient(loss, layer.codebook.value)
    np.testing.assert_allclose(gradient, expected, rtol=1e-5)


def test_before_weights_are_shared_the_penalty_is_the_parents():
    layers = [
        kind(6, kernel_regularizer="l1", kernel_initializer="ones")
        for kind in (ClusteredDense, keras.layers.Dense)
    ]
    for layer in layers:
        layer.build((None, 4))
    np.testing.assert_allclose(layers[0].losses, layers[1].losses)


def test_centroids_keep_to_the_constraint():
    source = keras.layers.Dense(8, kernel_constraint="non_neg")
    model = keras.Sequential([keras.Input((4,)), source])
    source.kernel.assign(np.abs(source.kernel))
    small = kc.swap(model, kc.Cluster(bits=2))
    small.compile(keras.optimizers.SGD(1.0), "mse")
    small.fit(np.ones((8, 4), "f"), np.full((8, 8), -9.0, "f"), verbose=0)
    assert np.min(small.layers[0].codebook) >= 0.0


def test_a_constraint_of_norms_is_refused():
    source = keras.layers.Dense(8, kernel_constraint="max_norm", name="fc")
    model = keras.Sequential([keras.Input((4,)), source])
    with pytest.raises(ValueError, match=r"'fc' .*`kernel_constraint` must be None or"):
        kc.swap(model, kc.Cluster())


@pytest.mark.parametrize("config", [kc.Cluster(bits=2), kc.LowRank(rank=2)])
def test_what_a_wrapper_sets_the_kernel_of_stays(config):
    inner = keras.layers.Dense(8, name="fc1")
    wrapper = keras.layers.SpectralNormalization(inner, name="spectral")
    dense = keras.layers.Dense(8, name="fc2")
    model = keras.Sequential([keras.Input((8,)), wrapper, dense])
    with pytest.warns(UserWarning, match="spectral/fc1: 'spectral' around it sets"):
        small = kc.swap(model, config)
    assert type(small.layers[0].layer) is keras.layers.Dense
    assert type(small.layers[1]) is not keras.layers.Dense
    whitened = kc.LowRank(rank=2, method="whitened_svd")
    with pytest.warns(UserWarning, match="spectral/fc1: 'spectral' around it sets"):
        kc.swap(model, whitened, data=np.eye(8, dtype="float32"))
    swapped = kc.swap(model, kc.LowRank(rank=2, training="projected"))
    assert type(swapped.layers[0].layer) is not keras.layers.Dense
