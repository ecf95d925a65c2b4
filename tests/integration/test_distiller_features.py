"""Hints, projections and attention transfer in `fit`."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from distillation_cases import LOGITS, X, Y, assert_same_values, network, values_of
from keras import layers

import keras_compress as kc
from keras_compress.distillation import AttentionTransfer, Hint

RANDOM = np.random.default_rng(2)
IMAGES = RANDOM.standard_normal((16, 8, 8, 2)).astype("float32")
CLASSES = RANDOM.integers(3, size=16)


def convolutional(filters=4, strides=1):
    return keras.Sequential(
        [
            keras.Input((8, 8, 2)),
            layers.Conv2D(filters, 3, strides, padding="same", name="conv"),
            layers.GlobalAveragePooling2D(name="pool"),
            layers.Dense(3, name="classes"),
        ]
    )


def distiller_of(student, teachers, features, **arguments):
    distiller = kc.Distiller(student, teachers, features=features)
    distiller.compile("sgd", LOGITS, **arguments)
    return distiller


def feature_of(model, name, x):
    """By a fresh model, in case the layer's own call is what is wrong."""
    return keras.Model(model.inputs[0], model.get_layer(name).output)(x).numpy()


def feature_loss(distiller, x, y):
    found = distiller.evaluate(x, y, batch_size=len(x), verbose=0, return_dict=True)
    rest = distiller.alpha * found["soft_loss"]
    rest += (1 - distiller.alpha) * found["hard_loss"]
    assert found["loss"] == pytest.approx(float(rest) + found["feature_loss"], rel=1e-5)
    return found["feature_loss"]


def test_a_hint_of_the_same_shape_by_hand():
    student, teacher = network(), network()
    distiller = distiller_of(student, teacher, Hint("hidden", "hidden", weight=3.0))
    assert len(distiller.trainable_variables) == 4, "nothing to project"
    ours, theirs = (feature_of(m, "hidden", X) for m in (student, teacher))
    expected = 3.0 * 0.5 * ((ours - theirs) ** 2).mean()
    assert feature_loss(distiller, X, Y) == pytest.approx(expected, rel=1e-5)


def test_a_projected_hint_by_hand_and_learned():
    student, teacher = network(), network(12)
    distiller = distiller_of(student, teacher, [Hint("hidden", "hidden")])
    kernel, bias = distiller.trainable_variables[4:]
    ours, theirs = (feature_of(m, "hidden", X) for m in (student, teacher))
    expected = 0.5 * ((ours @ kernel.numpy() + bias.numpy() - theirs) ** 2).mean()
    assert feature_loss(distiller, X, Y) == pytest.approx(expected, rel=1e-5)
    before, taught = kernel.numpy(), values_of(teacher)
    history = distiller.fit(X, Y, epochs=5, verbose=0).history
    assert history["feature_loss"][-1] < history["feature_loss"][0]
    assert (kernel.numpy() != before).all()
    assert_same_values(taught, values_of(teacher))
    assert len(student.variables) == len(network().variables), "no projection in it"


def test_attention_transfer_by_hand():
    student, teacher = convolutional(4), convolutional(6)
    distiller = distiller_of(student, teacher, AttentionTransfer("conv", "conv", 2.0))
    maps = []
    for model in (student, teacher):
        energy = (feature_of(model, "conv", IMAGES) ** 2).sum(-1).reshape(16, -1)
        maps.append(energy / np.linalg.norm(energy, axis=1, keepdims=True))
    expected = 2.0 * 0.5 * ((maps[0] - maps[1]) ** 2).sum(axis=1).mean()
    assert feature_loss(distiller, IMAGES, CLASSES) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("kind", [Hint, AttentionTransfer])
@pytest.mark.parametrize("sides", [(1, 2), (2, 1)])
def test_maps_of_another_size_are_resized(kind, sides):
    student, teacher = (convolutional(n, s) for n, s in zip((4, 6), sides, strict=True))
    distiller = distiller_of(student, teacher, kind("conv", "conv"))
    history = distiller.fit(IMAGES, CLASSES, epochs=3, verbose=0).history
    assert history["feature_loss"][-1] < history["feature_loss"][0]


def test_features_of_several_teachers():
    teachers = [network(12), network(8)]
    features = [
        Hint("hidden", "classes", member=1),
        Hint("hidden", "hidden", member=0),
        Hint("classes", "hidden", member=1),
    ]
    student = network()
    distiller = distiller_of(student, teachers, features)
    shapes = [tuple(one.shape) for one in distiller.trainable_variables[4:]]
    assert shapes == [(8, 3), (3,), (8, 12), (12,), (3, 8), (8,)]
    expected = 0.0
    weights = distiller.trainable_variables[4:]
    for feature, kernel, bias in zip(
        features, weights[::2], weights[1::2], strict=True
    ):
        ours = feature_of(student, feature.student, X) @ kernel.numpy() + bias.numpy()
        theirs = feature_of(teachers[feature.member], feature.teacher, X)
        expected += 0.5 * ((ours - theirs) ** 2).mean()
    assert feature_loss(distiller, X, Y) == pytest.approx(expected, rel=1e-5)


