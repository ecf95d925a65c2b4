"""The packed bitwise layers by themselves, held against NumPy and Keras's layers."""

import contextlib

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_compress as kc
from keras_compress.functional.signs import pack_bits, pack_signs, unpack_bits
from keras_compress.layers.packed import (
    PackedBitwiseChain,
    PackedBitwiseConv2D,
    PackedBitwiseDense,
    PackedMaxPooling2D,
)

TWINS = pytest.mark.parametrize("twins", [False, True])


def maybe_twins(twins):
    return kc.ops.twins() if twins else contextlib.nullcontext()


def ternary(seed, *shape, zeros=0.3):
    random = np.random.default_rng(seed)
    kernel = np.where(random.random(shape) < 0.5, -1, 1)
    return kernel * (random.random(shape) >= zeros)


def normal(seed, *shape):
    return np.random.default_rng(seed).standard_normal(shape).astype("float32")


def signs(inputs):
    return np.where(inputs < 0, -1, 1)


@TWINS
@pytest.mark.parametrize("zeros", [0.0, 0.4])
@pytest.mark.parametrize("shape", [(5, 32), (3, 37), (0, 7), (2, 3, 65)])
def test_dense_gives_the_sums_of_signs(shape, zeros, twins):
    kernel, inputs = ternary(0, shape[-1], 20, zeros=zeros), normal(1, *shape)
    layer = PackedBitwiseDense(20, masked=zeros > 0, scaled=True, counted=True)
    layer.build((None, *shape[1:]))
    scale, bias, added = normal(2, 20), normal(3, 20), np.arange(20) - 7
    layer.fill(kernel, added=added, scale=scale, bias=bias)
    sums = (signs(inputs) @ kernel + added).astype("float32")
    with maybe_twins(twins):
        np.testing.assert_array_equal(layer(inputs), sums * scale + bias)


@TWINS
def test_dense_gives_packed_bits_that_the_next_layer_takes(twins):
    first, last = ternary(0, 50, 40, zeros=0), ternary(1, 40, 3)
    limits, flips = np.arange(-20, 20), normal(2, 40) < 0
    one = PackedBitwiseDense(40, outputs="bits")
    two = PackedBitwiseDense(
        3, inputs="packed", channels=40, masked=True, use_bias=False
    )
    inputs = normal(3, 6, 50)
    one.build((None, 50))
    two.build((None, 2))
    one.fill(first, thresholds=limits, flips=flips)
    two.fill(last)
    negative = (signs(inputs) @ first < limits) != flips
    with maybe_twins(twins):
        words = one(inputs)
        np.testing.assert_array_equal(words, pack_bits(negative))
        np.testing.assert_array_equal(two(words), np.where(negative, -1, 1) @ last)
        chain = PackedBitwiseChain([one, two])
        np.testing.assert_array_equal(chain(inputs), two(words))
        function = chain.as_function()
        np.testing.assert_array_equal(function(tf.constant(inputs)), two(words))


def images_chain(coding):
    """A convolution of images, and what follows it, as one layer and as several."""
    one = PackedBitwiseConv2D(
        40, 3, padding="same", inputs=coding, threshold=0.25, outputs="bits"
    )
    pool = PackedMaxPooling2D(2, strides=1, padding="same", flipped=True)
    two = PackedBitwiseConv2D(
        33, (2, 1), inputs="packed", channels=40, outputs="bits", masked=True
    )
    last = PackedBitwiseDense(5, inputs="packed", channels=33, activation="relu")
    pad, flat = keras.layers.ZeroPadding2D(((1, 0), (0, 2))), keras.layers.Flatten()
    chain = PackedBitwiseChain([one, pool, pad, two, flat, last])
    chain.build((None, 5, 6, 3))
    channels = 3 * (2 if coding == "bits" else 1)
    limits = {"thresholds": np.arange(40) - 20, "flips": normal(1, 40) < 0}
    one.fill(ternary(0, 3, 3, channels, 40, zeros=0), **limits)
    pool.flips.assign(pack_bits(normal(2, 40) < 0))
    two.fill(
        ternary(3, 2, 1, 40, 33), thresholds=np.arange(33) - 16, flips=np.zeros(33)
    )
    last.fill(ternary(4, 5 * 8 * 33, 5, zeros=0), bias=normal(5, 5))
    return chain


