"""Compressed students, distilled from their own float teacher; packed teachers."""

import keras
import numpy as np
import pytest
from distillation_cases import LOGITS, X, Y, assert_same_values, network, values_of

import keras_compress as kc
from keras_compress.recipes import distilled, lenet_300_100


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


FIXED = kc.FixedPoint(kernel=kc.QFormat(0, 5), outputs=kc.QFormat(3, 6))


@pytest.mark.parametrize(
    "config",
    [FIXED, kc.LowRank(rank=2, force=True), {"hidden": FIXED, "classes": kc.Prune()}],
    ids=["fixed point", "low rank", "fixed point and pruned"],
)
def test_other_students_of_their_own_teacher(config, tmp_path):
    teacher = network(16)
    teacher.compile("adam", LOGITS)
    teacher.fit(X, Y, epochs=2, verbose=0)
    before = values_of(teacher)
    distiller = kc.Distiller(kc.swap(teacher, config), teacher)
    distiller.compile(keras.optimizers.Adam(0.01), LOGITS)
    history = distiller.fit(X, Y, epochs=6, verbose=0).history
    assert history["soft_loss"][-1] < history["soft_loss"][0]
    assert_same_values(before, values_of(teacher))
    student, expected = distiller.student, distiller.predict(X, verbose=0)
    assert type(student.get_layer("hidden")) in (
        kc.layers.FixedPointDense,
        kc.layers.LowRankDense,
    )
    distiller.save(tmp_path / "distiller.keras")
    loaded = keras.models.load_model(tmp_path / "distiller.keras")
    np.testing.assert_allclose(loaded.predict(X, verbose=0), expected, atol=1e-6)


def test_a_bitwise_student_of_its_own_teacher(tmp_path):
    teacher = network(16)
    before = values_of(teacher)
    distiller = kc.Distiller(kc.swap(teacher, kc.Bitwise(scale=True)), teacher)
    distiller.compile("adam", LOGITS)
    history = distiller.fit(
        X, Y, epochs=4, verbose=0, callbacks=[kc.callbacks.Binarization()]
    ).history
    assert history["stage"] == [1, 2, 2, 2]
    assert np.isfinite(history["loss"]).all()
    assert_same_values(before, values_of(teacher))
    bits = distiller.student.get_layer("hidden").ternary_kernel
    assert set(np.unique(bits)) <= {-1, 1}
    distiller.save(tmp_path / "distiller.keras")
    loaded = keras.models.load_model(tmp_path / "distiller.keras")
    np.testing.assert_allclose(
        loaded.predict(X, verbose=0), distiller.predict(X, verbose=0), atol=1e-5
    )


def test_pruned_then_bitwise_step_by_step(small_digits):
    inputs = keras.Input((64,))
    hidden = keras.layers.Dense(24, "relu", name="hidden")(inputs)
    outputs = keras.layers.Dense(10, "softmax", name="classes")(hidden)
    teacher = keras.Model(inputs, outputs)
    lenet_300_100.train(teacher, small_digits, epochs=8, rate=1e-2, verbose=0)
    before = values_of(teacher)
    pruning = kc.callbacks.IterativePruning(kc.schedules.Cubic(0.5))
    binarization = kc.callbacks.Binarization()
    bits = kc.Bitwise(inputs="bipolar", scale=True)
    small = distilled.compress(
        teacher,
        small_digits,
        [
            distilled.Step(kc.Prune(), 3, (pruning,)),
            distilled.Step(bits, 8, (binarization,), rate=1e-2),
        ],
        verbose=0,
    )
    assert_same_values(before, values_of(teacher))
    layer = small.get_layer("hidden")
    assert layer.sparsity == 0.5
    assert set(np.unique(layer.ternary_kernel)) == {-1, 0, 1}
    assert lenet_300_100.test_error(small, small_digits) < 50.0


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
