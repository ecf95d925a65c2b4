"""`cache_logits`: what teachers say of a data set, computed once and read from disk."""

import math
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from keras_compress._validation import check_choice, check_int, invalid
from keras_compress.distillation.cache_file import CacheFile, Digest, PartialFile
from keras_compress.distillation.cache_records import FORMATS, Recorder
from keras_compress.distillation.cached_batch import CachedBatch, inputs_of
from keras_compress.distillation.graphs import is_graph
from keras_compress.distillation.teachers import as_ensemble


def cache_logits(
    teacher,
    dataset,
    path,
    *,
    top_k=None,
    dtype="float16",
    shuffle=None,
    batch_size=None,
    seed=None,
):
    """Runs teachers over a data set once, and gives data that need no teacher any more.

    The first call computes and writes the outputs; an interrupted one goes on where it
    stopped. Later calls only read. Every call passes over the inputs and the teachers'
    weights and compares their fingerprints, and the first batch's outputs, with those
    in the file: another teacher, other data or another order are refused. Labels may
    change. What differs from pass to pass (shuffled data, random augmentation) cannot
    be cached: shuffle by `shuffle`, augment before.

    Each teacher of an ensemble is stored, so that training is the same as without the
    file but for rounding (with `combine="logits"` only their mean is).

    Args:
        teacher: A Keras model, a list of them, or an `Ensemble`.
        dataset: A batched `tf.data.Dataset` of inputs, or of tuples of inputs, labels
            and sample weights, in the same order on every pass.
        path: The file. It is written under another name until it is whole.
        top_k: Positive integer: keep that many classes of outputs that have more, and
            one number for the others, as if these were all alike. Exact for the
            classes kept at a temperature of 1. Outputs of other kinds (values, units
            that do not exclude each other) are kept whole. Defaults to all.
        dtype: `"float16"` or `"float32"`, for what is stored.
        shuffle: Positive integer, how many examples are held in memory and shuffled at
            once, anew for each epoch. As many as there are, and they stay there: data
            and file are read in the first epoch alone. Defaults to the order of
            `dataset`.
        batch_size: Positive integer. Defaults to the batches of `dataset`.
        seed: Integer for shuffling.

    Returns:
        A `tf.data.Dataset` for `fit` of a `Distiller`: like `dataset`, with a
        `CachedBatch` in the place of the inputs.

    Raises:
        ValueError: If an argument is out of range, the data differ from pass to pass,
            outputs do not fit into `dtype`, or the file is cut short, damaged, or one
            of other teachers, data or settings.

    Example:

    >>> teacher = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    >>> x, y = np.random.rand(10, 4).astype("float32"), np.arange(10) % 3
    >>> data = tf.data.Dataset.from_tensor_slices((x, y)).batch(5)
    >>> data = cache_logits(teacher, data, tmp_path / "teacher.logits")
    >>> student = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    >>> distiller = kc.Distiller(student)
    >>> loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    >>> distiller.compile("adam", loss)
    >>> history = distiller.fit(data, verbose=0)

    Reference:
        - [Hinton et al., 2015](https://arxiv.org/abs/1503.02531), section 2.
    """
    ensemble = as_ensemble(teacher)
    if ensemble is None:
        raise invalid("teacher", "a keras.Model or a sequence of them", teacher)
    if not isinstance(dataset, tf.data.Dataset):
        raise invalid("dataset", "a batched tf.data.Dataset", type(dataset).__name__)
    if top_k is not None:
        check_int("top_k", top_k, minimum=1)
    check_choice("dtype", dtype, tuple(FORMATS))
    for name, value in (("shuffle", shuffle), ("batch_size", batch_size)):
        if value is not None:
            check_int(name, value, minimum=1)
    if dataset.cardinality() == tf.data.INFINITE_CARDINALITY:
        raise invalid("dataset", "one that ends", "an endless one; `repeat` afterwards")
    path = Path(path)
    teachers = Recorder(ensemble, top_k, dtype)
    first = _first_inputs(dataset, ensemble)
    expected = teachers.records(first)
    header = teachers.header()
    is_new = not path.exists()
    if is_new:
        _write(PartialFile(path, header), teachers, dataset)
    file = CacheFile(path)
    for name, value in header.items():
        if file.header.get(name) != value:
            raise invalid("path", f"a file of {name}={value!r}", file.header.get(name))
    sizes, digest = _pass(dataset)
    if digest != file.header["inputs"]:
        if is_new:
            path.unlink()
        raise ValueError(
            "`dataset` must give the inputs that the file was made of, the same on "
            f"every pass. Received: others than those of {str(path)!r}. Shuffle by "
            "`shuffle` and augment before caching; delete the file to make it anew."
        )
    teachers.check(file.read(0, len(expected)), expected, path)
    return _pipeline(dataset, file, teachers, sizes, shuffle, batch_size, seed)