def test_sample_weights_weigh_features():
    student, teacher = network(), network()
    distiller = distiller_of(student, teacher, Hint("hidden", "hidden"))
    weights = RANDOM.random(96)
    ours, theirs = (feature_of(m, "hidden", X) for m in (student, teacher))
    expected = (weights * 0.5 * ((ours - theirs) ** 2).mean(axis=-1)).mean()
    found = distiller.evaluate(
        *(X, Y), sample_weight=weights, batch_size=96, verbose=0, return_dict=True
    )
    assert found["feature_loss"] == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(
    "arguments",
    [{"jit_compile": True}, {"run_eagerly": True}, {"steps_per_execution": 3}],
)
def test_features_under_whatever_fit_does(arguments):
    student = network(dtype="mixed_bfloat16")
    distiller = distiller_of(
        student, network(12), [Hint("hidden", "hidden", weight=0.1)], **arguments
    )
    history = distiller.fit(X, Y, epochs=4, verbose=0).history
    assert history["loss"][-1] < history["loss"][0]


def test_a_loss_of_outputs_from_elsewhere():
    distiller = distiller_of(network(), network(), Hint("hidden", "hidden"))
    y_pred = distiller(X)
    one = distiller.compute_loss(X, Y, y_pred, training=False)
    again = distiller.compute_loss(X, Y, tf.identity(y_pred), training=False)
    neither = distiller.compute_loss(X, Y, training=False)
    np.testing.assert_allclose([one, again], neither, rtol=1e-6)


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.hidden = layers.Dense(3)

    def call(self, inputs):
        return self.hidden(inputs)


@pytest.mark.parametrize(
    ("features", "message"),
    [
        (Hint("hiden", "hidden"), "layers of the student .* one of hidden, .*'hiden'"),
        (Hint("hidden", "hiden"), "layers of the teacher .* one of hidden, .*'hiden'"),
        (Hint("hidden", "hidden", member=1), "`features` must be of members below 1"),
        (AttentionTransfer("hidden", "hidden"), "outputs agree in all but height"),
    ],
)
def test_bad_features(features, message):
    with pytest.raises(ValueError, match=message):
        kc.Distiller(network(), network(12), features=features)


def test_features_that_cannot_be():
    with pytest.raises(
        ValueError, match="layers of a Sequential or Functional student"
    ):
        kc.Distiller(Subclassed(), network(), features=Hint("hidden", "hidden"))
    with pytest.raises(
        ValueError, match="layers of a Sequential or Functional teacher"
    ):
        kc.Distiller(network(), Subclassed(), features=Hint("hidden", "hidden"))
    with pytest.raises(ValueError, match="outputs agree in all but height, width"):
        kc.Distiller(convolutional(), convolutional(), features=Hint("conv", "pool"))
    with pytest.raises(ValueError, match="`weight` must be a finite number >= 0"):
        Hint("a", "b", weight=-1.0)
    with pytest.raises(ValueError, match="`member` must be an integer >= 0"):
        Hint("a", "b", member=-1)
    with pytest.raises(ValueError, match="`teacher` must be the name of a layer"):
        Hint("a", 3)


def test_a_layer_that_was_called_elsewhere_first():
    shared = layers.Dense(8, name="shared")
    shared(keras.Input((6,)) * 0.0)
    given = keras.Input((6,))
    teacher = keras.Model(given, layers.Dense(3)(shared(given)))
    student = network()
    distiller = distiller_of(student, teacher, Hint(student.layers[0].name, "shared"))
    found = distiller._matching.teacher(0)(X, training=False)[1][0]
    np.testing.assert_allclose(found, shared(X), atol=1e-6)


def test_a_layer_that_is_called_twice_is_refused():
    twice = layers.Dense(6, name="twice")
    given = keras.Input((6,))
    teacher = keras.Model(given, layers.Dense(3)(twice(twice(given))))
    student = network()
    with pytest.raises(ValueError, match=r"calls once.*'twice', called 2 times"):
        distiller_of(student, teacher, Hint(student.layers[0].name, "twice"))


@pytest.mark.parametrize("shape", [(len(X),), (len(X), 1)])
def test_weights_of_examples_weigh_features(shape):
    student = network()
    name = student.layers[0].name
    distiller = distiller_of(student, network(), Hint(name, name))
    found = distiller.evaluate(
        X, Y, sample_weight=np.zeros(shape), return_dict=True, verbose=0
    )
    assert found["feature_loss"] == 0.0