@TWINS
@pytest.mark.parametrize("coding", ["sign", "bipolar", "zero_one", "bits"])
def test_a_chain_of_convolutions_is_its_members(coding, twins):
    chain = images_chain(coding)
    inputs = np.random.default_rng(6).integers(-8, 9, (3, 5, 6, 3)) / 8.0
    inputs = inputs.astype("float32")
    if coding == "bits":
        inputs = np.abs(inputs)
    expected = inputs
    for member in chain.members:
        expected = member(expected)
    assert chain.compute_output_shape((None, 5, 6, 3)) == (None, 5)
    with maybe_twins(twins):
        np.testing.assert_array_equal(chain(inputs), expected)
        function = chain.as_function()
        np.testing.assert_array_equal(function(tf.constant(inputs)), expected)
        assert chain(inputs[:0]).shape == (0, 5)
        nan = np.where(inputs == inputs.max(), np.nan, inputs)
        with pytest.raises(tf.errors.InvalidArgumentError, match="NaN"):
            chain(nan)


@TWINS
@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_a_function_of_a_convolution(data_format, twins):
    layer = PackedBitwiseConv2D(4, 3, data_format=data_format, activation="tanh")
    inputs = tf.constant(normal(0, 2, 6, 6, 6))
    layer.build(inputs.shape)
    layer.fill(ternary(1, 3, 3, 6, 4, zeros=0), bias=normal(2, 4))
    with maybe_twins(twins):
        np.testing.assert_array_equal(layer.as_function()(inputs), layer(inputs))


@TWINS
def test_groups_of_channels_begin_with_new_words(twins):
    """As a flattened image of bits has them: no mask is needed to skip the rest."""
    kernel, inputs = ternary(0, 4 * 33, 5, zeros=0), normal(1, 3, 4, 33)
    layer = PackedBitwiseDense(5, inputs="packed", channels=33, use_bias=False)
    words = pack_signs(inputs).reshape(3, -1)
    layer.build(words.shape)
    assert layer.fan_in == 4 * 33
    layer.fill(kernel)
    with maybe_twins(twins):
        found = layer(words)
    np.testing.assert_array_equal(found, signs(inputs).reshape(3, -1) @ kernel)


@pytest.mark.parametrize("coding", ["sign", "bipolar"])
def test_a_function_has_no_keras_in_it(coding, monkeypatch):
    layer = PackedBitwiseDense(3, inputs=coding)
    layer.build((None, 5))
    layer.fill(ternary(0, 5, 3, zeros=0), bias=np.zeros(3))
    expected, function = layer(np.ones((2, 5))), layer.as_function()
    for name in ("__call__", "call", "rows", "finish"):
        monkeypatch.setattr(PackedBitwiseDense, name, None)
    np.testing.assert_array_equal(function(tf.ones((2, 5))), expected)


CODINGS = {
    "sign": lambda x: signs(x),
    "bipolar": lambda x: np.where(x >= 0.25, 1, -1),
    "bits": lambda x: np.asarray(kc.layers.BitsCoding(3)(x)),
}


@pytest.mark.parametrize("coding", CODINGS)
@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16", "float64"])
def test_codings_of_the_inputs(coding, dtype):
    inputs = np.random.default_rng(0).integers(0, 9, (4, 10)) / 8.0
    coded = CODINGS[coding](inputs)
    kernel = ternary(1, coded.shape[1], 6, zeros=0)
    layer = PackedBitwiseDense(
        6, inputs=coding, bits=3, threshold=0.25, use_bias=False, dtype=dtype
    )
    layer.build((None, 10))
    layer.fill(kernel)
    outputs = layer(inputs)
    assert keras.backend.standardize_dtype(outputs.dtype) == layer.compute_dtype
    np.testing.assert_array_equal(tf.cast(outputs, tf.float32), coded @ kernel)
    np.testing.assert_array_equal(
        tf.cast(layer.as_function()(tf.constant(inputs, "float32")), tf.float32),
        coded @ kernel,
    )


@pytest.mark.parametrize("bias_first", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "mixed_float16"])
def test_the_order_of_roundings(bias_first, dtype):
    kernel, inputs = ternary(0, 60, 8, zeros=0), normal(1, 5, 60)
    scale, bias = normal(2, 8), normal(3, 8)
    layer = PackedBitwiseDense(
        8, scaled=True, bias_first=bias_first, activation="tanh", dtype=dtype
    )
    layer.build((None, 60))
    layer.fill(kernel, scale=scale, bias=bias)
    short = layer.compute_dtype
    sums, scale, bias = (x.astype(short) for x in (signs(inputs) @ kernel, scale, bias))
    expected = (sums + bias) * scale if bias_first else sums * scale + bias
    np.testing.assert_array_equal(layer(inputs), tf.tanh(expected))


