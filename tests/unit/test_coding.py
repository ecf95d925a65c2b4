"""Numbers as bits, by hand, and the layers that code them."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from keras_compress.functional import coding
from keras_compress.layers import (
    BipolarCoding,
    BitsCoding,
    LloydMaxCoding,
    ZeroOneCoding,
)

PIXELS = np.array([[0.0, 0.24, 0.26, 0.5, 0.74, 0.76, 1.0]], "float32")


def test_thresholds():
    found = ops.convert_to_numpy(coding.bipolar(PIXELS))
    np.testing.assert_array_equal(found, [[-1, -1, -1, 1, 1, 1, 1]])
    found = ops.convert_to_numpy(coding.zero_one(PIXELS, 0.25))
    np.testing.assert_array_equal(found, [[0, 0, 1, 1, 1, 1, 1]])


@pytest.mark.parametrize("function", [coding.bipolar, coding.zero_one])
def test_thresholds_pass_the_gradient_on(function):
    x = tf.constant(PIXELS)
    with tf.GradientTape() as tape:
        tape.watch(x)
        outputs = 3.0 * function(x)
    np.testing.assert_array_equal(tape.gradient(outputs, x), np.full_like(PIXELS, 3))


def test_two_bits_are_four_equal_parts_on_separate_inputs():
    found = ops.convert_to_numpy(coding.bits(PIXELS, 2)).reshape(-1, 2)
    high = [-1, -1, -1, 1, 1, 1, 1]
    low = [-1, -1, 1, -1, -1, 1, 1]
    np.testing.assert_array_equal(found, np.stack([high, low], axis=1))


def test_bits_of_another_range_are_cut_off_at_its_ends():
    found = ops.convert_to_numpy(coding.bits([[-9.0, -1.0, 0.9, 9.0]], 1, low=-1))
    np.testing.assert_array_equal(found, [[-1, -1, 1, 1]])


def test_bits_of_channels_first():
    images = np.array([0.1, 0.9, 0.4, 0.6], "float32").reshape(1, 2, 2, 1)
    first = ops.convert_to_numpy(coding.bits(images, 2, axis=1))
    last = coding.bits(images.transpose(0, 2, 3, 1), 2)
    assert first.shape == (1, 4, 2, 1)
    np.testing.assert_array_equal(first, np.transpose(last, (0, 3, 1, 2)))


def test_code_tables():
    np.testing.assert_array_equal(
        coding.code_table(4), [[-1, -1], [-1, 1], [1, -1], [1, 1]]
    )
    gray = coding.code_table(8, "gray")
    assert (np.abs(np.diff(gray, axis=0)).sum(axis=1) == 2).all()
    assert len(np.unique(gray, axis=0)) == 8
    np.testing.assert_array_equal(
        coding.code_table(3, "thermometer"), [[-1, -1], [-1, 1], [1, 1]]
    )


def test_lloyd_max_of_a_known_density():
    """Max 1960, table I: a normal density, 4 levels at +-0.4528 and +-1.510."""
    quantiles = (np.arange(200_000) + 0.5) / 200_000
    from statistics import NormalDist

    samples = [NormalDist().inv_cdf(q) for q in quantiles[::10]]
    found = coding.lloyd_max_levels(samples, 4)
    np.testing.assert_allclose(found, [-1.510, -0.4528, 0.4528, 1.510], atol=0.01)


def test_lloyd_max_beats_equal_steps_and_survives_silence():
    samples = np.random.default_rng(0).exponential(size=5000) ** 2
    samples[:2000] = 0.0

    def error(levels):
        return np.square(samples[:, None] - levels).min(axis=1).mean()

    found = coding.lloyd_max_levels(samples, 16)
    assert (np.diff(found) > 0).all()
    assert error(found) < 0.4 * error(np.linspace(0, samples.max(), 16))


def test_fewer_values_than_levels():
    found = coding.lloyd_max_levels([1.0, 1.0, 5.0], 4)
    assert set(found.round(6)) >= {1.0, 5.0}
    assert (np.diff(found) >= 0).all()


def test_the_nearest_level_is_coded():
    levels = np.array([0.0, 1.0, 4.0, 9.0], "float32")
    x = np.array([[-3.0, 0.5, 2.4, 2.6, 6.6, 99.0]], "float32")
    found = ops.convert_to_numpy(coding.level_bits(x, levels)).reshape(-1, 2)
    number = (found[:, 0] > 0) * 2 + (found[:, 1] > 0)
    np.testing.assert_array_equal(number, [0, 1, 1, 2, 3, 3])


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda: coding.bits(PIXELS, 0), r"`bits` must be an integer in \[1, 16\]"),
        (lambda: coding.bits(PIXELS, 2, high=0.0), "`high` must be above `low`"),
        (lambda: coding.code_table(6), "`levels` must be a power of 2 for .*'natural"),
        (lambda: coding.code_table(4, "morse"), "`code` must be one of 'natural'"),
        (lambda: coding.lloyd_max_levels([], 2), "`samples` must be .*finite"),
        (lambda: coding.lloyd_max_levels([np.nan], 2), "`samples` must be .*finite"),
        (lambda: BipolarCoding(np.nan), "`threshold` must be a finite number"),
        (lambda: BitsCoding(2, low=1.0), "`high` must be a finite number > 1"),
        (lambda: LloydMaxCoding(17), r"`bits` must be an integer in \[1, 16\]"),
        (lambda: LloydMaxCoding(2, code="x"), "`code` must be one of"),
    ],
)
def test_bad_arguments(function, message):
    with pytest.raises(ValueError, match=message):
        function()


LAYERS = [
    BipolarCoding(0.3),
    ZeroOneCoding(0.3),
    BitsCoding(3, low=-1.0, high=2.0),
    BitsCoding(3, code="thermometer"),
    LloydMaxCoding(2, code="gray"),
]


@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: type(layer).__name__)
@pytest.mark.parametrize("policy", ["float32", "mixed_float16"])
def test_layers_survive_a_file_and_know_their_shape(layer, policy, tmp_path):
    layer = type(layer).from_config({**layer.get_config(), "dtype": policy})
    if isinstance(layer, LloydMaxCoding):
        layer.adapt(PIXELS**3)
    model = keras.Sequential([keras.Input((7,)), layer])
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    outputs = model(PIXELS)
    assert model.output_shape == (None, *outputs.shape[1:])
    assert outputs.dtype == layer.compute_dtype
    np.testing.assert_array_equal(outputs, loaded(PIXELS))
    assert len(np.unique(outputs)) == 2


def test_integers_are_coded():
    found = BipolarCoding(128)(np.array([[0, 127, 128, 255]], "uint8"))
    np.testing.assert_array_equal(found, [[-1, -1, 1, 1]])
    assert BitsCoding(8, high=256)(np.array([[200]], "uint8")).shape == (1, 8)


def test_nan_stays_nan():
    """A packed layer behind a coding refuses it; before, it was the lowest level."""
    x = np.array([[0.1, np.nan, 0.9]], "float32")
    expected = [[-1.0, -1.0, np.nan, np.nan, 1.0, 1.0]]
    levels = np.array([0.0, 0.3, 0.6, 1.0])
    np.testing.assert_array_equal(coding.bits(x, 2), expected)
    np.testing.assert_array_equal(coding.level_bits(x, levels), expected)
    np.testing.assert_array_equal(coding.bipolar(x), [[-1.0, np.nan, 1.0]])
    np.testing.assert_array_equal(coding.zero_one(x), [[0.0, np.nan, 1.0]])


@pytest.mark.parametrize(("dtype", "count"), [("float16", 12), ("bfloat16", 9)])
def test_short_floats_have_the_last_of_many_bits(dtype, count):
    found = coding.bits(ops.cast([[0.0, 1.0, 2.0]], dtype), count)
    expected = coding.bits(np.array([[0.0, 1.0, 2.0]], "float32"), count)
    np.testing.assert_array_equal(ops.cast(found, "float32"), expected)
