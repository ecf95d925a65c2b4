"""`export`: what is written, what serves it, and what is left when it fails."""

import os
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from model_cases import MODELS, assert_close, pruned, samples, scramble

import keras_compress as kc


def size(path):
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())


def weight_bytes(model):
    return sum(np.asarray(weight).nbytes for weight in model.weights)


def serve(path, inputs):
    """Calls the signature, whose arguments have the names of the inputs."""
    loaded = tf.saved_model.load(path)
    function = loaded.signatures["serving_default"]
    if not isinstance(inputs, dict):
        (name,) = function.structured_input_signature[1]
        inputs = {name: inputs}
    return function(**{name: tf.constant(value) for name, value in inputs.items()})


@pytest.mark.parametrize("portable", [False, True])
@pytest.mark.parametrize("make", MODELS)
def test_the_signature_gives_the_models_outputs(make, portable, tmp_path):
    packed = kc.pack(pruned(make, 0.9))
    inputs = samples(packed)
    path = kc.export(packed, tmp_path / "served", portable=portable)
    outputs = keras.tree.flatten(serve(path, inputs))
    expected = keras.tree.flatten(packed.predict(inputs, verbose=0))
    assert_close(outputs, expected)


def test_the_batch_is_free(tmp_path):
    packed = kc.pack(pruned(MODELS[0], 0.9))
    path = kc.export(packed, tmp_path / "served")
    loaded = tf.saved_model.load(path)
    for count in (1, 7):
        inputs = samples(packed, count)
        np.testing.assert_array_equal(loaded.serve(inputs), packed(inputs))


def test_no_larger_than_the_weights_and_a_little(tmp_path):
    model = keras.Sequential(
        [keras.Input((784,)), keras.layers.Dense(1000), keras.layers.Dense(300)]
    )
    model.compile("adam", "mse")
    model.fit(np.zeros((8, 784)), np.zeros((8, 300)), verbose=0)
    model = kc.swap(model, kc.Prune())
    for layer in model.layers:
        layer.prune(sparsity=0.9)
    packed = kc.pack(model)
    for portable in (False, True):
        path = kc.export(packed, tmp_path / str(portable), portable=portable)
        assert size(path) <= 1.15 * weight_bytes(packed) + 60_000
    packed.save(tmp_path / "packed.keras")
    assert (tmp_path / "packed.keras").stat().st_size <= (
        1.15 * weight_bytes(packed) + 60_000
    )


def run(code, *arguments):
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        capture_output=True,
        text=True,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
    )


LOAD = """
import sys
import numpy as np, tensorflow as tf
serve = tf.saved_model.load(sys.argv[1]).signatures["serving_default"]
(outputs,) = serve(tf.constant(np.load(sys.argv[2]))).values()
np.save(sys.argv[3], outputs)
print("keras_compress" in sys.modules)
"""


def test_a_fresh_process_serves_the_same(tmp_path):
    packed = kc.pack(pruned(MODELS[0], 0.99))
    inputs = samples(packed)
    np.save(tmp_path / "inputs.npy", inputs)
    kc.export(packed, tmp_path / "native")
    kc.export(packed, tmp_path / "portable", portable=True)
    files = tmp_path / "inputs.npy", tmp_path / "outputs.npy"

    result = run("import keras_compress" + LOAD, tmp_path / "native", *files)
    assert result.returncode == 0, result.stderr
    np.testing.assert_array_equal(np.load(files[1]), packed(inputs))

    result = run(LOAD, tmp_path / "portable", *files)
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == "False"
    np.testing.assert_allclose(np.load(files[1]), packed(inputs), rtol=1e-5, atol=1e-5)


def test_portable_means_standard_operations_only(tmp_path):
    packed = kc.pack(pruned(MODELS[0], 0.99))
    loaded = tf.saved_model.load(kc.export(packed, tmp_path / "p", portable=True))
    graph = loaded.signatures["serving_default"].graph.as_graph_def()
    nodes = [*graph.node, *(n for f in graph.library.function for n in f.node_def)]
    assert nodes
    assert not [node.op for node in nodes if node.op.startswith("Kc")]


def test_the_model_still_uses_the_native_op_after_a_portable_export(tmp_path):
    if "available" not in kc.native_status():
        pytest.skip("needs the native ops")
    packed = kc.pack(pruned(MODELS[0], 0.99))
    kc.export(packed, tmp_path / "portable", portable=True)
    loaded = tf.saved_model.load(kc.export(packed, tmp_path / "native"))
    graph = loaded.signatures["serving_default"].graph.as_graph_def()
    nodes = [*graph.node, *(n for f in graph.library.function for n in f.node_def)]
    assert "KcSparseMatmul" in {node.op for node in nodes}


