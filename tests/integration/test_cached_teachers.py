"""Teachers' outputs on disk: as good as the teachers, and never those of others."""

import contextlib
import os

import keras
import numpy as np
import pytest
import tensorflow as tf
from distillation_cases import LOGITS, X, Y, network, values_of

import keras_compress as kc
from keras_compress.distillation import CachedBatch, Ensemble, Hint, cache_logits


def data_of(x=X, y=Y, batch=20):
    return tf.data.Dataset.from_tensor_slices((x, y)).batch(batch)


def fitted(student, weights, teachers, data, **arguments):
    student.set_weights(weights)
    distiller = kc.Distiller(student, teachers, temperature=3.0, **arguments)
    distiller.compile("sgd", LOGITS, metrics=["accuracy"])
    history = distiller.fit(data, epochs=2, verbose=0).history
    return student.get_weights(), history


TEACHERS = {
    "logits": lambda: network(12),
    "softmax": lambda: network(12, "softmax"),
    "several": lambda: [network(12), network(4, "softmax")],
    "weighted": lambda: Ensemble([network(12), network(4)], weights=[3, 1]),
    "mean logits": lambda: Ensemble(
        [network(12), network(4, "softmax")], combine="logits", weights=[3, 1]
    ),
}


@pytest.mark.parametrize("name", TEACHERS)
@pytest.mark.parametrize("mode", ["two_objectives", "logits"])
@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_training_is_the_same_with_and_without(name, mode, dtype, tmp_path):
    teachers, student = TEACHERS[name](), network()
    start = student.get_weights()
    cached = cache_logits(teachers, data_of(), tmp_path / "cache", dtype=dtype)
    assert int(cached.cardinality()) == 5
    one, first = fitted(student, start, None, cached, mode=mode)
    other, second = fitted(student, start, teachers, data_of(), mode=mode)
    close = {"float16": 3e-3, "float32": 1e-5}[dtype]
    for a, b in zip(one, other, strict=True):
        np.testing.assert_allclose(a, b, atol=close)
    np.testing.assert_allclose(first["loss"], second["loss"], rtol=close)


def test_the_teacher_is_run_only_once(tmp_path, monkeypatch):
    teacher, path = network(12), tmp_path / "cache"
    cache_logits(teacher, data_of(), path)
    calls = []
    call = keras.Sequential.call
    monkeypatch.setattr(
        keras.Sequential,
        "call",
        lambda self, *args, **kwargs: (
            calls.append(self),
            call(self, *args, **kwargs),
        )[1],
    )
    size = path.stat()
    cached = cache_logits(teacher, data_of(), path)
    assert len(calls) == 1, "traced once, for the first batch"
    assert path.stat().st_mtime_ns == size.st_mtime_ns
    del calls[:]
    distiller = kc.Distiller(network(), teacher)
    distiller.compile("sgd", LOGITS)
    distiller.fit(cached, verbose=0)
    assert teacher not in calls


def test_it_is_compact(tmp_path):
    teacher = network(12, classes=3)
    cache_logits(teacher, data_of(), tmp_path / "cache")
    header = 4096
    assert (tmp_path / "cache").stat().st_size == header + 96 * 3 * 2
    wide = network(12, classes=100)
    cache_logits(wide, data_of(), tmp_path / "wide", top_k=4)
    # Four logits, the rest, and four classes, of two bytes each.
    assert (tmp_path / "wide").stat().st_size == header + 96 * 9 * 2


def test_the_largest_classes_are_exact(tmp_path):
    teacher = network(12, classes=10)
    cached = cache_logits(teacher, data_of(), tmp_path / "cache", top_k=4)
    for (batch, _), (x, _) in zip(cached, data_of(), strict=True):
        expected = keras.ops.softmax(teacher(x))
        found = keras.ops.softmax(batch.teachers[0][0])
        top = np.argsort(-expected.numpy(), axis=1)[:, :4]
        np.testing.assert_allclose(
            *(np.take_along_axis(p.numpy(), top, 1) for p in (found, expected)),
            rtol=3e-3,
        )
        np.testing.assert_allclose(np.sum(found, axis=1), 1.0, rtol=1e-5)


