"""What `prune` masks, by hand."""

import json

import keras
import numpy as np
import pytest

import keras_compress as kc
from keras_compress.layers import (
    PrunedConv1D,
    PrunedConv2D,
    PrunedDense,
    PrunedDepthwiseConv2D,
)
from keras_compress.layers.pruned import prune_together

KERNEL = np.array([[0.1, -0.9], [0.5, 0.2], [-0.3, 0.8], [0.7, -0.4]])


def layer_of(kernel=KERNEL, **arguments):
    layer = PrunedDense(np.shape(kernel)[-1], **arguments)
    layer.build((None, len(kernel)))
    layer.kernel.assign(kernel)
    return layer


def kept(layer):
    return layer.mask.numpy().astype(int).tolist()


def test_sparsity_threshold_and_quality():
    layer = layer_of()
    layer.prune(sparsity=0.5)
    assert kept(layer) == [[0, 1], [1, 0], [0, 1], [1, 0]]
    layer = layer_of()
    layer.prune(threshold=0.4)
    assert kept(layer) == [[0, 1], [1, 0], [0, 1], [1, 1]]
    layer = layer_of()
    layer.prune(quality=1.0)
    assert kept(layer) == (np.abs(KERNEL) >= KERNEL.std()).astype(int).tolist()


def test_a_splice_compares_masked_weights_with_all_others():
    layer = layer_of()
    layer.mask.assign([[1, 0], [1, 1], [1, 0], [0, 1]])
    layer.prune(sparsity=0.5, splice=True)
    assert kept(layer) == [[0, 1], [1, 0], [0, 1], [1, 0]]


def test_quality_is_of_the_weights_that_are_left():
    layer = layer_of()
    layer.mask.assign([[0, 1], [0, 0], [0, 1], [0, 0]])
    layer.prune(quality=1.1)
    # Of -0.9 and 0.8 the standard deviation is 0.85; 0.935 is above both.
    assert layer.sparsity == 1.0
    layer.prune(quality=1.0)
    assert layer.sparsity == 1.0


def test_the_forward_pass_is_the_masked_product():
    layer = layer_of(use_bias=False)
    layer.prune(sparsity=0.5)
    inputs = np.array([[1.0, 2.0, 3.0, 4.0]])
    expected = inputs @ (KERNEL * np.array(kept(layer)))
    np.testing.assert_allclose(layer(inputs), expected, rtol=1e-6)


def test_a_masked_weight_may_be_anything():
    layer = layer_of([[1.0], [np.inf]])
    layer.mask.assign([[1], [0]])
    np.testing.assert_array_equal(layer(np.array([[2.0, 3.0]])), [[2.0]])


def test_a_mask_can_be_assigned_and_is_the_only_other_variable():
    layer = layer_of()
    layer.mask.assign(np.eye(4, 2))
    assert layer.sparsity == 0.75
    assert [v.name for v in layer.non_trainable_variables] == ["mask"]
    assert tuple(layer.mask.shape) == (4, 2)


def test_neurons_keep_their_bias():
    layer = layer_of(pattern="neuron", bias_initializer="ones")
    layer.prune(sparsity=0.5)
    np.testing.assert_allclose(layer(np.ones((1, 4))), [[1.0, 0.7]], rtol=1e-6)


def test_convolutions_prune_filters():
    layer = PrunedConv2D(4, 3, pattern="neuron")
    layer.build((None, 8, 8, 2))
    layer.prune(sparsity=0.75)
    assert layer.mask.numpy().any(axis=(0, 1, 2)).sum() == 1


def pruned(layer, input_shape, sparsity=0.5):
    """The layer, built on random weights and pruned; its mask as a matrix."""
    layer.build((None, *input_shape))
    layer.kernel.assign(np.random.default_rng(0).normal(size=layer.kernel.shape))
    layer.prune(sparsity=sparsity)
    return layer.mask.numpy().reshape(layer.matrix_shape)


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (lambda pattern: PrunedDense(12, pattern=pattern), (10,)),
        (lambda pattern: PrunedConv1D(12, 5, pattern=pattern), (9, 2)),
        (lambda pattern: PrunedConv2D(12, (1, 5), pattern=pattern), (9, 9, 2)),
        (lambda pattern: PrunedConv2D(12, 5, groups=2, pattern=pattern), (9, 9, 4)),
    ],
)
def test_every_pattern_of_every_geometry(layer, shape):
    single = pruned(layer(None), shape)
    assert np.count_nonzero(~single) == single.size // 2
    n_of_m = pruned(layer("2:5"), shape, 0.6)
    assert (n_of_m.reshape(-1, 5, 12).sum(axis=1) == 2).all()
    blocks = pruned(layer((5, 4)), shape).reshape(-1, 5, 3, 4)
    assert (blocks.all(axis=(1, 3)) == blocks.any(axis=(1, 3))).all()
    assert np.count_nonzero(~blocks[:, 0, :, 0]) == round(blocks.size / 40)
    neurons = pruned(layer("neuron"), shape)
    assert neurons.all(axis=0).sum() == 6
    assert neurons.any(axis=0).sum() == 6