def test_a_plain_keras_model_exports_too(tmp_path):
    model = MODELS[0]()
    scramble(model)
    inputs = samples(model)
    path = kc.export(model, tmp_path / "plain")
    loaded = tf.saved_model.load(path)
    assert_close(loaded.serve(inputs), model(inputs))


def words():
    """A model of strings, with each layer that holds a table."""
    first, second = (keras.Input((1,), dtype="string", name=x) for x in ("a", "b"))
    ids = keras.layers.StringLookup(vocabulary=["x", "y"], name="ids")
    text = keras.layers.TextVectorization(output_mode="tf_idf", name="text")
    text.adapt(["x y z", "y z", "z"])
    known = keras.layers.Embedding(4, 3)(ids(first))
    told = keras.layers.Dense(3, name="fc")(text(second))
    outputs = keras.layers.Add()([keras.layers.Flatten()(known), told])
    model = keras.Model({"a": first, "b": second}, outputs, name="words")
    inputs = {"a": [["x"], ["nobody"]], "b": [["x y"], ["z z"]]}
    return model, {name: tf.constant(value) for name, value in inputs.items()}


@pytest.mark.parametrize("portable", [False, True])
def test_lookup_tables_are_served(portable, tmp_path):
    model, inputs = words()
    path = kc.export(model, tmp_path / "served", portable=portable)
    (outputs,) = serve(path, inputs).values()
    np.testing.assert_allclose(outputs, model(inputs), rtol=1e-6)


def test_tables_do_not_store_variables_twice(tmp_path):
    layers = [
        keras.Input((1,), dtype="string"),
        keras.layers.StringLookup(vocabulary=["x", "y"]),
        keras.layers.Embedding(1000, 300),
    ]
    model = keras.Sequential(layers)
    path = kc.export(model, tmp_path / "served")
    assert size(path) <= 1.15 * weight_bytes(model) + 60_000


def stateful(batch, functional):
    inputs = keras.Input(batch_shape=(batch, 3, 2), name="steps")
    recurrent = keras.layers.LSTM(4, stateful=True)
    if functional:
        return keras.Model(inputs, recurrent(inputs))
    return keras.Sequential([inputs, recurrent])


@pytest.mark.parametrize("functional", [False, True])
def test_a_batch_that_a_state_fixes_stays_fixed(functional, tmp_path):
    path = kc.export(stateful(4, functional), tmp_path / "served")
    served = tf.saved_model.load(path).signatures["serving_default"]
    (spec,) = served.structured_input_signature[1].values()
    assert spec.shape == (4, 3, 2)
    inputs = np.ones((4, 3, 2), "float32")
    first, second = (next(iter(served(tf.constant(inputs)).values())) for _ in "12")
    model = stateful(4, functional)
    assert first.shape == model(inputs).shape
    assert np.abs(first - second).max() > 0, "the state is kept"


def in_time(steps, batch=None):
    inputs = keras.Input(batch_shape=(batch, steps, 6, 6, 2))
    convolved = keras.layers.TimeDistributed(keras.layers.Conv2D(4, 3), name="t1")
    flat = keras.layers.TimeDistributed(keras.layers.Flatten(), name="t2")
    return keras.Model(inputs, keras.layers.Dense(3)(flat(convolved(inputs))))


def keras_loses_steps():
    """Keras 3.15 takes the batch for the steps, where these are not known."""
    spec = tf.TensorSpec((None, None, 6, 6, 2))
    served = tf.function(in_time(None), input_signature=[spec])
    return served(tf.ones((2, 3, 6, 6, 2))).shape[1] != 3


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("batch", [None, 2])
def test_no_step_in_time_is_lost(batch, nested, tmp_path):
    model = in_time(None, batch)
    if nested:
        model = keras.Sequential([keras.Input(batch_shape=model.input_shape), model])
    packed = kc.pack(kc.swap(model, kc.Prune()))
    if keras_loses_steps():
        with pytest.raises(ValueError, match=r"'t\d', a TimeDistr.*fixed number"):
            kc.export(packed, tmp_path / "served")
        assert not list(tmp_path.iterdir())
        return
    inputs = np.ones((2, 3, 6, 6, 2), "float32")
    (outputs,) = serve(kc.export(packed, tmp_path / "served"), inputs).values()
    np.testing.assert_allclose(outputs, packed(inputs), rtol=1e-4, atol=1e-5)