@pytest.mark.parametrize("batch", [1, 7, 20, 96, 200])
@pytest.mark.parametrize(
    "source", [data_of(), data_of(batch=50).concatenate(data_of())]
)
def test_other_batches_keep_the_order(batch, source, tmp_path):
    teacher = network(12)
    cached = cache_logits(teacher, source, tmp_path / "cache", batch_size=batch)
    expected = list(source.unbatch().batch(batch))
    assert int(cached.cardinality()) == len(expected)
    for (found, y), (x, labels) in zip(cached, expected, strict=True):
        np.testing.assert_array_equal(found.inputs, x)
        np.testing.assert_array_equal(y, labels)
        np.testing.assert_allclose(found.teachers[0][0], teacher(x), atol=2e-3)


def test_shuffling_keeps_everything_together(tmp_path):
    teacher = network(12)
    cached = cache_logits(
        *(teacher, data_of(), tmp_path / "cache"), shuffle=96, batch_size=7, seed=1
    )
    assert int(cached.cardinality()) == 14
    orders = []
    for _ in range(2):
        seen = []
        for batch, y in cached:
            assert isinstance(batch, CachedBatch)
            np.testing.assert_allclose(
                batch.teachers[0][0], teacher(batch.inputs), atol=2e-3
            )
            seen.append(np.concatenate([batch.inputs, y[:, None]], axis=1))
        orders.append(np.concatenate(seen))
    rows = np.concatenate([X, Y[:, None]], axis=1)
    assert (orders[0] != orders[1]).any()
    for order in orders:
        np.testing.assert_array_equal(np.unique(order, axis=0), np.unique(rows, axis=0))


@pytest.mark.parametrize(("shuffle", "passes"), [(96, 1), (90, 3)])
def test_what_is_held_as_a_whole_is_read_once(shuffle, passes, tmp_path):
    def batches():
        begun.append(1)
        yield from data_of()

    begun = []
    data = tf.data.Dataset.from_generator(
        batches, output_signature=data_of().element_spec
    )
    cached = cache_logits(
        *(network(12), data, tmp_path / "cache"), shuffle=shuffle, batch_size=10
    )
    begun.clear()
    orders = {b"".join(y.numpy().tobytes() for _, y in cached) for _ in range(3)}
    assert len(orders) == 3
    assert len(begun) == passes


def test_inputs_alone_weights_and_mappings(tmp_path):
    teacher = network(12)
    for name, element in {
        "alone": X,
        "weighted": (X, Y, np.ones(96)),
        "tuple": (X,),
    }.items():
        data = tf.data.Dataset.from_tensor_slices(element).batch(32)
        cached = cache_logits(teacher, data, tmp_path / name)
        distiller = kc.Distiller(network())
        distiller.compile("sgd", LOGITS)
        distiller.fit(cached, verbose=0)
        distiller.evaluate(cached, verbose=0)
        assert distiller.predict(cached, verbose=0).shape == (96, 3)


def test_several_outputs_and_inputs(tmp_path):
    def model():
        one, two = keras.Input((4,), name="one"), keras.Input((2,), name="two")
        hidden = keras.layers.Concatenate()([one, two])
        return keras.Model(
            {"one": one, "two": two},
            {
                "left": keras.layers.Dense(3, activation="softmax")(hidden),
                "right": keras.layers.Dense(2, activation="sigmoid")(hidden),
            },
        )

    x = {"one": X[:, :4], "two": X[:, 4:]}
    y = {"left": Y, "right": np.eye(2)[Y % 2]}
    data = data_of(x, y, 32)
    teacher, student = model(), model()
    start, results = student.get_weights(), []
    cached = cache_logits(teacher, data, tmp_path / "cache", dtype="float32")
    for teachers, source in ((None, cached), (teacher, data)):
        student.set_weights(start)
        distiller = kc.Distiller(student, teachers)
        losses = {"left": "sparse_categorical_crossentropy", "right": "bce"}
        losses["right"] = "binary_crossentropy"
        distiller.compile("sgd", losses)
        distiller.fit(source, verbose=0)
        results.append(student.get_weights())
    for one, other in zip(*results, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)


class Interrupting:
    """Data that fail once, at some batch."""

    def __init__(self, at):
        self.at = at
        self.broken = True

    def data(self, x=X, batch=20):
        def generate():
            for index, start in enumerate(range(0, len(x), batch)):
                if self.broken and index == self.at:
                    raise RuntimeError("power cut")
                yield x[start : start + batch], Y[start : start + batch]

        return tf.data.Dataset.from_generator(
            generate,
            output_signature=(
                tf.TensorSpec((None, 6), "float32"),
                tf.TensorSpec((None,), "int64"),
            ),
        )


