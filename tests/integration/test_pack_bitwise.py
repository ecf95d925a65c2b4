"""`pack` of bitwise models: not one bit is another than in the trained model."""

import subprocess
import sys

import hypothesis
import keras
import numpy as np
import pytest
import tensorflow as tf
from bitwise_cases import (
    MODELS,
    assert_same_bits,
    binarized,
    convolutional,
    mlp,
    samples,
)
from hypothesis import strategies as st

import keras_compress as kc
from keras_compress._copies import all_layers
from keras_compress.functional.signs import unpack_bits
from keras_compress.layers import BitwiseActivation, BitwiseDense
from keras_compress.layers._bitwise_kernel import is_bitwise
from keras_compress.layers._stages import is_staged
from keras_compress.ops._library import native_op
from keras_compress.pack import TRAINING_ONLY

every_model = pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)


def kinds(model):
    return {layer.name: type(layer).__name__ for layer in model.layers}


@every_model
def test_the_outputs_are_those_of_the_trained_model(make):
    model = binarized(make(), sparsity=0.4)
    inputs = samples(model)
    before = [variable.numpy() for variable in model.variables]
    packed = kc.pack(model)
    assert_same_bits(packed(inputs), model(inputs))
    for old, variable in zip(before, model.variables, strict=True):
        np.testing.assert_array_equal(old, variable.numpy())
    for layer in all_layers(packed):
        assert not isinstance(layer, TRAINING_ONLY)
        assert not is_bitwise(layer)
        assert not is_staged(layer)
    assert not packed.trainable_variables
    if not isinstance(model, keras.Sequential):
        assert packed.output_names == model.output_names


@pytest.mark.parametrize("make", [mlp, convolutional])
def test_predictions_without_zeros_among_the_weights(make):
    model = binarized(make())
    inputs = samples(model, count=70)
    packed = kc.pack(model)
    found = packed.predict(inputs, verbose=0)
    np.testing.assert_array_equal(found, model.predict(inputs, verbose=0))
    assert not any("masks" in variable.name for variable in packed.variables)
    assert packed(inputs[:0]).shape == (0, 7)


def test_what_becomes_of_the_layers():
    """One op of all that hands on bits, convolutions and poolings included."""
    packed = kc.pack(binarized(mlp()))
    assert kinds(packed) == {"scores": "PackedBitwiseChain"}
    packed = kc.pack(binarized(convolutional()))
    assert kinds(packed) == {"fc2": "PackedBitwiseChain"}
    chain = packed.layers[-1]
    assert [member.name for member in chain.members] == [
        *("conv1", "pool1", "pad", "conv2", "pool2", "conv3", "pool3", "flat"),
        *("fc1", "fc2"),
    ]


@pytest.mark.parametrize("sparsity", [0.0, 0.3])
def test_hidden_bits_are_the_signs_of_the_trained_model(sparsity):
    model = binarized(mlp(), sparsity)
    inputs = samples(model, count=200)
    members = kc.pack(model).layers[-1].members
    words, hidden = inputs, inputs
    for layer, member in zip(model.layers, _taken_over(model, members), strict=True):
        hidden = layer(hidden)
        if member is None:
            continue
        words = member(words)
        if member.outputs == "bits":
            bits = unpack_bits(words.numpy(), member.units)
            np.testing.assert_array_equal(bits, hidden.numpy() < 0)
    np.testing.assert_array_equal(words, hidden)


def _taken_over(model, members):
    """For each layer, the member that gives what it gives; `None` inside of one."""
    starts = [i for i, layer in enumerate(model.layers) if is_bitwise(layer)]
    ends = [*(start - 1 for start in starts[1:]), len(model.layers) - 1]
    found = dict(zip(ends, members, strict=True))
    return [found.get(i) for i in range(len(model.layers))]


UNITS = st.integers(1, 40)


