"""The tables of a report, from numbers given by hand."""

import builtins
import json

import pytest

from keras_compress.report import LayerCost, ModelCost, Report


def han_layer(name, weights, flop, kept, activations, inputs, elements, first=False):
    return LayerCost(
        name=name,
        kind="Dense",
        weights=weights,
        weights_kept=round(weights * kept / 100),
        multiply_adds=flop // 2,
        effective_multiply_adds=round(flop / 2 * kept / 100),
        executed_multiply_adds=flop // 2,
        first=first,
        input_elements=elements,
        input_sparsity=1 - inputs / 100,
        activation_sparsity=1 - activations / 100,
    )


# Han's first layers read the image, of which the share of zeros does not count.
LENET_300_100 = ModelCost(
    name="LeNet-300-100",
    layers=(
        han_layer("fc1", 235_200, 470_400, 8, 38, 19, 784, first=True),
        han_layer("fc2", 30_000, 60_000, 9, 65, 38, 300),
        han_layer("fc3", 1_000, 2_000, 26, 100, 65, 100),
    ),
    parameters=266_610,
    memory_bytes=1_066_440,
    output_elements=10,
    output_sparsity=0.0,
)
LENET_5 = ModelCost(
    name="LeNet-5",
    layers=(
        han_layer("conv1", 500, 576_000, 66, 82, 19, 784, first=True),
        han_layer("conv2", 25_000, 3_200_000, 12, 72, 82, 20 * 12 * 12),
        han_layer("fc1", 400_000, 800_000, 8, 55, 72, 50 * 4 * 4),
        han_layer("fc2", 5_000, 10_000, 19, 100, 55, 500),
    ),
    output_elements=10,
    output_sparsity=0.0,
)


@pytest.mark.parametrize(
    ("model", "layers", "weights", "flop", "activations"),
    [
        (LENET_300_100, [8, 4, 17], 8, 8, 46),
        (LENET_5, [66, 10, 6, 10], 8, 16, 77),
    ],
)
def test_hans_tables_come_out(model, layers, weights, flop, activations):
    shares = [100 * layer.remaining_work for layer in model.layers]
    assert shares == pytest.approx(layers, abs=0.6)
    assert 100 * (1 - model.sparsity) == pytest.approx(weights, abs=0.6)
    assert 100 * model.remaining_work == pytest.approx(flop, abs=0.5)
    assert 100 * (1 - model.activation_sparsity) == pytest.approx(activations, abs=0.5)


def small_report():
    measured = ModelCost(
        "packed",
        (LayerCost("fc1", "SparseDense", weights=100, weights_kept=25),),
        memory_bytes=53_322,
        keras_bytes=1234,
        saved_model_bytes=2345,
        latency={1: 0.5e-3, 64: 2.0},
    )
    return Report(
        (LENET_300_100, measured),
        extra={"test error": [0.0164, "?"]},
        batches=(1, 64),
        threads=2,
        notes=("a note",),
    )


def test_json_has_every_number_exactly():
    result = small_report()
    read = json.loads(result.to_json())
    assert read == result.to_dict()
    assert read["models"][0]["parameters"] == 266_610
    assert read["models"][1]["latency_seconds"] == {"1": 0.5e-3, "64": 2.0}
    assert read["models"][0]["layers"][0]["flop"] == 470_400
    assert read["models"][0]["keras_bytes"] is None


def test_text_speaks_units_and_dashes():
    lines = {line.split("  ")[0]: line for line in str(small_report()).splitlines()}
    assert lines["test error"].split()[2:] == ["0.0164", "?"]
    assert lines["memory"].split()[1:] == [
        "1.07",
        "MB",
        "53.32",
        "kB",
        "(20.0x",
        "less)",
    ]
    assert lines["latency, batch 1"].split()[3:] == ["-", "500.0", "us"]
    assert lines[".keras file"].split()[2:] == ["-", "1.23", "kB"]
    assert lines["fc2"].split() == "fc2 Dense 30.00 k 60.00 k 65.0 9.0 3.4".split()
    assert "- a note" in lines


def test_markdown_is_a_table():
    text = small_report().to_markdown()
    assert text == small_report()._repr_markdown_()
    header = text.splitlines()[0]
    assert header.startswith("|")
    assert "LeNet-300-100" in header


def test_unknown_work_is_a_question_mark_and_never_zero():
    layer = LayerCost("mixer", "Mixer", weights=9, weights_kept=9, multiply_adds=None)
    text = str(Report((ModelCost("m", (layer,)),)))
    row = next(line for line in text.splitlines() if line.startswith("mixer"))
    assert "?" in row.split()


@pytest.mark.parametrize("layers", [3, 40])
def test_plot_writes_a_picture(tmp_path, layers):
    pytest.importorskip("matplotlib")
    many = ModelCost(
        "many",
        tuple(
            LayerCost(f"fc{i}", "Dense", weights=10, weights_kept=i % 10)
            for i in range(layers)
        ),
        memory_bytes=10,
    )
    path = Report((many, LENET_5)).plot(tmp_path / "report.png")
    assert path.read_bytes().startswith(b"\x89PNG")
    assert path.stat().st_size > 10_000


def test_plot_without_matplotlib_says_what_to_install(monkeypatch, tmp_path):
    real = builtins.__import__

    def without_matplotlib(name, *args, **kwargs):
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without_matplotlib)
    with pytest.raises(ImportError, match=r'pip install "keras-compress\[plots\]"'):
        small_report().plot(tmp_path / "report.png")
    assert not list(tmp_path.iterdir())
