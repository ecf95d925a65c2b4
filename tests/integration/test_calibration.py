"""Formats chosen from data: bits by hand, budgets, and what comes out of a swap."""

import keras
import numpy as np
import pytest
from keras import layers as kl

import keras_compress as kc
from keras_compress.analysis import choose_formats
from keras_compress.functional.calibration import (
    fitting_format,
    integer_bits_for,
    spread_bits,
    squared_error,
)

RANDOM = np.random.default_rng(0)
DATA = RANDOM.uniform(0, 1, (200, 12)).astype("float32")


def two_layers():
    keras.utils.set_random_seed(3)
    return keras.Sequential(
        [
            keras.Input((12,)),
            kl.Dense(32, activation="relu", name="fc1", bias_initializer="ones"),
            kl.Dense(4, name="fc2"),
        ]
    )


def error(model, other):
    exact, found = model.predict(DATA, verbose=0), other.predict(DATA, verbose=0)
    return np.linalg.norm(found - exact) / np.linalg.norm(exact)


@pytest.mark.parametrize(
    ("largest", "bits"),
    [(0.9, 0), (1.0, 0), (1.01, 1), (-35.0, 6), (0.1, -3), (0.125, -3), (0, 0)],
)
def test_integer_bits_of_a_range(largest, bits):
    assert integer_bits_for(largest) == bits
    assert integer_bits_for(0.99, 7) == 0
    assert integer_bits_for(0.999, 7) == 1


def test_formats_by_range_percentile_and_least_squares():
    numbers = np.concatenate([RANDOM.standard_normal(10_000) / 4, [-9.0]])
    whole = fitting_format(numbers, 8)
    assert (whole.integer_bits, whole.fraction_bits) == (4, 3)
    most = fitting_format(numbers, 8, method="percentile", percentile=99.9)
    assert (most.integer_bits, most.fraction_bits) == (0, 7)
    best = fitting_format(numbers, 4, method="least_squares")
    every = [kc.QFormat(m, 3 - m) for m in range(-3, 5)]
    errors = [squared_error(numbers, q) for q in every]
    assert best == every[int(np.argmin(errors))]
    assert squared_error(numbers, best) < squared_error(
        numbers, fitting_format(numbers, 4)
    )
    assert fitting_format(np.array([0.9]), 8, signed=False).fraction_bits == 8


def test_the_formats_hold_what_was_seen():
    model = two_layers()
    formats = choose_formats(
        model, DATA, kinds=("kernel", "bias", "inputs", "pre_activations", "outputs")
    )
    assert list(formats) == ["fc1", "fc2"]
    fc1, fc2 = formats["fc1"], formats["fc2"]
    assert fc1.inputs == kc.QFormat(0, 8, signed=False)
    assert not fc1.outputs.signed
    assert fc1.pre_activations.signed
    assert fc2.outputs is None  # the end of the model
    hidden = np.maximum(DATA @ model.layers[0].kernel.numpy() + 1, 0)
    assert fc1.outputs.max >= hidden.max() - fc1.outputs.resolution
    assert fc1.outputs.max < 2 * hidden.max()
    assert fc1.bias.fraction_bits == fc1.kernel.fraction_bits + fc1.inputs.fraction_bits
    # By one step, where the largest is within half of it from a power of two.
    assert all(choice.overflow < 0.01 for choice in formats.choices)
    small = kc.swap(model, formats)
    assert error(model, small) < 0.02
    assert error(model, kc.swap(model, choose_formats(model, DATA, bits=4))) < 0.3


def test_channels_are_better_than_one_format():
    model = two_layers()
    scale = 2.0 ** np.arange(-16, 16) / 2**6
    model.layers[0].kernel.assign(model.layers[0].kernel.numpy() * scale)
    # A bias, or outputs, would leave no room for such small weights.
    own = {"where": "fc1", "kinds": ("kernel", "inputs")}
    one = choose_formats(model, DATA, bits=6, **own)
    each = choose_formats(model, DATA, bits=6, **own, per_channel=True)
    assert each["fc1"].kernel.channels == 32
    kernel = model.layers[0].kernel.numpy()
    for q, largest in ((one["fc1"].kernel, 1.0), (each["fc1"].kernel, 0.1)):
        relative = np.abs(q.quantize(kernel) - kernel).max(0) / np.abs(kernel).max(0)
        assert relative.max() <= largest
    assert np.count_nonzero(one["fc1"].kernel.quantize(kernel)[:, 0]) == 0
    assert kc.swap(model, each).layers[0].kernel_format == each["fc1"].kernel


def test_bits_go_where_they_count():
    errors = [{2: 9.0, 3: 1.0, 4: 0.9}, {2: 4.0, 3: 4.0, 4: 1.0}]
    assert spread_bits(errors, [10, 10], 50) == [3, 2]
    assert spread_bits(errors, [10, 10], 70) == [3, 4]
    assert spread_bits(errors, [10, 10], 80) == [4, 4]
    with pytest.raises(ValueError, match="budget"):
        spread_bits(errors, [10, 10], 39)
    model = two_layers()
    even = choose_formats(model, DATA, bits=4)
    spread = choose_formats(model, DATA, bits=4, spread="loss", activation_bits=4)
    counts = [x.kernel.bits for x in spread.values()]
    sizes = [12 * 32, 32 * 4]
    assert np.dot(counts, sizes) <= 4 * sum(sizes)
    assert error(model, kc.swap(model, spread)) < error(model, kc.swap(model, even))


def test_a_budget_in_bytes_is_kept():
    model = two_layers()
    formats = choose_formats(model, DATA, max_bytes=300)
    small = kc.swap(model, formats)
    assert sum(layer.kernel_bytes for layer in small.layers) <= 300
    with pytest.raises(ValueError, match="`max_bytes` must be at least 128"):
        choose_formats(model, DATA, max_bytes=100)


