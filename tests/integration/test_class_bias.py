"""Classes that the transfer set lacked, or had alone."""

import keras
import numpy as np
import pytest
from distillation_cases import LOGITS, X, network
from keras import layers

import keras_compress as kc
from keras_compress.distillation import correct_class_bias


def errors(model, x, y):
    return int((model.predict(x, verbose=0).argmax(axis=-1) != y).sum())


def biased(activation=None, by=-4.0, classes=(2,)):
    """A model that is right everywhere, but for the bias of some classes."""
    model = network(activation=activation)
    for variable in model.trainable_variables:
        variable.assign(np.random.default_rng(3).standard_normal(variable.shape))
    y = model.predict(X, verbose=0).argmax(axis=-1)
    bias = model.layers[-1].bias.numpy()
    bias[list(classes)] += by
    model.layers[-1].bias.assign(bias)
    return model, y


@pytest.mark.parametrize("activation", [None, "softmax"])
@pytest.mark.parametrize("by", [-4.0, 5.0])
def test_the_shift_is_found(activation, by):
    model, y = biased(activation, by)
    before = model.get_weights()
    wrong = errors(model, X, y)
    assert wrong > 5
    found = correct_class_bias(model, X, y, [2])
    assert (found.errors_before, found.errors_after, found.examples) == (wrong, 0, 96)
    assert found.shifts[0] == pytest.approx(-by, abs=1.0)
    assert errors(found.model, X, y) == 0
    for one, other in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_several_classes_share_a_shift_or_have_their_own():
    model, y = biased(by=np.array([-3.0, 2.0]), classes=(0, 2))
    shared = correct_class_bias(model, X, y, [0, 2])
    assert shared.shifts[0] == shared.shifts[1]
    own = correct_class_bias(model, X, y, [0, 2], shared=False)
    assert own.errors_after <= shared.errors_after
    assert own.errors_after == 0
    assert own.shifts[0] == pytest.approx(3.0, abs=1.0)
    assert own.shifts[1] == pytest.approx(-2.0, abs=1.0)


def test_what_is_counted_is_what_the_model_does():
    random = np.random.default_rng(5)
    model, _ = biased()
    y = random.integers(3, size=96)
    for classes in ([0], [1, 2]):
        found = correct_class_bias(model, X, y, np.array(classes))
        assert errors(found.model, X, y) == found.errors_after
        assert errors(model, X, y) == found.errors_before
        assert found.errors_after <= found.errors_before


def test_layers_behind_the_bias():
    inner = keras.Sequential(
        [keras.Input((6,)), layers.Dense(3, name="last"), layers.Activation("softmax")]
    )
    inputs = keras.Input((6,))
    model = keras.Model(inputs, layers.Reshape((3,))(inner(inputs)))
    y = np.full(96, 1)
    found = correct_class_bias(model, X, y, [1])
    assert found.errors_after == 0
    assert errors(found.model, X, y) == 0


def test_a_student_that_never_saw_a_class():
    """Most of what it gets wrong of that class comes back, on other data."""
    random = np.random.default_rng(0)
    centres = 2.0 * random.standard_normal((3, 6))
    y = np.arange(600) % 3
    x = (centres[y] + random.standard_normal((600, 6))).astype("float32")
    teacher, student = network(16), network(16)
    teacher.compile(keras.optimizers.Adam(0.02), LOGITS)
    teacher.fit(x, y, epochs=15, verbose=0)
    seen = (y != 2) & (np.arange(600) < 300)
    distiller = kc.Distiller(student, teacher, temperature=2.0, alpha=0.5)
    distiller.compile(keras.optimizers.Adam(0.02), LOGITS)
    distiller.fit(x[seen], y[seen], epochs=40, verbose=0)
    held, test = slice(300, 450), slice(450, 600)
    found = correct_class_bias(student, x[held], y[held], [2])
    assert found.shifts[0] > 0.0
    assert found.errors_after < found.errors_before
    assert errors(found.model, x[test], y[test]) < errors(student, x[test], y[test])


class Subclassed(keras.Model):
    def call(self, inputs):
        return inputs


def no_bias():
    return keras.Sequential([keras.Input((6,)), layers.Dense(3, use_bias=False)])


Y3 = np.arange(96) % 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"model": 3}, "`model` must be a keras.Model"),
        ({"model": Subclassed()}, "`model` must be a Sequential or Functional model"),
        (
            {"model": no_bias()},
            "`model` must end in a layer with a bias for each class",
        ),
        ({"y": Y3.astype(float)}, r"`y` must be an integer array .*float64 \(96,\)"),
        ({"y": Y3 + 1}, r"`y` must be classes in \[0, 3\)\. Received: y='1 to 3'"),
        ({"y": Y3[:5]}, "`y` must be 96 classes, as many as inputs"),
        (
            {"classes": [3]},
            r"`classes` must be a list of different classes in \[0, 3\)",
        ),
        ({"classes": [1, 1]}, "`classes` must be a list of different classes"),
        ({"classes": []}, "`classes` must be a list of different classes"),
        ({"classes": [0, 1, 2]}, "`classes` .* not of all"),
        ({"classes": 2}, "`classes` must be a list of different classes"),
    ],
)
def test_bad_arguments(arguments, message):
    good = {"model": network(), "x": X, "y": Y3, "classes": [2]}
    with pytest.raises(ValueError, match=message):
        correct_class_bias(**{**good, **arguments})


@pytest.mark.parametrize(
    "last",
    [
        kc.layers.BitwiseDense(3, name="last"),
        kc.layers.FixedPointDense(3, bias_format=kc.QFormat(0, 1), name="last"),
        layers.Dense(3, "relu", name="last"),
    ],
)
def test_a_bias_that_does_not_arrive_is_refused(last):
    model = keras.Sequential([keras.Input((6,)), last, layers.Softmax()])
    last.bias.assign([0.5] * 3)
    if hasattr(last, "binarize"):
        last.binarize()
    with pytest.raises(
        ValueError, match=r"adds its bias to its outputs as it is.*last"
    ):
        correct_class_bias(model, X, np.ones(len(X), int), [1])


def test_units_that_do_not_exclude_each_other_are_refused():
    model = keras.Sequential([keras.Input((6,)), layers.Dense(3, "sigmoid")])
    with pytest.raises(ValueError, match="`model` must be a model of classes"):
        correct_class_bias(model, X, np.ones(len(X), int), [1])