def test_a_depthwise_kernel_is_a_matrix_of_places_by_outputs():
    make = PrunedDepthwiseConv2D
    kernel = np.arange(1.0, 37.0).reshape(3, 3, 2, 2)
    layer = make(3, depth_multiplier=2, pattern="neuron")
    layer.build((None, 8, 8, 2))
    layer.kernel.assign(kernel)
    layer.prune(sparsity=0.5)
    # Both outputs of channel 1 are larger than those of channel 0.
    assert layer.mask.numpy().all(axis=(0, 1)).tolist() == [[False] * 2, [True] * 2]
    outputs = layer(np.ones((1, 8, 8, 2), "float32")).numpy()
    assert (outputs[..., :2] == 0).all()
    assert (outputs[..., 2:] > 0).all()
    single = pruned(make(3), (8, 8, 4))
    assert np.count_nonzero(~single) == 18
    blocks = pruned(make(3, pattern=(9, 2)), (8, 8, 4))
    assert blocks.sum(axis=0).tolist() in ([9, 9, 0, 0], [0, 0, 9, 9])


def test_depthwise_outputs_read_no_inputs_to_keep_n_of_m_of():
    with pytest.raises(ValueError, match="no N:M for PrunedDepthwiseConv2D"):
        PrunedDepthwiseConv2D(3, pattern="2:4")
    model = keras.Sequential(
        [
            keras.Input((8, 8, 4)),
            keras.layers.DepthwiseConv2D(3, name="deep"),
            keras.layers.Conv2D(4, 1, name="wide"),
        ]
    )
    small = kc.swap(model, kc.Prune("2:4"))
    kinds = [type(layer).__name__ for layer in small.layers]
    assert kinds == ["DepthwiseConv2D", "PrunedConv2D"]
    with pytest.raises(ValueError, match=r"deep \(DepthwiseConv2D\) - not supported"):
        kc.swap(model, kc.Prune("2:4"), where="deep")


def test_scores_take_the_place_of_magnitudes():
    layer = layer_of()
    scores = np.arange(8.0).reshape(4, 2)
    layer.prune(sparsity=0.25, scores=scores)
    assert kept(layer) == [[0, 0], [1, 1], [1, 1], [1, 1]]
    layer.prune(threshold=4.0, scores=scores)
    assert kept(layer) == [[0, 0], [0, 0], [1, 1], [1, 1]]
    other = layer_of()
    prune_together([layer, other], 0.5, scores=[scores, scores[::-1] + 1.5])
    assert kept(layer) == [[0, 0], [0, 0], [0, 1], [1, 1]]
    assert kept(other) == [[1, 1], [1, 1], [0, 1], [0, 0]]


@pytest.mark.parametrize(
    "scores", [np.ones((2, 4)), -np.ones((4, 2)), np.array([["a"] * 2] * 4), 1.0]
)
def test_scores_that_do_not_fit(scores):
    with pytest.raises(ValueError, match="`scores` must be"):
        layer_of().prune(sparsity=0.5, scores=scores)


def test_scores_do_not_go_with_a_measure_of_weights():
    with pytest.raises(ValueError, match="`scores` must be None with `quality`"):
        layer_of().prune(quality=1.0, scores=np.ones((4, 2)))


def test_together_by_one_threshold():
    weak, strong = layer_of(KERNEL / 10), layer_of(KERNEL)
    prune_together([weak, strong], 0.5)
    assert (weak.sparsity, strong.sparsity) == (1.0, 0.0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "exactly one of .* Received: none of them"),
        ({"sparsity": 0.5, "quality": 1.0}, "exactly one of .*'sparsity': 0.5"),
        ({"sparsity": 1.2}, r"`sparsity` must be a number in \[0, 1\].*=1.2"),
        ({"sparsity": float("nan")}, "`sparsity` must be a number in"),
        ({"threshold": -0.1}, "`threshold` must be a finite number >= 0"),
        ({"threshold": float("nan")}, "`threshold` must be a finite number >= 0"),
        ({"quality": -1.0}, "`quality` must be a finite number >= 0"),
    ],
)
def test_bad_arguments_change_nothing(arguments, message):
    layer = layer_of()
    with pytest.raises(ValueError, match=message):
        layer.prune(**arguments)
    assert layer.sparsity == 0.0


def test_an_unbuilt_layer_says_so():
    with pytest.raises(ValueError, match="'named' must be built before"):
        PrunedDense(3, name="named").prune(0.5)
    with pytest.raises(ValueError, match="'named' must be built before"):
        _ = PrunedDense(3, name="named").sparsity


def test_unknown_patterns():
    for make in (lambda p: PrunedDense(3, pattern=p), lambda p: kc.Prune(pattern=p)):
        with pytest.raises(ValueError, match=r"`pattern` must be `None`, .*='rows'"):
            make("rows")


@pytest.mark.parametrize("pattern", [None, "2:4", "neuron", (1, 16)])
def test_configs_compare_and_go_to_json_and_back(pattern):
    config = kc.Prune(pattern=pattern)
    again = kc.Prune.from_config(json.loads(json.dumps(config.get_config())))
    assert again == config
    assert hash(again) == hash(config)
    assert (
        keras.saving.deserialize_keras_object(
            keras.saving.serialize_keras_object(config)
        )
        == config
    )
