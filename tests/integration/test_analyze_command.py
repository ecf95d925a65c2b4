"""`keras-compress analyze`: the numbers of `kc.analysis`, from files."""

import json

import click.testing
import keras
import numpy as np
import pytest

import keras_compress as kc
from keras_compress.cli import main

RANDOM = np.random.default_rng(0)
X = RANDOM.standard_normal((64, 12)).astype("float32")
Y = RANDOM.integers(0, 3, 64)


def run(*words):
    """Runs `analyze`; its `.stdout`, `.stderr` and `.exit_code`."""
    words = ["analyze", *map(str, words)]
    return click.testing.CliRunner().invoke(main, words)


def told(*words):
    """What `analyze --json` says."""
    result = run(*words, "--json")
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


@pytest.fixture
def model():
    keras.utils.set_random_seed(0)
    layers = [
        keras.Input((12,)),
        keras.layers.Dense(24, activation="relu", name="fc1"),
        keras.layers.Dense(3, activation="softmax", name="fc2"),
    ]
    model = keras.Sequential(layers)
    loss = "sparse_categorical_crossentropy"
    model.compile("sgd", loss, metrics=["accuracy"])
    return model


@pytest.fixture
def files(model, tmp_path):
    model.save(tmp_path / "model.keras")
    np.savez(tmp_path / "data.npz", x=X, y=Y)
    return tmp_path / "model.keras", tmp_path / "data.npz"


@pytest.mark.parametrize("command", ["sensitivity", "formats", "ranks"])
def test_help_shows_examples(command):
    result = run(command, "--help")
    assert result.exit_code == 0
    assert f"\nExamples:\n  keras-compress analyze {command}" in result.stdout
    assert f"\n  {command} " in run("--help").stdout


def test_sensitivity(model, files):
    words = ("--level", 0.5, "--level", 0.75, "--where", "fc*")
    expected = kc.analysis.sensitivity(model, (X, Y), levels=[0.5, 0.75])
    found = told("sensitivity", *files, *words)
    assert found == json.loads(json.dumps(expected.to_dict()))
    result = run("sensitivity", *files, *words)
    assert result.stdout == f"{expected}\n"
    result = run("sensitivity", *files, *words, "--markdown", "--batch-size", 16)
    assert result.stdout == expected.to_markdown() + "\n"


@pytest.mark.parametrize(
    ("word", "technique", "level"),
    [
        ("low-rank", kc.LowRank(rank=1), 0.5),
        ("fixed-point", kc.FixedPoint(kernel=kc.QFormat(None, 0)), 2),
    ],
)
def test_sensitivity_to_other_techniques(model, files, word, technique, level):
    words = ("--technique", word, "--level", level, "--where", "fc1")
    found = told("sensitivity", *files, *words)
    expected = kc.analysis.sensitivity(
        model, (X, Y), technique, levels=[level], where="fc1"
    )
    assert found == json.loads(json.dumps(expected.to_dict()))


def test_formats_need_no_targets(model, files):
    np.savez(files[1], x=X)
    expected = kc.analysis.choose_formats(model, X, bits=5, where="fc2")
    words = ("formats", *files, "--bits", 5, "--where", "fc2")
    assert run(*words).stdout == f"{expected}\n"
    assert run(*words, "--markdown").stdout == expected.to_markdown() + "\n"
    found = told(*words)
    assert [(x["kind"], x["bits"]) for x in found["choices"]] == [
        (x.kind, x.format.bits) for x in expected.choices
    ]
    config = keras.saving.deserialize_keras_object(found["configs"]["fc2"])
    assert config == expected["fc2"]


@pytest.mark.parametrize("budget", [["--per-channel"], ["--max-bytes", 200]])
def test_formats_as_json_take_every_option(files, budget):
    found = told("formats", *files, *budget, "--spread", "loss")
    assert set(found["configs"]) == {"fc1", "fc2"}


@pytest.mark.parametrize("with_data", [False, True])
def test_ranks(model, files, with_data):
    given = files if with_data else files[:1]
    expected = kc.analysis.choose_ranks(
        model, params=0.8, data=X if with_data else None
    )
    words = ("ranks", *given, "--params", 0.8)
    assert run(*words).stdout == f"{expected}\n"
    found = told(*words)
    configs = {
        path: keras.saving.deserialize_keras_object(config)
        for path, config in found["configs"].items()
    }
    assert configs == dict(expected)
    assert found["error"] == pytest.approx(expected.error)
    assert [x["rank"] for x in found["layers"]] == [x.rank for x in expected.layers]


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--energy", 0.5),
        ("--rule", "evbmf"),
        ("--params", 300),
        ("--multiply-adds", 0.9),
        ("--max-error", 0.9),
    ],
)
def test_ranks_are_chosen_in_every_way(model, files, option, value):
    name = option[2:].replace("-", "_")
    expected = kc.analysis.choose_ranks(model, **{name: value}, data=X)
    assert run("ranks", *files, option, value).stdout == f"{expected}\n"