def test_a_known_number_of_steps_is_served(tmp_path):
    inputs = np.ones((2, 3, 6, 6, 2), "float32")
    model = in_time(3)
    in_time(None)(model.input)
    (outputs,) = serve(kc.export(model, tmp_path / "served"), inputs).values()
    np.testing.assert_allclose(outputs, model(inputs), rtol=1e-4, atol=1e-5)


class Inside(keras.layers.Layer):
    """Calls a `TimeDistributed` that is in no graph."""

    def __init__(self):
        super().__init__()
        self.each = keras.layers.TimeDistributed(keras.layers.Dense(3), name="each")

    def call(self, inputs):
        return self.each(inputs)


def test_the_steps_that_count_are_those_of_the_call(tmp_path):
    inner = keras.Sequential([keras.Input((None, 8)), Inside().each])
    outer = keras.Input((10, 8))
    model = keras.Model(outer, inner(outer))
    inputs = np.ones((2, 10, 8), "float32")
    (outputs,) = serve(kc.export(model, tmp_path / "served"), inputs).values()
    np.testing.assert_allclose(outputs, model(inputs), rtol=1e-5)


@pytest.mark.parametrize("behind", [[], [keras.layers.Reshape((3, 10))]])
def test_steps_that_a_layer_hides_are_not_lost(behind, tmp_path):
    model = keras.Sequential([keras.Input((None, 8)), Inside(), *behind])
    inputs = np.ones((2, 10, 8), "float32")
    if keras_loses_steps():
        with pytest.raises(ValueError, match=r"'each'.*takes the batch for the steps"):
            kc.export(model, tmp_path / "served")
        assert not list(tmp_path.iterdir())
        return
    (outputs,) = serve(kc.export(model, tmp_path / "served"), inputs).values()
    np.testing.assert_allclose(outputs, model(inputs), rtol=1e-5)


def test_what_exists_is_not_overwritten(tmp_path):
    packed = kc.pack(pruned(MODELS[0], 0.9))
    (tmp_path / "here").write_text("precious")
    with pytest.raises(ValueError, match="`path` must be a path where nothing is yet"):
        kc.export(packed, tmp_path / "here")
    assert (tmp_path / "here").read_text() == "precious"
    with pytest.raises(ValueError, match="`path` must be in a directory that exists"):
        kc.export(packed, tmp_path / "no" / "where")
    with pytest.raises(ValueError, match="`path` must be in a directory that exists"):
        kc.export(packed, tmp_path / "here" / "below")


def test_a_place_that_cannot_be_written(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    packed = kc.pack(pruned(MODELS[0], 0.9))
    monkeypatch.setattr("pathlib.Path.mkdir", refuse)
    with pytest.raises(ValueError, match=r"`path` must be writable \(Permission den"):
        kc.export(packed, tmp_path / "served")


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_an_interrupted_export_leaves_nothing(tmp_path, monkeypatch, error):
    def interrupt(module, path, **_):
        (tmp_path / path / "half").write_text("x")
        raise error

    packed = kc.pack(pruned(MODELS[0], 0.9))
    # The first export of a process makes Keras import `tf.saved_model` anew.
    whole = kc.export(packed, tmp_path / "whole")
    monkeypatch.setattr(tf.saved_model, "save", interrupt)
    with pytest.raises(error):
        kc.export(packed, tmp_path / "served")
    assert list(tmp_path.iterdir()) == [whole]


@pytest.mark.parametrize("model", ["model.keras", keras.layers.Dense(2), None])
def test_what_is_no_model(model, tmp_path):
    with pytest.raises(ValueError, match=r"`model` must be a keras\.Model"):
        kc.export(model, tmp_path / "served")
    with pytest.raises(ValueError, match="`model` must be built, with known inputs"):
        kc.export(keras.Sequential([keras.layers.Dense(2)]), tmp_path / "served")


def test_a_model_without_known_inputs(tmp_path):
    class Subclassed(keras.Model):
        def call(self, inputs):
            return inputs

    model = Subclassed(name="mine")
    model(np.zeros((2, 3)))
    with pytest.raises(ValueError, match=r"known inputs\. Received: model='mine'"):
        kc.export(model, tmp_path / "served")


@pytest.mark.parametrize("path", [None, 3, b"served"])
def test_what_is_no_path(path):
    with pytest.raises(ValueError, match=r"`path` must be a path\. Received: path="):
        kc.export(MODELS[0](), path)


@pytest.mark.parametrize("portable", ["no", 0, None])
def test_portable_is_a_bool(portable, tmp_path):
    with pytest.raises(ValueError, match="`portable` must be True or False"):
        kc.export(MODELS[0](), tmp_path / "served", portable=portable)
    assert not list(tmp_path.iterdir())
