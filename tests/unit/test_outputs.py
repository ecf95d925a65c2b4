"""Logits, probabilities and values are told apart."""

import keras
import numpy as np
import pytest

from keras_compress.distillation.outputs import Output, student_outputs, teacher_outputs

layers, losses = keras.layers, keras.losses
LOGITS = Output("categorical", False)
SOFTMAX = Output("categorical", True)


def ending(*last, shape=(4,)):
    return keras.Sequential([keras.Input(shape), *last])


def nested():
    inner = ending(layers.Dense(3, activation="softmax"))
    inputs = keras.Input((4,))
    return keras.Model(inputs, layers.Reshape((3,))(inner(inputs)))


def with_ops():
    inputs = keras.Input((4,))
    return keras.Model(inputs, keras.ops.softmax(layers.Dense(3)(inputs)))


def averaged():
    inputs = keras.Input((4,))
    one, other = (layers.Dense(3, activation="softmax")(inputs) for _ in "ab")
    return keras.Model(inputs, layers.Average()([one, other]))


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.dense = layers.Dense(3)

    def call(self, inputs):
        return self.dense(inputs)


def dense(activation=None, units=3):
    return ending(layers.Dense(units, activation=activation))


def custom(y, predicted):
    return keras.ops.mean((y - predicted) ** 2)


SPARSE, ONE_HOT = losses.SparseCategoricalCrossentropy, losses.CategoricalCrossentropy


@pytest.mark.parametrize(
    ("model", "loss", "expected"),
    [
        (dense("softmax"), "sparse_categorical_crossentropy", SOFTMAX),
        (dense("softmax"), SPARSE(), SOFTMAX),
        (dense("softmax"), "crossentropy", SOFTMAX),
        (dense("softmax"), None, SOFTMAX),
        (dense("softmax"), "mse", SOFTMAX),
        (dense("softmax"), custom, SOFTMAX),
        (dense(), SPARSE(from_logits=True), LOGITS),
        (dense(), ONE_HOT(from_logits=True, label_smoothing=0.1), LOGITS),
        (dense(), losses.CategoricalFocalCrossentropy(from_logits=True), LOGITS),
        (dense("log_softmax"), SPARSE(from_logits=True), LOGITS),
        (dense(), None, LOGITS),
        (dense(), "mse", Output("values", False)),
        (dense("relu"), losses.Huber(), Output("values", False)),
        (dense("relu"), SPARSE(from_logits=True), LOGITS),
        (dense("sigmoid"), "binary_crossentropy", Output("binary", True)),
        (
            dense(),
            losses.BinaryCrossentropy(from_logits=True),
            Output("binary", False),
        ),
        (dense("softmax"), losses.KLDivergence(), SOFTMAX),
        (nested(), None, SOFTMAX),
        (with_ops(), None, SOFTMAX),
        (averaged(), SPARSE(), SOFTMAX),
        (Subclassed(), SPARSE(from_logits=True), LOGITS),
        (Subclassed(), SPARSE(), SOFTMAX),
        (ending(layers.Dense(3), layers.Softmax()), None, SOFTMAX),
        (ending(layers.Dense(3), layers.Activation("softmax")), None, SOFTMAX),
        (
            ending(layers.Dense(3, activation="softmax"), layers.Activation("linear")),
            None,
            SOFTMAX,
        ),
        (
            ending(
                layers.TimeDistributed(layers.Dense(3, activation="softmax")),
                shape=(2, 4),
            ),
            None,
            SOFTMAX,
        ),
    ],
)
def test_what_a_student_ends_in(model, loss, expected):
    assert student_outputs(model, [loss], 1) == [expected]


@pytest.mark.parametrize(
    ("model", "loss", "message"),
    [
        (dense("softmax"), SPARSE(from_logits=True), "ends in categorical probab"),
        (dense(), SPARSE(), "ends in logits, with the loss sparse_cat"),
        (dense(), "sparse_categorical_crossentropy", "for categorical probabilities"),
        (with_ops(), ONE_HOT(from_logits=True), "for categorical logits"),
        (dense("sigmoid"), SPARSE(), "ends in binary probabilities"),
        (
            averaged(),
            None,
            "must end in a layer, or be compiled with a loss, that says",
        ),
        (Subclassed(), None, "must end in a layer, or be compiled"),
        (dense(), custom, "with the loss custom"),
    ],
)
def test_disagreement_is_an_error(model, loss, message):
    with pytest.raises(ValueError, match=message):
        student_outputs(model, [loss], 1)


def test_teachers_by_layer_by_loss_and_by_the_student():
    assert teacher_outputs(dense("softmax"), [LOGITS]) == [SOFTMAX]
    assert teacher_outputs(dense(), [SOFTMAX]) == [LOGITS]
    assert teacher_outputs(dense(), [Output("values", False)]) == [
        Output("values", False)
    ]
    teacher = Subclassed()
    with pytest.raises(ValueError, match="`teachers` must end in a layer, or be compi"):
        teacher_outputs(teacher, [LOGITS])
    teacher.compile(loss=SPARSE(from_logits=True))
    assert teacher_outputs(teacher, [SOFTMAX]) == [LOGITS]
    teacher = dense("softmax")
    teacher.compile(loss=SPARSE(from_logits=True))
    with pytest.raises(ValueError, match="`loss` must fit the end of the teachers"):
        teacher_outputs(teacher, [SOFTMAX])
    with pytest.raises(ValueError, match="of the student's kind, categorical"):
        teacher_outputs(dense("sigmoid"), [SOFTMAX])


def test_the_logits_of_each_kind():
    p = np.array([[0.2, 0.3, 0.5]], "float32")
    np.testing.assert_allclose(SOFTMAX.logits(p), np.log(p), rtol=1e-6)
    np.testing.assert_array_equal(LOGITS.logits(p), p)
    pairs = Output("binary", True).logits(p)
    np.testing.assert_allclose(pairs[..., 0], np.log(p / (1 - p)), rtol=1e-5)
    np.testing.assert_array_equal(pairs[..., 1], 0 * p)
