"""LeNets that others pruned, from Caffe: they pack, run and keep their accuracy."""

import keras
import numpy as np
import pytest

import keras_compress as kc


@pytest.mark.parametrize(
    ("name", "kept", "wrong", "smaller"),
    [("lenet_300_100", 4952, 199, 30), ("lenet5", 3977, 91, 20)],
)
def test_a_network_pruned_by_others_packs(
    name, kept, wrong, smaller, pretrained, mnist
):
    """98.01 and 99.09 % of the test images, as dense, as pruned, as packed."""
    dense = pretrained(f"{name}_dns_sparse")
    small = kc.swap(dense, kc.Prune())
    pruned = [layer for layer in small.layers if hasattr(layer, "mask")]
    for layer in pruned:
        layer.prune(threshold=1e-30)  # what is zero already
    packed = kc.pack(small)

    masks = [keras.ops.convert_to_numpy(layer.mask) for layer in pruned]
    assert sum(np.count_nonzero(mask) for mask in masks) == kept
    # These saw pixels as parts of 256.
    x = np.float32(255 / 256) * mnist.x_test.reshape(-1, 28, 28, 1)
    said = packed.predict(x, batch_size=500, verbose=0)
    assert np.count_nonzero(said.argmax(axis=1) != mnist.y_test) == wrong
    expected = dense.predict(x, batch_size=500, verbose=0)
    np.testing.assert_allclose(said, expected, rtol=1e-4, atol=1e-5)
    sizes = [sum(w.nbytes for w in m.get_weights()) for m in (dense, packed)]
    assert sizes[0] > smaller * sizes[1]
