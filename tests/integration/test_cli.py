"""The command line: what it prints where, its exit codes, and what it leaves behind."""

import json
import subprocess
import sys
import zipfile

import click.testing
import keras
import numpy as np
import pytest

import keras_compress as kc
from keras_compress.cli import main


def run(*words):
    """Runs a command; its `.stdout`, `.stderr` and `.exit_code`."""
    return click.testing.CliRunner().invoke(main, [str(word) for word in words])


def one_line(result, code):
    assert result.exit_code == code, result.output
    assert result.stdout == ""
    (line,) = [x for x in result.stderr.splitlines() if x.startswith("Error: ")]
    assert result.stderr.strip().endswith(line)
    return line


@pytest.fixture
def model():
    layers = [
        keras.Input((64,)),
        keras.layers.Dense(32, activation="relu", name="fc1"),
        keras.layers.Dropout(0.5),
        keras.layers.Dense(8, name="head"),
    ]
    model = keras.Sequential(layers, name="net")
    model.compile("adam", "mse")
    return model


@pytest.fixture
def file(model, tmp_path):
    model.save(tmp_path / "model.keras")
    return tmp_path / "model.keras"


@pytest.fixture
def small(file, tmp_path):
    path = tmp_path / "small.keras"
    assert run("swap", file, path, "--sparsity", 0.9).exit_code == 0
    return path


@pytest.mark.parametrize(
    "command", ["demo", "report", "swap", "pack", "export", "analyze"]
)
def test_help_shows_examples(command):
    result = run(command, "--help")
    assert result.exit_code == 0
    assert f"\nExamples:\n  keras-compress {command}" in result.stdout


def test_help_lists_the_commands():
    result = run("--help")
    for command in main.commands:
        assert f"\n  {command} " in result.stdout


def test_swap_keeps_the_outputs(model, file, tmp_path):
    result = run("swap", file, tmp_path / "small.keras")
    assert result.exit_code == 0, result.stderr
    small = keras.models.load_model(tmp_path / "small.keras")
    x = np.random.default_rng(0).normal(size=(4, 64)).astype("float32")
    np.testing.assert_array_equal(small(x), model(x))
    assert small.compiled
    assert result.stdout.endswith("2 layers swapped, 0.0% pruned\n")


@pytest.mark.parametrize(
    ("option", "value"), [("--sparsity", 0.75), ("--threshold", 0.1), ("--quality", 1)]
)
def test_swap_prunes_where_told(file, tmp_path, option, value):
    path = tmp_path / "small.keras"
    result = run("swap", file, path, "--where", "fc*", option, value, "--json")
    assert result.exit_code == 0, result.stderr
    told = json.loads(result.stdout)
    small = keras.models.load_model(path)
    assert type(small.get_layer("head")) is keras.layers.Dense
    fc1 = small.get_layer("fc1")
    expected = kc.layers.PrunedDense.from_config(fc1.get_config())
    expected.build((None, 64))
    source = keras.models.load_model(file).get_layer("fc1")
    expected.kernel.assign(source.kernel)
    expected.prune(**{option[2:]: value})
    np.testing.assert_array_equal(fc1.mask, expected.mask)
    assert told["layers"] == {"fc1": fc1.sparsity}
    assert 0.1 < fc1.sparsity < 1.0


def test_swap_again_prunes_further_and_only_there(small, tmp_path):
    path = tmp_path / "further.keras"
    result = run("swap", small, path, "--where", "head", "--sparsity", 0.95)
    assert result.exit_code == 0, result.stderr
    further = keras.models.load_model(path)
    assert further.get_layer("fc1").sparsity == pytest.approx(0.9, abs=1e-3)
    assert further.get_layer("head").sparsity == pytest.approx(0.95, abs=1e-2)


@pytest.mark.parametrize("where", ["*", "fc1"])
def test_swap_prunes_the_factors_of_low_rank_layers(model, tmp_path, where):
    kc.swap(model, kc.LowRank(rank=4), where="fc1").save(tmp_path / "low.keras")
    path = tmp_path / "both.keras"
    result = run(
        *("swap", tmp_path / "low.keras", path, "--where", where, "--sparsity", 0.5),
        "--json",
    )
    assert result.exit_code == 0, result.stderr
    told = json.loads(result.stdout)
    factors = {"fc1/fc1_left", "fc1/fc1_right"}
    assert set(told["layers"]) == factors | ({"head"} if where == "*" else set())
    assert set(told["layers"].values()) == {0.5}


