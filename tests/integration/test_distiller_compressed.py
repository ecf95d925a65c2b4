"""Compressed students, distilled from their own float teacher; packed teachers."""

import keras
import numpy as np
import pytest
from distillation_cases import LOGITS, X, Y, network

import keras_compress as kc


@pytest.mark.parametrize("jit_compile", [False, True])
def test_a_pruned_student_of_its_own_teacher(jit_compile, tmp_path):
    teacher = network(16)
    teacher.compile("adam", LOGITS)
    teacher.fit(X, Y, epochs=2, verbose=0)
    distiller = kc.Distiller(kc.swap(teacher, kc.Prune()), teacher)
    distiller.compile("adam", LOGITS, jit_compile=jit_compile)
    assert distiller.evaluate(X, verbose=0) is not None
    pruning = kc.callbacks.IterativePruning(kc.schedules.Cubic(0.75))
    logger = kc.callbacks.CompressionLogger()
    history = distiller.fit(X, Y, epochs=4, verbose=0, callbacks=[pruning, logger])
    assert history.history["sparsity"][-1] == 0.75
    path = f"{distiller.student.name}/hidden/sparsity"
    assert history.history[path][-1] == 0.75
    packed = kc.pack(distiller.student)
    expected = distiller.student.predict(X, verbose=0)
    np.testing.assert_allclose(packed.predict(X, verbose=0), expected, atol=1e-5)
    distiller.save(tmp_path / "distiller.keras")
    loaded = keras.models.load_model(tmp_path / "distiller.keras")
    np.testing.assert_allclose(loaded.predict(X, verbose=0), expected, atol=1e-6)
    assert loaded.student.layers[0].sparsity == 0.75


def test_a_student_that_is_its_teacher_already_has_nothing_to_learn():
    teacher = network(16)
    distiller = kc.Distiller(kc.swap(teacher, kc.Prune()), teacher, mode="logits")
    distiller.compile("sgd", LOGITS)
    assert distiller.evaluate(X, verbose=0, return_dict=True)["soft_loss"] == 0.0


@pytest.mark.parametrize("jit_compile", ["auto", True])
def test_a_packed_teacher(jit_compile):
    teacher = kc.swap(network(64), kc.Prune())
    for layer in teacher.layers[::2]:
        layer.prune(sparsity=0.9)
    packed = kc.pack(teacher)
    distiller = kc.Distiller(network(), packed)
    if jit_compile is True and any(not one.supports_jit for one in packed.layers):
        with pytest.warns(UserWarning, match="doesn't support `jit_compile=True`"):
            distiller.compile("sgd", LOGITS, jit_compile=jit_compile)
    else:
        distiller.compile("sgd", LOGITS, jit_compile=jit_compile)
    history = distiller.fit(X, Y, epochs=2, verbose=0).history
    assert np.isfinite(history["loss"]).all()