@hypothesis.given(
    widths=st.tuples(UNITS, UNITS, UNITS, st.integers(1, 20)),
    seed=st.integers(0, 2**20),
    sparsity=st.sampled_from([0.0, 0.0, 0.1, 0.5, 0.97, 1.0]),
    inputs=st.sampled_from(["sign", "bipolar", "zero_one", "bits"]),
    scale=st.booleans(),
    bitwise_bias=st.booleans(),
    use_bias=st.booleans(),
)
@hypothesis.settings(max_examples=10)
def test_any_dense_network(widths, seed, sparsity, **arguments):
    first, *hidden, last = widths
    inputs = arguments.pop("inputs")
    tensor = start = keras.Input((first,))
    for i, units in enumerate(hidden):
        coding = inputs if i == 0 else "sign"
        tensor = BitwiseDense(units, inputs=coding, **arguments)(tensor)
        tensor = keras.layers.BatchNormalization()(tensor)
        tensor = BitwiseActivation()(tensor)
    tensor = BitwiseDense(last, **arguments)(tensor)
    model = keras.Model(start, keras.layers.BatchNormalization()(tensor))
    model = binarized(model, sparsity, seed)
    given = samples(model, 16, seed)
    np.testing.assert_array_equal(kc.pack(model)(given), model(given))


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16", "float64"])
@pytest.mark.parametrize("scale", [False, True])
def test_other_precisions(policy, scale):
    arguments = {"dtype": policy, "scale": scale, "bitwise_bias": False}
    model = keras.Sequential(
        [
            keras.Input((50,), dtype="float64" if policy == "float64" else "float32"),
            BitwiseDense(40, inputs="zero_one", **arguments),
            keras.layers.BatchNormalization(dtype=policy),
            BitwiseActivation(dtype=policy),
            BitwiseDense(5, **arguments),
        ]
    )
    model = binarized(model, sparsity=0.2)
    given, packed = samples(model), kc.pack(model)
    assert packed(given).dtype == model(given).dtype
    np.testing.assert_array_equal(packed(given), model(given))


@pytest.mark.parametrize("name", ["bits", "convolutional", "forked", "in_time"])
def test_a_packed_model_saves_and_exports_to_the_same(name, tmp_path):
    model = binarized(MODELS[name](), sparsity=0.2)
    inputs = samples(model)
    packed = kc.pack(model)
    packed.save(tmp_path / "packed.keras")
    loaded = keras.models.load_model(tmp_path / "packed.keras")
    for old, new in zip(packed.weights, loaded.weights, strict=True):
        assert (old.name, old.dtype) == (new.name, new.dtype)
        np.testing.assert_array_equal(old.numpy(), new.numpy())
    expected = model(inputs)
    assert_same_bits(loaded(inputs), expected)
    for portable in (False, True):
        path = kc.export(packed, tmp_path / str(portable), portable=portable)
        loaded = tf.saved_model.load(path)
        assert_same_bits(loaded.serve(tf.constant(inputs)), expected)


def test_a_layer_in_time_and_at_once_is_packed_once():
    inner = BitwiseDense(7, name="fc1")
    steps, row = keras.Input((4, 30), name="steps"), keras.Input((30,), name="row")
    outputs = [keras.layers.TimeDistributed(inner)(steps), inner(row)]
    model = binarized(keras.Model([steps, row], outputs))
    packed = kc.pack(model)
    assert [x.name for x in packed.layers if x.weights] == ["fc1"]
    inputs = samples(model)
    assert_same_bits(packed(inputs), model(inputs))


@pytest.mark.parametrize("coding", [kc.layers.LloydMaxCoding, kc.layers.BitsCoding])
def test_nan_before_a_coding_is_an_error(coding):
    layers = [keras.Input((5,)), coding(2), BitwiseDense(3)]
    packed = kc.pack(binarized(keras.Sequential(layers)))
    with pytest.raises(tf.errors.InvalidArgumentError, match="NaN"):
        packed(np.array([[0.0, 0.5, np.nan, 1.0, 0.5]], "float32"))


CODE = """
import sys
import numpy as np, tensorflow as tf
folder = sys.argv[1]
inputs, expected = (np.load(f"{folder}/{name}.npy") for name in ("inputs", "outputs"))
for kind in ("portable", "native"):
    if kind == "native":
        import keras_compress
    served = tf.saved_model.load(f"{folder}/{kind}").signatures["serving_default"]
    outputs, = served(tf.constant(inputs)).values()
    np.testing.assert_array_equal(outputs, expected)
"""


