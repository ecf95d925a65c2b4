"""What a distiller saves, and that it goes on after loading."""

import json
import zipfile

import keras
import numpy as np
import pytest
from distillation_cases import (
    LOGITS,
    X,
    Y,
    assert_same_values,
    network,
    values_of,
)

import keras_compress as kc
from keras_compress.distillation import AttentionTransfer, Hint


def trained(features=None, **arguments):
    teacher = network(12)
    distiller = kc.Distiller(
        network(), teacher, temperature=2.5, alpha=0.6, features=features, **arguments
    )
    distiller.compile(keras.optimizers.Adam(0.01), LOGITS, metrics=["accuracy"])
    distiller.fit(X, Y, shuffle=False, verbose=0)
    return distiller, teacher


@pytest.mark.parametrize("features", [None, [Hint("hidden", "hidden", weight=0.1)]])
@pytest.mark.parametrize("mode", ["two_objectives", "mixed_target", "logits"])
def test_a_loaded_distiller_goes_on_where_it_stopped(features, mode, tmp_path):
    distiller, teacher = trained(features, mode=mode)
    distiller.temperature = 3.5
    distiller.save(tmp_path / "distiller.keras")
    loaded = keras.models.load_model(tmp_path / "distiller.keras")
    assert loaded.mode == mode
    assert float(loaded.temperature) == 3.5
    assert loaded.features == distiller.features
    assert_same_values(values_of(distiller), values_of(loaded))
    assert_same_values(
        [one.numpy() for one in distiller.optimizer.variables],
        [one.numpy() for one in loaded.optimizer.variables],
    )
    loaded.teachers = teacher
    for one in (distiller, loaded):
        one.fit(X, Y, shuffle=False, epochs=2, verbose=0)
    # Two runs of the same graph may add gradients in another order.
    for one, other in zip(values_of(distiller), values_of(loaded), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)


def test_without_teachers_fit_says_what_is_missing(tmp_path):
    distiller, teacher = trained()
    distiller.save(tmp_path / "distiller.keras")
    loaded = keras.models.load_model(tmp_path / "distiller.keras")
    assert loaded.teachers is None
    with pytest.raises(
        ValueError, match=r"`distiller\.teachers` must be a model.*None"
    ):
        loaded.fit(X, Y, verbose=0)
    loaded.student.compile(loss=LOGITS)
    alone = loaded.student.evaluate(X, Y, verbose=0)
    found = loaded.evaluate(X, Y, verbose=0, return_dict=True)
    assert found["loss"] == pytest.approx(alone, rel=1e-5)
    loaded.teachers = teacher
    loaded.fit(X, Y, verbose=0)
    loaded.teachers = None
    with pytest.raises(ValueError, match=r"`distiller\.teachers` must be a model"):
        loaded.fit(X, Y, verbose=0)


def test_teachers_are_not_in_the_file(tmp_path):
    teacher = network(4096)  # 160 kB
    distiller = kc.Distiller(
        network(),
        [teacher, network(4096)],
        features=[Hint("hidden", "hidden"), Hint("hidden", "classes", member=1)],
    )
    distiller.compile("sgd", LOGITS)
    distiller.fit(X, Y, verbose=0)
    assert len(distiller.student.variables) < len(distiller.variables)
    assert not {id(v) for v in teacher.variables} & {id(v) for v in distiller.variables}
    distiller.save(tmp_path / "distiller.keras")
    with zipfile.ZipFile(tmp_path / "distiller.keras") as file:
        config = json.loads(file.read("config.json"))
    assert teacher.name not in json.dumps(config)
    # One projection, of 8 x 4096 and 4096 numbers, is the most of it.
    assert (tmp_path / "distiller.keras").stat().st_size < 4 * 9 * 4096 + 120_000


def test_projections_must_fit_the_teachers_set_later(tmp_path):
    distiller, _ = trained([Hint("hidden", "hidden")])
    distiller.save(tmp_path / "distiller.keras")
    loaded = keras.models.load_model(tmp_path / "distiller.keras")
    with pytest.raises(ValueError, match=r"that fit projections .*\(8, 12\)"):
        loaded.teachers = network(20)
    loaded.teachers = network(12)
    loaded.fit(X, Y, verbose=0)


def test_weights_files_and_backups(tmp_path):
    distiller, teacher = trained()
    distiller.save_weights(tmp_path / "distiller.weights.h5")
    other = kc.Distiller(network(), teacher)
    other.load_weights(tmp_path / "distiller.weights.h5")
    np.testing.assert_array_equal(other.predict(X), distiller.predict(X))
    assert float(other.temperature) == 2.5
    checkpoint = keras.callbacks.ModelCheckpoint(
        tmp_path / "best.keras", monitor="loss"
    )
    distiller.fit(X, Y, verbose=0, callbacks=[checkpoint])
    loaded = keras.models.load_model(tmp_path / "best.keras")
    np.testing.assert_array_equal(loaded.predict(X), distiller.predict(X))


def test_a_mixed_precision_distiller_round_trip(tmp_path):
    distiller = kc.Distiller(network(dtype="mixed_float16"), network(12))
    distiller.compile("adam", LOGITS)
    distiller.fit(X, Y, verbose=0)
    distiller.save(tmp_path / "distiller.keras")
    loaded = keras.models.load_model(tmp_path / "distiller.keras")
    np.testing.assert_array_equal(loaded.predict(X), distiller.predict(X))
    assert loaded.student.layers[0].compute_dtype == "float16"


def test_the_student_is_a_model_of_its_own(tmp_path):
    distiller, _ = trained()
    distiller.student.save(tmp_path / "student.keras")
    loaded = keras.models.load_model(tmp_path / "student.keras")
    np.testing.assert_array_equal(loaded.predict(X), distiller.predict(X))


@pytest.mark.parametrize(
    "feature", [Hint("a", "b", 0.5, 1), AttentionTransfer("a", "b")]
)
def test_features_round_trip(feature):
    config = keras.saving.serialize_keras_object(feature)
    assert keras.saving.deserialize_keras_object(config) == feature