@pytest.mark.parametrize(
    "words",
    [
        ["sensitivity", "--level", 0.5],
        ["formats"],
        ["ranks", "--energy", 0.5],
    ],
)
def test_pictures(files, tmp_path, words):
    pytest.importorskip("matplotlib")
    command, *options = words
    result = run(command, *files, *options, "--plot", tmp_path / "picture.png")
    assert result.exit_code == 0, result.stderr
    assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")


def test_several_inputs_and_outputs_go_by_their_names(tmp_path):
    inputs = {name: keras.Input((None, 4), name=name) for name in ("right", "left")}
    both = keras.layers.Concatenate(axis=1)(list(inputs.values()))
    both = keras.layers.GlobalAveragePooling1D()(both)
    outputs = [keras.layers.Dense(2, name=name)(both) for name in ("up", "down")]
    model = keras.Model(inputs, outputs)
    model.compile("sgd", "mse")
    model.save(tmp_path / "model.keras")
    x = {"left": np.ones((8, 5, 4)), "right": np.ones((8, 3, 4))}
    y = {"up": np.zeros((8, 2)), "down": np.ones((8, 2))}
    np.savez(tmp_path / "data.npz", **x, **y)
    files = tmp_path / "model.keras", tmp_path / "data.npz"
    found = told("sensitivity", *files, "--level", 0.5)
    loss = model.evaluate(x, [y["up"], y["down"]], verbose=0)[0]
    assert found["baseline"] == pytest.approx(loss)
    assert set(told("formats", *files)["configs"]) == {"up", "down"}
    told("ranks", *files, "--energy", 0.5)
    np.savez(files[1], **x)
    result = run("sensitivity", *files)
    assert "must have the arrays up, down. Received: left, right" in result.stderr


def test_outputs_in_a_dict_go_by_their_keys(tmp_path):
    inputs = keras.Input((4,))
    layers = {"z": keras.layers.Dense(2, name="o1"), "y": keras.layers.Dense(3)}
    model = keras.Model(inputs, {key: layer(inputs) for key, layer in layers.items()})
    model.compile("sgd", {"z": "mse", "y": "mae"})
    model.save(tmp_path / "model.keras")
    x, y = np.ones((8, 4)), {"z": np.zeros((8, 2)), "y": np.ones((8, 3))}
    files = tmp_path / "model.keras", tmp_path / "data.npz"
    np.savez(files[1], x=x, **y)
    found = told("sensitivity", *files, "--level", 0.5)
    loss = model.evaluate(x, y, verbose=0, return_dict=True)["loss"]
    assert found["baseline"] == pytest.approx(loss)
    np.savez(files[1], x=x)
    result = run("sensitivity", *files)
    assert "must have the arrays y, z. Received: x" in result.stderr


@pytest.mark.parametrize(
    ("words", "message", "code"),
    [
        ([], "Missing command", 2),
        (["weights"], "No such command 'weights'", 2),
        (["sensitivity", "{model}"], "DATA.npz", 2),
        (["sensitivity", "{model}", "{data}", "--level", 1.5], "`levels`", 2),
        (["sensitivity", "{model}", "{data}", "--where", "cat*"], "fc1 (Dense)", 2),
        (
            [
                *("sensitivity", "{model}", "{data}"),
                *("--level", 0.5, "--technique", "fixed-point"),
            ],
            "`levels` must be an integer",
            2,
        ),
        (["sensitivity", "{model}", "{empty}"], "must have the arrays y", 2),
        (["formats", "{model}", "{model}"], "must have the arrays x", 2),
        (["formats", "{model}", "{text}"], "is not an .npz file", 1),
        (["formats", "{model}", "{objects}"], "is not a readable .npz file", 1),
        (["formats", "{text}", "{data}"], "is not a readable .keras file", 1),
        (["formats", "{model}", "{data}", "--bits", 1], "1", 2),
        (["formats", "{model}", "{data}", "--max-bytes", 1], "`max_bytes`", 2),
        (["ranks", "{model}"], "Give one of --energy", 2),
        (["ranks", "{model}", "--energy", 0.5, "--params", 9], "Give one of", 2),
        (["ranks", "{model}", "--params", "half"], "no share or integer", 2),
        (["ranks", "{model}", "--params", "2.0"], "`params` must be", 2),
        (["ranks", "{model}", "--max-error", 0.5], "`data` must be given", 2),
        (["ranks", "{model}", "--energy", 1, "--markdown", "--json"], "exclude", 2),
        (["ranks", "{model}", "--energy", 1, "--plot", "no/x.png"], "directory", 2),
    ],
)
def test_what_cannot_be_is_one_line(files, tmp_path, words, message, code):
    places = {"model": files[0], "data": files[1]}
    for name in ("empty", "objects", "text"):
        places[name] = tmp_path / f"{name}.npz"
    np.savez(places["empty"], x=X)
    np.savez(places["objects"], x=np.array([None, "a"], dtype=object))
    places["text"].write_text("x y")
    result = run(*(str(word).format(**places) for word in words))
    assert result.exit_code == code, result.output
    assert result.stdout == ""
    (line,) = [x for x in result.stderr.splitlines() if x.startswith("Error: ")]
    assert message in line