@TWINS
@pytest.mark.parametrize("zeros", [0.0, 0.4])
@pytest.mark.parametrize("channels", [1, 33])
@pytest.mark.parametrize(
    "geometry",
    [
        {"padding": "valid", "strides": 2},
        {"padding": "same", "strides": (2, 3)},
        {"padding": "same", "dilation_rate": (2, 1)},
        {"padding": "same", "data_format": "channels_first"},
    ],
)
def test_conv2d_is_keras_convolution_of_signs(geometry, channels, zeros, twins):
    kernel = ternary(0, 3, 2, channels, 17, zeros=zeros)
    images, bias = normal(1, 2, 7, 8, channels), normal(2, 17)
    parent = keras.layers.Conv2D(17, (3, 2), **{**geometry, "data_format": None})
    parent.build(images.shape)
    parent.kernel.assign(kernel)
    sums = parent(signs(images).astype("float32")).numpy()
    layer = PackedBitwiseConv2D(17, (3, 2), masked=zeros > 0, **geometry)
    first = "data_format" in geometry
    given = images.transpose(0, 3, 1, 2) if first else images
    layer.build((None, *given.shape[1:]))
    layer.fill(kernel, bias=bias)
    expected = sums + bias
    with maybe_twins(twins):
        found = layer(given)
    assert layer.compute_output_shape(given.shape) == found.shape
    expected = expected.transpose(0, 3, 1, 2) if first else expected
    np.testing.assert_array_equal(found, expected)
    if first:
        return
    limits, flips = np.arange(17) - 8, normal(3, 17) < 0
    layer = PackedBitwiseConv2D(
        17,
        (3, 2),
        masked=zeros > 0,
        inputs="packed",
        channels=channels,
        outputs="bits",
        **geometry,
    )
    words = pack_signs(images)
    layer.build(words.shape)
    layer.fill(kernel, thresholds=limits, flips=flips)
    with maybe_twins(twins):
        found = layer(words)
    np.testing.assert_array_equal(found, pack_bits((sums < limits) != flips))


@TWINS
@pytest.mark.parametrize(
    ("pool_size", "strides", "padding"),
    [(2, None, "valid"), ((3, 2), 1, "same"), (3, 2, "same"), ((1, 2), 3, "valid")],
)
def test_pooling_of_bits_is_keras_pooling_of_signs(pool_size, strides, padding, twins):
    images, flips = normal(0, 2, 7, 6, 40), normal(1, 40) < 0
    turned = np.where(flips, -1, 1)
    parent = keras.layers.MaxPooling2D(pool_size, strides, padding)
    expected = parent(signs(images).astype("float32") * turned) * turned
    layer = PackedMaxPooling2D(
        pool_size, strides=strides, padding=padding, flipped=True
    )
    words = pack_signs(images)
    layer.build(words.shape)
    layer.flips.assign(pack_bits(flips))
    with maybe_twins(twins):
        found = layer(words)
    assert layer.compute_output_shape(words.shape) == found.shape
    np.testing.assert_array_equal(unpack_bits(found.numpy(), 40), expected < 0)


LAYERS = {
    "dense": (PackedBitwiseDense(3), (4, 5)),
    "bipolar": (PackedBitwiseDense(3, inputs="bipolar"), (4, 5)),
    "bits": (PackedBitwiseDense(3, inputs="bits"), (4, 5)),
    "conv2d": (PackedBitwiseConv2D(3, 2), (4, 5, 5, 1)),
}


@TWINS
@pytest.mark.parametrize("name", LAYERS)
def test_nan_is_an_error(name, twins):
    layer, shape = LAYERS[name]
    inputs = np.zeros(shape, "float32")
    inputs[1, 2] = np.nan
    with maybe_twins(twins), pytest.raises(tf.errors.InvalidArgumentError, match="NaN"):
        layer(inputs)
    with maybe_twins(twins), pytest.raises(tf.errors.InvalidArgumentError, match="NaN"):
        tf.function(layer)(inputs)