@pytest.mark.parametrize("batch", [20, 13])
def test_an_interrupted_run_goes_on(batch, tmp_path, monkeypatch):
    teacher, path = network(12), tmp_path / "cache"
    source = Interrupting(3)
    with pytest.raises(Exception, match="power cut"):
        cache_logits(teacher, source.data(), path)
    assert not path.exists()
    # Half of a record more than was noted.
    with open(f"{path}.partial", "ab") as file:
        file.write(b"12")
    source.broken = False
    records = kc.distillation.cache.Recorder.records
    sizes = []
    monkeypatch.setattr(
        kc.distillation.cache.Recorder,
        "records",
        lambda self, inputs: (sizes.append(len(inputs)), records(self, inputs))[1],
    )
    cached = cache_logits(teacher, source.data(batch=batch), path)
    assert sum(sizes[1:]) == (36 if batch == 20 else 96 - 4 * 13)
    assert sorted(one.name for one in tmp_path.iterdir()) == ["cache"]
    outputs = np.concatenate([one.teachers[0][0] for one, _ in cached])
    np.testing.assert_allclose(outputs, teacher(X), atol=2e-3)


def test_an_interrupted_run_of_other_things_does_not_go_on(tmp_path):
    teacher, path = network(12), tmp_path / "cache"
    source = Interrupting(3)
    with pytest.raises(Exception, match="power cut"):
        cache_logits(teacher, source.data(), path)
    source.broken = False
    with pytest.raises(
        ValueError, match="`dataset` must be that of the interrupted run"
    ):
        cache_logits(teacher, source.data(X + 1), path)
    with pytest.raises(ValueError, match="of at least 60 examples"):
        cache_logits(teacher, source.data(X[:40]), path)
    with pytest.raises(
        ValueError, match=r"`path` must be of teachers=.*, to begin anew"
    ):
        cache_logits(network(12), source.data(), path)
    with pytest.raises(ValueError, match="`path` must be of top_k=2"):
        cache_logits(teacher, source.data(), path, top_k=2)
    cache_logits(teacher, source.data(), path)


def changed(model):
    other = keras.models.clone_model(model)
    other.set_weights(model.get_weights())
    other.layers[0].bias.assign_add(np.eye(12)[3] * 1e-6)
    return other


def activated(model):
    other = keras.models.clone_model(model)
    other.set_weights(model.get_weights())
    other.layers[0].activation = keras.activations.relu
    return other


def renamed(model):
    other = keras.models.clone_model(model)
    other.set_weights(model.get_weights())
    return other


def test_what_is_refused(tmp_path):
    teacher, path = network(12), tmp_path / "cache"
    before = values_of(teacher)
    cache_logits(teacher, data_of(), path)
    cache_logits(renamed(teacher), data_of(batch=48), path)  # the same but for names
    cache_logits(teacher, data_of(y=Y + 1), path)  # labels may change
    with pytest.raises(ValueError, match="`path` must be a file of teachers="):
        cache_logits(changed(teacher), data_of(), path)
    with pytest.raises(
        ValueError, match="of the same weights that gives other outputs"
    ):
        cache_logits(activated(teacher), data_of(), path)
    with pytest.raises(ValueError, match="`path` must be a file of teachers="):
        cache_logits([teacher, teacher], data_of(), path)
    with pytest.raises(ValueError, match="`path` must be a file of top_k=2"):
        cache_logits(teacher, data_of(), path, top_k=2)
    with pytest.raises(ValueError, match="`path` must be a file of dtype='float32'"):
        cache_logits(teacher, data_of(), path, dtype="float32")
    for data in (data_of(X[::-1].copy()), data_of(X[:95], Y[:95]), data_of(X * 1.0001)):
        with pytest.raises(ValueError, match="`dataset` must give the inputs that the"):
            cache_logits(teacher, data, path)
    for one, other in zip(before, values_of(teacher), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    "data",
    [
        data_of().unbatch().shuffle(96, reshuffle_each_iteration=True).batch(32),
        data_of().map(lambda x, y: (x + tf.random.normal(tf.shape(x)), y)),
    ],
    ids=["shuffled", "augmented"],
)
def test_what_differs_from_pass_to_pass_is_refused(data, tmp_path):
    with pytest.raises(ValueError, match="the same on every pass"):
        cache_logits(network(), data, tmp_path / "cache")
    assert list(tmp_path.iterdir()) == []


