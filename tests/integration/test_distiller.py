"""The distiller in `fit`: what it minimises, and under everything that `fit` can do."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from distillation_cases import (
    LOGITS,
    RANDOM,
    X,
    Y,
    assert_same_values,
    cross_entropy,
    network,
    softmax,
    values_of,
)
from keras import layers

import keras_compress as kc
from keras_compress.distillation import Ensemble

MODES = ["two_objectives", "mixed_target", "logits"]
T, ALPHA = 3.0, 0.7
ONE_HOT = np.eye(3)[Y]


def distiller_of(student, teachers, loss=LOGITS, mode="two_objectives", **arguments):
    distiller = kc.Distiller(student, teachers, temperature=T, alpha=ALPHA, mode=mode)
    distiller.compile(**{"optimizer": "sgd", "loss": loss, **arguments})
    return distiller


def by_hand(mode, student, teacher, labels=ONE_HOT):
    """A loss an example, of logits."""
    p = softmax(teacher / T)
    hard = cross_entropy(labels, student)
    if mode == "two_objectives":
        return ALPHA * T**2 * cross_entropy(p, student / T) + (1 - ALPHA) * hard
    if mode == "mixed_target":
        return cross_entropy(ALPHA * p + (1 - ALPHA) * labels, student / T)
    soft = 0.5 * ((student - teacher) ** 2).sum(axis=-1)
    return ALPHA * soft + (1 - ALPHA) * hard


def logits_of(model, x=X):
    outputs = model.predict(x, verbose=0).astype("float64")
    softmaxed = model.layers[-1].activation is keras.activations.softmax
    return np.log(outputs) if softmaxed else outputs


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("activation", [None, "softmax"])
@pytest.mark.parametrize("teacher_activation", [None, "softmax"])
def test_the_loss_by_hand(mode, activation, teacher_activation):
    student, teacher = network(activation=activation), network(12, teacher_activation)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=activation is None)
    distiller = distiller_of(student, teacher, loss, mode)
    ours, theirs = logits_of(student), logits_of(teacher)
    if mode == "logits" and activation == "softmax":
        expected = ALPHA * 0.5 * _centred_squares(ours, theirs)
        expected += (1 - ALPHA) * cross_entropy(ONE_HOT, ours)
    else:
        expected = by_hand(mode, ours, theirs)
    found = distiller.evaluate(X, Y, batch_size=24, verbose=0, return_dict=True)
    assert found["loss"] == pytest.approx(expected.mean(), rel=1e-5)


def _centred_squares(*logits):
    one, other = (x - x.mean(axis=-1, keepdims=True) for x in logits)
    return ((one - other) ** 2).sum(axis=-1)


@pytest.mark.parametrize("mode", MODES)
def test_a_step_follows_the_papers_gradient(mode):
    student, teacher = network(), network(12)
    distiller = distiller_of(student, teacher, mode=mode, optimizer=_sgd(1.0))
    z, v = logits_of(student), logits_of(teacher)
    hidden = student.layers[0](X).numpy()
    before = student.layers[-1].kernel.numpy()
    distiller.train_on_batch(X, Y)
    p, q, q1 = softmax(v / T), softmax(z / T), softmax(z)
    delta = {
        "two_objectives": ALPHA * T * (q - p) + (1 - ALPHA) * (q1 - ONE_HOT),
        "mixed_target": (q - (ALPHA * p + (1 - ALPHA) * ONE_HOT)) / T,
        "logits": ALPHA * (z - v) + (1 - ALPHA) * (q1 - ONE_HOT),
    }[mode]
    moved = before - student.layers[-1].kernel.numpy()
    np.testing.assert_allclose(moved, hidden.T @ delta / len(X), rtol=1e-3, atol=1e-5)


def _sgd(rate):
    return keras.optimizers.SGD(rate)


@pytest.mark.parametrize("combine", ["probabilities", "logits"])
@pytest.mark.parametrize("mode", MODES)
def test_an_ensemble_by_hand(combine, mode):
    student = network()
    teachers = [network(12), network(4, "softmax")]
    ensemble = Ensemble(teachers, combine=combine, weights=[3, 1])
    distiller = distiller_of(student, ensemble, mode=mode)
    one, other = map(logits_of, teachers)
    if combine == "logits":
        expected = by_hand(mode, logits_of(student), 0.75 * one + 0.25 * other)
    else:
        at = 1.0 if mode == "logits" else T
        mean = 0.75 * softmax(one / at) + 0.25 * softmax(other / at)
        expected = by_hand(mode, logits_of(student), at * np.log(mean))
    found = distiller.evaluate(X, Y, verbose=0)[0]
    assert found == pytest.approx(expected.mean(), rel=1e-5)


class Counting(keras.layers.Layer):
    """Counts how often it is run, not how often it is traced."""

    def __init__(self):
        super().__init__()
        self.runs = []

    def call(self, inputs):
        return tf.numpy_function(self._count, [inputs], inputs.dtype)

    def _count(self, inputs):
        self.runs.append(len(inputs))
        return inputs

    def compute_output_shape(self, shape):
        return shape


def counted(model):
    counting = Counting()
    inputs = keras.Input((6,))
    hidden = counting(inputs)
    hidden.set_shape = None
    return keras.Model(inputs, model(layers.Reshape((6,))(hidden))), counting.runs


def test_everybody_is_run_once_a_batch():
    (student, ours), (one, first), (other, second) = (counted(network()) for _ in "abc")
    distiller = distiller_of(student, [one, other], run_eagerly=True)
    del ours[:], first[:], second[:]
    distiller.fit(X, Y, batch_size=32, epochs=2, verbose=0)
    assert ours == first == second == [32] * 6
    distiller.evaluate(X, Y, batch_size=48, verbose=0)
    assert ours[6:] == first[6:] == second[6:] == [48] * 2
    distiller.predict(X, verbose=0)
    assert len(ours) == 11
    assert len(first) == 8


def normalised():
    return keras.Sequential(
        [
            keras.Input((6,)),
            layers.Dense(8, name="hidden"),
            layers.BatchNormalization(name="norm"),
            layers.Dropout(0.5, seed=1),
            layers.Dense(3, name="classes"),
        ]
    )


@pytest.mark.parametrize("features", [None, kc.distillation.Hint("hidden", "hidden")])
def test_evaluation_changes_nothing_and_training_no_teacher(features):
    student, teacher = normalised(), normalised()
    teacher.compile("adam", LOGITS)
    distiller = kc.Distiller(student, teacher, features=features)
    distiller.compile("adam", LOGITS)
    before = values_of(teacher)
    distiller.fit(X, Y, verbose=0)
    assert_same_values(before, values_of(teacher))
    assert teacher.trainable
    assert all(layer.trainable for layer in teacher.layers)
    assert len(teacher.trainable_variables) == 6
    after = values_of(student)
    distiller.evaluate(X, Y, verbose=0)
    assert_same_values(after, values_of(student, teacher)[: len(after)])


def test_the_student_trains_with_dropout_and_batch_statistics():
    student = normalised()
    distiller = distiller_of(student, network())
    mean = student.get_layer("norm").moving_mean.numpy()
    distiller.fit(X, Y, verbose=0)
    assert (student.get_layer("norm").moving_mean.numpy() != mean).any()


def test_what_the_student_adds_by_itself_counts():
    student = network(
        kernel_regularizer=keras.regularizers.L2(0.5),
        activity_regularizer=keras.regularizers.L1(0.1),
    )
    teacher = network(12)
    without = network()
    without.set_weights(student.get_weights())
    student.compile(loss=LOGITS)
    # Both are of one batch: no mean of means comes in.
    extra = student.evaluate(X, Y, batch_size=96, verbose=0) - _hard(student)
    assert extra > 1.0
    one, other = (
        distiller_of(model, teacher).evaluate(X, Y, batch_size=96, verbose=0)[0]
        for model in (student, without)
    )
    assert one - other == pytest.approx(extra, rel=1e-4)


def _hard(student):
    return cross_entropy(ONE_HOT, logits_of(student)).mean()


@pytest.mark.parametrize("mode", MODES)
def test_sample_weights_weigh_both_terms(mode):
    student, teacher = network(), network(12)
    distiller = distiller_of(student, teacher, mode=mode)
    weights = RANDOM.random(96)
    expected = weights * by_hand(mode, logits_of(student), logits_of(teacher))
    found = distiller.evaluate(X, Y, sample_weight=weights, verbose=0, batch_size=32)
    assert found[0] == pytest.approx(expected.mean(), rel=1e-4)


def test_class_weights_are_sample_weights():
    student, teacher = network(), network(12)
    start = student.get_weights()
    class_weight = {0: 0.2, 1: 1.0, 2: 3.0}
    results = []
    for arguments in (
        {"class_weight": class_weight},
        {"sample_weight": np.array([class_weight[y] for y in Y])},
    ):
        student.set_weights(start)
        distiller = distiller_of(student, teacher)
        distiller.fit(X, Y, shuffle=False, verbose=0, **arguments)
        results.append(student.get_weights())
    for one, other in zip(*results, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def test_one_hot_and_columns_of_labels():
    student, teacher = network(), network(12)
    one_hot = keras.losses.CategoricalCrossentropy(from_logits=True)
    for mode in MODES:
        losses = [
            distiller_of(student, teacher, loss, mode).evaluate(X, y, verbose=0)[0]
            for loss, y in ((LOGITS, Y), (LOGITS, Y[:, None]), (one_hot, ONE_HOT))
        ]
        assert losses[0] == pytest.approx(losses[1], rel=1e-6)
        assert losses[0] == pytest.approx(losses[2], rel=1e-6)


@pytest.mark.parametrize(
    "arguments",
    [
        {"steps_per_execution": 3},
        {"jit_compile": True},
        {"jit_compile": True, "steps_per_execution": 2},
        {"run_eagerly": True},
        {"optimizer": {"class_name": "SGD", "gradient_accumulation_steps": 2}},
        {"optimizer": {"class_name": "Adam", "use_ema": True}},
    ],
    ids=str,
)
def test_whatever_fit_does(arguments):
    optimizer = {"class_name": "Adam", **arguments.get("optimizer", {})}
    optimizer = getattr(keras.optimizers, optimizer.pop("class_name"))(
        learning_rate=0.02, **optimizer
    )
    arguments = {**arguments, "optimizer": optimizer}
    distiller = distiller_of(
        network(),
        [network(12), network(4)],
        metrics=["accuracy"],
        **arguments,
    )
    history = distiller.fit(X, Y, batch_size=16, epochs=8, verbose=0).history
    assert history["loss"][-1] < history["loss"][0]
    assert "accuracy" in history


@pytest.mark.parametrize("mode", MODES)
def test_compiled_and_eager_agree(mode):
    student, teacher = network(), network(12)
    start, results = student.get_weights(), []
    for arguments in ({"run_eagerly": True}, {"jit_compile": True}, {}):
        student.set_weights(start)
        distiller = distiller_of(student, teacher, mode=mode, **arguments)
        distiller.fit(X, Y, shuffle=False, verbose=0)
        results.append(student.get_weights())
    for found in results[1:]:
        for one, other in zip(results[0], found, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
@pytest.mark.parametrize("mode", MODES)
def test_mixed_precision_students_and_float32_teachers(policy, mode):
    student, teacher = network(dtype=policy), network(12)
    distiller = distiller_of(student, teacher, mode=mode)
    assert student.layers[0].compute_dtype != "float32"
    found = distiller.evaluate(X, Y, batch_size=96, verbose=0)[0]
    expected = by_hand(mode, logits_of(student), logits_of(teacher)).mean()
    assert found == pytest.approx(expected, rel=1e-3)
    history = distiller.fit(X, Y, epochs=5, verbose=0).history
    assert history["loss"][-1] < history["loss"][0]


def test_a_global_policy_scales_the_loss():
    keras.config.set_dtype_policy("mixed_float16")
    try:
        student, teacher = network(activation="softmax"), network(12, "softmax")
        loss = keras.losses.SparseCategoricalCrossentropy()
        distiller = distiller_of(student, teacher, loss)
    finally:
        keras.config.set_dtype_policy("float32")
    assert isinstance(distiller.optimizer, keras.optimizers.LossScaleOptimizer)
    history = distiller.fit(X, Y, epochs=3, verbose=0).history
    assert np.isfinite(history["loss"]).all()


def strategy_of_two():
    cpus = tf.config.list_logical_devices("CPU")
    if len(cpus) < 2:
        pytest.skip("needs two logical processors, set before TensorFlow starts")
    return tf.distribute.MirroredStrategy(
        [cpu.name for cpu in cpus[:2]],
        cross_device_ops=tf.distribute.ReductionToOneDevice(),
    )


@pytest.mark.parametrize("features", [None, kc.distillation.Hint("hidden", "hidden")])
def test_replicas_do_what_one_does(features):
    strategy = strategy_of_two()
    teacher, source = network(12), network()
    data = tf.data.Dataset.from_tensor_slices((X, Y)).batch(32)
    results = []
    for scope in (strategy.scope, tf.name_scope):
        keras.utils.set_random_seed(3)
        with scope(*([] if scope == strategy.scope else ["alone"])):
            student = network()
            distiller = kc.Distiller(student, teacher, features=features)
            distiller.compile("sgd", LOGITS, metrics=["accuracy"])
        student.set_weights(source.get_weights())
        history = distiller.fit(data, epochs=2, verbose=0).history
        results.append((student.get_weights(), history))
    for one, other in zip(results[0][0], results[1][0], strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)
    if keras.__version__.startswith("3.8."):
        return  # Of two replicas it logs the one, for all models.
    for name, values in results[1][1].items():
        np.testing.assert_allclose(results[0][1][name], values, rtol=1e-4)


def two_heads(kind=dict):
    inputs = keras.Input((6,))
    hidden = layers.Dense(8, activation="tanh")(inputs)
    outputs = {
        "left": layers.Dense(3, name="left")(hidden),
        "right": layers.Dense(1, activation="sigmoid", name="right")(hidden),
        "value": layers.Dense(2, name="value")(hidden),
    }
    return keras.Model(inputs, outputs if kind is dict else list(outputs.values()))


HEADS = {
    "left": Y,
    "right": RANDOM.integers(2, size=(96, 1)),
    "value": RANDOM.standard_normal((96, 2)),
}
LOSSES = {"left": LOGITS, "right": "binary_crossentropy", "value": "mse"}
WEIGHTS = {"left": 1.0, "right": 2.0, "value": 0.5}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", [dict, list])
def test_several_outputs_by_hand(mode, kind):
    student, teacher = two_heads(kind), two_heads(kind)
    y, losses, weights = HEADS, LOSSES, WEIGHTS
    if kind is list:
        y, losses, weights = (list(one.values()) for one in (y, losses, weights))
    distiller = distiller_of(student, teacher, losses, mode, loss_weights=weights)
    ours, theirs = (
        dict(zip(HEADS, keras.tree.flatten(model.predict(X, verbose=0)), strict=True))
        for model in (student, teacher)
    )
    pairs = [
        np.concatenate([np.log(one["right"] / (1 - one["right"])), 0 * one["right"]], 1)
        for one in (ours, theirs)
    ]
    binary = np.concatenate([HEADS["right"], 1 - HEADS["right"]], axis=1)
    value = HEADS["value"]
    squares = [
        ((ours["value"] - x) ** 2).mean(axis=-1) for x in (theirs["value"], value)
    ]
    if mode == "mixed_target":
        mixed = ALPHA * theirs["value"] + (1 - ALPHA) * value
        squares = ((ours["value"] - mixed) ** 2).mean(axis=-1)
    else:
        squares = ALPHA * squares[0] + (1 - ALPHA) * squares[1]
    expected = (
        by_hand(mode, ours["left"], theirs["left"])
        + 2.0 * by_hand(mode, *pairs, binary)
        + 0.5 * squares
    )
    found = distiller.evaluate(X, y, batch_size=96, verbose=0, return_dict=True)
    assert found["loss"] == pytest.approx(expected.mean(), rel=1e-4)
    distiller.fit(X, y, verbose=0)


def test_metrics_of_named_outputs():
    distiller = distiller_of(
        two_heads(), two_heads(), LOSSES, metrics={"left": ["accuracy"]}
    )
    history = distiller.fit(X, HEADS, verbose=0).history
    assert {"left_accuracy", "left_loss", "right_loss", "soft_loss"} <= set(history)


def test_sequences_with_masks():
    def tagger():
        return keras.Sequential(
            [
                keras.Input((5,), dtype="int32"),
                layers.Embedding(7, 4, mask_zero=True),
                layers.GRU(4, return_sequences=True),
                layers.Dense(3),
            ]
        )

    student, teacher = tagger(), tagger()
    x = RANDOM.integers(7, size=(8, 5))
    x[:, 3:] = 0
    y = RANDOM.integers(3, size=(8, 5))
    distiller = distiller_of(student, teacher)
    losses = by_hand(
        "two_objectives",
        *(m.predict(x, verbose=0) for m in (student, teacher)),
        np.eye(3)[y],
    )
    found = distiller.evaluate(x, y, verbose=0)[0]
    assert found == pytest.approx(losses[x != 0].mean(), rel=1e-4)


def test_temperature_and_alpha_are_read_anew_at_every_step():
    student, teacher = network(), network(12)
    distiller = distiller_of(student, teacher)
    first = distiller.evaluate(X, Y, verbose=0)[0]
    distiller.temperature, distiller.alpha = 5.0, 0.2
    assert float(distiller.temperature) == 5.0
    second = distiller.evaluate(X, Y, verbose=0)[0]
    p, z = softmax(logits_of(teacher) / 5.0), logits_of(student)
    expected = 0.2 * 25 * cross_entropy(p, z / 5.0) + 0.8 * cross_entropy(ONE_HOT, z)
    assert second == pytest.approx(expected.mean(), rel=1e-5)
    assert first != pytest.approx(second, rel=1e-3)


def test_a_schedule_sets_both_by_progress():
    distiller = distiller_of(network(), network(12))
    schedule = kc.callbacks.DistillationSchedule(
        temperature=lambda progress: 8.0 - 6.0 * progress,
        alpha=lambda progress: progress,
    )
    seen = []
    watch = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: seen.append(float(distiller.alpha))
    )
    fit = distiller.fit(
        X, Y, epochs=2, batch_size=24, verbose=0, callbacks=[schedule, watch]
    )
    assert seen == [float(np.float32((i + 1) / 8)) for i in range(8)]
    assert fit.history["temperature"] == [5.0, 2.0]
    assert fit.history["alpha"] == [0.5, 1.0]


def test_a_schedule_says_what_is_wrong():
    with pytest.raises(ValueError, match="given `temperature`, `alpha`, or both"):
        kc.callbacks.DistillationSchedule()
    with pytest.raises(ValueError, match="`alpha` must be a function of the progress"):
        kc.callbacks.DistillationSchedule(alpha=0.5)
    schedule = kc.callbacks.DistillationSchedule(temperature=lambda progress: -1.0)
    with pytest.raises(ValueError, match="`temperature` must be a finite number > 0"):
        distiller_of(network(), network()).fit(X, Y, verbose=0, callbacks=[schedule])
    model = network()
    model.compile(loss=LOGITS)
    with pytest.raises(ValueError, match="must be used in the fit of a Distiller"):
        model.fit(X, Y, verbose=0, callbacks=[schedule])


def test_distilling_makes_the_student_like_its_teacher():
    teacher = network(16)
    for variable in teacher.trainable_variables:
        variable.assign(2.0 * RANDOM.standard_normal(variable.shape))
    student = network(16)
    distiller = kc.Distiller(student, teacher, temperature=2.0, alpha=1.0)
    distiller.compile(keras.optimizers.Adam(0.02), LOGITS)
    distiller.fit(X, epochs=150, verbose=0)
    agree = logits_of(student).argmax(-1) == logits_of(teacher).argmax(-1)
    assert agree.mean() > 0.95


def test_a_subclassed_student_and_teacher():
    class Own(keras.Model):
        def __init__(self):
            super().__init__()
            self.one, self.two = layers.Dense(8, activation="relu"), layers.Dense(3)

        def call(self, inputs):
            return self.two(self.one(inputs))

    student, teacher = Own(), Own()
    teacher.compile(loss=LOGITS)
    teacher(X)
    distiller = distiller_of(student, teacher, optimizer=_sgd(0.05))
    history = distiller.fit(X, Y, epochs=4, verbose=0).history
    assert history["loss"][-1] < history["loss"][0]
    assert len(distiller.trainable_variables) == 4
    wide = network(classes=5)
    with pytest.raises(ValueError, match=r"student's shape, \(32, 3\).*\(32, 5\)"):
        distiller_of(Own(), wide).fit(X, Y, verbose=0)


def test_a_deferred_student_is_built_by_fit():
    student = keras.Sequential([layers.Dense(4, activation="tanh"), layers.Dense(3)])
    distiller = distiller_of(student, network())
    distiller.fit(X, Y, verbose=0)
    assert len(student.weights) == 4


def test_a_teacher_with_a_native_layer_turns_xla_off():
    teacher = network(12)
    teacher.layers[0].supports_jit = False
    with pytest.warns(UserWarning, match="doesn't support `jit_compile=True`"):
        distiller = distiller_of(network(), teacher, jit_compile=True)
    assert distiller.jit_compile is False
    distiller = distiller_of(network(), network(), jit_compile=True)
    with pytest.warns(UserWarning, match="doesn't support `jit_compile=True`"):
        distiller.teachers = teacher
    distiller.fit(X, Y, verbose=0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"student": "net"}, r"`student` must be a keras\.Model\. Received: student="),
        ({"teachers": 3}, r"`teachers` must be a keras\.Model or a sequence of them"),
        ({"teachers": []}, r"`teachers` must be a keras\.Model or a sequence"),
        (
            {"teachers": [network(), 3]},
            r"`teachers` must be a keras.Model or a seq.*=3",
        ),
        ({"temperature": 0}, r"`temperature` must be a finite number > 0.*=0"),
        ({"temperature": -1.0}, r"`temperature` must be a finite number > 0"),
        ({"temperature": float("nan")}, r"`temperature` must be a finite number"),
        (
            {"alpha": 1.5},
            r"`alpha` must be a number in \[0, 1\]\. Received: alpha=1\.5",
        ),
        ({"alpha": -0.1}, r"`alpha` must be a number in \[0, 1\]"),
        ({"mode": "soft"}, r"`mode` must be one of 'two_objectives', 'mixed_target'"),
        ({"features": "hidden"}, r"`features` must be Hint, AttentionTransfer"),
        (
            {"teachers": network(classes=5)},
            r"`teachers` .* student's shapes, \(None, 3\)\. Received: .* \(None, 5\)",
        ),
        (
            {"teachers": keras.Sequential([keras.Input((7,)), layers.Dense(3)])},
            r"`teachers` .* student's inputs, \(None, 6\)\. Received: .* \(None, 7\)",
        ),
        (
            {"teachers": [network(), two_heads()]},
            "`teachers` must be models with outputs",
        ),
    ],
)
def test_bad_arguments(arguments, message):
    arguments = {"student": network(), "teachers": network(), **arguments}
    with pytest.raises(ValueError, match=message):
        kc.Distiller(**arguments)


def test_a_teacher_that_would_be_trained_is_refused():
    student, trunk = network(), network()
    inputs = keras.Input((6,))
    hidden = trunk.layers[0]
    teacher = keras.Model(inputs, layers.Dense(3, name="top")(hidden(inputs)))
    other = keras.Model(inputs, layers.Dense(3, name="top")(hidden(inputs)))
    for one, two in ((student, student), (teacher, [network(), other])):
        with pytest.raises(ValueError, match="share no trainable weights"):
            kc.Distiller(one, two)
    hidden.trainable = False
    before = values_of(other)
    distiller_of(teacher, other).fit(X, Y, verbose=0)
    assert_same_values(before, values_of(other))


def test_bad_values_later():
    distiller = distiller_of(network(), network())
    with pytest.raises(ValueError, match="`temperature` must be a finite number > 0"):
        distiller.temperature = 0.0
    with pytest.raises(ValueError, match=r"`alpha` must be a number in \[0, 1\]"):
        distiller.alpha = 2.0
    with pytest.raises(ValueError, match="student's shapes"):
        distiller.teachers = network(classes=4)
    with pytest.raises(ValueError, match="the student's kind, categorical"):
        distiller.teachers = network(activation="sigmoid")
    with pytest.raises(ValueError, match="`loss` must fit the end of the student"):
        distiller_of(network(), network(), "sparse_categorical_crossentropy")
    with pytest.raises(ValueError, match="`loss` must fit the end of the student"):
        distiller_of(network(activation="softmax"), network(), LOGITS)
    with pytest.raises(ValueError, match="`compile` must be given `loss`"):
        distiller_of(network(), network(), None).fit(X, Y, verbose=0)
    with pytest.raises(ValueError, match="`weights` must be 2 numbers >= 0"):
        Ensemble([network(), network()], weights=[1, 2, 3])
    with pytest.raises(ValueError, match="`weights` must be 2 numbers >= 0, not all 0"):
        Ensemble([network(), network()], weights=[0, 0])
    with pytest.raises(ValueError, match="`combine` must be one of 'probabilities'"):
        Ensemble(network(), combine="mean")


def test_inputs_reach_a_mixed_precision_student_as_they_are():
    with_policy = {"dtype": "mixed_float16"}
    student = keras.Sequential(
        [
            keras.Input((6,)),
            layers.Rescaling(1e-6, dtype="float32"),
            layers.Dense(3, **with_policy),
            layers.Activation("softmax", dtype="float32"),
        ]
    )
    distiller = kc.Distiller(student, network(), dtype="mixed_float16")
    distiller.compile("sgd", "sparse_categorical_crossentropy")
    large = 1e6 * X  # half floats end at 65504
    found = distiller.predict(large, verbose=0)
    np.testing.assert_array_equal(found, student.predict(large, verbose=0))
    assert np.isfinite(distiller.evaluate(large, Y, verbose=0)).all()


def test_ends_behind_shared_and_wrapped_activations():
    given, last = keras.Input((6,)), layers.Activation("linear", dtype="float32")
    outputs = [
        last(layers.Dense(3, "softmax")(given)),
        last(layers.Dense(1, "sigmoid")(given)),
    ]
    distiller = kc.Distiller(keras.Model(given, outputs))
    distiller.compile("sgd", ["sparse_categorical_crossentropy", "binary_crossentropy"])
    steps = keras.Input((4, 6))
    wrapped = layers.TimeDistributed(layers.Activation("linear", dtype="float32"))
    student = keras.Model(steps, wrapped(layers.Dense(3, "softmax")(steps)))
    kc.Distiller(student).compile("sgd", "sparse_categorical_crossentropy")


def test_a_number_alone_needs_a_loss_that_says_what_it_is():
    student, teacher = network(classes=1), network(classes=1)
    with pytest.raises(ValueError, match="`student` must have several classes"):
        kc.Distiller(student, teacher).compile("sgd")