def test_a_fresh_process_serves_the_same(tmp_path):
    model = binarized(convolutional(), sparsity=0.2)
    inputs, packed = samples(model), kc.pack(model)
    np.save(tmp_path / "inputs.npy", inputs)
    np.save(tmp_path / "outputs.npy", model(inputs))
    kc.export(packed, tmp_path / "portable", portable=True)
    kc.export(packed, tmp_path / "native")
    subprocess.run([sys.executable, "-c", CODE, tmp_path], check=True)


@pytest.mark.parametrize(("sparsity", "share"), [(0.0, 30), (0.5, 15)])
def test_the_files_are_smaller_by_as_much_as_the_weights(sparsity, share, tmp_path):
    """Of Dense(2048) on 2048 inputs, one bit a weight, and two where some are 0."""
    dense = keras.Sequential([keras.Input((2048,)), keras.layers.Dense(2048)])
    model = kc.swap(dense, kc.Bitwise())
    model.layers[0].binarize(sparsity=sparsity)
    packed = kc.pack(model)
    sizes = {}
    for name, one in {"dense": dense, "packed": packed}.items():
        one.save(tmp_path / f"{name}.keras")
        folder = kc.export(one, tmp_path / name)
        files = [file for file in folder.rglob("*") if file.is_file()]
        sizes[name] = (
            (tmp_path / f"{name}.keras").stat().st_size,
            sum(file.stat().st_size for file in files),
        )
    whole = list(zip(sizes["dense"], sizes["packed"], strict=True))
    # The graph of a twin is some 50 kB by itself.
    for before, after in whole if native_op("kc_xnor_matmul") else whole[:1]:
        assert after <= before / share, sizes


def test_layers_before_stage_2_are_refused():
    model = mlp()
    with pytest.raises(ValueError, match=r"in stage 0\. Fit the model with"):
        kc.pack(model)


def test_nan_in_what_was_learnt_is_an_error():
    model = binarized(mlp())
    model.layers[1].beta.assign(np.full(45, np.nan))
    with pytest.raises(ValueError, match="Layer 'fc1' cannot be packed"):
        kc.pack(model)


def test_inside_a_wrapper_that_wants_a_kernel():
    layer = keras.layers.SpectralNormalization(BitwiseDense(3, name="fc1"))
    model = binarized(keras.Sequential([keras.Input((5,)), layer]))
    with pytest.raises(ValueError, match=r"'fc1' .* cannot be packed inside"):
        kc.pack(model)


def test_evaluate_works_at_once():
    model = binarized(MODELS["forked"]())
    losses = {"left": "mse", "right": "mse", "taken": "mse"}
    model.compile("adam", losses, metrics={"right": ["mae"]}, jit_compile=False)
    inputs, packed = samples(model), kc.pack(model)
    sizes = {"left": 3, "right": 4, "taken": 35}
    targets = {name: np.zeros((9, size)) for name, size in sizes.items()}
    expected = model.evaluate(inputs, targets, verbose=0)
    np.testing.assert_allclose(packed.evaluate(inputs, targets, verbose=0), expected)


def test_weights_that_are_no_numbers_are_refused():
    model = binarized(mlp())
    layer = next(layer for layer in model.layers if is_bitwise(layer))
    kernel = layer.kernel.numpy()
    kernel[0, 0] = np.nan
    layer.kernel.assign(kernel)
    with pytest.raises(ValueError, match=f"`kernel` must be .*NaN in .*{layer.name}"):
        kc.pack(model)


def test_a_chain_can_be_made_from_its_config_again():
    packed = kc.pack(binarized(mlp()))
    config = keras.layers.serialize(packed.layers[-1])
    for _ in range(2):
        keras.layers.deserialize(config)


def test_signs_of_numbers_that_a_shorter_float_lacks():
    model = keras.Sequential(
        [
            keras.Input((6,)),
            BitwiseDense(8, bitwise_bias=False),
            BitwiseDense(3, dtype="mixed_float16"),
        ]
    )
    model.layers[0].bias.assign(np.full(8, -1e-9))
    model = binarized(model)
    inputs = np.random.default_rng(0).standard_normal((64, 6)).astype("float32")
    assert_same_bits(kc.pack(model)(inputs), model(inputs))
