"""The packed layers by themselves: what they are filled with and called on."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_compress as kc
from keras_compress.layers.packed import SparseConv2D, SparseDense


@pytest.mark.parametrize(
    "layer", [SparseDense(2, nonzeros=1), SparseConv2D(2, 3, nonzeros=1)]
)
def test_an_unbuilt_layer_has_no_kernel(layer):
    with pytest.raises(ValueError, match="must be built before it has a kernel"):
        layer.effective_kernel()
    with pytest.raises(ValueError, match="must be built before it has a kernel"):
        layer.fill(np.ones((3, 2)), np.zeros(2))


@pytest.mark.parametrize(
    ("bias", "received"), [(None, "None"), (np.zeros(3), r"\(3,\)"), (1.0, r"\(\)")]
)
def test_a_bias_that_does_not_fit_is_refused(bias, received):
    layer = SparseDense(2, nonzeros=1)
    layer.build((None, 1))
    message = rf"`bias` must be of shape \(2,\)\. Received: bias={received}"
    with pytest.raises(ValueError, match=message):
        layer.fill([[0.0, 1.0]], bias)
    assert not layer.values.numpy().any(), "nothing is stored by halves"
    layer.fill([[0.0, 1.0]], keras.Variable([3.0, 4.0]))
    np.testing.assert_array_equal(layer.bias, [3.0, 4.0])


def test_sparse_inputs_are_taken_as_by_the_trained_model(tmp_path):
    inputs = keras.Input((600,), sparse=True)
    dense = keras.layers.Dense(400, activation="relu", name="fc")
    model = kc.swap(keras.Model(inputs, dense(inputs)), kc.Prune())
    model.get_layer("fc").prune(sparsity=0.99)
    packed = kc.pack(model)
    assert isinstance(packed.get_layer("fc"), SparseDense)
    data = np.zeros((3, 600), "float32")
    # Keras 3.8 cannot slice a last row without numbers.
    data[[0, 2, 2], [5, 7, 599]] = [1.0, -2.0, 3.0]
    sparse = tf.sparse.from_dense(data)
    np.testing.assert_allclose(packed(sparse), model(sparse), rtol=1e-5, atol=1e-6)
    packed.save(tmp_path / "packed.keras")
    loaded = keras.models.load_model(tmp_path / "packed.keras")
    found = loaded.predict(sparse, verbose=0)
    np.testing.assert_allclose(found, model(data), rtol=1e-5, atol=1e-6)