@pytest.mark.parametrize(
    ("word", "pattern"), [("2:4", "2:4"), ("1x8", (1, 8)), ("neuron", "neuron")]
)
def test_swap_takes_patterns(file, tmp_path, word, pattern):
    path = tmp_path / "small.keras"
    result = run("swap", file, path, "--pattern", word, "--sparsity", 0.5)
    assert result.exit_code == 0, result.stderr
    layer = keras.models.load_model(path).get_layer("fc1")
    assert layer.pattern == pattern
    assert layer.sparsity == pytest.approx(0.5)


def test_pack_export_and_serve(small, tmp_path):
    packed_path, served = tmp_path / "packed.keras", tmp_path / "served"
    result = run("pack", small, packed_path, "--batch", 1, "--json")
    assert result.exit_code == 0, result.stderr
    told = json.loads(result.stdout)
    assert told["bytes"] == packed_path.stat().st_size
    assert "dropout" not in told["layers"]
    x = np.random.default_rng(0).normal(size=(4, 64)).astype("float32")
    expected = keras.models.load_model(small).predict(x, verbose=0)
    packed = keras.models.load_model(packed_path)
    np.testing.assert_allclose(packed(x), expected, rtol=1e-5, atol=1e-6)

    result = run("export", packed_path, served, "--portable")
    assert result.exit_code == 0, result.stderr
    from keras_compress.recipes import serving

    np.testing.assert_allclose(
        serving.predict(served, x), expected, rtol=1e-5, atol=1e-6
    )

    result = run("export", packed_path, tmp_path / "model.tflite", "--json")
    assert result.exit_code == 0, result.stderr
    told = json.loads(result.stdout)
    assert told["bytes"] == (tmp_path / "model.tflite").stat().st_size
    assert told["layers"]["fc1"] == "float32"


def test_pack_compact(small, tmp_path):
    fast, compact = tmp_path / "fast.keras", tmp_path / "compact.keras"
    run("pack", small, fast)
    result = run("pack", small, compact, "--storage", "compact", "--json")
    assert json.loads(result.stdout)["bytes"] == compact.stat().st_size
    assert compact.stat().st_size < fast.stat().st_size
    one, other = (keras.models.load_model(path) for path in (fast, compact))
    for a, b in zip(one.weights, other.weights, strict=True):
        np.testing.assert_array_equal(a, b)


def test_report_compares_files(file, small):
    result = run("report", file, small, "--json")
    assert result.exit_code == 0, result.stderr
    dense, pruned = json.loads(result.stdout)["models"]
    assert (dense["name"], pruned["name"]) == ("model", "small")
    assert dense["weights"] == pruned["weights"] == 64 * 32 + 32 * 8
    assert pruned["weights_kept"] == dense["weights"] - round(0.9 * 64 * 32) - round(
        0.9 * 32 * 8
    )


def test_report_in_markdown_with_a_picture(file, small, tmp_path):
    pytest.importorskip("matplotlib")
    picture = tmp_path / "report.png"
    result = run("report", file, small, "--markdown", "--plot", picture)
    assert result.exit_code == 0, result.stderr
    assert result.stdout.startswith("|")
    assert picture.read_bytes().startswith(b"\x89PNG")


@pytest.fixture
def open_file(tmp_path):
    """A model that takes sequences of any length, and a number beside them."""
    steps, number = keras.Input((None, 8), name="steps"), keras.Input((1,), name="n")
    hidden = keras.layers.Dense(4, name="fc")(steps)
    pooled = keras.layers.GlobalAveragePooling1D()(hidden)
    outputs = keras.layers.Concatenate()([pooled, number])
    path = tmp_path / "open.keras"
    keras.Model({"steps": steps, "n": number}, outputs).save(path)
    return path


@pytest.mark.parametrize("measure", [[], ["--measure"]])
def test_report_takes_the_shapes_that_a_model_leaves_open(open_file, measure):
    # A dict of inputs is in the order of its keys.
    words = ("--shape", 1, "--shape", "5x8", "--json", *measure)
    result = run("report", open_file, *words)
    assert result.exit_code == 0, result.stderr
    (found,) = json.loads(result.stdout)["models"]
    assert found["multiply_adds"] == 5 * 8 * 4


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ([], "open.keras takes 1 and ?x8. For example: --shape 1 --shape 32x8"),
        (["5x8"], "open.keras takes 1 and ?x8. Received: 5x8"),
        (["1", "5x9"], "open.keras takes 1 and ?x8. Received: 1 and 5x9"),
        (["1", "8"], "open.keras takes 1 and ?x8. Received: 1 and 8"),
        (["1", "5,8"], "'5,8' is no shape such as 28x28x1"),
        (["1", "0x8"], "'0x8' is no shape such as 28x28x1"),
    ],
)
def test_report_says_which_shapes_it_needs(open_file, shapes, message):
    words = [word for shape in shapes for word in ("--shape", shape)]
    assert message in one_line(run("report", open_file, *words), 2)