def test_damaged_files(tmp_path):
    teacher, path = network(12), tmp_path / "cache"
    cache_logits(teacher, data_of(), path)
    whole = path.read_bytes()
    for size, message in (
        (len(whole) - 1, r"4,672 bytes\. Received: .*4,671 bytes: it was cut short"),
        (len(whole) - 60, "it was cut short"),
        (1000, "a whole header"),
        (10, "a file of cache_logits"),
        (0, "a file of cache_logits"),
    ):
        path.write_bytes(whole[:size])
        with pytest.raises(ValueError, match=message):
            cache_logits(teacher, data_of(), path)
    path.write_bytes(whole + b"more")
    with pytest.raises(ValueError, match="4,676 bytes"):
        cache_logits(teacher, data_of(), path)
    path.write_bytes(whole[:-7] + bytes([whole[-7] ^ 16]) + whole[-6:])
    with pytest.raises(ValueError, match="other bytes: it is damaged"):
        cache_logits(teacher, data_of(), path)
    path.write_bytes(b"PK\x03\x04" + os.urandom(500))
    with pytest.raises(ValueError, match="another kind of file"):
        cache_logits(teacher, data_of(), path)
    path.write_bytes(whole)
    cache_logits(teacher, data_of(), path)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"teacher": None}, "`teacher` must be a keras.Model or a sequence"),
        ({"teacher": 3}, "`teachers` must be a keras.Model or a sequence"),
        ({"dataset": X}, "`dataset` must be a batched tf.data.Dataset"),
        (
            {"dataset": tf.data.Dataset.from_tensor_slices((X, Y))},
            r"`dataset` must be batches of inputs of \[2\] axes",
        ),
        ({"dataset": data_of(X[:0], Y[:0])}, "`dataset` must be at least one batch"),
        ({"top_k": 0}, "`top_k` must be an integer >= 1"),
        ({"dtype": "int8"}, "`dtype` must be one of 'float16', 'float32'"),
        ({"shuffle": 0}, "`shuffle` must be an integer >= 1"),
        ({"batch_size": 1.5}, "`batch_size` must be an integer >= 1"),
        (
            {"dataset": data_of(batch=50).concatenate(data_of())},
            "`batch_size` must be given where batches are of unequal sizes",
        ),
    ],
)
def test_bad_arguments(arguments, message, tmp_path):
    good = {"teacher": network(), "dataset": data_of(), "path": tmp_path / "cache"}
    with pytest.raises(ValueError, match=message):
        cache_logits(**{**good, **arguments})


def test_numbers_that_do_not_fit(tmp_path):
    teacher = network()
    teacher.layers[-1].bias.assign([1e6, 0.0, 0.0])
    with pytest.raises(ValueError, match="`dtype` must be a format that the teachers"):
        cache_logits(teacher, data_of(), tmp_path / "cache")
    cache_logits(teacher, data_of(), tmp_path / "cache", dtype="float32")


def test_features_need_the_teachers_themselves(tmp_path):
    teacher = network(12)
    cached = cache_logits(teacher, data_of(), tmp_path / "cache")
    distiller = kc.Distiller(network(), teacher, features=Hint("hidden", "hidden"))
    distiller.compile("sgd", LOGITS)
    distiller.fit(cached, verbose=0)
    distiller.teachers = None
    with pytest.raises(ValueError, match=r"`distiller\.teachers` must be a model"):
        distiller.fit(cached, verbose=0)


def test_a_cache_for_other_classes_is_refused(tmp_path):
    cached = cache_logits(network(classes=4), data_of(), tmp_path / "cache")
    distiller = kc.Distiller(network())
    distiller.compile("sgd", LOGITS)
    with pytest.raises(
        ValueError, match="`teachers` must have outputs of the student's"
    ):
        distiller.fit(cached, verbose=0)


def test_cached_teachers_compiled_and_in_mixed_precision(tmp_path):
    cached = cache_logits(network(12), data_of(batch=32), tmp_path / "cache")
    for arguments in ({"jit_compile": True}, {"steps_per_execution": 3}):
        distiller = kc.Distiller(network(dtype="mixed_float16"))
        distiller.compile("sgd", LOGITS, **arguments)
        history = distiller.fit(cached, epochs=3, verbose=0).history
        assert history["loss"][-1] < history["loss"][0]