def test_nested_and_shared_layers():
    inner = keras.Sequential([keras.Input((12,)), kl.Dense(12, name="fc1")], name="in")
    inputs = keras.Input((12,))
    outputs = kl.Dense(3, name="fc1")(inner(inner(inputs)))
    model = keras.Model(inputs, outputs)
    formats = choose_formats(model, DATA)
    assert list(formats) == ["in/fc1", "fc1"]
    small = kc.swap(model, formats)
    assert small.get_layer("fc1").kernel_format == formats["fc1"].kernel
    assert error(model, small) < 0.05


def test_table_and_plot(tmp_path):
    formats = choose_formats(two_layers(), DATA)
    lines = formats.to_markdown().splitlines()
    assert len(lines) == 2 + len(formats.choices) == 2 + 7
    assert "UQ0.8" in lines[4]
    pytest.importorskip("matplotlib")
    assert formats.plot(tmp_path / "formats.png").stat().st_size > 5000


def test_nothing_is_changed():
    model = two_layers()
    before = [x.numpy() for x in model.variables]
    choose_formats(model, DATA, spread="loss")
    for old, new in zip(before, model.variables, strict=True):
        np.testing.assert_array_equal(old, new)
    assert "call" not in model.layers[0].__dict__
    assert model.layers[0].activation is keras.activations.relu


@pytest.mark.parametrize(
    ("data", "match"),
    [
        (np.zeros((0, 12), "float32"), "at least one example"),
        (np.full((3, 12), np.nan, "float32"), "finite"),
        (np.zeros((3, 5), "float32"), "shape"),
    ],
)
def test_bad_data_are_refused(data, match):
    with pytest.raises(ValueError, match=match):
        choose_formats(two_layers(), data)


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"bits": 1}, "`bits`"),
        ({"activation_bits": 40}, "`activation_bits`"),
        ({"method": "entropy"}, "`method`"),
        ({"spread": "all"}, "`spread`"),
        ({"kinds": ("inputs",)}, "`kinds`"),
        ({"max_bytes": 0}, "`max_bytes`"),
        ({"where": "conv*"}, "No layer"),
        ({"method": "percentile", "percentile": 101}, "`percentile`"),
    ],
)
def test_bad_arguments_are_refused(arguments, match):
    with pytest.raises(ValueError, match=match):
        choose_formats(two_layers(), DATA, **arguments)


def with_bias(value):
    model = two_layers()
    model.layers[0].bias.assign(np.full(32, value))
    return model


def dead_column(weight):
    model = with_bias(0.1)
    kernel = model.layers[0].kernel.numpy()
    kernel[:, 2] = weight
    model.layers[0].kernel.assign(kernel)
    return model


@pytest.mark.parametrize(
    ("model", "scale", "arguments"),
    [
        (two_layers, 1.0, {"bits": 16}),
        (two_layers, 1.0, {"bits": 4, "activation_bits": 16}),
        (lambda: with_bias(0.7), 1e5, {}),
        (lambda: with_bias(0.3), 1e-8, {}),
        (lambda: with_bias(0.3), 1e-6, {"per_channel": True}),
        (lambda: dead_column(1e-7), 1.0, {"per_channel": True}),
        (lambda: dead_column(1e-12), 1.0, {"per_channel": True}),
        (lambda: dead_column(0.0), 1.0, {"per_channel": True}),
    ],
)
def test_what_is_chosen_can_be_packed(model, scale, arguments):
    model, data = model(), (scale * DATA).astype("float32")
    small = kc.swap(model, choose_formats(model, data, **arguments))
    exact, expected = model(data).numpy(), small(data).numpy()
    # Sums of 16 bits are not exact in float32: steps of outputs may be others.
    np.testing.assert_allclose(kc.pack(small)(data), expected, rtol=1e-5, atol=2e-4)
    bits = arguments.get("bits", 8)
    assert np.abs(expected - exact).max() < 16 * 2.0**-bits * np.abs(exact).max()


@pytest.mark.parametrize("hidden", [50.0, np.nan])
@pytest.mark.parametrize("per_channel", [False, True])
def test_weights_behind_a_mask_do_not_count(hidden, per_channel):
    model = kc.swap(two_layers(), {"fc1": kc.Prune()})
    layer = model.layers[0]
    kernel, mask = layer.kernel.numpy(), np.ones((12, 32), bool)
    mask[:, :16] = mask[:6] = False
    layer.mask.assign(mask)
    settings = {"per_channel": per_channel, "method": "percentile", "percentile": 90}
    layer.kernel.assign(np.where(mask, kernel, hidden))
    formats = choose_formats(model, DATA, **settings)
    layer.kernel.assign(np.where(mask, kernel, 7.0))
    other = choose_formats(model, DATA, **settings)
    assert dict(formats) == dict(other)
    seen = formats["fc1"].kernel.channel(20)
    wide = fitting_format(kernel[mask], 8, method="percentile", percentile=90)
    assert per_channel or seen == wide
    choose_formats(model, DATA, spread="loss", bits=4)


def test_formats_that_a_model_has_do_not_hide_its_numbers():
    model = two_layers()
    narrow = kc.QFormat(-2, 4)
    config = kc.FixedPoint(narrow, narrow, narrow, narrow, narrow)
    small = kc.swap(model, config)
    for settings in ({}, {"spread": "loss", "bits": 4}):
        found = choose_formats(small, DATA, **settings)
        assert found == choose_formats(model, DATA, **settings)
    assert small.layers[0].noise_name == "rounding"
