"""What `report` measures, and what it refuses."""

import json

import keras
import numpy as np
import pytest
from keras import layers

from keras_compress.report import measurement, report


def small(name="small", **kwargs):
    return keras.Sequential(
        [keras.Input((4,)), layers.Dense(3, **kwargs), layers.Dense(2)], name=name
    )


def test_measures_disk_and_latency():
    result = report(small("a"), small("b"), measure=True, batches=(1, 3))
    assert result.batches == (1, 3)
    assert result.threads >= 1
    for model in result.models:
        assert model.keras_bytes > 4 * model.parameters
        assert 0 < model.deflated_bytes < model.keras_bytes
        assert model.saved_model_bytes > 4 * model.parameters, result.notes
        assert set(model.latency) == {1, 3}
        assert min(model.latency.values()) > 0
    assert json.loads(result.to_json()) == result.to_dict()


def test_an_optimizer_does_not_count_as_size():
    model = keras.Sequential([keras.Input((400,)), layers.Dense(300)])
    fresh = measurement.keras_bytes(model)
    deflated = measurement.deflated_bytes(model)
    model.compile(optimizer="adam", loss="mse")
    model.fit(np.ones((2, 400)), np.ones((2, 300)), verbose=0)
    assert measurement.keras_bytes(model) == pytest.approx(fresh, rel=0.02)
    assert measurement.deflated_bytes(model) == pytest.approx(deflated, rel=0.02)


def test_a_model_that_cannot_be_saved_has_a_dash(monkeypatch):
    def refuse(model):
        raise RuntimeError("no disk today")

    monkeypatch.setattr(measurement, "saved_model_bytes", refuse)
    result = report(small(), measure=True, batches=(1,))
    assert result.models[0].saved_model_bytes is None
    assert any("no disk today" in note for note in result.notes)
    line = next(x for x in str(result).splitlines() if x.startswith("SavedModel"))
    assert line.split()[1:] == ["-"]


def test_a_trace_is_not_left_behind_on_the_model():
    model = small()
    report(model, measure=True, batches=(1,))
    assert model.predict_function is None


def test_titles():
    model = small()
    titles = report(model, small(), small("other")).models
    assert [m.name for m in titles] == [
        "small (original)",
        "small (original) 2",
        "other",
    ]
    assert report(model, names=["mine"]).models[0].name == "mine"


def test_extra_rows_stand_on_top():
    result = report(
        small(), small("b"), extra={"test error": [0.0181, np.float32(0.5)]}
    )
    first = str(result).splitlines()[2]
    assert first.split() == ["test", "error", "0.0181", "0.5"]
    assert json.loads(result.to_json())["extra"] == {"test error": [0.0181, 0.5]}


def test_unknown_shapes_need_inputs():
    model = keras.Sequential([keras.Input((None, 4)), layers.Dense(3)])
    with pytest.raises(ValueError, match="`inputs` must be given"):
        report(model)
    assert report(model, inputs=np.ones((2, 5, 4))).models[0].multiply_adds == 60


def unbuilt():
    return keras.Sequential([layers.Dense(3)])


@pytest.mark.parametrize(
    ("models", "kwargs", "message"),
    [
        ([], {}, "`models` must be one Keras model or more"),
        ([3], {}, "`models` must be Keras models. Received: models=3"),
        (["unbuilt"], {}, "`models` must be built"),
        (["small"], {"batches": (1, 0)}, "`batches` must be an integer >= 1"),
        (["small"], {"batches": ()}, "`batches` must be"),
        (["small"], {"batches": 8}, "`batches` must be"),
        (["small"], {"activations": np.ones((2, 5))}, "`activations` must be what"),
        (["small"], {"activations": np.ones((0, 4))}, "`activations` must be arrays"),
        (["small"], {"activations": [np.ones((2, 4))] * 2}, "`activations` must be"),
        (["small"], {"inputs": np.ones((1, 2, 4))}, "`inputs` must be what"),
        (["small"], {"names": ["a", "b"]}, "`names` must be 1 different strings"),
        (["small"], {"names": "a"}, "`names` must be"),
        (["small"], {"extra": {"error": [1, 2]}}, "`extra` must be 1 values"),
        (["small"], {"extra": [1]}, "`extra` must be a dict"),
    ],
)
def test_bad_arguments_are_named(models, kwargs, message):
    made = {"small": small, "unbuilt": unbuilt}
    models = [made[m]() if m in made else m for m in models]
    with pytest.raises(ValueError, match=message) as error:
        report(*models, **kwargs)
    assert "Received" in str(error.value)