def _write(partial, teachers, dataset):
    """Computes what is missing in a partial file, and finishes it."""
    digest, seen = Digest(), 0
    earlier = partial.done
    for element in dataset:
        inputs = inputs_of(element)
        arrays = _arrays(inputs)
        count = len(arrays[0])
        # An earlier run may have had other batches: look at where it stopped.
        known = min(max(earlier - seen, 0), count)
        if known:
            digest.update([array[:known] for array in arrays])
            if seen + known == earlier and digest.text() != partial.digest:
                raise ValueError(
                    "`dataset` must be that of the interrupted run. Received: other "
                    f"inputs than those of {str(partial.partial)!r}; delete it and its "
                    "journal to begin anew"
                )
        if known < count:
            digest.update([array[known:] for array in arrays])
            records = teachers.records(inputs)[known:]
            partial.append(records.tobytes(), seen + count, digest.text())
        seen += count
    if seen < earlier:
        raise invalid("dataset", f"of at least {earlier:,} examples", seen)
    partial.finish(digest.text())


def _pass(dataset):
    """The sizes of the batches, and the digest of the inputs."""
    sizes, digest = [], Digest()
    for element in dataset:
        arrays = _arrays(inputs_of(element))
        digest.update(arrays)
        sizes.append(len(arrays[0]))
    return sizes, digest.text()


def _pipeline(dataset, file, teachers, sizes, shuffle, batch_size, seed):
    regular = len({*sizes[:-1], sizes[0]}) == 1 and sizes[-1] <= sizes[0]
    if batch_size is None and not regular:
        raise invalid("batch_size", "given where batches are of unequal sizes", None)
    batch = batch_size or sizes[0]
    held = batch if shuffle is None else math.ceil(shuffle / batch) * batch
    if not regular or held != sizes[0]:
        dataset = dataset.rebatch(held)
    data = tf.data.Dataset.zip((dataset, _records(file, held)))

    def joined(element, records):
        inputs = CachedBatch(inputs_of(element), *teachers.read(records))
        return (inputs, *element[1:]) if isinstance(element, tuple) else (inputs,)

    if shuffle is None:
        data = data.map(joined, num_parallel_calls=tf.data.AUTOTUNE)
    else:
        data = data.map(joined)
        if held >= file.header["examples"]:
            data = data.cache()  # one element, in memory anyway while it is drawn from
        data = _shuffled(data, batch, seed)
    count = math.ceil(file.header["examples"] / batch)
    return data.apply(tf.data.experimental.assert_cardinality(count)).prefetch(
        tf.data.AUTOTUNE
    )


def _shuffled(data, batch, seed):
    """Batches drawn from what each element of `data` holds, otherwise on every pass.

    Drawn by number, a batch at once: single examples would cost more than a small step.
    """

    def drawn(held, seed):
        count = tf.shape(keras.tree.flatten(held)[0])[0]
        order = tf.argsort(tf.random.stateless_uniform([count], seed))
        return (
            tf.data.Dataset.from_tensors(order)
            .rebatch(batch)
            .map(lambda rows: tf.nest.map_structure(lambda x: tf.gather(x, rows), held))
        )

    seeds = tf.data.Dataset.random(seed, rerandomize_each_iteration=True).batch(2)
    return tf.data.Dataset.zip((data, seeds)).flat_map(drawn)


def _records(file, batch):
    """Strings of `batch` records each, and one of what is left."""
    size = file.header["record_bytes"]
    rest = file.header["examples"] % batch
    end = file.offset + (file.header["examples"] - rest) * size
    data = tf.data.FixedLengthRecordDataset(
        str(file.path), batch * size, file.offset, footer_bytes=rest * size
    )
    if rest:
        last = tf.data.FixedLengthRecordDataset(str(file.path), rest * size, end)
        data = data.concatenate(last)
    return data


def _arrays(inputs):
    return [np.asarray(tensor) for tensor in keras.tree.flatten(inputs)]


def _first_inputs(dataset, ensemble):
    for element in dataset.take(1):
        inputs = inputs_of(element)
        model = ensemble[0]
        if not is_graph(model):
            return inputs
        flat = _in_order(inputs, model)
        ranks = [len(one.shape) for one in model.inputs]
        # Keras adds a last axis of 1 by itself.
        least = [len(one.shape) - (one.shape[-1:] == (1,)) for one in model.inputs]
        found = [len(one.shape) for one in flat]
        bounds = zip(least, found, ranks, strict=False)
        if len(found) == len(ranks) and all(a <= b <= c for a, b, c in bounds):
            return inputs
        shapes = [tuple(one.shape) for one in flat]
        raise invalid("dataset", f"batches of inputs of {ranks} axes", shapes)
    raise invalid("dataset", "at least one batch", "none")


def _in_order(inputs, model):
    """The inputs as a flat list in the order of `model.inputs`."""
    names = [tensor._keras_history.operation.name for tensor in model.inputs]
    if isinstance(inputs, dict) and set(names) <= set(inputs):
        return [inputs[name] for name in names]
    return keras.tree.flatten(inputs)
