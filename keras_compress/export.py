"""`export`: a SavedModel of the weights and nothing else, written whole or not."""

import contextlib
import os
import shutil
import uuid
from pathlib import Path

import keras
import tensorflow as tf

from keras_compress._validation import invalid
from keras_compress.ops import twins


def export(model, path, *, portable=False):
    """Writes a SavedModel directory for serving.

    It has a `serving_default` signature with a free batch dimension, and stores each
    variable once. It is written under a temporary name beside `path` and renamed when
    complete, so an interrupted export leaves nothing at `path`.

    Args:
        model: A built Keras model, best a packed one: what is in it is written.
        path: Directory to make. It must not exist, its parent must.
        portable: Whether to use standard TensorFlow operations only, which any
            TensorFlow loads, instead of the native ones, which need
            `import keras_compress` (or its library loaded) and are faster.

    Returns:
        `path`, as a `pathlib.Path`.

    Raises:
        ValueError: If `model` is not a built Keras model, or `path` exists or cannot
            be written.

    Example:

    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    >>> export(model, tmp_path / "served").name
    'served'
    """
    if not isinstance(model, keras.Model):
        raise invalid("model", "a keras.Model", model)
    if not model.built or not model.inputs:
        raise invalid("model", "built, with known inputs", model.name)
    path = Path(path)
    if os.path.lexists(path):
        raise invalid("path", "a path where nothing is yet", str(path))
    if not path.parent.is_dir():
        raise invalid("path", "in a directory that exists", str(path))
    operations = twins() if portable else contextlib.nullcontext()
    with _renamed_when_complete(path) as temporary, operations:
        _archive(model).write_out(str(temporary), verbose=False)
    return path


@contextlib.contextmanager
def _renamed_when_complete(path):
    """A temporary path beside `path`, renamed to it in the end, or removed."""
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        temporary.mkdir()
    except OSError as error:
        raise invalid("path", f"writable ({error.strerror})", str(path)) from error
    try:
        yield temporary
        os.rename(temporary, path)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def _archive(model):
    """What is saved: one function, and the variables that it reads.

    `Model.export` tracks the whole model beside the function, and so stores every
    variable twice, those that only training needs included.
    """
    sequential = isinstance(model, keras.Sequential)
    signature = keras.tree.map_structure(
        lambda tensor: tf.TensorSpec(
            (None, *tensor.shape[1:]), tensor.dtype, name=tensor.name
        ),
        model.inputs[0] if sequential else model.input,
    )
    archive = keras.export.ExportArchive()
    archive.add_endpoint(
        "serve", lambda inputs: model(inputs, training=False), [signature]
    )
    return archive