def test_cached_teachers_on_replicas_do_what_they_do_on_one(tmp_path, two_replicas):
    cached = cache_logits(network(12), data_of(batch=32), tmp_path / "cache")
    source, results = network(), []
    for scope in (two_replicas.scope, contextlib.nullcontext):
        with scope():
            student = network()
            distiller = kc.Distiller(student)
            distiller.compile("sgd", LOGITS)
        student.set_weights(source.get_weights())
        distiller.fit(cached, epochs=2, verbose=0)
        results.append(student.get_weights())
    for one, other in zip(*results, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


def test_outputs_of_other_shapes_are_refused_and_leave_no_file(tmp_path):
    teacher = keras.Sequential([keras.Input((None, 2)), keras.layers.Dense(3)])
    steps = [np.ones((4, length, 2), "float32") for length in (4, 2, 6)]
    data = tf.data.Dataset.from_generator(
        lambda: iter(steps), output_signature=tf.TensorSpec((4, None, 2))
    )
    with pytest.raises(ValueError, match=r"outputs of one shape, \(4, 3\)"):
        cache_logits(teacher, data, tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


def test_the_largest_are_kept_of_classes_alone(tmp_path):
    values = keras.Sequential([keras.Input((6,)), keras.layers.Dense(6)])
    values.compile(loss="mse")
    units = keras.Sequential([keras.Input((6,)), keras.layers.Dense(6, "sigmoid")])
    for number, teacher in enumerate((values, units)):
        cached = cache_logits(
            teacher, data_of(), tmp_path / f"{number}", top_k=2, dtype="float32"
        )
        ((found,),) = next(iter(cached))[0].teachers
        expected = teacher(X[:20])
        if teacher is units:
            expected = np.log(expected / (1 - expected))
        np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize("kind", ["softmax", "sigmoid", "values"])
@pytest.mark.parametrize("teacher_kind", ["softmax", "sigmoid", "values"])
def test_teachers_of_another_kind_are_refused(kind, teacher_kind, tmp_path):
    losses = {
        "softmax": "sparse_categorical_crossentropy",
        "sigmoid": "binary_crossentropy",
        "values": "mse",
    }

    def made(kind):
        activation = None if kind == "values" else kind
        dense = keras.layers.Dense(3, activation)
        model = keras.Sequential([keras.Input((6,)), dense])
        return model, losses[kind]

    teacher, loss = made(teacher_kind)
    teacher.compile(loss=loss)
    student, loss = made(kind)
    distiller = kc.Distiller(student)
    distiller.compile("sgd", loss)
    labels = Y if kind == "softmax" else np.eye(3, dtype="float32")[Y]
    cached = cache_logits(teacher, data_of(y=labels), tmp_path / "cache")
    if kind == teacher_kind:
        distiller.fit(cached, verbose=0)
        return
    with pytest.raises(ValueError, match="`x` must be cached from teachers of the"):
        distiller.fit(cached, verbose=0)


def test_inputs_by_name(tmp_path):
    one, two = keras.Input((2, 3), name="zebra"), keras.Input((4,), name="ape")
    flat = keras.layers.Flatten()(one)
    joined = keras.layers.Concatenate()([flat, two])
    teacher = keras.Model([one, two], keras.layers.Dense(3)(joined))
    arrays = {"zebra": np.ones((8, 2, 3), "f"), "ape": np.ones((8, 4), "f")}
    data = tf.data.Dataset.from_tensor_slices(arrays).batch(4)
    element = next(iter(cache_logits(teacher, data, tmp_path / "names")))[0]
    assert set(element.inputs) == {"zebra", "ape"}


def test_inputs_of_strings(tmp_path):
    words = keras.Input((), dtype="string")
    lookup = keras.layers.StringLookup(vocabulary=["a", "b"], output_mode="one_hot")
    teacher = keras.Model(words, keras.layers.Dense(3)(lookup(words)))
    for _ in range(2):  # written, then read
        cache_logits(teacher, data_of(list("aba"), [0, 1, 2], 2), tmp_path / "cache")
    with pytest.raises(ValueError, match="`dataset` must give the inputs"):
        cache_logits(teacher, data_of(list("aab"), [0, 1, 2], 2), tmp_path / "cache")


def test_inputs_of_single_numbers(tmp_path):
    teacher = keras.Sequential([keras.Input((1,)), keras.layers.Dense(3)])
    cache_logits(teacher, data_of(X[:, 0]), tmp_path / "cache")


def test_an_endless_dataset_is_refused(tmp_path):
    with pytest.raises(ValueError, match="`dataset` must be one that ends"):
        cache_logits(network(12), data_of().repeat(), tmp_path / "cache")


def test_teachers_of_no_number_are_refused(tmp_path):
    teacher = network(12)
    teacher.layers[-1].bias.assign([np.nan, 0.0, 0.0])
    with pytest.raises(ValueError, match="`teacher` must be one of finite outputs"):
        cache_logits(teacher, data_of(), tmp_path / "cache")
