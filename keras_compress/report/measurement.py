"""What must be measured: bytes on disk and latency."""

import functools
import os
import pathlib
import statistics
import tempfile
import time
import zipfile
import zlib

import h5py
import numpy as np
import tensorflow as tf

ROUNDS = 30
SECONDS_A_BATCH = 3.0
_WEIGHTS_FILE = "model.weights.h5"


def keras_bytes(model):
    """Bytes of the model's `.keras` file, without the state of an optimizer.

    A trained model saves two more numbers a weight for Adam. They would flatter
    whatever is compared with it.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "model.keras"
        model.save(path)
        return path.stat().st_size - _optimizer_bytes(path)


def deflated_bytes(model):
    """Bytes of the file of `keras_compress.save`, without the state of an optimizer."""
    # `save` pulls in what a report without measurements can do without.
    from keras_compress.save import save

    with tempfile.TemporaryDirectory() as folder:
        path = save(model, pathlib.Path(folder) / "model.keras")
        return path.stat().st_size - _optimizer_bytes(path, _deflated)


def saved_model_bytes(model):
    """Bytes of all files of the exported SavedModel."""
    # `export` pulls in what a report without measurements can do without.
    from keras_compress.export import export

    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "served"
        export(model, str(path))
        return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())


def latencies(models, inputs, batches):
    """Median seconds of a forward pass, the models taking turns.

    Args:
        models: List of Keras models.
        inputs: List of structures of arrays, the models' inputs, one example or more;
            examples are repeated to fill a batch.
        batches: Integers >= 1.

    Returns:
        For each model a dict from batch size to seconds.
    """
    results = [{} for _ in models]
    for batch in batches:
        repeat = functools.partial(_repeat, batch=batch)
        calls = [
            _compiled_call(model, tf.nest.map_structure(repeat, data))
            for model, data in zip(models, inputs, strict=True)
        ]
        for call in calls:
            for _ in range(3):
                call()
        times = [[] for _ in calls]
        end = time.perf_counter() + SECONDS_A_BATCH * len(calls)
        for turn in range(ROUNDS):
            if turn >= 5 and time.perf_counter() > end:
                break
            for call, seconds in zip(calls, times, strict=True):
                start = time.perf_counter()
                call()
                seconds.append(time.perf_counter() - start)
        for result, seconds in zip(results, times, strict=True):
            result[batch] = statistics.median(seconds)
    return results


def thread_count():
    """The threads that one TensorFlow operation may use."""
    configured = tf.config.threading.get_intra_op_parallelism_threads()
    if configured:
        return configured
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count()


def _compiled_call(model, inputs):
    function = tf.function(lambda x: model(x, training=False))

    def call():
        # Reading the result waits for devices that run behind.
        return [np.asarray(x) for x in tf.nest.flatten(function(inputs))]

    return call


def _repeat(array, batch):
    array = np.asarray(array)
    rows = np.resize(np.arange(len(array)), batch)
    return tf.constant(array[rows])


def _optimizer_bytes(path, size=lambda path: path.stat().st_size):
    with zipfile.ZipFile(path) as archive:
        if _WEIGHTS_FILE not in archive.namelist():
            return 0
        archive.extract(_WEIGHTS_FILE, path.parent)
    whole, bare = path.parent / _WEIGHTS_FILE, path.parent / "bare.h5"
    with h5py.File(whole) as source, h5py.File(bare, "w") as target:
        if "optimizer" not in source:
            return 0
        for name in source:
            if name != "optimizer":
                source.copy(name, target)
    return size(whole) - size(bare)


def _deflated(path):
    deflate = zlib.compressobj(wbits=-15)
    size = 0
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            size += len(deflate.compress(block))
    return size + len(deflate.flush())