def test_report_of_a_known_shape_checks_the_one_given(file):
    assert run("report", file, "--shape", 64).exit_code == 0
    message = "model.keras takes 64. Received: 65"
    assert message in one_line(run("report", file, "--shape", 65), 2)


def test_report_tells_files_of_one_name_apart(file, tmp_path):
    (tmp_path / "other").mkdir()
    other = tmp_path / "other" / "model.keras"
    other.write_bytes(file.read_bytes())
    names = json.loads(run("report", file, other, "--json").stdout)["models"]
    assert [model["name"] for model in names] == [str(file), str(other)]


def test_a_file_that_is_no_model_is_a_failure(tmp_path):
    path = tmp_path / "broken.keras"
    path.write_bytes(b"not a zip file")
    for command in (["report", path], ["pack", path, tmp_path / "x.keras"]):
        line = one_line(run(*command), 1)
        assert line.startswith(f"Error: {path} is not a readable .keras file: ")


CUSTOM = """
import keras

print("imported")

@keras.saving.register_keras_serializable("mine")
class Doubling(keras.layers.Layer):
    def call(self, x):
        return x + x

@keras.saving.register_keras_serializable("mine")
def bent(y_true, y_pred):
    return keras.ops.mean((y_true - y_pred) ** 4, axis=-1)
"""


@pytest.fixture
def custom_file(tmp_path):
    """A file with a layer and a loss that only `custom_module.py` beside it knows."""
    (tmp_path / "custom_module.py").write_text(CUSTOM)
    code = """
import custom_module, keras
model = keras.Sequential([keras.Input((4,)), custom_module.Doubling(),
                          keras.layers.Dense(3, name="fc")])
model.compile("sgd", custom_module.bent)
model.save("custom.keras")
"""
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)
    return tmp_path / "custom.keras"


def test_a_file_of_unknown_layers_says_how_they_become_known(custom_file, tmp_path):
    line = one_line(run("swap", custom_file, tmp_path / "small.keras"), 1)
    assert "are not registered here: mine>Doubling, mine>bent. " in line
    assert "--import MODULE" in line


def test_an_unknown_loss_is_named_only_where_it_matters(model, tmp_path):
    def lost(y_true, y_pred):
        return keras.ops.mean(y_true - y_pred)

    model.compile("sgd", lost)
    path, cut = tmp_path / "lost.keras", tmp_path / "cut.keras"
    model.save(path)
    assert "not registered here: lost. " in one_line(run("swap", path, cut), 1)
    assert run("report", path).exit_code == 0
    with zipfile.ZipFile(path) as whole, zipfile.ZipFile(cut, "w") as part:
        part.writestr("config.json", whole.read("config.json"))
    assert "not a readable .keras file" in one_line(run("report", cut), 1)


def test_layers_and_losses_of_an_imported_module_are_known(custom_file):
    # As of an installed script, whose working directory is not on Python's path.
    script = "import sys; sys.path.remove(''); from keras_compress.cli import main; "
    words = ["--import", "custom_module", "swap", "custom.keras", "small.keras"]
    done = subprocess.run(
        [sys.executable, "-c", script + "main(sys.argv[1:])", *words, "--json"],
        cwd=custom_file.parent,
        capture_output=True,
        text=True,
        check=True,
    )
    assert list(json.loads(done.stdout)["layers"]) == ["fc"]


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (None, "No module named 'broken_module'"),
        ("raise TypeError('of mine')", "of mine"),
        ("import sys; sys.exit(0)", "broken_module cannot be imported"),
    ],
)
def test_modules_that_cannot_be_imported(file, tmp_path, monkeypatch, code, message):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    if code:
        (tmp_path / "broken_module.py").write_text(code)
    line = one_line(run("--import", "broken_module", "report", file), 2)
    assert "'--import'" in line
    assert message in line


def test_a_truncated_file_is_a_failure(file, tmp_path):
    path = tmp_path / "cut.keras"
    path.write_bytes(file.read_bytes()[:-100])
    assert "not a readable .keras file" in one_line(run("report", path), 1)


def test_a_file_without_weights_is_a_failure(file, tmp_path):
    path = tmp_path / "hollow.keras"
    with zipfile.ZipFile(file) as source, zipfile.ZipFile(path, "w") as target:
        target.writestr("config.json", source.read("config.json"))
    assert "not a readable .keras file" in one_line(run("report", path), 1)


