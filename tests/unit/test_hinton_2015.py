"""The recipe's jitter moves images by whole pixels, in both directions."""

import keras
import numpy as np
import pytest

from keras_compress.recipes import hinton_2015


def offsets(jitter, count=200):
    image = np.zeros((9, 9), "float32")
    image[3, 5], image[4, 5] = 1.0, 0.5
    x = np.tile(image.reshape(1, -1), (count, 1))
    data = hinton_2015.batches(x, np.arange(count), batch=32, jitter=jitter, seed=1)
    moved = np.concatenate([images for images, _ in data]).reshape(-1, 9, 9)
    places = [np.argwhere(one == 1.0)[0] for one in moved]
    for one, (row, column) in zip(moved, places, strict=True):
        assert one[row + 1, column] == 0.5
        assert one.sum() == 1.5
    labels = np.concatenate([y for _, y in data])
    assert sorted(labels) == list(range(count))
    return {(int(row) - 3, int(column) - 5) for row, column in places}


@pytest.mark.parametrize("jitter", [0, 1, 2])
def test_jitter(jitter):
    side = range(-jitter, jitter + 1)
    assert offsets(jitter) == {(row, column) for row in side for column in side}


def test_the_teacher_keeps_its_norm():
    teacher = hinton_2015.network(16, 9, dropout=True)
    kinds = [type(layer).__name__ for layer in teacher.layers]
    assert kinds == ["Dropout", "Dense"] + ["Dropout", "Dense"] * 2
    random = np.random.default_rng(0)
    x = random.random((64, 9)).astype("float32")
    kernel = teacher.layers[1].kernel
    kernel.assign(10.0 * np.ones(kernel.shape))
    data = hinton_2015.batches(x, np.arange(64) % 10, batch=32)
    hinton_2015.train(teacher, data, epochs=1, verbose=0)
    assert (np.square(kernel.numpy()).sum(axis=0) <= 15.0 + 1e-3).all()


def test_a_distilled_student_follows(small_digits):
    keras.utils.set_random_seed(1)
    digits = small_digits
    teacher = hinton_2015.network(64, 64)
    data = hinton_2015.batches(digits.x_train, digits.y_train, seed=1)
    hinton_2015.train(teacher, data, epochs=15, verbose=0)
    student = hinton_2015.network(32, 64)
    hinton_2015.distil(student, teacher, data, epochs=20, rate=1e-2, verbose=0)
    ours, theirs = (
        model.predict(digits.x_test, verbose=0).argmax(axis=-1)
        for model in (student, teacher)
    )
    assert (ours == theirs).mean() > 0.9