def test_kept_may_be_more_than_is_kept():
    """The integer bias of an op: the same at every level, and in the twin."""
    from keras_compress.functional.signs import pack_kernel, sign_products

    kernel, inputs = ternary(0, 70, 19), normal(1, 4, 70)
    for mask in (None, kernel):
        panels, masks, kept = pack_kernel(kernel.astype("float32"), mask)
        kept = kept + np.arange(19, dtype="int32") - 30
        expected = sign_products(pack_signs(inputs), panels, masks, kept, inputs=70)
        weights = np.where(kernel < 0, -1, 1) if mask is None else kernel
        by_hand = signs(inputs) @ weights + np.arange(19) - 30
        np.testing.assert_array_equal(expected, by_hand)
        for twins in (False, True):
            with maybe_twins(twins):
                found = kc.ops.xnor_matmul(inputs, panels, masks, kept, outputs="int32")
            np.testing.assert_array_equal(found, by_hand)


CONFIGS = [
    PackedBitwiseDense(
        7, inputs="bits", bits=3, masked=True, scaled=True, bias_first=True
    ),
    PackedBitwiseDense(7, inputs="packed", channels=9, outputs="bits", name="b"),
    PackedBitwiseConv2D(
        4,
        (3, 2),
        strides=2,
        padding="same",
        dilation_rate=1,
        inputs="zero_one",
        threshold=0.25,
        activation="relu",
    ),
    PackedMaxPooling2D((2, 1), strides=3, padding="same", flipped=True),
    PackedBitwiseChain(
        [
            PackedBitwiseDense(7, outputs="bits"),
            PackedBitwiseDense(2, inputs="packed", channels=7),
        ]
    ),
    PackedBitwiseChain(
        [
            PackedBitwiseConv2D(7, 3, outputs="bits", padding="same"),
            PackedMaxPooling2D(2, flipped=True),
            keras.layers.ZeroPadding2D((1, 2)),
            keras.layers.Flatten(),
            PackedBitwiseDense(2, inputs="packed", channels=7),
        ],
        name="of_images",
    ),
]


@pytest.mark.parametrize("layer", CONFIGS, ids=lambda layer: layer.name)
def test_config_round_trip(layer):
    config = keras.saving.serialize_keras_object(layer)
    again = keras.saving.deserialize_keras_object(config)
    assert again.get_config() == layer.get_config()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: PackedBitwiseDense(0), "`units` must be an integer >= 1"),
        (lambda: PackedBitwiseDense(1, inputs="signs"), "`inputs` must be one of"),
        (lambda: PackedBitwiseDense(1, inputs="packed"), "`channels` must be given"),
        (lambda: PackedBitwiseDense(1, channels=3), "`channels` must be given"),
        (lambda: PackedBitwiseDense(1, outputs="int8"), "`outputs` must be one of"),
        (lambda: PackedBitwiseDense(1, masked=1), "`masked` must be True or False"),
        (lambda: PackedBitwiseConv2D(1, "3"), "`kernel_size` must be a positive"),
        (lambda: PackedBitwiseConv2D(1, 3, padding="full"), "`padding` must be one"),
        (lambda: PackedMaxPooling2D(0), "`pool_size` must be an integer >= 1"),
        (lambda: PackedMaxPooling2D(2, flipped=None), "`flipped` must be True or"),
        (lambda: PackedBitwiseChain([]), "`members` must be a list of packed"),
        (
            lambda: PackedBitwiseChain([PackedBitwiseDense(2), PackedBitwiseDense(2)]),
            "`members` must be such that",
        ),
        (
            lambda: PackedBitwiseChain([PackedMaxPooling2D(2), PackedBitwiseDense(2)]),
            "`members` must be a list of packed",
        ),
        (
            lambda: PackedBitwiseChain([PackedBitwiseDense(2), keras.layers.ReLU()]),
            "`members` must be a list of packed",
        ),
    ],
)
def test_bad_arguments(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"kernel": np.ones((2, 2))}, r"`kernel` must be of \(3, 2\) weights"),
        ({"kernel": np.full((3, 2), 0.5)}, r"`kernel` must be of -1, 0 and \+1"),
        ({"kernel": np.zeros((3, 2))}, "`kernel` must be free of 0"),
        ({"kernel": np.ones((3, 2))}, r"`bias` must be of shape \(2,\)"),
        ({"kernel": np.ones((3, 2)), "bias": 1.0}, r"`bias` must be of shape \(2,\)"),
        (
            {"kernel": np.ones((3, 2)), "bias": np.ones(2), "added": 1},
            "`added` must be 0",
        ),
    ],
)
def test_what_does_not_fit_is_refused(values, message):
    layer = PackedBitwiseDense(2)
    with pytest.raises(ValueError, match="must be built before it has weights"):
        layer.fill(**values)
    layer.build((None, 3))
    with pytest.raises(ValueError, match=message):
        layer.fill(**values)
    assert not layer.signs.numpy().any(), "nothing is stored by halves"