def test_pack_of_a_model_without_compressed_layers_is_a_failure(file, tmp_path):
    line = one_line(run("pack", file, tmp_path / "packed.keras"), 1)
    assert "compressed layers" in line
    assert sorted(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nothing"], "No such command 'nothing'"),
        (["report"], "FILES"),
        (["report", "{tmp}/missing.keras"], "does not exist"),
        (["report", "{file}", "--markdown", "--json"], "exclude each other"),
        (["report", "{file}", "{file}"], "must differ"),
        (["report", "{file}", "--plot", "{tmp}/no/x.png"], "directory that exists"),
        (["swap", "{file}", "{tmp}/x.h5"], "must end in .keras"),
        (["swap", "{file}", "{tmp}/no/x.keras"], "directory that exists"),
        (["swap", "{file}", "{file}"], "--force"),
        (["swap", "{file}", "{tmp}/x.keras", "--sparsity", "1.5"], "1.5"),
        (["swap", "{file}", "{tmp}/x.keras", "--threshold", "-1"], "-1"),
        (["swap", "{file}", "{tmp}/x.keras", "--sparsity", "nan"], "nan"),
        (["swap", "{file}", "{tmp}/x.keras", "--quality", "inf"], "inf"),
        (["swap", "{file}", "{tmp}/x.keras", "--threshold", "inf"], "inf"),
        (
            ["swap", "{file}", "{tmp}/x.keras", "--pattern", "2:4", "--sparsity", 0.9],
            "sparsity",
        ),
        (["swap", "{file}", "{tmp}/x.keras", "--pattern", "five"], "five"),
        (["swap", "{file}", "{tmp}/x.keras", "--pattern", "0x4"], "pattern"),
        (["swap", "{file}", "{tmp}/x.keras", "--where", "cat*"], "fc1 (Dense)"),
        (
            ["swap", "{file}", "{tmp}/x.keras", "--sparsity", 1, "--quality", 1],
            "Give one of",
        ),
        (["pack", "{file}", "{tmp}/x.keras", "--batch", "0"], "0"),
        (["export", "{file}", "{tmp}"], "exists already"),
        (["export", "{file}", "{tmp}/no/served"], "directory that exists"),
        (["export", "{file}", "{tmp}/x.tflite", "--portable"], "--portable is for"),
    ],
)
def test_bad_arguments_are_one_line_and_code_2(file, tmp_path, words, message):
    words = [str(word).format(tmp=tmp_path, file=file) for word in words]
    assert message in one_line(run(*words), 2)
    assert sorted(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize("name", ["x.foo", "x"])
def test_a_picture_of_no_kind_is_refused_before_the_work(
    file, tmp_path, name, monkeypatch
):
    pytest.importorskip("matplotlib")
    monkeypatch.setattr(kc, "report", None)
    line = one_line(run("report", file, "--plot", tmp_path / name), 2)
    assert "`--plot` must be a path that ends in one of" in line
    assert sorted(tmp_path.iterdir()) == [file]


def test_force_replaces_the_file(file, small, tmp_path):
    assert run("swap", file, small, "--force").exit_code == 0
    assert keras.models.load_model(small).get_layer("fc1").sparsity == 0.0
    assert sorted(tmp_path.iterdir()) == [file, small]


def test_a_save_that_fails_leaves_the_old_file(file, small, tmp_path, monkeypatch):
    before = small.read_bytes()

    def fail(self, path, **kwargs):
        path.write_bytes(b"half")
        raise OSError("No space left on device")

    monkeypatch.setattr(keras.Model, "save", fail)
    line = one_line(run("swap", file, small, "--force"), 1)
    assert "No space left on device" in line
    assert small.read_bytes() == before
    assert sorted(tmp_path.iterdir()) == [file, small]


def test_a_real_process_prints_nothing_but_json(tmp_path):
    command = [sys.executable, "-m", "keras_compress", "demo", "--smoke", "--json"]
    done = subprocess.run(
        [*command, "--output", tmp_path], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["different_labels"] == 0
    assert len(told["report"]["models"]) == 2
    assert "Epoch 1/" in done.stderr
    assert "Data: scikit-learn's digits" in done.stderr


def test_a_real_process_ends_with_code_1(tmp_path):
    path = tmp_path / "broken.keras"
    path.write_bytes(b"")
    command = [sys.executable, "-m", "keras_compress", "report", path]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert f"Error: {path} is not a readable .keras file" in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
