"""What `prune` masks, by hand."""

import json

import keras
import numpy as np
import pytest

import keras_compress as kc
from keras_compress.layers import PrunedConv2D, PrunedDense
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
