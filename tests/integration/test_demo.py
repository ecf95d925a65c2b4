"""The demo from end to end: its promises, its files, and serving in a fresh process."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

import keras_compress as kc
from keras_compress import ops
from keras_compress.recipes import demo, digits, lenet_300_100, serving


@pytest.fixture(scope="module")
def smoke(tmp_path_factory):
    """A small run, as a user's process runs it."""
    folder = tmp_path_factory.mktemp("demo") / "out"
    command = [sys.executable, "-m", "keras_compress", "demo", "--smoke"]
    return folder, run(*command, "--output", folder)


def test_first_line_says_which_data(smoke):
    _, done = smoke
    first = done.stdout.splitlines()[0]
    assert first.startswith("Data: scikit-learn's digits, 64 pixels, 1,437")


def test_progress_is_not_on_stdout(smoke):
    _, done = smoke
    assert "Epoch 1/" in done.stderr
    assert "Epoch 1/" not in done.stdout


def test_report_has_every_row(smoke):
    folder, done = smoke
    text = (folder / "report.md").read_text()
    rows = (
        *("test error", "weights kept", "memory", ".keras file", "SavedModel"),
        *("multiply-adds", "energy", "latency, batch 1", "latency, batch 64"),
    )
    for row in rows:
        assert row in done.stdout
        assert row in text
    assert (folder / "report.png").read_bytes().startswith(b"\x89PNG")


def test_serves_the_same_in_a_fresh_process(smoke):
    folder, done = smoke
    assert "the same label for every test image" in done.stdout
    data = digits.scikit_learn_digits()
    packed = keras.models.load_model(folder / "packed.keras")
    here = packed.predict(data.x_test, verbose=0)
    there = serving.predict_in_fresh_process(folder / "served", data.x_test)
    np.testing.assert_allclose(here, there, atol=1e-6)
    assert lenet_300_100.test_error(packed, data) < 20.0


def test_files_are_those_of_the_report(smoke):
    folder, _ = smoke
    names = {path.name for path in folder.iterdir()}
    expected = {"report.md", "report.png", "served", "dense.keras", "packed.keras"}
    assert names == expected
    dense = keras.models.load_model(folder / "dense.keras")
    packed = keras.models.load_model(folder / "packed.keras")
    report = kc.report(dense, packed, names=["dense", "packed"])
    kept = report.models[1].weights_kept / report.models[0].weights
    # Of the weights that are left, some go with the units that nothing reads.
    assert 0.0 <= 1.0 - demo.SPARSITY - kept + 1e-3 < 0.01


@pytest.mark.skipif(shutil.which("gcc") is None, reason="no gcc")
@pytest.mark.parametrize("portable", [False, True])
def test_serves_the_same_without_python(smoke, tmp_path, portable):
    source = Path(__file__).parents[2] / "examples" / "serve.c"
    if not source.exists():
        pytest.skip("examples/serve.c is not beside the tests")
    if not portable and ops._library.native_op("kc_sparse_matmul") is None:
        pytest.skip(kc.native_status())
    folder, _ = smoke
    packed = keras.models.load_model(folder / "packed.keras")
    served = kc.export(packed, tmp_path / "served", portable=portable)

    home = Path(tf.__file__).parent
    libraries = ("cc", "framework")
    command = ["gcc", source, f"-I{home / 'include'}", f"-L{home}", "-o", "serve"]
    command += [f"-l:libtensorflow_{name}.so.2" for name in libraries]
    run(*command, f"-Wl,-rpath,{home}", cwd=tmp_path)
    graph = saved_model_pb2.SavedModel()
    graph.ParseFromString((served / "saved_model.pb").read_bytes())
    signature = graph.meta_graphs[0].signature_def["serving_default"]
    (source,) = signature.inputs.values()
    (target,) = signature.outputs.values()
    library = "-" if portable else ops._library.FILE
    names = [tensor.name.split(":")[0] for tensor in (source, target)]
    printed = run(tmp_path / "serve", library, served, *names, 64).stdout

    there = np.array([float(line) for line in printed.split()], "float32")
    inputs = np.arange(64, dtype="float32")[None] / np.float32(64)
    np.testing.assert_allclose(there, packed(inputs)[0], rtol=1e-5, atol=1e-7)


def run(*command, **kwargs):
    done = subprocess.run(
        [str(word) for word in command],
        capture_output=True,
        text=True,
        check=False,
        **kwargs,
    )
    assert done.returncode == 0, done.stderr
    return done


def test_runs_again_over_its_own_files(smoke, tmp_path):
    folder = shutil.copytree(smoke[0], tmp_path / "demo")
    before = (folder / "served" / "saved_model.pb").stat().st_mtime_ns
    done = demo.run(folder, smoke=True, say=lambda line: None, verbose=0)
    assert done.different_labels == 0
    assert (folder / "served" / "saved_model.pb").stat().st_mtime_ns > before
    json.dumps(done.to_dict())


def test_a_save_that_fails_leaves_nothing_of_its_own(tmp_path, monkeypatch):
    def fail(self, path, **kwargs):
        path.write_bytes(b"half")
        raise OSError("No space left on device")

    monkeypatch.setattr(keras.Model, "save", fail)
    with pytest.raises(OSError, match="No space left"):
        demo.run(tmp_path, smoke=True, say=lambda line: None, verbose=0)
    assert [path.name for path in tmp_path.iterdir()] == ["served"]


def test_says_why_it_is_not_mnist(monkeypatch):
    def fail():
        raise OSError("no network\nmore about it")

    monkeypatch.setattr(digits, "mnist", fail)
    data, line = digits.load_digits()
    assert data.name == "scikit-learn's digits"
    assert line.endswith("because MNIST cannot be had: no network")
    with pytest.raises(OSError, match="no network"):
        digits.load_digits("mnist")
    with pytest.raises(ValueError, match="source='svhn'"):
        digits.load_digits("svhn")


def test_a_saved_model_that_cannot_be_served_says_why(tmp_path):
    with pytest.raises(RuntimeError, match="could not be served"):
        serving.predict_in_fresh_process(tmp_path / "none", np.zeros((1, 4), "float32"))


def test_mnist_is_whole(mnist):
    assert mnist.x_train.shape == (60_000, 784)
    assert mnist.x_test.shape == (10_000, 784)
    assert mnist.x_train.min() == 0.0
    assert mnist.x_train.max() == 1.0
    assert np.bincount(mnist.y_test).tolist()[:3] == [980, 1135, 1032]


@pytest.mark.slow
def test_mnist_error_stays_within_015_points(mnist, tmp_path):
    done = demo.run(tmp_path, source="mnist", say=lambda line: None, verbose=0)
    assert done.dense_error < 1.8
    assert done.packed_error <= done.dense_error + 0.15
    assert done.different_labels == 0
