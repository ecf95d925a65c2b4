"""`ops.level_bits`: the op at every SIMD level, and its twin, against NumPy."""

import contextlib

import numpy as np
import pytest
import tensorflow as tf

import keras_compress as kc
from keras_compress.functional import coding
from keras_compress.ops import level_bits
from tests.kernels import native

WAYS = {name: lambda name=name: native.level(name) for name in native.level_names()}
WAYS["twin"] = kc.ops.twins


def table_of(levels, code):
    table = coding.code_table(levels, code)
    return np.concatenate([table, np.full((1, table.shape[1]), np.nan, "float32")])


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
@pytest.mark.parametrize(
    ("levels", "code"),
    [(2, "natural"), (16, "gray"), (256, "natural"), (4, "thermometer")],
)
@pytest.mark.parametrize("shape", [(3, 70), (2, 0), (1, 2, 3), (40_001, 1)])
def test_the_word_of_each_level(way, levels, code, shape):
    random = np.random.default_rng(levels)
    x = random.standard_normal(shape).astype("float32")
    limits = np.sort(random.standard_normal(levels - 1)).astype("float32")
    limits[levels // 3] = limits[levels // 3 - 1]  # a level that is empty
    x.ravel()[: len(limits)] = limits[: x.size]  # the upper level's
    words = table_of(levels, code)
    number = np.searchsorted(limits, x, side="right")
    if x.size > 5:
        x.ravel()[[2, 4, 5]] = [np.nan, np.inf, -np.inf]
        number.ravel()[[2, 4, 5]] = [levels, levels - 1, 0]
    expected = words[number].reshape((*shape[:-1], shape[-1] * words.shape[1]))
    with way():
        np.testing.assert_array_equal(level_bits(x, limits, words), expected)


@pytest.mark.parametrize("forms", [contextlib.nullcontext, kc.ops.twins])
def test_shapes_gradients_and_what_is_refused(forms):
    words, limits = table_of(4, "natural"), np.zeros(3, "float32")
    with forms():
        graph = tf.function(lambda x: level_bits(x, limits, words))
        spec = tf.TensorSpec((None, 5), "float32")
        assert graph.get_concrete_function(spec).output_shapes == (None, 10)
        x = tf.ones((1, 5))
        with tf.GradientTape() as tape:
            tape.watch(x)
            found = level_bits(x, limits, words)
        assert tape.gradient(found, x) is None
        assert level_bits(np.ones((1, 5)), limits, words).dtype == "float32"
        with pytest.raises(tf.errors.InvalidArgumentError):
            level_bits(x, limits, words[:4])
        with pytest.raises(ValueError, match="`inputs` must be a floating tensor"):
            level_bits(np.ones((1, 5), "int32"), limits, words)


@pytest.mark.parametrize("code", coding.CODES)
@pytest.mark.parametrize("policy", ["float32", "mixed_float16"])
def test_the_packed_layer_is_the_trained_one(code, policy):
    layer = kc.layers.LloydMaxCoding(2, code=code, dtype=policy)
    layer.adapt(np.random.default_rng(0).standard_normal(100))
    packed = kc.packed.PackedLloydMaxCoding(2, code=code, dtype=policy)
    packed.fill(layer.levels)
    x = np.random.default_rng(1).standard_normal((3, 7)).astype("float32")
    x[0, :3] = coding.level_limits(layer.levels.numpy())
    x[1, 0] = np.nan
    assert packed.compute_output_shape(x.shape) == packed(x).shape
    assert packed(x).dtype == layer.compute_dtype
    np.testing.assert_array_equal(packed(x), layer(x))
    again = type(packed).from_config(packed.get_config())
    assert again.get_config() == packed.get_config()
