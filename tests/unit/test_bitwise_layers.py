"""What bitwise layers compute in each stage, by hand."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_compress as kc
from keras_compress.layers import BitwiseActivation, BitwiseConv2D, BitwiseDense

KERNEL = np.array([[0.3, -0.7], [-0.1, 0.2], [0.9, 0.0], [-0.4, -0.5]], "float32")
BIAS = np.array([-0.2, 0.0], "float32")
SIGNS = np.array([[1, -1], [-1, 1], [1, 1], [-1, -1]])
INPUTS = np.array([[0.5, -2.0, 0.0, 3.0], [-1.0, 1.0, -1.0, 0.1]], "float32")
INPUT_SIGNS = np.array([[1, -1, 1, 1], [-1, 1, -1, 1]])


def layer_of(kernel=KERNEL, **arguments):
    layer = BitwiseDense(kernel.shape[-1], **arguments)
    layer.build((None, len(kernel) // (layer.bits if layer.inputs == "bits" else 1)))
    layer.kernel.assign(kernel)
    if layer.bias is not None:
        layer.bias.assign(BIAS)
    return layer


def test_stage_1_compresses_weights_biases_and_units():
    layer = layer_of(activation="bitwise")
    layer.stage.assign(1)
    expected = np.tanh(INPUTS @ np.tanh(KERNEL) + np.tanh(BIAS))
    np.testing.assert_allclose(layer(INPUTS), expected, rtol=1e-5)


def test_stage_1_goes_on_from_the_weights_there_are():
    layer = layer_of()
    before = layer(INPUTS)
    layer.compress()
    assert layer.stage_number == 1
    np.testing.assert_allclose(layer.kernel, np.arctanh(KERNEL), rtol=1e-5)
    np.testing.assert_allclose(layer(INPUTS), before, rtol=1e-5)
    layer.compress()
    np.testing.assert_allclose(layer.kernel, np.arctanh(KERNEL), rtol=1e-5)


def test_stage_2_sums_signs():
    layer = layer_of()
    layer.binarize()
    expected = INPUT_SIGNS @ SIGNS + [-1, 1]
    np.testing.assert_array_equal(layer(INPUTS), expected)
    np.testing.assert_array_equal(layer.ternary_kernel, SIGNS)
    units = layer_of(activation="bitwise", use_bias=False)
    units.binarize()
    np.testing.assert_array_equal(
        units(INPUTS), np.where(INPUT_SIGNS @ SIGNS >= 0, 1, -1)
    )


def test_stage_2_drops_the_smallest_and_follows_them():
    layer = layer_of(use_bias=False)
    layer.binarize(sparsity=0.5)
    kept = np.array([[0, 1], [0, 0], [1, 0], [1, 1]])
    np.testing.assert_array_equal(layer.ternary_kernel, SIGNS * kept)
    np.testing.assert_array_equal(layer(INPUTS), INPUT_SIGNS @ (SIGNS * kept))
    assert layer.sparsity == 0.5
    layer.kernel.assign(-2 * KERNEL)
    kept = np.abs(2 * KERNEL) > layer.beta.numpy()
    np.testing.assert_array_equal(
        layer.ternary_kernel, np.where(KERNEL > 0, -1, 1) * kept
    )


def test_a_scale_is_the_mean_of_the_kept_ghosts():
    layer = layer_of(scale=True)
    expected = layer(INPUTS)
    layer.stage.assign(0)
    np.testing.assert_array_equal(layer(INPUTS), expected)
    layer.binarize(sparsity=0.5)
    scale = [np.mean([0.9, 0.4]), np.mean([0.7, 0.5])]
    sums = INPUT_SIGNS @ layer.ternary_kernel + [-1, 1]
    np.testing.assert_allclose(layer(INPUTS), sums * scale, rtol=1e-6)
    full = layer_of(scale=True)
    full.binarize()
    sums = INPUT_SIGNS @ SIGNS + [-1, 1]
    scale = np.abs(KERNEL).mean(axis=0)
    np.testing.assert_allclose(full(INPUTS), sums * scale, rtol=1e-6)


def test_a_real_bias_stays_real():
    layer = layer_of(bitwise_bias=False)
    layer.compress()
    np.testing.assert_array_equal(layer.bias, BIAS)
    layer.binarize()
    np.testing.assert_allclose(layer(INPUTS), INPUT_SIGNS @ SIGNS + BIAS, rtol=1e-6)


@pytest.mark.parametrize("stage", [0, 1, 2])
def test_a_mask_holds_in_every_stage(stage):
    layer = layer_of(masked=True, use_bias=False)
    mask = np.array([[1, 0], [1, 1], [0, 1], [1, 1]], bool)
    layer.mask.assign(mask)
    assert layer_of().mask is None
    layer.stage.assign(stage)
    kernel = [KERNEL, np.tanh(KERNEL), SIGNS][stage] * mask
    inputs = INPUT_SIGNS if stage == 2 else INPUTS
    np.testing.assert_allclose(layer(INPUTS), inputs @ kernel, rtol=1e-5)
    np.testing.assert_array_equal(layer.ternary_kernel, SIGNS * mask)
    layer.binarize(sparsity=0.5)
    assert layer.sparsity == 0.5
    assert not layer.ternary_kernel[~mask].any()


def test_codings_of_the_inputs():
    pixels = np.array([[0.1, 0.4, 0.6, 0.9]], "float32")
    coded = {"bipolar": [[-1, -1, 1, 1]], "zero_one": [[0, 0, 1, 1]]}
    for inputs, bits in coded.items():
        layer = layer_of(inputs=inputs, use_bias=False)
        np.testing.assert_allclose(layer(pixels), bits @ KERNEL, atol=1e-6)
        layer.binarize()
        np.testing.assert_array_equal(layer(pixels), bits @ SIGNS)
    layer = layer_of(inputs="bits", use_bias=False)
    layer.binarize()
    np.testing.assert_array_equal(layer(pixels[:, 1:3]), [[-1, 1, 1, -1]] @ SIGNS)
    with pytest.raises(ValueError, match="expected axis -1 of input shape"):
        layer(pixels)


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_convolutions_code_channels(data_format):
    layer = BitwiseConv2D(
        3, 3, padding="same", inputs="bits", bits=2, data_format=data_format
    )
    shape = (1, 5, 4, 2) if data_format == "channels_last" else (1, 2, 5, 4)
    layer.build((None, *shape[1:]))
    assert tuple(layer.kernel.shape) == (3, 3, 4, 3)
    layer.binarize(sparsity=0.25)
    if data_format == "channels_first" and not tf.config.list_physical_devices("GPU"):
        return  # TensorFlow has no such convolution on a CPU
    sums = layer(np.random.default_rng(0).random(shape)).numpy()
    np.testing.assert_array_equal(sums, sums.round())


def test_a_scale_in_a_convolution_is_a_channels():
    layer = BitwiseConv2D(3, 2, scale=True, use_bias=False)
    layer.build((None, 4, 4, 2))
    layer.kernel.assign(layer.kernel * np.array([1.0, 2.0, 3.0]))
    layer.binarize()
    images = np.ones((1, 4, 4, 2), "float32")
    scale = np.abs(layer.kernel.numpy()).mean(axis=(0, 1, 2))
    sums = layer.ternary_kernel.sum(axis=(0, 1, 2))
    np.testing.assert_allclose(layer(images)[0, 0, 0], scale * sums, rtol=1e-5)


def test_a_scale_with_channels_first():
    """By its method: TensorFlow has no such convolution on a CPU."""
    layer = BitwiseConv2D(3, 2, scale=True, data_format="channels_first")
    layer.build((None, 2, 4, 4))
    scale = np.abs(layer.kernel.numpy()).mean(axis=(0, 1, 2))
    scaled = layer._scaled(np.ones((1, 3, 3, 3), "float32"))
    np.testing.assert_allclose(scaled[0, :, 1, 2], scale, rtol=1e-6)


def gradients(layer, inputs=INPUTS):
    x = tf.constant(inputs)
    with tf.GradientTape() as tape:
        tape.watch(x)
        loss = tf.reduce_sum(layer(x, training=True) * [[1.0, 2.0], [3.0, 4.0]])
    return tape.gradient(loss, [x, layer.kernel.value, layer.bias.value])


UPSTREAM = np.array([[1.0, 2.0], [3.0, 4.0]])


def test_noisy_back_propagation_of_the_paper():
    layer = layer_of()
    layer.binarize(sparsity=0.25)
    x, kernel, bias = gradients(layer)
    np.testing.assert_allclose(x, UPSTREAM @ layer.ternary_kernel.T)
    np.testing.assert_allclose(kernel, INPUT_SIGNS.T @ UPSTREAM)
    np.testing.assert_allclose(bias, UPSTREAM.sum(axis=0))


def test_noisy_back_propagation_of_the_lecture():
    layer = layer_of(gradient="lecture")
    layer.binarize(sparsity=0.25)
    x, kernel, bias = gradients(layer)
    m = layer.ternary_kernel != 0
    slope = np.where(np.abs(INPUTS) == 1, 1, 1 - np.tanh(INPUTS) ** 2)
    np.testing.assert_allclose(x, UPSTREAM @ layer.ternary_kernel.T * slope, rtol=1e-4)
    expected = INPUT_SIGNS.T @ UPSTREAM * m * (1 - np.tanh(KERNEL) ** 2)
    np.testing.assert_allclose(kernel, expected, rtol=1e-5)
    expected = UPSTREAM.sum(axis=0) * (1 - np.tanh(BIAS) ** 2)
    np.testing.assert_allclose(bias, expected, rtol=1e-5)


def test_the_gradient_of_stage_1():
    layer = layer_of()
    layer.stage.assign(1)
    _, kernel, bias = gradients(layer)
    expected = INPUTS.T @ UPSTREAM * (1 - np.tanh(KERNEL) ** 2)
    np.testing.assert_allclose(kernel, expected, rtol=1e-5)
    expected = UPSTREAM.sum(axis=0) * (1 - np.tanh(BIAS) ** 2)
    np.testing.assert_allclose(bias, expected, rtol=1e-5)


def test_a_share_of_the_weights_is_drawn_anew_in_training_alone():
    kernel = np.full((40, 50), 0.5, "float32")
    layer = BitwiseDense(50, use_bias=False)
    layer.build((None, 40))
    layer.kernel.assign(kernel)
    layer.binarize(rate=0.25)
    one, two = (layer.effective_kernel(training=True).numpy() for _ in range(2))
    np.testing.assert_allclose(np.unique(one), [np.tanh(0.5), 1.0], rtol=1e-6)
    assert np.mean(one == 1.0) == pytest.approx(0.25, abs=0.04)
    assert (one != two).any()
    assert (layer.effective_kernel().numpy() == 1.0).all()


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16", "float16"])
def test_ghosts_are_float32_and_keep_their_sign(policy):
    layer = layer_of(dtype=policy)
    assert layer.kernel.dtype == layer.bias.dtype == "float32"
    layer.kernel.assign(np.full_like(KERNEL, -1e-12))
    layer.binarize()
    sums = layer(np.ones((1, 4), "float32"))
    assert sums.dtype == layer.compute_dtype
    np.testing.assert_array_equal(np.asarray(sums, "float32"), [[-5, -3]])


def test_double_precision():
    layer = layer_of(dtype="float64", scale=True, activation="bitwise")
    assert layer.kernel.dtype == "float64"
    layer.binarize(sparsity=0.25)
    assert layer(INPUTS).dtype == "float64"
    assert layer.sparsity == 0.25


def test_a_diverged_weight_is_seen():
    layer = layer_of()
    layer.kernel.assign(np.where(KERNEL == 0.9, np.nan, KERNEL))
    for binarize in (layer.binarize, lambda: layer.beta.assign(0.1)):
        binarize()
        assert np.isnan(layer(INPUTS).numpy()[:, 0]).all()
    with pytest.raises(ValueError, match="NaN among the weights"):
        layer.binarize(sparsity=0.5)


def test_an_activation_of_its_own():
    layer = BitwiseActivation(name="units")
    layer.build((None, 4))
    np.testing.assert_allclose(layer(INPUTS), np.tanh(INPUTS), rtol=1e-6)
    layer.compress()
    np.testing.assert_allclose(layer(INPUTS), np.tanh(INPUTS), rtol=1e-6)
    layer.binarize()
    np.testing.assert_array_equal(layer(INPUTS), INPUT_SIGNS)
    again = BitwiseActivation.from_config(layer.get_config())
    assert again.get_config() == layer.get_config()


def test_bitwise_is_an_activation_wherever_it_stands():
    for layer in (BitwiseDense(2, "bitwise"), BitwiseDense(2, activation="bitwise")):
        assert layer.is_bitwise_unit
        assert layer.get_config()["activation"] == "bitwise"
        assert BitwiseDense.from_config(layer.get_config()).is_bitwise_unit
    assert not BitwiseDense(2, "tanh").is_bitwise_unit


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"inputs": "pixels"}, "`inputs` must be one of 'sign', 'bipolar'"),
        ({"bits": 0}, r"`bits` must be an integer in \[1, 16\]"),
        ({"gradient": "slide"}, "`gradient` must be one of 'paper', 'lecture'"),
        ({"straight_through": "ste"}, "`straight_through` must be one of 'plain'"),
        ({"scale": 1}, "`scale` must be True or False"),
        ({"bitwise_bias": None}, "`bitwise_bias` must be True or False"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        BitwiseDense(3, **arguments)
    with pytest.raises(ValueError, match=message):
        kc.Bitwise(**arguments)


def test_bad_calls():
    with pytest.raises(ValueError, match="`straight_through` must be one of"):
        BitwiseActivation("lecture")
    for use in (lambda x: x.binarize(), lambda x: x.compress(), lambda x: x.sparsity):
        with pytest.raises(ValueError, match="'named' must be built before"):
            use(BitwiseDense(3, name="named"))
    layer = layer_of()
    for bad in ({"sparsity": 1.5}, {"rate": -1.0}):
        with pytest.raises(ValueError, match=r"must be a number in \[0, 1\]"):
            layer.binarize(**bad)
        assert layer.stage_number == 0


def test_weight_clipping():
    layer = layer_of(kernel_constraint=kc.layers.WeightClip(0.5))
    clipped = layer.kernel_constraint(layer.kernel)
    np.testing.assert_allclose(clipped, np.clip(KERNEL, -0.5, 0.5))
    again = keras.constraints.deserialize(
        keras.constraints.serialize(kc.layers.WeightClip(0.5))
    )
    assert again.limit == 0.5
    with pytest.raises(ValueError, match="`limit` must be a finite number > 0"):
        kc.layers.WeightClip(0)
